/* fairlead check: is the mesh as it should be, and what mends it where it is not. Nothing is changed anywhere. */
#include "cli/check/checks.h"
#include "cli/check/live.h"
#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/option.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>

#define NAME "check"

struct settings {
    struct cli_access access;
    const char *mesh, *revision;
    bool pre, json;
    struct cli_world world;
    struct cli_cluster cluster;
    struct cli_report report;
};

static const struct cli_option options[] = {
    {.name = "pre",
     .kind = CLI_OPTION_FLAG,
     .offset = offsetof(struct settings, pre),
     .help = "before installing: the cluster, and whether you may"},
    CLI_ACCESS_OPTIONS(struct settings, "look at pods of this namespace alone; default: all"),
    CLI_MESH_OPTIONS(struct settings),
    CLI_KUBECTL_OPTION(struct settings),
    CLI_FORM_OPTION(struct settings, json),
};

const struct cli_command cli_check_command = {
    .name = NAME,
    .summary = "is the mesh as it should be, and what mends it where it is not",
    .usage = "[-n NAMESPACE] [option …]\n-n NAMESPACE POD [option …]\n--pre [option …]",
    .about =
        "Numbered checks of the cluster and of the installation, each with a hint where something is not right. What\n"
        "cannot be looked at is skipped, with the reason. Changes nothing, reads no Secret.\n",
    .tail = "Exit status: 0 nothing failed (there may be warnings), 1 a check failed, 2 wrong usage.\n",
    .options = options,
    .option_count = FL_COUNT(options),
    .run = cli_check,
};

/* --- rights ----------------------------------------------------------------------------------------------------- */

static int print_review(const struct settings *settings, const struct cli_right *right, struct fl_buf *out)
{
    int result =
        fl_buf_printf(out,
                      "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SelfSubjectAccessReview\",\"spec\":{"
                      "\"resourceAttributes\":{\"group\":\"%s\",\"resource\":\"%s\",\"verb\":\"%s\"",
                      right->group, right->resource, right->verb);
    if (result == 0 && right->mesh) {
        result = fl_buf_append_str(out, ",\"namespace\":");
        if (result == 0)
            result = fl_buf_append_json_string(out, fl_span_str(settings->mesh));
    }
    return result < 0 ? result : fl_buf_append_str(out, "}}}");
}

/* False: it could not be asked, and that is said. */
static bool check_right(struct settings *settings, const struct cli_right *right)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *answer = NULL;
    struct fl_err err = {0};
    struct fl_buf body;
    fl_buf_init(&body, FL_ERR_TEXT_MAX * 4);
    int result = print_review(settings, right, &body);
    if (result == 0)
        result = cli_cluster_post(&settings->cluster, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                  fl_buf_span(&body), &answer, &err);
    fl_buf_done(&body);
    if (result < 0)
        cli_report_find(&settings->report, CLI_CHECK_SKIPPED, NULL, "rights cannot be asked for: %s", err.text);
    else if (!fl_json_bool(fl_json_get(fl_json_get(answer, "status"), "allowed")))
        cli_report_find(
            &settings->report, CLI_CHECK_FAILED,
            "install as somebody who may (cluster-admin may all); docs/admission.md lists what the charts make",
            "you may not %s %s%s%s%s%s", right->verb, right->resource, right->group[0] != '\0' ? "." : "", right->group,
            right->mesh ? " in namespace " : "", right->mesh ? settings->mesh : "");
    return result == 0;
}

static void check_rights(struct settings *settings)
{
    cli_report_begin(&settings->report, CLI_CHECK_RIGHTS);
    for (size_t i = 0; i < cli_right_count && check_right(settings, &cli_rights[i]); i++)
        ;
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

/* In the order of their numbers. */
static void check_installed(struct settings *settings)
{
    struct cli_world *world = &settings->world;
    struct fl_err err = {0};
    bool alone = cli_check_is_onboarding_alone(world);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *proxies = alone ? NULL : cli_check_ask_proxies(world, &settings->cluster, &settings->access, &err);
    cli_check_installation(world, FL_VERSION, &settings->report);
    cli_check_trust(world, &settings->report);
    cli_check_webhook_certificate(world, &settings->access, &settings->report);
    if (!alone)
        cli_check_certificates(world, proxies, &err, &settings->report);
    cli_check_clocks(world, &settings->report);
    cli_check_pods(world, &settings->report);
    if (!alone)
        cli_check_connected(world, proxies, &err, &settings->report);
    cli_check_network(world, &settings->report);
}

static void check_all(struct settings *settings)
{
    struct cli_world *world = &settings->world;
    cli_world_read(world, &settings->cluster, CLI_DOCUMENT_VERSION, CLI_DOCUMENT_VERSION);
    if (!cli_check_cluster(world, &settings->report))
        return;
    if (settings->pre)
        cli_world_read(world, &settings->cluster, CLI_DOCUMENT_CRDS, CLI_DOCUMENT_CRDS);
    else
        cli_world_read(world, &settings->cluster, CLI_DOCUMENT_VERSION + 1, CLI_DOCUMENT_COUNT - 1);
    if (settings->pre)
        check_rights(settings);
    cli_check_gateway_api(world, &settings->report);
    if (settings->pre)
        return;
    check_installed(settings);
}

static int print(struct settings *settings)
{
    struct fl_buf out;
    fl_buf_init(&out, CLI_REPORT_BYTES);
    cli_report_end(&settings->report);
    int result = cli_report_print(&settings->report, settings->json, &out);
    bool written = result == 0 && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    fl_buf_done(&out);
    if (result < 0)
        return cli_failed(NAME, "out of memory");
    if (!written)
        return cli_failed(NAME, "the output could not be written");
    return settings->report.counts[CLI_CHECK_FAILED] == 0 ? CLI_OK : CLI_FAILED;
}

static int run(struct settings *settings)
{
    struct fl_err err = {0};
    if (cli_cluster_open_for(&settings->access, &settings->cluster, &err) < 0)
        return cli_failed(NAME, err.text);
    int status = CLI_FAILED;
    if (cli_report_init(&settings->report) == 0) {
        check_all(settings);
        status = print(settings);
    }
    cli_report_done(&settings->report);
    cli_world_done(&settings->world);
    cli_cluster_close(&settings->cluster);
    return status;
}

int cli_check(int argc, char **argv)
{
    struct settings settings = {.mesh = CLI_MESH_NAMESPACE, .revision = CLI_REVISION};
    int operand;
    int status = cli_options_read(&cli_check_command, argc, argv, &settings, &operand);
    if (status >= 0)
        return status;
    if (argc - operand > 1)
        return cli_wrong(NAME, "unexpected argument \"%s\": expected one pod at most", argv[operand + 1]);
    if (operand < argc && (settings.pre || settings.access.name_space == NULL))
        return cli_wrong(NAME, "pod \"%s\": expected its namespace, by --namespace, and no --pre", argv[operand]);
    if (operand < argc)
        settings.world.pod = argv[operand];
    if (settings.pre && settings.access.name_space != NULL)
        return cli_wrong(NAME, "--pre looks at the cluster alone: --namespace cannot be given with it");
    settings.world.mesh = settings.mesh;
    settings.world.revision = settings.revision;
    settings.world.name_space = settings.access.name_space;
    return run(&settings);
}
