#include "webhook/review.h"

#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "webhook/facts.h"
#include "webhook/patch.h"
#include "webhook/pod.h"
#include "webhook/power.h"
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
    struct webhook_plan plan;
    struct fl_json *patch;
    struct fl_buf identity;
    struct webhook_verdict_report *report;
};

static void done(struct admission *admission)
{
    webhook_plan_done(&admission->plan);
    webhook_settings_done(&admission->settings);
    fl_json_free(admission->patch);
    fl_buf_done(&admission->identity);
    webhook_request_done(&admission->request);
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

/* The steps below: 0, or a positive reason to deny with report->err set, or -ENOMEM. */

static int resolve(struct admission *admission)
{
    struct webhook_verdict_report *report = admission->report;
    int result = webhook_settings_resolve(admission->context->config, admission->request.name_space,
                                          fl_span_eq_str(admission->facts.require, FL_LABEL_TRUE),
                                          admission->name_space != NULL ? admission->name_space->annotations : NULL,
                                          webhook_pod_annotations(admission->request.object), &admission->settings,
                                          &report->warnings, &report->err);
    return result == -EPERM                   ? WEBHOOK_REASON_NOT_ALLOWED_HERE
           : result == 0 || result == -ENOMEM ? result
                                              : WEBHOOK_REASON_SETTING_INVALID;
}

/* What the pod's containers may do; of those in one list (pod.h), or of all. */
static int look_at_power(struct admission *admission, const char *only)
{
    const struct webhook_config *config = admission->context->config;
    const struct webhook_settings *settings = &admission->settings;
    struct webhook_verdict_report *report = admission->report;
    struct fl_err found = {0};
    if (webhook_power_check_users(admission->request.object, only, config->uid, config->gid, settings->image,
                                  &report->err) < 0)
        return WEBHOOK_REASON_RUNS_AS_PROXY;
    if (settings->privileged_apps == WEBHOOK_PRIVILEGED_ALLOW ||
        !webhook_power_find_privileged(admission->request.object, only, &found))
        return 0;
    if (settings->privileged_apps == WEBHOOK_PRIVILEGED_DENY) {
        fl_err_set(&report->err, -EPERM, "%s, by which it could take itself out of the mesh", found.text);
        return WEBHOOK_REASON_PRIVILEGED_APP;
    }
    webhook_warn_reason(&report->warnings, WEBHOOK_REASON_PRIVILEGED_APP, "%s and could take itself out of the mesh",
                        found.text);
    return 0;
}

static int make_plan(struct admission *admission)
{
    const struct fl_json *pod = admission->request.object;
    struct webhook_verdict_report *report = admission->report;
    struct webhook_owner owner;
    webhook_owner_find(pod, &owner);
    webhook_keep(report->workload, sizeof(report->workload), fl_span_str(owner.name));
    int result = webhook_plan_make(admission->context->config, &admission->settings, &owner, pod, &admission->plan,
                                   &report->warnings, &report->err);
    return result == -ENOENT                  ? WEBHOOK_REASON_PROBE_LOST
           : result == 0 || result == -ENOMEM ? result
                                              : WEBHOOK_REASON_SETTING_INVALID;
}

static int make_patch(struct admission *admission)
{
    const struct fl_json *pod = admission->request.object;
    struct webhook_verdict_report *report = admission->report;
    int result = webhook_patch_build(pod, &admission->plan, &admission->patch, &report->warnings, &report->err);
    if (result == -EEXIST)
        return WEBHOOK_REASON_NAME_TAKEN;
    if (result == 0)
        result = webhook_selfcheck(pod, admission->patch, &admission->plan, NULL, &report->err);
    return result == 0 || result == -ENOMEM ? result : WEBHOOK_REASON_SELF_CHECK;
}

/* A pod that is in: every step may still refuse it. */
static int inject(struct admission *admission)
{
    const struct fl_json *pod = admission->request.object;
    struct webhook_verdict_report *report = admission->report;
    int result = webhook_pod_check(pod, &report->err) < 0 ? WEBHOOK_REASON_POD_INVALID : 0;
    if (result == 0)
        result = resolve(admission);
    if (result == 0)
        result = look_at_power(admission, NULL);
    if (result == 0)
        result = make_plan(admission);
    if (result == 0)
        result = make_patch(admission);
    if (result != 0)
        return result;
    report->operations = fl_json_count(admission->patch);
    report->outcome = report->operations > 0 ? WEBHOOK_INJECTED : WEBHOOK_UNCHANGED;
    if (report->operations == 0)
        report->reason = WEBHOOK_REASON_ALREADY_INJECTED;
    return tell_identity(admission);
}

static bool has_sidecar(const struct fl_json *pod)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    bool there =
        webhook_list_find(webhook_pod_member(spec, "initContainers"), "name", FL_SPAN(FL_CONTAINER_NAME), NULL) !=
            NULL ||
        webhook_list_find(webhook_pod_member(spec, "containers"), "name", FL_SPAN(FL_CONTAINER_NAME), NULL) != NULL;
    return there && webhook_pod_value(webhook_pod_annotations(pod), FL_ANNOTATION_CAPTURE).data != NULL;
}

