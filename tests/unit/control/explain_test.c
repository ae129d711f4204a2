/* Which rule a request hits: matches one by one by table, and the answer in words over the rules of a Service. */
#include "control/model/explain.h"

#include "control/model/store.h"
#include "control/source/documents.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SPAN(literal)                                                                                                  \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }

static void matches_one_by_one(void **state)
{
    static const struct control_name_value header = {SPAN("x-a"), SPAN("1"), false};
    static const struct control_name_value query = {SPAN("q"), SPAN("a b"), false};
    static const struct control_name_value pattern = {SPAN("x-a"), SPAN("[12]"), true};
    static const struct {
        const char *name;
        struct control_http_match match;
        const char *method, *path, *header;
        enum control_mismatch expected;
    } rows[] = {
        {"everything", {.path = SPAN("/")}, "GET", "/", "", CONTROL_MATCHES},
        {"everything but no path", {.path = SPAN("/")}, "OPTIONS", "*", "", CONTROL_MISMATCH_PATH},
        {"prefix itself", {.path = SPAN("/a")}, "GET", "/a", "", CONTROL_MATCHES},
        {"prefix with a query", {.path = SPAN("/a")}, "GET", "/a?x=/", "", CONTROL_MATCHES},
        {"prefix below", {.path = SPAN("/a")}, "GET", "/a/b", "", CONTROL_MATCHES},
        {"prefix cuts no segment", {.path = SPAN("/a")}, "GET", "/ab", "", CONTROL_MISMATCH_PATH},
        {"exact", {.path_match = CONTROL_PATH_EXACT, .path = SPAN("/a")}, "GET", "/a", "", CONTROL_MATCHES},
        {"exact is exact",
         {.path_match = CONTROL_PATH_EXACT, .path = SPAN("/a")},
         "GET",
         "/a/",
         "",
         CONTROL_MISMATCH_PATH},
        {"expression", {.path_match = CONTROL_PATH_REGEX, .path = SPAN("/a|/b.")}, "GET", "/bc?q", "", CONTROL_MATCHES},
        {"expression of the whole",
         {.path_match = CONTROL_PATH_REGEX, .path = SPAN("/a|/b.")},
         "GET",
         "/ac",
         "",
         CONTROL_MISMATCH_PATH},
        {"end of a path",
         {.path_match = CONTROL_PATH_SUFFIX, .path = SPAN("/Get")},
         "GET",
         "/a/Get",
         "",
         CONTROL_MATCHES},
        {"gRPC alone", {.grpc = true, .path = SPAN("/")}, "POST", "/", "", CONTROL_MISMATCH_GRPC},
        {"header by expression",
         {.path = SPAN("/"), .headers = &pattern, .header_count = 1},
         "GET",
         "/",
         "2",
         CONTROL_MATCHES},
        {"header by another expression",
         {.path = SPAN("/"), .headers = &pattern, .header_count = 1},
         "GET",
         "/",
         "12",
         CONTROL_MISMATCH_HEADER},
        {"method", {.path = SPAN("/"), .method = SPAN("POST")}, "GET", "/", "", CONTROL_MISMATCH_METHOD},
        {"header", {.path = SPAN("/"), .headers = &header, .header_count = 1}, "GET", "/", "1", CONTROL_MATCHES},
        {"header of another value",
         {.path = SPAN("/"), .headers = &header, .header_count = 1},
         "GET",
         "/",
         "2",
         CONTROL_MISMATCH_HEADER},
        {"query",
         {.path = SPAN("/"), .queries = &query, .query_count = 1},
         "GET",
         "/?p&q=a b&q=c",
         "",
         CONTROL_MATCHES},
        {"of two the first",
         {.path = SPAN("/"), .queries = &query, .query_count = 1},
         "GET",
         "/?q=c&q=a b",
         "",
         CONTROL_MISMATCH_QUERY},
        {"no query", {.path = SPAN("/"), .queries = &query, .query_count = 1}, "GET", "/", "", CONTROL_MISMATCH_QUERY},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct control_name_value given = {FL_SPAN("X-A"), fl_span_str(rows[i].header), false};
        const struct control_request request = {fl_span_str(rows[i].method), fl_span_str(rows[i].path), &given, 1};
        enum control_mismatch mismatch = control_match_explain(&rows[i].match, &request).mismatch;
        if (mismatch != rows[i].expected)
            fail_msg("%s: %d", rows[i].name, (int)mismatch);
    }
}

