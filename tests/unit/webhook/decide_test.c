#include "tests/unit/webhook/test.h"

#include "webhook/decide.h"

#define ABSENT ((struct fl_span){NULL, 0})
#define ON     FL_SPAN("enabled")
#define OFF    FL_SPAN("disabled")
#define ODD    FL_SPAN("true ")
#define EMPTY  FL_SPAN("")

/* What the documents promise, said once more in another way: not by a list of rows but by what a pod's maker, the
 * namespace's owner and the cluster's operator each may expect. */
struct expectation {
    enum webhook_verdict verdict;
    enum webhook_reason reason;
    bool warn;
};

static struct expectation out(enum webhook_reason reason, bool warn)
{
    return (struct expectation){WEBHOOK_OUT, reason, warn};
}

static struct expectation deny(enum webhook_reason reason)
{
    return (struct expectation){WEBHOOK_DENY, reason, false};
}

static bool is(struct fl_span label, const char *value)
{
    return label.data != NULL && fl_span_eq_str(label, value);
}

/* It cannot be in the mesh for what it is; where everybody must be, it may not be at all. */
static struct expectation unfit(enum webhook_reason reason, bool required)
{
    return required ? deny(WEBHOOK_REASON_REQUIRED) : out(reason, true);
}

static struct expectation expect_asked_in(const struct webhook_facts *f, bool required)
{
    const struct fl_span wanted = f->pod_revision.data != NULL  ? f->pod_revision
                                  : f->ns_revision.data != NULL ? f->ns_revision
                                                                : FL_SPAN("default");
    if (!fl_span_eq(wanted, f->revision))
        return out(WEBHOOK_REASON_REVISION, false);
    if (f->host_network)
        return unfit(WEBHOOK_REASON_HOST_NETWORK, required);
    if (f->windows)
        return unfit(WEBHOOK_REASON_WINDOWS, required);
    if (f->foreign.data != NULL)
        return unfit(WEBHOOK_REASON_FOREIGN_SIDECAR, required);
    return (struct expectation){WEBHOOK_IN,
                                is(f->pod_label, "enabled") ? WEBHOOK_REASON_POD_ENABLED
                                : required                  ? WEBHOOK_REASON_NAMESPACE_REQUIRES
                                                            : WEBHOOK_REASON_NAMESPACE_ENABLED,
                                false};
}

/* A new pod of an ordinary namespace that is not paused. */
static struct expectation expect_pod(const struct webhook_facts *f)
{
    bool required = is(f->require, "true");
    if (f->require.data != NULL && !required)
        return deny(WEBHOOK_REASON_REQUIRE_LABEL_INVALID);
    if (f->pod_label.data != NULL) { /* the pod speaks for itself */
        if (is(f->pod_label, "enabled"))
            return expect_asked_in(f, required);
        if (is(f->pod_label, "disabled"))
            return required ? deny(WEBHOOK_REASON_REQUIRED) : out(WEBHOOK_REASON_POD_DISABLED, false);
        return deny(WEBHOOK_REASON_POD_LABEL_INVALID);
    }
    bool odd =
        f->namespace_label.data != NULL && !is(f->namespace_label, "enabled") && !is(f->namespace_label, "disabled");
    if (odd)
        return deny(WEBHOOK_REASON_NAMESPACE_LABEL_INVALID);
    if (required || is(f->namespace_label, "enabled"))
        return expect_asked_in(f, required);
    return out(f->namespace_label.data == NULL ? WEBHOOK_REASON_NO_LABEL : WEBHOOK_REASON_NAMESPACE_DISABLED, false);
}

static struct expectation expect(const struct webhook_facts *f)
{
    bool asked = is(f->pod_label, "enabled") || is(f->require, "true");
    if (!f->pod)
        return out(WEBHOOK_REASON_NOT_A_POD, false);
    if (f->subresource && !f->ephemeral)
        return out(WEBHOOK_REASON_SUBRESOURCE, false);
    if (f->ephemeral ? !f->update : !f->create)
        return out(WEBHOOK_REASON_OPERATION, false);
    if (f->own_namespace)
        return out(WEBHOOK_REASON_OWN_NAMESPACE, asked);
    if (f->ignored_namespace)
        return out(WEBHOOK_REASON_IGNORED_NAMESPACE, asked);
    if (is(f->pause, "true"))
        return out(WEBHOOK_REASON_PAUSED, true);
    if (f->ephemeral)
        return (struct expectation){WEBHOOK_LOOK, WEBHOOK_REASON_EPHEMERAL_CONTAINERS, false};
    if (f->mirror)
        return out(WEBHOOK_REASON_MIRROR_POD, asked);
    return expect_pod(f);
}

static void hold(const struct webhook_facts *facts, size_t number)
{
    const struct expectation wanted = expect(facts);
    const struct webhook_decision got = webhook_decide(facts);
    if (got.verdict != wanted.verdict || got.reason != wanted.reason || got.warn != wanted.warn)
        fail_msg("combination %zu gave %d, %s, %d; expected %d, %s, %d", number, (int)got.verdict,
                 webhook_reason_word(got.reason), got.warn, (int)wanted.verdict, webhook_reason_word(wanted.reason),
                 wanted.warn);
}

