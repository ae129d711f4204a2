#include "common/kube/kubeconfig.h"

#include "common/kube/entry.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define NAMESPACE_MAX   253

/* ---- Cluster, user, context ---- */

static int read_proxy(const struct fl_kube_files *files, const struct fl_kube_entry *entry,
                      struct fl_kube_access *access)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://"};
    int result = fl_kube_entry_copy(files, entry, "proxy-url", &access->proxy);
    if (result < 0 || access->proxy == NULL)
        return result;
    for (size_t i = 0; i < FL_COUNT(schemes); i++) {
        if (fl_span_starts_with(fl_span_str(access->proxy), fl_span_str(schemes[i])))
            return 0;
    }
    return fl_kube_refuse(files, entry, fl_json_get(entry->value, "proxy-url"),
                          "proxy-url: expected http://, https:// or socks5:// and an address");
}

static int read_cluster(const struct fl_kube_files *files, const struct fl_kube_entry *entry,
                        struct fl_kube_access *access)
{
    const struct fl_json *insecure = fl_json_get(entry->value, "insecure-skip-tls-verify");
    if (fl_kube_is_set(insecure) && !fl_json_is(insecure, FL_JSON_BOOL))
        return fl_kube_refuse(files, entry, insecure, "insecure-skip-tls-verify: expected true or false");
    access->insecure = fl_json_bool(insecure);
    int result = fl_kube_entry_copy(files, entry, "server", &access->server);
    if (result == 0)
        result = fl_kube_entry_copy(files, entry, "tls-server-name", &access->tls_server_name);
    if (result == 0)
        result = read_proxy(files, entry, access);
    if (result == 0)
        result =
            fl_kube_entry_material(files, entry, "certificate-authority-data", "certificate-authority", &access->ca);
    if (result < 0)
        return result;
    if (access->server == NULL)
        return fl_kube_refuse(files, entry, entry->value, "server is missing");
    if (access->insecure && (access->ca.file != NULL || access->ca.pem.len > 0))
        return fl_kube_refuse(files, entry, insecure, "insecure-skip-tls-verify beside a certificate-authority");
    return 0;
}

/* The entry of a list by name; -ENOENT where no file has it. */
static int find(const struct fl_kube_files *files, const char *list, const char *member, struct fl_span name,
                struct fl_kube_entry *ret_entry)
{
    for (size_t file = 0; file < files->count; file++) {
        const struct fl_json *document = fl_yaml_document(files->yaml[file], 0);
        for (const struct fl_json *item = fl_json_first(fl_json_get(document, list)); item != NULL;
             item = fl_json_next(item)) {
            if (!fl_span_eq(fl_json_string(fl_json_get(item, "name")), name))
                continue;
            *ret_entry = (struct fl_kube_entry){fl_json_get(item, member), file, name};
            if (fl_json_is(ret_entry->value, FL_JSON_OBJECT))
                return 0;
            ret_entry->value = item;
            return fl_kube_refuse(files, ret_entry, item, "%s: expected an object", member);
        }
    }
    return fl_err_set(files->err, -ENOENT, "%s: no %s is named \"%.*s\"", files->names[0], member, FL_SPAN_ARG(name));
}

static struct fl_span current_context(const struct fl_kube_files *files)
{
    for (size_t file = 0; file < files->count; file++) {
        struct fl_span name = fl_json_string(fl_json_get(fl_yaml_document(files->yaml[file], 0), "current-context"));
        if (name.len > 0)
            return name;
    }
    return (struct fl_span){NULL, 0};
}

