#include "webhook/config.h"

#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "common/mesh/place.h"
#include "common/mesh/port.h"
#include "webhook/value.h"

#include <errno.h>

#define UID_LARGEST 4294967294 /* 2^32 - 1 means "no change" to the kernel */

/* A row's reader that hands the string to a check: detail points to one of these. */
struct check {
    int (*run)(struct fl_span text, struct fl_err *err);
};

static int audience_check(struct fl_span text, struct fl_err *err)
{
    return text.len > 0 ? 0 : fl_err_set(err, -EINVAL, "must not be empty");
}

static int trust_domain_check(struct fl_span text, struct fl_err *err)
{
    struct fl_buf uri;
    fl_buf_init(&uri, FL_IDENTITY_MAX);
    const struct fl_identity identity = {text, FL_SPAN("default"), FL_SPAN("default")};
    int result = fl_identity_print(&identity, &uri, err);
    fl_buf_done(&uri);
    return result == 0 ? 0
                       : fl_err_set(err, result == -ENOMEM ? -ENOMEM : -EINVAL,
                                    "\"%.*s\" is not a trust domain; expected a name such as cluster.local",
                                    WEBHOOK_SHOW(text));
}

static int label_check(struct fl_span text, struct fl_err *err)
{
    if (webhook_is_label(text))
        return 0;
    return fl_err_set(err, -EINVAL, "\"%.*s\" is not a name; expected lower-case letters, digits and '-', at most 63",
                      WEBHOOK_SHOW(text));
}

static int read_checked(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    const struct check *check = row->detail;
    struct fl_err err = {0};
    struct fl_span text;
    int result = fl_read_string(reader, value, &text, row);
    if (result < 0)
        return result;
    result = check->run(text, &err);
    if (result < 0)
        return result == -ENOMEM ? result : fl_reader_fail(reader, value, "%s", err.text);
    *(struct fl_span *)field = text;
    return 0;
}

static int read_ignored(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct webhook_config *config = field;
    const struct fl_json *list = NULL;
    struct fl_err err = {0};
    int result = fl_read_array(reader, value, &list, row);
    if (result < 0)
        return result;
    if (fl_json_count(list) > WEBHOOK_CONFIG_IGNORED)
        return fl_reader_fail(reader, value, "more than %d namespaces", WEBHOOK_CONFIG_IGNORED);
    config->ignored_count = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        if (!fl_json_is(item, FL_JSON_STRING))
            return fl_reader_fail(reader, item, "expected a namespace's name, got %s",
                                  fl_json_kind_name(fl_json_kind(item)));
        if (label_check(fl_json_string(item), &err) < 0)
            return fl_reader_fail(reader, item, "%s", err.text);
        config->ignored[config->ignored_count++] = fl_json_string(item);
    }
    return 0;
}

/* "10.0.0.1:15012,[fd00::1]:15012,control.mesh.svc:15012", or "none". */
static int places_check(struct fl_span text, struct fl_err *err)
{
    struct fl_span rest = text, part;
    struct fl_place place;
    if (fl_span_eq_str(text, FL_PLACE_NONE))
        return 0;
    if (text.len > WEBHOOK_CONFIG_ADDRESSES)
        return fl_err_set(err, -EINVAL, "longer than %d bytes", WEBHOOK_CONFIG_ADDRESSES);
    while (fl_span_split(&rest, ',', &part))
        if (!fl_place_parse(part, &place))
            return fl_err_set(err, -EINVAL, "\"%.*s\": expected " FL_PLACE_EXPECTED ", or " FL_PLACE_NONE,
                              WEBHOOK_SHOW(part));
    return 0;
}

static int name_check(struct fl_span text, struct fl_err *err)
{
    return webhook_is_dns_name(text) ? 0 : fl_err_set(err, -EINVAL, "\"%.*s\" is not a DNS name", WEBHOOK_SHOW(text));
}

static const struct check audience = {audience_check}, trust_domain = {trust_domain_check}, label = {label_check},
                          places = {places_check}, name = {name_check};

static int read_setting(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct webhook_config *config = field;
    return webhook_setting_take(webhook_setting_find_member(fl_span_str(row->name)), reader, value, &config->defaults);
}

