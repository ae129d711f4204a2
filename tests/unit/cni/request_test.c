/* cni/agent/request: heads that everybody on the node's network may send. */
#include "cni/agent/request.h"

#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    const char *what, *text;
    enum cni_request_outcome outcome;
    const char *method, *path;
} rows[] = {
    {"plain", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", CNI_REQUEST_COMPLETE, "GET", "/metrics"},
    {"no headers", "GET / HTTP/1.0\r\n\r\n", CNI_REQUEST_COMPLETE, "GET", "/"},
    {"a query", "GET /metrics?a=b?c HTTP/1.1\r\n\r\n", CNI_REQUEST_COMPLETE, "GET", "/metrics"},
    {"another method", "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", CNI_REQUEST_COMPLETE, "POST",
     "/metrics"},
    {"what is behind is not looked at", "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n", CNI_REQUEST_COMPLETE, "GET",
     "/a"},
    {"a value of high bytes", "GET / HTTP/1.1\r\nX: \xff\t \r\n\r\n", CNI_REQUEST_COMPLETE, "GET", "/"},
    {"an empty value", "GET / HTTP/1.1\r\nX:\r\n\r\n", CNI_REQUEST_COMPLETE, "GET", "/"},
    {"nothing yet", "", CNI_REQUEST_PARTIAL, NULL, NULL},
    {"a letter", "G", CNI_REQUEST_PARTIAL, NULL, NULL},
    {"half a head", "GET / HTTP/1.1\r\nHost: a\r\n", CNI_REQUEST_PARTIAL, NULL, NULL},
    {"all but the last byte", "GET / HTTP/1.1\r\n\r", CNI_REQUEST_PARTIAL, NULL, NULL},
    {"TLS", "\x16\x03\x01\x02", CNI_REQUEST_BAD, NULL, NULL},
    {"an empty line in front", "\r\nGET / HTTP/1.1\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"no carriage return", "GET / HTTP/1.1\n\n", CNI_REQUEST_BAD, NULL, NULL},
    {"HTTP/0.9", "GET /\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"absolute form", "GET http://a/ HTTP/1.1\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"two spaces", "GET  / HTTP/1.1\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"a control character in the path", "GET /\x01 HTTP/1.1\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"a high byte in the path", "GET /\xe4 HTTP/1.1\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"no header", "GET / HTTP/1.1\r\nhello\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"a header without a name", "GET / HTTP/1.1\r\n: a\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"a space in its name", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"a folded line", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
    {"a control character in a value", "GET / HTTP/1.1\r\nA: \x02\r\n\r\n", CNI_REQUEST_BAD, NULL, NULL},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct cni_request request = {{NULL, 0}, {NULL, 0}};
        struct guard guard;
        guard_init(&guard, fl_span_str(rows[i].text));
        enum cni_request_outcome outcome = cni_request_parse(guard.span, &request);
        if (outcome != rows[i].outcome)
            fail_msg("%s: %d, not %d", rows[i].what, (int)outcome, (int)rows[i].outcome);
        if (outcome == CNI_REQUEST_COMPLETE) {
            assert_true(fl_span_eq_str(request.method, rows[i].method));
            assert_true(fl_span_eq_str(request.path, rows[i].path));
        }
        guard_done(&guard);
    }
}

/* Byte by byte: a head that will be complete is never called bad on the way. */
static void test_pieces(void **state)
{
    (void)state;
    const struct fl_span text = FL_SPAN("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
    struct cni_request request;
    for (size_t len = 0; len < text.len; len++)
        assert_int_equal(cni_request_parse(fl_span_make(text.data, len), &request), CNI_REQUEST_PARTIAL);
    assert_int_equal(cni_request_parse(text, &request), CNI_REQUEST_COMPLETE);
}

static void test_nul(void **state)
{
    (void)state;
    struct cni_request request;
    assert_int_equal(cni_request_parse(FL_SPAN("GET /\0 HTTP/1.1\r\n\r\n"), &request), CNI_REQUEST_BAD);
    assert_int_equal(cni_request_parse(FL_SPAN("GET / HTTP/1.1\r\nA\0: b\r\n\r\n"), &request), CNI_REQUEST_BAD);
    assert_int_equal(cni_request_parse(FL_SPAN("GET / HTTP/1.1\r\nA: \0\r\n\r\n"), &request), CNI_REQUEST_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
