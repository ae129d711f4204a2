#include "webhook/extra.h"

#include "common/mesh/label.h"
#include "webhook/limit.h"
#include "webhook/value.h"

#include <errno.h>

static bool is_variable(struct fl_span name)
{
    if (name.len == 0 || name.len > WEBHOOK_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
        if (!letter && (i == 0 || byte < '0' || byte > '9'))
            return false;
    }
    return true;
}

/* What the webhook sets, and what changes the code that the proxy's process runs. */
static bool is_reserved(struct fl_span name)
{
    static const char *const prefixes[] = {"FAIRLEAD_", "LD_", "OPENSSL_"};
    static const char *const names[] = {FL_ENV_POD_NAME,  FL_ENV_POD_NAMESPACE,   FL_ENV_POD_UID, FL_ENV_POD_IPS,
                                        FL_ENV_NODE_NAME, FL_ENV_SERVICE_ACCOUNT, "GCONV_PATH",   "SSLKEYLOGFILE"};
    for (size_t i = 0; i < FL_COUNT(prefixes); i++) {
        if (fl_span_starts_with(name, fl_span_str(prefixes[i])))
            return true;
    }
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        if (fl_span_eq_str(name, names[i]))
            return true;
    }
    return false;
}

/* The kubelet replaces $(NAME) in values, and $$ by $. */
static bool is_expanded(struct fl_span value)
{
    for (size_t i = 0; i + 1 < value.len; i++) {
        if (value.data[i] != '$')
            continue;
        if (value.data[i + 1] == '(')
            return true;
        i += value.data[i + 1] == '$' ? 1 : 0;
    }
    return false;
}

static int check_variable(struct fl_reader *reader, const struct fl_json *item)
{
    struct fl_span name = fl_json_name(item), value = fl_json_string(item);
    if (!fl_json_is(item, FL_JSON_STRING))
        return fl_reader_expected(reader, item, "a string");
    if (!is_variable(name))
        return fl_reader_fail(reader, item, "is not the name of a variable; expected letters, digits and '_'");
    if (is_reserved(name))
        return fl_reader_fail(reader, item, "is not to be set: the sidecar's own, or its loader's");
    if (is_expanded(value))
        return fl_reader_fail(reader, item, "holds \"$(\", which the kubelet would expand; write \"$$(\"");
    return 0;
}

int webhook_extra_env_check(struct fl_reader *reader, const struct fl_json *value)
{
    int result = 0;
    if (value == NULL)
        return 0;
    if (!fl_json_is(value, FL_JSON_OBJECT))
        return fl_reader_expected(reader, value, "an object of strings");
    if (fl_json_count(value) > WEBHOOK_EXTRA_ENV)
        return fl_reader_fail(reader, value, "more than %d variables", WEBHOOK_EXTRA_ENV);
    for (const struct fl_json *item = fl_json_first(value); item != NULL && result == 0; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter(reader, fl_json_name(item));
        result = check_variable(reader, item);
        fl_reader_leave(reader, mark);
    }
    return result;
}

/* An array of at most WEBHOOK_EXTRA_LIST objects with a `name`, each of which passes `each`. */
static int check_list(struct fl_reader *reader, const struct fl_json *list, const char *wanted,
                      int (*each)(struct fl_reader *reader, const struct fl_json *list, const struct fl_json *item))
{
    size_t index = 0;
    int result = 0;
    if (list == NULL)
        return 0;
    if (!fl_json_is(list, FL_JSON_ARRAY))
        return fl_reader_expected(reader, list, wanted);
    if (fl_json_count(list) > WEBHOOK_EXTRA_LIST)
        return fl_reader_fail(reader, list, "more than %d elements", WEBHOOK_EXTRA_LIST);
    for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter_at(reader, index++);
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        if (!fl_json_is(item, FL_JSON_OBJECT))
            result = fl_reader_expected(reader, item, "an object");
        else if (!webhook_is_label(name))
            result = fl_reader_fail(reader, item, "name: expected a volume's name: lower-case letters, digits, '-'");
        else if (fl_span_starts_with(name, FL_SPAN("fairlead-")))
            result = fl_reader_fail(reader, item, "name: \"%.*s\" is the sidecar's own", WEBHOOK_SHOW(name));
        else
            result = each(reader, list, item);
        fl_reader_leave(reader, mark);
    }
    return result;
}

