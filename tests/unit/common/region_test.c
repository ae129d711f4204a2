#include "common/doc/region.h"

#include "common/doc/patch.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "{\"a\":[1,2.5,\"three\",{\"b\":null}],\"c\":{\"d\":\"e\"}}";

static void assert_prints(const struct fl_json *value, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_int_equal(fl_json_print(value, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static bool works(struct fl_region *region) /* not with AddressSanitizer */
{
    fl_region_enter(region);
    void *memory = fl_region_allocate(1);
    bool owned = fl_region_owns(memory);
    fl_region_release(memory);
    fl_region_leave(region);
    return owned;
}

static void values_are_made_changed_and_dropped(void **state)
{
    (void)state;
    struct fl_region region = {0};
    for (int round = 0; round < 3; round++) {
        struct fl_json *root = NULL;
        fl_region_enter(&region);
        assert_int_equal(fl_json_parse(fl_span_str(text), NULL, &root, NULL), 0);
        assert_prints(root, text);
        struct fl_json *copy = fl_json_copy(root);
        assert_int_equal(fl_json_set(copy, "a", fl_json_new_int(7)), 0);
        assert_int_equal(fl_json_set(copy, "f", fl_json_new_string(FL_SPAN("g"))), 0);
        assert_int_equal(fl_json_remove(copy, FL_SPAN("c")), 0);
        assert_prints(copy, "{\"a\":7,\"f\":\"g\"}");
        fl_json_free(copy);
        assert_prints(root, text);
        fl_json_free(root);
        fl_region_leave(&region);
    }
    fl_region_done(&region);
    assert_null(region.chunks);
}

static void values_of_outside_are_read_and_freed(void **state)
{
    (void)state;
    struct fl_region region = {0};
    struct fl_json *outside = NULL, *later = NULL;
    assert_int_equal(fl_json_parse(fl_span_str(text), NULL, &outside, NULL), 0);
    assert_int_equal(fl_json_parse(fl_span_str(text), NULL, &later, NULL), 0);
    fl_region_enter(&region);
    struct fl_json *copy = fl_json_copy(outside);
    assert_true(fl_json_equal(copy, later));
    fl_json_free(outside);
    assert_prints(copy, text);
    fl_json_free(copy);
    fl_region_leave(&region);
    assert_prints(later, text);
    fl_json_free(later);
    fl_region_done(&region);
}

/* Pieces of every size around the borders of chunks: aligned, apart from each other, and gone afterwards. */
static void pieces_of_every_size(void **state)
{
    (void)state;
    struct fl_region region = {0};
    static unsigned char *pieces[4000];
    static size_t sizes[4000];
    for (int round = 0; round < 2; round++) {
        fl_region_enter(&region);
        for (size_t i = 0; i < FL_COUNT(pieces); i++) {
            sizes[i] = i % 100 == 0 ? 100000 + i : i % 50 == 0 ? 30715 + i % 9 : i % 700;
            pieces[i] = fl_region_allocate(sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % sizeof(uint64_t), 0);
            memset(pieces[i], (int)(i & 255), sizes[i]);
        }
        for (size_t i = 0; i < FL_COUNT(pieces); i++) {
            for (size_t at = 0; at < sizes[i]; at += 97)
                assert_int_equal(pieces[i][at], i & 255);
            fl_region_release(pieces[i]);
        }
        fl_region_leave(&region);
    }
    fl_region_done(&region);
    assert_null(region.chunks);
}

/* The chunks' memory is what fails: each time the work is told, and nothing is lost. */
static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    static char large[300000];
    size_t length = 0;
    if (!works(&(struct fl_region){0})) /* thousands of rounds, which json_test has */
        skip();
    large[length++] = '[';
    for (int i = 0; i < 6000; i++)
        length += (size_t)snprintf(large + length, sizeof(large) - length, "{\"member\":\"value %d\"},", i);
    length += (size_t)snprintf(large + length, sizeof(large) - length, "\"%040000d\"]", 1);
    FAIL_EACH_ALLOCATION
    {
        struct fl_region region = {0};
        struct fl_json *root = NULL;
        fl_region_enter(&region);
        int result = fl_json_parse(fl_span_make(large, length), NULL, &root, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_json_free(root);
        fl_region_leave(&region);
        fl_region_done(&region);
    }
}

static void little_is_kept(void **state)
{
    (void)state;
    struct fl_region region = {0};
    if (!works(&region))
        skip();
    fl_region_enter(&region);
    for (int i = 0; i < 100000; i++)
        assert_non_null(fl_region_allocate(64));
    fl_region_leave(&region);
    fl_region_enter(&region); /* nothing is allocated for what fits into the kept */
    fail_at(1);
    for (size_t i = 0; i < FL_REGION_KEPT / 2 / 64; i++)
        assert_non_null(fl_region_allocate(64));
    fail_stop();
    fl_region_leave(&region);
    fl_region_enter(&region);
    fail_at(1);
    size_t fitting = 0;
    while (fitting <= FL_REGION_KEPT && fl_region_allocate(64) != NULL)
        fitting += 64;
    fail_stop();
    assert_true(fitting <= FL_REGION_KEPT);
    fl_region_leave(&region);
    fl_region_done(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_made_changed_and_dropped),
        cmocka_unit_test(values_of_outside_are_read_and_freed),
        cmocka_unit_test(pieces_of_every_size),
        cmocka_unit_test(memory_that_is_out_is_told),
        cmocka_unit_test(little_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
