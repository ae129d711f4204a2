#include "cli/reach.h"

#include "cli/fetch.h"

#include "common/base/cleanup.h"
#include "common/kube/object.h"
#include "common/mesh/port.h"

#include <errno.h>
#include <stdio.h>

#define PATH_ROOM 1024

int cli_reach_text(const struct cli_access *access, struct fl_span name_space, struct fl_span pod, uint16_t port,
                   const char *path, struct fl_buf *ret_text, struct fl_err *err)
{
    struct cli_forward forward = {0};
    int result = cli_forward_open(access, name_space, pod, &port, 1, &forward, err);
    if (result < 0)
        return result;
    result = cli_fetch_text(forward.base[0], path, ret_text, err);
    if (result < 0)
        fl_err_prefix(err, "pod %.*s/%.*s, port %u", FL_SPAN_ARG(name_space), FL_SPAN_ARG(pod), port);
    cli_forward_close(&forward);
    return result;
}

int cli_reach_json(const struct cli_access *access, struct fl_span name_space, struct fl_span pod, uint16_t port,
                   const char *path, struct fl_json **ret_json, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = CLI_FETCH_BYTES, .values_max = CLI_FETCH_BYTES / 4, .nul_replaced = true};
    struct fl_buf text;
    fl_buf_init(&text, CLI_FETCH_BYTES);
    int result = cli_reach_text(access, name_space, pod, port, path, &text, err);
    if (result == 0 && (result = fl_json_parse(fl_buf_span(&text), &limits, ret_json, err)) < 0)
        fl_err_prefix(err, "pod %.*s/%.*s, %s", FL_SPAN_ARG(name_space), FL_SPAN_ARG(pod), path);
    fl_buf_done(&text);
    return result;
}

/* The length of "deployment/" and the like, of which kubectl port-forward chooses a pod; 0: there is none. */
static size_t workload_lead(struct fl_span text)
{
    static const char *const kinds[] = {"deployment/", "deploy/", "statefulset/", "sts/", "daemonset/", "replicaset/"};
    for (size_t i = 0; i < FL_COUNT(kinds); i++)
        if (fl_span_starts_with(text, fl_span_str(kinds[i])))
            return strlen(kinds[i]);
    return 0;
}

bool cli_reach_read(const char *text, const char *name_space, struct fl_span *ret_space, struct fl_span *ret_pod)
{
    struct fl_span rest = fl_span_str(text), first;
    size_t lead = workload_lead(rest);
    if (lead > 0) {
        struct fl_span name = fl_span_from(rest, lead);
        size_t end = fl_span_find(name, '.');
        *ret_space = end < name.len ? fl_span_from(name, end + 1) : fl_span_str(name_space);
        *ret_pod = fl_span_make(rest.data, lead + end);
        return fl_is_dns_label(*ret_space) && fl_is_dns_label(fl_span_make(name.data, end));
    }
    if (strncmp(text, "pod/", 4) == 0)
        rest = fl_span_from(rest, 4);
    *ret_space = fl_span_str(name_space);
    *ret_pod = rest;
    if (fl_span_find(rest, '/') < rest.len && fl_span_split(&rest, '/', &first)) {
        *ret_space = first;
        *ret_pod = rest;
    } else if (fl_span_find(rest, '.') < rest.len && fl_span_split(&rest, '.', &first)) {
        *ret_pod = first;
        *ret_space = rest;
    }
    return fl_is_dns_label(*ret_space) && fl_is_dns_subdomain(*ret_pod);
}

/* --- the control plane ------------------------------------------------------------------------------------------ */

static bool is_running(const struct fl_json *pod)
{
    return fl_span_eq_str(fl_json_string(fl_json_get(fl_json_get(pod, "status"), "phase")), "Running") &&
           fl_json_get(fl_json_get(pod, "metadata"), "deletionTimestamp") == NULL;
}

static int list_controls(struct cli_cluster *cluster, const char *mesh, struct fl_json **ret_pods, struct fl_err *err)
{
    struct fl_buf path;
    fl_buf_init(&path, PATH_ROOM);
    int result = fl_buf_append_str(&path, "/api/v1/namespaces/");
    if (result == 0)
        result = fl_kube_escape(&path, fl_span_str(mesh));
    if (result == 0)
        result = fl_buf_append_str(&path, "/pods?labelSelector=app.kubernetes.io%2Fname%3Dfairlead%2C"
                                          "app.kubernetes.io%2Fcomponent%3Dcontrol");
    const char *text = result == 0 ? fl_buf_str(&path) : NULL;
    result = text != NULL ? cli_cluster_get(cluster, text, ret_pods, err) : fl_err_errno(err, -ENOMEM, "the path");
    fl_buf_done(&path);
    return result;
}

/* Pods of earlier charts have no such label. */
static bool is_of_revision(const struct fl_json *pod, const char *revision)
{
    struct fl_span label =
        fl_json_string(fl_json_get(fl_json_get(fl_json_get(pod, "metadata"), "labels"), "fairlead.io/revision"));
    return label.len == 0 || fl_span_eq_str(label, revision);
}

int cli_reach_controls(struct cli_cluster *cluster, const struct cli_access *access, const char *mesh,
                       const char *revision, const char *path, struct cli_control_pages *ret_pages, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pods = NULL;
    *ret_pages = (struct cli_control_pages){0};
    int result = list_controls(cluster, mesh, &pods, err);
    if (result < 0)
        return result;
    for (const struct fl_json *pod = fl_json_first(fl_json_get(pods, "items"));
         pod != NULL && ret_pages->count < CLI_CONTROLS_MAX; pod = fl_json_next(pod)) {
        struct fl_span name = fl_json_string(fl_json_get(fl_json_get(pod, "metadata"), "name"));
        if (!is_running(pod) || !is_of_revision(pod, revision))
            continue;
        struct cli_control_page *page = &ret_pages->items[ret_pages->count++];
        (void)snprintf(page->pod, sizeof(page->pod), "%.*s", FL_SPAN_ARG(name));
        if (cli_reach_json(access, fl_span_str(mesh), name, FL_PORT_CONTROL, path, &page->page, &page->err) < 0)
            page->page = NULL;
    }
    return 0;
}

void cli_control_pages_done(struct cli_control_pages *pages)
{
    for (size_t i = 0; i < pages->count; i++)
        pages->items[i].page = fl_json_free(pages->items[i].page);
}

static bool is_known(const struct fl_json *proxies, struct fl_span id)
{
    for (const struct fl_json *one = fl_json_first(proxies); one != NULL; one = fl_json_next(one))
        if (fl_span_eq(fl_json_string(fl_json_get(one, "id")), id))
            return true;
    return false;
}

struct fl_json *cli_control_pages_proxies(struct cli_control_pages *pages)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *all = fl_json_new_object();
    if (all == NULL || fl_json_set(all, "proxies", fl_json_new_array()) < 0)
        return NULL;
    struct fl_json *proxies = fl_json_get(all, "proxies");
    for (size_t i = 0; i < pages->count; i++) {
        const struct fl_json *one = fl_json_first(fl_json_get(pages->items[i].page, "proxies"));
        for (; one != NULL; one = fl_json_next(one))
            if (!is_known(proxies, fl_json_string(fl_json_get(one, "id"))) &&
                fl_json_append(proxies, fl_json_copy(one)) < 0)
                return NULL;
    }
    return fl_take(all);
}
