/* 209: versions that are at work together. */
#include "cli/check/checks.h"
#include "cli/check/version.h"

#include "common/base/cleanup.h"

#include <stdio.h>

#define GROUPS_MAX 16 /* versions of sidecars that are told apart; others are counted to the last */

struct group {
    char version[64];
    char example[320];
    size_t pods;
};

static void judge(struct fl_span own, struct fl_span found, const char *what, const char *hint,
                  struct cli_report *report)
{
    switch (cli_version_skew(own, found)) {
    case CLI_SKEW_NONE:
    case CLI_SKEW_PATCH:
        return;
    case CLI_SKEW_MINOR:
        cli_report_find(report, CLI_CHECK_WARNING, hint,
                        "%s: version %.*s, and this command is %.*s; that works, for the "
                        "time of an upgrade",
                        what, FL_SPAN_ARG(found), FL_SPAN_ARG(own));
        return;
    case CLI_SKEW_UNKNOWN:
        cli_report_find(report, CLI_CHECK_WARNING, hint, "%s: version \"%.*s\" is none that can be compared", what,
                        FL_SPAN_ARG(found));
        return;
    case CLI_SKEW_TOO_FAR:
    default:
        cli_report_find(report, CLI_CHECK_FAILED, hint, "%s: version %.*s is too far from this command's, %.*s", what,
                        FL_SPAN_ARG(found), FL_SPAN_ARG(own));
    }
}

static void judge_workloads(const struct cli_world *world, enum cli_document document, struct fl_span own,
                            struct cli_report *report)
{
    for (const struct fl_json *item = cli_world_first(world, document); item != NULL; item = fl_json_next(item)) {
        char what[320];
        if (!fl_span_eq_str(cli_object_label(item, "app.kubernetes.io/part-of"), "fairlead"))
            continue;
        (void)snprintf(what, sizeof(what), "%.*s", FL_SPAN_ARG(cli_object_name(item)));
        judge(own, cli_object_label(item, "app.kubernetes.io/version"), what,
              "upgrade what is older: the chart with helm upgrade, or this command", report);
    }
}

/* The version in the annotation that the webhook wrote. */
static void count_pod(const struct fl_json *pod, struct group *groups, size_t *count)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    char version[sizeof(groups->version)];
    size_t at = 0;
    struct fl_span text = cli_object_annotation(pod, FL_ANNOTATION_STATUS);
    if (text.len == 0 || fl_json_parse(text, NULL, &status, NULL) < 0)
        return;
    (void)snprintf(version, sizeof(version), "%.*s", FL_SPAN_ARG(fl_json_string(fl_json_get(status, "program"))));
    while (at < *count && at + 1 < GROUPS_MAX && strcmp(groups[at].version, version) != 0)
        at++;
    if (at == *count) {
        ++*count;
        (void)snprintf(groups[at].version, sizeof(groups[at].version), "%s", version);
        (void)snprintf(groups[at].example, sizeof(groups[at].example), "%.*s/%.*s", FL_SPAN_ARG(cli_object_space(pod)),
                       FL_SPAN_ARG(cli_object_name(pod)));
    }
    groups[at].pods++;
}

static void judge_sidecars(const struct cli_world *world, struct fl_span own, struct cli_report *report)
{
    struct group groups[GROUPS_MAX] = {0};
    size_t count = 0;
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod))
        count_pod(pod, groups, &count);
    for (size_t i = 0; i < count; i++) {
        char what[512];
        (void)snprintf(what, sizeof(what), "%zu sidecar%s (%s%s)", groups[i].pods, groups[i].pods == 1 ? "" : "s",
                       groups[i].example, groups[i].pods == 1 ? "" : " …");
        judge(own, fl_span_str(groups[i].version), what,
              "restart their workloads (kubectl rollout restart): new pods get the webhook's version", report);
    }
}

void cli_check_versions(const struct cli_world *world, const char *version, struct cli_report *report)
{
    struct fl_span own = fl_span_str(version);
    cli_report_begin(report, CLI_CHECK_VERSIONS);
    cli_report_fact(report, "this command %s", version);
    if (!cli_check_has(world, CLI_DOCUMENT_DEPLOYMENTS, report))
        return;
    judge_workloads(world, CLI_DOCUMENT_DEPLOYMENTS, own, report);
    judge_workloads(world, CLI_DOCUMENT_AGENTS, own, report);
    judge_sidecars(world, own, report);
}
