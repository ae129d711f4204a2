/* Answers in slices: others are served in between, who goes away ends his, and no more than a few are made at a time.
 */
#include "proxy/admin/slices.h"
#include "tests/unit/proxy/admin_world.h"

#define STEPS 100u

static struct fl_loop *loop;
static struct proxy_slices *slices;
static struct proxy_serving *serving;
static unsigned steps, freed, fail_at;
static size_t held;

static int step(void *source, size_t bytes, struct fl_buf *out)
{
    unsigned *left = source;
    assert_int_equal(bytes, PROXY_SLICE_BYTES);
    steps++;
    if (fail_at != 0 && steps == fail_at)
        return -ENOMEM;
    assert_int_equal(fl_buf_append_str(out, "0123456789"), 0);
    return --*left > 0 ? 1 : 0;
}

static void release(void *source)
{
    freed++;
    free(source);
}

static void handle(void *owner, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)owner;
    if (!fl_span_eq_str(proxy_message_path_only(request), "/big")) {
        assert_int_equal(fl_buf_append_str(&answer->body, "small\n"), 0);
        return;
    }
    unsigned *left = malloc(sizeof(*left));
    assert_non_null(left);
    *left = STEPS;
    const struct proxy_slice_source source = {step, release, left};
    assert_int_equal(proxy_slices_begin(slices, &source, "text/x", answer), 0);
}

static int set_up(void **state)
{
    (void)state;
    struct fl_err err;
    steps = freed = fail_at = 0;
    assert_int_equal(fl_loop_new(&loop), 0);
    world.loop = loop; /* of the client */
    assert_int_equal(proxy_slices_new(loop, &slices), 0);
    const struct proxy_serving_options options = {.loop = loop, .address = local(0), .handle = handle, .held = &held};
    assert_int_equal(proxy_serving_new(&options, &serving, &err), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    slices = proxy_slices_free(slices);
    serving = proxy_serving_free(serving);
    assert_int_equal(fl_loop_turn(loop, 0), 0);
    loop = fl_loop_free(loop);
    return 0;
}

static uint16_t port(void)
{
    struct proxy_address address = proxy_serving_address(serving);
    return proxy_address_port(&address);
}

static int ask_big(void)
{
    int fd = dial(port());
    say(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    return fd;
}

static void others_are_served_in_between(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int big = ask_big();
    while (steps == 0)
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    assert_has(get(port(), "/small"), "\r\n\r\nsmall\n");
    assert_true(steps < STEPS);
    assert_true(hear(big, &answer, false));
    assert_has(fl_buf_str(&answer), "content-length: 1000\r\n");
    assert_has(fl_buf_str(&answer), "content-type: text/x\r\n");
    assert_int_equal(steps, STEPS);
    assert_int_equal(freed, 1);
    close(big);
    fl_buf_done(&answer);
}

static void who_goes_away_ends_his(void **state)
{
    (void)state;
    int big = ask_big();
    while (steps == 0)
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    close(big);
    while (freed == 0)
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    assert_true(steps < STEPS);
}

static void a_failure_is_a_500(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    fail_at = 3;
    int big = ask_big();
    assert_true(hear(big, &answer, false));
    assert_has(fl_buf_str(&answer), "HTTP/1.1 500 ");
    assert_int_equal(freed, 1);
    close(big);
    fl_buf_done(&answer);
}

static void a_few_at_a_time(void **state)
{
    (void)state;
    int fds[PROXY_SLICES_MAX];
    for (size_t i = 0; i < FL_COUNT(fds); i++)
        fds[i] = ask_big();
    while (steps < PROXY_SLICES_MAX)
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    assert_has(get(port(), "/big"), "HTTP/1.1 503 ");
    assert_int_equal(freed, 1);
    slices = proxy_slices_free(slices); /* closes who waits */
    assert_int_equal(freed, 1 + PROXY_SLICES_MAX);
    for (size_t i = 0; i < FL_COUNT(fds); i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(others_are_served_in_between, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_goes_away_ends_his, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_a_500, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_few_at_a_time, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
