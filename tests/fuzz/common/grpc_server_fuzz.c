/* A server's session against the bytes of a connection. The first byte of the input says how they come: its low seven
 * bits are the size of a piece (0: all at once), the high bit puts a client's preface before. The server echoes. */
#include "common/grpc/session.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t requests, ends;

struct stream {
    struct fl_grpc_exchange *exchange;
};

static void must(bool good)
{
    if (!good)
        abort();
}

static uint64_t now_ms(void *owner)
{
    (void)owner;
    return 1;
}

static void nothing(void *owner)
{
    (void)owner;
}

static void on_request(void *owner, struct fl_grpc_exchange *exchange)
{
    (void)owner;
    struct stream *stream = calloc(1, sizeof(*stream));
    must(stream != NULL);
    must(fl_grpc_exchange_header(exchange, ":path").len > 0);
    (void)fl_grpc_exchange_header(exchange, "authorization");
    stream->exchange = exchange;
    fl_grpc_exchange_set_user(exchange, stream);
    requests++;
}

static void on_message(void *user, struct fl_span message)
{
    struct stream *stream = user;
    must(message.len <= 4096);
    if (fl_grpc_exchange_send(stream->exchange, message) < 0)
        fl_grpc_exchange_finish(stream->exchange, FL_GRPC_RESOURCE_EXHAUSTED, "full");
}

static void on_half_close(void *user)
{
    struct stream *stream = user;
    fl_grpc_exchange_finish(stream->exchange, FL_GRPC_OK, NULL);
}

static void on_end(void *user, enum fl_grpc_status status, struct fl_span text)
{
    (void)status, (void)text;
    free(user);
    ends++;
}

static const struct fl_grpc_session_ops session_ops = {
    .now_ms = now_ms, .on_output = nothing, .on_ready = nothing, .on_request = on_request};
static const struct fl_grpc_exchange_ops exchange_ops = {
    .on_message = on_message, .on_half_close = on_half_close, .on_writable = nothing, .on_end = on_end};

/* False once the session is of no use. */
static bool drain_output(struct fl_grpc_session *session)
{
    struct fl_span bytes = {NULL, 0};
    do {
        if (fl_grpc_session_output(session, &bytes, NULL) < 0)
            return false;
    } while (bytes.len > 0);
    return !fl_grpc_session_is_over(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct fl_span preface = FL_SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
    const struct fl_grpc_session_options options = {.server = true,
                                                    .message_max = 4096,
                                                    .queue_max = 4096,
                                                    .header_bytes = 2048,
                                                    .streams = 8,
                                                    .inbound_max = 16384};
    struct fl_grpc_session *session;
    struct fl_span rest = fl_span_make(data + 1, size - 1);
    size_t piece = (data[0] & 0x7f) > 0 ? data[0] & 0x7f : SIZE_MAX;
    requests = ends = 0;
    must(fl_grpc_session_new(&options, &session_ops, NULL, &exchange_ops, &session) == 0);
    bool alive = true;
    if ((data[0] & 0x80) != 0)
        alive = fl_grpc_session_feed(session, preface, NULL) == 0 && drain_output(session);
    while (rest.len > 0 && alive) {
        struct fl_span part = fl_span_make(rest.data, piece < rest.len ? piece : rest.len);
        rest = fl_span_from(rest, part.len);
        alive = fl_grpc_session_feed(session, part, NULL) == 0 && drain_output(session);
        must(fl_grpc_session_exchanges(session) <= 8);
    }
    fl_grpc_session_abort(session, FL_GRPC_UNAVAILABLE, FL_SPAN(""), true);
    must(requests == ends && fl_grpc_session_exchanges(session) == 0);
    fl_grpc_session_free(session);
    return 0;
}
