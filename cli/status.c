/* fairlead status: the proxies that a control plane knows; of a cluster, of all its replicas. */
#include "cli/command.h"
#include "cli/fetch.h"
#include "cli/option.h"
#include "cli/proxies.h"
#include "cli/reach.h"

#include <errno.h>
#include <stdio.h>

#define NAME  "status"
#define LOCAL "127.0.0.1:15014"

struct settings {
    struct cli_access access;
    const char *control, *filter, *mesh, *revision;
    bool json;
    size_t silent; /* replicas that could not be asked */
};

static const struct cli_option options[] = {
    {.name = "control",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, control),
     .argument = "ADDR",
     .help = "fairlead-control's HTTP port, HOST:PORT or a URL, instead of a cluster"},
    {.name = "name",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, filter),
     .argument = "TEXT",
     .help = "only proxies whose name or namespace holds TEXT"},
    CLI_ACCESS_OPTIONS(struct settings, "only proxies of this namespace"),
    CLI_MESH_OPTIONS(struct settings),
    CLI_KUBECTL_OPTION(struct settings),
    CLI_FORM_OPTION(struct settings, json),
};

const struct cli_command cli_status_command = {
    .name = NAME,
    .summary = "the proxies that a control plane knows: in sync or not, certificate ages",
    .usage = "[option …]",
    .about =
        "The proxies that a control plane knows: whether each has all that it should, what it refused and why, the age "
        "of\n"
        "its certificate. Of a cluster every replica is asked, through kubectl port-forward. Where there is neither\n"
        "--control nor a kubeconfig, " LOCAL " is asked.\n",
    .tail =
        "Exit status: 1 also where a proxy is not in sync, an object has problems, or a replica could not be asked.\n",
    .options = options,
    .option_count = FL_COUNT(options),
    .run = cli_status,
};

/* Whether every proxy has acknowledged all that is for it. */
static bool all_in_sync(const struct fl_json *document)
{
    const struct fl_json *proxy = fl_json_first(fl_json_get(document, "proxies"));
    while (proxy != NULL && fl_json_bool(fl_json_get(proxy, "in_sync")))
        proxy = fl_json_next(proxy);
    return proxy == NULL;
}

/* Objects that the control plane could not take as they are: how many, and the first of them. */
static int print_summary(const struct fl_json *status, int64_t *ret_count, struct fl_buf *out)
{
    const struct fl_json *summary = fl_json_get(status, "summary");
    int64_t warnings = 0;
    *ret_count = 0;
    if (!fl_json_int(fl_json_get(summary, "problems"), 0, INT32_MAX, ret_count) ||
        !fl_json_int(fl_json_get(summary, "warnings"), 0, INT32_MAX, &warnings))
        return 0;
    int result =
        *ret_count == 0 && warnings == 0
            ? 0
            : fl_buf_printf(out,
                            "%lld objects have problems, %lld warnings: fairlead-control's /status or --status "
                            "tells\n",
                            (long long)*ret_count, (long long)warnings);
    for (const struct fl_json *one = fl_json_first(fl_json_get(summary, "first")); one != NULL && result == 0;
         one = fl_json_next(one)) {
        result = fl_buf_append_str(out, "  ");
        for (size_t i = 0; i < fl_json_string(one).len && result == 0; i++) {
            char byte = fl_json_string(one).data[i];
            result = fl_buf_append_byte(out, (unsigned char)byte < ' ' || byte == 0x7f ? '?' : byte);
        }
        if (result == 0)
            result = fl_buf_append_byte(out, '\n');
    }
    return result;
}

/* --- where it comes from ---------------------------------------------------------------------------------------- */

static int keep_space(const struct settings *settings, struct fl_json *document)
{
    struct fl_json *proxies = fl_json_get(document, "proxies");
    int result = 0;
    for (size_t i = fl_json_count(proxies); i > 0 && settings->access.name_space != NULL && result == 0; i--)
        if (!fl_span_eq_str(fl_json_string(fl_json_get(fl_json_at(proxies, i - 1), "namespace")),
                            settings->access.name_space))
            result = fl_json_remove_at(proxies, i - 1);
    return result;
}

