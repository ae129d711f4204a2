/* What HTTP/2 costs by itself: nanoseconds per request between a client's and a server's session in memory, ours and
 * nghttp2's in the same run, with 1 and with 50 streams a batch; and what idle sessions and streams hold. Printed,
 * never asserted: the best of some rounds, in CPU time.
 *
 *     cmake --preset release -DFL_TESTS=ON && cmake --build --preset release --target bench_h2_codec
 *     build/release/tests/bench_h2_codec
 */
#include "proxy/http/h2.h"

#include <malloc.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS   7
#define REQUESTS 20000
#define BATCH    50

struct field {
    const char *name, *value;
};

static const struct field request_fields[] = {
    {"user-agent", "grpc-go/1.60.0"},
    {"accept", "*/*"},
    {"accept-encoding", "gzip, deflate, br"},
    {"x-request-id", "3f2b8c1e-6a4d-4f0e-9c3b-1a2b3c4d5e6f"},
    {"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    {"x-forwarded-proto", "http"},
};
static const struct field answer_fields[] = {
    {"server", "nginx/1.22.1"},
    {"date", "Mon, 23 Nov 2026 12:00:00 GMT"},
    {"content-type", "application/octet-stream"},
    {"content-length", "128"},
    {"last-modified", "Mon, 23 Nov 2026 11:00:00 GMT"},
    {"etag", "\"6560a0b0-80\""},
    {"accept-ranges", "bytes"},
};
static const char body[128];

static struct buffer {
    char bytes[1 << 20];
    size_t len;
} to_server, to_client;

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void put(struct buffer *buffer, const void *bytes, size_t len)
{
    if (len > sizeof(buffer->bytes) - buffer->len)
        abort();
    memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
}

/* ---- ours ---- */

static struct proxy_pool pool;
static struct proxy_message message, head;
static struct proxy_headers trailers;
static struct proxy_h2 *client, *server;
static size_t answered;

static void nothing(void *user)
{
    (void)user;
}

static void nothing_reset(void *user, enum proxy_reset why)
{
    (void)user;
    (void)why;
}

static void fill(struct proxy_headers *headers, const struct field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (proxy_headers_add(headers, fl_span_str(fields[i].name), fl_span_str(fields[i].value)) < 0)
            abort();
    }
}

static void serve(void *user, struct proxy_message *request, bool end)
{
    struct proxy_stream *stream = *(struct proxy_stream **)user;
    (void)end;
    if (request->headers.count < FL_COUNT(request_fields))
        abort();
    head.status = 200; /* the rest was filled in once */
    proxy_stream_send_head(stream, &head, false);
    proxy_stream_send_data(stream, fl_span_make(body, sizeof(body)));
    proxy_stream_send_end(stream, NULL);
    proxy_stream_close(stream, PROXY_RESET_CANCELLED);
}

static void take_head(void *user, struct proxy_message *answer, bool end)
{
    (void)user;
    (void)answer;
    (void)end;
}

static void take_data(void *user, struct fl_span data)
{
    (void)user;
    (void)data;
}

static void serve_end(void *user, struct proxy_headers *fields)
{
    (void)user;
    (void)fields;
}

static void take_end(void *user, struct proxy_headers *fields)
{
    (void)fields;
    answered++;
    proxy_stream_close(*(struct proxy_stream **)user, PROXY_RESET_CANCELLED);
}

static const struct proxy_stream_events server_events = {nothing, serve, take_data, serve_end, nothing, nothing_reset};
static const struct proxy_stream_events client_events = {nothing,  take_head, take_data,
                                                         take_end, nothing,   nothing_reset};
static struct proxy_stream *server_stream, *client_streams[BATCH];

static void send_bytes(void *owner, struct fl_span bytes)
{
    put(owner, bytes.data, bytes.len);
}

static bool on_stream(void *owner, struct proxy_stream *stream)
{
    (void)owner;
    server_stream = stream;
    stream->events = &server_events;
    stream->user = &server_stream;
    return true;
}

static void on_over(void *owner, enum proxy_h2_error error)
{
    (void)owner;
    fprintf(stderr, "over: %s\n", proxy_h2_error_word(error));
    abort();
}

static const struct proxy_h2_owner ops = {send_bytes, on_stream, nothing, nothing, on_over, NULL};

