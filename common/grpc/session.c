#include "common/grpc/session.h"

#include "common/grpc/inner.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <sys/mman.h>

/* nghttp2 keeps streams, windows, HPACK and the order of output; exchanges hang on its streams as user data. A dead
 * exchange is detached from its stream at once and freed when no call of the session runs. */

#define STREAM_WINDOW     (1 << 20) /* what is received is consumed at once: a window costs no memory */
#define CONNECTION_WINDOW (4 << 20)
#define CREDITS           4000 /* frames without content in a burst */
#define CREDITS_A_SECOND  400
#define REFUSAL_CREDITS   10 /* a stream beyond the limit */
#define RESET_BURST       200
#define RESETS_A_SECOND   20
#define ACKS_MAX          100 /* acknowledgements that wait for a peer who does not read */
#define CONTINUATIONS_MAX 8
#define SETTINGS_MAX      16
#define FRAME_BUFFER      16384 /* what nghttp2 asks for at once and is as large is its buffer for a frame */

void fl_grpc_session_fail(struct fl_grpc_session *session, int code)
{
    if (session->fault == 0)
        session->fault = code;
    fl_grpc_session_wake(session);
}

void fl_grpc_session_wake(struct fl_grpc_session *session)
{
    if (!session->aborted)
        session->ops->on_output(session->owner);
}

static void sweep(struct fl_grpc_session *session)
{
    struct fl_grpc_exchange *exchange = session->exchanges;
    while (session->calls == 0 && exchange != NULL) {
        struct fl_grpc_exchange *next = exchange->next;
        if (exchange->dead)
            fl_grpc_exchange_free(exchange);
        exchange = next;
    }
}

static struct fl_grpc_exchange *exchange_of(nghttp2_session *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2, id);
}

static void earn_credits(struct fl_grpc_session *session)
{
    uint64_t now_ms = session->ops->now_ms(session->owner);
    uint64_t earned = (now_ms - session->credits_ms) * CREDITS_A_SECOND / 1000 + session->sent / 1024;
    if (earned == 0)
        return;
    session->credits_ms = now_ms;
    session->sent %= 1024;
    session->credits = earned < CREDITS - session->credits ? session->credits + (unsigned)earned : CREDITS;
}

/* 0, or a fatal error of nghttp2. */
static int spend(struct fl_grpc_session *session, nghttp2_session *h2, unsigned credits)
{
    if (session->flooded)
        return 0;
    if (session->credits < CREDITS / 2)
        earn_credits(session);
    if (session->credits >= credits) {
        session->credits -= credits;
        return 0;
    }
    session->flooded = true;
    int result = nghttp2_session_terminate_session(h2, NGHTTP2_ENHANCE_YOUR_CALM);
    return nghttp2_is_fatal(result) ? result : 0;
}

static int on_begin_frame(nghttp2_session *h2, const nghttp2_frame_hd *head, void *user)
{
    struct fl_grpc_session *session = user;
    bool content = (head->type == NGHTTP2_DATA && (head->length > 0 || (head->flags & NGHTTP2_FLAG_END_STREAM) != 0)) ||
                   head->type == NGHTTP2_HEADERS;
    return content ? 0 : spend(session, h2, 1);
}

