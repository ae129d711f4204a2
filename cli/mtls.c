/* fairlead mtls ready: who still calls the pods of a namespace in plaintext, so that it can be switched to STRICT. */
#include "cli/command.h"
#include "cli/fetch.h"
#include "cli/mirror.h"
#include "cli/option.h"
#include "cli/plaintext.h"
#include "cli/reach.h"

#include "common/kube/object.h"
#include "common/loop/timer.h"
#include "common/mesh/port.h"
#include "control/model/workload.h"

#include <errno.h>
#include <stdio.h>

#define NAME       "mtls"
#define OUTPUT_MAX (64u << 20)
#define NOT_READY  3 /* exit status */

struct settings {
    struct cli_access access;
    unsigned over_ms;
    bool json;
    const char *name_space, *mesh;
    struct cli_cluster cluster;
    struct cli_mirror mirror;
    struct fl_timer timer;
};

static const struct cli_option options[] = {
    {.name = "over",
     .kind = CLI_OPTION_TIME,
     .offset = offsetof(struct settings, over_ms),
     .argument = "TIME",
     .help = "count what comes within this time; default: since each sidecar started"},
    CLI_ACCESS_OPTIONS(struct settings, "the namespace, instead of the operand"),
    CLI_MESH_OPTION(struct settings),
    CLI_KUBECTL_OPTION(struct settings),
    CLI_FORM_OPTION(struct settings, json),
};

const struct cli_command cli_mtls_command = {
    .name = NAME,
    .summary = "mtls ready: who still calls a namespace's pods in plaintext",
    .usage = "ready NAMESPACE [option …]",
    .about = "Asks the sidecar of each meshed pod in the namespace how it was called: by mTLS or in plaintext, and by "
             "whom. Where\n"
             "nobody calls in plaintext, a PeerAuthentication with mode STRICT refuses nobody. Callers outside the "
             "mesh have no\n"
             "name there. Sidecars are asked one after the other, through kubectl port-forward.\n",
    .tail = "Exit status: 0 ready, 3 somebody calls in plaintext, 1 it could not be told (also: a pod could not be "
            "asked).\n",
    .options = options,
    .option_count = FL_COUNT(options),
    .words = "ready",
    .offer = CLI_OFFER_NAMESPACES,
    .run = cli_mtls,
};

static int read_model(struct settings *settings, struct fl_err *err)
{
    int result = cli_mirror_list(&settings->mirror, CONTROL_POD, settings->name_space, err);
    if (result == 0)
        result = cli_mirror_list(&settings->mirror, CONTROL_PEER_AUTHENTICATION, settings->name_space, err);
    if (result == 0 && strcmp(settings->name_space, settings->mesh) != 0)
        result = cli_mirror_list(&settings->mirror, CONTROL_PEER_AUTHENTICATION, settings->mesh, err);
    return result < 0 ? result : cli_mirror_commit(&settings->mirror, err);
}

static int ask_pod(struct settings *settings, const struct control_pod *pod, const struct fl_json *before,
                   struct fl_json *into)
{
    struct fl_err err = {0};
    struct fl_buf scrape;
    fl_buf_init(&scrape, CLI_FETCH_BYTES);
    int result = cli_reach_text(&settings->access, pod->object.metadata.name_space, pod->object.metadata.name,
                                FL_PORT_STATS, "/stats/prometheus", &scrape, &err);
    if (result < 0)
        result = fl_json_set(into, "error", fl_json_new_string(fl_span_str(err.text)));
    else
        result = cli_plaintext_read(fl_buf_span(&scrape), before, into);
    fl_buf_done(&scrape);
    return result;
}

static const struct fl_json *find_pod(const struct fl_json *pods, struct fl_span name)
{
    const struct fl_json *one = fl_json_first(pods);
    while (one != NULL && !fl_span_eq(fl_json_string(fl_json_get(one, "pod")), name))
        one = fl_json_next(one);
    return one;
}

/* One object a meshed pod. `before` NULL: none. */
static int ask_pods(struct settings *settings, const struct fl_json *before, struct fl_json *pods)
{
    const struct control_model *model = control_store_model(settings->mirror.store);
    struct control_objects all = control_model_in(model, CONTROL_POD, fl_span_str(settings->name_space));
    int result = 0;
    for (size_t i = 0; i < all.count && result == 0; i++) {
        const struct control_pod *pod = control_as_pod(all.items[i]);
        struct control_workload workload;
        control_workload_of_pod(pod, &workload);
        if (!workload.meshed || pod->ended)
            continue;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *one = fl_json_new_object();
        result = one == NULL ? -ENOMEM : fl_json_set(one, "pod", fl_json_new_string(pod->object.metadata.name));
        if (result == 0)
            result = fl_json_set(
                one, "mtls",
                fl_json_new_string(fl_span_str(control_mtls_name(control_workload_mtls(model, &workload, 0)))));
        if (result == 0)
            result = ask_pod(settings, pod, find_pod(before, pod->object.metadata.name), one);
        if (result == 0)
            result = fl_json_append(pods, fl_take(one));
    }
    return result;
}

