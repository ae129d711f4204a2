/* A request's stream as its user has it: it waits, then passes on what comes and goes. */
#include "proxy/upstream/mux.h"

#include "proxy/http/restore.h"

#include <errno.h>

#define WAIT_HIGH PROXY_CONN_HIGH
#define WAIT_MAX  (2u * PROXY_CONN_HIGH_MAX) /* what sources bring after they were told to pause, at most */

static struct proxy_front *of(const struct proxy_stream *stream)
{
    return FL_CONTAINER_OF((struct proxy_stream *)(uintptr_t)stream, struct proxy_front, stream);
}

static bool is_restored(const struct proxy_front *front)
{
    return front->mux != NULL && front->mux->restored;
}

static void mirror(struct proxy_front *front)
{
    if (front->inner != NULL) {
        front->stream.received = front->inner->received;
        front->stream.sent = front->inner->sent;
        front->stream.last = front->inner->last;
    }
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void on_open(void *user)
{
    (void)user; /* the connection is open before it has a stream */
}

static void break_off(struct proxy_front *front, enum proxy_reset why, const char *error)
{
    proxy_stream_close(fl_take(front->inner), PROXY_RESET_PROTOCOL);
    proxy_front_reset(front, why, -1, error);
}

static void on_head(void *user, struct proxy_message *message, bool end)
{
    struct proxy_front *front = user;
    struct proxy_turn *turn = front->lane->cluster->turn;
    mirror(front);
    if (is_restored(front) && proxy_restore_unpack_response(message, turn->names, PROXY_TURN_NAMES) < 0)
        break_off(front, PROXY_RESET_PROTOCOL, "http2.restore");
    else if (!front->closed)
        front->stream.events->on_head(front->stream.user, message, end);
}

static void on_data(void *user, struct fl_span data)
{
    struct proxy_front *front = user;
    mirror(front);
    if (!front->closed)
        front->stream.events->on_data(front->stream.user, data);
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    struct proxy_front *front = user;
    struct proxy_turn *turn = front->lane->cluster->turn;
    mirror(front);
    if (trailers != NULL && is_restored(front) &&
        proxy_restore_unpack_trailers(trailers, turn->names, PROXY_TURN_NAMES) < 0)
        break_off(front, PROXY_RESET_PROTOCOL, "http2.restore");
    else if (!front->closed)
        front->stream.events->on_end(front->stream.user, trailers);
}

static void on_writable(void *user)
{
    struct proxy_front *front = user;
    if (!front->closed)
        front->stream.events->on_writable(front->stream.user);
}

static void leave_mux(struct proxy_front *front)
{
    struct proxy_mux *mux = fl_take(front->mux);
    if (mux == NULL)
        return;
    if (!mux->gone)
        mux->carrier->label = front->upstream.label;
    proxy_mux_stream_gone(mux);
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct proxy_front *front = user;
    mirror(front);
    const char *error = front->inner != NULL ? proxy_stream_error(front->inner) : "";
    front->left = front->inner != NULL ? proxy_stream_unsent(front->inner) : 0;
    front->inner = NULL;
    if (front->carrier != NULL)
        front->end = front->carrier->client->end;
    else if (front->mux != NULL)
        front->end = front->mux->end;
    if (front->sending > 0) {
        leave_mux(front);
        proxy_lane_tell_late(front, why, error);
        return;
    }
    proxy_front_reset(front, why, front->end, error);
}

const struct proxy_stream_events proxy_front_events = {
    .on_open = on_open,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
};

void proxy_front_reset(struct proxy_front *front, enum proxy_reset why, int end, const char *error)
{
    if (front->closed)
        return;
    front->closed = true;
    front->end = end;
    front->error = error != NULL && error[0] != '\0' ? error : proxy_reset_text(why);
    front->stream.events->on_reset(front->stream.user, why);
    front->upstream.conn = NULL;
    leave_mux(front);
}

/* --- what waits ------------------------------------------------------------------------------------------------- */

static void fail_late(struct proxy_front *front)
{
    proxy_lane_tell_late(front, PROXY_RESET_MEMORY, NULL);
}

static void keep_head(struct proxy_front *front, const struct proxy_message *message, bool end)
{
    front->head_ends = end;
    if (front->head == NULL && proxy_message_keep(message, &front->head) < 0)
        fail_late(front);
    else
        front->stream.sent += proxy_kept_message_size(front->head);
}

static void keep_data(struct proxy_front *front, struct fl_span data)
{
    if (front->data.data == NULL)
        fl_buf_init(&front->data, WAIT_MAX);
    if (fl_buf_append(&front->data, data) < 0)
        fail_late(front);
    front->stream.sent += data.len;
    front->backlogged = front->data.len >= WAIT_HIGH;
}

static void keep_end(struct proxy_front *front, const struct proxy_headers *trailers)
{
    struct proxy_message carrier;
    front->end_sent = true;
    if (trailers == NULL)
        return;
    proxy_message_init(&carrier);
    carrier.headers = *trailers;
    if (proxy_message_keep(&carrier, &front->trailers) < 0)
        fail_late(front);
}

static void forget(struct proxy_front *front)
{
    free(fl_take(front->head));
    free(fl_take(front->trailers));
    fl_buf_done(&front->data);
}

/* --- the request ------------------------------------------------------------------------------------------------ */

/* What the application at the far end hears is the cluster's to say, where that is not what the client spoke: a
 * gateway's clients speak what they like. */
static void set_version(const struct proxy_front *front, struct proxy_message *message)
{
    enum proxy_cluster_http http = front->lane->cluster->options.http;
    if (http == PROXY_CLUSTER_HTTP2)
        message->major = 2;
    if (http != PROXY_CLUSTER_HTTP1 || message->major != 2)
        return;
    message->major = 1;
    if (message->headers.first[PROXY_HEADER_HOST] == 0 && message->authority.len > 0)
        (void)!proxy_headers_add(&message->headers, FL_SPAN("host"), message->authority);
}

static void send_head(struct proxy_stream *stream, struct proxy_message *message, bool end)
{
    struct proxy_front *front = of(stream);
    char room[PROXY_RESTORE_VALUE_MAX];
    if (front->inner == NULL) {
        if (!front->closed && front->listed)
            keep_head(front, message, end);
        return;
    }
    if (is_restored(front)) {
        set_version(front, message);
        proxy_restore_pack_request(message, room);
    }
    front->sending++;
    proxy_stream_send_head(front->inner, message, end);
    front->sending--;
    mirror(front);
}

static void send_data(struct proxy_stream *stream, struct fl_span data)
{
    struct proxy_front *front = of(stream);
    if (front->inner == NULL) {
        if (!front->closed && front->listed)
            keep_data(front, data);
        return;
    }
    front->sending++;
    proxy_stream_send_data(front->inner, data);
    front->sending--;
    mirror(front);
}

static void send_packed(struct proxy_front *front, const struct proxy_headers *trailers)
{
    char room[PROXY_RESTORE_VALUE_MAX];
    struct proxy_headers packed = *trailers;
    proxy_restore_pack_trailers(&packed, room);
    proxy_stream_send_end(front->inner, &packed);
}

static void send_end(struct proxy_stream *stream, const struct proxy_headers *trailers)
{
    struct proxy_front *front = of(stream);
    if (front->inner == NULL) {
        if (!front->closed && front->listed)
            keep_end(front, trailers);
        return;
    }
    front->sending++;
    if (trailers != NULL && is_restored(front))
        send_packed(front, trailers);
    else
        proxy_stream_send_end(front->inner, trailers);
    front->sending--;
    mirror(front);
}

/* What was kept, now that there is a stream for it. */
static void send_kept(struct proxy_front *front)
{
    struct proxy_message *message = front->lane->cluster->options.scratch.message;
    bool paused = front->paused;
    if (paused)
        proxy_stream_pause(front->inner);
    front->stream.sent = 0;
    if (front->head != NULL) {
        proxy_message_restore_kept(front->head, message);
        send_head(&front->stream, message, front->head_ends);
    }
    if (front->data.len > 0 && front->inner != NULL)
        send_data(&front->stream, fl_buf_span(&front->data));
    if (front->end_sent && front->inner != NULL) {
        if (front->trailers != NULL)
            proxy_message_restore_kept(front->trailers, message);
        send_end(&front->stream, front->trailers != NULL ? &message->headers : NULL);
    }
    forget(front);
}

static void begin(struct proxy_front *front)
{
    bool backlogged = front->backlogged;
    front->backlogged = false;
    front->upstream.opened = true;
    front->stream.events->on_open(front->stream.user);
    if (front->closed || front->inner == NULL)
        return;
    send_kept(front);
    if (backlogged && !front->closed && front->inner != NULL && !proxy_stream_is_backlogged(front->inner))
        front->stream.events->on_writable(front->stream.user);
}

void proxy_front_on_mux(struct proxy_front *front)
{
    begin(front);
}

void proxy_front_on_carrier(struct proxy_front *front, struct proxy_upstream *carrier)
{
    front->carrier = carrier;
    front->upstream.conn = carrier->conn;
    front->upstream.label = carrier->label;
    carrier->client->scratch = front->lane->cluster->options.scratch;
    proxy_h1_client_begin(carrier->client, carrier->conn, true, &proxy_front_events, front);
    front->inner = &carrier->client->stream;
    begin(front);
}

/* --- the stream ------------------------------------------------------------------------------------------------- */

static void close_front(struct proxy_stream *stream, enum proxy_reset why)
{
    struct proxy_front *front = of(stream);
    front->closed = true;
    if (front->inner != NULL && front->carrier == NULL)
        proxy_stream_close(fl_take(front->inner), why);
    else if (front->inner != NULL)
        proxy_stream_close(front->inner, why);
}

static void pause_front(struct proxy_stream *stream)
{
    struct proxy_front *front = of(stream);
    if (front->inner != NULL)
        proxy_stream_pause(front->inner);
    front->paused = true;
}

static void resume_front(struct proxy_stream *stream)
{
    struct proxy_front *front = of(stream);
    if (front->inner != NULL)
        proxy_stream_resume(front->inner);
    front->paused = false;
}

static bool is_backlogged(const struct proxy_stream *stream)
{
    const struct proxy_front *front = of(stream);
    return front->inner != NULL ? proxy_stream_is_backlogged(front->inner) : front->backlogged;
}

static size_t unsent(const struct proxy_stream *stream)
{
    const struct proxy_front *front = of(stream);
    if (front->inner != NULL)
        return proxy_stream_unsent(front->inner);
    return front->upstream.opened ? front->left : (size_t)stream->sent;
}

static const char *error_of(const struct proxy_stream *stream)
{
    const struct proxy_front *front = of(stream);
    return front->error != NULL ? front->error : "";
}

static const struct proxy_stream_ops front_ops = {
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .close = close_front,
    .pause = pause_front,
    .resume = resume_front,
    .is_backlogged = is_backlogged,
    .unsent = unsent,
    .error = error_of,
};

struct proxy_front *proxy_front_new(struct proxy_lane *lane, const struct proxy_upstream_want *want,
                                    const struct proxy_stream_events *events, void *user)
{
    struct proxy_front *front = calloc(1, sizeof(*front));
    if (front == NULL)
        return NULL;
    front->stream = (struct proxy_stream){.ops = &front_ops, .events = events, .user = user};
    front->lane = lane;
    front->pin = want->pin;
    front->end = front->late = -1;
    front->upstream.stream = &front->stream;
    front->upstream.cluster = proxy_cluster_run_ref(lane->cluster);
    front->upstream.host = lane->host;
    front->upstream.is_request = lane->host->behind == NULL;
    lane->host->uses++;
    proxy_upstream_count(&front->upstream);
    return front;
}

static void release(struct fl_deferred *deferred)
{
    struct proxy_upstream *upstream = FL_CONTAINER_OF(deferred, struct proxy_upstream, deferred);
    free(proxy_front_of(upstream));
}

void proxy_front_unlist(struct proxy_front *front)
{
    struct proxy_lane *lane = front->lane;
    *front->link = front->next;
    if (front->next != NULL)
        front->next->link = front->link;
    else
        lane->waiting_end = front->link;
    lane->waiting_count--;
    lane->waiting_pinned -= front->pin != 0;
    front->listed = false;
}

static void let_carrier_go(struct proxy_upstream *carrier)
{
    const struct proxy_h1_client *client = carrier->client;
    if (client->gone)
        carrier->conn = NULL;
    if (proxy_h1_client_is_clean(client))
        proxy_upstream_put_read(carrier);
    else
        proxy_upstream_drop(carrier, client->answer_done ? PROXY_CLOSE_FLUSH : PROXY_CLOSE_RESET);
}

void proxy_front_finish(struct proxy_front *front, enum proxy_reset why)
{
    struct proxy_cluster_run *cluster = front->upstream.cluster;
    struct proxy_host *host = front->upstream.host;
    close_front(&front->stream, why);
    if (front->late >= 0)
        proxy_lane_forget_late(front);
    if (front->listed)
        proxy_front_unlist(front);
    forget(front);
    if (front->carrier != NULL) {
        front->carrier->label = front->upstream.label;
        let_carrier_go(fl_take(front->carrier));
    }
    leave_mux(front);
    proxy_upstream_uncount(&front->upstream);
    host->uses--;
    proxy_host_release(cluster, host);
    fl_loop_defer(cluster->turn->loop, &front->upstream.deferred, release);
    proxy_cluster_run_unref(cluster);
}
