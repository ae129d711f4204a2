/* The whole way of an admission, where one module alone cannot show it; the many pods are golden files. */
#include "tests/unit/webhook/test.h"

#include "webhook/review.h"

#include <time.h>

static const char review_text[] =
    "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'uid':'u','operation':'CREATE',"
    "'namespace':'shop','resource':{'group':'','version':'v1','resource':'pods'},'object':{'metadata':{'name':'p',"
    "'labels':{'fairlead.io/inject':'enabled'},'annotations':{'fairlead.io/log-level':'debug'}},"
    "'spec':{'serviceAccountName':'web','containers':[{'name':'a','image':'i'}]}}}}";

static struct fl_buf body_of(const char *text)
{
    struct fl_buf body;
    fl_buf_init(&body, 65536);
    assert_int_equal(fl_buf_append_str(&body, text), 0);
    for (size_t i = 0; i < body.len; i++)
        body.data[i] = body.data[i] == '\'' ? '"' : body.data[i];
    return body;
}

static void test_injected(void **state)
{
    (void)state;
    struct webhook_config *config = NULL;
    struct webhook_verdict_report report;
    struct fl_buf body = body_of(review_text), out;
    fl_buf_init(&out, 65536);
    assert_int_equal(webhook_config_default(&config), 0);
    const struct webhook_context context = {config, NULL};
    webhook_review(&context, fl_buf_span(&body), &out, &report);
    assert_int_equal(report.status, 200);
    assert_int_equal(report.outcome, WEBHOOK_INJECTED);
    assert_int_equal(report.reason, WEBHOOK_REASON_POD_ENABLED);
    assert_string_equal(report.uid, "u");
    assert_string_equal(report.name_space, "shop");
    assert_string_equal(report.name, "p");
    assert_string_equal(report.workload, "p");
    assert_contains(fl_buf_str(&out), "\"identity\":\"spiffe://cluster.local/ns/shop/sa/web\"");
    config->pod_overrides = false;
    fl_buf_clear(&out);
    webhook_review(&context, fl_buf_span(&body), &out, &report);
    assert_int_equal(report.reason, WEBHOOK_REASON_NO_LABEL);
    assert_int_equal(report.warnings.count, 1);
    fl_buf_done(&out);
    fl_buf_done(&body);
    webhook_config_free(config);
}

/* Every failed allocation ends in an HTTP 500, or in an answer that is whole. */
static void test_allocations(void **state)
{
    (void)state;
    struct webhook_config *config = NULL;
    struct fl_buf body = body_of(review_text);
    assert_int_equal(webhook_config_default(&config), 0);
    const struct webhook_context context = {config, NULL};
    FAIL_EACH_ALLOCATION
    {
        struct webhook_verdict_report report;
        struct fl_buf out;
        fl_buf_init(&out, 65536);
        webhook_review(&context, fl_buf_span(&body), &out, &report);
        fail_stop();
        if (fail_happened()) {
            assert_int_equal(report.status, 500);
            assert_int_equal(report.reason, WEBHOOK_REASON_INTERNAL);
        } else {
            assert_int_equal(report.outcome, WEBHOOK_INJECTED);
        }
        fl_buf_done(&out);
    }
    fl_buf_done(&body);
    webhook_config_free(config);
}

static void test_answer_does_not_fit(void **state)
{
    (void)state;
    struct webhook_config *config = NULL;
    struct webhook_verdict_report report;
    struct fl_buf body = body_of(review_text), out;
    fl_buf_init(&out, 50);
    assert_int_equal(webhook_config_default(&config), 0);
    const struct webhook_context context = {config, NULL};
    webhook_review(&context, fl_buf_span(&body), &out, &report);
    assert_int_equal(report.status, 500);
    assert_true(out.len > 0 && out.data[out.len - 1] == '\n');
    fl_buf_done(&out);
    fl_buf_done(&body);
    webhook_config_free(config);
}