static int resolve(const struct fl_kube_files *files, const char *context_name, struct fl_kube_access *access)
{
    struct fl_kube_entry context, cluster, user;
    struct fl_span name = context_name != NULL ? fl_span_str(context_name) : current_context(files);
    struct fl_span cluster_name = {NULL, 0}, user_name = {NULL, 0};
    if (name.len == 0)
        return fl_err_set(files->err, -ENOENT, "%s: there is no current-context, and none was asked for",
                          files->count > 0 ? files->names[0] : "kubeconfig");
    int result = find(files, "contexts", "context", name, &context);
    if (result == 0)
        result = fl_kube_entry_text(files, &context, "cluster", &cluster_name);
    if (result == 0)
        result = fl_kube_entry_text(files, &context, "user", &user_name);
    if (result == 0)
        result = fl_kube_entry_copy(files, &context, "namespace", &access->name_space);
    if (result == 0)
        result = find(files, "clusters", "cluster", cluster_name, &cluster);
    if (result == 0)
        result = read_cluster(files, &cluster, access);
    if (result == 0 && user_name.len > 0)
        result = find(files, "users", "user", user_name, &user);
    if (result == 0 && user_name.len > 0)
        result = fl_kube_user_read(files, &user, &cluster, access);
    if (result == 0 && fl_span_starts_with(fl_span_str(access->server), FL_SPAN("http://")) &&
        (fl_kube_has(&access->cert) || fl_kube_has(&access->token) || access->plugin != NULL))
        result =
            fl_kube_refuse(files, &cluster, fl_json_get(cluster.value, "server"), "credentials are not sent over http");
    return result;
}

/* ---- Files ---- */

static int add_text(struct fl_kube_files *files, struct fl_span text, const char *file)
{
    const struct fl_json_limits limits = {.bytes_max = FL_KUBECONFIG_MAX, .depth_max = 32};
    struct fl_yaml *yaml = NULL;
    int result = fl_yaml_parse(text, file, &limits, &yaml, files->err);
    if (result < 0)
        return result;
    files->yaml[files->count] = yaml;
    files->names[files->count++] = file;
    if (fl_yaml_count(yaml) > 1 || (fl_yaml_count(yaml) == 1 && !fl_json_is(fl_yaml_document(yaml, 0), FL_JSON_OBJECT)))
        return fl_err_set(files->err, -EINVAL, "%s: not a kubeconfig: expected one object", file);
    return 0;
}

static void forget(struct fl_kube_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        fl_yaml_free(files->yaml[i]);
}

static int finish(struct fl_kube_files *files, int result, const char *context, struct fl_kube_access *ret_access)
{
    struct fl_kube_access access = {0};
    if (result == 0)
        result = resolve(files, context, &access);
    forget(files);
    if (result == 0)
        *ret_access = access;
    else
        fl_kube_access_done(&access);
    return result;
}

int fl_kubeconfig_parse(struct fl_span text, const char *file, const char *context,
                        const struct fl_kube_starter *starter, struct fl_kube_access *ret_access, struct fl_err *err)
{
    struct fl_kube_files files = {.starter = starter, .err = err};
    int result = add_text(&files, text, file);
    return finish(&files, result, context, ret_access);
}

static int add_file(struct fl_kube_files *files, const char *path, bool required)
{
    struct fl_buf text;
    fl_buf_init(&text, FL_KUBECONFIG_MAX);
    int result = fl_buf_read_file(&text, path);
    if (result == 0)
        result = add_text(files, fl_buf_span(&text), path);
    else if (result == -ENOENT && !required)
        result = 0;
    else
        fl_err_errno(files->err, result, "%s", path);
    fl_buf_wipe(&text);
    return result;
}

int fl_kubeconfig_load(const char *list, const char *context, const struct fl_kube_starter *starter,
                       struct fl_kube_access *ret_access, struct fl_err *err)
{
    struct fl_kube_files files = {.starter = starter, .err = err};
    struct fl_span rest = fl_span_str(list), part;
    char *paths[FL_KUBECONFIG_FILES] = {NULL};
    size_t count = 0;
    int result = 0;
    bool alone = strchr(list, ':') == NULL;
    while (result == 0 && fl_span_split(&rest, ':', &part)) {
        if (part.len == 0)
            continue;
        if (count == FL_KUBECONFIG_FILES)
            result = fl_err_set(err, -EINVAL, "more than %d kubeconfig files", FL_KUBECONFIG_FILES);
        else if ((paths[count] = fl_span_dup(part)) == NULL)
            result = fl_err_errno(err, -ENOMEM, "kubeconfig");
        else
            result = add_file(&files, paths[count++], alone);
    }
    if (result == 0 && files.count == 0)
        result = fl_err_set(err, -ENOENT, "%s: there is no such kubeconfig", list);
    result = finish(&files, result, context, ret_access);
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    return result;
}

