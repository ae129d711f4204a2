/* proxy/filter/retry and attempt: what is tried again, and how it looks from both sides. */
#include "proxy/filter/attempt.h"

#include "tests/support/fail.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

/* --- pure ------------------------------------------------------------------------------------------------------- */

#define ON(word) PROXY_RETRY_ON_##word

static void the_words_mean_what_envoys_do(void **state)
{
    (void)state;
    static const uint16_t statuses[] = {418};
    static const struct proxy_header_match headers[] = {{.name = FL_SPAN("x-again"), .kind = PROXY_VALUE_PRESENT}};
    static const struct {
        uint32_t on;
        enum proxy_try_outcome outcome;
        uint16_t status;
        const char *field, *value;
        bool sent, wants;
    } rows[] = {
        {0, PROXY_TRY_ANSWERED, 503, NULL, NULL, true, false},
        {0, PROXY_TRY_BROKEN, 0, NULL, NULL, false, false},
        {ON(5XX), PROXY_TRY_ANSWERED, 500, NULL, NULL, true, true},
        {ON(5XX), PROXY_TRY_ANSWERED, 499, NULL, NULL, true, false},
        {ON(5XX), PROXY_TRY_BROKEN, 0, NULL, NULL, true, true},
        {ON(5XX), PROXY_TRY_NOT_CONNECTED, 0, NULL, NULL, false, true},
        {ON(5XX), PROXY_TRY_LATE, 0, NULL, NULL, true, true},
        {ON(GATEWAY_ERROR), PROXY_TRY_ANSWERED, 500, NULL, NULL, true, false},
        {ON(GATEWAY_ERROR), PROXY_TRY_ANSWERED, 501, NULL, NULL, true, false},
        {ON(GATEWAY_ERROR), PROXY_TRY_ANSWERED, 502, NULL, NULL, true, true},
        {ON(GATEWAY_ERROR), PROXY_TRY_ANSWERED, 504, NULL, NULL, true, true},
        {ON(GATEWAY_ERROR), PROXY_TRY_ANSWERED, 505, NULL, NULL, true, false},
        {ON(GATEWAY_ERROR), PROXY_TRY_BROKEN, 0, NULL, NULL, true, true},
        {ON(CONNECT_FAILURE), PROXY_TRY_NOT_CONNECTED, 0, NULL, NULL, false, true},
        {ON(CONNECT_FAILURE), PROXY_TRY_BROKEN, 0, NULL, NULL, false, false},
        {ON(CONNECT_FAILURE), PROXY_TRY_LATE, 0, NULL, NULL, true, false},
        {ON(CONNECT_FAILURE), PROXY_TRY_ANSWERED, 503, NULL, NULL, true, false},
        {ON(RESET), PROXY_TRY_BROKEN, 0, NULL, NULL, true, true},
        {ON(RESET), PROXY_TRY_ANSWERED, 503, NULL, NULL, true, false},
        {ON(RESET_BEFORE_REQUEST), PROXY_TRY_BROKEN, 0, NULL, NULL, false, true},
        {ON(RESET_BEFORE_REQUEST), PROXY_TRY_BROKEN, 0, NULL, NULL, true, false},
        {ON(RESET_BEFORE_REQUEST), PROXY_TRY_NOT_CONNECTED, 0, NULL, NULL, false, true},
        {ON(RETRIABLE_4XX), PROXY_TRY_ANSWERED, 409, NULL, NULL, true, true},
        {ON(RETRIABLE_4XX), PROXY_TRY_ANSWERED, 404, NULL, NULL, true, false},
        {ON(STATUS_CODES), PROXY_TRY_ANSWERED, 418, NULL, NULL, true, true},
        {ON(STATUS_CODES), PROXY_TRY_ANSWERED, 503, NULL, NULL, true, false},
        {ON(5XX), PROXY_TRY_ANSWERED, 418, NULL, NULL, true, false},
        {ON(HEADERS), PROXY_TRY_ANSWERED, 200, "X-Again", "", true, true},
        {ON(HEADERS), PROXY_TRY_ANSWERED, 200, NULL, NULL, true, false},
        {ON(UNAVAILABLE), PROXY_TRY_ANSWERED, 200, "grpc-status", "14", true, true},
        {ON(UNAVAILABLE), PROXY_TRY_ANSWERED, 200, "grpc-status", "1", true, false},
        {ON(CANCELLED), PROXY_TRY_ANSWERED, 200, "grpc-status", "1", true, true},
        {ON(DEADLINE_EXCEEDED), PROXY_TRY_ANSWERED, 200, "grpc-status", "4", true, true},
        {ON(RESOURCE_EXHAUSTED), PROXY_TRY_ANSWERED, 200, "grpc-status", "8", true, true},
        {ON(INTERNAL), PROXY_TRY_ANSWERED, 200, "grpc-status", "13", true, true},
        {ON(INTERNAL), PROXY_TRY_ANSWERED, 200, "grpc-status", "x", true, false},
        {ON(REFUSED_STREAM), PROXY_TRY_BROKEN, 0, NULL, NULL, true, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        static struct proxy_message response;
        const struct proxy_retry_policy policy = {
            .on = rows[i].on, .statuses = statuses, .status_count = 1, .headers = headers, .header_count = 1};
        proxy_headers_init(&response.headers);
        response.status = rows[i].status;
        if (rows[i].field != NULL)
            assert_int_equal(
                proxy_headers_add(&response.headers, fl_span_str(rows[i].field), fl_span_str(rows[i].value)), 0);
        const struct proxy_try one = {.outcome = rows[i].outcome, .sent = rows[i].sent, .response = &response};
        if (proxy_retry_wants(&policy, &one) != rows[i].wants)
            fail_msg("row %zu", i);
    }
}

static void a_server_of_http2_that_has_not_begun(void **state)
{
    (void)state;
    const struct proxy_try one = {.outcome = PROXY_TRY_BROKEN, .refused = true};
    const struct proxy_retry_policy refused = {.on = ON(REFUSED_STREAM)}, connect = {.on = ON(CONNECT_FAILURE)};
    assert_true(proxy_retry_wants(&refused, &one));
    assert_false(proxy_retry_wants(&connect, &one));
}

static void an_app_that_a_sidecar_could_not_reach(void **state)
{
    (void)state;
    static struct proxy_message response;
    static const struct {
        uint16_t status;
        const char *grpc;
        bool is;
    } rows[] = {{503, NULL, true}, {200, "14", true}, {200, NULL, false}, {500, NULL, false}, {200, "2", false}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        proxy_headers_init(&response.headers);
        response.status = rows[i].status;
        assert_int_equal(proxy_headers_add(&response.headers, FL_SPAN("X-Fairlead-Unsent"), FL_SPAN("1")), 0);
        if (rows[i].grpc != NULL)
            assert_int_equal(proxy_headers_add(&response.headers, FL_SPAN("grpc-status"), fl_span_str(rows[i].grpc)),
                             0);
        assert_int_equal(proxy_retry_take_unsent(&response), rows[i].is);
        assert_false(proxy_retry_take_unsent(&response)); /* it is off */
    }
    response.status = 503;
    struct proxy_try one = {.outcome = PROXY_TRY_ANSWERED, .sent = true, .response = &response, .unsent = true};
    const struct proxy_retry_policy connect = {.on = ON(CONNECT_FAILURE)}, refused = {.on = ON(REFUSED_STREAM)};
    assert_true(proxy_retry_wants(&connect, &one));
    assert_false(proxy_retry_wants(&refused, &one));
    one.unsent = false;
    assert_false(proxy_retry_wants(&connect, &one));
}

static void backoff_doubles_up_to_its_maximum(void **state)
{
    (void)state;
    const struct proxy_retry_policy policy = {.backoff_base_ms = 25, .backoff_max_ms = 250};
    static const uint64_t most[] = {25, 75, 175, 250, 250};
    for (uint32_t number = 1; number <= FL_COUNT(most); number++) {
        uint64_t longest = 0;
        for (uint64_t random = 0; random < 1000; random++) {
            uint64_t ms = proxy_retry_backoff_ms(&policy, number, random);
            longest = ms > longest ? ms : longest;
        }
        assert_int_equal(longest, most[number - 1]);
    }
    assert_in_range(proxy_retry_backoff_ms(&policy, UINT32_MAX, UINT64_MAX), 0, 250);
}

/* --- in the loop ------------------------------------------------------------------------------------------------ */

#define GET      "GET /retry HTTP/1.1\r\nHost: web\r\n\r\n"
#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define BAD      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

static double retries(const struct fixture *f, const char *result)
{
    return fixture_metric_of(f, "fairlead_upstream_retries_total", result);
}

/* A try arrives at the origin, after the back-off. */
static struct side next_try(struct fixture *f, const char *request)
{
    struct side origin = fixture_origin(f);
    side_expect(f, &origin, request);
    return origin;
}

static void a_bad_answer_is_not_the_last_word(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct side one = next_try(&f, GET);
    side_say(&f, &one, BAD);
    struct side two = next_try(&f, GET);
    side_expect(&f, &client, "");
    side_say(&f, &two, OK_EMPTY);
    side_expect(&f, &client, OK_EMPTY);
    assert_true(retries(&f, "\"started\"") == 1);
    assert_true(retries(&f, "\"succeeded\"") == 1);
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_code=\"200\"") == 1);
    assert_true(fixture_metric(&f, "istio_requests_total") == 1);
    side_say(&f, &client, "GET / HTTP/1.1\r\nHost: web\r\n\r\n"); /* and both connections live on */
    side_expect(&f, &two, "GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    side_done(&one);
    side_done(&two);
    side_done(&client);
    fixture_done(&f);
}