#define WITH_SIDECAR                                                                                                   \
    "'annotations':{'fairlead.io/status':'{\\'version\\':1,\\'container\\':\\'fairlead-proxy\\'}'}},"                  \
    "'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'fairlead-proxy',"

/* Reviews whose size is in one list; a number stands in each element between `head` and `tail`. */
static const struct {
    const char *before, *head, *tail, *after;
    const char *edge;
    bool too_much; /* for a patch that keeps it: denied, by a review and not by an HTTP error */
} large[] = {
    {"'annotations':{", "'a", "':''", "}},'spec':{'containers':[{'name':'a'}]}", "annotations", false},
    {"'annotations':{", "'fairlead.io/a", "':''", "}},'spec':{'containers':[{'name':'a'}]}", "unknown settings", false},
    {"", "'a", "':''", "},'spec':{'containers':[{'name':'a'}]}", "metadata", false},
    {"'x':''},'spec':{'containers':[{'name':'a'}],", "'a", "':''", "}", "spec", false},
    {"'x':''},'spec':{'containers':[{'name':'a'}]},", "'a", "':''", "", "the pod", false},
    {WITH_SIDECAR "'env':[", "{'name':'E", "'}", "]}]}", "the sidecar's environment", false},
    {WITH_SIDECAR "'ports':[", "{'containerPort':", "}", "]}]}", "the sidecar's ports", false},
    {WITH_SIDECAR "'resources':{'limits':{", "'r", "':'1'", "}}}]}", "the sidecar's resources", true},
};

#define LARGE_COUNT   100000
#define LARGE_SECONDS 10 /* of CPU; sanitizers need 2, quadratic time minutes */

static void print_large(struct fl_buf *body, size_t row)
{
    static const char head[] = "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'uid':'u',"
                               "'operation':'CREATE','namespace':'shop','resource':{'version':'v1','resource':'pods'},"
                               "'object':{'metadata':{'name':'p','labels':{'fairlead.io/inject':'enabled'},";
    assert_int_equal(fl_buf_printf(body, "%s%s", head, large[row].before), 0);
    for (int i = 0; i < LARGE_COUNT; i++)
        assert_int_equal(fl_buf_printf(body, "%s%s%d%s", i > 0 ? "," : "", large[row].head, i, large[row].tail), 0);
    assert_int_equal(fl_buf_printf(body, "%s}}}", large[row].after), 0);
    for (size_t i = 0; i < body->len; i++)
        body->data[i] = body->data[i] == '\'' ? '"' : body->data[i];
}

/* The time of an admission is in step with its size: there is one thread, and anybody may make a large pod. */
static void test_large(void **state)
{
    (void)state;
    struct webhook_config *config = NULL;
    assert_int_equal(webhook_config_default(&config), 0);
    const struct webhook_context context = {config, NULL};
    for (size_t row = 0; row < FL_COUNT(large); row++) {
        struct webhook_verdict_report report;
        struct fl_buf body, out;
        fl_buf_init(&body, WEBHOOK_REVIEW_MAX);
        fl_buf_init(&out, WEBHOOK_RESPONSE_MAX);
        print_large(&body, row);
        clock_t begin = clock();
        webhook_review(&context, fl_buf_span(&body), &out, &report);
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        if (seconds > LARGE_SECONDS)
            fail_msg("%s: %.1f s", large[row].edge, seconds);
        bool denied = report.outcome == WEBHOOK_DENIED && report.reason == WEBHOOK_REASON_POD_INVALID;
        if (report.status != 200 || (report.outcome != WEBHOOK_INJECTED && !(denied && large[row].too_much)))
            fail_msg("%s: %s", large[row].edge, report.err.text);
        fl_buf_done(&out);
        fl_buf_done(&body);
    }
    webhook_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_injected), cmocka_unit_test(test_allocations),
                                       cmocka_unit_test(test_answer_does_not_fit), cmocka_unit_test(test_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
