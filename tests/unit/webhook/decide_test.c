#include "tests/unit/webhook/test.h"

#include "webhook/decide.h"

#define POD .pod = true, .create = true, .revision = FL_SPAN("default")
#define ON  FL_SPAN("enabled")
#define OFF FL_SPAN("disabled")
#define ODD FL_SPAN("true")

static const struct {
    struct webhook_facts facts;
    enum webhook_verdict verdict;
    enum webhook_reason reason;
    bool warn;
} rows[] = {
    /* labels: every pair of namespace and pod */
    {{POD}, WEBHOOK_OUT, WEBHOOK_REASON_NO_LABEL, false},
    {{POD, .pod_label = ON}, WEBHOOK_IN, WEBHOOK_REASON_POD_ENABLED, false},
    {{POD, .pod_label = OFF}, WEBHOOK_OUT, WEBHOOK_REASON_POD_DISABLED, false},
    {{POD, .pod_label = ODD}, WEBHOOK_DENY, WEBHOOK_REASON_POD_LABEL_INVALID, false},
    {{POD, .namespace_label = ON}, WEBHOOK_IN, WEBHOOK_REASON_NAMESPACE_ENABLED, false},
    {{POD, .namespace_label = ON, .pod_label = ON}, WEBHOOK_IN, WEBHOOK_REASON_POD_ENABLED, false},
    {{POD, .namespace_label = ON, .pod_label = OFF}, WEBHOOK_OUT, WEBHOOK_REASON_POD_DISABLED, false},
    {{POD, .namespace_label = ON, .pod_label = ODD}, WEBHOOK_DENY, WEBHOOK_REASON_POD_LABEL_INVALID, false},
    {{POD, .namespace_label = OFF}, WEBHOOK_OUT, WEBHOOK_REASON_NAMESPACE_DISABLED, false},
    {{POD, .namespace_label = OFF, .pod_label = ON}, WEBHOOK_IN, WEBHOOK_REASON_POD_ENABLED, false},
    {{POD, .namespace_label = OFF, .pod_label = OFF}, WEBHOOK_OUT, WEBHOOK_REASON_POD_DISABLED, false},
    {{POD, .namespace_label = OFF, .pod_label = ODD}, WEBHOOK_DENY, WEBHOOK_REASON_POD_LABEL_INVALID, false},
    {{POD, .namespace_label = ODD}, WEBHOOK_DENY, WEBHOOK_REASON_NAMESPACE_LABEL_INVALID, false},
    {{POD, .namespace_label = ODD, .pod_label = ON}, WEBHOOK_IN, WEBHOOK_REASON_POD_ENABLED, false},
    {{POD, .namespace_label = ODD, .pod_label = OFF}, WEBHOOK_OUT, WEBHOOK_REASON_POD_DISABLED, false},
    {{POD, .pod_label = FL_SPAN("")}, WEBHOOK_DENY, WEBHOOK_REASON_POD_LABEL_INVALID, false},
    {{POD, .pod_label = FL_SPAN("Enabled")}, WEBHOOK_DENY, WEBHOOK_REASON_POD_LABEL_INVALID, false},
    /* revisions */
    {{POD, .pod_label = ON, .pod_revision = FL_SPAN("canary")}, WEBHOOK_OUT, WEBHOOK_REASON_REVISION, false},
    {{POD, .pod_label = ON, .ns_revision = FL_SPAN("canary")}, WEBHOOK_OUT, WEBHOOK_REASON_REVISION, false},
    {{POD, .pod_label = ON, .pod_revision = FL_SPAN("default"), .ns_revision = FL_SPAN("canary")},
     WEBHOOK_IN,
     WEBHOOK_REASON_POD_ENABLED,
     false},
    {{.pod = true, .create = true, .revision = FL_SPAN("canary"), .pod_label = ON},
     WEBHOOK_OUT,
     WEBHOOK_REASON_REVISION,
     false},
    {{.pod = true, .create = true, .revision = FL_SPAN("canary"), .pod_label = ON, .ns_revision = FL_SPAN("canary")},
     WEBHOOK_IN,
     WEBHOOK_REASON_POD_ENABLED,
     false},
    /* what the pod is; told only where it was asked in */
    {{POD, .host_network = true}, WEBHOOK_OUT, WEBHOOK_REASON_NO_LABEL, false},
    {{POD, .host_network = true, .namespace_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_HOST_NETWORK, true},
    {{POD, .windows = true, .namespace_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_WINDOWS, true},
    {{POD, .mirror = true, .namespace_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_MIRROR_POD, false},
    {{POD, .mirror = true, .pod_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_MIRROR_POD, true},
    {{POD, .mirror = true, .pod_label = ODD}, WEBHOOK_OUT, WEBHOOK_REASON_MIRROR_POD, false},
    {{POD, .ignored_namespace = true, .namespace_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_IGNORED_NAMESPACE, false},
    {{POD, .ignored_namespace = true, .pod_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_IGNORED_NAMESPACE, true},
    {{POD, .ignored_namespace = true, .pod_label = ODD}, WEBHOOK_OUT, WEBHOOK_REASON_IGNORED_NAMESPACE, false},
    /* what is asked for */
    {{.create = true, .pod_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_NOT_A_POD, false},
    {{.pod = true, .pod_label = ON}, WEBHOOK_OUT, WEBHOOK_REASON_OPERATION, false},
    {{.pod = true, .create = true, .subresource = true, .pod_label = ON},
     WEBHOOK_OUT,
     WEBHOOK_REASON_SUBRESOURCE,
     false},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct webhook_decision decision = webhook_decide(&rows[i].facts);
        if (decision.verdict != rows[i].verdict || decision.reason != rows[i].reason || decision.warn != rows[i].warn)
            fail_msg("row %zu gave %d, %s, %d", i, (int)decision.verdict, webhook_reason_word(decision.reason),
                     decision.warn);
    }
}

static void test_explanations(void **state)
{
    (void)state;
    const struct webhook_facts facts = {.pod_label = ODD, .namespace_label = FL_SPAN("on")};
    struct fl_err err = {0};
    webhook_decide_explain(&facts, WEBHOOK_REASON_POD_LABEL_INVALID, FL_SPAN("shop"), &err);
    assert_string_equal(err.text,
                        "label fairlead.io/inject: \"true\" is not known; expected \"enabled\" or \"disabled\"");
    webhook_decide_explain(&facts, WEBHOOK_REASON_NAMESPACE_LABEL_INVALID, FL_SPAN("shop"), &err);
    assert_contains(err.text, "namespace shop: label fairlead.io/inject: \"on\"");
}

static void test_reasons_are_whole(void **state)
{
    (void)state;
    for (int i = 0; i < WEBHOOK_REASON_COUNT; i++) {
        assert_non_null(webhook_reason_word((enum webhook_reason)i));
        assert_non_null(webhook_reason_text((enum webhook_reason)i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(webhook_reason_word((enum webhook_reason)i),
                                    webhook_reason_word((enum webhook_reason)j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_reasons_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
