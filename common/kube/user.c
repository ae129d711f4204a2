#include "common/kube/entry.h"

#include "common/base/base64.h"

#include <errno.h>
#include <stdio.h>

#define CLUSTER_INFO_MAX (4u << 20)
#define EXTENSION        "client.authentication.k8s.io/exec"

/* ---- What is refused ---- */

static int refuse_old(const struct fl_kube_files *files, const struct fl_kube_entry *user)
{
    static const struct {
        const char *name, *why;
    } refused[] = {
        {"auth-provider", "needs a plugin that kubectl has no more either; exec has taken its place"},
        {"username", "API servers take no passwords any more"},
        {"password", "API servers take no passwords any more"},
    };
    for (size_t i = 0; i < FL_COUNT(refused); i++) {
        const struct fl_json *value = fl_json_get(user->value, refused[i].name);
        if (fl_kube_is_set(value))
            return fl_kube_refuse(files, user, value, "%s is not supported (%s); give a token or a client certificate",
                                  refused[i].name, refused[i].why);
    }
    return 0;
}

/* ---- Lists of words ---- */

static int add_word(char ***words, size_t *count, char *word)
{
    char **longer = word != NULL ? realloc(*words, (*count + 1) * sizeof(**words)) : NULL;
    if (longer == NULL) {
        free(word);
        return -ENOMEM;
    }
    *words = longer;
    longer[(*count)++] = word;
    return 0;
}

static char *join(struct fl_span one, const char *between, struct fl_span two)
{
    struct fl_buf text;
    fl_buf_init(&text, FL_KUBECONFIG_MAX);
    int result = fl_buf_append(&text, one);
    if (result == 0)
        result = fl_buf_append_str(&text, between);
    if (result == 0)
        result = fl_buf_append(&text, two);
    char *copy = result == 0 ? fl_span_dup(fl_buf_span(&text)) : NULL;
    fl_buf_wipe(&text);
    return copy;
}

/* `name` of `entry` is a list, or not there. 0 with *ret_list, which is NULL then. */
static int list_of(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const char *name, size_t max,
                   const struct fl_json **ret_list)
{
    const struct fl_json *list = fl_json_get(entry->value, name);
    *ret_list = fl_kube_is_set(list) ? list : NULL;
    if (*ret_list == NULL)
        return 0;
    if (!fl_json_is(list, FL_JSON_ARRAY))
        return fl_kube_refuse(files, entry, list, "%s: expected a list", name);
    if (fl_json_count(list) > max)
        return fl_kube_refuse(files, entry, list, "%s: expected at most %zu, got %zu", name, max, fl_json_count(list));
    return 0;
}

/* ---- exec ---- */

static int read_args(const struct fl_kube_files *files, const struct fl_kube_entry *exec, struct fl_kube_plugin *plugin)
{
    const struct fl_json *list;
    int result = list_of(files, exec, "args", FL_KUBE_PLUGIN_WORDS, &list);
    for (const struct fl_json *item = fl_json_first(list); result == 0 && item != NULL; item = fl_json_next(item)) {
        if (!fl_json_is(item, FL_JSON_STRING))
            return fl_kube_refuse(files, exec, item, "exec: args: expected strings, got %s",
                                  fl_json_kind_name(fl_json_kind(item)));
        result = add_word(&plugin->args, &plugin->arg_count, fl_span_dup(fl_json_string(item)));
        if (result < 0)
            return fl_kube_no_memory(files, exec);
    }
    return result;
}

