/* fairlead pause, fairlead resume: the break-glass. A label on the namespace, set with the caller's own credentials, by
 * which the webhook configuration, the webhook and the shipped policies all let the namespace's pods pass untouched. It
 * needs nothing of the mesh: it works with the webhook dead. Who did it and why stands on the namespace and, as every
 * change, in the API server's audit log.
 */
#include "cli/cluster.h"
#include "cli/command.h"

#include "common/base/cleanup.h"
#include "common/kube/object.h"
#include "common/mesh/label.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define REASON_MAX 512
#define WHO_MAX    1024

static const char pause_usage[] =
    "usage: fairlead pause [option …] NAMESPACE …\n"
    "       fairlead pause --list\n"
    "\n"
    "Lets every new pod of the namespaces pass without the mesh, until `fairlead resume`: a label, " FL_LABEL_PAUSE
    "=true,\n"
    "that the webhook configuration, the webhook and the shipped policies honour. Works with the webhook dead. Pods "
    "that\n"
    "run already are not touched.\n"
    "\n"
    "  -r, --reason TEXT      why; stands on the namespace (annotation " FL_ANNOTATION_PAUSE_REASON ")\n"
    "      --list             the namespaces that are paused\n"
    "  -A, --all              every namespace that is labelled for the mesh\n"
    "      --dry-run          the API server checks it and changes nothing\n"
    "      --kubeconfig FILE  default: $KUBECONFIG, ~/.kube/config\n"
    "      --context NAME     default: the current one\n"
    "  -h, --help             this text\n"
    "\n"
    "Needs the right to patch namespaces; --all and --list, to list them. Where one of several fails the others are "
    "done,\n"
    "and the exit status is 1.\n";

static const char resume_usage[] = "usage: fairlead resume [option …] NAMESPACE …\n"
                                   "\n"
                                   "Takes back `fairlead pause`: new pods of the namespaces join the mesh again as "
                                   "their labels say. Pods that were made\n"
                                   "meanwhile stay as they are; restart their workloads to bring them in.\n"
                                   "\n"
                                   "  -A, --all              every namespace that is paused\n"
                                   "      --dry-run          the API server checks it and changes nothing\n"
                                   "      --kubeconfig FILE  default: $KUBECONFIG, ~/.kube/config\n"
                                   "      --context NAME     default: the current one\n"
                                   "  -h, --help             this text\n";

struct command {
    bool pause, all, list, dry;
    struct fl_buf who; /* empty: it is not known */
    const char *reason, *kubeconfig, *context;
    char **names;
    size_t count;
    struct cli_cluster cluster;
};

static const char *name_of(const struct command *command)
{
    return command->pause ? "pause" : "resume";
}

/* --- one namespace ---------------------------------------------------------------------------------------------- */

static int print_pause(const struct command *command, struct fl_buf *out)
{
    char now[32];
    struct tm parts;
    time_t seconds = time(NULL);
    gmtime_r(&seconds, &parts);
    strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &parts);
    int result = fl_buf_printf(out,
                               "{\"metadata\":{\"labels\":{\"" FL_LABEL_PAUSE
                               "\":\"true\"},\"annotations\":{\"" FL_ANNOTATION_PAUSED_AT
                               "\":\"%s\",\"" FL_ANNOTATION_PAUSED_BY "\":",
                               now);
    if (result == 0)
        result = command->who.len > 0 ? fl_buf_append_json_string(out, fl_buf_span(&command->who))
                                      : fl_buf_append_str(out, "null");
    if (result == 0)
        result = fl_buf_append_str(out, ",\"" FL_ANNOTATION_PAUSE_REASON "\":");
    if (result == 0)
        result = command->reason != NULL ? fl_buf_append_json_string(out, fl_span_str(command->reason))
                                         : fl_buf_append_str(out, "null");
    return result < 0 ? result : fl_buf_append_str(out, "}}}");
}

static int print_resume(struct fl_buf *out)
{
    return fl_buf_append_str(
        out, "{\"metadata\":{\"labels\":{\"" FL_LABEL_PAUSE "\":null},\"annotations\":{\"" FL_ANNOTATION_PAUSED_AT
             "\":null,\"" FL_ANNOTATION_PAUSED_BY "\":null,\"" FL_ANNOTATION_PAUSE_REASON "\":null}}}");
}

