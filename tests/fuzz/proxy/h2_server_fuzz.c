/* A client's bytes to a server's session. The first byte is how its users behave, the second where the bytes are cut;
 * the preface and a SETTINGS frame are put before the rest, but where the second byte is odd. */
#include "tests/fuzz/proxy/h2_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct world *world, const uint8_t *data, size_t size, size_t split)
{
    static const struct fl_span begin = FL_SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
    world_init(world, true, data[0]);
    if ((data[1] & 1) == 0)
        world_feed(world, begin, begin.len);
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
