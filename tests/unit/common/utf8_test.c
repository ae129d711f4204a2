#include "common/base/utf8.h"

#include "common/base/cleanup.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Every code point there is, and back; what is no code point has no form. */
static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x120000; point++) {
        char bytes[4];
        size_t length = fl_utf8_encode(point, bytes);
        bool good = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        if ((length > 0) != good)
            fail_msg("U+%04X: %zu bytes", point, length);
        if (!good)
            continue;
        assert_int_equal(fl_utf8_length(fl_span_make(bytes, length)), length);
        if (length > 1) /* torn */
            assert_int_equal(fl_utf8_length(fl_span_make(bytes, length - 1)), 0);
    }
}

/* Of all two-byte inputs those are sequences that encode makes, and the ASCII ones. */
static void test_every_pair(void **state)
{
    (void)state;
    size_t sequences = 0;
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        const char bytes[2] = {(char)(pair >> 8), (char)(pair & 0xff)};
        size_t length = fl_utf8_length(fl_span_make(bytes, 2));
        assert_int_equal(length == 1, pair < 0x8000);
        sequences += length == 2;
    }
    assert_int_equal(sequences, 0x800 - 0x80);
}

static void test_cut(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct fl_span text;
        size_t max, len;
    } rows[] = {
        {"shorter than max", FL_SPAN("ab"), 5, 2},
        {"just max", FL_SPAN("ab"), 2, 2},
        {"plain", FL_SPAN("abc"), 2, 2},
        {"nothing", FL_SPAN("abc"), 0, 0},
        {"between characters",
         FL_SPAN("a\xe2\x82\xac"
                 "b"),
         4, 4},
        {"after the first of three", FL_SPAN("a\xe2\x82\xac"), 2, 1},
        {"after the second of three", FL_SPAN("a\xe2\x82\xac"), 3, 1},
        {"after the first of four", FL_SPAN("\xf0\x9f\xa7\xad"), 1, 0},
        {"after the third of four", FL_SPAN("\xf0\x9f\xa7\xad"), 3, 0},
        {"continuations that belong to nothing", FL_SPAN("\x80\x80\x80\x80\x80\x80"), 4, 4},
        {"a torn one that goes on with text",
         FL_SPAN("\xe2\x82"
                 "abc"),
         3, 3},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        guard_init(&guard, rows[i].text);
        struct fl_span front = fl_utf8_cut(guard.span, rows[i].max);
        if (front.len != rows[i].len)
            fail_msg("%s: %zu", rows[i].name, front.len);
        guard_done(&guard);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
