#include "webhook/sidecar.h"

#include "common/mesh/container.h"
#include "common/mesh/label.h"
#include "common/mesh/place.h"
#include "webhook/budget.h"
#include "webhook/pod.h"
#include "webhook/status.h"
#include "webhook/value.h"

#include <errno.h>

#define USER_IDS      65536 /* that a pod with hostUsers: false has */
#define GRACE_DEFAULT 30

/* ---- What the pod makes of it ---- */

/* A pod in a user namespace of its own has the ids below 65536 alone; a container of another would not start. */
static int check_ids(const struct fl_json *spec, const struct webhook_settings *settings, struct fl_err *err)
{
    const struct fl_json *host = webhook_pod_member(spec, "hostUsers");
    uint32_t uid = settings->capture.uid, gid = settings->capture.gid;
    if (!fl_json_is(host, FL_JSON_BOOL) || fl_json_bool(host) || (uid < USER_IDS && gid < USER_IDS))
        return 0;
    return fl_err_set(
        err, -EINVAL,
        "hostUsers: false gives the pod ids below %d, and the proxy runs as %u:%u; set another uid and gid", USER_IDS,
        uid, gid);
}

/* Each mount of proxy-volume-mounts has its volume: among the proxy's, or the pod's own. */
static int check_mounts(const struct fl_json *spec, const struct webhook_settings *settings, struct fl_err *err)
{
    const struct fl_json *own = webhook_pod_member(spec, "volumes");
    bool mesh = settings->from[WEBHOOK_SET_PROXY_VOLUME_MOUNTS] == WEBHOOK_LEVEL_MESH;
    for (const struct fl_json *item = fl_json_first(settings->volume_mounts); item != NULL; item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        if (webhook_list_find(settings->volumes, "name", name, NULL) == NULL &&
            webhook_list_find(own, "name", name, NULL) == NULL)
            return fl_err_set(err, -EINVAL, "%s: the pod has no volume %.*s; add it to %s",
                              mesh ? "the webhook's configuration, proxyVolumeMounts"
                                   : "annotation " FL_ANNOTATION_PROXY_VOLUME_MOUNTS,
                              WEBHOOK_SHOW(name), mesh ? "proxyVolumes" : FL_ANNOTATION_PROXY_VOLUMES);
    }
    return 0;
}

static bool may_trace(const struct fl_json *container)
{
    const struct fl_json *context = webhook_pod_member(container, "securityContext");
    const struct fl_json *added = webhook_pod_member(webhook_pod_member(context, "capabilities"), "add");
    for (const struct fl_json *item = fl_json_first(added); item != NULL; item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(item);
        if (fl_span_ends_with(name, FL_SPAN("SYS_PTRACE")) || fl_span_ends_with(name, FL_SPAN("SYS_ADMIN")) ||
            fl_span_eq_str(name, "ALL"))
            return true;
    }
    return fl_json_bool(fl_json_get(context, "privileged"));
}

/* The kernel keeps the sidecar's memory and files from the app's users, but not from who may trace every process. */
static void warn_of_shared_processes(const struct fl_json *spec, struct webhook_warnings *warnings)
{
    if (!fl_json_bool(fl_json_get(spec, "shareProcessNamespace")))
        return;
    for (size_t i = 0; webhook_container_lists[i] != NULL; i++) {
        const struct fl_json *list = webhook_pod_member(spec, webhook_container_lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
            if (!may_trace(item))
                continue;
            webhook_warn(warnings, "container %.*s can read the sidecar's keys: shareProcessNamespace and SYS_PTRACE",
                         WEBHOOK_SHOW(fl_json_string(fl_json_get(item, "name"))));
            return;
        }
    }
}

/* What a classic sidecar's preStop takes is part of the pod's grace. */
static void warn_of_short_grace(const struct fl_json *spec, const struct webhook_settings *settings,
                                struct webhook_warnings *warnings)
{
    int64_t grace = GRACE_DEFAULT;
    const struct fl_json *given = webhook_pod_member(spec, "terminationGracePeriodSeconds");
    if (given != NULL && !fl_json_int(given, 0, INT32_MAX, &grace))
        return;
    if (!settings->native_sidecar && settings->drain_seconds > 0 && grace <= settings->drain_seconds)
        webhook_warn(warnings,
                     "terminationGracePeriodSeconds %lld is not longer than " FL_ANNOTATION_DRAIN_SECONDS
                     " %u: the sidecar is killed while it serves",
                     (long long)grace, settings->drain_seconds);
}

