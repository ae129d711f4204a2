/* fairlead members: the pods of the mesh. `helm uninstall` asks it before it takes anything away. */
#include "cli/members.h"

#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/option.h"

#include "common/base/cleanup.h"
#include "common/mesh/label.h"

#include <errno.h>
#include <stdio.h>

#define NAME             "members"
#define GATEWAY_LABEL    "gateway.networking.k8s.io/gateway-class-name"
#define MEMBERS_PATH_MAX 8192

struct settings {
    struct cli_access access;
    const char *revision;
    bool none;
};

static const struct cli_option options[] = {
    CLI_ACCESS_OPTIONS(struct settings, "of this namespace alone; default: all"),
    {.name = "revision",
     .letter = 'r',
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, revision),
     .argument = "NAME",
     .help = "those of one revision; default: all"},
    {.name = "expect-none",
     .kind = CLI_OPTION_FLAG,
     .offset = offsetof(struct settings, none),
     .help = "fail where there is any, and say what to do"},
};

const struct cli_command cli_members_command = {
    .name = NAME,
    .summary = "the pods that are in the mesh",
    .usage = "[-n NAMESPACE] [option …]",
    .about = "Pods with a sidecar, by what the webhook noted on them, and gateways. Changes nothing.\n",
    .tail = "Exit status: 0, 1 it could not be told, or --expect-none and there are some, 2 wrong usage.\n",
    .options = options,
    .option_count = FL_COUNT(options),
    .run = cli_members,
};

/* --- pure ------------------------------------------------------------------------------------------------------- */

void cli_members_begin(struct cli_table *table)
{
    static const char *const titles[] = {"NAMESPACE", "POD", "REVISION", "WHAT"};
    cli_table_init(table, titles, FL_COUNT(titles));
}

static struct fl_span text_at(const struct fl_json *object, const char *map, const char *key)
{
    return fl_json_string(fl_json_get(fl_json_get(object, map), key));
}

static bool has_ended(const struct fl_json *pod)
{
    struct fl_span phase = text_at(pod, "status", "phase");
    return fl_span_eq_str(phase, "Succeeded") || fl_span_eq_str(phase, "Failed");
}

/* "sidecar", "gateway", or NULL: not in the mesh. *ret_json owns what *ret_revision points to; that is empty where it
 * cannot be told. */
static const char *member(const struct fl_json *pod, struct fl_json **ret_json, struct fl_span *ret_revision)
{
    const struct fl_json *metadata = fl_json_get(pod, "metadata");
    struct fl_span status = text_at(metadata, "annotations", FL_ANNOTATION_STATUS);
    struct fl_span revision = text_at(metadata, "labels", FL_LABEL_REVISION);
    *ret_json = NULL;
    *ret_revision = FL_SPAN("");
    if (status.len > 0) {
        if (fl_json_parse(status, NULL, ret_json, &(struct fl_err){0}) == 0)
            *ret_revision = fl_json_string(fl_json_get(*ret_json, "revision"));
        return "sidecar";
    }
    if (text_at(metadata, "labels", GATEWAY_LABEL).len == 0 ||
        !fl_span_eq_str(
            fl_json_string(fl_json_get(fl_json_first(fl_json_get(fl_json_get(pod, "spec"), "containers")), "name")),
            FL_GATEWAY_NAME))
        return NULL;
    *ret_revision = revision.len > 0 ? revision : FL_SPAN(FL_REVISION_DEFAULT);
    return "gateway";
}

static bool add_pod(struct cli_table *table, const struct fl_json *pod, struct fl_span wanted)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *json = NULL;
    struct fl_span revision;
    const struct fl_json *metadata = fl_json_get(pod, "metadata");
    const char *what = has_ended(pod) ? NULL : member(pod, &json, &revision);
    if (what == NULL || (wanted.len > 0 && revision.len > 0 && !fl_span_eq(wanted, revision)))
        return false;
    cli_table_cell(table, fl_json_string(fl_json_get(metadata, "namespace")));
    cli_table_cell(table, fl_json_string(fl_json_get(metadata, "name")));
    cli_table_cell(table, revision);
    cli_table_cell_str(table, what);
    return true;
}