static int refuse_stream(struct fl_grpc_session *session, int32_t id)
{
    int result = spend(session, session->h2, REFUSAL_CREDITS);
    return result != 0 ? result : nghttp2_submit_rst_stream(session->h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct fl_grpc_session *session = user;
    if (!session->options.server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (session->aborted || session->count >= session->options.streams)
        return refuse_stream(session, frame->hd.stream_id);
    struct fl_grpc_exchange *exchange;
    int result = fl_grpc_exchange_new(session, &exchange);
    if (result < 0) {
        fl_grpc_session_fail(session, result);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    exchange->id = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(h2, exchange->id, exchange);
    return 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    (void)flags;
    struct fl_grpc_exchange *exchange = exchange_of(h2, frame->hd.stream_id);
    if (exchange == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    int result = fl_grpc_head_add(exchange, fl_span_make(name, name_len), fl_span_make(value, value_len));
    if (result == -EMSGSIZE || (result == 0 && !fl_grpc_exchange_account(exchange)))
        fl_grpc_exchange_end(exchange, FL_GRPC_RESOURCE_EXHAUSTED, FL_SPAN("headers are too long"),
                             NGHTTP2_ENHANCE_YOUR_CALM);
    if (result == -ENOMEM) {
        fl_grpc_session_fail(user, result);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static void on_settings(struct fl_grpc_session *session, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && !session->ready) {
        session->ready = true;
        session->ops->on_ready(session->owner);
    }
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct fl_grpc_session *session = user;
    bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct fl_grpc_exchange *exchange = NULL;
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
        exchange = exchange_of(h2, frame->hd.stream_id);
    if (session->aborted)
        return 0;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        on_settings(session, frame);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        session->goaway_seen = true;
        session->goaway_error = frame->goaway.error_code;
    }
    if (exchange != NULL && frame->hd.type == NGHTTP2_HEADERS)
        fl_grpc_exchange_on_head(exchange, last);
    if (exchange != NULL && !exchange->dead && last)
        fl_grpc_exchange_on_last(exchange);
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    (void)flags, (void)user;
    struct fl_grpc_exchange *exchange = exchange_of(h2, id);
    if (exchange != NULL)
        fl_grpc_exchange_on_data(exchange, fl_span_make(data, len));
    return 0;
}

/* The response is sent and the client still talks: it is told to stop (RFC 9113 §8.1). */
static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct fl_grpc_session *session = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        session->goaway_sent = true;
        session->goaway_error = frame->goaway.error_code;
    }
    bool last = frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct fl_grpc_exchange *exchange = last ? exchange_of(h2, frame->hd.stream_id) : NULL;
    if (session->options.server && exchange != NULL && !exchange->half_closed)
        return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, exchange->id, NGHTTP2_NO_ERROR);
    return 0;
}

/* A request that could not be sent (the server has gone away meanwhile): nghttp2 knows no stream for it. */
static int on_frame_not_send(nghttp2_session *h2, const nghttp2_frame *frame, int error, void *user)
{
    (void)h2, (void)error;
    struct fl_grpc_session *session = user;
    if (frame->hd.type != NGHTTP2_HEADERS || session->options.server)
        return 0;
    for (struct fl_grpc_exchange *exchange = session->exchanges; exchange != NULL; exchange = exchange->next) {
        if (exchange->id == frame->hd.stream_id && !exchange->dead) {
            fl_grpc_exchange_end(exchange, FL_GRPC_UNAVAILABLE, FL_SPAN("the server is going away"), NGHTTP2_NO_ERROR);
            break;
        }
    }
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t error, void *user)
{
    struct fl_grpc_session *session = user;
    struct fl_grpc_exchange *exchange = exchange_of(h2, id);
    if (exchange == NULL)
        return 0;
    char text[FL_ERR_TEXT_MAX];
    snprintf(text, sizeof(text), "the %s reset the stream: %s", session->options.server ? "client" : "server",
             nghttp2_http2_strerror(error));
    fl_grpc_exchange_end(exchange, fl_grpc_status_of_reset(error), fl_span_str(text), NGHTTP2_NO_ERROR);
    return 0;
}

static int on_error(nghttp2_session *h2, int code, const char *message, size_t len, void *user)
{
    (void)h2, (void)code;
    struct fl_grpc_session *session = user;
    if (session->detail[0] == '\0')
        snprintf(session->detail, sizeof(session->detail), "%.*s", (int)(len < 120 ? len : 120), message);
    return 0;
}

/* nghttp2 allocates by our functions, so that tests let its allocations fail too; and so that its buffer for one frame
 * of 16 KiB, which it keeps as long as it lives, lies on pages of its own: only those that frames ever reached take
 * memory, and ours reach the first (FL_GRPC_DATA_MAX). */
static void *take(size_t size, void *user)
{
    struct fl_grpc_session *session = user;
    if (size < FRAME_BUFFER || session->frame != NULL)
        return malloc(size);
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
    (void)madvise(pages, size, MADV_NOHUGEPAGE); /* many of them lie side by side */
    session->frame = pages;
    session->frame_size = size;
    return pages;
}

static void give(void *memory, void *user)
{
    struct fl_grpc_session *session = user;
    if (memory == NULL || memory != session->frame) {
        free(memory);
        return;
    }
    munmap(session->frame, session->frame_size);
    session->frame = NULL;
}

static void *take_zeroed(size_t count, size_t size, void *user)
{
    (void)user;
    return calloc(count, size);
}

static void *take_again(void *memory, size_t size, void *user)
{
    const struct fl_grpc_session *session = user;
    if (memory == NULL)
        return take(size, user);
    if (memory != session->frame)
        return realloc(memory, size);
    void *copy = malloc(size);
    if (copy != NULL) {
        memcpy(copy, memory, size < session->frame_size ? size : session->frame_size);
        give(memory, user);
    }
    return copy;
}

static int make_callbacks(nghttp2_session_callbacks **ret_callbacks)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    *ret_callbacks = callbacks;
    return 0;
}