static void on_time(struct fl_timer *timer)
{
    struct settings *settings = FL_CONTAINER_OF(timer, struct settings, timer);
    fl_loop_stop(settings->cluster.loop, 0);
}

/* What is counted within a time needs to be looked at twice. */
static int ask(struct settings *settings, struct fl_json *pods)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *before = NULL;
    if (settings->over_ms > 0) {
        int result = (before = fl_json_new_array()) == NULL ? -ENOMEM : ask_pods(settings, NULL, before);
        if (result < 0)
            return result;
        fl_timer_set(settings->cluster.loop, &settings->timer, settings->over_ms, on_time);
        result = fl_loop_run(settings->cluster.loop);
        if (result < 0)
            return result;
    }
    return ask_pods(settings, before, pods);
}

static int make_answer(struct settings *settings, struct fl_json **ret_answer, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *answer = fl_json_new_object();
    int result = answer == NULL
                     ? -ENOMEM
                     : fl_json_set(answer, "namespace", fl_json_new_string(fl_span_str(settings->name_space)));
    if (result == 0)
        result = fl_json_set(answer, "pods", fl_json_new_array());
    if (result == 0)
        result = ask(settings, fl_json_get(answer, "pods"));
    if (result == 0)
        result = fl_json_set(answer, "ready", fl_json_new_bool(cli_plaintext_is_ready(fl_json_get(answer, "pods"))));
    if (result < 0)
        return fl_err_errno(err, result, "the answer");
    *ret_answer = fl_take(answer);
    return 0;
}

/* Exit status: ready, not ready, or not known. */
static int status_of(const struct fl_json *answer)
{
    int status = CLI_OK;
    for (const struct fl_json *pod = fl_json_first(fl_json_get(answer, "pods")); pod != NULL; pod = fl_json_next(pod)) {
        int64_t plaintext = 0;
        if (fl_json_int(fl_json_get(pod, "plaintext"), 1, INT64_C(1) << 53, &plaintext))
            return NOT_READY;
        if (fl_json_get(pod, "error") != NULL)
            status = CLI_FAILED;
    }
    return status;
}

static int print(const struct settings *settings, const struct fl_json *answer, struct fl_err *err)
{
    struct fl_buf out;
    fl_buf_init(&out, OUTPUT_MAX);
    int result = settings->json ? fl_json_print(answer, &out) : cli_plaintext_print(answer, &out);
    if (result == 0 && settings->json)
        result = fl_buf_append_byte(&out, '\n');
    if (result < 0)
        (void)fl_err_errno(err, result, "the answer");
    else if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        result = fl_err_set(err, -EIO, "the output could not be written");
    for (const struct fl_json *pod = fl_json_first(fl_json_get(answer, "pods")); pod != NULL; pod = fl_json_next(pod)) {
        struct fl_span error = fl_json_string(fl_json_get(pod, "error"));
        if (error.len > 0)
            fprintf(stderr, "fairlead " NAME ": not asked: %.*s\n", FL_SPAN_ARG(error));
    }
    fl_buf_done(&out);
    return result;
}

static int run(struct settings *settings)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *answer = NULL;
    struct fl_err err = {0};
    int result = cli_cluster_open_for(&settings->access, &settings->cluster, &err);
    if (result < 0)
        return cli_failed(NAME, err.text);
    result = cli_mirror_open(NAME, &settings->cluster, settings->mesh, &settings->mirror, &err);
    if (result == 0)
        result = read_model(settings, &err);
    if (result == 0)
        result = make_answer(settings, &answer, &err);
    if (result == 0)
        result = print(settings, answer, &err);
    cli_mirror_close(&settings->mirror);
    cli_cluster_close(&settings->cluster);
    return result < 0 ? cli_failed(NAME, err.text) : status_of(answer);
}

int cli_mtls(int argc, char **argv)
{
    struct settings settings = {.mesh = CLI_MESH_NAMESPACE};
    int operand;
    int status = cli_options_read(&cli_mtls_command, argc, argv, &settings, &operand);
    if (status >= 0)
        return status;
    if (operand == argc || strcmp(argv[operand], "ready") != 0)
        return cli_wrong(NAME, "expected \"ready\"");
    settings.name_space = operand + 1 < argc ? argv[operand + 1] : settings.access.name_space;
    if (settings.name_space == NULL || argc - operand > 2 || (operand + 1 < argc && settings.access.name_space != NULL))
        return cli_wrong(NAME, "expected ready NAMESPACE");
    if (!fl_is_dns_label(fl_span_str(settings.name_space)))
        return cli_wrong(NAME, "\"%s\" is not the name of a namespace", settings.name_space);
    return run(&settings);
}