static void the_limit_ends_with_the_answer_that_came(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    for (int i = 0; i < 3; i++) {
        struct side one = next_try(&f, GET);
        side_say(&f, &one, BAD);
        side_done(&one);
    }
    side_expect(&f, &client, BAD);
    assert_false(fixture_origin_waits(&f));
    assert_true(retries(&f, "\"limit\"") == 1);
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"URX\"") == 1);
    assert_int_equal(f.data.kept_bytes, 0);
    side_done(&client);
    fixture_done(&f);
}

static void only_what_the_policy_names(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct side one = next_try(&f, GET);
    side_say(&f, &one, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    side_expect_start(&f, &client, "HTTP/1.1 404");
    assert_true(retries(&f, "\"started\"") == 0);
    side_done(&one);
    side_done(&client);
    fixture_done(&f);
}

static void a_body_is_sent_again_as_it_was(void **state)
{
    (void)state;
    static const char head[] = "POST /retry HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const char all[] = "POST /retry HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    static const char again[] = "POST /retry HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "5\r\nabcde\r\n0\r\n\r\n"; /* the body is; chunks are each hop's own */
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, head);
    side_say(&f, &client, "3\r\nabc\r\n");
    struct side one = fixture_origin(&f);
    side_hear(&f, &one);
    side_abort(&one); /* in the middle of the request */
    struct side two = fixture_origin(&f);
    side_say(&f, &client, "2\r\nde\r\n0\r\n\r\n"); /* the rest goes on where it was */
    side_expect(&f, &two, all);
    side_say(&f, &two, BAD);
    struct side three = next_try(&f, again);
    side_say(&f, &three, OK_EMPTY);
    side_expect(&f, &client, OK_EMPTY);
    assert_int_equal(f.data.kept_bytes, 0);
    side_done(&one);
    side_done(&two);
    side_done(&three);
    side_done(&client);
    fixture_done(&f);
}

