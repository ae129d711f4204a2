/* fairlead explain: why is a pod in the mesh or not, what is set for it and by whom, which rules does it get. The
 * decision is the webhook's own code, over manifests or over what a cluster holds; nothing is changed anywhere.
 */
#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/explanation.h"
#include "cli/gather.h"
#include "cli/manifest.h"
#include "cli/reasons.h"
#include "cli/scene.h"

#include "common/base/cleanup.h"
#include "common/kube/object.h"
#include "common/mesh/label.h"
#include "webhook/pod.h"
#include "webhook/remove.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define NAME       "explain"
#define FILES_MAX  256
#define OUTPUT_MAX (256u << 20)
#define PATH_ROOM  1024

static const char usage[] =
    "usage: fairlead explain -f FILE|FOLDER|- … [option …]\n"
    "       fairlead explain [-n NAMESPACE] [KIND/]NAME …\n"
    "       fairlead explain [-n NAMESPACE] [--as-if-labelled]\n"
    "       fairlead explain --reasons\n"
    "\n"
    "Tells for a pod, or for what makes pods: is it in the mesh and why, every setting and from where it came, the "
    "probes\n"
    "that the sidecar answers, the rules that its network gets. Without a name: every workload of the namespace in a\n"
    "table. Changes nothing.\n"
    "\n"
    "  -f, --filename PATH         manifests; may be given again. Without a cluster: namespaces are those among them\n"
    "      --namespaces FILE       with -f: Namespace objects besides\n"
    "      --reasons               every outcome's reason, and the table by which the webhook decides\n"
    "      --as-if-labelled        as if the namespace had the label fairlead.io/inject: enabled: a rehearsal\n"
    "  -c, --config FILE           the webhook's configuration; else the cluster's, or with -f its defaults\n"
    "  -n, --namespace NAME        of the cluster's objects, or of manifests that name none\n"
    "  -m, --mesh-namespace NAME   where the mesh runs (default: fairlead-system)\n"
    "  -r, --revision NAME         whose configuration (default: default)\n"
    "  -R, --recursive             folders within folders too\n"
    "  -o, --output FORM           text (default) or json\n"
    "      --kubeconfig FILE       default: $KUBECONFIG, ~/.kube/config\n"
    "      --context NAME          default: the current one\n"
    "  -h, --help                  this text\n"
    "\n"
    "Exit status 1 also where one of them would be refused.\n";

struct command {
    char *files[FILES_MAX];
    size_t file_count;
    const char *namespaces, *config, *name_space, *mesh, *revision, *kubeconfig, *context;
    char *const *names;
    size_t name_count;
    bool labelled, recursive, json, reasons;
    char source[PATH_ROOM]; /* where the configuration came from */

    struct cli_cluster cluster;
    struct cli_scene scene;
    struct fl_json *trees; /* owned */
    size_t refused;
    struct fl_err err;
};

/* --- one object ------------------------------------------------------------------------------------------------- */

static struct fl_span space_of(const struct command *command, const struct cli_workload *workload)
{
    return workload->space.len > 0 ? workload->space : fl_span_str(command->name_space);
}

/* Of a pod that runs: whether it is in the mesh now, whatever would be decided today. */
static bool has_sidecar(const struct fl_json *pod)
{
    static const char *const lists[] = {"initContainers", "containers"};
    for (size_t i = 0; i < FL_COUNT(lists); i++)
        if (webhook_list_find(fl_json_get(fl_json_get(pod, "spec"), lists[i]), "name", FL_SPAN(FL_CONTAINER_NAME),
                              NULL) != NULL)
            return true;
    return false;
}

