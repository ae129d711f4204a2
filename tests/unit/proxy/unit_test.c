/* proxy/snapshot: units, graveyards, slots. */
#include "proxy/snapshot/slots.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static unsigned released, told;

static void release(void *object)
{
    (void)object;
    released++;
}

static void on_dead(void *owner)
{
    (void)owner;
    __atomic_fetch_add(&told, 1, __ATOMIC_RELAXED);
}

static struct proxy_unit *unit_in(struct proxy_graveyard *graveyard)
{
    struct proxy_unit *unit = proxy_unit_new(sizeof(*unit), 4096, graveyard);
    assert_non_null(unit);
    assert_int_equal(proxy_unit_hold(unit, &released, release), 0);
    return unit;
}

static void without_a_graveyard_the_last_reference_frees(void **state)
{
    (void)state;
    released = 0;
    struct proxy_unit *unit = unit_in(NULL);
    assert_ptr_equal(proxy_unit_ref(unit), unit);
    assert_null(proxy_unit_unref(unit));
    assert_int_equal(released, 0);
    assert_null(proxy_unit_unref(unit));
    assert_int_equal(released, 1);
    assert_null(proxy_unit_unref(NULL));
    assert_null(proxy_unit_ref(NULL));
}

static void unref(void *unit)
{
    proxy_unit_unref(unit);
}

static void the_keeper_frees_what_lies_in_a_graveyard(void **state)
{
    (void)state;
    released = told = 0;
    struct proxy_graveyard *graveyard = proxy_graveyard_new(on_dead, NULL);
    struct proxy_unit *outer = unit_in(graveyard), *inner = unit_in(graveyard), *late = unit_in(graveyard);
    assert_int_equal(proxy_unit_hold(outer, inner, unref), 0);
    proxy_unit_unref(outer);
    assert_int_equal(released, 0);
    assert_int_equal(told, 1);
    assert_int_equal(proxy_graveyard_sweep(graveyard), 2); /* the inner one, too: it lies there in the second round */
    assert_int_equal(released, 2);
    assert_null(proxy_graveyard_close(graveyard));
    proxy_unit_unref(late); /* nobody comes any more */
    assert_int_equal(released, 3);
    assert_null(proxy_graveyard_close(NULL));
}

static void *bury_many(void *graveyard)
{
    for (int i = 0; i < 2000; i++) {
        struct proxy_unit *unit = proxy_unit_new(sizeof(*unit), 64, graveyard);
        proxy_unit_unref(unit);
    }
    return NULL;
}

static void many_threads_bury_while_one_sweeps_and_goes(void **state)
{
    (void)state;
    pthread_t threads[3];
    struct proxy_graveyard *graveyard = proxy_graveyard_new(on_dead, NULL);
    struct proxy_unit *mine = proxy_unit_new(sizeof(*mine), 64, graveyard); /* so that it outlives its keeper */
    size_t freed = 0;
    for (size_t i = 0; i < FL_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bury_many, graveyard), 0);
    while (freed < 100)
        freed += proxy_graveyard_sweep(graveyard);
    proxy_graveyard_close(graveyard);
    for (size_t i = 0; i < FL_COUNT(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    proxy_unit_unref(mine);
}

static void a_slot_is_a_names_as_long_as_it_is_counted(void **state)
{
    (void)state;
    struct proxy_slots *slots = proxy_slots_new();
    struct proxy_slot *a, *again, *b, *other;
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_CLUSTER, FL_SPAN("a"), &a), 0);
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_CLUSTER, FL_SPAN("a"), &again), 0);
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_CLUSTER, FL_SPAN("b"), &b), 0);
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_ROUTES, FL_SPAN("b"), &other), 0);
    assert_ptr_equal(a, again);
    assert_int_equal(a->index, 0);
    assert_int_equal(b->index, 1);
    assert_int_equal(other->index, 0); /* kinds count for themselves */
    assert_int_equal(proxy_slots_bound(slots, PROXY_SLOT_CLUSTER), 2);
    proxy_slot_release(a);
    assert_ptr_equal(proxy_slots_find(slots, PROXY_SLOT_CLUSTER, FL_SPAN("a")), a);
    proxy_slot_release(a);
    assert_null(proxy_slots_find(slots, PROXY_SLOT_CLUSTER, FL_SPAN("a")));
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_CLUSTER, FL_SPAN("c"), &a), 0);
    assert_int_equal(a->index, 0); /* now it is free */
    proxy_slot_touch(a, 1000);
    assert_int_equal(proxy_slot_used_ms(a), 1000);
    proxy_slot_touch(a, 1000 + PROXY_SLOT_TOUCH_MS - 1);
    assert_int_equal(proxy_slot_used_ms(a), 1000);
    assert_null(proxy_slots_free(slots)); /* its slots may go later */
    proxy_slot_release(a);
    proxy_slot_release(b);
    proxy_slot_release(other);
}