static void tell_silent(struct settings *settings, const struct cli_control_pages *pages)
{
    for (size_t i = 0; i < pages->count; i++)
        if (pages->items[i].page == NULL) {
            settings->silent++;
            fprintf(stderr, "fairlead " NAME ": not asked: %s\n", pages->items[i].err.text);
        }
}

static int fetch_replicas(struct settings *settings, struct cli_cluster *cluster, struct fl_json **ret_proxies,
                          struct fl_json **ret_status, struct fl_err *err)
{
    struct cli_control_pages pages;
    int result = cli_reach_controls(cluster, &settings->access, settings->mesh, settings->revision, "/debug/proxies",
                                    &pages, err);
    if (result < 0)
        return result;
    tell_silent(settings, &pages);
    if (pages.count == 0)
        result = fl_err_set(err, -ENOENT,
                            "no replica of the control plane runs in namespace %s, revision %s (--mesh-namespace, "
                            "--revision; fairlead check tells more)",
                            settings->mesh, settings->revision);
    else if (settings->silent == pages.count)
        result = fl_err_set(err, -ECONNREFUSED, "no replica of the control plane could be asked");
    else if ((*ret_proxies = cli_control_pages_proxies(&pages)) == NULL)
        result = fl_err_errno(err, -ENOMEM, "the proxies");
    /* Every replica judges all objects; the first that answers is enough. */
    for (size_t i = 0; i < pages.count && result == 0 && *ret_status == NULL; i++)
        if (pages.items[i].page != NULL)
            result = cli_reach_json(&settings->access, fl_span_str(settings->mesh), fl_span_str(pages.items[i].pod),
                                    15014, "/status", ret_status, err);
    cli_control_pages_done(&pages);
    return result;
}

static int fetch(struct settings *settings, struct fl_json **ret_proxies, struct fl_json **ret_status,
                 struct fl_err *err)
{
    struct cli_cluster cluster = {0};
    int result = settings->control == NULL ? cli_cluster_open_for(&settings->access, &cluster, err) : 0;
    if (result == -ENOENT && settings->access.kubeconfig == NULL && settings->access.context == NULL) {
        *err = (struct fl_err){0};
        settings->control = LOCAL;
    } else if (result < 0) {
        return result;
    }
    if (settings->control == NULL) {
        result = fetch_replicas(settings, &cluster, ret_proxies, ret_status, err);
        cli_cluster_close(&cluster);
        return result;
    }
    result = cli_fetch(settings->control, "/debug/proxies", ret_proxies, err);
    return result < 0 || settings->json ? result : cli_fetch(settings->control, "/status", ret_status, err);
}

static int print(struct settings *settings)
{
    struct fl_err err = {0};
    struct fl_buf out;
    int64_t problems = 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *json = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    fl_buf_init(&out, CLI_FETCH_BYTES);
    int result = fetch(settings, &json, &status, &err);
    if (result == 0 && (result = keep_space(settings, json)) == 0) {
        result = settings->json ? fl_json_print(json, &out)
                                : cli_proxies_print(json, time(NULL), fl_span_str(settings->filter), &out);
        if (result == 0)
            result = settings->json ? fl_buf_append_byte(&out, '\n') : print_summary(status, &problems, &out);
        if (result < 0)
            (void)fl_err_errno(&err, result, "the control plane's answer");
    }
    if (result == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        result = fl_err_set(&err, -EIO, "the output could not be written");
    fl_buf_done(&out);
    if (result < 0)
        return cli_failed(NAME, err.text);
    return all_in_sync(json) && problems == 0 && settings->silent == 0 ? CLI_OK : CLI_FAILED;
}

int cli_status(int argc, char **argv)
{
    struct settings settings = {.mesh = CLI_MESH_NAMESPACE, .revision = CLI_REVISION};
    int operand;
    int status = cli_options_read(&cli_status_command, argc, argv, &settings, &operand);
    if (status >= 0)
        return status;
    if (operand < argc)
        return cli_wrong(NAME, "unexpected argument \"%s\"", argv[operand]);
    return print(&settings);
}