static struct proxy_h2 *make_session(bool is_server)
{
    struct proxy_h2_options options = {.server = is_server,
                                       .pool = &pool,
                                       .message = &message,
                                       .trailers = &trailers,
                                       .ops = &ops,
                                       .owner = is_server ? &to_client : &to_server};
    struct proxy_h2 *h2;
    if (proxy_h2_new(&options, 1, &h2) < 0)
        abort();
    return h2;
}

static void feed(struct proxy_h2 *h2, struct buffer *buffer)
{
    size_t len = buffer->len;
    buffer->len = 0;
    proxy_h2_feed(h2, fl_span_make(buffer->bytes, len), 1);
}

static void ours_begin(void)
{
    client = make_session(false);
    server = make_session(true);
    feed(server, &to_server);
    feed(client, &to_client);
    feed(server, &to_server);
    proxy_message_init(&head);
    fill(&head.headers, answer_fields, FL_COUNT(answer_fields));
    head.framing = PROXY_FRAMING_LENGTH;
    head.content_length = sizeof(body);
    head.has_content_length = true;
}

static void ours_request(size_t i)
{
    static struct proxy_message request;
    proxy_message_init(&request);
    request.method = FL_SPAN("GET");
    request.method_id = PROXY_METHOD_GET;
    request.authority = FL_SPAN("shop.demo.svc.cluster.local:8080");
    request.path = FL_SPAN("/catalog/items?page=3&sort=price");
    fill(&request.headers, request_fields, FL_COUNT(request_fields));
    if (proxy_h2_open(client, &client_events, &client_streams[i], &client_streams[i]) != 0)
        abort();
    proxy_stream_send_head(client_streams[i], &request, true);
}

static double parts[3];

static void ours_batch(size_t count)
{
    double t0 = now_ns();
    for (size_t i = 0; i < count; i++)
        ours_request(i);
    double t1 = now_ns();
    feed(server, &to_server);
    double t2 = now_ns();
    feed(client, &to_client);
    double t3 = now_ns();
    parts[0] += t1 - t0;
    parts[1] += t2 - t1;
    parts[2] += t3 - t2;
}

/* ---- nghttp2's ---- */

static nghttp2_session *theirs_client, *theirs_server;

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t len, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)source;
    (void)user;
    if (len < sizeof(body))
        abort();
    memcpy(to, body, sizeof(body));
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return sizeof(body);
}

static size_t fields_to(nghttp2_nv *to, const struct field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        union {
            const char *from;
            uint8_t *to;
        } name = {fields[i].name}, value = {fields[i].value};
        bool volatile_field = strcmp(fields[i].name, "x-request-id") == 0 || strcmp(fields[i].name, "traceparent") == 0;
        to[i] = (nghttp2_nv){name.to, value.to, strlen(fields[i].name), strlen(fields[i].value),
                             volatile_field ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
    }
    return count;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (session != theirs_server || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    static const struct field status = {":status", "200"};
    nghttp2_nv list[16];
    size_t count = fields_to(list, &status, 1);
    count += fields_to(list + 1, answer_fields, FL_COUNT(answer_fields));
    nghttp2_data_provider provider = {.read_callback = read_body};
    return nghttp2_submit_response(session, frame->hd.stream_id, list, count, &provider);
}

static size_t seen;

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)user;
    seen += name_len + value_len;
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    (void)session;
    (void)flags;
    (void)id;
    (void)data;
    (void)user;
    seen += len;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)id;
    (void)code;
    (void)user;
    answered += session == theirs_client;
    return 0;
}

static void drain(nghttp2_session *session, struct buffer *buffer)
{
    const uint8_t *bytes;
    ssize_t len;
    while ((len = nghttp2_session_mem_send(session, &bytes)) > 0)
        put(buffer, bytes, (size_t)len);
}

static void theirs_feed(nghttp2_session *session, struct buffer *buffer)
{
    size_t len = buffer->len;
    buffer->len = 0;
    if (nghttp2_session_mem_recv(session, (const uint8_t *)buffer->bytes, len) != (ssize_t)len)
        abort();
}

static void theirs_make(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        abort();
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    if (nghttp2_session_client_new(&theirs_client, callbacks, NULL) != 0 ||
        nghttp2_session_server_new(&theirs_server, callbacks, NULL) != 0)
        abort();
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100};
    nghttp2_submit_settings(theirs_client, NGHTTP2_FLAG_NONE, NULL, 0);
    nghttp2_submit_settings(theirs_server, NGHTTP2_FLAG_NONE, &entry, 1);
}