static void a_unit_keeps_the_slots_that_it_names(void **state)
{
    (void)state;
    struct proxy_slots *slots = proxy_slots_new();
    struct proxy_unit *unit = proxy_unit_new(sizeof(*unit), 4096, NULL);
    const struct proxy_slot *held;
    struct proxy_slot *next;
    assert_int_equal(proxy_slots_hold(slots, PROXY_SLOT_CLUSTER, FL_SPAN("a"), unit, &held), 0);
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_CLUSTER, FL_SPAN("b"), &next), 0);
    assert_int_equal(next->index, 1);
    proxy_slot_release(next);
    proxy_unit_unref(unit);
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_CLUSTER, FL_SPAN("b"), &next), 0);
    assert_true(next->index <= 1);
    proxy_slot_release(next);
    proxy_slots_free(slots);
}

static void slots_are_bounded(void **state)
{
    (void)state;
    struct proxy_slots *slots = proxy_slots_new();
    static struct proxy_slot *all[PROXY_SLOTS_MAX];
    char name[16];
    for (size_t i = 0; i < PROXY_SLOTS_MAX; i++) {
        int len = snprintf(name, sizeof(name), "%zu", i);
        assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_TLS, fl_span_make(name, (size_t)len), &all[i]), 0);
    }
    struct proxy_slot *more;
    assert_int_equal(proxy_slots_intern(slots, PROXY_SLOT_TLS, FL_SPAN("more"), &more), -ENOSPC);
    for (size_t i = 0; i < PROXY_SLOTS_MAX; i++)
        proxy_slot_release(all[i]);
    proxy_slots_free(slots);
}

static void memory_running_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        released = 0;
        struct proxy_slots *slots = proxy_slots_new();
        struct proxy_unit *unit = proxy_unit_new(sizeof(*unit), 4096, NULL);
        const struct proxy_slot *slot;
        int result = unit == NULL || slots == NULL ? -ENOMEM : proxy_unit_hold(unit, &released, release);
        bool held = unit != NULL && slots != NULL;
        if (result == 0)
            result = proxy_slots_hold(slots, PROXY_SLOT_ROUTES, FL_SPAN("a"), unit, &slot);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_unit_unref(unit);
        assert_int_equal(released, held); /* also where the hold failed */
        if (slots != NULL)
            assert_null(proxy_slots_find(slots, PROXY_SLOT_ROUTES, FL_SPAN("a")));
        proxy_slots_free(slots);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_graveyard_the_last_reference_frees),
        cmocka_unit_test(the_keeper_frees_what_lies_in_a_graveyard),
        cmocka_unit_test(many_threads_bury_while_one_sweeps_and_goes),
        cmocka_unit_test(a_slot_is_a_names_as_long_as_it_is_counted),
        cmocka_unit_test(a_unit_keeps_the_slots_that_it_names),
        cmocka_unit_test(slots_are_bounded),
        cmocka_unit_test(memory_running_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
