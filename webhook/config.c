#include "webhook/config.h"

#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "common/mesh/port.h"
#include "webhook/value.h"

#include <errno.h>

#define UID_LARGEST 4294967294 /* 2^32 - 1 means "no change" to the kernel */

/* A row's reader that hands the string to a check: detail points to one of these. */
struct check {
    int (*run)(struct fl_span text, struct fl_err *err);
};

static int quantity_check(struct fl_span text, struct fl_err *err)
{
    __int128 nano;
    return text.len == 0 ? 0 : webhook_quantity_parse(text, &nano, err);
}

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

static int read_ports(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_err err = {0};
    struct fl_span text;
    int result = fl_read_string(reader, value, &text, row);
    if (result == 0 && fl_port_list_parse(text, field, &err) < 0)
        result = fl_reader_fail(reader, value, "%s", err.text);
    return result;
}

static int read_cidrs(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_err err = {0};
    struct fl_span text;
    int result = fl_read_string(reader, value, &text, row);
    if (result == 0 && fl_cidr_list_parse(text, field, &err) < 0)
        result = fl_reader_fail(reader, value, "%s", err.text);
    return result;
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

/* "10.0.0.1:15012,[fd00::1]:15012". */
static int addresses_check(struct fl_span text, struct fl_err *err)
{
    struct fl_span rest = text, part;
    if (text.len > WEBHOOK_CONFIG_ADDRESSES)
        return fl_err_set(err, -EINVAL, "longer than %d bytes", WEBHOOK_CONFIG_ADDRESSES);
    while (fl_span_split(&rest, ',', &part))
        if (!webhook_is_address(part))
            return fl_err_set(err, -EINVAL, "\"%.*s\" is not an address; expected IP:port, IPv6 in brackets",
                              WEBHOOK_SHOW(part));
    return 0;
}

static int name_check(struct fl_span text, struct fl_err *err)
{
    return webhook_is_dns_name(text) ? 0 : fl_err_set(err, -EINVAL, "\"%.*s\" is not a DNS name", WEBHOOK_SHOW(text));
}

static const struct check image = {webhook_image_check}, pull_policy = {webhook_pull_policy_check},
                          log_level = {webhook_log_level_check}, quantity = {quantity_check},
                          audience = {audience_check}, trust_domain = {trust_domain_check}, label = {label_check},
                          addresses = {addresses_check}, name = {name_check};

#define RESOURCE(row_name, member)                                                                                     \
    {                                                                                                                  \
        .name = (row_name), .read = read_checked, .offset = offsetof(struct webhook_resources, member),                \
        .detail = &quantity                                                                                            \
    }

static const struct fl_row request_rows[] = {RESOURCE("cpu", cpu_request), RESOURCE("memory", memory_request), {0}};
static const struct fl_row limit_rows[] = {RESOURCE("cpu", cpu_limit), RESOURCE("memory", memory_limit), {0}};
static const struct fl_table request_table = {request_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_table limit_table = {limit_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row resource_rows[] = {
    {.name = "requests", .read = fl_read_object, .detail = &request_table},
    {.name = "limits", .read = fl_read_object, .detail = &limit_table},
    {0},
};
static const struct fl_table resource_table = {resource_rows, FL_TABLE_REFUSE_UNKNOWN};

#define CAPTURE(row_name, reader, member)                                                                              \
    {                                                                                                                  \
        .name = (row_name), .read = (reader), .offset = offsetof(struct fl_capture, member)                            \
    }

static const struct fl_row capture_rows[] = {
    CAPTURE("inboundIncludePorts", read_ports, inbound_include),
    CAPTURE("inboundExcludePorts", read_ports, inbound_exclude),
    CAPTURE("outboundIncludePorts", read_ports, outbound_include_ports),
    CAPTURE("outboundExcludePorts", read_ports, outbound_exclude_ports),
    CAPTURE("outboundIncludeCIDRs", read_cidrs, outbound_include_cidrs),
    CAPTURE("outboundExcludeCIDRs", read_cidrs, outbound_exclude_cidrs),
    {0},
};
static const struct fl_table capture_table = {capture_rows, FL_TABLE_REFUSE_UNKNOWN};

#define FIELD(member)          .offset = offsetof(struct webhook_config, member)
#define CHECKED(member, check) .read = read_checked, FIELD(member), .detail = &(check)

static const struct fl_row control_rows[] = {
    {.name = "address", CHECKED(control_address, addresses), .flags = FL_ROW_REQUIRED},
    {.name = "name", CHECKED(control_name, name)},
    {0},
};
static const struct fl_table control_table = {control_rows, FL_TABLE_REFUSE_UNKNOWN};

static const struct fl_row rows[] = {
    {.name = "image", CHECKED(image, image)},
    {.name = "imagePullPolicy", CHECKED(image_pull_policy, pull_policy)},
    {.name = "logLevel", CHECKED(log_level, log_level)},
    {.name = "uid", .read = fl_read_u32, FIELD(uid), .min = 1, .max = UID_LARGEST},
    {.name = "gid", .read = fl_read_u32, FIELD(gid), .min = 1, .max = UID_LARGEST},
    {.name = "resources", .read = fl_read_object, FIELD(resources), .detail = &resource_table},
    {.name = "capture", .read = fl_read_object, FIELD(capture), .detail = &capture_table},
    {.name = "nativeSidecar", .read = fl_read_bool, FIELD(native_sidecar)},
    {.name = "podOverrides", .read = fl_read_bool, FIELD(pod_overrides)},
    {.name = "control", .read = fl_read_object, .detail = &control_table},
    {.name = "tokenAudience", CHECKED(token_audience, audience)},
    {.name = "trustDomain", CHECKED(trust_domain, trust_domain)},
    {.name = "ignoredNamespaces", .read = read_ignored},
    {.name = "revision", CHECKED(revision, label)},
    {0},
};
static const struct fl_table table = {rows, FL_TABLE_REFUSE_UNKNOWN};

static int pair_check(const char *what, struct fl_span request, struct fl_span limit, struct fl_err *err)
{
    __int128 request_nano, limit_nano;
    if (request.len == 0 || limit.len == 0)
        return 0;
    int result = webhook_quantity_parse(request, &request_nano, err);
    if (result == 0)
        result = webhook_quantity_parse(limit, &limit_nano, err);
    if (result == 0 && request_nano > limit_nano)
        result = fl_err_set(err, -EINVAL, "the proxy's %s request %.*s is above its limit %.*s", what,
                            WEBHOOK_SHOW(request), WEBHOOK_SHOW(limit));
    return result;
}

int webhook_resources_check(const struct webhook_resources *resources, struct fl_err *err)
{
    int result = pair_check("cpu", resources->cpu_request, resources->cpu_limit, err);
    return result < 0 ? result : pair_check("memory", resources->memory_request, resources->memory_limit, err);
}

int webhook_config_default(struct webhook_config **ret_config)
{
    struct webhook_config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return -ENOMEM;
    *config = (struct webhook_config){
        .image = FL_SPAN("fairlead/fairlead-proxy:" FL_VERSION),
        .image_pull_policy = FL_SPAN("IfNotPresent"),
        .log_level = FL_SPAN("info"),
        .token_audience = FL_SPAN(FL_TOKEN_AUDIENCE),
        .control_name = FL_SPAN(FL_CONTROL_NAME),
        .trust_domain = FL_SPAN(FL_TRUST_DOMAIN_DEFAULT),
        .revision = FL_SPAN("default"),
        .resources = {FL_SPAN("10m"), FL_SPAN("2"), FL_SPAN("16Mi"), FL_SPAN("256Mi")},
        .uid = FL_PROXY_UID,
        .gid = FL_PROXY_GID,
        .native_sidecar = true,
        .pod_overrides = true,
        .ignored = {FL_SPAN("kube-system"), FL_SPAN("kube-public"), FL_SPAN("kube-node-lease")},
        .ignored_count = 3,
    };
    fl_capture_defaults(&config->capture);
    *ret_config = config;
    return 0;
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
    int result = fl_table_read(&reader, document, &table, config);
    if (result == 0) {
        result = webhook_resources_check(&config->resources, err);
        if (result < 0)
            fl_err_prefix(err, "%s: $.resources", file);
    }
    return result;
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
    config->capture.uid = config->uid;
    config->capture.gid = config->gid;
    *ret_config = fl_take(config);
    return 0;
}

struct webhook_config *webhook_config_free(struct webhook_config *config)
{
    if (config != NULL)
        fl_yaml_free(config->document);
    free(config);
    return NULL;
}

void webhook_cleanup_config(struct webhook_config **config)
{
    webhook_config_free(*config);
}