static int make_option(nghttp2_option **ret_option)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        return -ENOMEM;
    nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESETS_A_SECOND);
    nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
    nghttp2_option_set_max_settings(option, SETTINGS_MAX);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_reserved_remote_streams(option, 0);
    *ret_option = option;
    return 0;
}

static int open_h2(struct fl_grpc_session *session)
{
    nghttp2_mem memory = {session, take, give, take_zeroed, take_again};
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option = NULL;
    int result = make_callbacks(&callbacks);
    if (result < 0)
        return result;
    result = make_option(&option);
    if (result == 0) {
        int code = session->options.server
                       ? nghttp2_session_server_new3(&session->h2, callbacks, session, option, &memory)
                       : nghttp2_session_client_new3(&session->h2, callbacks, session, option, &memory);
        result = code == 0 ? 0 : -ENOMEM;
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return result;
}

static int say_settings(struct fl_grpc_session *session)
{
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)session->options.header_bytes},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, session->options.server ? session->options.streams : 0},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, /* the client's to say */
    };
    size_t count = FL_COUNT(entries) - (session->options.server ? 1 : 0);
    if (nghttp2_submit_settings(session->h2, NGHTTP2_FLAG_NONE, entries, count) != 0)
        return -ENOMEM;
    return nghttp2_session_set_local_window_size(session->h2, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0 ? 0
                                                                                                            : -ENOMEM;
}

int fl_grpc_session_new(const struct fl_grpc_session_options *options, const struct fl_grpc_session_ops *ops,
                        void *owner, const struct fl_grpc_exchange_ops *exchange_ops,
                        struct fl_grpc_session **ret_session)
{
    struct fl_grpc_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return -ENOMEM;
    session->ops = ops;
    session->owner = owner;
    session->exchange_ops = exchange_ops;
    session->options = *options;
    session->credits = CREDITS;
    session->credits_ms = ops->now_ms(owner);
    int result = open_h2(session);
    if (result == 0)
        result = say_settings(session);
    if (result < 0) {
        fl_grpc_session_free(session);
        return result;
    }
    *ret_session = session;
    return 0;
}

struct fl_grpc_session *fl_grpc_session_free(struct fl_grpc_session *session)
{
    if (session == NULL)
        return NULL;
    assert(session->calls == 0);
    fl_grpc_session_abort(session, FL_GRPC_CANCELLED, FL_SPAN(""), false);
    nghttp2_session_del(session->h2);
    free(session);
    return NULL;
}

/* What a return value of nghttp2 means. */
static int translate(struct fl_grpc_session *session, ssize_t code, struct fl_err *err)
{
    if (session->fault < 0)
        return fl_err_errno(err, session->fault, "HTTP/2");
    if (code >= 0)
        return 0;
    int result = code == NGHTTP2_ERR_NOMEM ? -ENOMEM : code == NGHTTP2_ERR_FLOODED ? -EDQUOT : -EPROTO;
    session->fault = result;
    return fl_err_set(err, result, "HTTP/2: %s", nghttp2_strerror((int)code));
}

int fl_grpc_session_feed(struct fl_grpc_session *session, struct fl_span bytes, struct fl_err *err)
{
    assert(session->calls == 0);
    if (session->fault < 0)
        return translate(session, 0, err);
    session->calls++;
    ssize_t count = nghttp2_session_mem_recv(session->h2, (const uint8_t *)bytes.data, bytes.len);
    session->calls--;
    sweep(session);
    return translate(session, count, err);
}

static void tell_writable(struct fl_grpc_session *session)
{
    session->notify = false;
    session->calls++;
    for (struct fl_grpc_exchange *exchange = session->exchanges; exchange != NULL; exchange = exchange->next) {
        if (!exchange->has_room)
            continue;
        exchange->has_room = false;
        if (!exchange->dead && !exchange->finishing)
            session->exchange_ops->on_writable(exchange->user);
    }
    session->calls--;
}

