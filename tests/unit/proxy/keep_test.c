/* proxy/http/keep.h: a head that outlives its bytes. */
#include "proxy/http/keep.h"

#include "proxy/http/h1.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct proxy_message message, again;

static void parse(char *text)
{
    struct proxy_h1_parser parser = {0};
    size_t size;
    assert_int_equal(proxy_h1_parse_request(&parser, fl_span_str(text), NULL, &message, &size), PROXY_H1_DONE);
}

static void assert_span(struct fl_span got, const char *want)
{
    if (!fl_span_eq_str(got, want))
        fail_msg("%.*s instead of %s", FL_SPAN_ARG(got), want);
}

static void a_head_outlives_its_bytes(void **state)
{
    (void)state;
    char text[] = "POST http://web:80/a?b HTTP/1.1\r\nhOST: x\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\nX-Gone: 3\r\n"
                  "TE: trailers\r\nConnection: close, te, x-hop\r\nExpect: 100-continue\r\n\r\n";
    parse(text);
    assert_int_equal(proxy_headers_remove(&message.headers, FL_SPAN("x-gone")), 1);
    proxy_message_set_path(&message, FL_SPAN("/new"));
    struct proxy_kept_message *kept;
    assert_int_equal(proxy_message_keep(&message, &kept), 0);
    assert_true(proxy_kept_message_size(kept) < 512);
    memset(text, '!', sizeof(text));
    proxy_message_restore_kept(kept, &again);
    assert_span(again.method, "POST");
    assert_span(again.target, "http://web:80/a?b");
    assert_span(again.path, "/new");
    assert_span(again.authority, "web:80");
    assert_span(again.scheme, "http");
    assert_int_equal(again.method_id, PROXY_METHOD_POST);
    assert_int_equal(again.target_form, PROXY_TARGET_ABSOLUTE);
    assert_int_equal(again.framing, PROXY_FRAMING_LENGTH);
    assert_true(again.rewritten && again.te_trailers && again.connection_options && again.expect_continue);
    assert_true(again.has_content_length && again.content_length == 5);
    assert_false(again.keep_alive || again.upgrade);
    assert_int_equal(again.headers.count, message.headers.count - 1);
    assert_span(again.headers.list[0].name, "hOST");
    assert_span(proxy_headers_value(&again.headers, PROXY_HEADER_EXPECT), "100-continue");
    const struct proxy_header *field = proxy_headers_next(&again.headers, PROXY_HEADER_OTHER, FL_SPAN("x-a"), NULL);
    assert_span(field->value, "1");
    assert_span(proxy_headers_next(&again.headers, PROXY_HEADER_OTHER, FL_SPAN("x-a"), field)->value, "2");
    assert_null(proxy_headers_next(&again.headers, PROXY_HEADER_OTHER, FL_SPAN("x-gone"), NULL));
    free(kept);
}

static void a_target_that_is_the_path(void **state)
{
    (void)state;
    char text[] = "GET /a?b HTTP/1.0\r\n\r\n";
    struct proxy_kept_message *kept;
    parse(text);
    assert_int_equal(proxy_message_keep(&message, &kept), 0);
    proxy_message_restore_kept(kept, &again);
    assert_span(again.target, "/a?b");
    assert_span(again.path, "/a?b");
    assert_int_equal(again.minor, 0);
    assert_int_equal(again.headers.count, 0);
    free(kept);
}

static void what_is_longer_than_a_head_is_not_kept(void **state)
{
    (void)state;
    static char huge[70000];
    char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct proxy_kept_message *kept;
    parse(text);
    assert_int_equal(proxy_headers_add(&message.headers, FL_SPAN("x"), fl_span_make(huge, sizeof(huge))), 0);
    assert_int_equal(proxy_message_keep(&message, &kept), -E2BIG);
    message.headers.list[1].value.len = 1;
    message.authority = fl_span_make(huge, sizeof(huge));
    assert_int_equal(proxy_message_keep(&message, &kept), -E2BIG);
}

static void without_memory(void **state)
{
    (void)state;
    char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    parse(text);
    FAIL_EACH_ALLOCATION
    {
        struct proxy_kept_message *kept = NULL;
        int result = proxy_message_keep(&message, &kept);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        free(kept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_outlives_its_bytes),
        cmocka_unit_test(a_target_that_is_the_path),
        cmocka_unit_test(what_is_longer_than_a_head_is_not_kept),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
