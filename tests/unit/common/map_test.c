#include "common/base/map.h"

#include "common/base/siphash.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ITEMS 3000

struct item {
    char name[24];
    bool in;
};

static struct item items[ITEMS];

static struct fl_span key_of(const struct item *item)
{
    return fl_span_str(item->name);
}

static int make_items(void **state)
{
    (void)state;
    for (int i = 0; i < ITEMS; i++)
        snprintf(items[i].name, sizeof(items[i].name), "item-%d", i);
    return 0;
}

static void test_put_get_remove(void **state)
{
    (void)state;
    struct fl_map map;
    fl_map_init(&map, 10);
    assert_null(fl_map_get(&map, FL_SPAN("a")));
    assert_null(fl_map_remove(&map, FL_SPAN("a")));
    assert_int_equal(fl_map_put(&map, FL_SPAN("a"), &items[0]), 0);
    assert_int_equal(fl_map_put(&map, FL_SPAN("b"), &items[1]), 0);
    assert_int_equal(fl_map_put(&map, FL_SPAN("a"), &items[2]), -EEXIST);
    assert_ptr_equal(fl_map_get(&map, FL_SPAN("a")), &items[0]);
    assert_ptr_equal(fl_map_get(&map, FL_SPAN("b")), &items[1]);
    assert_null(fl_map_get(&map, FL_SPAN("A")));
    assert_ptr_equal(fl_map_remove(&map, FL_SPAN("a")), &items[0]);
    assert_null(fl_map_get(&map, FL_SPAN("a")));
    assert_null(fl_map_remove(&map, FL_SPAN("a")));
    assert_int_equal(map.count, 1);
    fl_map_done(&map);
    fl_map_done(&map);
}

static void test_keys_are_bytes(void **state)
{
    (void)state;
    struct fl_map map;
    fl_map_init(&map, 10);
    assert_int_equal(fl_map_put(&map, (struct fl_span){NULL, 0}, &items[0]), 0);
    assert_int_equal(fl_map_put(&map, FL_SPAN("a\0b"), &items[1]), 0);
    assert_int_equal(fl_map_put(&map, FL_SPAN("a"), &items[2]), 0);
    assert_ptr_equal(fl_map_get(&map, FL_SPAN("")), &items[0]);
    assert_ptr_equal(fl_map_get(&map, FL_SPAN("a\0b")), &items[1]);
    assert_null(fl_map_get(&map, FL_SPAN("a\0c")));
    fl_map_done(&map);
}

static void test_max(void **state)
{
    (void)state;
    for (size_t max = 0; max < 40; max++) {
        struct fl_map map;
        fl_map_init(&map, max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(fl_map_put(&map, key_of(&items[i]), &items[i]), 0);
        assert_int_equal(fl_map_put(&map, FL_SPAN("more"), &items[0]), -ENOSPC);
        if (max > 0) {
            assert_int_equal(fl_map_put(&map, key_of(&items[0]), &items[0]), -EEXIST);
            assert_non_null(fl_map_remove(&map, key_of(&items[0])));
            assert_int_equal(fl_map_put(&map, FL_SPAN("more"), &items[0]), 0);
        }
        fl_map_done(&map);
    }
}

static void test_zeroed_is_empty(void **state)
{
    (void)state;
    struct fl_map map = {0};
    size_t cursor = 0;
    void *value;
    assert_null(fl_map_get(&map, FL_SPAN("a")));
    assert_false(fl_map_next(&map, &cursor, NULL, &value));
    assert_int_equal(fl_map_put(&map, FL_SPAN("a"), &items[0]), -ENOSPC);
    fl_map_done(&map);
}

/* Order of putting, through growth and with gaps. */
static void test_walk_in_order(void **state)
{
    (void)state;
    struct fl_map map;
    fl_map_init(&map, ITEMS);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_int_equal(fl_map_put(&map, key_of(&items[i]), &items[i]), 0);
        if (i % 3 == 2)
            assert_ptr_equal(fl_map_remove(&map, key_of(&items[i - 1])), &items[i - 1]);
    }
    struct fl_span key;
    void *value;
    size_t expected = 0;
    for (size_t cursor = 0; fl_map_next(&map, &cursor, &key, &value);) {
        assert_ptr_equal(value, &items[expected]);
        assert_true(fl_span_eq(key, key_of(value)));
        expected += expected % 3 == 0 ? 2 : 1;
    }
    assert_int_equal(expected, ITEMS);
    fl_map_done(&map);
}

