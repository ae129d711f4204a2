/* fairlead inject: manifests in, the same manifests with the sidecar out. The decision and the patch are the webhook's
 * own code; what comes out is left alone by the webhook when it is applied.
 */
#include "cli/command.h"
#include "cli/gather.h"
#include "cli/manifest.h"
#include "cli/rehearse.h"
#include "cli/scene.h"
#include "cli/workload.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define NAME "inject"

static const char usage[] =
    "usage: fairlead inject [option …] FILE|FOLDER|- …\n"
    "\n"
    "Prints the manifests with the sidecar added to every pod, and to what makes pods (Deployment, StatefulSet, "
    "DaemonSet,\n"
    "Job, CronJob, ReplicaSet, ReplicationController, PodTemplate, Rollout, DeploymentConfig); everything else as it "
    "is.\n"
    "Comments and the layout of YAML are not kept; `fairlead uninject` takes it back.\n"
    "What happened to each is told on stderr. Where one is refused nothing is printed, and the exit status is 1.\n"
    "\n"
    "Pods with the label fairlead.io/inject: disabled are left alone, and so are those of a Namespace among the "
    "manifests\n"
    "that is labelled so. A namespace of which nothing is known counts as labelled.\n"
    "\n"
    "  -c, --config FILE      the webhook's configuration; without it its defaults\n"
    "      --namespaces FILE  Namespace objects, for their labels and annotations\n"
    "  -n, --namespace NAME   of objects that name none (default: default)\n"
    "  -R, --recursive        folders within folders too\n"
    "  -o, --output FORM      yaml (default) or json\n"
    "  -q, --quiet            nothing on stderr about what was injected or left alone; refusals and warnings stay\n"
    "  -h, --help             this text\n";

struct command {
    const char *config, *namespaces;
    struct fl_span name_space;
    bool recursive, json, quiet;
    char *const *paths;
    size_t path_count;

    struct cli_scene scene;
    size_t refused;
    struct fl_err err;
};

/* --- the scene -------------------------------------------------------------------------------------------------- */

static struct fl_span space_of(const struct command *command, const struct cli_workload *workload)
{
    return workload->space.len > 0 ? workload->space : command->name_space;
}

/* --- injecting -------------------------------------------------------------------------------------------------- */

static void tell(const struct command *command, const char *file, const struct cli_workload *workload,
                 const struct webhook_verdict_report *report)
{
    const char *word = webhook_outcome_word(report->outcome);
    bool refused = report->outcome == WEBHOOK_DENIED || report->outcome == WEBHOOK_INVALID;
    if (refused)
        fprintf(stderr, "%s: %.*s/%.*s: refused: %s [%s]\n", file, FL_SPAN_ARG(workload->kind),
                FL_SPAN_ARG(workload->name), report->err.text, webhook_reason_word(report->reason));
    else if (!command->quiet)
        fprintf(stderr, "%s: %.*s/%.*s: %s [%s]\n", file, FL_SPAN_ARG(workload->kind), FL_SPAN_ARG(workload->name),
                word, webhook_reason_word(report->reason));
    for (size_t i = 0; i < report->warnings.count; i++)
        fprintf(stderr, "%s: %.*s/%.*s: warning: %s\n", file, FL_SPAN_ARG(workload->kind), FL_SPAN_ARG(workload->name),
                report->warnings.text[i]);
}

static int inject_pod(struct command *command, const char *file, const struct cli_workload *workload,
                      const struct fl_json *pod)
{
    struct cli_rehearsal rehearsal = {0};
    struct webhook_context context = cli_scene_context(&command->scene);
    int result = cli_rehearse(&context, pod, space_of(command, workload), &rehearsal, &command->err);
    if (result < 0) {
        fl_err_prefix(&command->err, "%s: %.*s/%.*s", file, FL_SPAN_ARG(workload->kind), FL_SPAN_ARG(workload->name));
        return result;
    }
    tell(command, file, workload, &rehearsal.report);
    if (rehearsal.patched == NULL)
        command->refused++;
    else if (rehearsal.report.outcome == WEBHOOK_INJECTED)
        result = cli_workload_take(workload, rehearsal.patched);
    cli_rehearsal_done(&rehearsal);
    return result;
}

static int inject_object(void *context, const char *file, struct fl_json *object)
{
    struct command *command = context;
    struct cli_workload workload;
    if (!cli_workload_find(object, &workload))
        return 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = cli_workload_pod(&workload);
    return pod == NULL ? -ENOMEM : inject_pod(command, file, &workload, pod);
}

static int inject(struct command *command, struct cli_manifests *manifests)
{
    int result = cli_scene_open(command->config, &command->scene, &command->err);
    if (result == 0)
        result = cli_gather(manifests, command->name_space, &command->scene);
    if (result == 0)
        result = cli_gather_file(command->namespaces, command->name_space, &command->scene, &command->err);
    if (result == 0)
        result = cli_scene_set(&command->scene, CLI_LABELLED_WHERE_UNSAID, &command->err);
    if (result == 0)
        result = cli_manifests_visit(manifests, inject_object, command);
    if (result == 0 && command->refused == 0)
        result = cli_manifests_write(manifests, command->json, &command->err);
    cli_scene_close(&command->scene);
    return result;
}

static int run(struct command *command)
{
    struct cli_manifests manifests = {0};
    int result = cli_manifests_read(command->paths, command->path_count, command->recursive, &manifests, &command->err);
    if (result == 0)
        result = inject(command, &manifests);
    cli_manifests_done(&manifests);
    if (result < 0 && command->err.text[0] == '\0')
        (void)fl_err_errno(&command->err, result, "inject");
    if (result < 0)
        return cli_failed(NAME, command->err.text);
    return command->refused > 0 ? cli_failed(NAME, "nothing was printed: some of it is refused") : CLI_OK;
}

/* -1: go on; else the exit status. */
static int read_option(int option, struct command *command)
{
    switch (option) {
    case 'c':
        command->config = optarg;
        return -1;
    case 's':
        command->namespaces = optarg;
        return -1;
    case 'n':
        command->name_space = fl_span_str(optarg);
        return -1;
    case 'R':
        command->recursive = true;
        return -1;
    case 'o':
        command->json = strcmp(optarg, "json") == 0;
        return command->json || strcmp(optarg, "yaml") == 0
                   ? -1
                   : cli_wrong(NAME, "expected -o yaml or -o json, got \"%s\"", optarg);
    case 'q':
        command->quiet = true;
        return -1;
    case 'h':
        return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
    default:
        return CLI_USAGE;
    }
}

int cli_inject(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"namespaces", required_argument, NULL, 's'},
        {"namespace", required_argument, NULL, 'n'},
        {"recursive", no_argument, NULL, 'R'},
        {"output", required_argument, NULL, 'o'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct command command = {.name_space = FL_SPAN("default")};
    int option;
    while ((option = getopt_long(argc, argv, "c:n:Ro:qh", options, NULL)) != -1) {
        int status = read_option(option, &command);
        if (status >= 0)
            return status;
    }
    if (optind == argc)
        return cli_wrong(NAME, "expected files, folders or - (standard input)");
    command.paths = argv + optind;
    command.path_count = (size_t)(argc - optind);
    return run(&command);
}
