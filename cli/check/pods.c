/* 401 to 403: who should be in the mesh and is not, who waits and for what, whose capture is proven. */
#include "cli/check/certificate.h"
#include "cli/check/checks.h"
#include "cli/check/subject.h"
#include "cli/rehearse.h"
#include "cli/scene.h"

#include "common/base/cleanup.h"

#include <errno.h>

#define PATIENCE 30 /* seconds: a pod that is younger just starts */

/* --- outside ---------------------------------------------------------------------------------------------------- */

/* An element of a list has neither kind nor apiVersion. */
static int add_space(struct cli_scene *scene, const struct fl_json *name_space)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *copy = fl_json_copy(name_space);
    int result = copy == NULL ? -ENOMEM : fl_json_set(copy, "kind", fl_json_new_string(FL_SPAN("Namespace")));
    if (result == 0)
        result = fl_json_set(copy, "apiVersion", fl_json_new_string(FL_SPAN("v1")));
    return result < 0 ? result : cli_scene_add(scene, copy);
}

/* The webhook's configuration, as the cluster has it, and the namespaces. */
static int open_scene(const struct cli_world *world, struct cli_scene *scene, struct cli_report *report,
                      struct fl_err *err)
{
    struct fl_span text =
        fl_json_string(fl_json_get(fl_json_get(world->documents[CLI_DOCUMENT_CONFIG], "data"), "config.yaml"));
    int result = text.len > 0 ? cli_scene_open_text(text, "config.yaml", scene, err) : -ENOENT;
    if (result == -EINVAL)
        cli_report_find(
            report, CLI_CHECK_WARNING,
            "a webhook of the same version as this command would refuse it and run on its last good one; use the "
            "command of the webhook's version",
            "the webhook's defaults are assumed: %s", err->text);
    if (result < 0)
        result = cli_scene_open(NULL, scene, err);
    if (result < 0)
        return result;
    for (const struct fl_json *one = cli_world_first(world, CLI_DOCUMENT_NAMESPACES); one != NULL && result == 0;
         one = fl_json_next(one))
        result = add_space(scene, one);
    if (result == 0)
        result = cli_scene_set(scene, CLI_LABELLED_AS_IT_IS, err);
    if (result < 0)
        cli_scene_close(scene);
    return result;
}

struct count {
    size_t meshed, out;
};

static void judge(const struct fl_json *pod, const struct webhook_context *context, struct count *count,
                  struct cli_report *report)
{
    struct cli_rehearsal rehearsal = {0};
    struct fl_err err = {0};
    if (cli_rehearse(context, pod, cli_object_space(pod), &rehearsal, &err) < 0) {
        cli_report_find(report, CLI_CHECK_WARNING, NULL, "%.*s/%.*s cannot be judged: %s",
                        FL_SPAN_ARG(cli_object_space(pod)), FL_SPAN_ARG(cli_object_name(pod)), err.text);
        return;
    }
    if (rehearsal.report.outcome == WEBHOOK_INJECTED)
        cli_report_find(
            report, CLI_CHECK_FAILED,
            "restart its workload (kubectl rollout restart), so that it is made anew; if it comes back without "
            "a sidecar, see check 207",
            "%.*s/%.*s has no sidecar, though %s: it was made before the label, or while the webhook was away "
            "or paused",
            FL_SPAN_ARG(cli_object_space(pod)), FL_SPAN_ARG(cli_object_name(pod)),
            webhook_reason_text(rehearsal.report.reason));
    else if (rehearsal.report.outcome == WEBHOOK_DENIED)
        cli_report_find(
            report, CLI_CHECK_WARNING,
            "put right what the reason names (fairlead explain tells more): it will be refused when it is made "
            "anew",
            "%.*s/%.*s has no sidecar, and would be refused today: %s", FL_SPAN_ARG(cli_object_space(pod)),
            FL_SPAN_ARG(cli_object_name(pod)), webhook_reason_text(rehearsal.report.reason));
    else
        count->out++;
    cli_rehearsal_done(&rehearsal);
}