static int read_env(const struct fl_kube_files *files, const struct fl_kube_entry *exec, struct fl_kube_plugin *plugin)
{
    const struct fl_json *list;
    int result = list_of(files, exec, "env", FL_KUBE_PLUGIN_WORDS, &list);
    for (const struct fl_json *item = fl_json_first(list); result == 0 && item != NULL; item = fl_json_next(item)) {
        const struct fl_json *value = fl_json_get(item, "value");
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        if (name.len == 0 || fl_span_find(name, '=') < name.len ||
            (value != NULL && !fl_json_is(value, FL_JSON_STRING) && !fl_json_is(value, FL_JSON_NULL)))
            return fl_kube_refuse(files, exec, item,
                                  "exec: env: expected {name, value}, strings, the name not empty and without '='");
        result = add_word(&plugin->env, &plugin->env_count, join(name, "=", fl_json_string(value)));
        if (result < 0)
            return fl_kube_no_memory(files, exec);
    }
    return result;
}

static int read_version(const struct fl_kube_files *files, const struct fl_kube_entry *exec,
                        struct fl_kube_plugin *plugin)
{
    int result = fl_kube_entry_copy(files, exec, "apiVersion", &plugin->api_version);
    if (result < 0 ||
        (plugin->api_version != NULL && (strcmp(plugin->api_version, "client.authentication.k8s.io/v1") == 0 ||
                                         strcmp(plugin->api_version, "client.authentication.k8s.io/v1beta1") == 0)))
        return result;
    return fl_kube_refuse(files, exec, exec->value,
                          "exec: apiVersion: expected client.authentication.k8s.io/v1 or client.authentication.k8s.io/"
                          "v1beta1, got \"%s\"",
                          plugin->api_version != NULL ? plugin->api_version : "");
}

static int read_mode(const struct fl_kube_files *files, const struct fl_kube_entry *exec, struct fl_kube_plugin *plugin)
{
    static const char *const words[] = {
        [FL_KUBE_PLUGIN_NEVER] = "Never",
        [FL_KUBE_PLUGIN_IF_AVAILABLE] = "IfAvailable",
        [FL_KUBE_PLUGIN_ALWAYS] = "Always",
    };
    struct fl_span word;
    int result = fl_kube_entry_text(files, exec, "interactiveMode", &word);
    plugin->mode = FL_KUBE_PLUGIN_IF_AVAILABLE;
    if (result < 0 || (word.len == 0 && strcmp(plugin->api_version, "client.authentication.k8s.io/v1beta1") == 0))
        return result;
    for (size_t i = 0; i < FL_COUNT(words); i++) {
        if (fl_span_eq_str(word, words[i])) {
            plugin->mode = (enum fl_kube_plugin_mode)i;
            return 0;
        }
    }
    const struct fl_json *value = fl_json_get(exec->value, "interactiveMode");
    return fl_kube_refuse(
        files, exec, value != NULL ? value : exec->value,
        "exec: interactiveMode: expected Never, IfAvailable or Always (client.authentication.k8s.io/v1 "
        "wants one), got \"%.*s\"",
        FL_SPAN_ARG(word));
}

/* A command with a '/' is a path from the kubeconfig's folder. */
static int read_command(const struct fl_kube_files *files, const struct fl_kube_entry *exec,
                        struct fl_kube_plugin *plugin)
{
    struct fl_span command;
    int result = fl_kube_entry_text(files, exec, "command", &command);
    if (result < 0)
        return result;
    if (command.len == 0)
        return fl_kube_refuse(files, exec, exec->value, "exec: command: expected a program's name or path");
    plugin->command = fl_span_find(command, '/') < command.len ? fl_kube_path_from(files->names[exec->file], command)
                                                               : fl_span_dup(command);
    return plugin->command != NULL ? 0 : fl_kube_no_memory(files, exec);
}

static const struct fl_json *find_extension(const struct fl_json *cluster)
{
    for (const struct fl_json *item = fl_json_first(fl_json_get(cluster, "extensions")); item != NULL;
         item = fl_json_next(item)) {
        if (fl_span_eq_str(fl_json_string(fl_json_get(item, "name")), EXTENSION))
            return fl_json_get(item, "extension");
    }
    return NULL;
}