static const char text[] =
    "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80, name: http}]}}\n---\n"
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, spec: {"
    "parentRefs: [{group: '', kind: Service, name: a}], rules: ["
    "{matches: [{path: {value: /split}, headers: [{name: X-Test, value: '1'}]}], backendRefs: [{name: a, port: 80, "
    "weight: 9},"
    " {name: gone, port: 80}]},"
    "{matches: [{path: {type: Exact, value: /old}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: "
    "b.example.com,"
    " port: 8443, statusCode: 308}}]},"
    "{matches: [{path: {value: /zero}}], backendRefs: [{name: a, port: 80, weight: 0}]},"
    "{matches: [{path: {value: /none}}]}]}}\n";

static void the_answer_is_in_words(void **state)
{
    static const struct {
        const char *path, *header, *expected;
    } rows[] = {
        {"/split", "1",
         "default/r rule 1 match 0 (path = /old): no: the path differs\n"
         "default/r rule 0 match 0 (path under /split, header x-test: 1): matches\n"
         "  90.0% default/a:80\n"
         "  10.0% default/gone:80: 500, there is no such Service\n"},
        {"/old", "",
         "default/r rule 1 match 0 (path = /old): matches\n"
         "  redirect 308, host b.example.com, port 8443\n"},
        {"/split", "2",
         "default/r rule 1 match 0 (path = /old): no: the path differs\n"
         "default/r rule 0 match 0 (path under /split, header x-test: 1): no: header x-test differs or is missing\n"
         "default/r rule 2 match 0 (path under /zero): no: the path differs\n"
         "default/r rule 3 match 0 (path under /none): no: the path differs\n"
         "  404: no rule matches\n"},
        {"/zero", "",
         "default/r rule 1 match 0 (path = /old): no: the path differs\n"
         "default/r rule 0 match 0 (path under /split, header x-test: 1): no: the path differs\n"
         "default/r rule 2 match 0 (path under /zero): matches\n"
         "  500: every backend has weight 0\n"},
        {"/none", "",
         "default/r rule 1 match 0 (path = /old): no: the path differs\n"
         "default/r rule 0 match 0 (path under /split, header x-test: 1): no: the path differs\n"
         "default/r rule 2 match 0 (path under /zero): no: the path differs\n"
         "default/r rule 3 match 0 (path under /none): matches\n"
         "  500: the rule has no backendRefs\n"},
    };
    struct control_store *store = NULL;
    struct control_diff *diff = NULL;
    struct control_documents documents;
    struct control_service_routes routes;
    struct fl_arena arena;
    (void)state;
    fl_arena_init(&arena, 1 << 20);
    assert_int_equal(control_store_new(&store), 0);
    assert_int_equal(control_documents_read(fl_span_str(text), "t", FL_SPAN(CONTROL_ROOT_DEFAULT), &documents), 0);
    assert_int_equal(documents.problem_count, 0);
    for (size_t i = 0; i < documents.object_count; i++)
        assert_int_equal(control_store_put(store, documents.objects[i].object), 0);
    assert_int_equal(control_store_commit(store, &diff), 0);
    const struct control_service *service = control_model_service(diff->after, FL_SPAN("default"), FL_SPAN("a"));
    assert_int_equal(control_service_routes(diff->after, service, control_service_port(service, 80), FL_SPAN("default"),
                                            &arena, &routes),
                     0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct control_name_value given = {FL_SPAN("X-Test"), fl_span_str(rows[i].header), false};
        const struct control_request request = {FL_SPAN("GET"), fl_span_str(rows[i].path), &given, 1};
        struct fl_buf out;
        fl_buf_init(&out, 1 << 16);
        assert_int_equal(control_route_explain(&routes.http, &request, &out), 0);
        assert_string_equal(fl_buf_str(&out), rows[i].expected);
        fl_buf_done(&out);
    }
    control_documents_done(&documents);
    control_diff_free(diff);
    control_store_free(store);
    fl_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_one_by_one),
        cmocka_unit_test(the_answer_is_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