static void check_paused(const struct cli_world *world, struct cli_report *report)
{
    for (const struct fl_json *one = cli_world_first(world, CLI_DOCUMENT_NAMESPACES); one != NULL;
         one = fl_json_next(one))
        if (fl_span_eq_str(cli_object_label(one, FL_LABEL_PAUSE), FL_LABEL_TRUE) &&
            (world->name_space == NULL || fl_span_eq_str(cli_object_name(one), world->name_space)))
            cli_report_find(
                report, CLI_CHECK_WARNING, "fairlead resume takes it back; then restart what was made meanwhile",
                "namespace %.*s is paused by %.*s: its new pods stay outside", FL_SPAN_ARG(cli_object_name(one)),
                FL_SPAN_ARG(cli_object_annotation(one, FL_ANNOTATION_PAUSED_BY)));
}

static void check_sidecars(const struct cli_world *world, struct cli_report *report)
{
    struct cli_scene scene;
    struct fl_err err = {0};
    struct count count = {0};
    cli_report_begin(report, CLI_CHECK_SIDECARS);
    if (!cli_check_has(world, CLI_DOCUMENT_PODS, report) || !cli_check_has(world, CLI_DOCUMENT_NAMESPACES, report))
        return;
    if (open_scene(world, &scene, report, &err) < 0) {
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "decisions cannot be rehearsed: %s", err.text);
        return;
    }
    const struct webhook_context context = cli_scene_context(&scene);
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod)) {
        if (!cli_subject_is_wanted(world, pod))
            continue;
        if (cli_subject_sidecar(pod) != NULL)
            count.meshed++;
        else
            judge(pod, &context, &count, report);
    }
    check_paused(world, report);
    cli_report_fact(report, "%zu meshed, %zu outside as they should be", count.meshed, count.out);
    cli_scene_close(&scene);
}

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static bool has_bundle(const struct cli_world *world, struct fl_span name_space)
{
    for (const struct fl_json *item = cli_world_first(world, CLI_DOCUMENT_BUNDLES); item != NULL;
         item = fl_json_next(item))
        if (fl_span_eq(cli_object_space(item), name_space))
            return true;
    return world->documents[CLI_DOCUMENT_BUNDLES] == NULL;
}

static void tell_waiting(const struct cli_world *world, const struct fl_json *pod, const struct fl_json *waiting,
                         struct cli_report *report)
{
    struct fl_span space = cli_object_space(pod), name = cli_object_name(pod);
    struct fl_span reason = fl_json_string(fl_json_get(waiting, "reason"));
    struct fl_span last = fl_json_string(cli_object_at(cli_subject_status(pod), "lastState.terminated.message"));
    if (!has_bundle(world, space))
        cli_report_find(report, CLI_CHECK_FAILED,
                        "the control plane writes it: see check 204; with control.mode none sidecars need none",
                        "%.*s/%.*s waits for ConfigMap " FL_ROOT_MAP ", which namespace %.*s does not have",
                        FL_SPAN_ARG(space), FL_SPAN_ARG(name), FL_SPAN_ARG(space));
    else
        cli_report_find(report, CLI_CHECK_FAILED,
                        "kubectl describe pod, and kubectl logs -c " FL_CONTAINER_NAME " (--previous)",
                        "%.*s/%.*s: the sidecar waits: %.*s %.*s%s%.*s", FL_SPAN_ARG(space), FL_SPAN_ARG(name),
                        FL_SPAN_ARG(reason), FL_SPAN_ARG(fl_json_string(fl_json_get(waiting, "message"))),
                        last.len > 0 ? "; it had said: " : "", FL_SPAN_ARG(last));
}