static int set_ca(struct fl_json *info, const struct fl_kube_material *ca, struct fl_err *err)
{
    struct fl_buf pem, text;
    fl_buf_init(&pem, FL_KUBE_CREDENTIAL_MAX);
    fl_buf_init(&text, 2 * FL_KUBE_CREDENTIAL_MAX);
    int result = ca->file != NULL ? fl_buf_read_file(&pem, ca->file) : fl_buf_append(&pem, fl_buf_span(&ca->pem));
    if (result < 0)
        fl_err_errno(err, result, "%s", ca->file != NULL ? ca->file : "certificate-authority-data");
    else if ((result = fl_base64_encode(fl_buf_span(&pem), &text)) == 0)
        result = fl_json_set(info, "certificate-authority-data", fl_json_new_string(fl_buf_span(&text)));
    fl_buf_done(&pem);
    fl_buf_done(&text);
    return result;
}

/* spec.cluster of what the plugin is told (client.authentication.k8s.io, Cluster). */
static int fill_cluster(const struct fl_json *cluster, const struct fl_kube_access *access, struct fl_json *info,
                        struct fl_err *err)
{
    const struct fl_json *extension = find_extension(cluster);
    int result = fl_json_set(info, "server", fl_json_new_string(fl_span_str(access->server)));
    if (result == 0 && access->tls_server_name != NULL)
        result = fl_json_set(info, "tls-server-name", fl_json_new_string(fl_span_str(access->tls_server_name)));
    if (result == 0 && access->insecure)
        result = fl_json_set(info, "insecure-skip-tls-verify", fl_json_new_bool(true));
    if (result == 0 && fl_kube_has(&access->ca))
        result = set_ca(info, &access->ca, err);
    if (result == 0 && access->proxy != NULL)
        result = fl_json_set(info, "proxy-url", fl_json_new_string(fl_span_str(access->proxy)));
    if (result == 0 && fl_json_bool(fl_json_get(cluster, "disable-compression")))
        result = fl_json_set(info, "disable-compression", fl_json_new_bool(true));
    if (result < 0)
        return result;
    return fl_json_set(info, "config",
                       extension != NULL ? fl_json_copy(extension) : fl_json_new_null()); /* as kubectl */
}

static int read_cluster_info(const struct fl_kube_files *files, const struct fl_kube_entry *exec,
                             const struct fl_kube_entry *cluster, const struct fl_kube_access *access,
                             struct fl_kube_plugin *plugin)
{
    const struct fl_json *wanted = fl_json_get(exec->value, "provideClusterInfo");
    if (fl_kube_is_set(wanted) && !fl_json_is(wanted, FL_JSON_BOOL))
        return fl_kube_refuse(files, exec, wanted, "exec: provideClusterInfo: expected true or false");
    if (!fl_json_bool(wanted))
        return 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *info = fl_json_new_object();
    struct fl_err why = {0};
    struct fl_buf text;
    fl_buf_init(&text, CLUSTER_INFO_MAX);
    int result = info != NULL ? fill_cluster(cluster->value, access, info, &why) : -ENOMEM;
    if (result == 0)
        result = fl_json_print(info, &text);
    if (result == 0 && (plugin->cluster = fl_span_dup(fl_buf_span(&text))) == NULL)
        result = -ENOMEM;
    fl_buf_done(&text);
    if (result == -ENOMEM)
        return fl_kube_no_memory(files, exec);
    return result == 0 ? 0
                       : fl_kube_refuse(files, exec, wanted, "exec: provideClusterInfo: %s",
                                        why.code < 0 ? why.text : "the cluster's entry is too large");
}