/* ---- A pod ---- */

static char *joined(const char *one, const char *two, const char *three)
{
    struct fl_buf text;
    fl_buf_init(&text, PATH_MAX);
    int result = fl_buf_append_str(&text, one);
    if (result == 0)
        result = fl_buf_append_str(&text, two);
    if (result == 0)
        result = fl_buf_append_str(&text, three);
    char *copy = result == 0 ? fl_span_dup(fl_buf_span(&text)) : NULL;
    fl_buf_done(&text);
    return copy;
}

static int read_namespace(const char *folder, struct fl_kube_access *access)
{
    struct fl_buf text;
    FL_CLEANUP(fl_cleanup_free) char *path = joined(folder, "/", "namespace");
    if (path == NULL)
        return -ENOMEM;
    fl_buf_init(&text, NAMESPACE_MAX);
    int result = fl_buf_read_file(&text, path);
    if (result == 0 && text.len > 0) {
        size_t end = fl_span_find(fl_buf_span(&text), '\n');
        access->name_space = fl_span_dup(fl_span_trim(fl_span_make(text.data, end)));
        result = access->name_space != NULL ? 0 : -ENOMEM;
    }
    fl_buf_done(&text);
    return result == -ENOMEM ? result : 0; /* it need not be there */
}

static int in_pod(const char *folder, const char *host, const char *port, struct fl_kube_access *access)
{
    FL_CLEANUP(fl_cleanup_free)
    char *authority = strchr(host, ':') != NULL ? joined("https://[", host, "]:") : joined("https://", host, ":");
    if (authority == NULL)
        return -ENOMEM;
    fl_buf_init(&access->ca.pem, 0);
    fl_buf_init(&access->token.pem, 0);
    access->server = joined(authority, "", port);
    access->ca.file = joined(folder, "/", "ca.crt");
    access->token.file = joined(folder, "/", "token");
    if (access->server == NULL || access->ca.file == NULL || access->token.file == NULL)
        return -ENOMEM;
    return read_namespace(folder, access);
}

int fl_kube_in_cluster(const char *folder, struct fl_kube_access *ret_access, struct fl_err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    struct fl_kube_access access = {0};
    uint64_t number;
    if (host == NULL || host[0] == '\0' || port == NULL || port[0] == '\0')
        return fl_err_set(err, -ENOENT,
                          "this is not a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
    if (!fl_span_to_u64(fl_span_str(port), 65535, &number) || number == 0 || strpbrk(host, "/@?#[] ") != NULL)
        return fl_err_set(err, -EINVAL, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no address");
    int result = in_pod(folder != NULL ? folder : SERVICE_ACCOUNT, host, port, &access);
    if (result == 0)
        *ret_access = access;
    else
        fl_kube_access_done(&access);
    return result < 0 ? fl_err_errno(err, result, "the pod's service account") : 0;
}

int fl_kube_locate(const char *files, const char *context, struct fl_kube_access *ret_access, struct fl_err *err)
{
    return files != NULL ? fl_kubeconfig_load(files, context, NULL, ret_access, err)
                         : fl_kube_in_cluster(NULL, ret_access, err);
}

int fl_kube_find(const char *files, const char *context, const struct fl_kube_starter *starter,
                 struct fl_kube_access *ret_access, struct fl_err *err)
{
    const char *listed = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (files == NULL && listed != NULL && listed[0] != '\0')
        files = listed;
    if (files != NULL)
        return fl_kubeconfig_load(files, context, starter, ret_access, err);
    FL_CLEANUP(fl_cleanup_free) char *own = home != NULL ? joined(home, "/.kube/", "config") : NULL;
    if (own != NULL && access(own, F_OK) == 0)
        return fl_kubeconfig_load(own, context, starter, ret_access, err);
    int result = fl_kube_in_cluster(NULL, ret_access, err);
    return result == -ENOENT ? fl_err_set(err, result, "no kubeconfig was found, and this is not a pod") : result;
}
