/* 201 to 208: what the charts install, and whether it is at work. */
#include "cli/check/certificate.h"
#include "cli/check/checks.h"

#include "common/base/base64.h"
#include "control/model/gatewayapi.h"
#include "control/model/object.h"

#include <errno.h>
#include <stdio.h>

#define PART_OF   "app.kubernetes.io/part-of"
#define COMPONENT "app.kubernetes.io/component"
#define REVISION  "fairlead.io/revision"

#define INSTALL_HINT "helm install fairlead charts/fairlead --namespace fairlead-system --create-namespace"

static bool is_component(const struct cli_world *world, const struct fl_json *object, const char *component)
{
    return fl_span_eq_str(cli_object_label(object, PART_OF), "fairlead") &&
           fl_span_eq_str(cli_object_label(object, COMPONENT), component) &&
           fl_span_eq_str(cli_object_label(object, REVISION), world->revision);
}

static const struct fl_json *find_component(const struct cli_world *world, enum cli_document document,
                                            const char *component)
{
    const struct fl_json *item = cli_world_first(world, document);
    while (item != NULL && !is_component(world, item, component))
        item = fl_json_next(item);
    return item;
}

static int64_t number_at(const struct fl_json *object, const char *path, int64_t fallback)
{
    int64_t number = fallback;
    (void)fl_json_int(cli_object_at(object, path), 0, INT32_MAX, &number);
    return number;
}

/* --- Deployments ------------------------------------------------------------------------------------------------ */

/* Why the component's pods are not ready, in the kubelet's or the scheduler's words; empty where nothing tells. */
static void print_reason(const struct cli_world *world, const char *component, char *text, size_t size)
{
    static const char *const lists[] = {"status.containerStatuses", "status.initContainerStatuses"};
    text[0] = '\0';
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_MESH_PODS); pod != NULL;
         pod = fl_json_next(pod)) {
        if (!fl_span_eq_str(cli_object_label(pod, COMPONENT), component))
            continue;
        for (size_t i = 0; i < FL_COUNT(lists); i++)
            for (const struct fl_json *one = fl_json_first(cli_object_at(pod, lists[i])); one != NULL;
                 one = fl_json_next(one)) {
                const struct fl_json *waiting = cli_object_at(one, "state.waiting");
                if (waiting != NULL) {
                    (void)snprintf(text, size, "; pod %.*s: %.*s %.*s", FL_SPAN_ARG(cli_object_name(pod)),
                                   FL_SPAN_ARG(fl_json_string(fl_json_get(waiting, "reason"))),
                                   FL_SPAN_ARG(fl_json_string(fl_json_get(waiting, "message"))));
                    return;
                }
            }
        for (const struct fl_json *one = fl_json_first(cli_object_at(pod, "status.conditions")); one != NULL;
             one = fl_json_next(one))
            if (fl_span_eq_str(fl_json_string(fl_json_get(one, "type")), "PodScheduled") &&
                fl_span_eq_str(fl_json_string(fl_json_get(one, "status")), "False"))
                (void)snprintf(text, size, "; pod %.*s: %.*s", FL_SPAN_ARG(cli_object_name(pod)),
                               FL_SPAN_ARG(fl_json_string(fl_json_get(one, "message"))));
    }
}

static void check_replicas(const struct cli_world *world, const char *component, const struct fl_json *deployment,
                           struct cli_report *report)
{
    char hint[512], reason[512];
    struct fl_span name = cli_object_name(deployment);
    int64_t wanted = number_at(deployment, "spec.replicas", 1);
    int64_t ready = number_at(deployment, "status.readyReplicas", 0);
    cli_report_fact(report, "%lld of %lld", (long long)ready, (long long)wanted);
    (void)snprintf(hint, sizeof(hint),
                   "kubectl -n %s describe pods -l " COMPONENT "=%s; kubectl -n %s logs deployment/%.*s", world->mesh,
                   component, world->mesh, FL_SPAN_ARG(name));
    print_reason(world, component, reason, sizeof(reason));
    if (wanted == 0)
        cli_report_find(report, CLI_CHECK_FAILED, hint, "Deployment %s/%.*s is scaled to nothing", world->mesh,
                        FL_SPAN_ARG(name));
    else if (ready == 0)
        cli_report_find(report, CLI_CHECK_FAILED, hint, "no replica of Deployment %s/%.*s is ready%s", world->mesh,
                        FL_SPAN_ARG(name), reason);
    else if (ready < wanted)
        cli_report_find(report, CLI_CHECK_WARNING, hint, "%lld of %lld replicas of Deployment %s/%.*s are ready%s",
                        (long long)ready, (long long)wanted, world->mesh, FL_SPAN_ARG(name), reason);
}

