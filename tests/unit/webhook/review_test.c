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
    const struct webhook_context context = {.config = config};
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
    const struct webhook_context context = {.config = config};
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

/* Reviews whose pods are larger, or more, than anybody's: answered, whatever the answer is. */
static struct fl_buf huge_body(const char *head, const char *unit, size_t count, const char *tail)
{
    struct fl_buf body;
    fl_buf_init(&body, 8u << 20);
    assert_int_equal(fl_buf_append_str(&body, head), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fl_buf_append_str(&body, unit), 0);
    assert_int_equal(fl_buf_append_str(&body, tail), 0);
    for (size_t i = 0; i < body.len; i++)
        body.data[i] = body.data[i] == '\'' ? '"' : body.data[i];
    return body;
}

#define HUGE_HEAD                                                                                                      \
    "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'uid':'u','operation':'CREATE',"          \
    "'namespace':'shop','resource':{'group':'','version':'v1','resource':'pods'},'object':{"
#define HUGE_META "'metadata':{'name':'p','labels':{'fairlead.io/inject':'enabled'}},"
#define HUGE_SPEC ",'spec':{'containers':[{'name':'a','image':'i'}]}}}}"

static const struct {
    const char *head, *unit;
    size_t count;
    const char *tail;
    enum webhook_outcome outcome;
    enum webhook_reason reason;
} huge[] = {
    {HUGE_HEAD "'metadata':{'name':'p','labels':{'fairlead.io/inject':'", "x", 65536, "'}}" HUGE_SPEC, WEBHOOK_DENIED,
     WEBHOOK_REASON_POD_LABEL_INVALID},
    {HUGE_HEAD "'metadata':{'name':'p','labels':{'fairlead.io/inject':'enabled','a':'", "x", 65536, "'}}" HUGE_SPEC,
     WEBHOOK_INJECTED, WEBHOOK_REASON_POD_ENABLED},
    {HUGE_HEAD "'metadata':{'name':'p','labels':{'fairlead.io/inject':'enabled','fairlead.io/rev':'", "x", 65536,
     "'}}" HUGE_SPEC, WEBHOOK_SKIPPED, WEBHOOK_REASON_REVISION},
    {HUGE_HEAD "'metadata':{'name':'p','labels':{'fairlead.io/inject':'enabled'},'annotations':{'fairlead.io/", "x",
     65536, "':''}}" HUGE_SPEC, WEBHOOK_INJECTED, WEBHOOK_REASON_POD_ENABLED},
    {HUGE_HEAD
     "'metadata':{'name':'p','labels':{'fairlead.io/inject':'enabled'},'annotations':{'fairlead.io/log-level':'",
     "\xff", 65536, "'}}" HUGE_SPEC, WEBHOOK_INVALID, WEBHOOK_REASON_NOT_JSON},
    {HUGE_HEAD HUGE_META "'spec':{'containers':[{'name':'a'}", ",{'name':'b'}", 1023, "]}}}}", WEBHOOK_INJECTED,
     WEBHOOK_REASON_POD_ENABLED},
    {HUGE_HEAD HUGE_META "'spec':{'containers':[{'name':'a'}", ",{'name':'b'}", 1024, "]}}}}", WEBHOOK_DENIED,
     WEBHOOK_REASON_POD_INVALID},
    {HUGE_HEAD HUGE_META "'spec':{'containers':[null", ",null", 1000, "]}}}}", WEBHOOK_DENIED,
     WEBHOOK_REASON_POD_INVALID},
    {HUGE_HEAD HUGE_META "'spec':{'securityContext':{'supplementalGroups':[1", ",2", 100000,
     ",1337]},'containers':[{'name':'a'}]}}}}", WEBHOOK_DENIED, WEBHOOK_REASON_RUNS_AS_PROXY},
    {HUGE_HEAD HUGE_META "'spec':{'containers':[{'name':'a','securityContext':{'capabilities':{'add':['X'", ",'Y'",
     100000, "]}}}]}}}}", WEBHOOK_INJECTED, WEBHOOK_REASON_POD_ENABLED},
    {HUGE_HEAD HUGE_META "'spec':null,'x':[1", ",2", 10, "]}}}", WEBHOOK_DENIED, WEBHOOK_REASON_POD_INVALID},
    {HUGE_HEAD "'metadata':null", "", 0, HUGE_SPEC, WEBHOOK_SKIPPED, WEBHOOK_REASON_NO_LABEL},
};

