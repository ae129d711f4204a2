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

static bool not_a_pod(const struct webhook_facts *facts)
{
    return !facts->pod;
}

static bool subresource(const struct webhook_facts *facts)
{
    return facts->subresource;
}

static bool not_create(const struct webhook_facts *facts)
{
    return !facts->create;
}

static bool ignored_namespace(const struct webhook_facts *facts)
{
    return facts->ignored_namespace;
}

static bool mirror(const struct webhook_facts *facts)
{
    return facts->mirror;
}

static bool pod_invalid(const struct webhook_facts *facts)
{
    return invalid(facts->pod_label);
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
    return !set(facts->pod_label) && disabled(facts->namespace_label);
}

static bool unlabelled(const struct webhook_facts *facts)
{
    return !set(facts->pod_label) && !set(facts->namespace_label);
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

static bool windows(const struct webhook_facts *facts)
{
    return facts->windows;
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

enum tell { NEVER, ASKED, ALWAYS }; /* ASKED: where the pod's own label asked for the mesh */

/* Infrastructure comes before labels, so that no label ever blocks kube-system or a node's own pods; a pod that is not
 * asked in is never denied for what it is. */
static const struct {
    bool (*holds)(const struct webhook_facts *facts);
    enum webhook_verdict verdict;
    enum webhook_reason reason;
    enum tell tell;
} rows[] = {
    {not_a_pod, WEBHOOK_OUT, WEBHOOK_REASON_NOT_A_POD, NEVER},
    {subresource, WEBHOOK_OUT, WEBHOOK_REASON_SUBRESOURCE, NEVER},
    {not_create, WEBHOOK_OUT, WEBHOOK_REASON_OPERATION, NEVER},
    {ignored_namespace, WEBHOOK_OUT, WEBHOOK_REASON_IGNORED_NAMESPACE, ASKED},
    {mirror, WEBHOOK_OUT, WEBHOOK_REASON_MIRROR_POD, ASKED},
    {pod_invalid, WEBHOOK_DENY, WEBHOOK_REASON_POD_LABEL_INVALID, NEVER},
    {pod_disabled, WEBHOOK_OUT, WEBHOOK_REASON_POD_DISABLED, NEVER},
    {namespace_invalid, WEBHOOK_DENY, WEBHOOK_REASON_NAMESPACE_LABEL_INVALID, NEVER},
    {namespace_disabled, WEBHOOK_OUT, WEBHOOK_REASON_NAMESPACE_DISABLED, NEVER},
    {unlabelled, WEBHOOK_OUT, WEBHOOK_REASON_NO_LABEL, NEVER},
    {other_revision, WEBHOOK_OUT, WEBHOOK_REASON_REVISION, NEVER},
    {host_network, WEBHOOK_OUT, WEBHOOK_REASON_HOST_NETWORK, ALWAYS},
    {windows, WEBHOOK_OUT, WEBHOOK_REASON_WINDOWS, ALWAYS},
    {pod_enabled, WEBHOOK_IN, WEBHOOK_REASON_POD_ENABLED, NEVER},
    {always, WEBHOOK_IN, WEBHOOK_REASON_NAMESPACE_ENABLED, NEVER},
};

struct webhook_decision webhook_decide(const struct webhook_facts *facts)
{
    size_t i = 0;
    while (!rows[i].holds(facts))
        i++; /* the last row always holds */
    bool warn = rows[i].tell == ALWAYS || (rows[i].tell == ASKED && enabled(facts->pod_label));
    return (struct webhook_decision){rows[i].verdict, rows[i].reason, warn};
}

int webhook_decide_explain(const struct webhook_facts *facts, enum webhook_reason reason, struct fl_span name_space,
                           struct fl_err *err)
{
    bool pod = reason == WEBHOOK_REASON_POD_LABEL_INVALID;
    struct fl_span value = pod ? facts->pod_label : facts->namespace_label;
    int result = fl_err_set(err, -EINVAL,
                            "label " FL_LABEL_INJECT ": \"%.*s\" is not known; expected \"" FL_INJECT_ENABLED
                            "\" or \"" FL_INJECT_DISABLED "\"",
                            WEBHOOK_SHOW(value));
    if (!pod)
        fl_err_prefix(err, "namespace %.*s", WEBHOOK_SHOW(name_space));
    return result;
}