static void a_large_body_is_not_kept(void **state)
{
    (void)state;
    struct fixture f;
    char head[128];
    const size_t size = PROXY_ATTEMPT_BODY_MAX + 1;
    FL_CLEANUP(fl_cleanup_free) char *body = malloc(size);
    memset(body, 'x', size);
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    snprintf(head, sizeof(head), "PUT /retry HTTP/1.1\r\nHost: web\r\nContent-Length: %zu\r\n\r\n", size);
    side_say(&f, &client, head);
    struct side one = fixture_origin(&f);
    for (size_t at = 0; at < size; at += 8192) {
        side_say_bytes(&f, &client, body + at, size - at < 8192 ? size - at : 8192);
        side_hear(&f, &one);
    }
    assert_int_equal(one.len, strlen(head) + size);
    assert_int_equal(f.data.kept_bytes, 0);
    side_say(&f, &one, BAD);
    side_expect(&f, &client, BAD);
    assert_true(retries(&f, "\"not_kept\"") == 1);
    side_done(&one);
    side_done(&client);
    fixture_done(&f);
}

static void nothing_is_tried_again_once_the_client_has_a_byte(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct side one = next_try(&f, GET);
    side_say(&f, &one, "HTTP/1.1 103 Early Hints\r\n\r\n" BAD);
    side_expect(&f, &client, "HTTP/1.1 103 Early Hints\r\n\r\n" BAD);
    side_done(&one);
    side_say(&f, &client, GET);
    one = next_try(&f, GET);
    side_say(&f, &one, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    side_abort(&one);
    fixture_wait(&f, 10);
    assert_false(fixture_origin_waits(&f));
    side_hear_end(&f, &client);
    assert_true(client.reset);
    side_done(&one);
    side_done(&client);
    fixture_done(&f);
}

static void a_try_that_takes_too_long(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, "GET /retry-slow HTTP/1.1\r\nHost: web\r\n\r\n");
    struct side one = fixture_origin(&f);
    side_expect_start(&f, &client, "HTTP/1.1 504"); /* the route's timeout is for all tries together */
    side_done(&one);
    side_done(&client);
    fixture_done(&f);
}

