#include "proxy/admin/exposition.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OWN                                                                                                            \
    "# HELP istio_requests_total Requests.\n# TYPE istio_requests_total counter\nistio_requests_total 1\n"             \
    "# TYPE istio_request_bytes histogram\nistio_request_bytes_bucket{le=\"1\"} 1\n"

/* In pieces of `piece` bytes, each at the end of a page. */
static void feed(struct proxy_exposition *exposition, struct fl_span text, size_t piece)
{
    for (size_t at = 0; at < text.len; at += piece) {
        struct guard guard;
        struct fl_span rest = fl_span_from(text, at);
        guard_init(&guard, fl_span_make(rest.data, rest.len < piece ? rest.len : piece));
        assert_int_equal(proxy_exposition_feed(exposition, guard.span), 0);
        guard_done(&guard);
    }
    assert_int_equal(proxy_exposition_end(exposition), 0);
}

static const struct row {
    const char *in, *out;
    size_t collisions, malformed;
    bool openmetrics;
} rows[] = {
    {"", "", 0, 0, false},
    {"a 1", "a 1\n", 0, 0, false},
    {"a 1\r\n\n  b{} 2 \n", "a 1\nb{} 2\n", 0, 0, false},
    {"# HELP a b\r\r \r\na 1\r\r\n", "# HELP a b\na 1\n", 0, 0, false},
    {"# HELP a Help \\n text.\n# TYPE a gauge\na{b=\"c\",} 1 1395066363000\n",
     "# HELP a Help \\n text.\n# TYPE a gauge\na{b=\"c\",} 1 1395066363000\n", 0, 0, false},
    {"#comment\n# EOF\n# UNIT a seconds\n#TYPE a counter\na 1\n", "#TYPE a counter\na 1\n", 0, 0, false},
    {"a NaN\na +Inf\na -inf\na .5\na 5.\na 1e-400\na -1.5E+10\n",
     "a NaN\na +Inf\na -inf\na .5\na 5.\na 1e-400\na -1.5E+10\n", 0, 0, false},
    {"a 1e400\na 0x10\na 1_0\na\na \na x\na 1 x\na 1 2 3\na1\n1a 1\n\x01 1\n", "", 0, 11, false},
    {"a{b=\"\\\\\\\"\\n\"} 1\n", "a{b=\"\\\\\\\"\\n\"} 1\n", 0, 0, false},
    {"a{b=\"\\x\"} 1\na{b=\"x} 1\na{b=x} 1\na{=\"x\"} 1\na{b=\"x\" c=\"y\"} 1\na{b=\"x\"\n", "", 0, 6, false},
    {"a{b=\"1\",b=\"2\"} 1\na{__name__=\"x\"} 1\na{b=\"\xff\"} 1\n# HELP a \xff\n", "", 0, 4, false},
    {"a { b = \"c\" , d = \"e\" } 1\n", "a { b = \"c\" , d = \"e\" } 1\n", 0, 0, false},
    {"a{b=\"c # {d\"} 1 # {trace_id=\"x\"} 0.5 1.5\n", "a{b=\"c # {d\"} 1\n", 0, 0, false},
    {"a 1 123 # {} 1\na 2 1.5\n", "a 1 123\na 2\n", 0, 0, false},
    {"a 1 123\n", "a 1\n", 0, 0, true},
    {"# TYPE a unknown\n# TYPE b info\n# TYPE c stateset\na 1\n", "a 1\n", 0, 0, false},
    {"# TYPE a gauge\n# TYPE a gauge\n# HELP a x\n# HELP a y\na 1\n", "# TYPE a gauge\n# HELP a x\na 1\n", 2, 0, false},
    {"# HELP istio_requests_total x\n# TYPE istio_requests_total gauge\nistio_requests_total{a=\"b\"} 9\n"
     "istio_request_bytes_bucket 1\nistio_request_bytes_sum 1\nistio_request_bytes_count 1\nistio_request_byte 1\n",
     "istio_request_byte 1\n", 6, 0, false},
    {"<html><body>no</body></html>\n{\"a\": 1}\n", "", 0, 2, false},
};

static void what_would_spoil_the_page_is_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        static const size_t pieces[] = {1, 3, 100000};
        for (size_t k = 0; k < FL_COUNT(pieces); k++) {
            struct proxy_exposition exposition;
            proxy_exposition_init(&exposition, 1u << 20);
            assert_int_equal(proxy_exposition_reserve(&exposition, FL_SPAN(OWN)), 0);
            exposition.openmetrics = rows[i].openmetrics;
            feed(&exposition, fl_span_str(rows[i].in), pieces[k]);
            if (strcmp(fl_buf_str(&exposition.out), rows[i].out) != 0 || exposition.collisions != rows[i].collisions ||
                exposition.malformed != rows[i].malformed)
                fail_msg("row %zu: %zu collisions, %zu malformed:\n%s", i, exposition.collisions, exposition.malformed,
                         fl_buf_str(&exposition.out));
            proxy_exposition_done(&exposition);
        }
    }
}

static void a_line_is_bounded(void **state)
{
    (void)state;
    static char line[2 * PROXY_EXPOSITION_LINE_MAX];
    struct proxy_exposition exposition;
    memset(line, 'x', sizeof(line));
    proxy_exposition_init(&exposition, 1u << 20);
    for (int i = 0; i < 3; i++)
        assert_int_equal(proxy_exposition_feed(&exposition, fl_span_make(line, sizeof(line))), 0);
    assert_int_equal(proxy_exposition_feed(&exposition, FL_SPAN(" 1\na 1\n")), 0);
    assert_int_equal(proxy_exposition_end(&exposition), 0);
    assert_string_equal(fl_buf_str(&exposition.out), "a 1\n");
    assert_int_equal(exposition.malformed, 1);
    assert_true(exposition.line.cap <= PROXY_EXPOSITION_LINE_MAX);
    proxy_exposition_done(&exposition);
}

static void the_result_is_bounded(void **state)
{
    (void)state;
    struct proxy_exposition exposition;
    proxy_exposition_init(&exposition, 8);
    assert_int_equal(proxy_exposition_feed(&exposition, FL_SPAN("a 1\nb 2\n")), 0);
    assert_int_equal(proxy_exposition_feed(&exposition, FL_SPAN("c 3\n")), -EMSGSIZE);
    proxy_exposition_done(&exposition);
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_exposition exposition;
        proxy_exposition_init(&exposition, 1u << 20);
        int result = proxy_exposition_reserve(&exposition, FL_SPAN(OWN));
        if (result == 0)
            result = proxy_exposition_feed(&exposition, FL_SPAN("# TYPE a gauge\na 1\nb"));
        if (result == 0)
            result = proxy_exposition_feed(&exposition, FL_SPAN(" 1\n"));
        if (result == 0)
            result = proxy_exposition_end(&exposition);
        fail_stop();
        /* Where the app's own family cannot be kept, it is only not looked for twice. */
        assert_true(result == 0 || (fail_happened() && result == -ENOMEM));
        proxy_exposition_done(&exposition);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_would_spoil_the_page_is_left_out),
        cmocka_unit_test(a_line_is_bounded),
        cmocka_unit_test(the_result_is_bounded),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
