/* proxy/filter/grpc.h */
#include "proxy/filter/grpc.h"

#include "proxy/telemetry/flag.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct proxy_headers headers;

static void set(const char *name, const char *value)
{
    proxy_headers_init(&headers);
    assert_int_equal(proxy_headers_add(&headers, fl_span_str(name), fl_span_str(value)), 0);
}

static void what_is_grpc(void **state)
{
    (void)state;
    static const char *const yes[] = {"application/grpc", "application/grpc+proto", "application/grpc;charset=x"};
    static const char *const no[] = {"application/grpc-web", "application/grp", "", "application/grpcx", "text/plain"};
    for (size_t i = 0; i < FL_COUNT(yes); i++) {
        set("content-type", yes[i]);
        assert_true(proxy_grpc_is(&headers));
    }
    for (size_t i = 0; i < FL_COUNT(no); i++) {
        set("content-type", no[i]);
        assert_false(proxy_grpc_is(&headers));
    }
}

static void statuses(void **state)
{
    (void)state;
    static const unsigned rows[][2] = {{400, 13}, {401, 16}, {403, 7},  {404, 12}, {429, 14}, {431, 2},
                                       {500, 2},  {502, 14}, {503, 14}, {504, 14}, {200, 2},  {408, 2}};
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        assert_int_equal(proxy_grpc_status_of(rows[i][0], 0), rows[i][1]);
    assert_int_equal(proxy_grpc_status_of(408, PROXY_FLAG_DURATION_TIMEOUT), 4);
}

static void messages(void **state)
{
    (void)state;
    char to[PROXY_GRPC_MESSAGE_MAX], longest[2000];
    struct fl_span text = proxy_grpc_message(FL_SPAN("a b%\n\xc3\xa4"), to);
    assert_true(fl_span_eq(text, FL_SPAN("a b%25%0A%C3%A4")));
    memset(longest, '\n', sizeof(longest));
    text = proxy_grpc_message(fl_span_make(longest, sizeof(longest)), to);
    assert_true(text.len <= PROXY_GRPC_MESSAGE_MAX && text.len % 3 == 0);
}

static void timeouts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {{"1H", 3600000}, {"2M", 120000}, {"3S", 3000}, {"4m", 4},
                {"5u", 1},       {"1n", 1},      {"0S", 0},    {"99999999H", 99999999ull * 3600000}};
    static const char *const bad[] = {"", "S", "1", "1s", "123456789S", "-1S", "1 S", "1.5S", "S1"};
    uint64_t ms;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        set("grpc-timeout", rows[i].text);
        assert_true(proxy_grpc_timeout(&headers, &ms));
        assert_true(ms == rows[i].ms);
    }
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        set("grpc-timeout", bad[i]);
        assert_false(proxy_grpc_timeout(&headers, &ms));
    }
    proxy_headers_init(&headers);
    assert_false(proxy_grpc_timeout(&headers, &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_grpc),
        cmocka_unit_test(statuses),
        cmocka_unit_test(messages),
        cmocka_unit_test(timeouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