/* A pod that runs: what it is now, beside what would be made of it anew. */
static int describe_now(struct command *command, const struct fl_json *pod, struct fl_span name_space,
                        struct fl_json *tree)
{
    struct cli_rehearsal rehearsal = {0};
    struct webhook_context context = cli_scene_context(&command->scene);
    char text[160] = "not meshed";
    if (has_sidecar(pod)) {
        int result = cli_rehearse(&context, pod, name_space, &rehearsal, &command->err);
        if (result < 0)
            return result;
        if (rehearsal.report.outcome == WEBHOOK_UNCHANGED)
            snprintf(text, sizeof(text), "meshed, as it would be made anew");
        else if (rehearsal.report.outcome == WEBHOOK_INJECTED)
            snprintf(text, sizeof(text), "meshed, otherwise than it would be made anew (%zu changes)",
                     rehearsal.report.operations);
        else
            snprintf(text, sizeof(text), "meshed, and would not be so anew");
        cli_rehearsal_done(&rehearsal);
    }
    return fl_json_set(tree, "now", fl_json_new_string(fl_span_str(text)));
}

static int add_where(struct command *command, const char *file, const struct cli_workload *workload,
                     struct fl_span name_space, struct fl_json *tree)
{
    if (command->file_count > 0)
        return fl_json_set(tree, "file", fl_json_new_string(fl_span_str(file)));
    return fl_span_eq_str(workload->kind, "Pod") ? describe_now(command, workload->template, name_space, tree) : 0;
}

/* What comes to admission when a pod that runs is made anew: itself without the mesh. Where it cannot be taken out it
 * is looked at as it is. */
static int strip(struct fl_json **pod)
{
    bool removed;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *copy = fl_json_copy(*pod);
    int result = copy == NULL ? -ENOMEM : webhook_remove(copy, &removed, NULL);
    if (result < 0)
        return result == -ENOMEM ? result : 0;
    fl_json_free(*pod);
    *pod = fl_take(copy);
    return 0;
}

static int explain_pod(struct command *command, const char *file, const struct cli_workload *workload,
                       const struct fl_json *pod)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *tree = NULL;
    struct cli_rehearsal rehearsal = {0};
    struct webhook_context context = cli_scene_context(&command->scene);
    struct fl_span name_space = space_of(command, workload);
    int result = cli_rehearse(&context, pod, name_space, &rehearsal, &command->err);
    if (result < 0) {
        fl_err_prefix(&command->err, "%s: %.*s/%.*s", file, FL_SPAN_ARG(workload->kind), FL_SPAN_ARG(workload->name));
        return result;
    }
    if (rehearsal.patched == NULL)
        command->refused++;
    result = cli_explanation_make(&context, workload, pod, name_space, &rehearsal, &tree);
    cli_rehearsal_done(&rehearsal);
    if (result == 0)
        result = add_where(command, file, workload, name_space, tree);
    return result < 0 ? result : fl_json_append(command->trees, fl_take(tree));
}

static int explain_object(void *context, const char *file, struct fl_json *object)
{
    struct command *command = context;
    struct cli_workload workload;
    if (!cli_workload_find(object, &workload))
        return 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = cli_workload_pod(&workload);
    int result = pod == NULL ? -ENOMEM : 0;
    if (result == 0 && command->file_count == 0)
        result = strip(&pod);
    return result < 0 ? result : explain_pod(command, file, &workload, pod);
}

static enum cli_labelled labelled(const struct command *command)
{
    return command->labelled ? CLI_LABELLED_ALL : CLI_LABELLED_AS_IT_IS;
}

static int open_file(struct command *command)
{
    snprintf(command->source, sizeof(command->source), "%s",
             command->config != NULL ? command->config : "the webhook's defaults");
    return cli_scene_open(command->config, &command->scene, &command->err);
}

/* --- manifests -------------------------------------------------------------------------------------------------- */

static int explain_files(struct command *command)
{
    struct cli_manifests manifests = {0};
    if (command->name_space == NULL)
        command->name_space = "default";
    int result = cli_manifests_read(command->files, command->file_count, command->recursive, &manifests, &command->err);
    if (result == 0)
        result = open_file(command);
    if (result == 0)
        result = cli_gather(&manifests, fl_span_str(command->name_space), &command->scene);
    if (result == 0)
        result = cli_gather_file(command->namespaces, fl_span_str(command->name_space), &command->scene, &command->err);
    if (result == 0)
        result = cli_scene_set(&command->scene, labelled(command), &command->err);
    if (result == 0)
        result = cli_manifests_visit(&manifests, explain_object, command);
    cli_manifests_done(&manifests);
    return result;
}