static int fill_plugin(const struct fl_kube_files *files, const struct fl_kube_entry *exec,
                       const struct fl_kube_entry *cluster, const struct fl_kube_access *access,
                       struct fl_kube_plugin *plugin)
{
    if ((plugin->user = fl_span_dup(exec->name)) == NULL)
        return fl_kube_no_memory(files, exec);
    int result = read_command(files, exec, plugin);
    if (result == 0)
        result = read_version(files, exec, plugin);
    if (result == 0)
        result = read_mode(files, exec, plugin);
    if (result == 0)
        result = fl_kube_entry_copy(files, exec, "installHint", &plugin->install_hint);
    if (result == 0)
        result = read_args(files, exec, plugin);
    if (result == 0)
        result = read_env(files, exec, plugin);
    return result == 0 ? read_cluster_info(files, exec, cluster, access, plugin) : result;
}

static int read_exec(const struct fl_kube_files *files, const struct fl_kube_entry *user,
                     const struct fl_kube_entry *cluster, struct fl_kube_access *access)
{
    const struct fl_kube_entry exec = {fl_json_get(user->value, "exec"), user->file, user->name};
    if (!fl_kube_is_set(exec.value))
        return 0;
    if (files->starter == NULL)
        return fl_kube_refuse(files, user, exec.value,
                              "user \"%.*s\": exec is not supported here (this program starts no other for its "
                              "credentials); give a token, a tokenFile or a client certificate",
                              FL_SPAN_ARG(user->name));
    if (!fl_json_is(exec.value, FL_JSON_OBJECT))
        return fl_kube_refuse(files, user, exec.value, "exec: expected an object with command and apiVersion");
    if (fl_kube_has(&access->cert) || fl_kube_has(&access->key) || fl_kube_has(&access->token))
        return fl_kube_refuse(files, user, exec.value,
                              "user \"%.*s\": exec beside a token or a client certificate: expected one of them",
                              FL_SPAN_ARG(user->name));
    access->starter = files->starter;
    access->plugin = calloc(1, sizeof(*access->plugin));
    if (access->plugin == NULL)
        return fl_kube_no_memory(files, user);
    return fill_plugin(files, &exec, cluster, access, access->plugin);
}

/* ---- Impersonation ---- */

/* Whether it may stand in a header: it would be another one otherwise. */
static bool is_header_value(struct fl_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    }
    return text.len > 0;
}

static int add_header(const struct fl_kube_files *files, const struct fl_kube_entry *user, const struct fl_json *value,
                      const char *field, struct fl_span name, struct fl_kube_access *access)
{
    struct fl_span text = fl_json_string(value);
    if (!fl_json_is(value, FL_JSON_STRING) || !is_header_value(text))
        return fl_kube_refuse(files, user, value, "%s: expected text without control characters", field);
    if (access->header_count == FL_KUBE_HEADERS_MAX)
        return fl_kube_refuse(files, user, value, "%s: expected at most %d names to be impersonated", field,
                              FL_KUBE_HEADERS_MAX);
    return add_word(&access->headers, &access->header_count, join(name, ": ", text)) == 0
               ? 0
               : fl_kube_no_memory(files, user);
}

/* "Impersonate-Extra-" and the key; what may not stand in a header's name as %XX (the API server undoes it). */
static int append_key(struct fl_buf *out, struct fl_span key)
{
    static const char good[] = "!#$&'*+-.^_`|~";
    int result = fl_buf_append_str(out, "Impersonate-Extra-");
    for (size_t i = 0; result == 0 && i < key.len; i++) {
        unsigned char byte = (unsigned char)key.data[i];
        bool plain = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
                     (byte != '\0' && strchr(good, byte) != NULL);
        result = plain ? fl_buf_append_byte(out, key.data[i]) : fl_buf_printf(out, "%%%02X", byte);
    }
    return result;
}