static void slow(struct fixture *f)
{
    f->retry->per_try_timeout_ms = 250;
    f->retry->num_retries = 1;
}

static void each_try_has_its_time(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init_with(&f, true, slow);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct side one = fixture_origin(&f);
    struct side two = next_try(&f, GET);
    side_say(&f, &two, OK_EMPTY);
    side_expect(&f, &client, OK_EMPTY);
    side_done(&one);
    side_done(&two);
    side_say(&f, &client, GET);
    one = fixture_origin(&f);
    two = fixture_origin(&f);
    side_expect_start(&f, &client, "HTTP/1.1 504");
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"URX,UT\"") == 1);
    side_done(&one);
    side_done(&two);
    side_done(&client);
    fixture_done(&f);
}

static int second; /* another origin */

static void two_hosts(struct fixture *f)
{
    struct proxy_endpoint *endpoints = fl_arena_alloc(&f->snapshot->unit.arena, 2 * sizeof(*endpoints));
    endpoints[0] = endpoints[1] = f->cluster->own.list[0];
    second = fixture_listen(&endpoints[1].address);
    f->cluster->own.list = endpoints;
    f->cluster->own.count = 2;
    f->cluster->lb_policy = PROXY_LB_RANDOM;
    f->retry->other_host = true;
}

static bool waits_at_second(struct fixture *f)
{
    fixture_run(f);
    int fd = accept4(second, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void a_retry_goes_to_another_host(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct fixture f;
        fixture_init_with(&f, true, two_hosts);
        struct side client = fixture_client(&f);
        side_say(&f, &client, GET);
        bool first_to_second = false;
        FIXTURE_UNTIL(&f, (first_to_second = waits_at_second(&f) /* which closes */) || fixture_origin_waits(&f));
        if (!first_to_second) {
            struct side one = fixture_origin(&f);
            side_abort(&one);
            side_done(&one);
        }
        FIXTURE_UNTIL(&f, first_to_second ? fixture_origin_waits(&f) : waits_at_second(&f));
        assert_false(first_to_second && waits_at_second(&f));
        side_done(&client);
        fixture_done(&f);
        close(second);
    }
}

static void ejecting(struct fixture *f)
{
    two_hosts(f);
    f->retry->other_host = false;
    f->cluster->lb_policy = PROXY_LB_ROUND_ROBIN;
    f->cluster->outlier = (struct proxy_outlier_config){.on = true,
                                                        .consecutive = {2, 0, 0},
                                                        .enforcing = {100, 0, 0},
                                                        .max_ejection_percent = 50,
                                                        .interval_ms = 10000,
                                                        .base_ms = 30000,
                                                        .max_ms = 30000};
}

static void a_host_that_answers_badly_is_left_alone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init_with(&f, true, ejecting);
    struct side client = fixture_client(&f), bad = {.fd = -1};
    for (int i = 0; i < 2; i++) { /* round robin: bad, good, bad */
        side_say(&f, &client, "GET / HTTP/1.1\r\nHost: web\r\n\r\n");
        if (bad.text == NULL)
            bad = fixture_origin(&f);
        side_say(&f, &bad, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        side_expect_start(&f, &client, "HTTP/1.1 500");
        if (i == 0) {
            side_say(&f, &client, "GET / HTTP/1.1\r\nHost: web\r\n\r\n");
            assert_true(waits_at_second(&f)); /* which closes: 503 */
            side_expect_start(&f, &client, "HTTP/1.1 503");
        }
    }
    assert_true(fixture_metric_of(&f, "fairlead_upstream_ejections_total", "enforced=\"true\"") == 1);
    for (int i = 0; i < 4; i++) {
        side_say(&f, &client, "GET / HTTP/1.1\r\nHost: web\r\n\r\n");
        assert_true(waits_at_second(&f));
        side_expect_start(&f, &client, "HTTP/1.1 503");
    }
    /* It fails as well by now, and is spared: the other one is out already. */
    assert_true(fixture_metric_of(&f, "fairlead_upstream_ejections_total", "enforced=\"false\"") > 0);
    side_done(&bad);
    side_done(&client);
    fixture_done(&f);
    close(second);
}

static void no_budget(struct fixture *f)
{
    f->cluster->max_retries = 0;
}

static void the_budget_is_the_clusters(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init_with(&f, true, no_budget);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct side one = next_try(&f, GET);
    side_say(&f, &one, BAD);
    side_expect(&f, &client, BAD);
    assert_true(retries(&f, "\"overflow\"") == 1);
    assert_true(fixture_metric_of(&f, "fairlead_upstream_overflows_total", "\"retries\"") == 1);
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"UO\"") == 1);
    side_done(&one);
    side_done(&client);
    fixture_done(&f);
}