/* --- a cluster -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *kind, *version, *folder; /* in the URL */
    const char *words[4];                /* as people say it */
} kinds[] = {
    {"Deployment", "apps/v1", "apis/apps/v1", {"deployments", "deployment", "deploy"}},
    {"StatefulSet", "apps/v1", "apis/apps/v1", {"statefulsets", "statefulset", "sts"}},
    {"DaemonSet", "apps/v1", "apis/apps/v1", {"daemonsets", "daemonset", "ds"}},
    {"ReplicaSet", "apps/v1", "apis/apps/v1", {"replicasets", "replicaset", "rs"}},
    {"CronJob", "batch/v1", "apis/batch/v1", {"cronjobs", "cronjob", "cj"}},
    {"Job", "batch/v1", "apis/batch/v1", {"jobs", "job"}},
    {"ReplicationController", "v1", "api/v1", {"replicationcontrollers", "replicationcontroller", "rc"}},
    {"Pod", "v1", "api/v1", {"pods", "pod", "po"}},
};

static int name_kind(struct fl_json *object, size_t kind)
{
    int result = fl_json_set(object, "kind", fl_json_new_string(fl_span_str(kinds[kind].kind)));
    return result < 0 ? result
                      : fl_json_set(object, "apiVersion", fl_json_new_string(fl_span_str(kinds[kind].version)));
}

static size_t find_kind(struct fl_span word)
{
    char lower[32];
    if (word.len >= sizeof(lower))
        return FL_COUNT(kinds);
    for (size_t i = 0; i < word.len; i++)
        lower[i] = (char)tolower((unsigned char)word.data[i]);
    for (size_t i = 0; i < FL_COUNT(kinds); i++)
        for (size_t j = 0; j < FL_COUNT(kinds[i].words) && kinds[i].words[j] != NULL; j++)
            if (fl_span_eq_str(fl_span_make(lower, word.len), kinds[i].words[j]))
                return i;
    return FL_COUNT(kinds);
}

static int get(struct command *command, size_t kind, struct fl_span name, struct fl_json **ret_json)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "/%s/namespaces/%s/%s%s%.*s", kinds[kind].folder, command->name_space,
             kinds[kind].words[0], name.len > 0 ? "/" : "", FL_SPAN_ARG(name));
    return cli_cluster_get(&command->cluster, path, ret_json, &command->err);
}

static int explain_named(struct command *command, const char *text)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    struct fl_span name = fl_span_str(text), word = FL_SPAN("pod");
    if (fl_span_find(name, '/') < name.len)
        fl_span_split(&name, '/', &word);
    size_t kind = find_kind(word);
    if (kind == FL_COUNT(kinds))
        return fl_err_set(&command->err, -EINVAL, "%s: a kind of which nothing is known; expected pod, deployment, …",
                          text);
    if (!fl_is_dns_subdomain(name))
        return fl_err_set(&command->err, -EINVAL, "%s: not the name of an object", text);
    int result = get(command, kind, name, &object);
    if (result == 0)
        result = name_kind(object, kind);
    return result < 0 ? result : explain_object(command, "", object);
}

/* What somebody else's object makes is explained there. */
static bool has_controller(const struct fl_json *object)
{
    const struct fl_json *owners = fl_json_get(fl_json_get(object, "metadata"), "ownerReferences");
    for (const struct fl_json *owner = fl_json_first(owners); owner != NULL; owner = fl_json_next(owner))
        if (fl_json_bool(fl_json_get(owner, "controller")))
            return true;
    return false;
}