static int read_extra(const struct fl_kube_files *files, const struct fl_kube_entry *user,
                      struct fl_kube_access *access)
{
    const struct fl_json *extra = fl_json_get(user->value, "as-user-extra");
    int result = 0;
    if (fl_kube_is_set(extra) && !fl_json_is(extra, FL_JSON_OBJECT))
        return fl_kube_refuse(files, user, extra, "as-user-extra: expected an object of lists");
    for (const struct fl_json *member = fl_json_first(extra); result == 0 && member != NULL;
         member = fl_json_next(member)) {
        struct fl_buf name;
        if (!fl_json_is(member, FL_JSON_ARRAY) || fl_json_name(member).len == 0)
            return fl_kube_refuse(files, user, member, "as-user-extra: expected an object of lists");
        fl_buf_init(&name, FL_KUBECONFIG_MAX);
        result = append_key(&name, fl_json_name(member));
        if (result < 0)
            result = fl_kube_no_memory(files, user);
        for (const struct fl_json *item = fl_json_first(member); result == 0 && item != NULL; item = fl_json_next(item))
            result = add_header(files, user, item, "as-user-extra", fl_buf_span(&name), access);
        fl_buf_done(&name);
    }
    return result;
}

static int read_impersonation(const struct fl_kube_files *files, const struct fl_kube_entry *user,
                              struct fl_kube_access *access)
{
    const struct fl_json *as = fl_json_get(user->value, "as"), *uid = fl_json_get(user->value, "as-uid"), *groups;
    int result = 0;
    if (fl_kube_is_set(as))
        result = add_header(files, user, as, "as", FL_SPAN("Impersonate-User"), access);
    if (result == 0 && fl_kube_is_set(uid))
        result = add_header(files, user, uid, "as-uid", FL_SPAN("Impersonate-Uid"), access);
    if (result == 0)
        result = list_of(files, user, "as-groups", FL_KUBE_HEADERS_MAX, &groups);
    if (result < 0)
        return result;
    for (const struct fl_json *item = fl_json_first(groups); result == 0 && item != NULL; item = fl_json_next(item))
        result = add_header(files, user, item, "as-groups", FL_SPAN("Impersonate-Group"), access);
    if (result == 0)
        result = read_extra(files, user, access);
    if (result == 0 && access->header_count > 0 && !fl_kube_is_set(as))
        result = fl_kube_refuse(files, user, user->value, "as-uid, as-groups and as-user-extra need as beside them");
    return result;
}

/* ---- The user ---- */

static int read_token(const struct fl_kube_files *files, const struct fl_kube_entry *user,
                      struct fl_kube_access *access)
{
    struct fl_span token, file;
    fl_buf_init(&access->token.pem, FL_KUBE_TOKEN_MAX);
    int result = fl_kube_entry_text(files, user, "token", &token);
    if (result == 0)
        result = fl_kube_entry_text(files, user, "tokenFile", &file);
    if (result < 0)
        return result;
    if (file.len > 0) { /* the file before the text, as kubectl has it here */
        access->token.file = fl_kube_path_from(files->names[user->file], file);
        return access->token.file != NULL ? 0 : fl_kube_no_memory(files, user);
    }
    result = fl_buf_reserve(&access->token.pem, token.len);
    if (result == 0)
        result = fl_buf_append(&access->token.pem, token);
    return result < 0 ? fl_err_errno(files->err, result, "%s: token", files->names[user->file]) : 0;
}

int fl_kube_user_read(const struct fl_kube_files *files, const struct fl_kube_entry *user,
                      const struct fl_kube_entry *cluster, struct fl_kube_access *access)
{
    int result = refuse_old(files, user);
    if (result == 0)
        result = fl_kube_entry_material(files, user, "client-certificate-data", "client-certificate", &access->cert);
    if (result == 0)
        result = fl_kube_entry_material(files, user, "client-key-data", "client-key", &access->key);
    if (result == 0)
        result = read_token(files, user, access);
    if (result == 0 && fl_kube_has(&access->cert) != fl_kube_has(&access->key))
        result = fl_kube_refuse(files, user, user->value, "a client certificate and its key belong together");
    if (result == 0)
        result = read_exec(files, user, cluster, access);
    return result == 0 ? read_impersonation(files, user, access) : result;
}
