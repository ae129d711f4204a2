/* proxy/upstream/resolve: names that may be asked for, answers that need no server, silence, cancelling, memory. */
#include "proxy/upstream/resolve.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct fl_loop *loop;
static struct proxy_resolver *resolver;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(fl_loop_new(&loop), 0);
    /* There is no such file: c-ares asks 127.0.0.1, where nobody answers. */
    assert_int_equal(proxy_resolver_new(loop, "/nonexistent/resolv.conf", &resolver), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    resolver = proxy_resolver_free(resolver);
    loop = fl_loop_free(loop);
    return 0;
}

struct asked {
    struct proxy_question question;
    int answers;
    enum proxy_resolve_outcome outcome;
    size_t count;
    struct proxy_address first;
};

static void on_answer(struct proxy_question *question, const struct proxy_resolved *answer)
{
    struct asked *asked = FL_CONTAINER_OF(question, struct asked, question);
    asked->answers++;
    asked->outcome = answer->outcome;
    asked->count = answer->count;
    if (answer->count > 0)
        asked->first = answer->list[0];
}

static struct asked ask_for(const char *name, enum proxy_resolve_family family)
{
    struct asked asked = {.question = {.on_answer = on_answer, .family = family}};
    snprintf(asked.question.name, sizeof(asked.question.name), "%s", name);
    return asked;
}

static void wait_for(const struct asked *asked)
{
    for (int i = 0; i < 200 && asked->answers == 0; i++)
        assert_int_equal(fl_loop_turn(loop, 100), 0);
    assert_int_equal(asked->answers, 1);
}

static void table_of_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool good;
    } rows[] = {
        {"web", true},
        {"web.demo.svc.cluster.local", true},
        {"web.demo.", true},
        {"a_b.c-d.9", true},
        {"", false},
        {".", false},
        {"a..b", false},
        {".a", false},
        {"a b", false},
        {"a/b", false},
        {"\xc3\xa4.de", false},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},   /* 63 */
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}, /* 64 */
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        if (proxy_resolve_is_name(fl_span_str(rows[i].name)) != rows[i].good)
            fail_msg("\"%s\"", rows[i].name);
    char name[256];
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 == 0 ? 'a' : '.';
    assert_true(proxy_resolve_is_name(fl_span_make(name, 253)));
    assert_false(proxy_resolve_is_name(fl_span_make(name, 255)));
}

static void localhost_needs_no_server(void **state)
{
    (void)state;
    struct asked v4 = ask_for("localhost", PROXY_RESOLVE_V4_ONLY), v6 = ask_for("localhost", PROXY_RESOLVE_V6_ONLY);
    assert_int_equal(proxy_resolve(resolver, &v4.question), 0);
    assert_int_equal(proxy_resolve(resolver, &v6.question), 0);
    wait_for(&v4);
    wait_for(&v6);
    assert_int_equal(v4.outcome, PROXY_RESOLVE_FOUND);
    assert_int_equal(v4.first.any.sa_family, AF_INET);
    if (v6.outcome == PROXY_RESOLVE_FOUND)
        assert_int_equal(v6.first.any.sa_family, AF_INET6);
}

static void what_is_cancelled_or_freed_is_not_answered(void **state)
{
    struct asked one = ask_for("one.test", PROXY_RESOLVE_AUTO), two = ask_for("two.test", PROXY_RESOLVE_AUTO);
    assert_int_equal(proxy_resolve(resolver, &one.question), 0);
    assert_int_equal(proxy_resolve(resolver, &two.question), 0);
    int before = two.answers; /* a closed port may have answered within the call */
    proxy_resolve_cancel(&one.question);
    proxy_resolve_cancel(&one.question);
    teardown(state);
    assert_int_equal(one.answers, 0);
    assert_int_equal(two.answers, before);
    assert_null(two.question.asked);
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_resolver *other = NULL;
        struct asked asked = ask_for("localhost", PROXY_RESOLVE_V4_ONLY);
        int result = proxy_resolver_new(loop, NULL, &other);
        if (result == 0)
            result = proxy_resolve(other, &asked.question);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_resolver_free(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_of_names),
        cmocka_unit_test_setup_teardown(localhost_needs_no_server, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_cancelled_or_freed_is_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_that_is_out_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