static int read_level(struct fl_reader *reader, const struct fl_json *value, enum webhook_level *ret_level)
{
    for (int level = WEBHOOK_LEVEL_MESH; level <= WEBHOOK_LEVEL_POD; level++) {
        if (fl_span_eq_str(fl_json_string(value), webhook_level_word((enum webhook_level)level))) {
            *ret_level = (enum webhook_level)level;
            return 0;
        }
    }
    return fl_reader_expected(reader, value, "mesh, namespace or pod");
}

static int read_levels(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct webhook_config *config = field;
    const struct fl_json *map = NULL;
    int result = fl_read_map(reader, value, &map, row);
    for (const struct fl_json *item = fl_json_first(map); item != NULL && result == 0; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter(reader, fl_json_name(item));
        enum webhook_setting setting = webhook_setting_find_member(fl_json_name(item));
        result = setting == WEBHOOK_SETTING_COUNT ? fl_reader_fail(reader, item, "is not a setting")
                                                  : read_level(reader, item, &config->levels[setting]);
        if (result == 0)
            config->levels_said[setting] = true;
        fl_reader_leave(reader, mark);
    }
    return result;
}

#define FIELD(member)          .offset = offsetof(struct webhook_config, member)
#define CHECKED(member, check) .read = read_checked, FIELD(member), .detail = &(check)

static const struct fl_row control_rows[] = {
    {.name = "address", CHECKED(control_address, places), .flags = FL_ROW_REQUIRED},
    {.name = "name", CHECKED(control_name, name)},
    {0},
};
static const struct fl_table control_table = {control_rows, FL_TABLE_REFUSE_UNKNOWN};

static const struct fl_row own_rows[] = {
    {.name = "levels", .read = read_levels},
    {.name = "uid", .read = fl_read_u32, FIELD(uid), .min = 1, .max = UID_LARGEST},
    {.name = "gid", .read = fl_read_u32, FIELD(gid), .min = 1, .max = UID_LARGEST},
    {.name = "podOverrides", .read = fl_read_bool, FIELD(pod_overrides)},
    {.name = "allowHostPath", .read = fl_read_bool, FIELD(allow_host_path)},
    {.name = "control", .read = fl_read_object, .detail = &control_table},
    {.name = "tokenAudience", CHECKED(token_audience, audience)},
    {.name = "trustDomain", CHECKED(trust_domain, trust_domain)},
    {.name = "ownNamespace", CHECKED(own_namespace, label)},
    {.name = "ignoredNamespaces", .read = read_ignored},
    {.name = "revision", CHECKED(revision, label)},
};

#define LABEL "\"type\":\"string\",\"pattern\":\"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$\""
#define ID    "\"type\":\"integer\",\"minimum\":1,\"maximum\":4294967294"

const struct webhook_config_member webhook_config_members[] = {
    {"levels", "{}", NULL,
     "how far down each setting may be set: `mesh` (here alone), `namespace` or `pod`; what is named here also holds "
     "for pods of namespaces that require the mesh"},
    {"uid", "1337", ID, "the proxy's user; traffic of uid and gid together is exempt from capture"},
    {"gid", "1337", ID, "the proxy's group"},
    {"podOverrides", "true", "\"type\":\"boolean\"", "`false`: a pod's inject label does not count"},
    {"allowHostPath", "false", "\"type\":\"boolean\"", "`true`: annotations may give the proxy hostPath volumes"},
    {"control", NULL,
     "\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"address\"],\"properties\":{"
     "\"address\":{\"type\":\"string\",\"maxLength\":512},\"name\":{\"type\":\"string\"}}",
     "`address` (`IP:port`, several separated by commas) and `name` of the control plane; without it a sidecar wants a "
     "bootstrap file in its volume"},
    {"tokenAudience", "\"fairlead-ca\"", "\"type\":\"string\",\"minLength\":1",
     "audience of the sidecar's service-account token"},
    {"trustDomain", "\"cluster.local\"", "\"type\":\"string\",\"minLength\":1", "of the pods' identities"},
    {"ownNamespace", "\"fairlead-system\"", LABEL, "where the mesh itself runs: no pod of it is touched"},
    {"ignoredNamespaces", "[\"kube-system\",\"kube-public\",\"kube-node-lease\"]",
     "\"type\":\"array\",\"maxItems\":64,\"items\":{" LABEL "}", "namespaces whose pods never join"},
    {"revision", "\"default\"", LABEL, "which `fairlead.io/rev` is served; pods that ask for another are left to it"},
    {NULL, NULL, NULL, NULL},
};

