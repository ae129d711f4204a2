/* proxy/config/question: what workers ask arrives once, on the loop; a full queue says so; other threads may ask. */
#include "proxy/config/question.h"

#include "tests/support/fail.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static size_t heard;
static struct proxy_address last;

static void on_question(void *owner, const struct proxy_address *destination)
{
    (void)owner;
    heard++;
    last = *destination;
}

static struct proxy_address address(unsigned number)
{
    struct proxy_address result;
    assert_int_equal(proxy_address_parse(FL_SPAN("10.0.0.1"), (uint16_t)number, &result), 0);
    return result;
}

static void test_queue(void **state)
{
    (void)state;
    struct fl_loop *loop;
    struct proxy_questions *questions;
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(proxy_questions_new(loop, on_question, NULL, &questions), 0);
    struct proxy_address one = address(1), two = address(2);
    heard = 0;
    assert_true(proxy_questions_ask(questions, &one));
    assert_true(proxy_questions_ask(questions, &one)); /* waits already */
    assert_true(proxy_questions_ask(questions, &two));
    assert_int_equal(fl_loop_turn(loop, 1000), 0);
    assert_int_equal(heard, 2);
    assert_true(proxy_address_eq(&last, &two));
    for (unsigned i = 1; i <= PROXY_DIRECTORY_QUEUE_MAX; i++) {
        struct proxy_address each = address(i);
        assert_true(proxy_questions_ask(questions, &each));
    }
    struct proxy_address more = address(60000);
    assert_false(proxy_questions_ask(questions, &more));
    heard = 0;
    for (unsigned turns = 0; heard < PROXY_DIRECTORY_QUEUE_MAX && turns < 100; turns++)
        assert_int_equal(fl_loop_turn(loop, 1000), 0);
    assert_int_equal(heard, PROXY_DIRECTORY_QUEUE_MAX);
    assert_null(proxy_questions_free(questions));
    fl_loop_free(loop);
}

static void *ask_often(void *argument)
{
    for (unsigned i = 1; i <= 200; i++) {
        struct proxy_address each;
        if (proxy_address_parse(FL_SPAN("fd00::1"), (uint16_t)i, &each) == 0)
            (void)proxy_questions_ask(argument, &each);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct fl_loop *loop;
    struct proxy_questions *questions;
    pthread_t threads[4];
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(proxy_questions_new(loop, on_question, NULL, &questions), 0);
    heard = 0;
    for (size_t i = 0; i < FL_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, questions), 0);
    for (size_t i = 0; i < FL_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (unsigned turns = 0; turns < 10; turns++)
        assert_int_equal(fl_loop_turn(loop, 0), 0);
    assert_in_range(heard, 200, 800);
    proxy_questions_free(questions);
    fl_loop_free(loop);
}

static void test_memory(void **state)
{
    (void)state;
    struct fl_loop *loop;
    assert_int_equal(fl_loop_new(&loop), 0);
    FAIL_EACH_ALLOCATION
    {
        struct proxy_questions *questions = NULL;
        int result = proxy_questions_new(loop, on_question, NULL, &questions);
        fail_stop();
        assert_int_equal(result != 0, fail_happened());
        proxy_questions_free(questions);
    }
    fl_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
