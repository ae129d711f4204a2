#include "proxy/admin/appurl.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void make(struct proxy_appurl *url, const char *ip, const char *path)
{
    proxy_appurl_init(url);
    assert_int_equal(proxy_address_parse(fl_span_str(ip), 8080, &url->to), 0);
    assert_int_equal(proxy_appurl_set_path(url, fl_span_str(path)), 0);
}

static void paths_are_asked_for_as_the_kubelet_does(void **state)
{
    (void)state;
    static const struct {
        const char *path, *target;
    } rows[] = {
        {"", "/"},
        {"/", "/"},
        {"/ok?x=1&y", "/ok?x=1&y"},
        {"healthz", "/healthz"},
        {"?q", "/?q"},
        {"/a b\t\"<>", "/a%20b%09%22%3C%3E"},
        {"/\xc3\xa4", "/%C3%A4"},
        {"/%41%zz%", "/%41%25zz%25"},
        {"/a#fragment", "/a"},
        {"//elsewhere/x", "/x"},
        {"//elsewhere", "/"},
        {"http://elsewhere/x?y", "/x?y"},
        {"a:b", "/a:b"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_appurl url;
        make(&url, "10.0.0.1", rows[i].path);
        assert_string_equal(fl_buf_str(&url.target), rows[i].target);
        proxy_appurl_done(&url);
    }
}

static void redirects_stay_at_the_pod(void **state)
{
    (void)state;
    static const struct {
        const char *ip, *from, *location;
        int where;
        const char *target;
        unsigned port;
        bool https, relative;
    } rows[] = {
        {"10.0.0.1", "/a/b?c", "/d?e", PROXY_APPURL_SAME, "/d?e", 8080, false, true},
        {"10.0.0.1", "/a/b?c", "d", PROXY_APPURL_SAME, "/a/d", 8080, false, true},
        {"10.0.0.1", "/a/b?c", "../../d/./e/..", PROXY_APPURL_SAME, "/d/", 8080, false, true},
        {"10.0.0.1", "/a/b?c", "?x=/../", PROXY_APPURL_SAME, "/a/b?x=/../", 8080, false, true},
        {"10.0.0.1", "/a/b?c", "#f", PROXY_APPURL_SAME, "/a/b?c", 8080, false, true},
        {"10.0.0.1", "/", "..", PROXY_APPURL_SAME, "/", 8080, false, true},
        {"10.0.0.1", "/", "/a b", PROXY_APPURL_SAME, "/a%20b", 8080, false, true},
        {"10.0.0.1", "/", "http://10.0.0.1/x", PROXY_APPURL_SAME, "/x", 80, false, false},
        {"10.0.0.1", "/", "HTTPS://10.0.0.1:8443", PROXY_APPURL_SAME, "/", 8443, true, false},
        {"10.0.0.1", "/", "https://10.0.0.1", PROXY_APPURL_SAME, "/", 443, true, false},
        {"10.0.0.1", "/", "//10.0.0.1:81/x", PROXY_APPURL_SAME, "/x", 81, false, true},
        {"fd00::1", "/", "http://[fd00::1]:81/x", PROXY_APPURL_SAME, "/x", 81, false, false},
        {"10.0.0.1", "/", "http://10.0.0.2/x", PROXY_APPURL_ELSEWHERE, NULL, 0, false, false},
        {"10.0.0.1", "/", "http://localhost:8080/x", PROXY_APPURL_ELSEWHERE, NULL, 0, false, false},
        {"10.0.0.1", "/", "http://127.0.0.1:15000/x", PROXY_APPURL_ELSEWHERE, NULL, 0, false, false},
        {"10.0.0.1", "/", "//user@10.0.0.1/x", PROXY_APPURL_ELSEWHERE, NULL, 0, false, false},
        {"10.0.0.1", "/", "http://10.0.0.1:99999/", PROXY_APPURL_ELSEWHERE, NULL, 0, false, false},
        {"10.0.0.1", "/", "http://10.0.0.1:15020/app-health/a/readyz", PROXY_APPURL_BAD, NULL, 0, false, false},
        {"10.0.0.1", "/", "http://10.0.0.1:15006/", PROXY_APPURL_BAD, NULL, 0, false, false},
        {"10.0.0.1", "/", "ftp://10.0.0.1/", PROXY_APPURL_BAD, NULL, 0, false, false},
        {"10.0.0.1", "/", "http:x", PROXY_APPURL_BAD, NULL, 0, false, false},
        {"10.0.0.1", "/", "http:///x", PROXY_APPURL_BAD, NULL, 0, false, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_appurl url;
        struct guard guard;
        bool relative = false;
        make(&url, rows[i].ip, rows[i].from);
        guard_init(&guard, fl_span_str(rows[i].location));
        int where = proxy_appurl_follow(&url, guard.span, &relative);
        if (where != rows[i].where)
            fail_msg("%s: %d", rows[i].location, where);
        bool same = where == PROXY_APPURL_SAME;
        if (strcmp(fl_buf_str(&url.target), same ? rows[i].target : rows[i].from) != 0)
            fail_msg("%s: %s", rows[i].location, fl_buf_str(&url.target));
        assert_int_equal(proxy_address_port(&url.to), same ? rows[i].port : 8080);
        assert_int_equal(url.https, same && rows[i].https);
        assert_int_equal(relative, rows[i].relative);
        guard_done(&guard);
        proxy_appurl_done(&url);
    }
}

static void a_request_says_what_the_probe_says(void **state)
{
    (void)state;
    static const struct fl_appprobe_header headers[] = {
        {FL_SPAN("hOST"), FL_SPAN(" app.local ")},
        {FL_SPAN("X-A"), FL_SPAN("1")},
        {FL_SPAN("x-a"), FL_SPAN("2")},
        {FL_SPAN("Accept"), FL_SPAN("")},
        {FL_SPAN("Content-Length"), FL_SPAN("5")},
        {FL_SPAN("Transfer-Encoding"), FL_SPAN("chunked")},
        {FL_SPAN("Connection"), FL_SPAN("x-a")},
        {FL_SPAN("Authorization"), FL_SPAN("Basic x")},
        {FL_SPAN("Host"), FL_SPAN("second")},
    };
    struct proxy_appurl url;
    struct fl_buf out;
    fl_buf_init(&out, PROXY_APPURL_REQUEST_MAX);
    make(&url, "fd00::1", "/x");
    struct proxy_apprequest request = {.url = &url, .user_agent = FL_SPAN("kube-probe/1.33"), .accept = FL_SPAN("*/*")};
    assert_int_equal(proxy_apprequest_print(&request, &out), 0);
    assert_string_equal(fl_buf_str(&out), "GET /x HTTP/1.1\r\nHost: [fd00::1]:8080\r\nUser-Agent: kube-probe/1.33\r\n"
                                          "Accept: */*\r\nConnection: close\r\n\r\n");
    fl_buf_clear(&out);
    request.headers = headers;
    request.header_count = FL_COUNT(headers);
    assert_int_equal(proxy_apprequest_print(&request, &out), 0);
    assert_string_equal(fl_buf_str(&out), "GET /x HTTP/1.1\r\nHost: app.local\r\nUser-Agent: kube-probe/1.33\r\n"
                                          "X-A: 1\r\nx-a: 2\r\nAuthorization: Basic x\r\nConnection: close\r\n\r\n");
    fl_buf_clear(&out);
    request.no_host = request.no_authorization = true;
    assert_int_equal(proxy_apprequest_print(&request, &out), 0);
    assert_string_equal(fl_buf_str(&out), "GET /x HTTP/1.1\r\nHost: [fd00::1]:8080\r\nUser-Agent: kube-probe/1.33\r\n"
                                          "X-A: 1\r\nx-a: 2\r\nConnection: close\r\n\r\n");
    fl_buf_done(&out);
    proxy_appurl_done(&url);
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_appurl url;
        bool relative;
        proxy_appurl_init(&url);
        fail_stop();
        assert_int_equal(proxy_address_parse(FL_SPAN("10.0.0.1"), 80, &url.to), 0);
        fail_at(fail_round_);
        int result = proxy_appurl_set_path(&url, FL_SPAN("/a"));
        if (result == 0)
            result = proxy_appurl_follow(&url, FL_SPAN("b"), &relative);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : PROXY_APPURL_SAME);
        proxy_appurl_done(&url);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_asked_for_as_the_kubelet_does),
        cmocka_unit_test(redirects_stay_at_the_pod),
        cmocka_unit_test(a_request_says_what_the_probe_says),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