/* A row for every setting, then those above. */
static void make_rows(struct fl_row rows[WEBHOOK_SETTING_COUNT + FL_COUNT(own_rows) + 1])
{
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++)
        rows[i] = (struct fl_row){
            .name = webhook_setting_row((enum webhook_setting)i)->member, .read = read_setting, .flags = FL_ROW_NULL};
    memcpy(&rows[WEBHOOK_SETTING_COUNT], own_rows, sizeof(own_rows));
    rows[WEBHOOK_SETTING_COUNT + FL_COUNT(own_rows)] = (struct fl_row){0};
}

int webhook_config_default(struct webhook_config **ret_config)
{
    struct webhook_config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return -ENOMEM;
    *config = (struct webhook_config){
        .token_audience = FL_SPAN(FL_TOKEN_AUDIENCE),
        .control_name = FL_SPAN(FL_CONTROL_NAME),
        .trust_domain = FL_SPAN(FL_TRUST_DOMAIN_DEFAULT),
        .revision = FL_SPAN("default"),
        .own_namespace = FL_SPAN("fairlead-system"),
        .uid = FL_PROXY_UID,
        .gid = FL_PROXY_GID,
        .pod_overrides = true,
        .ignored = {FL_SPAN("kube-system"), FL_SPAN("kube-public"), FL_SPAN("kube-node-lease")},
        .ignored_count = 3,
    };
    webhook_settings_defaults(&config->defaults);
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++)
        config->levels[i] = webhook_setting_row((enum webhook_setting)i)->down;
    *ret_config = config;
    return 0;
}

/* What must hold between settings; the error stands at the one that the document has. */
static int check_defaults(struct fl_reader *reader, const struct fl_json *document, const struct webhook_config *config)
{
    struct fl_err err = {0};
    enum webhook_setting wrong;
    int result = webhook_settings_check(&config->defaults, config->token_audience, true, &wrong, &err);
    if (result == 0 || result == -ENOMEM)
        return result;
    const char *member = webhook_setting_row(wrong)->member;
    size_t mark = fl_reader_enter(reader, fl_span_str(member));
    result = fl_reader_fail(reader, fl_json_get(document, member), "%s", err.text);
    fl_reader_leave(reader, mark);
    return result;
}

static int read_document(struct webhook_config *config, const char *file, struct fl_err *err)
{
    if (fl_yaml_count(config->document) == 0)
        return 0;
    if (fl_yaml_count(config->document) > 1)
        return fl_err_set(err, -EINVAL, "%s: expected one document, got %zu", file, fl_yaml_count(config->document));
    const struct fl_json *document = fl_yaml_document(config->document, 0);
    struct fl_reader reader;
    fl_reader_init(&reader, fl_yaml_positions(config->document), err);
    if (!fl_json_is(document, FL_JSON_OBJECT))
        return fl_reader_fail(&reader, document, "expected an object, got %s",
                              fl_json_kind_name(fl_json_kind(document)));
    struct fl_row rows[WEBHOOK_SETTING_COUNT + FL_COUNT(own_rows) + 1];
    const struct fl_table table = {rows, FL_TABLE_REFUSE_UNKNOWN};
    make_rows(rows);
    int result = fl_table_read(&reader, document, &table, config);
    return result == 0 ? check_defaults(&reader, document, config) : result;
}

int webhook_config_parse(struct fl_span text, const char *file, struct webhook_config **ret_config, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = WEBHOOK_CONFIG_MAX, .depth_max = 16};
    FL_CLEANUP(webhook_cleanup_config) struct webhook_config *config = NULL;
    int result = webhook_config_default(&config);
    if (result < 0)
        return fl_err_errno(err, result, "%s", file);
    result = fl_yaml_parse(text, file, &limits, &config->document, err);
    if (result == 0)
        result = read_document(config, file, err);
    if (result < 0)
        return result;
    config->defaults.capture.uid = config->uid;
    config->defaults.capture.gid = config->gid;
    *ret_config = fl_take(config);
    return 0;
}

struct webhook_config *webhook_config_free(struct webhook_config *config)
{
    if (config != NULL) {
        webhook_settings_done(&config->defaults);
        fl_yaml_free(config->document);
    }
    free(config);
    return NULL;
}

void webhook_cleanup_config(struct webhook_config **config)
{
    webhook_config_free(*config);
}
