/* 101, 102, 104: the cluster before anything is installed in it; and which rights installing needs. */
#include "cli/check/checks.h"

#include <errno.h>

#define CRDS_FIRST "apiextensions.k8s.io"

const struct cli_right cli_rights[] = {
    {CRDS_FIRST, "customresourcedefinitions", "create", false},
    {"", "namespaces", "create", false},
    {"rbac.authorization.k8s.io", "clusterroles", "create", false},
    {"rbac.authorization.k8s.io", "clusterrolebindings", "create", false},
    {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create", false},
    {"admissionregistration.k8s.io", "validatingadmissionpolicies", "create", false},
    {"admissionregistration.k8s.io", "validatingadmissionpolicybindings", "create", false},
    {"scheduling.k8s.io", "priorityclasses", "create", false},
    {"", "serviceaccounts", "create", true},
    {"", "configmaps", "create", true},
    {"", "secrets", "create", true}, /* Helm keeps its releases there */
    {"", "services", "create", true},
    {"apps", "deployments", "create", true},
    {"apps", "daemonsets", "create", true},
    {"rbac.authorization.k8s.io", "roles", "create", true},
    {"rbac.authorization.k8s.io", "rolebindings", "create", true},
    {"policy", "poddisruptionbudgets", "create", true},
    {"networking.k8s.io", "networkpolicies", "create", true},
};
const size_t cli_right_count = FL_COUNT(cli_rights);

bool cli_check_has(const struct cli_world *world, enum cli_document document, struct cli_report *report)
{
    if (world->documents[document] != NULL)
        return true;
    cli_report_find(report, CLI_CHECK_SKIPPED,
                    world->missing[document].result == -EACCES
                        ? "ask as somebody who may read it: kubectl auth can-i list, for what the message names"
                        : NULL,
                    "%s cannot be read: %s", cli_document_word(document), world->missing[document].text);
    return false;
}

/* "1", "37+" → 37. */
static bool read_number(struct fl_span text, uint64_t *ret_number)
{
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    return fl_span_to_u64(fl_span_make(text.data, digits), UINT32_MAX, ret_number);
}

static void check_version(const struct cli_world *world, struct cli_report *report)
{
    const struct fl_json *version = world->documents[CLI_DOCUMENT_VERSION];
    struct fl_span text = fl_json_string(fl_json_get(version, "gitVersion"));
    uint64_t major, minor;
    cli_report_begin(report, CLI_CHECK_KUBERNETES);
    if (!read_number(fl_json_string(fl_json_get(version, "major")), &major) ||
        !read_number(fl_json_string(fl_json_get(version, "minor")), &minor)) {
        cli_report_find(report, CLI_CHECK_WARNING, NULL, "the server does not say its version");
        return;
    }
    cli_report_fact(report, "%.*s", FL_SPAN_ARG(text));
    if (major == 1 && minor < CLI_KUBERNETES_MINOR)
        cli_report_find(report, CLI_CHECK_FAILED, "upgrade the cluster",
                        "Kubernetes 1.%llu; the chart needs 1.%d or newer (ValidatingAdmissionPolicy v1)",
                        (unsigned long long)minor, CLI_KUBERNETES_MINOR);
}

bool cli_check_cluster(const struct cli_world *world, struct cli_report *report)
{
    const struct cli_missing *missing = &world->missing[CLI_DOCUMENT_VERSION];
    cli_report_begin(report, CLI_CHECK_API);
    if (world->documents[CLI_DOCUMENT_VERSION] == NULL) {
        cli_report_find(report, CLI_CHECK_FAILED,
                        missing->result == -EACCES
                            ? "see to the certificate and the credentials of the kubeconfig's context (kubectl version "
                              "tells the same)"
                            : "see whether the address is the right one (--kubeconfig, --context) and can be reached "
                              "from here; --timeout gives it more time",
                        "%s", missing->text);
        return false;
    }
    check_version(world, report);
    return true;
}

/* --- Gateway API ------------------------------------------------------------------------------------------------ */

#define GATEWAY_GROUP   "gateway.networking.k8s.io"
#define BUNDLE_VERSION  GATEWAY_GROUP "/bundle-version"
#define GATEWAY_INSTALL "install the standard channel of Gateway API v1.6 (its own guide tells how), before the chart"

static bool is_of_group(const struct fl_json *crd, const char *group)
{
    return fl_span_eq_str(fl_json_string(cli_object_at(crd, "spec.group")), group);
}

/* "v1.6.3" → 6; false: no version of ours. */
static bool read_minor(struct fl_span version, uint64_t *ret_minor)
{
    if (!fl_span_starts_with(version, FL_SPAN("v1.")))
        return false;
    return read_number(fl_span_from(version, 3), ret_minor);
}

static void check_bundle(struct fl_span version, struct cli_report *report)
{
    uint64_t minor;
    if (!read_minor(version, &minor))
        cli_report_find(report, CLI_CHECK_WARNING, GATEWAY_INSTALL, "bundle version \"%.*s\" is none that is known",
                        FL_SPAN_ARG(version));
    else if (minor < CLI_GATEWAY_API_MINOR_MIN)
        cli_report_find(report, CLI_CHECK_FAILED, GATEWAY_INSTALL, "bundle version %.*s is too old: v1.%d is needed",
                        FL_SPAN_ARG(version), CLI_GATEWAY_API_MINOR_MIN);
    else if (minor > CLI_GATEWAY_API_MINOR_MAX)
        cli_report_find(report, CLI_CHECK_WARNING, NULL,
                        "bundle version %.*s is newer than what this version knows: v1.%d", FL_SPAN_ARG(version),
                        CLI_GATEWAY_API_MINOR_MAX);
}

void cli_check_gateway_api(const struct cli_world *world, struct cli_report *report)
{
    static const char *const needed[] = {"GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant"};
    bool found[FL_COUNT(needed)] = {0};
    struct fl_span version = {NULL, 0};
    cli_report_begin(report, CLI_CHECK_GATEWAY_API);
    if (!cli_check_has(world, CLI_DOCUMENT_CRDS, report))
        return;
    for (const struct fl_json *crd = cli_world_first(world, CLI_DOCUMENT_CRDS); crd != NULL; crd = fl_json_next(crd)) {
        struct fl_span own = cli_object_annotation(crd, BUNDLE_VERSION);
        if (!is_of_group(crd, GATEWAY_GROUP))
            continue;
        for (size_t i = 0; i < FL_COUNT(needed); i++)
            found[i] = found[i] || fl_span_eq_str(fl_json_string(cli_object_at(crd, "spec.names.kind")), needed[i]);
        if (version.data != NULL && !fl_span_eq(version, own))
            cli_report_find(report, CLI_CHECK_WARNING, GATEWAY_INSTALL,
                            "%.*s is of bundle \"%.*s\", others of \"%.*s\"", FL_SPAN_ARG(cli_object_name(crd)),
                            FL_SPAN_ARG(own), FL_SPAN_ARG(version));
        version = version.data == NULL ? own : version;
    }
    if (version.data == NULL) {
        cli_report_find(report, CLI_CHECK_WARNING, GATEWAY_INSTALL,
                        "Gateway API's CRDs are not there: there are no routes and no gateways without them");
        return;
    }
    cli_report_fact(report, "%.*s", FL_SPAN_ARG(version));
    check_bundle(version, report);
    for (size_t i = 0; i < FL_COUNT(needed); i++)
        if (!found[i])
            cli_report_find(report, CLI_CHECK_WARNING, GATEWAY_INSTALL, "the CRD of %s is not there", needed[i]);
}
