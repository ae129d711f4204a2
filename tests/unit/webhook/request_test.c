#include "tests/unit/webhook/test.h"

#include "tests/support/guard.h"
#include "webhook/request.h"

#define POD             "'resource':{'group':'','version':'v1','resource':'pods'}"
#define REVIEW(request) "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{" request "}}"

static int parse(const char *text, struct webhook_request *request, struct fl_err *err)
{
    char copy[4096];
    struct guard guard;
    size_t len = strlen(text);
    for (size_t i = 0; i <= len; i++)
        copy[i] = text[i] == '\'' ? '"' : text[i];
    guard_init(&guard, fl_span_make(copy, len));
    int result = webhook_request_parse(guard.span, request, err);
    guard_done(&guard);
    return result;
}

static void test_a_pod(void **state)
{
    (void)state;
    struct webhook_request request;
    assert_int_equal(parse(REVIEW("'uid':'u1','operation':'CREATE','namespace':'shop','dryRun':true,'future':[]," POD
                                  ",'object':{'metadata':{'generateName':'web-'}},'oldObject':null,'name':''"),
                           &request, NULL),
                     0);
    assert_span(request.uid, "u1");
    assert_span(request.name_space, "shop");
    assert_span(request.name, "web-");
    assert_true(request.dry_run);
    assert_true(webhook_request_is_pod(&request));
    webhook_request_done(&request);
}

static void test_variants(void **state)
{
    (void)state;
    struct webhook_request request;
    assert_int_equal(parse(REVIEW("'uid':'u','operation':'CREATE','kind':{'group':'','version':'v1','kind':'Pod'},"
                                  "'object':{'metadata':{'namespace':'shop','name':'n'}}"),
                           &request, NULL),
                     0);
    assert_true(webhook_request_is_pod(&request));
    assert_span(request.name_space, "shop");
    assert_span(request.name, "n");
    webhook_request_done(&request);
    assert_int_equal(parse(REVIEW("'uid':'u','operation':'CREATE','resource':{'group':'apps','version':'v1',"
                                  "'resource':'pods'}"),
                           &request, NULL),
                     0);
    assert_false(webhook_request_is_pod(&request));
    webhook_request_done(&request);
    assert_int_equal(parse(REVIEW("'uid':'u','operation':'DELETE','namespace':'a','object':null," POD), &request, NULL),
                     0);
    assert_null(request.object);
    webhook_request_done(&request);
}

static const struct {
    const char *text;
    int reason;
    const char *error;
} wrong[] = {
    {"", WEBHOOK_REASON_NOT_JSON, ""},
    {"hello", WEBHOOK_REASON_NOT_JSON, ""},
    {"{} {}", WEBHOOK_REASON_NOT_JSON, ""},
    {"{'kind':'AdmissionReview','kind':'AdmissionReview'}", WEBHOOK_REASON_NOT_JSON, "kind"},
    {"{'a':'\\u0000'}", WEBHOOK_REASON_NOT_JSON, ""},
    {"[]", WEBHOOK_REASON_NOT_A_REVIEW, "not an AdmissionReview"},
    {"null", WEBHOOK_REASON_NOT_A_REVIEW, "not an AdmissionReview"},
    {"{}", WEBHOOK_REASON_NOT_A_REVIEW, "not an AdmissionReview"},
    {"{'apiVersion':'v1','kind':'Pod'}", WEBHOOK_REASON_NOT_A_REVIEW, "kind: \"Pod\""},
    {"{'apiVersion':'admission.k8s.io/v1beta1','kind':'AdmissionReview','request':{}}", WEBHOOK_REASON_API_VERSION,
     "apiVersion \"admission.k8s.io/v1beta1\" is not served; expected admission.k8s.io/v1"},
    {"{'kind':'AdmissionReview','request':{}}", WEBHOOK_REASON_API_VERSION, "apiVersion"},
    {"{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview'}", WEBHOOK_REASON_NOT_A_REVIEW, "no request"},
    {"{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':[]}", WEBHOOK_REASON_NOT_A_REVIEW,
     "no request"},
    {REVIEW("'operation':'CREATE','namespace':'a'," POD), WEBHOOK_REASON_NOT_A_REVIEW, "uid"},
    {REVIEW("'uid':'','operation':'CREATE','namespace':'a'," POD), WEBHOOK_REASON_NOT_A_REVIEW, "uid"},
    {REVIEW("'uid':7,'operation':'CREATE','namespace':'a'," POD), WEBHOOK_REASON_NOT_A_REVIEW, "$.request.uid"},
    {REVIEW("'UID':'u','operation':'CREATE','namespace':'a'," POD), WEBHOOK_REASON_NOT_A_REVIEW, "uid"},
    {REVIEW("'uid':'u','namespace':'a'," POD), WEBHOOK_REASON_NOT_A_REVIEW, "operation"},
    {REVIEW("'uid':'u','operation':'CREATE','namespace':'a'"), WEBHOOK_REASON_NOT_A_REVIEW, "$.request.resource"},
    {REVIEW("'uid':'u','operation':'CREATE'," POD), WEBHOOK_REASON_NOT_A_REVIEW, "$.request.namespace: is missing"},
    {REVIEW("'uid':'u','operation':'CREATE','namespace':'a','object':[]," POD), WEBHOOK_REASON_NOT_A_REVIEW,
     "$.request.object"},
    {REVIEW("'uid':'u','operation':'CREATE','namespace':{}," POD), WEBHOOK_REASON_NOT_A_REVIEW, "$.request.namespace"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(wrong); i++) {
        struct webhook_request request;
        struct fl_err err = {0};
        int result = parse(wrong[i].text, &request, &err);
        if (result != wrong[i].reason)
            fail_msg("%s gave %d %s", wrong[i].text, result, err.text);
        assert_contains(err.text, wrong[i].error);
        assert_true(strlen(err.text) > 0);
    }
}

static void test_depth(void **state)
{
    (void)state;
    char text[4096] = "";
    struct webhook_request request;
    memset(text, '[', 1000);
    memset(text + 1000, ']', 1000);
    assert_int_equal(parse(text, &request, NULL), WEBHOOK_REASON_NOT_JSON);
}

static void test_content_types(void **state)
{
    (void)state;
    assert_true(webhook_content_type_ok(FL_SPAN("application/json")));
    assert_true(webhook_content_type_ok(FL_SPAN("application/json; charset=utf-8")));
    assert_true(webhook_content_type_ok(FL_SPAN("Application/JSON ;charset=UTF-8")));
    assert_false(webhook_content_type_ok(FL_SPAN("")));
    assert_false(webhook_content_type_ok(FL_SPAN("text/json")));
    assert_false(webhook_content_type_ok(FL_SPAN("application/jsonp")));
    assert_false(webhook_content_type_ok(FL_SPAN("application/yaml; application/json")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pod), cmocka_unit_test(test_variants),      cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_content_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
