#include "tests/unit/webhook/test.h"

#include "webhook/response.h"

static const char *print(const struct webhook_response *response, struct fl_buf *out)
{
    fl_buf_init(out, 65536);
    assert_int_equal(webhook_response_print(response, out), 0);
    return fl_buf_str(out);
}

static void test_skipped(void **state)
{
    (void)state;
    struct fl_buf out;
    const struct webhook_response response = {
        .uid = FL_SPAN("a\"b"), .allowed = true, .outcome = WEBHOOK_SKIPPED, .reason = WEBHOOK_REASON_NO_LABEL};
    assert_string_equal(print(&response, &out),
                        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{\"uid\":"
                        "\"a\\\"b\",\"allowed\":true,\"auditAnnotations\":{\"outcome\":\"skipped\",\"reason\":"
                        "\"no_label\"}}}");
    fl_buf_done(&out);
}

static void test_denied(void **state)
{
    (void)state;
    struct fl_buf out;
    struct webhook_warnings warnings = {.count = 0};
    webhook_warn(&warnings, "first\nline");
    const struct webhook_response response = {.uid = FL_SPAN("u"),
                                              .outcome = WEBHOOK_DENIED,
                                              .reason = WEBHOOK_REASON_RUNS_AS_PROXY,
                                              .message = "because",
                                              .warnings = &warnings};
    assert_string_equal(
        print(&response, &out),
        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{\"uid\":"
        "\"u\",\"allowed\":false,\"status\":{\"status\":\"Failure\",\"code\":403,\"reason\":"
        "\"Forbidden\",\"message\":\"because [runs_as_proxy]\"},\"warnings\":[\"first?line\"],\"auditAnnotations\":{"
        "\"outcome\":\"denied\",\"reason\":\"runs_as_proxy\"}}}");
    fl_buf_done(&out);
}

/* RFC 4648 §10: every remainder of a group of three. */
static void test_patch_is_base64(void **state)
{
    (void)state;
    static const struct {
        const char *patch, *text;
    } rows[] = {{"['abc']", "WyJhYmMiXQ=="}, {"['abcd']", "WyJhYmNkIl0="}, {"['abcde']", "WyJhYmNkZSJd"}, {"[]", NULL}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf out;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = json(rows[i].patch);
        const struct webhook_response response = {.uid = FL_SPAN("u"), .allowed = true, .patch = patch};
        const char *text = print(&response, &out);
        if (rows[i].text != NULL)
            assert_contains(text, ",\"patchType\":\"JSONPatch\",\"patch\":\"");
        else
            assert_null(strstr(text, "patch"));
        assert_contains(text, rows[i].text != NULL ? rows[i].text : "");
        fl_buf_done(&out);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct webhook_warnings warnings = {.count = 0};
    char longest[1000];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (int i = 0; i < 100; i++)
        webhook_warn(&warnings, "%s", longest);
    assert_int_equal(warnings.count, WEBHOOK_WARNINGS_MAX);
    assert_int_equal(strlen(warnings.text[0]), WEBHOOK_WARNING_MAX);
    struct fl_buf out;
    fl_buf_init(&out, 100);
    assert_int_equal(fl_buf_append_str(&out, "before"), 0);
    const struct webhook_response response = {.uid = FL_SPAN("u"), .allowed = true, .warnings = &warnings};
    assert_int_equal(webhook_response_print(&response, &out), -EMSGSIZE);
    assert_span(fl_buf_span(&out), "before");
    fl_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_skipped), cmocka_unit_test(test_denied),
                                       cmocka_unit_test(test_patch_is_base64), cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