/* Ephemeral containers of a pod that runs: they may be refused, nothing else is this request's business. Settings that
 * would be refused by now are not either: the configuration's are taken then. */
static int look_at_ephemeral(struct admission *admission)
{
    struct webhook_verdict_report *report = admission->report;
    report->outcome = WEBHOOK_SKIPPED;
    if (!has_sidecar(admission->request.object))
        return 0;
    if (webhook_pod_check(admission->request.object, &report->err) < 0)
        return WEBHOOK_REASON_POD_INVALID;
    int result = resolve(admission);
    if (result > 0)
        admission->settings = admission->context->config->defaults;
    report->warnings.count = 0; /* they were told when the pod was made */
    report->err = (struct fl_err){0};
    if (result >= 0)
        result = look_at_power(admission, "ephemeralContainers");
    if (result == 0 && webhook_patch_check_ephemeral(admission->request.object, &report->err) < 0)
        result = WEBHOOK_REASON_NAME_TAKEN;
    return result;
}

static void stay_out(struct admission *admission, const struct webhook_decision *decision)
{
    struct webhook_verdict_report *report = admission->report;
    struct fl_span foreign = admission->facts.foreign;
    bool named = decision->reason == WEBHOOK_REASON_FOREIGN_SIDECAR;
    report->outcome = WEBHOOK_SKIPPED;
    if (decision->warn)
        webhook_warn_reason(&report->warnings, decision->reason, "the pod stays out of the mesh: %s%s%.*s",
                            webhook_reason_text(decision->reason), named ? ": container " : "",
                            WEBHOOK_SHOW(named ? foreign : FL_SPAN("")));
}

/* 0, or a positive reason to deny with report->err set, or -ENOMEM. */
static int follow(struct admission *admission, const struct webhook_decision *decision)
{
    switch (decision->verdict) {
    case WEBHOOK_IN:
        return inject(admission);
    case WEBHOOK_LOOK:
        return look_at_ephemeral(admission);
    case WEBHOOK_DENY:
        webhook_decide_explain(&admission->facts, decision, admission->request.name_space, &admission->report->err);
        return (int)decision->reason;
    case WEBHOOK_OUT:
        break;
    }
    stay_out(admission, decision);
    return 0;
}

/* Whether a namespace that is not known, or bears other labels than we think, could make it another decision. A pod
 * that is in stays in: its namespace's label was there a moment ago. */
static bool hangs_on_namespace(const struct admission *admission, const struct webhook_decision *decision)
{
    switch ((int)decision->reason) {
    case WEBHOOK_REASON_NOT_A_POD:
    case WEBHOOK_REASON_SUBRESOURCE:
    case WEBHOOK_REASON_OPERATION:
    case WEBHOOK_REASON_EPHEMERAL_CONTAINERS:
    case WEBHOOK_REASON_OWN_NAMESPACE:
    case WEBHOOK_REASON_IGNORED_NAMESPACE:
    case WEBHOOK_REASON_MIRROR_POD:
    case WEBHOOK_REASON_POD_LABEL_INVALID:
        return false;
    default:
        return admission->name_space == NULL || decision->verdict != WEBHOOK_IN;
    }
}

static int deny_unknown(struct admission *admission)
{
    struct webhook_verdict_report *report = admission->report;
    fl_err_set(&report->err, -EAGAIN, "what namespace \"%.*s\" asks for is not known, try again: %s",
               WEBHOOK_SHOW(admission->request.name_space), admission->context->unreachable->text);
    return WEBHOOK_REASON_NAMESPACE_UNKNOWN;
}

/* Decides and fills outcome, reason and patch. 0 or -ENOMEM. */
static int admit(struct admission *admission)
{
    const struct webhook_context *context = admission->context;
    struct webhook_verdict_report *report = admission->report;
    admission->name_space = webhook_namespaces_find(context->namespaces, admission->request.name_space);
    webhook_facts_gather(context->config, &admission->request, admission->name_space, &admission->facts,
                         &report->warnings);
    struct webhook_decision decision = webhook_decide(&admission->facts);
    report->reason = decision.reason;
    bool hangs = (context->stale || context->unreachable != NULL) && hangs_on_namespace(admission, &decision);
    if (hangs && context->unreachable == NULL) {
        report->ask = true;
        return 0;
    }
    int result = hangs ? deny_unknown(admission) : follow(admission, &decision);
    if (result > 0) {
        report->outcome = WEBHOOK_DENIED;
        report->reason = (enum webhook_reason)result;
        webhook_warn_reason(&report->warnings, report->reason, "refused: %s", webhook_reason_text(report->reason));
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
    if (result == 0 && !report->ask)
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
