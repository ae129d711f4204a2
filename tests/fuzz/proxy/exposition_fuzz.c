/* The app's exposition behind ours: what goes through goes through again as it is, whatever the pieces; nothing of it
 * is a family of ours. */
#include "proxy/admin/exposition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void run(struct proxy_exposition *exposition, struct fl_span text, size_t piece)
{
    proxy_exposition_init(exposition, 1u << 24);
    check(proxy_exposition_reserve(exposition, FL_SPAN("# TYPE ours_total counter\n")) == 0);
    while (text.len > 0) {
        size_t now = text.len < piece ? text.len : piece;
        check(proxy_exposition_feed(exposition, fl_span_make(text.data, now)) == 0);
        text = fl_span_from(text, now);
    }
    check(proxy_exposition_end(exposition) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_exposition whole, pieces, again;
    struct fl_span text = fl_span_make(data, size);
    run(&whole, text, size + 1);
    run(&pieces, text, 3);
    run(&again, fl_buf_span(&whole.out), size + 1);
    check(fl_span_eq(fl_buf_span(&whole.out), fl_buf_span(&pieces.out)));
    check(whole.malformed == pieces.malformed && whole.collisions == pieces.collisions);
    check(fl_span_eq(fl_buf_span(&whole.out), fl_buf_span(&again.out)));
    check(again.malformed == 0 && again.collisions == 0);
    check(whole.out.len <= size + 1);
    check(whole.out.len == 0 || whole.out.data[whole.out.len - 1] == '\n');
    check(!fl_span_starts_with(fl_buf_span(&whole.out), FL_SPAN("ours_total ")));
    proxy_exposition_done(&whole);
    proxy_exposition_done(&pieces);
    proxy_exposition_done(&again);
    return 0;
}