static void theirs_begin(void)
{
    theirs_make();
    drain(theirs_client, &to_server);
    drain(theirs_server, &to_client);
    theirs_feed(theirs_server, &to_server);
    theirs_feed(theirs_client, &to_client);
}

static void theirs_batch(size_t count)
{
    static const struct field pseudo[] = {{":method", "GET"},
                                          {":scheme", "http"},
                                          {":authority", "shop.demo.svc.cluster.local:8080"},
                                          {":path", "/catalog/items?page=3&sort=price"}};
    double t0 = now_ns();
    for (size_t i = 0; i < count; i++) {
        nghttp2_nv list[16];
        size_t fields = fields_to(list, pseudo, FL_COUNT(pseudo));
        fields += fields_to(list + fields, request_fields, FL_COUNT(request_fields));
        if (nghttp2_submit_request(theirs_client, NULL, list, fields, NULL, NULL) < 0)
            abort();
    }
    drain(theirs_client, &to_server);
    double t1 = now_ns();
    theirs_feed(theirs_server, &to_server);
    drain(theirs_server, &to_client);
    double t2 = now_ns();
    theirs_feed(theirs_client, &to_client);
    drain(theirs_client, &to_server); /* WINDOW_UPDATE */
    double t3 = now_ns();
    parts[0] += t1 - t0;
    parts[1] += t2 - t1;
    parts[2] += t3 - t2;
}

static void measure(const char *what, void (*batch)(size_t), size_t count)
{
    double best[3] = {1e18, 1e18, 1e18}, total = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        memset(parts, 0, sizeof(parts));
        answered = 0;
        for (size_t i = 0; i < REQUESTS; i += count)
            batch(count);
        if (answered < REQUESTS)
            abort();
        double sum = (parts[0] + parts[1] + parts[2]) / (double)answered;
        if (sum >= total)
            continue;
        total = sum;
        for (int i = 0; i < 3; i++)
            best[i] = parts[i] / (double)answered;
    }
    printf("%-28s %2zu streams  %7.0f ns   client out %6.0f   server %6.0f   client in %6.0f\n", what, count, total,
           best[0], best[1], best[2]);
}

/* ---- memory ---- */

#define HELD 1000

static size_t in_use(void)
{
    return mallinfo2().uordblks;
}

static void weigh(void)
{
    static struct proxy_h2 *sessions[HELD];
    size_t before = in_use();
    for (size_t i = 0; i < HELD; i++) {
        sessions[i] = make_session(true);
        to_client.len = 0;
    }
    printf("an idle session, no request yet      %6zu bytes\n", (in_use() - before) / HELD);
    for (size_t i = 0; i < HELD; i++)
        proxy_h2_free(sessions[i]);
    static nghttp2_session *theirs[HELD];
    before = in_use();
    for (size_t i = 0; i < HELD; i++) {
        theirs_make();
        theirs[i] = theirs_server;
        nghttp2_session_del(theirs_client);
    }
    printf("  … of nghttp2                       %6zu bytes\n", (in_use() - before) / HELD);
    for (size_t i = 0; i < HELD; i++)
        nghttp2_session_del(theirs[i]);
}

static void weigh_streams(void)
{
    static const struct proxy_stream_events idle = {nothing, take_head, take_data, serve_end, nothing, nothing_reset};
    struct proxy_h2 *h2 = make_session(false);
    static struct proxy_stream *streams[100];
    size_t before = in_use();
    for (size_t i = 0; i < FL_COUNT(streams); i++) {
        if (proxy_h2_open(h2, &idle, NULL, &streams[i]) != 0)
            abort();
    }
    printf("an idle stream                       %6zu bytes\n", (in_use() - before) / FL_COUNT(streams));
    proxy_h2_end(h2, PROXY_RESET_EOF, "done");
    proxy_h2_free(h2);
    to_server.len = 0;
    before = in_use();
    ours_begin();
    ours_batch(1);
    printf("a session after a request            %6zu bytes\n", (in_use() - before) / 2);
}

int main(void)
{
    weigh();
    weigh_streams();
    measure("ours", ours_batch, 1);
    measure("ours", ours_batch, BATCH);
    to_server.len = to_client.len = 0;
    theirs_begin();
    measure("nghttp2's session", theirs_batch, 1);
    measure("nghttp2's session", theirs_batch, BATCH);
    return 0;
}
