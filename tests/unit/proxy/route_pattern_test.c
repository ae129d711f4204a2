/* proxy/route: regular expressions in matches, and paths rewritten by them. */
#include "proxy/http/h1.h"
#include "proxy/route/rewrite.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

static struct proxy_message message;

static struct proxy_message *request(const char *target, const char *field)
{
    static char text[8192];
    static const struct proxy_h1_limits limits;
    struct proxy_h1_parser parser = {0};
    size_t size;
    int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\nx-a: %s\r\n\r\n", target, field);
    int result = proxy_h1_parse_request(&parser, fl_span_make(text, (size_t)len), &limits, &message, &size);
    assert_int_equal(result, PROXY_H1_DONE);
    return &message;
}

static struct fl_span any = {"*", 1};
static const struct proxy_weighted_cluster cluster = {.name = {"one", 3}, .weight = 1};

static int compile(const struct proxy_route *route, struct proxy_route_table **ret_table, struct fl_err *err)
{
    struct proxy_route one = *route;
    one.clusters = &cluster;
    one.cluster_count = 1;
    const struct proxy_virtual_host host = {
        .name = FL_SPAN("v"), .domains = &any, .domain_count = 1, .routes = &one, .route_count = 1};
    const struct proxy_route_config config = {.virtual_hosts = &host, .virtual_host_count = 1};
    return proxy_route_table_new(&config, NULL, NULL, ret_table, err);
}

static struct proxy_route_table *must_compile(const struct proxy_route *route)
{
    struct proxy_route_table *table = NULL;
    struct fl_err err = {0};
    if (compile(route, &table, &err) < 0)
        fail_msg("%s", err.text);
    return table;
}

static const struct proxy_header_match field_match = {
    .name = {"x-a", 3}, .kind = PROXY_VALUE_STRING, .string = {.kind = PROXY_STRING_REGEX, .text = {"v[0-9]+", 7}}};
static const struct proxy_query_match query_match = {
    .name = {"q", 1}, .kind = PROXY_VALUE_STRING, .string = {.kind = PROXY_STRING_REGEX, .text = {"(a|b)c?", 7}}};

static void whole_values_match(void **state)
{
    static const struct {
        const char *name, *target, *field;
        bool found;
    } rows[] = {
        {"all three", "/v1/x?q=ac", "v12", true},
        {"the query is not the path's", "/v1/x?q=b", "v1", true},
        {"the path's end counts", "/v1/x/?q=a", "v1", false},
        {"its beginning too", "/a/v1/x?q=a", "v1", false},
        {"another field", "/v1/x?q=a", "w1", false},
        {"a part of a field", "/v1/x?q=a", "v1a", false},
        {"another parameter", "/v1/x?q=c", "v1", false},
        {"no parameter", "/v1/x", "v1", false},
        {"bytes of another size", "/v1/xx?q=a", "v1", false},
    };
    const struct proxy_route route = {.match = {.path_kind = PROXY_PATH_REGEX,
                                                .path = FL_SPAN("/v\\d/."),
                                                .headers = &field_match,
                                                .header_count = 1,
                                                .queries = &query_match,
                                                .query_count = 1}};
    struct proxy_route_table *table = must_compile(&route);
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        if ((proxy_route_find(table, request(rows[i].target, rows[i].field)).route != NULL) != rows[i].found)
            fail_msg("%s", rows[i].name);
    assert_true(proxy_route_table_size(table) > 1000);
    proxy_route_table_free(table);
}

static void paths_are_rewritten(void **state)
{
    static const struct {
        const char *pattern, *substitution, *target, *expected;
    } rows[] = {
        {"^/.*", "/new", "/old/a/b", "/new"},
        {"^/.*", "/new", "/old?x=/old", "/new?x=/old"},
        {"^/([^/]+)/([^/]+)", "/\\2/\\1", "/a/b/c?d", "/b/a/c?d"},
        {"^/a", "", "/a/b", "/b"},
        {"^/a/?", "", "/a/b", "/b"}, /* a path begins with '/' */
        {"^/.*", "", "/a?q", "/?q"},
        {"x", "y", "/a?x", "/a?x"},
    };
    char scratch[64];
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct proxy_route route = {.match = {.path = FL_SPAN("/")},
                                          .regex_rewrite = fl_span_str(rows[i].pattern),
                                          .substitution = fl_span_str(rows[i].substitution)};
        struct proxy_route_table *table = must_compile(&route);
        struct proxy_message *asked = request(rows[i].target, "");
        struct proxy_route_found found = proxy_route_find(table, asked);
        assert_int_equal(proxy_route_rewrite_request(table, &found, NULL, asked, scratch, sizeof(scratch)), 0);
        if (!fl_span_eq_str(asked->path, rows[i].expected))
            fail_msg("%s: %.*s", rows[i].target, FL_SPAN_ARG(asked->path));
        asked = request(rows[i].target, "");
        assert_int_equal(proxy_route_rewrite_request(table, &found, NULL, asked, scratch, 1), -EMSGSIZE);
        proxy_route_table_free(table);
    }
}