static int explain_all(struct command *command)
{
    int result = 0;
    for (size_t kind = 0; kind < FL_COUNT(kinds) && result == 0; kind++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *list = NULL;
        result = get(command, kind, (struct fl_span){0}, &list);
        for (struct fl_json *item = fl_json_first(fl_json_get(list, "items")); item != NULL && result == 0;
             item = fl_json_next(item)) {
            if (has_controller(item))
                continue;
            result = name_kind(item, kind);
            if (result == 0)
                result = explain_object(command, "", item);
        }
    }
    return result;
}

/* The configuration that the webhook runs on; the defaults, told so, where there is none to be seen. */
static int open_scene(struct command *command)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *map = NULL;
    char path[PATH_ROOM];
    bool other = strcmp(command->revision, "default") != 0;
    if (command->config != NULL)
        return open_file(command);
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/configmaps/fairlead-webhook%s%s", command->mesh,
             other ? "-" : "", other ? command->revision : "");
    int result = cli_cluster_get(&command->cluster, path, &map, &command->err);
    if (result == -ENOENT || result == -EACCES) {
        fprintf(stderr, "fairlead explain: the webhook's configuration cannot be read, its defaults are assumed: %s\n",
                command->err.text);
        command->err = (struct fl_err){0};
        return open_file(command);
    }
    struct fl_span text = fl_json_string(fl_json_get(fl_json_get(map, "data"), "config.yaml"));
    snprintf(command->source, sizeof(command->source), "ConfigMap %s/fairlead-webhook%s%s", command->mesh,
             other ? "-" : "", other ? command->revision : "");
    return result < 0 ? result
                      : cli_scene_open_text(text, "config.yaml of the cluster", &command->scene, &command->err);
}

static int add_cluster_namespace(struct command *command)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s", command->name_space);
    int result = cli_cluster_get(&command->cluster, path, &object, &command->err);
    return result < 0 ? result : cli_scene_add(&command->scene, object);
}

static int explain_cluster(struct command *command)
{
    int result = cli_cluster_open(command->kubeconfig, command->context, &command->cluster, &command->err);
    if (result < 0)
        return result;
    if (command->name_space == NULL)
        command->name_space = cli_cluster_namespace(&command->cluster);
    result = open_scene(command);
    if (result == 0)
        result = add_cluster_namespace(command);
    if (result == 0)
        result = cli_scene_set(&command->scene, labelled(command), &command->err);
    if (result == 0 && command->name_count == 0)
        result = explain_all(command);
    for (size_t i = 0; i < command->name_count && result == 0; i++)
        result = explain_named(command, command->names[i]);
    return result;
}

/* --- output, arguments ------------------------------------------------------------------------------------------ */

static int print(const struct command *command, struct fl_buf *out)
{
    int result = 0;
    if (command->json) {
        result = fl_buf_append_str(out, "{\"revision\":");
        if (result == 0)
            result = fl_buf_append_json_string(out, command->scene.config->revision);
        if (result == 0)
            result = fl_buf_append_str(out, ",\"configuration\":");
        if (result == 0)
            result = fl_buf_append_json_string(out, fl_span_str(command->source));
        if (result == 0)
            result = fl_buf_append_str(out, ",\"items\":");
        if (result == 0)
            result = fl_json_print(command->trees, out);
        return result < 0 ? result : fl_buf_append_str(out, "}\n");
    }
    result = fl_buf_printf(out, "revision %.*s, configuration: %s\n\n", FL_SPAN_ARG(command->scene.config->revision),
                           command->source);
    if (result == 0 && command->file_count == 0 && command->name_count == 0)
        return cli_explanation_print_all(command->trees, out);
    for (const struct fl_json *tree = fl_json_first(command->trees); tree != NULL && result == 0;
         tree = fl_json_next(tree)) {
        if (tree != fl_json_first(command->trees))
            result = fl_buf_append_byte(out, '\n');
        if (result == 0)
            result = cli_explanation_print(tree, out);
    }
    return result;
}