static int change(struct command *command, struct fl_span name)
{
    struct fl_err err = {0};
    char path[96 + FL_KUBE_NAMESPACE_MAX];
    struct fl_buf patch;
    if (!fl_is_dns_label(name))
        return cli_wrong(name_of(command), "\"%.*s\" is not the name of a namespace", FL_SPAN_ARG(name));
    snprintf(path, sizeof(path), "/api/v1/namespaces/%.*s?fieldManager=fairlead-cli%s", FL_SPAN_ARG(name),
             command->dry ? "&dryRun=All" : "");
    fl_buf_init(&patch, 16 * REASON_MAX);
    int result = command->pause ? print_pause(command, &patch) : print_resume(&patch);
    if (result < 0)
        (void)fl_err_errno(&err, result, "the change");
    else
        result = cli_cluster_merge(&command->cluster, path, fl_buf_span(&patch), &err);
    fl_buf_done(&patch);
    if (result < 0)
        return cli_failed(name_of(command), err.text);
    printf("namespace/%.*s %s%s\n", FL_SPAN_ARG(name), command->pause ? "paused" : "resumed",
           command->dry ? " (dry run)" : "");
    return CLI_OK;
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

static struct fl_span text_of(const struct fl_json *object, const char *map, const char *key)
{
    return fl_json_string(fl_json_get(fl_json_get(fl_json_get(object, "metadata"), map), key));
}

/* Whether its pods could be asked for: enabled, or required. */
static bool is_in_mesh(const struct fl_json *name_space)
{
    return fl_span_eq_str(text_of(name_space, "labels", FL_LABEL_INJECT), FL_INJECT_ENABLED) ||
           fl_span_eq_str(text_of(name_space, "labels", FL_LABEL_REQUIRE), "true");
}

static bool is_paused(const struct fl_json *name_space)
{
    return fl_span_eq_str(text_of(name_space, "labels", FL_LABEL_PAUSE), "true");
}

static void show(const struct fl_json *name_space)
{
    struct fl_span name = fl_json_string(fl_json_get(fl_json_get(name_space, "metadata"), "name"));
    struct fl_span since = text_of(name_space, "annotations", FL_ANNOTATION_PAUSED_AT);
    struct fl_span who = text_of(name_space, "annotations", FL_ANNOTATION_PAUSED_BY);
    struct fl_span reason = text_of(name_space, "annotations", FL_ANNOTATION_PAUSE_REASON);
    printf("%.*s  since %.*s  by %.*s  %.*s\n", FL_SPAN_ARG(name), FL_SPAN_ARG(since.len > 0 ? since : FL_SPAN("?")),
           FL_SPAN_ARG(who.len > 0 ? who : FL_SPAN("?")), FL_SPAN_ARG(reason));
}

/* Exit statuses, here and below: the rest is done also where one fails, for in an emergency half of it helps. */
static int change_all(struct command *command)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = NULL;
    struct fl_err err = {0};
    int status = CLI_OK;
    if (cli_cluster_get(&command->cluster, "/api/v1/namespaces", &list, &err) < 0)
        return cli_failed(name_of(command), err.text);
    for (const struct fl_json *item = fl_json_first(fl_json_get(list, "items")); item != NULL;
         item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(fl_json_get(item, "metadata"), "name"));
        if (command->list && is_paused(item))
            show(item);
        else if (!command->list && (command->pause ? is_in_mesh(item) && !is_paused(item) : is_paused(item)) &&
                 change(command, name) != CLI_OK)
            status = CLI_FAILED;
    }
    return status;
}

/* Who we are to the API server (SelfSubjectReview); where it does not say, the pause stands without. */
static void ask_who(struct command *command)
{
    static const char review[] = "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"SelfSubjectReview\"}";
    FL_CLEANUP(fl_cleanup_json) struct fl_json *answer = NULL;
    if (cli_cluster_post(&command->cluster, "/apis/authentication.k8s.io/v1/selfsubjectreviews", fl_span_str(review),
                         &answer, NULL) < 0)
        return;
    const struct fl_json *user = fl_json_get(fl_json_get(answer, "status"), "userInfo");
    if (fl_buf_append(&command->who, fl_json_string(fl_json_get(user, "username"))) < 0)
        fl_buf_clear(&command->who);
}

static int run(struct command *command)
{
    struct fl_err err = {0};
    if (cli_cluster_open(command->kubeconfig, command->context, &command->cluster, &err) < 0)
        return cli_failed(name_of(command), err.text);
    fl_buf_init(&command->who, WHO_MAX);
    if (command->pause && !command->list)
        ask_who(command);
    int status = command->all || command->list ? change_all(command) : CLI_OK;
    for (size_t i = 0; i < command->count; i++) {
        int one = change(command, fl_span_str(command->names[i]));
        status = status == CLI_OK ? one : status;
    }
    fl_buf_done(&command->who);
    cli_cluster_close(&command->cluster);
    return status;
}

/* -1: go on; else the exit status. */
static int read_option(int option, struct command *command)
{
    switch (option) {
    case 'r':
        command->reason = optarg;
        return strlen(optarg) <= REASON_MAX ? -1
                                            : cli_wrong(name_of(command), "--reason: at most %d bytes", REASON_MAX);
    case 'l':
        command->list = true;
        return -1;
    case 'd':
        command->dry = true;
        return -1;
    case 'A':
        command->all = true;
        return -1;
    case 'k':
        command->kubeconfig = optarg;
        return -1;
    case 'x':
        command->context = optarg;
        return -1;
    case 'h':
        return fputs(command->pause ? pause_usage : resume_usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
    default:
        return CLI_USAGE;
    }
}

static int pause_or_resume(bool pause, int argc, char **argv)
{
    static const struct option options[] = {
        {"reason", required_argument, NULL, 'r'},
        {"list", no_argument, NULL, 'l'},
        {"all", no_argument, NULL, 'A'},
        {"dry-run", no_argument, NULL, 'd'},
        {"kubeconfig", required_argument, NULL, 'k'},
        {"context", required_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct command command = {.pause = pause};
    int option;
    while ((option = getopt_long(argc, argv, "r:Ah", options, NULL)) != -1) {
        if (!pause && (option == 'r' || option == 'l'))
            return cli_wrong("resume", "takes no --%s", option == 'r' ? "reason" : "list");
        int status = read_option(option, &command);
        if (status >= 0)
            return status;
    }
    command.names = argv + optind;
    command.count = (size_t)(argc - optind);
    if ((command.count > 0) + command.all + command.list != 1)
        return cli_wrong(name_of(&command), "expected namespaces, or --all%s", pause ? ", or --list" : "");
    return run(&command);
}

int cli_pause(int argc, char **argv)
{
    return pause_or_resume(true, argc, argv);
}

int cli_resume(int argc, char **argv)
{
    return pause_or_resume(false, argc, argv);
}