static void test_huge(void **state)
{
    (void)state;
    struct webhook_config *config = NULL;
    assert_int_equal(webhook_config_default(&config), 0);
    const struct webhook_context context = {.config = config};
    for (size_t i = 0; i < FL_COUNT(huge); i++) {
        struct webhook_verdict_report report;
        struct fl_buf body = huge_body(huge[i].head, huge[i].unit, huge[i].count, huge[i].tail), out;
        fl_buf_init(&out, WEBHOOK_RESPONSE_MAX);
        webhook_review(&context, fl_buf_span(&body), &out, &report);
        if (report.outcome != huge[i].outcome || report.reason != huge[i].reason)
            fail_msg("row %zu gave %s, %s: %s", i, webhook_outcome_word(report.outcome),
                     webhook_reason_word(report.reason), report.err.text);
        assert_true(out.len > 0);
        fl_buf_done(&out);
        fl_buf_done(&body);
    }
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
    const struct webhook_context context = {.config = config};
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
    const struct webhook_context context = {.config = config};
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

static struct fl_json *namespace_of(const char *labels)
{
    char text[256];
    snprintf(text, sizeof(text), "{'metadata':{'name':'shop','labels':{%s}}}", labels);
    return json(text);
}

/* What is asked of the API server before a decision, and what is decided when it does not say. */
static void test_namespaces_that_may_be_stale(void **state)
{
    (void)state;
    static const struct {
        const char *what, *known, *pod; /* labels; known NULL: the namespace is not */
        bool asks;
        enum webhook_reason reason; /* where it is not asked, or when the API server confirms what is known */
    } rows[] = {
        {"in by the namespace", "'fairlead.io/inject':'enabled'", "", false, WEBHOOK_REASON_NAMESPACE_ENABLED},
        {"in by the pod", "", "'fairlead.io/inject':'enabled'", false, WEBHOOK_REASON_POD_ENABLED},
        {"unknown", NULL, "", true, WEBHOOK_REASON_NO_LABEL},
        {"unknown, in by the pod", NULL, "'fairlead.io/inject':'enabled'", true, WEBHOOK_REASON_POD_ENABLED},
        {"unknown, out by the pod", NULL, "'fairlead.io/inject':'disabled'", true, WEBHOOK_REASON_POD_DISABLED},
        {"no label", "", "", true, WEBHOOK_REASON_NO_LABEL},
        {"disabled", "'fairlead.io/inject':'disabled'", "", true, WEBHOOK_REASON_NAMESPACE_DISABLED},
        {"out by the pod", "", "'fairlead.io/inject':'disabled'", true, WEBHOOK_REASON_POD_DISABLED},
        {"paused", "'fairlead.io/pause':'true'", "", true, WEBHOOK_REASON_PAUSED},
        {"wrong", "'fairlead.io/inject':'on'", "", true, WEBHOOK_REASON_NAMESPACE_LABEL_INVALID},
        {"another revision", "'fairlead.io/inject':'enabled','fairlead.io/rev':'x'", "", true, WEBHOOK_REASON_REVISION},
        {"required", "'fairlead.io/require':'true'", "'fairlead.io/inject':'disabled'", true, WEBHOOK_REASON_REQUIRED},
        {"the pod's label is wrong", "", "'fairlead.io/inject':'on'", false, WEBHOOK_REASON_POD_LABEL_INVALID},
    };
    struct webhook_config *config = NULL;
    assert_int_equal(webhook_config_default(&config), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char text[1024];
        struct webhook_verdict_report report;
        struct webhook_namespaces *set = NULL;
        struct fl_err err = {0};
        struct fl_buf out;
        fl_buf_init(&out, 65536);
        fl_err_set(&err, -ETIMEDOUT, "it is away");
        snprintf(text, sizeof(text),
                 "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'uid':'u',"
                 "'operation':'CREATE','namespace':'shop','resource':{'group':'','version':'v1','resource':'pods'},"
                 "'object':{'metadata':{'name':'p','labels':{%s}},'spec':{'containers':[{'name':'a','image':'i'}]}}}}",
                 rows[i].pod);
        struct fl_buf body = body_of(text);
        assert_int_equal(webhook_namespaces_new(10, &set), 0);
        if (rows[i].known != NULL) {
            struct fl_json *object = namespace_of(rows[i].known);
            assert_int_equal(webhook_namespaces_put(set, object), 0);
            fl_json_free(object);
        }
        struct webhook_context context = {.config = config, .namespaces = set, .stale = true};
        webhook_review(&context, fl_buf_span(&body), &out, &report);
        if (report.ask != rows[i].asks)
            fail_msg("%s: asks: %d", rows[i].what, report.ask);
        assert_int_equal(out.len == 0, rows[i].asks); /* nothing is answered then */
        assert_string_equal(report.name_space, "shop");
        fl_buf_clear(&out);
        context.stale = false;
        webhook_review(&context, fl_buf_span(&body), &out, &report);
        assert_false(report.ask);
        if (report.reason != rows[i].reason)
            fail_msg("%s: %s", rows[i].what, webhook_reason_word(report.reason));
        fl_buf_clear(&out);
        context.unreachable = &err;
        webhook_review(&context, fl_buf_span(&body), &out, &report);
        if (report.reason != (rows[i].asks ? WEBHOOK_REASON_NAMESPACE_UNKNOWN : rows[i].reason))
            fail_msg("%s: %s", rows[i].what, webhook_reason_word(report.reason));
        if (rows[i].asks) {
            assert_int_equal(report.outcome, WEBHOOK_DENIED);
            assert_contains(fl_buf_str(&out), "\"allowed\":false");
            assert_contains(fl_buf_str(&out), "\"code\":503,\"reason\":\"ServiceUnavailable\"");
            assert_contains(fl_buf_str(&out), "try again: it is away [namespace_unknown]");
        }
        fl_buf_done(&out);
        fl_buf_done(&body);
        webhook_namespaces_free(set);
    }
    webhook_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_namespaces_that_may_be_stale),
                                       cmocka_unit_test(test_injected),
                                       cmocka_unit_test(test_allocations),
                                       cmocka_unit_test(test_answer_does_not_fit),
                                       cmocka_unit_test(test_large),
                                       cmocka_unit_test(test_huge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
