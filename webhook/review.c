#include "webhook/review.h"

#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "webhook/decide.h"
#include "webhook/patch.h"
#include "webhook/pod.h"
#include "webhook/probe.h"
#include "webhook/request.h"
#include "webhook/resolve.h"
#include "webhook/response.h"
#include "webhook/selfcheck.h"
#include "webhook/value.h"

#include <errno.h>

/* One admission on its way; what it owns is released by `done`. */
struct admission {
    const struct webhook_context *context;
    struct webhook_request request;
    const struct webhook_namespace *name_space; /* NULL: without labels */
    struct webhook_facts facts;
    struct webhook_settings settings;
    struct webhook_sidecar sidecar;
    struct fl_json *patch;
    struct fl_buf identity;
    struct webhook_verdict_report *report;
};

static void done(struct admission *admission)
{
    webhook_sidecar_done(&admission->sidecar);
    webhook_settings_done(&admission->settings);
    fl_json_free(admission->patch);
    fl_buf_done(&admission->identity);
    webhook_request_done(&admission->request);
}

static bool is_ignored(const struct webhook_config *config, struct fl_span name_space)
{
    for (size_t i = 0; i < config->ignored_count; i++) {
        if (fl_span_eq(config->ignored[i], name_space))
            return true;
    }
    return false;
}

static bool is_windows(const struct fl_json *spec)
{
    struct fl_span os = webhook_pod_value(fl_json_get(spec, "os"), "name");
    struct fl_span node = webhook_pod_value(fl_json_get(spec, "nodeSelector"), "kubernetes.io/os");
    return fl_span_eq_str(os, "windows") || fl_span_eq_str(node, "windows");
}

/* The pod's own shape was not checked yet: every look-up here stands any tree. */
static void gather_facts(struct admission *admission)
{
    const struct webhook_config *config = admission->context->config;
    const struct webhook_request *request = &admission->request;
    const struct webhook_namespace *name_space =
        webhook_namespaces_find(admission->context->namespaces, request->name_space);
    const struct fl_json *spec = webhook_pod_member(request->object, "spec");
    const struct fl_json *labels = webhook_pod_labels(request->object);
    const struct fl_json *annotations = webhook_pod_annotations(request->object);
    const struct fl_json *ns_labels = name_space != NULL ? name_space->labels : NULL;
    struct fl_span pod_label = webhook_pod_value(labels, FL_LABEL_INJECT);
    if (pod_label.data != NULL && !config->pod_overrides) {
        webhook_warn(&admission->report->warnings,
                     "label " FL_LABEL_INJECT " of pods does not count here; the namespace's decides");
        pod_label = (struct fl_span){NULL, 0};
    }
    admission->name_space = name_space;
    admission->facts = (struct webhook_facts){
        .pod = webhook_request_is_pod(request),
        .subresource = request->subresource.len > 0,
        .create = fl_span_eq_str(request->operation, "CREATE"),
        .ignored_namespace = is_ignored(config, request->name_space),
        .mirror = webhook_pod_value(annotations, "kubernetes.io/config.mirror").data != NULL,
        .host_network = fl_json_bool(fl_json_get(spec, "hostNetwork")),
        .windows = is_windows(spec),
        .pod_label = pod_label,
        .namespace_label = webhook_pod_value(ns_labels, FL_LABEL_INJECT),
        .pod_revision = webhook_pod_value(labels, FL_LABEL_REVISION),
        .ns_revision = webhook_pod_value(ns_labels, FL_LABEL_REVISION),
        .revision = config->revision,
    };
}

/* The identity that the pod will have, for the audit log; a name that makes none is left out. */
static int tell_identity(struct admission *admission)
{
    const struct fl_json *spec = webhook_pod_member(admission->request.object, "spec");
    struct fl_span account = fl_json_string(fl_json_get(spec, "serviceAccountName"));
    const struct fl_identity identity = {
        .trust_domain = admission->context->config->trust_domain,
        .name_space = admission->request.name_space,
        .service_account = account.len > 0 ? account : FL_SPAN("default"),
    };
    fl_buf_init(&admission->identity, FL_IDENTITY_MAX);
    int result = fl_identity_print(&identity, &admission->identity, NULL);
    if (result < 0)
        fl_buf_clear(&admission->identity);
    return result == -ENOMEM ? result : 0;
}