static void check_pod_waiting(const struct cli_world *world, const struct fl_json *pod, struct cli_report *report)
{
    const struct fl_json *status = cli_subject_status(pod), *waiting = cli_object_at(status, "state.waiting");
    struct fl_span space = cli_object_space(pod), name = cli_object_name(pod);
    char age[CLI_LIFE_MAX];
    if (cli_subject_age(world, pod) < PATIENCE)
        return;
    cli_life_print(cli_subject_age(world, pod), age);
    if (waiting != NULL)
        tell_waiting(world, pod, waiting, report);
    else if (cli_object_at(status, "state.running") != NULL && !cli_subject_is_proven(pod))
        cli_report_find(
            report, CLI_CHECK_FAILED,
            "kubectl logs -c " FL_CONTAINER_NAME " says what the start gate waits for; an agent on its node would "
            "capture it: check 206; on the node, fairlead cni verify",
            "%.*s/%.*s: the sidecar runs and waits to be captured, for %s", FL_SPAN_ARG(space), FL_SPAN_ARG(name), age);
    else if (cli_object_at(status, "state.running") != NULL && !fl_json_bool(fl_json_get(status, "ready")))
        cli_report_find(report, CLI_CHECK_FAILED,
                        "kubectl logs -c " FL_CONTAINER_NAME
                        ": without a certificate it is not ready; see checks 204, 302, 501",
                        "%.*s/%.*s: the sidecar is captured and not ready", FL_SPAN_ARG(space), FL_SPAN_ARG(name));
}

static void check_waiting(const struct cli_world *world, struct cli_report *report)
{
    cli_report_begin(report, CLI_CHECK_WAITING);
    if (!cli_check_has(world, CLI_DOCUMENT_PODS, report))
        return;
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod))
        if (cli_subject_is_wanted(world, pod) && cli_subject_sidecar(pod) != NULL)
            check_pod_waiting(world, pod, report);
}

/* --- capture ---------------------------------------------------------------------------------------------------- */

static void check_capture(const struct cli_world *world, struct cli_report *report)
{
    size_t proven = 0, all = 0;
    cli_report_begin(report, CLI_CHECK_CAPTURE);
    if (!cli_check_has(world, CLI_DOCUMENT_PODS, report))
        return;
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod)) {
        if (!cli_subject_is_wanted(world, pod) || cli_subject_sidecar(pod) == NULL ||
            cli_subject_gateway(pod).data != NULL)
            continue;
        all++;
        proven += cli_subject_is_proven(pod);
        if (cli_object_annotation(pod, FL_ANNOTATION_CAPTURE).len == 0)
            cli_report_find(report, CLI_CHECK_FAILED, "make the pod anew through the webhook",
                            "%.*s/%.*s has a sidecar and no annotation " FL_ANNOTATION_CAPTURE ": nobody captures it",
                            FL_SPAN_ARG(cli_object_space(pod)), FL_SPAN_ARG(cli_object_name(pod)));
        else if (fl_json_bool(cli_object_at(pod, "spec.hostNetwork")))
            cli_report_find(report, CLI_CHECK_FAILED, "take one of the two away",
                            "%.*s/%.*s has a sidecar on the host's network, which is never captured",
                            FL_SPAN_ARG(cli_object_space(pod)), FL_SPAN_ARG(cli_object_name(pod)));
    }
    cli_report_fact(report, "proven in %zu of %zu meshed pods", proven, all);
}

void cli_check_pods(const struct cli_world *world, struct cli_report *report)
{
    if (world->pod != NULL) {
        const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS);
        while (pod != NULL && !cli_subject_is_wanted(world, pod))
            pod = fl_json_next(pod);
        if (pod == NULL && world->documents[CLI_DOCUMENT_PODS] != NULL) {
            cli_report_begin(report, CLI_CHECK_SIDECARS);
            cli_report_find(report, CLI_CHECK_FAILED, "kubectl get pods -n tells what there is",
                            "there is no pod %s in namespace %s that runs", world->pod, world->name_space);
            return;
        }
    }
    check_sidecars(world, report);
    check_waiting(world, report);
    check_capture(world, report);
}