static void a_path_that_costs_too_much_is_refused(void **state)
{
    const struct proxy_route route = {
        .match = {.path = FL_SPAN("/")}, .regex_rewrite = FL_SPAN("^/(a+)+b"), .substitution = FL_SPAN("/")};
    struct proxy_route_table *table = must_compile(&route);
    char target[2000], scratch[4096];
    (void)state;
    memset(target, 'a', sizeof(target));
    target[0] = '/';
    memcpy(target + sizeof(target) - 3, "cb", 3);
    struct proxy_message *asked = request(target, "");
    struct proxy_route_found found = proxy_route_find(table, asked);
    assert_int_equal(proxy_route_rewrite_request(table, &found, NULL, asked, scratch, sizeof(scratch)), -E2BIG);
    proxy_route_table_free(table);
}

static const struct proxy_header_match bad_field = {
    .name = {"x-a", 3}, .kind = PROXY_VALUE_STRING, .string = {.kind = PROXY_STRING_REGEX, .text = {"a(", 2}}};

static void what_is_wrong_is_told(void **state)
{
    const struct {
        struct proxy_route route;
        const char *reason;
    } rows[] = {
        {{.match = {.path_kind = PROXY_PATH_REGEX, .path = FL_SPAN("/[")}}, "\"/[\": no regular expression"},
        {{.match = {.path_kind = PROXY_PATH_REGEX, .path = FL_SPAN("")}}, "1 to 4096 octets"},
        {{.match = {.path = FL_SPAN("/"), .headers = &bad_field, .header_count = 1}}, "\"a(\": no regular expression"},
        {{.match = {.path_kind = PROXY_PATH_REGEX, .path = FL_SPAN("/a")},
          .has_prefix_rewrite = true,
          .prefix_rewrite = FL_SPAN("/b")},
         "prefix_rewrite needs a match by prefix or path"},
        {{.match = {.path = FL_SPAN("/")},
          .has_prefix_rewrite = true,
          .prefix_rewrite = FL_SPAN("/b"),
          .regex_rewrite = FL_SPAN("a")},
         "one at most"},
        {{.match = {.path = FL_SPAN("/")}, .regex_rewrite = FL_SPAN("a"), .substitution = FL_SPAN("\\1")},
         "names group 1"},
        {{.match = {.path = FL_SPAN("/")}, .regex_rewrite = FL_SPAN("a"), .substitution = FL_SPAN("a b")},
         "not fit for a path"},
        {{.match = {.path = FL_SPAN("/")}, .regex_rewrite = FL_SPAN("a{"), .substitution = FL_SPAN("(\r")},
         "not fit for a path"},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_route_table *table = NULL;
        struct fl_err err = {0};
        assert_int_equal(compile(&rows[i].route, &table, &err), -EINVAL);
        if (strstr(err.text, rows[i].reason) == NULL)
            fail_msg("%zu: %s", i, err.text);
        assert_null(table);
    }
}

static void memory_may_run_out(void **state)
{
    const struct proxy_route route = {
        .match = {.path_kind = PROXY_PATH_REGEX, .path = FL_SPAN("/.*"), .headers = &field_match, .header_count = 1},
        .regex_rewrite = FL_SPAN("^/.*"),
        .substitution = FL_SPAN("/")};
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_route_table *table = NULL;
        int result = compile(&route, &table, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_route_table_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_values_match),
        cmocka_unit_test(paths_are_rewritten),
        cmocka_unit_test(a_path_that_costs_too_much_is_refused),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