int fl_grpc_session_output(struct fl_grpc_session *session, struct fl_span *ret_bytes, struct fl_err *err)
{
    assert(session->calls == 0);
    const uint8_t *data = NULL;
    ssize_t count = 0;
    if (session->fault == 0) {
        session->calls++;
        count = nghttp2_session_mem_send(session->h2, &data);
        session->calls--;
    }
    int result = translate(session, count, err);
    if (result < 0)
        return result;
    if (session->notify)
        tell_writable(session);
    sweep(session);
    session->sent += (size_t)count;
    *ret_bytes = fl_span_make(data, (size_t)count);
    return 0;
}

bool fl_grpc_session_is_over(const struct fl_grpc_session *session)
{
    return session->fault < 0 ||
           (nghttp2_session_want_read(session->h2) == 0 && nghttp2_session_want_write(session->h2) == 0);
}

int fl_grpc_session_reason(const struct fl_grpc_session *session, struct fl_err *err)
{
    const char *peer = session->options.server ? "client" : "server";
    if (session->flooded)
        return fl_err_set(err, -EDQUOT, "HTTP/2: the %s floods us with frames that carry nothing", peer);
    if (session->goaway_seen && session->goaway_error == NGHTTP2_NO_ERROR)
        return fl_err_set(err, -ECONNRESET, "the %s is going away", peer);
    if (session->goaway_seen)
        return fl_err_set(err, -ECONNRESET, "the %s ended the connection: %s", peer,
                          nghttp2_http2_strerror(session->goaway_error));
    if (session->goaway_sent && session->goaway_error != NGHTTP2_NO_ERROR)
        return fl_err_set(err, -EPROTO, "HTTP/2: %s",
                          session->detail[0] != '\0' ? session->detail : nghttp2_http2_strerror(session->goaway_error));
    return fl_err_set(err, -ECONNRESET, "the connection is closed");
}

int fl_grpc_session_ping(struct fl_grpc_session *session)
{
    if (nghttp2_submit_ping(session->h2, NGHTTP2_FLAG_NONE, NULL) != 0)
        return -ENOMEM;
    fl_grpc_session_wake(session);
    return 0;
}

void fl_grpc_session_goaway(struct fl_grpc_session *session)
{
    if (session->going)
        return;
    session->going = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(session->h2);
    if (nghttp2_submit_goaway(session->h2, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        fl_grpc_session_fail(session, -ENOMEM);
    fl_grpc_session_wake(session);
}

void fl_grpc_session_abort(struct fl_grpc_session *session, enum fl_grpc_status status, struct fl_span text, bool tell)
{
    session->aborted = true;
    session->calls++;
    for (struct fl_grpc_exchange *exchange = session->exchanges; exchange != NULL; exchange = exchange->next) {
        if (exchange->dead)
            continue;
        if (tell)
            fl_grpc_exchange_end(exchange, status, text, NGHTTP2_CANCEL);
        else
            fl_grpc_exchange_cancel(exchange);
    }
    session->calls--;
    sweep(session);
}

void fl_grpc_session_drop_slow(struct fl_grpc_session *session, uint64_t before_ms)
{
    session->calls++;
    for (struct fl_grpc_exchange *exchange = session->exchanges; exchange != NULL; exchange = exchange->next) {
        if (!exchange->dead && fl_grpc_exchange_queued(exchange) > 0 && exchange->progress_ms <= before_ms)
            fl_grpc_exchange_end(exchange, FL_GRPC_RESOURCE_EXHAUSTED, FL_SPAN("the peer does not read"),
                                 NGHTTP2_CANCEL);
    }
    session->calls--;
    sweep(session);
}

uint64_t fl_grpc_session_waits_since(const struct fl_grpc_session *session)
{
    uint64_t since = UINT64_MAX;
    for (const struct fl_grpc_exchange *exchange = session->exchanges; exchange != NULL; exchange = exchange->next) {
        if (!exchange->dead && fl_grpc_exchange_queued(exchange) > 0 && exchange->progress_ms < since)
            since = exchange->progress_ms;
    }
    return since;
}

size_t fl_grpc_session_exchanges(const struct fl_grpc_session *session)
{
    return session->count;
}