/* False: it is not there, and nothing was said. */
static bool check_deployment(const struct cli_world *world, const char *component, struct cli_report *report)
{
    const struct fl_json *deployment = find_component(world, CLI_DOCUMENT_DEPLOYMENTS, component);
    if (deployment != NULL)
        check_replicas(world, component, deployment, report);
    return deployment != NULL;
}

static const struct fl_json *find_configuration(const struct cli_world *world)
{
    return find_component(world, CLI_DOCUMENT_WEBHOOKS, "webhook");
}

/* Whether somebody else than the keeper brings the webhook's certificate: cert-manager, or the chart's values. */
static bool is_kept_otherwise(const struct cli_world *world)
{
    const struct fl_json *configuration = find_configuration(world);
    const struct fl_json *hook = fl_json_first(fl_json_get(configuration, "webhooks"));
    return cli_object_annotation(configuration, "cert-manager.io/inject-ca-from").len > 0 ||
           fl_json_string(cli_object_at(hook, "clientConfig.caBundle")).len > 0;
}

/* The webhook's configuration knows no control plane: the chart's control.mode is none. */
bool cli_check_is_onboarding_alone(const struct cli_world *world)
{
    struct fl_span text =
        fl_json_string(fl_json_get(fl_json_get(world->documents[CLI_DOCUMENT_CONFIG], "data"), "config.yaml"));
    struct fl_span line, key;
    bool inside = false;
    while (text.data != NULL && fl_span_split(&text, '\n', &line)) {
        struct fl_span trimmed = fl_span_trim(line);
        if (line.len > 0 && line.data[0] != ' ')
            inside = fl_span_starts_with(line, FL_SPAN("control:"));
        if (inside && fl_span_split(&trimmed, ':', &key) && fl_span_eq_str(key, "address")) {
            struct fl_span value = fl_span_trim(trimmed);
            return fl_span_eq_str(value, "none") || fl_span_eq_str(value, "\"none\"") || value.len == 0;
        }
    }
    return world->documents[CLI_DOCUMENT_CONFIG] != NULL;
}

static void check_deployments(const struct cli_world *world, struct cli_report *report)
{
    cli_report_begin(report, CLI_CHECK_WEBHOOK);
    if (cli_check_has(world, CLI_DOCUMENT_DEPLOYMENTS, report) && !check_deployment(world, "webhook", report))
        cli_report_find(report, CLI_CHECK_FAILED, INSTALL_HINT,
                        "namespace %s has no Deployment of the webhook, revision %s", world->mesh, world->revision);
    cli_report_begin(report, CLI_CHECK_KEEPER);
    if (cli_check_has(world, CLI_DOCUMENT_DEPLOYMENTS, report) && !check_deployment(world, "keeper", report))
        cli_report_find(report, is_kept_otherwise(world) ? CLI_CHECK_SKIPPED : CLI_CHECK_FAILED,
                        is_kept_otherwise(world) ? NULL : INSTALL_HINT,
                        is_kept_otherwise(world) ? "somebody else keeps the webhook's certificate (certificate.mode)"
                                                 : "there is no keeper, and nobody else brings a caBundle");
    cli_report_begin(report, CLI_CHECK_CONTROL);
    if (cli_check_has(world, CLI_DOCUMENT_DEPLOYMENTS, report) && !check_deployment(world, "control", report))
        cli_report_find(report, cli_check_is_onboarding_alone(world) ? CLI_CHECK_SKIPPED : CLI_CHECK_FAILED,
                        cli_check_is_onboarding_alone(world) ? NULL : INSTALL_HINT,
                        cli_check_is_onboarding_alone(world)
                            ? "the webhook's configuration names no control plane (control.mode: none)"
                            : "namespace %s has no Deployment of the control plane, revision %s",
                        world->mesh, world->revision);
    cli_report_begin(report, CLI_CHECK_DEPLOYER);
    if (cli_check_has(world, CLI_DOCUMENT_DEPLOYMENTS, report) && !check_deployment(world, "deployer", report))
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "no deployer is installed: Gateways get no proxies");
}