static int run(struct command *command)
{
    struct fl_buf out;
    fl_buf_init(&out, OUTPUT_MAX);
    command->trees = fl_json_new_array();
    int result = command->reasons          ? 0
                 : command->trees == NULL  ? -ENOMEM
                 : command->file_count > 0 ? explain_files(command)
                                           : explain_cluster(command);
    if (result == 0)
        result = command->reasons ? cli_reasons_print(command->json, &out) : print(command, &out);
    if (result == 0 && (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        result = fl_err_set(&command->err, -EIO, "the output could not be written");
    if (result < 0 && command->err.text[0] == '\0')
        (void)fl_err_errno(&command->err, result, "explain");
    fl_buf_done(&out);
    cli_scene_close(&command->scene);
    cli_cluster_close(&command->cluster);
    fl_json_free(command->trees);
    if (result < 0)
        return cli_failed(NAME, command->err.text);
    return command->refused > 0 ? CLI_FAILED : CLI_OK;
}

static int take_file(struct command *command)
{
    if (command->file_count == FILES_MAX)
        return cli_wrong(NAME, "at most %d times -f", FILES_MAX);
    command->files[command->file_count++] = optarg;
    return -1;
}

static int take_output(struct command *command)
{
    command->json = strcmp(optarg, "json") == 0;
    return command->json || strcmp(optarg, "text") == 0
               ? -1
               : cli_wrong(NAME, "expected -o text or -o json, got \"%s\"", optarg);
}

/* A name that goes into a URL as it is. */
static int take_name(const char **field, const char *what)
{
    *field = optarg;
    return fl_is_dns_label(fl_span_str(optarg)) ? -1 : cli_wrong(NAME, "%s: \"%s\" is not a name", what, optarg);
}

/* -1: go on; else the exit status. */
static int read_option(int option, struct command *command)
{
    switch (option) {
    case 'f':
        return take_file(command);
    case 's':
        command->namespaces = optarg;
        return -1;
    case 'l':
        command->labelled = true;
        return -1;
    case 'q':
        command->reasons = true;
        return -1;
    case 'c':
        command->config = optarg;
        return -1;
    case 'n':
        return take_name(&command->name_space, "--namespace");
    case 'm':
        return take_name(&command->mesh, "--mesh-namespace");
    case 'r':
        return take_name(&command->revision, "--revision");
    case 'R':
        command->recursive = true;
        return -1;
    case 'o':
        return take_output(command);
    case 'k':
        command->kubeconfig = optarg;
        return -1;
    case 'x':
        command->context = optarg;
        return -1;
    case 'h':
        return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
    default:
        return CLI_USAGE;
    }
}

int cli_explain(int argc, char **argv)
{
    static const struct option options[] = {
        {"filename", required_argument, NULL, 'f'},
        {"namespaces", required_argument, NULL, 's'},
        {"as-if-labelled", no_argument, NULL, 'l'},
        {"reasons", no_argument, NULL, 'q'},
        {"config", required_argument, NULL, 'c'},
        {"namespace", required_argument, NULL, 'n'},
        {"mesh-namespace", required_argument, NULL, 'm'},
        {"revision", required_argument, NULL, 'r'},
        {"recursive", no_argument, NULL, 'R'},
        {"output", required_argument, NULL, 'o'},
        {"kubeconfig", required_argument, NULL, 'k'},
        {"context", required_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct command command = {.mesh = "fairlead-system", .revision = "default"};
    int option;
    while ((option = getopt_long(argc, argv, "f:c:n:m:r:Ro:h", options, NULL)) != -1) {
        int status = read_option(option, &command);
        if (status >= 0)
            return status;
    }
    command.names = argv + optind;
    command.name_count = (size_t)(argc - optind);
    if (command.file_count > 0 && command.name_count > 0)
        return cli_wrong(NAME, "expected -f or names of the cluster's objects, not both");
    if (command.file_count == 0 && command.namespaces != NULL)
        return cli_wrong(NAME, "--namespaces goes with -f");
    return run(&command);
}
