/* A server's bytes to a client's session that has five requests under way, of every kind of answer. The first byte is
 * how their users behave, the second where the bytes are cut. */
#include "tests/fuzz/proxy/h2_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(struct world *world, struct fl_span method, bool upgrade, bool end)
{
    static struct proxy_message head;
    struct proxy_stream *stream;
    if (!proxy_h2_can_open(world->h2))
        return;
    struct user *user = add_user(world);
    if (proxy_h2_open(world->h2, &events, user, &stream) < 0)
        abort();
    user->stream = stream;
    proxy_message_init(&head);
    head.method = method;
    head.method_id = (uint8_t)proxy_method_id(method);
    head.path = head.target = FL_SPAN("/");
    head.authority = FL_SPAN("a:1");
    head.upgrade = upgrade;
    head.framing = end ? PROXY_FRAMING_NONE : PROXY_FRAMING_CHUNKED;
    bool extended = upgrade && head.method_id == PROXY_METHOD_GET;
    if (extended && (proxy_headers_add(&head.headers, FL_SPAN("upgrade"), FL_SPAN("websocket")) < 0 ||
                     proxy_headers_add(&head.headers, FL_SPAN("sec-websocket-key"), FL_SPAN("x")) < 0))
        abort();
    proxy_stream_send_head(stream, &head, end);
}

static void run(struct world *world, const uint8_t *data, size_t size, size_t split)
{
    static const struct fl_span settings = FL_SPAN("\0\0\0\4\0\0\0\0\0");
    world_init(world, false, data[0]);
    request(world, FL_SPAN("GET"), false, true);
    request(world, FL_SPAN("POST"), false, false);
    request(world, FL_SPAN("HEAD"), false, true);
    request(world, FL_SPAN("GET"), true, false);
    request(world, FL_SPAN("CONNECT"), true, false);
    if ((data[1] & 1) == 0)
        world_feed(world, settings, settings.len);
    if (size > 2)
        world_feed(world, fl_span_make(data + 2, size - 2), split);
    world_done(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct world whole, cut;
    run(&whole, data, size, size);
    run(&cut, data, size, 1 + (data[1] >> 1));
    assert(whole.error == cut.error && whole.count == cut.count && whole.over == cut.over);
    assert(whole.heard == cut.heard);
    return 0;
}