/* ---- Making it ---- */

static struct fl_container fill_container(const struct webhook_config *config, const struct webhook_settings *settings,
                                          const struct webhook_owner *owner, const struct webhook_resources *resources)
{
    return (struct fl_container){
        .image = settings->image,
        .image_pull_policy = settings->image_pull_policy,
        .log_level = settings->log_level,
        .workload = fl_span_str(owner->name),
        .control_address = config->control_address,
        .control_name = config->control_name,
        .trust_domain = config->trust_domain,
        .cpu_request = resources->cpu_request,
        .cpu_limit = resources->cpu_limit,
        .memory_request = resources->memory_request,
        .memory_limit = resources->memory_limit,
        .ephemeral_storage_request = resources->ephemeral_storage_request,
        .ephemeral_storage_limit = resources->ephemeral_storage_limit,
        .uid = settings->capture.uid,
        .gid = settings->capture.gid,
        .start_seconds = settings->start_seconds,
        .drain_seconds = settings->drain_seconds,
        .env = settings->env,
        .mounts = settings->volume_mounts,
        .native = settings->native_sidecar,
    };
}

/* A native sidecar has none; but what bears its name in the pod is compared with it, before it is taken out. */
static bool needs_gate(const struct webhook_settings *settings, const struct fl_json *spec)
{
    if (!settings->native_sidecar)
        return true;
    for (size_t i = 0; webhook_container_lists[i] != NULL; i++) {
        const struct fl_json *list = webhook_pod_member(spec, webhook_container_lists[i]);
        if (webhook_list_find(list, "name", FL_SPAN(FL_GATE_NAME), NULL) != NULL)
            return true;
    }
    return false;
}

static bool has_control(const struct webhook_config *config)
{
    return config->control_address.len > 0 && !fl_span_eq_str(config->control_address, FL_PLACE_NONE);
}

static struct fl_json *make_volumes(const struct webhook_config *config, const struct webhook_settings *settings)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    if (list == NULL || fl_json_append(list, fl_container_volume()) < 0 ||
        fl_json_append(list, fl_container_token_volume(config->token_audience, has_control(config))) < 0)
        return NULL;
    for (const struct fl_json *item = fl_json_first(settings->volumes); item != NULL; item = fl_json_next(item)) {
        if (fl_json_append(list, fl_json_copy(item)) < 0)
            return NULL;
    }
    return fl_take(list);
}

int webhook_sidecar_make(const struct webhook_config *config, const struct webhook_settings *settings,
                         const struct webhook_owner *owner, const struct fl_json *pod,
                         struct webhook_sidecar *ret_sidecar, struct webhook_warnings *warnings, struct fl_err *err)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    struct webhook_sidecar sidecar = {.native = settings->native_sidecar};
    struct webhook_resources resources = settings->resources;
    struct webhook_budget texts;
    int result = check_ids(spec, settings, err);
    if (result == 0)
        result = check_mounts(spec, settings, err);
    if (result < 0)
        return result;
    webhook_budget_fit(pod, sidecar.native, &resources, &texts, warnings);
    fl_buf_init(&sidecar.capture, FL_CAPTURE_TEXT_MAX);
    fl_buf_init(&sidecar.status, WEBHOOK_STATUS_MAX);
    const struct fl_container container = fill_container(config, settings, owner, &resources);
    bool gate = needs_gate(settings, spec);
    sidecar.container = fl_container_render(&container);
    sidecar.gate = gate ? fl_container_render_gate(&container) : NULL;
    sidecar.volumes = make_volumes(config, settings);
    result = sidecar.container == NULL || (gate && sidecar.gate == NULL) || sidecar.volumes == NULL ? -ENOMEM : 0;
    if (result == 0)
        result = fl_capture_print(&settings->capture, &sidecar.capture);
    if (result < 0) {
        webhook_sidecar_done(&sidecar);
        return result;
    }
    warn_of_shared_processes(spec, warnings);
    warn_of_short_grace(spec, settings, warnings);
    *ret_sidecar = sidecar;
    return 0;
}

void webhook_sidecar_done(struct webhook_sidecar *sidecar)
{
    fl_json_free(sidecar->container);
    fl_json_free(sidecar->gate);
    fl_json_free(sidecar->volumes);
    fl_buf_done(&sidecar->capture);
    fl_buf_done(&sidecar->status);
    *sidecar = (struct webhook_sidecar){0};
}
