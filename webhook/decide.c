#include "webhook/decide.h"

#include "common/mesh/label.h"
#include "webhook/value.h"

#include <errno.h>

static bool set(struct fl_span label)
{
    return label.data != NULL;
}

static bool enabled(struct fl_span label)
{
    return fl_span_eq_str(label, FL_INJECT_ENABLED);
}

static bool disabled(struct fl_span label)
{
    return fl_span_eq_str(label, FL_INJECT_DISABLED);
}

static bool invalid(struct fl_span label)
{
    return set(label) && !enabled(label) && !disabled(label);
}

static bool required(const struct webhook_facts *facts)
{
    return fl_span_eq_str(facts->require, FL_LABEL_TRUE);
}

static bool not_a_pod(const struct webhook_facts *facts)
{
    return !facts->pod;
}

static bool other_subresource(const struct webhook_facts *facts)
{
    return facts->subresource && !facts->ephemeral;
}

static bool other_operation(const struct webhook_facts *facts)
{
    return facts->ephemeral ? !facts->update : !facts->create;
}

static bool own_namespace(const struct webhook_facts *facts)
{
    return facts->own_namespace;
}

static bool ignored_namespace(const struct webhook_facts *facts)
{
    return facts->ignored_namespace;
}

static bool paused(const struct webhook_facts *facts)
{
    return fl_span_eq_str(facts->pause, FL_LABEL_TRUE);
}

static bool ephemeral(const struct webhook_facts *facts)
{
    return facts->ephemeral;
}

static bool mirror(const struct webhook_facts *facts)
{
    return facts->mirror;
}

static bool require_invalid(const struct webhook_facts *facts)
{
    return set(facts->require) && !required(facts);
}

static bool pod_invalid(const struct webhook_facts *facts)
{
    return invalid(facts->pod_label);
}

static bool required_pod_disabled(const struct webhook_facts *facts)
{
    return required(facts) && disabled(facts->pod_label);
}

static bool pod_disabled(const struct webhook_facts *facts)
{
    return disabled(facts->pod_label);
}

static bool namespace_invalid(const struct webhook_facts *facts)
{
    return !set(facts->pod_label) && invalid(facts->namespace_label);
}

static bool namespace_disabled(const struct webhook_facts *facts)
{
    return !required(facts) && !set(facts->pod_label) && disabled(facts->namespace_label);
}

static bool unlabelled(const struct webhook_facts *facts)
{
    return !required(facts) && !set(facts->pod_label) && !set(facts->namespace_label);
}

/* The pod's label, else the namespace's, else the default revision. */
static bool other_revision(const struct webhook_facts *facts)
{
    struct fl_span wanted = set(facts->pod_revision)  ? facts->pod_revision
                            : set(facts->ns_revision) ? facts->ns_revision
                                                      : FL_SPAN("default");
    return !fl_span_eq(wanted, facts->revision);
}

static bool host_network(const struct webhook_facts *facts)
{
    return facts->host_network;
}

static bool required_host_network(const struct webhook_facts *facts)
{
    return required(facts) && facts->host_network;
}

static bool windows(const struct webhook_facts *facts)
{
    return facts->windows;
}

static bool required_windows(const struct webhook_facts *facts)
{
    return required(facts) && facts->windows;
}

static bool foreign(const struct webhook_facts *facts)
{
    return set(facts->foreign);
}

static bool required_foreign(const struct webhook_facts *facts)
{
    return required(facts) && set(facts->foreign);
}

static bool pod_enabled(const struct webhook_facts *facts)
{
    return enabled(facts->pod_label);
}

static bool always(const struct webhook_facts *facts)
{
    (void)facts;
    return true;
}

#define ROW(function, verdict, symbol, tell, text)                                                                     \
    {                                                                                                                  \
        function, WEBHOOK_##verdict, WEBHOOK_REASON_##symbol, WEBHOOK_TELL_##tell, WEBHOOK_REASON_##symbol, text       \
    }
#define REQUIRED(function, cause, text)                                                                                \
    {                                                                                                                  \
        function, WEBHOOK_DENY, WEBHOOK_REASON_REQUIRED, WEBHOOK_TELL_ALWAYS, WEBHOOK_REASON_##cause, text             \
    }

/* Infrastructure comes before labels, so that no label ever blocks kube-system or a node's own pods; a pause before all
 * that could refuse; and a pod that is not asked in is never denied for what it is. */
