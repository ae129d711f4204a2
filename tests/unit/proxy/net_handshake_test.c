/* Who takes a step of a handshake in which turn (proxy/net/handshake). */
#include "proxy/net/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY (PROXY_HANDSHAKE_PLACES + 8)

struct peer {
    struct proxy_handshake handshake;
    unsigned first, more;
    unsigned leaves_after; /* steps; 0: never */
    bool talks;            /* it has another step to do at once */
};

static struct fl_loop *loop;
static struct proxy_handshakes handshakes;
static struct peer peers[MANY];
static struct peer *order[4 * MANY];
static size_t steps;

static void step(struct proxy_handshake *handshake, bool first)
{
    struct peer *peer = FL_CONTAINER_OF(handshake, struct peer, handshake);
    assert_true(steps < sizeof(order) / sizeof(order[0]));
    order[steps++] = peer;
    peer->first += first;
    peer->more += !first;
    if (peer->first + peer->more == peer->leaves_after)
        proxy_handshake_leave(&handshakes, handshake);
    else if (peer->talks)
        (void)proxy_handshake_want(&handshakes, handshake);
}

static int setup(void **state)
{
    (void)state;
    memset(peers, 0, sizeof(peers));
    steps = 0;
    assert_int_equal(fl_loop_new(&loop), 0);
    proxy_handshakes_init(&handshakes, loop, step);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        proxy_handshake_leave(&handshakes, &peers[i].handshake);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fl_loop_turn(loop, 0), 0);
    assert_int_equal(handshakes.places, 0);
    assert_int_equal(handshakes.waiting_count, 0);
    proxy_handshakes_done(&handshakes);
    loop = fl_loop_free(loop);
    return 0;
}

static void turn(void)
{
    assert_int_equal(fl_loop_turn(loop, 0), 0);
}

static void want(size_t which)
{
    (void)proxy_handshake_want(&handshakes, &peers[which].handshake);
}

static void a_turn_takes_one_step_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        peers[i].leaves_after = 1;
        want(i);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(steps, i);
        turn();
        assert_ptr_equal(order[i], &peers[i]);
    }
    turn();
    assert_int_equal(steps, 8);
    assert_false(handshakes.is_scheduled); /* nothing left: the loop may sleep */
}

static void only_the_first_want_waits_for_a_place(void **state)
{
    (void)state;
    assert_true(proxy_handshake_want(&handshakes, &peers[0].handshake));
    assert_false(proxy_handshake_want(&handshakes, &peers[0].handshake));
    turn();
    assert_false(proxy_handshake_want(&handshakes, &peers[0].handshake));
    turn();
    assert_int_equal(peers[0].first, 1);
    assert_int_equal(peers[0].more, 1);
    proxy_handshake_leave(&handshakes, &peers[0].handshake);
    assert_false(proxy_handshake_want(&handshakes, &peers[0].handshake));
    turn();
    assert_int_equal(steps, 2);
}

static void no_more_begin_than_there_are_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        want(i);
    for (size_t i = 0; i < 32; i++)
        turn();
    assert_int_equal(handshakes.places, 32);
    /* Time stands still for the loop as long as it does not turn: the silent ones keep their places. */
    proxy_handshake_leave(&handshakes, &peers[0].handshake);
    assert_int_equal(handshakes.places, 31);
    assert_int_equal(handshakes.waiting_count, MANY - 32);
    handshakes.places += PROXY_HANDSHAKE_PLACES - 31; /* as if others held them */
    turn();
    turn();
    assert_int_equal(steps, 32);
    proxy_handshake_leave(&handshakes, &peers[1].handshake);
    turn();
    assert_int_equal(steps, 33);
    handshakes.places -= PROXY_HANDSHAKE_PLACES - 31;
}

static void the_silent_lose_their_places_and_come_back_without(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        want(i);
    while (steps < MANY) /* the loop sleeps until the first ones have been silent for too long */
        assert_int_equal(fl_loop_turn(loop, -1), 0);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(peers[i].first, 1);
    assert_true(handshakes.places <= PROXY_HANDSHAKE_PLACES);
    assert_false(peers[0].handshake.placed);
    want(0);
    turn();
    assert_int_equal(peers[0].more, 1);
    assert_false(peers[0].handshake.placed);
}

static void those_under_way_and_the_new_take_turns(void **state)
{
    (void)state;
    peers[0].talks = true;
    for (size_t i = 0; i < 5; i++)
        want(i);
    static const size_t expected[] = {0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0};
    for (size_t i = 0; i < 11; i++)
        turn();
    for (size_t i = 0; i < 11; i++)
        assert_ptr_equal(order[i], &peers[expected[i]]);
    for (size_t i = 1; i < 5; i++)
        assert_int_equal(peers[i].first, 1);
    peers[0].talks = false;
}

static void where_the_oldest_is_late_the_newest_gets_every_second_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < 6; i++)
        want(i);
    for (size_t i = 0; i < 6; i++)
        peers[i].handshake.since_ms -= PROXY_HANDSHAKE_OLD_MS + 1;
    for (size_t i = 0; i < 6; i++)
        turn();
    static const size_t expected[] = {0, 5, 1, 4, 2, 3};
    for (size_t i = 0; i < 6; i++)
        assert_ptr_equal(order[i], &peers[expected[i]]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_turn_takes_one_step_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_first_want_waits_for_a_place, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_begin_than_there_are_places, setup, teardown),
        cmocka_unit_test_setup_teardown(the_silent_lose_their_places_and_come_back_without, setup, teardown),
        cmocka_unit_test_setup_teardown(those_under_way_and_the_new_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(where_the_oldest_is_late_the_newest_gets_every_second_place, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
