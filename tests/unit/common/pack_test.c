/* Packed bytes: what comes out is what went in, damage is noticed, and repetition gets small. */
#include "common/base/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MAX 200000

static struct fl_arena scratch, arena;

static int set_up(void **state)
{
    (void)state;
    fl_arena_init(&scratch, 1u << 24);
    fl_arena_init(&arena, 1u << 24);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fl_arena_done(&scratch);
    fl_arena_done(&arena);
    return 0;
}

static struct fl_packed round_trip(struct fl_span bytes)
{
    struct fl_packed packed;
    assert_true(fl_pack(bytes, &scratch, &arena, &packed));
    assert_true(packed.len == bytes.len && packed.bytes.len <= bytes.len);
    assert_true(fl_packed_eq(&packed, bytes));
    struct fl_span out = fl_unpack(&packed, &arena);
    assert_non_null(out.data);
    assert_true(fl_span_eq(out, bytes));
    return packed;
}

static void test_texts(void **state)
{
    static const char *const texts[] = {
        "", "a", "abc", "abcd", "aaaaa", "aaaaaaaaaaaaaaaaaaaa", "abcdabcd", "abcdabcdabcdabcdab"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        (void)round_trip(fl_span_str(texts[i]));
    (void)round_trip(fl_span_make("\0\0\0\0\0\0\0\0", 8));
}

static void test_repetition(void **state)
{
    static char text[MAX];
    size_t len = 0;
    (void)state;
    for (int i = 0; len < 20000; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "spiffe://cluster.local/ns/demo/sa/s%d endpoint ", i);
    assert_true(round_trip(fl_span_make(text, len)).bytes.len < len / 4);
}

/* Lengths around the bounds of a piece, and distances around the farthest one. */
static void test_bounds(void **state)
{
    static char text[MAX];
    uint32_t random = 1;
    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        random = random * 1664525u + 1013904223u;
        text[i] = (char)(random >> 24);
    }
    for (size_t len = 120; len < 140; len++) {
        memmove(text + 1000, text, len);
        (void)round_trip(fl_span_make(text, 1000 + len));
        (void)round_trip(fl_span_make(text, len));
    }
    for (size_t far = 65530; far < 65541; far++) {
        memmove(text + far, text, 500);
        (void)round_trip(fl_span_make(text, far + 500));
    }
    (void)round_trip(fl_span_make(text, sizeof(text)));
}

static void test_others_differ(void **state)
{
    char other[] = "abcdabcdabcdabcdabcdabcdabcd-";
    (void)state;
    struct fl_packed packed = round_trip(FL_SPAN("abcdabcdabcdabcdabcdabcdabcd."));
    assert_false(fl_packed_eq(&packed, fl_span_str(other)));
    assert_false(fl_packed_eq(&packed, FL_SPAN("abcd")));
    for (size_t i = 0; i < sizeof(other) - 1; i++) {
        char text[] = "abcdabcdabcdabcdabcdabcdabcd.";
        text[i] ^= 1;
        assert_false(fl_packed_eq(&packed, fl_span_str(text)));
    }
}

static void test_damaged(void **state)
{
    static const struct {
        const char *what;
        struct fl_span bytes;
        size_t len;
    } rows[] = {
        {"cut after a length", FL_SPAN("\x03"), 4},
        {"fewer bytes than it says",
         FL_SPAN("\x03"
                 "abc"),
         9},
        {"a match without its distance",
         FL_SPAN("\x03"
                 "abcd"
                 "\x80\x04"),
         8},
        {"a distance of nothing",
         FL_SPAN("\x03"
                 "abcd"
                 "\x80\x00\x00"),
         9},
        {"a distance before the beginning",
         FL_SPAN("\x03"
                 "abcd"
                 "\x80\x05\x00"),
         12},
        {"more than there should be",
         FL_SPAN("\x03"
                 "abcd"
                 "\x8f\x04\x00"),
         9},
        {"less than there should be",
         FL_SPAN("\x03"
                 "abcd"
                 "\x80\x04\x00"),
         9},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct fl_packed packed = {.bytes = rows[i].bytes, .len = rows[i].len};
        if (fl_unpack(&packed, &arena).data != NULL ||
            fl_packed_eq(&packed, fl_span_make("abcdabcdabcdabcd", rows[i].len)))
            fail_msg("%s is taken", rows[i].what);
    }
}

static void test_full_arenas(void **state)
{
    struct fl_arena small;
    struct fl_packed packed;
    (void)state;
    fl_arena_init(&small, 16);
    assert_false(fl_pack(FL_SPAN("abcdefghijklmnopqrstuvwxyz"), &small, &arena, &packed));
    assert_false(fl_pack(FL_SPAN("abcdefghijklmnopqrstuvwxyz"), &scratch, &small, &packed));
    assert_true(fl_pack(FL_SPAN("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &scratch, &arena, &packed));
    assert_null(fl_unpack(&packed, &small).data);
    fl_arena_done(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_repetition, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_differ, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_arenas, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