/* The first element of `list` that has the same string member as `item` is `item` itself. */
static bool is_first(const struct fl_json *list, const struct fl_json *item, const char *member)
{
    const struct fl_json *other = fl_json_first(list);
    struct fl_span wanted = fl_json_string(fl_json_get(item, member));
    while (other != item && !fl_span_eq(fl_json_string(fl_json_get(other, member)), wanted))
        other = fl_json_next(other);
    return other == item;
}

static int check_volume(struct fl_reader *reader, const struct fl_json *list, const struct fl_json *item)
{
    if (!is_first(list, item, "name"))
        return fl_reader_fail(reader, item, "name: is there twice");
    if (fl_json_count(item) > 2)
        return fl_reader_fail(reader, item, "expected a name and one source");
    return 0;
}

int webhook_extra_volumes_check(struct fl_reader *reader, const struct fl_json *value)
{
    return check_list(reader, value, "an array of volumes", check_volume);
}

static bool has_token_for(const struct fl_json *volume, struct fl_span audience)
{
    const struct fl_json *sources = fl_json_get(fl_json_get(volume, "projected"), "sources");
    for (const struct fl_json *item = fl_json_first(sources); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *token = fl_json_get(item, "serviceAccountToken");
        if (fl_span_eq(fl_json_string(fl_json_get(token, "audience")), audience))
            return true;
    }
    return false;
}

int webhook_extra_reach_check(const struct fl_json *volumes, struct fl_span audience, bool host_path,
                              struct fl_err *err)
{
    for (const struct fl_json *item = fl_json_first(volumes); item != NULL; item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        const struct fl_json *path = fl_json_get(item, "hostPath");
        if (!host_path && path != NULL && !fl_json_is(path, FL_JSON_NULL))
            return fl_err_set(err, -EINVAL, "volume %.*s is a hostPath, which the operator does not allow",
                              WEBHOOK_SHOW(name));
        if (has_token_for(item, audience))
            return fl_err_set(err, -EINVAL, "volume %.*s projects a token for %.*s, which the sidecar alone has",
                              WEBHOOK_SHOW(name), WEBHOOK_SHOW(audience));
    }
    return 0;
}

/* Whether one of the paths is the other, or lies in it. */
static bool meet(struct fl_span path, struct fl_span ours)
{
    size_t len = path.len < ours.len ? path.len : ours.len;
    const struct fl_span *longer = path.len > ours.len ? &path : &ours;
    return memcmp(path.data, ours.data, len) == 0 && (longer->len == len || longer->data[len] == '/' || len <= 1);
}

/* Absolute, without empty parts, "." and "..", which would hide what it means; a '/' at the end does not count. */
static bool is_plain_path(struct fl_span path)
{
    struct fl_span rest, part;
    if (path.len == 0 || path.len > WEBHOOK_PATH_MAX || path.data[0] != '/')
        return false;
    rest = fl_span_from(path, 1);
    while (rest.len > 0 && fl_span_split(&rest, '/', &part)) {
        if (part.len == 0 || fl_span_eq_str(part, ".") || fl_span_eq_str(part, ".."))
            return false;
        if (fl_span_find(part, ':') < part.len)
            return false;
    }
    return true;
}

static int check_mount(struct fl_reader *reader, const struct fl_json *list, const struct fl_json *item)
{
    static const char *const ours[] = {FL_VOLUME_PATH, FL_TOKEN_PATH, "/fairlead-proxy", "/var" FL_VOLUME_PATH,
                                       "/var" FL_TOKEN_PATH};
    struct fl_span path = fl_json_string(fl_json_get(item, "mountPath"));
    if (!is_plain_path(path))
        return fl_reader_fail(reader, item, "mountPath: expected an absolute path, without \"..\", ':' and \"//\"");
    while (path.len > 1 && path.data[path.len - 1] == '/')
        path.len--;
    for (size_t i = 0; i < FL_COUNT(ours); i++) {
        if (meet(path, fl_span_str(ours[i])))
            return fl_reader_fail(reader, item, "mountPath: \"%.*s\" would lie over %s, which is the sidecar's own",
                                  WEBHOOK_SHOW(path), ours[i]);
    }
    if (!is_first(list, item, "mountPath"))
        return fl_reader_fail(reader, item, "mountPath: is there twice");
    if (fl_span_eq_str(fl_json_string(fl_json_get(item, "mountPropagation")), "Bidirectional"))
        return fl_reader_fail(reader, item, "mountPropagation: Bidirectional needs a privileged container");
    return 0;
}

int webhook_extra_mounts_check(struct fl_reader *reader, const struct fl_json *value)
{
    return check_list(reader, value, "an array of volume mounts", check_mount);
}