/* Takes the next digit of a number that counts all combinations. */
static size_t digit(size_t *number, size_t base)
{
    size_t value = *number % base;
    *number /= base;
    return value;
}

/* Every combination of the facts that matter: some 1.5 million, half a second. */
static void test_matrix(void **state)
{
    (void)state;
    static const struct fl_span labels[] = {{NULL, 0}, {"enabled", 7}, {"disabled", 8}, {"true ", 5}, {"", 0}};
    static const struct fl_span flags[] = {{NULL, 0}, {"true", 4}, {"True", 4}};
    static const struct fl_span revisions[] = {{NULL, 0}, {"default", 7}, {"canary", 6}};
    bool seen[WEBHOOK_REASON_COUNT] = {false};
    for (size_t number = 0;; number++) {
        size_t rest = number;
        size_t operation = digit(&rest, 3), sub = digit(&rest, 3);
        struct webhook_facts facts = {
            .create = operation == 0,
            .update = operation == 1,
            .subresource = sub > 0,
            .ephemeral = sub == 1,
            .mirror = digit(&rest, 2) == 1,
            .host_network = digit(&rest, 2) == 1,
            .windows = digit(&rest, 2) == 1,
            .foreign = digit(&rest, 2) == 1 ? FL_SPAN("istio-proxy") : ABSENT,
            .pod_label = labels[digit(&rest, FL_COUNT(labels))],
            .namespace_label = labels[digit(&rest, FL_COUNT(labels))],
            .require = flags[digit(&rest, 3)],
            .pause = flags[digit(&rest, 3)],
            .pod_revision = revisions[digit(&rest, 3)],
            .ns_revision = revisions[digit(&rest, 3)],
            .own_namespace = digit(&rest, 2) == 1,
            .ignored_namespace = digit(&rest, 2) == 1,
            .pod = digit(&rest, 2) == 0,
            .revision = FL_SPAN("default"),
        };
        if (rest > 0)
            break;
        hold(&facts, number);
        seen[webhook_decide(&facts).reason] = true;
    }
    size_t count;
    const struct webhook_decision_row *rows = webhook_decide_rows(&count);
    for (size_t i = 0; i < count; i++)
        assert_true(seen[rows[i].reason]);
}

/* A webhook of another revision than `default` takes those that ask for it, and them alone. */
static void test_revisions(void **state)
{
    (void)state;
    struct webhook_facts facts = {.pod = true, .create = true, .pod_label = ON, .revision = FL_SPAN("canary")};
    assert_int_equal(webhook_decide(&facts).reason, WEBHOOK_REASON_REVISION);
    facts.ns_revision = FL_SPAN("canary");
    assert_int_equal(webhook_decide(&facts).reason, WEBHOOK_REASON_POD_ENABLED);
    facts.pod_revision = FL_SPAN("default");
    assert_int_equal(webhook_decide(&facts).reason, WEBHOOK_REASON_REVISION);
    facts.pod_revision = EMPTY;
    assert_int_equal(webhook_decide(&facts).reason, WEBHOOK_REASON_REVISION);
}

static const char *explain(struct webhook_facts facts, struct fl_err *err)
{
    facts.pod = facts.create = true;
    facts.revision = FL_SPAN("default");
    const struct webhook_decision decision = webhook_decide(&facts);
    assert_int_equal(decision.verdict, WEBHOOK_DENY);
    assert_int_equal(webhook_decide_explain(&facts, &decision, FL_SPAN("shop"), err), -EINVAL);
    return err->text;
}

static void test_explanations(void **state)
{
    (void)state;
    struct fl_err err = {0};
    assert_string_equal(explain((struct webhook_facts){.pod_label = ODD}, &err),
                        "label fairlead.io/inject: \"true \" is not known; expected \"enabled\" or \"disabled\"");
    assert_string_equal(
        explain((struct webhook_facts){.namespace_label = FL_SPAN("on")}, &err),
        "namespace shop: label fairlead.io/inject: \"on\" is not known; expected \"enabled\" or \"disabled\"");
    assert_string_equal(
        explain((struct webhook_facts){.require = FL_SPAN("yes")}, &err),
        "namespace shop: label fairlead.io/require: \"yes\" is not known; expected \"true\", or no such label");
    assert_string_equal(
        explain((struct webhook_facts){.require = FL_SPAN("true"), .pod_label = OFF}, &err),
        "namespace shop requires the mesh (label fairlead.io/require), but the pod's label keeps it out");
    assert_string_equal(
        explain((struct webhook_facts){.require = FL_SPAN("true"), .foreign = FL_SPAN("istio-init")}, &err),
        "namespace shop requires the mesh (label fairlead.io/require), but it has the sidecar of another "
        "mesh: container istio-init");
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
        cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_revisions),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_reasons_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