/* --- CRDs ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *kind, *group, *versions;
} kinds[] = {
#define X(constant, name, group, versions, namespaced) {name, group, versions},
    CONTROL_KINDS(X)
#undef X
};

static bool is_served(const struct fl_json *crd, struct fl_span version)
{
    const struct fl_json *one = fl_json_first(cli_object_at(crd, "spec.versions"));
    while (one != NULL && (!fl_span_eq(fl_json_string(fl_json_get(one, "name")), version) ||
                           !fl_json_bool(fl_json_get(one, "served"))))
        one = fl_json_next(one);
    return one != NULL;
}

static bool is_established(const struct fl_json *crd)
{
    for (const struct fl_json *one = fl_json_first(cli_object_at(crd, "status.conditions")); one != NULL;
         one = fl_json_next(one))
        if (fl_span_eq_str(fl_json_string(fl_json_get(one, "type")), "Established"))
            return fl_span_eq_str(fl_json_string(fl_json_get(one, "status")), "True");
    return false;
}

static const struct fl_json *find_crd(const struct cli_world *world, const char *group, const char *kind)
{
    const struct fl_json *crd = cli_world_first(world, CLI_DOCUMENT_CRDS);
    while (crd != NULL && (!fl_span_eq_str(fl_json_string(cli_object_at(crd, "spec.group")), group) ||
                           !fl_span_eq_str(fl_json_string(cli_object_at(crd, "spec.names.kind")), kind)))
        crd = fl_json_next(crd);
    return crd;
}

static void check_crds(const struct cli_world *world, struct cli_report *report)
{
    char hint[384];
    size_t good = 0, all = 0;
    (void)snprintf(hint, sizeof(hint), "helm upgrade --install fairlead-crds charts/fairlead-crds --namespace %s",
                   world->mesh);
    cli_report_begin(report, CLI_CHECK_CRDS);
    if (!cli_check_has(world, CLI_DOCUMENT_CRDS, report))
        return;
    for (size_t i = 0; i < FL_COUNT(kinds); i++) {
        if (strcmp(kinds[i].group, "fairlead.io") != 0)
            continue;
        all++;
        const struct fl_json *crd = find_crd(world, kinds[i].group, kinds[i].kind);
        if (crd == NULL)
            cli_report_find(report, CLI_CHECK_FAILED, hint, "the CRD of %s (fairlead.io) is not there", kinds[i].kind);
        else if (!is_served(crd, fl_span_str(kinds[i].versions)))
            cli_report_find(report, CLI_CHECK_FAILED, hint, "%s is not served in version %s", kinds[i].kind,
                            kinds[i].versions);
        else if (!is_established(crd))
            cli_report_find(report, CLI_CHECK_FAILED,
                            "kubectl describe crd: its condition NamesAccepted tells who has the name",
                            "%.*s is not established", FL_SPAN_ARG(cli_object_name(crd)));
        else
            good++;
    }
    cli_report_fact(report, "%zu of %zu", good, all);
}

/* --- agents ----------------------------------------------------------------------------------------------------- */

static bool is_pod_ready(const struct fl_json *pod)
{
    for (const struct fl_json *one = fl_json_first(cli_object_at(pod, "status.conditions")); one != NULL;
         one = fl_json_next(one))
        if (fl_span_eq_str(fl_json_string(fl_json_get(one, "type")), "Ready"))
            return fl_span_eq_str(fl_json_string(fl_json_get(one, "status")), "True");
    return false;
}

static const struct fl_json *agent_on(const struct cli_world *world, struct fl_span node)
{
    const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_AGENT_PODS);
    while (pod != NULL && (!fl_span_eq_str(cli_object_label(pod, COMPONENT), "agent") ||
                           !fl_span_eq(fl_json_string(cli_object_at(pod, "spec.nodeName")), node)))
        pod = fl_json_next(pod);
    return pod;
}

/* Pods of ours run on Linux alone; virtual nodes have no place for an agent. */
static bool takes_pods(const struct fl_json *node)
{
    struct fl_span system = cli_object_label(node, "kubernetes.io/os");
    return (system.len == 0 || fl_span_eq_str(system, "linux")) &&
           !fl_span_eq_str(cli_object_label(node, "type"), "virtual-kubelet");
}