static void nobody_listens(struct fixture *f)
{
    struct proxy_endpoint *endpoint = fl_arena_alloc(&f->snapshot->unit.arena, sizeof(*endpoint));
    *endpoint = f->cluster->own.list[0];
    close(fixture_listen(&endpoint->address));
    f->cluster->own.list = endpoint;
}

static void connections_that_fail_are_tried_again_until_the_limit(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init_with(&f, true, nobody_listens);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    side_expect_start(&f, &client, "HTTP/1.1 503");
    assert_true(retries(&f, "\"started\"") == 2);
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"UF,URX\"") == 1);
    side_done(&client);
    fixture_done(&f);
}

static void long_backoff(struct fixture *f)
{
    f->retry->backoff_base_ms = f->retry->backoff_max_ms = 60000;
}

static void a_client_that_leaves_while_it_waits(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct fixture f;
        fixture_init_with(&f, true, long_backoff);
        struct side client = fixture_client(&f);
        side_say(&f, &client, GET);
        struct side one = fixture_origin(&f);
        side_say(&f, &one, BAD);
        if (how == 0)
            side_end(&client);
        if (how == 1)
            side_abort(&client);
        fixture_run(&f);
        assert_int_equal(f.data.downstream_count, how == 2 ? 1 : 0);
        side_done(&one);
        side_done(&client);
        fixture_done(&f); /* …or the proxy ends */
    }
}

/* Each allocation in turn: the request may fail, nothing else may. */
static void memory_that_is_out_costs_a_retry(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fixture f;
        size_t countdown = fail_round_;
        fail_stop();
        fixture_init_with(&f, true, two_hosts);
        struct side client = fixture_client(&f);
        assert_true(send(client.fd, GET, strlen(GET), 0) > 0);
        fail_at(countdown);
        for (int i = 0; i < 20; i++) {
            assert_true(fl_loop_turn(f.loop, 1) >= 0);
            int fd = accept4(f.origin, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0)
                close(fd);
            fd = accept4(second, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0)
                close(fd);
        }
        fail_stop();
        assert_int_equal(f.data.kept_bytes, 0);
        side_done(&client);
        fixture_done(&f);
        close(second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_words_mean_what_envoys_do),
        cmocka_unit_test(a_server_of_http2_that_has_not_begun),
        cmocka_unit_test(an_app_that_a_sidecar_could_not_reach),
        cmocka_unit_test(backoff_doubles_up_to_its_maximum),
        cmocka_unit_test(a_bad_answer_is_not_the_last_word),
        cmocka_unit_test(the_limit_ends_with_the_answer_that_came),
        cmocka_unit_test(only_what_the_policy_names),
        cmocka_unit_test(a_body_is_sent_again_as_it_was),
        cmocka_unit_test(a_large_body_is_not_kept),
        cmocka_unit_test(nothing_is_tried_again_once_the_client_has_a_byte),
        cmocka_unit_test(a_try_that_takes_too_long),
        cmocka_unit_test(each_try_has_its_time),
        cmocka_unit_test(a_retry_goes_to_another_host),
        cmocka_unit_test(a_host_that_answers_badly_is_left_alone),
        cmocka_unit_test(the_budget_is_the_clusters),
        cmocka_unit_test(connections_that_fail_are_tried_again_until_the_limit),
        cmocka_unit_test(a_client_that_leaves_while_it_waits),
        cmocka_unit_test(memory_that_is_out_costs_a_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
