#include "common/kube/kubeconfig.h"

#include "common/base/base64.h"
#include "common/doc/yaml.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define NAMESPACE_MAX   253

/* The files of one list, each parsed; the first that holds a name wins. */
struct config {
    struct fl_yaml *yaml[FL_KUBECONFIG_FILES];
    const char *names[FL_KUBECONFIG_FILES];
    size_t count;
    struct fl_err *err;
};

/* An entry of contexts, clusters or users: the object behind its name, and the file that it stands in. */
struct entry {
    const struct fl_json *value; /* NULL: none was asked for */
    size_t file;
    const char *list;
};

/* "file:line:column: what" for a value of entry's file. */
static int refuse(const struct config *config, const struct entry *entry, const struct fl_json *value,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

static int refuse(const struct config *config, const struct entry *entry, const struct fl_json *value,
                  const char *format, ...)
{
    const struct fl_positions *positions = fl_yaml_positions(config->yaml[entry->file]);
    struct fl_position at = fl_positions_find(positions, value);
    struct fl_buf text;
    va_list arguments;
    fl_buf_init(&text, FL_ERR_TEXT_MAX);
    va_start(arguments, format);
    int result = fl_buf_vprintf(&text, format, arguments);
    va_end(arguments);
    result = result == -ENOMEM ? result : -EINVAL;
    fl_err_set(config->err, result, "%s:%u:%u: %.*s", config->names[entry->file], at.line, at.column,
               FL_SPAN_ARG(fl_buf_span(&text)));
    fl_buf_done(&text);
    return result;
}

/* ---- Values ---- */

/* An absent, null or empty text is none: *ret_text is empty then. */
static int text_of(const struct config *config, const struct entry *entry, const char *name, struct fl_span *ret_text)
{
    const struct fl_json *value = fl_json_get(entry->value, name);
    *ret_text = fl_json_string(value);
    if (value == NULL || fl_json_is(value, FL_JSON_NULL) || fl_json_is(value, FL_JSON_STRING))
        return 0;
    return refuse(config, entry, value, "%s: expected a string, got %s", name, fl_json_kind_name(fl_json_kind(value)));
}

static int copy_of(const struct config *config, const struct entry *entry, const char *name, char **ret_copy)
{
    struct fl_span text;
    int result = text_of(config, entry, name, &text);
    if (result < 0 || text.len == 0)
        return result;
    *ret_copy = fl_span_dup(text);
    return *ret_copy != NULL ? 0 : fl_err_errno(config->err, -ENOMEM, "%s", config->names[entry->file]);
}

/* A path as the file means it: from its own folder. */
static char *path_from(const char *file, struct fl_span path)
{
    const char *slash = strrchr(file, '/');
    struct fl_buf joined;
    fl_buf_init(&joined, PATH_MAX);
    int result = path.data[0] != '/' && slash != NULL
                     ? fl_buf_printf(&joined, "%.*s/%.*s", (int)(slash - file), file, FL_SPAN_ARG(path))
                     : fl_buf_append(&joined, path);
    char *copy = result == 0 ? fl_span_dup(fl_buf_span(&joined)) : NULL;
    fl_buf_done(&joined);
    return copy;
}

/* `data` (base64) before `file`, as kubectl has it. */
static int material_of(const struct config *config, const struct entry *entry, const char *data_name,
                       const char *file_name, struct fl_kube_material *material)
{
    struct fl_span data, file;
    fl_buf_init(&material->pem, FL_KUBE_CREDENTIAL_MAX);
    int result = text_of(config, entry, data_name, &data);
    if (result == 0)
        result = text_of(config, entry, file_name, &file);
    if (result < 0)
        return result;
    if (data.len > 0) {
        result = fl_buf_reserve(&material->pem, data.len < FL_KUBE_CREDENTIAL_MAX ? data.len : 0);
        if (result == 0)
            result = fl_base64_decode(data, &material->pem);
        if (result == -ENOMEM)
            return fl_err_errno(config->err, result, "%s", config->names[entry->file]);
        return result == 0 ? 0
                           : refuse(config, entry, fl_json_get(entry->value, data_name), "%s: %s", data_name,
                                    result == -EINVAL ? "not base64" : "too long");
    }
    if (file.len > 0) {
        material->file = path_from(config->names[entry->file], file);
        if (material->file == NULL)
            return fl_err_errno(config->err, -ENOMEM, "%s", config->names[entry->file]);
    }
    return 0;
}

/* ---- Cluster, user, context ---- */

static bool is_set(const struct fl_json *value)
{
    return value != NULL && !fl_json_is(value, FL_JSON_NULL) &&
           !(fl_json_is(value, FL_JSON_STRING) && fl_json_string(value).len == 0);
}

static int read_cluster(const struct config *config, const struct entry *entry, struct fl_kube_access *access)
{
    const struct fl_json *insecure = fl_json_get(entry->value, "insecure-skip-tls-verify");
    const struct fl_json *proxy = fl_json_get(entry->value, "proxy-url");
    if (is_set(proxy))
        return refuse(config, entry, proxy, "proxy-url is not supported");
    if (is_set(insecure) && !fl_json_is(insecure, FL_JSON_BOOL))
        return refuse(config, entry, insecure, "insecure-skip-tls-verify: expected true or false");
    access->insecure = fl_json_bool(insecure);
    int result = copy_of(config, entry, "server", &access->server);
    if (result == 0)
        result = copy_of(config, entry, "tls-server-name", &access->tls_server_name);
    if (result == 0)
        result = material_of(config, entry, "certificate-authority-data", "certificate-authority", &access->ca);
    if (result < 0)
        return result;
    if (access->server == NULL)
        return refuse(config, entry, entry->value, "server is missing");
    if (access->insecure && (access->ca.file != NULL || access->ca.pem.len > 0))
        return refuse(config, entry, insecure, "insecure-skip-tls-verify beside a certificate-authority");
    return 0;
}

static int refuse_plugins(const struct config *config, const struct entry *entry)
{
    static const struct {
        const char *name, *why;
    } refused[] = {
        {"exec", "starts a program for its credentials"},
        {"auth-provider", "needs a plugin for its credentials"},
        {"username", "API servers take no passwords any more"},
        {"password", "API servers take no passwords any more"},
        {"as", "impersonation"},
        {"as-uid", "impersonation"},
        {"as-groups", "impersonation"},
        {"as-user-extra", "impersonation"},
    };
    for (size_t i = 0; i < FL_COUNT(refused); i++) {
        const struct fl_json *value = fl_json_get(entry->value, refused[i].name);
        if (is_set(value))
            return refuse(config, entry, value, "%s is not supported (%s); give a token or a client certificate",
                          refused[i].name, refused[i].why);
    }
    return 0;
}

static int read_token(const struct config *config, const struct entry *entry, struct fl_kube_access *access)
{
    struct fl_span token, file;
    fl_buf_init(&access->token.pem, FL_KUBE_TOKEN_MAX);
    int result = text_of(config, entry, "token", &token);
    if (result == 0)
        result = text_of(config, entry, "tokenFile", &file);
    if (result < 0)
        return result;
    if (file.len > 0) { /* the file before the text, as kubectl has it here */
        access->token.file = path_from(config->names[entry->file], file);
        return access->token.file != NULL ? 0 : fl_err_errno(config->err, -ENOMEM, "%s", config->names[entry->file]);
    }
    result = fl_buf_reserve(&access->token.pem, token.len);
    if (result == 0)
        result = fl_buf_append(&access->token.pem, token);
    return result < 0 ? fl_err_errno(config->err, result, "%s: token", config->names[entry->file]) : 0;
}

static bool has(const struct fl_kube_material *material)
{
    return material->file != NULL || material->pem.len > 0;
}

static int read_user(const struct config *config, const struct entry *entry, struct fl_kube_access *access)
{
    int result = refuse_plugins(config, entry);
    if (result == 0)
        result = material_of(config, entry, "client-certificate-data", "client-certificate", &access->cert);
    if (result == 0)
        result = material_of(config, entry, "client-key-data", "client-key", &access->key);
    if (result == 0)
        result = read_token(config, entry, access);
    if (result == 0 && has(&access->cert) != has(&access->key))
        result = refuse(config, entry, entry->value, "a client certificate and its key belong together");
    return result;
}

/* The entry of a list by name; -ENOENT where no file has it. */
static int find(const struct config *config, const char *list, const char *member, struct fl_span name,
                struct entry *ret_entry)
{
    for (size_t file = 0; file < config->count; file++) {
        const struct fl_json *document = fl_yaml_document(config->yaml[file], 0);
        for (const struct fl_json *item = fl_json_first(fl_json_get(document, list)); item != NULL;
             item = fl_json_next(item)) {
            if (!fl_span_eq(fl_json_string(fl_json_get(item, "name")), name))
                continue;
            *ret_entry = (struct entry){fl_json_get(item, member), file, list};
            if (fl_json_is(ret_entry->value, FL_JSON_OBJECT))
                return 0;
            ret_entry->value = item;
            return refuse(config, ret_entry, item, "%s: expected an object", member);
        }
    }
    return fl_err_set(config->err, -ENOENT, "%s: no %s is named \"%.*s\"", config->names[0], member, FL_SPAN_ARG(name));
}

static struct fl_span current_context(const struct config *config)
{
    for (size_t file = 0; file < config->count; file++) {
        struct fl_span name = fl_json_string(fl_json_get(fl_yaml_document(config->yaml[file], 0), "current-context"));
        if (name.len > 0)
            return name;
    }
    return (struct fl_span){NULL, 0};
}

static int resolve(const struct config *config, const char *context_name, struct fl_kube_access *access)
{
    struct entry context, cluster, user;
    struct fl_span name = context_name != NULL ? fl_span_str(context_name) : current_context(config);
    struct fl_span cluster_name = {NULL, 0}, user_name = {NULL, 0};
    if (name.len == 0)
        return fl_err_set(config->err, -ENOENT, "%s: there is no current-context, and none was asked for",
                          config->count > 0 ? config->names[0] : "kubeconfig");
    int result = find(config, "contexts", "context", name, &context);
    if (result == 0)
        result = text_of(config, &context, "cluster", &cluster_name);
    if (result == 0)
        result = text_of(config, &context, "user", &user_name);
    if (result == 0)
        result = copy_of(config, &context, "namespace", &access->name_space);
    if (result == 0)
        result = find(config, "clusters", "cluster", cluster_name, &cluster);
    if (result == 0)
        result = read_cluster(config, &cluster, access);
    if (result == 0 && user_name.len > 0)
        result = find(config, "users", "user", user_name, &user);
    if (result == 0 && user_name.len > 0)
        result = read_user(config, &user, access);
    if (result == 0 && fl_span_starts_with(fl_span_str(access->server), FL_SPAN("http://")) &&
        (has(&access->cert) || has(&access->token)))
        result = refuse(config, &cluster, fl_json_get(cluster.value, "server"), "credentials are not sent over http");
    return result;
}

/* ---- Files ---- */

static int add_text(struct config *config, struct fl_span text, const char *file)
{
    const struct fl_json_limits limits = {.bytes_max = FL_KUBECONFIG_MAX, .depth_max = 32};
    struct fl_yaml *yaml = NULL;
    int result = fl_yaml_parse(text, file, &limits, &yaml, config->err);
    if (result < 0)
        return result;
    config->yaml[config->count] = yaml;
    config->names[config->count++] = file;
    if (fl_yaml_count(yaml) > 1 || (fl_yaml_count(yaml) == 1 && !fl_json_is(fl_yaml_document(yaml, 0), FL_JSON_OBJECT)))
        return fl_err_set(config->err, -EINVAL, "%s: not a kubeconfig: expected one object", file);
    return 0;
}

static void forget(struct config *config)
{
    for (size_t i = 0; i < config->count; i++)
        fl_yaml_free(config->yaml[i]);
}

static int finish(struct config *config, int result, const char *context, struct fl_kube_access *ret_access)
{
    struct fl_kube_access access = {0};
    if (result == 0)
        result = resolve(config, context, &access);
    forget(config);
    if (result == 0)
        *ret_access = access;
    else
        fl_kube_access_done(&access);
    return result;
}

int fl_kubeconfig_parse(struct fl_span text, const char *file, const char *context, struct fl_kube_access *ret_access,
                        struct fl_err *err)
{
    struct config config = {.err = err};
    int result = add_text(&config, text, file);
    return finish(&config, result, context, ret_access);
}

static int add_file(struct config *config, const char *path, bool required)
{
    struct fl_buf text;
    fl_buf_init(&text, FL_KUBECONFIG_MAX);
    int result = fl_buf_read_file(&text, path);
    if (result == 0)
        result = add_text(config, fl_buf_span(&text), path);
    else if (result == -ENOENT && !required)
        result = 0;
    else
        fl_err_errno(config->err, result, "%s", path);
    fl_buf_wipe(&text);
    return result;
}

int fl_kubeconfig_load(const char *files, const char *context, struct fl_kube_access *ret_access, struct fl_err *err)
{
    struct config config = {.err = err};
    struct fl_span rest = fl_span_str(files), part;
    char *paths[FL_KUBECONFIG_FILES] = {NULL};
    size_t count = 0;
    int result = 0;
    bool alone = strchr(files, ':') == NULL;
    while (result == 0 && fl_span_split(&rest, ':', &part)) {
        if (part.len == 0)
            continue;
        if (count == FL_KUBECONFIG_FILES)
            result = fl_err_set(err, -EINVAL, "more than %d kubeconfig files", FL_KUBECONFIG_FILES);
        else if ((paths[count] = fl_span_dup(part)) == NULL)
            result = fl_err_errno(err, -ENOMEM, "kubeconfig");
        else
            result = add_file(&config, paths[count++], alone);
    }
    if (result == 0 && config.count == 0)
        result = fl_err_set(err, -ENOENT, "%s: there is no such kubeconfig", files);
    result = finish(&config, result, context, ret_access);
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

int fl_kube_find(const char *files, const char *context, struct fl_kube_access *ret_access, struct fl_err *err)
{
    const char *listed = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (files == NULL && listed != NULL && listed[0] != '\0')
        files = listed;
    if (files != NULL)
        return fl_kubeconfig_load(files, context, ret_access, err);
    FL_CLEANUP(fl_cleanup_free) char *own = home != NULL ? joined(home, "/.kube/", "config") : NULL;
    if (own != NULL && access(own, F_OK) == 0)
        return fl_kubeconfig_load(own, context, ret_access, err);
    int result = fl_kube_in_cluster(NULL, ret_access, err);
    return result == -ENOENT ? fl_err_set(err, result, "no kubeconfig was found, and this is not a pod") : result;
}