ptrdiff_t cli_members_add(struct cli_table *table, const struct fl_json *list, struct fl_span revision)
{
    const struct fl_json *items = fl_json_get(list, "items");
    ptrdiff_t count = 0;
    if (!fl_json_is(items, FL_JSON_ARRAY))
        return -EINVAL;
    for (const struct fl_json *pod = fl_json_first(items); pod != NULL; pod = fl_json_next(pod))
        count += add_pod(table, pod, revision);
    return count;
}

/* --- the cluster ------------------------------------------------------------------------------------------------ */

static int print_path(const struct settings *settings, struct fl_span next, struct fl_buf *out)
{
    int result = fl_buf_append_str(out, "/api/v1");
    if (result == 0 && settings->access.name_space != NULL) {
        result = fl_buf_append_str(out, "/namespaces/");
        if (result == 0)
            result = fl_kube_escape(out, fl_span_str(settings->access.name_space));
    }
    if (result == 0)
        result = fl_buf_append_str(out, "/pods?limit=" CLI_MEMBERS_LIMIT);
    if (result == 0 && next.len > 0) {
        result = fl_buf_append_str(out, "&continue=");
        if (result == 0)
            result = fl_kube_escape(out, next);
    }
    return result;
}

/* One page, with where the next begins: in `next`, empty at the end. */
static ptrdiff_t read_page(const struct settings *settings, struct cli_cluster *cluster, struct cli_table *table,
                           struct fl_buf *next, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = NULL;
    struct fl_buf path;
    fl_buf_init(&path, MEMBERS_PATH_MAX);
    int result = print_path(settings, fl_buf_span(next), &path);
    if (result < 0)
        (void)fl_err_errno(err, result, "ask for pods");
    else
        result = cli_cluster_get(cluster, fl_buf_str(&path), &list, err);
    fl_buf_done(&path);
    if (result < 0)
        return result;
    ptrdiff_t count = cli_members_add(table, list, fl_span_str(settings->revision));
    if (count < 0)
        return fl_err_set(err, (int)count, "the API server's answer is no list of pods");
    fl_buf_clear(next);
    result = fl_buf_append(next, text_at(list, "metadata", "continue"));
    return result < 0 ? fl_err_errno(err, result, "the list of pods") : count;
}

static ptrdiff_t read_all(const struct settings *settings, struct cli_cluster *cluster, struct cli_table *table,
                          struct fl_err *err)
{
    ptrdiff_t count = 0, page;
    struct fl_buf next;
    fl_buf_init(&next, MEMBERS_PATH_MAX / 2);
    do {
        page = read_page(settings, cluster, table, &next, err);
        count += page;
    } while (page >= 0 && next.len > 0);
    fl_buf_done(&next);
    return page < 0 ? page : count;
}

static int print(const struct settings *settings, const struct cli_table *table, ptrdiff_t count)
{
    struct fl_buf out;
    fl_buf_init(&out, CLI_TABLE_BYTES * 2);
    int result = count > 0 ? cli_table_print(table, &out) : fl_buf_append_str(&out, "no pod is in the mesh\n");
    bool written = result == 0 && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    fl_buf_done(&out);
    if (!written)
        return cli_failed(NAME, "the output could not be written");
    if (!settings->none || count == 0)
        return CLI_OK;
    fprintf(
        stderr,
        "fairlead members: %td pods are in the mesh. Without it their certificates end within a day, and with them\n"
        "all calls between them. Take the label " FL_LABEL_INJECT " off their namespaces, or set it to \"disabled\",\n"
        "restart what owns them (kubectl rollout restart), delete Gateways of the class, and try again.\n",
        count);
    return CLI_FAILED;
}

int cli_members(int argc, char **argv)
{
    struct settings settings = {.revision = ""};
    struct cli_cluster cluster = {0};
    struct cli_table table;
    struct fl_err err = {0};
    int operand, status = cli_options_read(&cli_members_command, argc, argv, &settings, &operand);
    if (status >= 0)
        return status;
    if (operand < argc)
        return cli_wrong(NAME, "unexpected argument \"%s\"", argv[operand]);
    if (cli_cluster_open_for(&settings.access, &cluster, &err) < 0)
        return cli_failed(NAME, err.text);
    cli_members_begin(&table);
    ptrdiff_t count = read_all(&settings, &cluster, &table, &err);
    status = count < 0 ? cli_failed(NAME, err.text) : print(&settings, &table, count);
    cli_table_done(&table);
    cli_cluster_close(&cluster);
    return status;
}