static void check_node(const struct cli_world *world, const struct fl_json *node, size_t *ready,
                       struct cli_report *report)
{
    struct fl_span name = cli_object_name(node);
    const struct fl_json *pod = agent_on(world, name);
    if (pod == NULL)
        cli_report_find(
            report, CLI_CHECK_FAILED,
            "see whether the node has a taint that the agent does not tolerate (values: cni.tolerations), or "
            "a selector leaves it out; meshed pods that start there wait until they are captured",
            "node %.*s has no agent", FL_SPAN_ARG(name));
    else if (!is_pod_ready(pod))
        cli_report_find(
            report, CLI_CHECK_FAILED,
            "kubectl logs of that pod: it names the folder, the list or the plugin that it is not content with "
            "(docs/cni.md)",
            "the agent on node %.*s, pod %.*s/%.*s, is not ready", FL_SPAN_ARG(name),
            FL_SPAN_ARG(cli_object_space(pod)), FL_SPAN_ARG(cli_object_name(pod)));
    else
        ++*ready;
}

static void check_agents(const struct cli_world *world, struct cli_report *report)
{
    size_t nodes = 0, ready = 0;
    const struct fl_json *set = cli_world_first(world, CLI_DOCUMENT_AGENTS);
    cli_report_begin(report, CLI_CHECK_AGENTS);
    if (!cli_check_has(world, CLI_DOCUMENT_AGENTS, report) || !cli_check_has(world, CLI_DOCUMENT_NODES, report) ||
        !cli_check_has(world, CLI_DOCUMENT_AGENT_PODS, report))
        return;
    while (set != NULL && !fl_span_eq_str(cli_object_label(set, COMPONENT), "agent"))
        set = fl_json_next(set);
    if (set == NULL) {
        cli_report_find(report, CLI_CHECK_WARNING,
                        "helm upgrade with --set cni.enabled=true,cni.platform=… (docs/cni.md)",
                        "no node agent is installed: meshed pods wait, unless the plugin was put on the nodes by hand");
        return;
    }
    for (const struct fl_json *node = cli_world_first(world, CLI_DOCUMENT_NODES); node != NULL;
         node = fl_json_next(node))
        if (takes_pods(node)) {
            nodes++;
            check_node(world, node, &ready, report);
        }
    cli_report_fact(report, "%zu of %zu", ready, nodes);
}

/* --- the webhook configuration ---------------------------------------------------------------------------------- */

#define KEEPER_HINT                                                                                                    \
    "the keeper writes it within seconds: see check 203, and kubectl logs of the keeper; with certificate.mode "       \
    "certManager see to cert-manager's cainjector, with secret set webhook.caBundle"

static void check_bundle(const struct cli_world *world, struct fl_span hook, struct fl_span text,
                         struct cli_report *report)
{
    struct fl_err err = {0};
    struct cli_life life;
    struct fl_buf pem;
    fl_buf_init(&pem, FL_ERR_TEXT_MAX * 2048);
    int result = fl_base64_decode(text, &pem);
    if (result < 0)
        (void)fl_err_set(&err, result, "not base64");
    else
        result = cli_life_read(fl_buf_span(&pem), world->now, &life, &err);
    fl_buf_done(&pem);
    if (result < 0)
        cli_report_find(report, CLI_CHECK_FAILED, KEEPER_HINT, "the caBundle of %.*s cannot be read: %s",
                        FL_SPAN_ARG(hook), err.text);
    else if (life.expired == life.count)
        cli_report_find(report, CLI_CHECK_FAILED, KEEPER_HINT, "the caBundle of %.*s has expired", FL_SPAN_ARG(hook));
    else if (life.early == life.count)
        cli_report_find(report, CLI_CHECK_FAILED, "see to the clocks: check 305",
                        "the caBundle of %.*s is not valid yet", FL_SPAN_ARG(hook));
}

static void check_service(const struct cli_world *world, const struct fl_json *hook, struct cli_report *report)
{
    struct fl_span name = fl_json_string(cli_object_at(hook, "clientConfig.service.name"));
    struct fl_span space = fl_json_string(cli_object_at(hook, "clientConfig.service.namespace"));
    char text[256];
    if (name.len == 0 || world->documents[CLI_DOCUMENT_MESH_SERVICES] == NULL)
        return;
    (void)snprintf(text, sizeof(text), "%.*s", FL_SPAN_ARG(name));
    if (!fl_span_eq_str(space, world->mesh))
        cli_report_find(report, CLI_CHECK_FAILED, INSTALL_HINT, "%.*s asks Service %.*s in namespace %.*s, not in %s",
                        FL_SPAN_ARG(fl_json_string(fl_json_get(hook, "name"))), FL_SPAN_ARG(name), FL_SPAN_ARG(space),
                        world->mesh);
    else if (cli_world_find(world, CLI_DOCUMENT_MESH_SERVICES, text) == NULL)
        cli_report_find(report, CLI_CHECK_FAILED, "helm upgrade the release: it makes the Service again",
                        "%.*s asks Service %s/%s, which is not there",
                        FL_SPAN_ARG(fl_json_string(fl_json_get(hook, "name"))), world->mesh, text);
}

