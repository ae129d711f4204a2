/* Everything that an operator or a user may set about one pod's sidecar: one table of settings. A row names the
 * annotation, the member of the configuration file, the form of its value, how far down it may be set by default, and
 * what it means; docs/annotations.md, webhook/config.schema.json and the CLI's `explain` are held to it.
 *
 * A value comes from the webhook's own defaults, the configuration file (mesh), the namespace's annotations or the
 * pod's; the nearest to the pod wins, whole: lists and objects are replaced, not merged. Of each setting it is kept
 * from where it came. Pure; resolve.h merges the levels. */
#ifndef WEBHOOK_SETTINGS_H
#define WEBHOOK_SETTINGS_H

#include "common/mesh/capture.h"
#include "webhook/form.h"

enum webhook_level { WEBHOOK_LEVEL_BUILTIN, WEBHOOK_LEVEL_MESH, WEBHOOK_LEVEL_NAMESPACE, WEBHOOK_LEVEL_POD };

enum webhook_setting {
    WEBHOOK_SET_INBOUND_INCLUDE_PORTS,
    WEBHOOK_SET_INBOUND_EXCLUDE_PORTS,
    WEBHOOK_SET_OUTBOUND_INCLUDE_PORTS,
    WEBHOOK_SET_OUTBOUND_EXCLUDE_PORTS,
    WEBHOOK_SET_OUTBOUND_INCLUDE_CIDRS,
    WEBHOOK_SET_OUTBOUND_EXCLUDE_CIDRS,
    WEBHOOK_SET_OUTBOUND_EXCLUDE_UIDS,
    WEBHOOK_SET_EXCLUDE_INTERFACES,
    WEBHOOK_SET_DNS_CAPTURE,
    WEBHOOK_SET_IPV6,
    WEBHOOK_SET_DROP_INVALID,
    WEBHOOK_SET_OPAQUE_PORTS,
    WEBHOOK_SET_NATIVE_SIDECAR,
    WEBHOOK_SET_START_SECONDS,
    WEBHOOK_SET_DRAIN_SECONDS,
    WEBHOOK_SET_PROBE_REWRITE,
    WEBHOOK_SET_METRICS_MERGE,
    WEBHOOK_SET_LOG_LEVEL,
    WEBHOOK_SET_PROXY_IMAGE,
    WEBHOOK_SET_PROXY_IMAGE_PULL_POLICY,
    WEBHOOK_SET_PROXY_CPU_REQUEST,
    WEBHOOK_SET_PROXY_CPU_LIMIT,
    WEBHOOK_SET_PROXY_MEMORY_REQUEST,
    WEBHOOK_SET_PROXY_MEMORY_LIMIT,
    WEBHOOK_SET_PROXY_EPHEMERAL_STORAGE_REQUEST,
    WEBHOOK_SET_PROXY_EPHEMERAL_STORAGE_LIMIT,
    WEBHOOK_SET_PROXY_ENV,
    WEBHOOK_SET_PROXY_VOLUMES,
    WEBHOOK_SET_PROXY_VOLUME_MOUNTS,
    WEBHOOK_SET_PRIVILEGED_APPS,
    WEBHOOK_SETTING_COUNT
};

struct webhook_resources { /* quantities; empty: left out */
    struct fl_span cpu_request, cpu_limit, memory_request, memory_limit;
    struct fl_span ephemeral_storage_request, ephemeral_storage_limit;
};

struct webhook_settings {      /* spans and trees point into the configuration, the annotations and `owned` */
    struct fl_capture capture; /* uid and gid included */
    struct fl_span image, image_pull_policy, log_level; /* a pull policy may be empty: left to Kubernetes */
    struct webhook_resources resources;
    bool native_sidecar; /* false: a classic container */
    bool probe_rewrite, metrics_merge;
    enum webhook_privileged privileged_apps;
    uint32_t start_seconds;              /* how long the sidecar may take to start, 1…3600 */
    uint32_t drain_seconds;              /* classic: how long it goes on serving after its drain began, 0…3600 */
    struct fl_port_list opaque_ports;    /* carried as bytes, never looked into; none of our own */
    const struct fl_json *env;           /* an object of strings, in the order given; NULL: none */
    const struct fl_json *volumes;       /* an array of Volumes; NULL: none */
    const struct fl_json *volume_mounts; /* an array of VolumeMounts; NULL: none */
    enum webhook_level from[WEBHOOK_SETTING_COUNT];
    struct fl_json *owned[3]; /* what env, volumes, volume_mounts were parsed into; NULL: borrowed */
};

/* The webhook's own defaults: all of WEBHOOK_LEVEL_BUILTIN. */
void webhook_settings_defaults(struct webhook_settings *settings);
/* Releases what was parsed for it; a zeroed one is fine. */
void webhook_settings_done(struct webhook_settings *settings);

struct webhook_setting_row {
    const char *annotation;  /* "fairlead.io/log-level" */
    const char *member;      /* of the configuration file: "logLevel" */
    enum webhook_level down; /* how far down it may be set where the operator says nothing */
    const char *text;        /* what it means, one line */
};

const struct webhook_setting_row *webhook_setting_row(enum webhook_setting setting);
const struct webhook_form *webhook_setting_form(enum webhook_setting setting); /* what its values look like */
/* The setting of this annotation, or member; WEBHOOK_SETTING_COUNT where there is none. */
enum webhook_setting webhook_setting_find(struct fl_span annotation);
enum webhook_setting webhook_setting_find_member(struct fl_span member);

/* Reads an annotation's text into its field, which then is `from` that level. 0; -EINVAL with the value and what would
 * be right in err (the caller adds the name); -ENOMEM. On failure the settings are not to be used, but released. */
int webhook_setting_read(enum webhook_setting setting, struct fl_span text, enum webhook_level from,
                         struct webhook_settings *settings, struct fl_err *err) FL_MUST_CHECK;
/* The same from a member of the configuration file, whose document outlives the settings. On/off settings are true or
 * false there, seconds are numbers, environment and volumes are what they are; the rest are strings as in annotations;
 * null takes away where an empty annotation does. */
int webhook_setting_take(enum webhook_setting setting, struct fl_reader *reader, const struct fl_json *value,
                         struct webhook_settings *settings) FL_MUST_CHECK;
/* Appends the value as the configuration file would hold it, in JSON. 0, -ENOMEM, -EMSGSIZE. */
int webhook_setting_print(enum webhook_setting setting, const struct webhook_settings *settings,
                          struct fl_buf *out) FL_MUST_CHECK;

/* What must hold between settings: no request above its limit, no token for our CA (`audience`) among the volumes, and
 * no hostPath in them unless it is allowed. 0 or -EINVAL; err names both settings and from where they came, *wrong
 * (which may be NULL) is the nearer one to the pod. */
int webhook_settings_check(const struct webhook_settings *settings, struct fl_span audience, bool host_path,
                           enum webhook_setting *wrong, struct fl_err *err) FL_MUST_CHECK;

const char *webhook_level_word(enum webhook_level level); /* "builtin", "mesh", "namespace", "pod" */

#endif
