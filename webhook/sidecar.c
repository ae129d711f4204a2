#include "webhook/sidecar.h"

#include "common/mesh/container.h"
#include "common/mesh/label.h"

#include <errno.h>

#define STATUS_MAX     1024
#define STATUS_VERSION 1

static int print_status(const struct webhook_config *config, struct fl_buf *status)
{
    int result = fl_buf_printf(status, "{\"version\":%d,\"program\":\"" FL_VERSION "\",\"revision\":", STATUS_VERSION);
    if (result == 0)
        result = fl_buf_append_json_string(status, config->revision);
    if (result == 0)
        result = fl_buf_append_str(status, ",\"container\":\"" FL_CONTAINER_NAME "\",\"volumes\":[\"" FL_VOLUME_NAME
                                           "\",\"" FL_TOKEN_VOLUME "\"]}");
    return result;
}

int webhook_sidecar_make(const struct webhook_config *config, const struct webhook_settings *settings,
                         const struct webhook_owner *owner, struct webhook_sidecar *ret_sidecar)
{
    const struct webhook_resources *resources = &settings->resources;
    const struct fl_container container = {
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
        .uid = settings->capture.uid,
        .gid = settings->capture.gid,
        .native = settings->native_sidecar,
    };
    struct webhook_sidecar sidecar = {.native = settings->native_sidecar};
    fl_buf_init(&sidecar.capture, FL_CAPTURE_TEXT_MAX);
    fl_buf_init(&sidecar.status, STATUS_MAX);
    sidecar.container = fl_container_render(&container);
    sidecar.volume = fl_container_volume();
    sidecar.token_volume = fl_container_token_volume(config->token_audience, config->control_address.len > 0);
    int result = sidecar.container == NULL || sidecar.volume == NULL || sidecar.token_volume == NULL ? -ENOMEM : 0;
    if (result == 0)
        result = fl_capture_print(&settings->capture, &sidecar.capture);
    if (result == 0)
        result = print_status(config, &sidecar.status);
    if (result < 0)
        webhook_sidecar_done(&sidecar);
    else
        *ret_sidecar = sidecar;
    return result;
}

void webhook_sidecar_done(struct webhook_sidecar *sidecar)
{
    fl_json_free(sidecar->container);
    fl_json_free(sidecar->volume);
    fl_json_free(sidecar->token_volume);
    fl_buf_done(&sidecar->capture);
    fl_buf_done(&sidecar->status);
    *sidecar = (struct webhook_sidecar){0};
}

bool webhook_sidecar_is_status(struct fl_span text)
{
    const struct fl_json_limits limits = {.bytes_max = STATUS_MAX, .depth_max = 4};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    int64_t version;
    if (text.len == 0 || fl_json_parse(text, &limits, &status, NULL) < 0)
        return false;
    return fl_json_int(fl_json_get(status, "version"), 1, STATUS_VERSION, &version) &&
           fl_span_eq_str(fl_json_string(fl_json_get(status, "container")), FL_CONTAINER_NAME);
}
