#include "proxy/config/bootstrap.h"

#include "common/doc/yaml.h"
#include "common/xds/convert.h"
#include "proxy/config/compile.h"
#include "proxy/config/messages.h"

#include <errno.h>
#include <stdio.h>

#define MESSAGE_MAX (256u << 20) /* bytes that a bootstrap may take as messages */

static void on_ignored(void *owner, const char *text)
{
    struct proxy_bootstrap_warnings *warnings = owner;
    if (warnings->count < PROXY_BOOTSTRAP_WARNINGS_MAX)
        snprintf(warnings->texts[warnings->count], PROXY_BOOTSTRAP_WARNING_MAX, "%s", text);
    warnings->count++;
}

static struct fl_xds_report report_to(struct proxy_bootstrap_warnings *warnings)
{
    if (warnings == NULL)
        return (struct fl_xds_report){0};
    warnings->count = 0;
    return (struct fl_xds_report){.on_ignored = on_ignored, .owner = warnings};
}

static int from_document(const struct fl_yaml *yaml, const char *name, struct proxy_bootstrap_warnings *warnings,
                         struct proxy_snapshot **ret_snapshot, struct fl_err *err)
{
    if (fl_yaml_count(yaml) != 1)
        return fl_err_set(err, -EINVAL, "%s: expected one document, got %zu", name, fl_yaml_count(yaml));
    struct fl_xds_report report = report_to(warnings);
    struct proxy_compile_from from = {
        .document = fl_yaml_document(yaml, 0), .positions = fl_yaml_positions(yaml), .report = &report};
    struct fl_reader reader;
    fl_reader_init(&reader, from.positions, err);
    struct fl_arena arena;
    fl_arena_init(&arena, MESSAGE_MAX);
    ProtobufCMessage *message;
    int result = fl_xds_read(&reader, &envoy__config__bootstrap__v3__bootstrap__descriptor, from.document, &arena,
                             &report, &message);
    if (result == 0)
        result = proxy_compile((const pb_bootstrap *)message, &from, ret_snapshot, err);
    fl_arena_done(&arena);
    return result;
}

int proxy_bootstrap_parse(struct fl_span text, const char *name, struct proxy_bootstrap_warnings *warnings,
                          struct proxy_snapshot **ret_snapshot, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = PROXY_BOOTSTRAP_BYTES_MAX,
                                          .depth_max = PROXY_BOOTSTRAP_DEPTH_MAX};
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    int result = fl_yaml_parse(text, name, &limits, &yaml, err);
    return result != 0 ? result : from_document(yaml, name, warnings, ret_snapshot, err);
}

int proxy_bootstrap_load(const char *path, struct proxy_bootstrap_warnings *warnings,
                         struct proxy_snapshot **ret_snapshot, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = PROXY_BOOTSTRAP_BYTES_MAX,
                                          .depth_max = PROXY_BOOTSTRAP_DEPTH_MAX};
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    int result = fl_yaml_load(path, &limits, &yaml, err);
    if (result == 0)
        result = from_document(yaml, path, warnings, &snapshot, err);
    if (result != 0)
        return result;
    snapshot->path = fl_arena_copy(&snapshot->arena, fl_span_str(path));
    if (snapshot->path.data == NULL)
        return fl_err_set(err, -ENOMEM, "%s: out of memory", path);
    *ret_snapshot = fl_take(snapshot);
    return 0;
}

int proxy_bootstrap_refresh(const struct proxy_snapshot *old, struct proxy_snapshot **ret_snapshot, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    struct fl_arena arena;
    fl_arena_init(&arena, MESSAGE_MAX);
    ProtobufCMessage *message;
    int result = fl_xds_unpack(&envoy__config__bootstrap__v3__bootstrap__descriptor, old->bootstrap, &arena, NULL,
                               &message, err);
    if (result == 0)
        result = proxy_compile((const pb_bootstrap *)message, NULL, &snapshot, err);
    fl_arena_done(&arena);
    if (result == 0 && old->path.len > 0) {
        snapshot->path = fl_arena_copy(&snapshot->arena, old->path);
        if (snapshot->path.data == NULL)
            result = fl_err_set(err, -ENOMEM, "%s: out of memory", old->path.data);
    }
    if (result != 0)
        return result;
    snapshot->version = old->version + 1;
    snapshot->ignored_fields = old->ignored_fields;
    *ret_snapshot = fl_take(snapshot);
    return 0;
}