static void check_configuration(const struct cli_world *world, struct cli_report *report)
{
    const struct fl_json *configuration = find_configuration(world);
    cli_report_begin(report, CLI_CHECK_CONFIGURATION);
    if (!cli_check_has(world, CLI_DOCUMENT_WEBHOOKS, report))
        return;
    if (fl_json_count(fl_json_get(configuration, "webhooks")) == 0) {
        cli_report_find(report, CLI_CHECK_FAILED, INSTALL_HINT,
                        "there is no MutatingWebhookConfiguration of revision %s: no pod joins the mesh",
                        world->revision);
        return;
    }
    for (const struct fl_json *hook = fl_json_first(fl_json_get(configuration, "webhooks")); hook != NULL;
         hook = fl_json_next(hook)) {
        struct fl_span name = fl_json_string(fl_json_get(hook, "name"));
        struct fl_span bundle = fl_json_string(cli_object_at(hook, "clientConfig.caBundle"));
        if (bundle.len == 0)
            cli_report_find(report, CLI_CHECK_FAILED, KEEPER_HINT,
                            "%.*s has no caBundle: the API server trusts no webhook", FL_SPAN_ARG(name));
        else
            check_bundle(world, name, bundle, report);
        if (fl_span_eq_str(fl_json_string(fl_json_get(hook, "failurePolicy")), "Ignore"))
            cli_report_find(report, CLI_CHECK_WARNING, "set webhook.failurePolicy to Fail",
                            "%.*s has failurePolicy Ignore: while the webhook is away pods start outside the mesh",
                            FL_SPAN_ARG(name));
        check_service(world, hook, report);
    }
}

/* --- GatewayClass ----------------------------------------------------------------------------------------------- */

static void check_gateway_class(const struct cli_world *world, struct cli_report *report)
{
    const struct fl_json *one = cli_world_first(world, CLI_DOCUMENT_GATEWAY_CLASSES);
    cli_report_begin(report, CLI_CHECK_GATEWAY_CLASS);
    if (world->missing[CLI_DOCUMENT_GATEWAY_CLASSES].result == -ENOENT) {
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "Gateway API's CRDs are not there");
        return;
    }
    if (!cli_check_has(world, CLI_DOCUMENT_GATEWAY_CLASSES, report))
        return;
    while (one != NULL &&
           !fl_span_eq_str(fl_json_string(cli_object_at(one, "spec.controllerName")), CONTROL_GATEWAY_CONTROLLER))
        one = fl_json_next(one);
    if (one == NULL) {
        cli_report_find(report, CLI_CHECK_WARNING, "helm upgrade with --set gatewayClass.create=true",
                        "no GatewayClass is of controller " CONTROL_GATEWAY_CONTROLLER ": Gateways get no proxy");
        return;
    }
    cli_report_fact(report, "%.*s", FL_SPAN_ARG(cli_object_name(one)));
    for (const struct fl_json *condition = fl_json_first(cli_object_at(one, "status.conditions")); condition != NULL;
         condition = fl_json_next(condition))
        if (fl_span_eq_str(fl_json_string(fl_json_get(condition, "type")), "Accepted") &&
            fl_span_eq_str(fl_json_string(fl_json_get(condition, "status")), "True"))
            return;
    cli_report_find(report, CLI_CHECK_FAILED, "see check 204: the control plane's leader writes it",
                    "GatewayClass %.*s is not accepted", FL_SPAN_ARG(cli_object_name(one)));
}

void cli_check_installation(const struct cli_world *world, const char *version, struct cli_report *report)
{
    check_crds(world, report);
    check_deployments(world, report);
    check_agents(world, report);
    check_configuration(world, report);
    check_gateway_class(world, report);
    cli_check_versions(world, version, report);
}
