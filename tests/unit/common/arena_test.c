/* common/base/arena: alignment, zeroing, the maximum, memory running out. */
#include "common/base/arena.h"

#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_memory_is_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct fl_arena arena;
    fl_arena_init(&arena, 1u << 20);
    char *previous = NULL;
    for (size_t size = 1; size < 10000; size = size * 3 + 1) {
        char *memory = fl_arena_alloc(&arena, size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xff, size);
        assert_true(memory != previous);
        previous = memory;
    }
    fl_arena_done(&arena);
    fl_arena_done(&arena);
}

static void test_copy_ends_with_nul(void **state)
{
    (void)state;
    struct fl_arena arena;
    fl_arena_init(&arena, 4096);
    struct fl_span copy = fl_arena_copy(&arena, FL_SPAN("text"));
    assert_true(fl_span_eq(copy, FL_SPAN("text")));
    assert_int_equal(copy.data[4], 0);
    copy = fl_arena_copy(&arena, (struct fl_span){NULL, 0});
    assert_non_null(copy.data);
    assert_int_equal(copy.len, 0);
    fl_arena_done(&arena);
}

static void test_the_maximum_holds(void **state)
{
    (void)state;
    struct fl_arena arena;
    fl_arena_init(&arena, 64);
    assert_non_null(fl_arena_alloc(&arena, 33)); /* counts as 48 */
    assert_null(fl_arena_alloc(&arena, 17));
    assert_true(fl_arena_full(&arena, 17));
    assert_non_null(fl_arena_alloc(&arena, 16));
    assert_true(fl_arena_full(&arena, 1));
    assert_null(fl_arena_alloc(&arena, SIZE_MAX));
    assert_null(fl_arena_array(&arena, SIZE_MAX / 2, 4));
    fl_arena_done(&arena);
}

static void test_strings(void **state)
{
    (void)state;
    struct fl_arena arena;
    fl_arena_init(&arena, 4096);
    assert_string_equal(fl_arena_str(&arena, FL_SPAN("text")), "text");
    assert_string_equal(fl_arena_str(&arena, (struct fl_span){NULL, 0}), "");
    assert_null(fl_arena_str(&arena, FL_SPAN("short\0ened")));
    fl_arena_done(&arena);
}

/* Over and over in the memory of the first round; the maximum counts anew. */
static void test_reset(void **state)
{
    (void)state;
    struct fl_arena arena;
    fl_arena_init(&arena, 200000);
    fl_arena_reset(&arena);
    for (int round = 0; round < 3; round++) {
        char *small = fl_arena_alloc(&arena, 100);
        assert_non_null(small);
        assert_int_equal(small[99], 0);
        memset(small, 'x', 100);
        assert_non_null(fl_arena_alloc(&arena, 150000)); /* has its chunk alone, which is not kept */
        assert_null(fl_arena_alloc(&arena, 100000));
        fl_arena_reset(&arena);
    }
    void *first = fl_arena_alloc(&arena, 10);
    fl_arena_reset(&arena);
    fail_at(1);
    assert_ptr_equal(fl_arena_alloc(&arena, 10), first);
    fail_stop();
    assert_non_null(fl_arena_alloc(&arena, 150000));
    fl_arena_reset(&arena);
    fail_at(1);
    assert_null(fl_arena_alloc(&arena, 10)); /* the large chunk came last, and is gone all the same */
    fail_stop();
    fl_arena_done(&arena);
}

static void test_memory_running_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_arena arena;
        fl_arena_init(&arena, 1u << 20);
        void *first = fl_arena_alloc(&arena, 100);
        void *second = fl_arena_array(&arena, 100, 100);
        fail_stop();
        assert_int_equal(first == NULL || second == NULL, fail_happened());
        fl_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_aligned_and_apart),
        cmocka_unit_test(test_copy_ends_with_nul),
        cmocka_unit_test(test_the_maximum_holds),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