/* 0, or a positive reason to deny with report->err set, or -ENOMEM. */
static int make_patch(struct admission *admission)
{
    const struct webhook_config *config = admission->context->config;
    const struct fl_json *pod = admission->request.object;
    struct webhook_verdict_report *report = admission->report;
    struct webhook_settings *settings = &admission->settings;
    struct webhook_owner owner;
    if (webhook_pod_check(pod, &report->err) < 0)
        return WEBHOOK_REASON_POD_INVALID;
    if (webhook_pod_check_users(pod, config->uid, config->gid, &report->err) < 0)
        return WEBHOOK_REASON_RUNS_AS_PROXY;
    int result = webhook_settings_resolve(config, admission->request.name_space,
                                          admission->name_space != NULL ? admission->name_space->annotations : NULL,
                                          webhook_pod_annotations(pod), settings, &report->warnings, &report->err);
    if (result < 0)
        return result == -ENOMEM  ? result
               : result == -EPERM ? WEBHOOK_REASON_NOT_ALLOWED_HERE
                                  : WEBHOOK_REASON_SETTING_INVALID;
    webhook_owner_find(pod, &owner);
    webhook_keep(report->workload, sizeof(report->workload), fl_span_str(owner.name));
    result = webhook_sidecar_make(config, settings, &owner, &admission->sidecar);
    if (result == -EMSGSIZE) {
        fl_err_set(&report->err, result, "the capture settings are too long (more than %d bytes)", FL_CAPTURE_TEXT_MAX);
        return WEBHOOK_REASON_SETTING_INVALID;
    }
    if (result == 0)
        result = webhook_patch_build(pod, &admission->sidecar, &admission->patch, &report->warnings, &report->err);
    if (result == -EEXIST)
        return WEBHOOK_REASON_NAME_TAKEN;
    if (result == 0)
        result = webhook_selfcheck(pod, admission->patch, &admission->sidecar, NULL, &report->err);
    if (result < 0 && result != -ENOMEM)
        return WEBHOOK_REASON_SELF_CHECK;
    if (result == 0)
        webhook_probe_warn(pod, &settings->capture, &report->warnings);
    return result < 0 ? result : tell_identity(admission);
}

/* Decides and fills outcome, reason and patch. 0 or -ENOMEM. */
static int admit(struct admission *admission)
{
    struct webhook_verdict_report *report = admission->report;
    gather_facts(admission);
    struct webhook_decision decision = webhook_decide(&admission->facts);
    report->reason = decision.reason;
    if (decision.warn)
        webhook_warn(&report->warnings, "the pod stays out of the mesh: %s", webhook_reason_text(decision.reason));
    if (decision.verdict == WEBHOOK_OUT) {
        report->outcome = WEBHOOK_SKIPPED;
        return 0;
    }
    if (decision.verdict == WEBHOOK_DENY) {
        report->outcome = WEBHOOK_DENIED;
        webhook_decide_explain(&admission->facts, decision.reason, admission->request.name_space, &report->err);
        return 0;
    }
    int result = make_patch(admission);
    if (result > 0)
        report->reason = (enum webhook_reason)result;
    report->outcome = result > 0 ? WEBHOOK_DENIED : WEBHOOK_INJECTED;
    report->operations = result == 0 ? fl_json_count(admission->patch) : 0;
    if (result == 0 && report->operations == 0) {
        report->outcome = WEBHOOK_UNCHANGED;
        report->reason = WEBHOOK_REASON_ALREADY_INJECTED;
    }
    return result < 0 ? result : 0;
}

/* The request could not be answered by a review: a line of text, with the HTTP status of its reason. */
static void refuse(struct webhook_verdict_report *report, enum webhook_reason reason, struct fl_buf *out)
{
    report->status = webhook_reason_code(reason);
    report->outcome = WEBHOOK_INVALID;
    report->reason = reason;
    fl_buf_clear(out);
    if (fl_buf_printf(out, "%s\n", report->err.text) < 0)
        fl_buf_clear(out); /* the status alone tells then */
}

static int print(const struct admission *admission, struct fl_buf *out)
{
    const struct webhook_verdict_report *report = admission->report;
    const struct webhook_response response = {
        .uid = admission->request.uid,
        .allowed = report->outcome != WEBHOOK_DENIED,
        .outcome = report->outcome,
        .reason = report->reason,
        .message = report->err.text,
        .patch = report->outcome == WEBHOOK_INJECTED ? admission->patch : NULL,
        .warnings = &report->warnings,
        .workload = fl_span_str(report->workload),
        .identity = fl_buf_span(&admission->identity),
    };
    return webhook_response_print(&response, out);
}

void webhook_review(const struct webhook_context *context, struct fl_span body, struct fl_buf *out,
                    struct webhook_verdict_report *ret_report)
{
    struct webhook_verdict_report *report = ret_report;
    struct admission admission = {.context = context, .report = report};
    *report = (struct webhook_verdict_report){.status = 200};
    int result = webhook_request_parse(body, &admission.request, &report->err);
    if (result > 0) {
        refuse(report, (enum webhook_reason)result, out);
        return;
    }
    if (result == 0) {
        webhook_keep(report->uid, sizeof(report->uid), admission.request.uid);
        webhook_keep(report->name_space, sizeof(report->name_space), admission.request.name_space);
        webhook_keep(report->name, sizeof(report->name), admission.request.name);
        result = admit(&admission);
    }
    if (result == 0)
        result = print(&admission, out);
    if (result == -EMSGSIZE) { /* a sidecar that somebody stuffed before the pod came here */
        report->outcome = WEBHOOK_DENIED;
        report->reason = WEBHOOK_REASON_POD_INVALID;
        fl_err_set(&report->err, result,
                   "the patch would have more than %u bytes; what is in the container " FL_CONTAINER_NAME
                   " already is too much",
                   WEBHOOK_PATCH_MAX);
        result = print(&admission, out);
    }
    if (result < 0) {
        fl_err_errno(&report->err, result, "admission");
        refuse(report, WEBHOOK_REASON_INTERNAL, out);
    }
    done(&admission);
}