static void test_removing_on_the_walk(void **state)
{
    (void)state;
    struct fl_map map;
    fl_map_init(&map, ITEMS);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(fl_map_put(&map, key_of(&items[i]), &items[i]), 0);
    size_t seen = 0;
    void *value;
    for (size_t cursor = 0; fl_map_next(&map, &cursor, NULL, &value); seen++) {
        const struct item *item = value;
        fl_map_remove(&map, key_of(item));
        if (item + 1 < items + 100)
            fl_map_remove(&map, key_of(item + 1));
    }
    assert_int_equal(seen, 50);
    assert_int_equal(map.count, 0);
    fl_map_done(&map);
}

/* Against a plain array of flags; a fixed sequence, so that a failure comes again. */
static void test_against_a_model(void **state)
{
    (void)state;
    struct fl_map map;
    uint32_t random = 1;
    size_t count = 0;
    fl_map_init(&map, ITEMS);
    for (size_t i = 0; i < 200000; i++) {
        random = random * 1664525 + 1013904223;
        struct item *item = &items[(random >> 8) % (i < 100000 ? ITEMS : 40)];
        if ((random >> 28) % 2 == 0) {
            assert_int_equal(fl_map_put(&map, key_of(item), item), item->in ? -EEXIST : 0);
            count += !item->in;
            item->in = true;
        } else {
            assert_ptr_equal(fl_map_remove(&map, key_of(item)), item->in ? item : NULL);
            count -= item->in;
            item->in = false;
        }
        assert_int_equal(map.count, count);
    }
    for (size_t i = 0; i < ITEMS; i++) {
        assert_ptr_equal(fl_map_get(&map, key_of(&items[i])), items[i].in ? &items[i] : NULL);
        items[i].in = false;
    }
    fl_map_done(&map);
}

static void test_steady_use_keeps_its_size(void **state)
{
    (void)state;
    struct fl_map map;
    fl_map_init(&map, ITEMS);
    for (size_t i = 0; i < 100000; i++) {
        assert_int_equal(fl_map_put(&map, key_of(&items[i % ITEMS]), &items[i % ITEMS]), 0);
        if (i >= 10)
            assert_non_null(fl_map_remove(&map, key_of(&items[(i - 10) % ITEMS])));
    }
    assert_int_equal(map.count, 10);
    assert_true(map.slots <= 64);
    fl_map_done(&map);
}

static void test_each_allocation_failing(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_map map;
        size_t put = 0;
        int result = 0;
        fl_map_init(&map, ITEMS);
        while (put < 100 && (result = fl_map_put(&map, key_of(&items[put]), &items[put])) == 0)
            put++;
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_int_equal(map.count, put);
        for (size_t i = 0; i < 100; i++)
            assert_ptr_equal(fl_map_get(&map, key_of(&items[i])), i < put ? &items[i] : NULL);
        assert_int_equal(fl_map_put(&map, FL_SPAN("again"), &items[0]), 0);
        fl_map_done(&map);
    }
}

/* SipHash's own vectors: key 00 01 … 0f, input 00 01 …, 2 and 4 rounds (vectors.h of the reference implementation). */
static void test_siphash_vectors(void **state)
{
    (void)state;
    static const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    static const struct {
        size_t len;
        uint64_t hash;
    } rows[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},
        {1, UINT64_C(0x74f839c593dc67fd)},
        {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)},
    };
    char input[16];
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (char)i;
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        assert_int_equal(fl_siphash_keyed(key, 2, 4, fl_span_make(input, rows[i].len)), rows[i].hash);
}

static void test_seed_is_drawn_and_stays(void **state)
{
    (void)state;
    uint64_t hash = fl_siphash(FL_SPAN("x"));
    assert_int_equal(hash, fl_siphash(FL_SPAN("x")));
    assert_int_not_equal(hash, fl_siphash_keyed((const uint64_t[]){0, 0}, 1, 3, FL_SPAN("x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_remove),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_max),
        cmocka_unit_test(test_zeroed_is_empty),
        cmocka_unit_test(test_walk_in_order),
        cmocka_unit_test(test_removing_on_the_walk),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_steady_use_keeps_its_size),
        cmocka_unit_test(test_each_allocation_failing),
        cmocka_unit_test(test_siphash_vectors),
        cmocka_unit_test(test_seed_is_drawn_and_stays),
    };
    return cmocka_run_group_tests(tests, make_items, NULL);
}
