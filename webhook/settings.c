#include "webhook/settings.h"

#include "common/mesh/label.h"
#include "common/mesh/port.h"
#include "webhook/extra.h"
#include "webhook/limit.h"
#include "webhook/value.h"

#include <errno.h>

#define NAMESPACE WEBHOOK_LEVEL_NAMESPACE
#define POD       WEBHOOK_LEVEL_POD

/* The member's name is the annotation's in camelCase, without the prefix; a test holds it. */
#define ROW(symbol, name, form, field, down, text)                                                                     \
    [WEBHOOK_SET_##symbol] = {                                                                                         \
        {FL_ANNOTATION_##symbol, name, down, text}, WEBHOOK_FORM_##form, offsetof(struct webhook_settings, field)}

static const struct {
    struct webhook_setting_row row;
    enum webhook_form_kind form;
    size_t offset;
} table[WEBHOOK_SETTING_COUNT] = {
    ROW(INBOUND_INCLUDE_PORTS, "inboundIncludePorts", PORTS, capture.inbound_include, POD,
        "ports of the app whose incoming traffic is captured"),
    ROW(INBOUND_EXCLUDE_PORTS, "inboundExcludePorts", PORTS, capture.inbound_exclude, POD,
        "ports of the app whose incoming traffic is not captured"),
    ROW(OUTBOUND_INCLUDE_PORTS, "outboundIncludePorts", PORTS, capture.outbound_include_ports, POD,
        "destination ports that are captured whatever the address"),
    ROW(OUTBOUND_EXCLUDE_PORTS, "outboundExcludePorts", PORTS, capture.outbound_exclude_ports, POD,
        "destination ports that are not captured, whatever the address"),
    ROW(OUTBOUND_INCLUDE_CIDRS, "outboundIncludeCidrs", CIDRS, capture.outbound_include_cidrs, POD,
        "destinations that are captured"),
    ROW(OUTBOUND_EXCLUDE_CIDRS, "outboundExcludeCidrs", CIDRS, capture.outbound_exclude_cidrs, POD,
        "destinations that are not captured"),
    ROW(OUTBOUND_EXCLUDE_UIDS, "outboundExcludeUids", UIDS, capture.outbound_exclude_uids, NAMESPACE,
        "users whose traffic is not captured"),
    ROW(EXCLUDE_INTERFACES, "excludeInterfaces", INTERFACES, capture.exclude_interfaces, POD,
        "what comes in by these interfaces or leaves through them is not captured"),
    ROW(DNS_CAPTURE, "dnsCapture", SWITCH, capture.dns, POD,
        "DNS goes through the proxy, which asks the servers of the pod's resolv.conf"),
    ROW(IPV6, "ipv6", SWITCH, capture.ipv6, POD, "IPv6 is captured; else it goes past the proxy"),
    ROW(DROP_INVALID, "dropInvalid", SWITCH, capture.drop_invalid, POD,
        "incoming TCP packets that belong to no known connection are dropped, not answered by a reset"),
    ROW(OPAQUE_PORTS, "opaquePorts", APP_PORTS, opaque_ports, POD,
        "ports whose traffic is carried as bytes and never looked into"),
    ROW(NATIVE_SIDECAR, "nativeSidecar", SWITCH, native_sidecar, POD,
        "a native sidecar (an init container that goes on running); else a classic container that holds the app"),
    ROW(START_SECONDS, "startSeconds", PATIENCE, start_seconds, POD, "how long the sidecar may take to start"),
    ROW(DRAIN_SECONDS, "drainSeconds", SECONDS, drain_seconds, POD,
        "how long a classic container goes on serving after its drain began"),
    ROW(PROBE_REWRITE, "probeRewrite", SWITCH, probe_rewrite, POD,
        "probes and lifecycle handlers of the app go by way of the sidecar, so that they work under STRICT"),
    ROW(METRICS_MERGE, "metricsMerge", SWITCH, metrics_merge, POD,
        "the app's metrics are served with the sidecar's on port 15020"),
    ROW(LOG_LEVEL, "logLevel", LOG_LEVEL, log_level, POD, "of the proxy"),
    ROW(PROXY_IMAGE, "proxyImage", IMAGE, image, NAMESPACE, "image of the proxy"),
    ROW(PROXY_IMAGE_PULL_POLICY, "proxyImagePullPolicy", PULL_POLICY, image_pull_policy, POD, "of that image"),
    ROW(PROXY_CPU_REQUEST, "proxyCpuRequest", QUANTITY, resources.cpu_request, POD, "of the proxy's container"),
    ROW(PROXY_CPU_LIMIT, "proxyCpuLimit", QUANTITY, resources.cpu_limit, POD, "of the proxy's container"),
    ROW(PROXY_MEMORY_REQUEST, "proxyMemoryRequest", QUANTITY, resources.memory_request, POD,
        "of the proxy's container"),
    ROW(PROXY_MEMORY_LIMIT, "proxyMemoryLimit", QUANTITY, resources.memory_limit, POD, "of the proxy's container"),
    ROW(PROXY_EPHEMERAL_STORAGE_REQUEST, "proxyEphemeralStorageRequest", QUANTITY, resources.ephemeral_storage_request,
        POD, "of the proxy's container"),
    ROW(PROXY_EPHEMERAL_STORAGE_LIMIT, "proxyEphemeralStorageLimit", QUANTITY, resources.ephemeral_storage_limit, POD,
        "of the proxy's container"),
    ROW(PROXY_ENV, "proxyEnv", ENV, env, NAMESPACE, "environment that the proxy's container has besides ours"),
    ROW(PROXY_VOLUMES, "proxyVolumes", VOLUMES, volumes, NAMESPACE, "volumes that the pod has for the proxy"),
    ROW(PROXY_VOLUME_MOUNTS, "proxyVolumeMounts", MOUNTS, volume_mounts, NAMESPACE,
        "where the proxy's container mounts volumes besides ours"),
    ROW(PRIVILEGED_APPS, "privilegedApps", PRIVILEGED, privileged_apps, NAMESPACE,
        "what happens to a pod whose containers could take themselves out of the mesh"),
};

void webhook_settings_defaults(struct webhook_settings *settings)
{
    *settings = (struct webhook_settings){
        .image = FL_SPAN("fairlead/fairlead-proxy:" FL_VERSION),
        .image_pull_policy = FL_SPAN("IfNotPresent"),
        .log_level = FL_SPAN("info"),
        .resources = {.cpu_request = FL_SPAN("10m"),
                      .cpu_limit = FL_SPAN("2"),
                      .memory_request = FL_SPAN("16Mi"),
                      .memory_limit = FL_SPAN("256Mi"),
                      .ephemeral_storage_request = FL_SPAN("16Mi"),
                      .ephemeral_storage_limit = FL_SPAN("1Gi")},
        .native_sidecar = true,
        .probe_rewrite = true,
        .metrics_merge = true,
        .privileged_apps = WEBHOOK_PRIVILEGED_WARN,
        .start_seconds = 600,
        .drain_seconds = 5,
    };
    fl_capture_defaults(&settings->capture);
}

void webhook_settings_done(struct webhook_settings *settings)
{
    for (size_t i = 0; i < FL_COUNT(settings->owned); i++)
        settings->owned[i] = fl_json_free(settings->owned[i]);
}

const struct webhook_setting_row *webhook_setting_row(enum webhook_setting setting)
{
    return &table[setting].row;
}

const struct webhook_form *webhook_setting_form(enum webhook_setting setting)
{
    return webhook_form(table[setting].form);
}

enum webhook_setting webhook_setting_find(struct fl_span annotation)
{
    size_t i = 0;
    while (i < WEBHOOK_SETTING_COUNT && !fl_span_eq_str(annotation, table[i].row.annotation))
        i++;
    return (enum webhook_setting)i;
}

enum webhook_setting webhook_setting_find_member(struct fl_span member)
{
    size_t i = 0;
    while (i < WEBHOOK_SETTING_COUNT && !fl_span_eq_str(member, table[i].row.member))
        i++;
    return (enum webhook_setting)i;
}

/* Which of settings->owned is this setting's. */
static struct fl_json **owner_of(enum webhook_setting setting, struct webhook_settings *settings)
{
    return &settings->owned[setting == WEBHOOK_SET_PROXY_ENV ? 0 : setting == WEBHOOK_SET_PROXY_VOLUMES ? 1 : 2];
}

static int read_json(enum webhook_setting setting, struct fl_span text, struct webhook_settings *settings,
                     struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = WEBHOOK_EXTRA_MAX, .depth_max = 16, .values_max = WEBHOOK_EXTRA_VALUES};
    struct fl_json **owner = owner_of(setting, settings);
    struct fl_reader reader;
    *owner = fl_json_free(*owner);
    *(const struct fl_json **)((char *)settings + table[setting].offset) = NULL;
    int result = text.len == 0 ? 0 : fl_json_parse(text, &limits, owner, err);
    if (result < 0 || text.len == 0)
        return result == -EMSGSIZE ? -EINVAL : result;
    fl_reader_init(&reader, NULL, err);
    return webhook_form(table[setting].form)->take(&reader, *owner, (char *)settings + table[setting].offset);
}

int webhook_setting_read(enum webhook_setting setting, struct fl_span text, enum webhook_level from,
                         struct webhook_settings *settings, struct fl_err *err)
{
    const struct webhook_form *form = webhook_form(table[setting].form);
    settings->from[setting] = from;
    return form->read != NULL ? form->read(text, (char *)settings + table[setting].offset, err)
                              : read_json(setting, text, settings, err);
}

int webhook_setting_take(enum webhook_setting setting, struct fl_reader *reader, const struct fl_json *value,
                         struct webhook_settings *settings)
{
    const struct webhook_form *form = webhook_form(table[setting].form);
    void *field = (char *)settings + table[setting].offset;
    struct fl_err err = {0};
    settings->from[setting] = WEBHOOK_LEVEL_MESH;
    if (form->take != NULL)
        return form->take(reader, value, field);
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a string");
    int result = form->read(fl_json_string(value), field, &err);
    return result == -EINVAL ? fl_reader_fail(reader, value, "%s", err.text) : result;
}

int webhook_setting_print(enum webhook_setting setting, const struct webhook_settings *settings, struct fl_buf *out)
{
    return webhook_form(table[setting].form)->print((const char *)settings + table[setting].offset, out);
}

/* How whoever set it knows it: by the annotation, or by the member of the configuration file. */
static const char *known_as(const struct webhook_settings *settings, enum webhook_setting setting)
{
    return settings->from[setting] > WEBHOOK_LEVEL_MESH ? table[setting].row.annotation : table[setting].row.member;
}

static int pair_check(const struct webhook_settings *settings, enum webhook_setting request, enum webhook_setting limit,
                      struct fl_err *err)
{
    const struct fl_span *low = (const void *)((const char *)settings + table[request].offset);
    const struct fl_span *high = (const void *)((const char *)settings + table[limit].offset);
    __int128 low_nano = 0, high_nano = 0;
    if (low->len == 0 || high->len == 0)
        return 0;
    int result = webhook_quantity_parse(*low, &low_nano, err);
    if (result == 0)
        result = webhook_quantity_parse(*high, &high_nano, err);
    if (result == 0 && low_nano > high_nano)
        result = fl_err_set(err, -EINVAL, "%s %.*s (%s) is above %s %.*s (%s)", known_as(settings, request),
                            WEBHOOK_SHOW(*low), webhook_level_word(settings->from[request]), known_as(settings, limit),
                            WEBHOOK_SHOW(*high), webhook_level_word(settings->from[limit]));
    return result;
}

int webhook_settings_check(const struct webhook_settings *settings, struct fl_span audience, bool host_path,
                           enum webhook_setting *wrong, struct fl_err *err)
{
    static const enum webhook_setting pairs[][2] = {
        {WEBHOOK_SET_PROXY_CPU_REQUEST, WEBHOOK_SET_PROXY_CPU_LIMIT},
        {WEBHOOK_SET_PROXY_MEMORY_REQUEST, WEBHOOK_SET_PROXY_MEMORY_LIMIT},
        {WEBHOOK_SET_PROXY_EPHEMERAL_STORAGE_REQUEST, WEBHOOK_SET_PROXY_EPHEMERAL_STORAGE_LIMIT},
    };
    enum webhook_setting unused;
    int result = 0;
    if (wrong == NULL)
        wrong = &unused;
    for (size_t i = 0; i < FL_COUNT(pairs) && result == 0; i++) {
        *wrong = pairs[i][settings->from[pairs[i][0]] >= settings->from[pairs[i][1]] ? 0 : 1];
        result = pair_check(settings, pairs[i][0], pairs[i][1], err);
    }
    if (result < 0)
        return result;
    *wrong = WEBHOOK_SET_PROXY_VOLUMES;
    result = webhook_extra_reach_check(settings->volumes, audience, host_path, err);
    if (result < 0)
        fl_err_prefix(err, "%s (%s)", known_as(settings, WEBHOOK_SET_PROXY_VOLUMES),
                      webhook_level_word(settings->from[WEBHOOK_SET_PROXY_VOLUMES]));
    return result;
}

const char *webhook_level_word(enum webhook_level level)
{
    static const char *const words[] = {"builtin", "mesh", "namespace", "pod"};
    return words[level];
}