static const struct webhook_decision_row rows[] = {
    ROW(not_a_pod, OUT, NOT_A_POD, NEVER, "what is asked about is no core/v1 pod"),
    ROW(other_subresource, OUT, SUBRESOURCE, NEVER, "a subresource other than `ephemeralcontainers`"),
    ROW(other_operation, OUT, OPERATION, NEVER, "not CREATE; of `ephemeralcontainers`: not UPDATE"),
    ROW(own_namespace, OUT, OWN_NAMESPACE, ASKED, "the mesh's own namespace (`ownNamespace`)"),
    ROW(ignored_namespace, OUT, IGNORED_NAMESPACE, ASKED, "an ignored namespace (`ignoredNamespaces`)"),
    ROW(paused, OUT, PAUSED, ALWAYS, "namespace label `fairlead.io/pause: \"true\"`"),
    ROW(ephemeral, LOOK, EPHEMERAL_CONTAINERS, NEVER, "`ephemeralcontainers` of a pod that is there"),
    ROW(mirror, OUT, MIRROR_POD, ASKED, "a static pod's mirror"),
    ROW(require_invalid, DENY, REQUIRE_LABEL_INVALID, ALWAYS,
        "namespace label `fairlead.io/require` is not `\"true\"`"),
    ROW(pod_invalid, DENY, POD_LABEL_INVALID, ALWAYS,
        "pod label `fairlead.io/inject` is neither `enabled` nor `disabled`"),
    REQUIRED(required_pod_disabled, POD_DISABLED, "required, but pod label `disabled`"),
    ROW(pod_disabled, OUT, POD_DISABLED, NEVER, "pod label `disabled`"),
    ROW(namespace_invalid, DENY, NAMESPACE_LABEL_INVALID, ALWAYS, "no pod label, namespace label of another value"),
    ROW(namespace_disabled, OUT, NAMESPACE_DISABLED, NEVER, "not required, no pod label, namespace label `disabled`"),
    ROW(unlabelled, OUT, NO_LABEL, NEVER, "not required, no label at all"),
    ROW(other_revision, OUT, REVISION, NEVER,
        "`fairlead.io/rev` (pod's, else namespace's, else `default`) is not ours"),
    REQUIRED(required_host_network, HOST_NETWORK, "required, but `hostNetwork`"),
    ROW(host_network, OUT, HOST_NETWORK, ALWAYS, "`hostNetwork`"),
    REQUIRED(required_windows, WINDOWS, "required, but Windows"),
    ROW(windows, OUT, WINDOWS, ALWAYS, "Windows (`spec.os`, or the node selector)"),
    REQUIRED(required_foreign, FOREIGN_SIDECAR, "required, but with another mesh's sidecar"),
    ROW(foreign, OUT, FOREIGN_SIDECAR, ALWAYS, "another mesh's sidecar is there"),
    ROW(pod_enabled, IN, POD_ENABLED, NEVER, "pod label `enabled`"),
    ROW(required, IN, NAMESPACE_REQUIRES, NEVER, "required"),
    ROW(always, IN, NAMESPACE_ENABLED, NEVER, "else: namespace label `enabled`"),
};

struct webhook_decision webhook_decide(const struct webhook_facts *facts)
{
    size_t i = 0;
    while (!rows[i].holds(facts))
        i++; /* the last row always holds */
    bool asked = enabled(facts->pod_label) || required(facts);
    bool warn = rows[i].verdict == WEBHOOK_OUT &&
                (rows[i].tell == WEBHOOK_TELL_ALWAYS || (rows[i].tell == WEBHOOK_TELL_ASKED && asked));
    return (struct webhook_decision){rows[i].verdict, rows[i].reason, rows[i].cause, warn};
}

const struct webhook_decision_row *webhook_decide_rows(size_t *ret_count)
{
    *ret_count = FL_COUNT(rows);
    return rows;
}

static int explain_required(const struct webhook_facts *facts, const struct webhook_decision *decision,
                            struct fl_span name_space, struct fl_err *err)
{
    bool named = decision->cause == WEBHOOK_REASON_FOREIGN_SIDECAR;
    return fl_err_set(err, -EINVAL, "namespace %.*s requires the mesh (label " FL_LABEL_REQUIRE "), but %s%s%.*s",
                      WEBHOOK_SHOW(name_space), webhook_reason_text(decision->cause), named ? ": container " : "",
                      WEBHOOK_SHOW(named ? facts->foreign : FL_SPAN("")));
}

int webhook_decide_explain(const struct webhook_facts *facts, const struct webhook_decision *decision,
                           struct fl_span name_space, struct fl_err *err)
{
    if (decision->reason == WEBHOOK_REASON_REQUIRED)
        return explain_required(facts, decision, name_space, err);
    if (decision->reason == WEBHOOK_REASON_REQUIRE_LABEL_INVALID)
        return fl_err_set(err, -EINVAL,
                          "namespace %.*s: label " FL_LABEL_REQUIRE ": \"%.*s\" is not known; expected \"" FL_LABEL_TRUE
                          "\", or no such label",
                          WEBHOOK_SHOW(name_space), WEBHOOK_SHOW(facts->require));
    bool pod = decision->reason == WEBHOOK_REASON_POD_LABEL_INVALID;
    struct fl_span value = pod ? facts->pod_label : facts->namespace_label;
    int result = fl_err_set(err, -EINVAL,
                            "label " FL_LABEL_INJECT ": \"%.*s\" is not known; expected \"" FL_INJECT_ENABLED
                            "\" or \"" FL_INJECT_DISABLED "\"",
                            WEBHOOK_SHOW(value));
    if (!pod)
        fl_err_prefix(err, "namespace %.*s", WEBHOOK_SHOW(name_space));
    return result;
}
