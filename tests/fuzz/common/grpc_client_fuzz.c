/* A client's session, with two calls under way, against the bytes of a server. The first byte of the input says how
 * they come: its low seven bits are the size of a piece (0: all at once), the high bit puts a server's SETTINGS before.
 */
#include "common/grpc/session.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned ends;
static struct fl_grpc_session *session;

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

static void on_message(void *user, struct fl_span message)
{
    must(user != NULL && message.len <= 4096);
}

static void on_end(void *user, enum fl_grpc_status status, struct fl_span text)
{
    bool *ended = user;
    must(!*ended && text.len <= FL_GRPC_TEXT_MAX);
    must(fl_grpc_status_text(status) != NULL);
    *ended = true;
    ends++;
}

static const struct fl_grpc_session_ops session_ops = {.now_ms = now_ms, .on_output = nothing, .on_ready = nothing};
static const struct fl_grpc_exchange_ops exchange_ops = {
    .on_message = on_message, .on_half_close = nothing, .on_writable = nothing, .on_end = on_end};

static bool drain_output(void)
{
    struct fl_span bytes = {NULL, 0};
    do {
        if (fl_grpc_session_output(session, &bytes, NULL) < 0)
            return false;
    } while (bytes.len > 0);
    return !fl_grpc_session_is_over(session);
}

static void start(bool *ended, bool half_close)
{
    const struct fl_grpc_request request = {.path = FL_SPAN("/a/b"), .authority = FL_SPAN("x"), .scheme = "http"};
    struct fl_grpc_exchange *exchange;
    *ended = false;
    must(fl_grpc_exchange_start(session, &request, ended, &exchange) == 0);
    must(fl_grpc_exchange_send(exchange, FL_SPAN("hello")) == 0);
    if (half_close)
        fl_grpc_exchange_half_close(exchange);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct fl_grpc_session_options options = {
        .message_max = 4096, .queue_max = 4096, .header_bytes = 2048, .streams = 8, .inbound_max = 16384};
    struct fl_span rest = fl_span_make(data + 1, size - 1);
    size_t piece = (data[0] & 0x7f) > 0 ? data[0] & 0x7f : SIZE_MAX;
    bool ended[2];
    ends = 0;
    must(fl_grpc_session_new(&options, &session_ops, NULL, &exchange_ops, &session) == 0);
    start(&ended[0], true);
    start(&ended[1], false);
    bool alive = drain_output();
    if ((data[0] & 0x80) != 0)
        alive = fl_grpc_session_feed(session, FL_SPAN("\0\0\0\4\0\0\0\0\0"), NULL) == 0 && drain_output();
    while (rest.len > 0 && alive) {
        struct fl_span part = fl_span_make(rest.data, piece < rest.len ? piece : rest.len);
        rest = fl_span_from(rest, part.len);
        alive = fl_grpc_session_feed(session, part, NULL) == 0 && drain_output();
    }
    fl_grpc_session_abort(session, FL_GRPC_UNAVAILABLE, FL_SPAN(""), true);
    must(ends == 2 && fl_grpc_session_exchanges(session) == 0);
    session = fl_grpc_session_free(session);
    return 0;
}
