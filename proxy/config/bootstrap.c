#include "proxy/config/bootstrap.h"

#include "common/doc/yaml.h"
#include "common/xds/convert.h"
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

static int from_document(const struct fl_yaml *yaml, const char *name, const char *path,
                         struct proxy_bootstrap_warnings *warnings, struct proxy_assembly *assembly, struct fl_err *err)
{
    if (fl_yaml_count(yaml) != 1)
        return fl_err_set(err, -EINVAL, "%s: expected one document, got %zu", name, fl_yaml_count(yaml));
    struct fl_xds_report report = report_to(warnings);
    struct proxy_compile_from from = {
        .document = fl_yaml_document(yaml, 0),
        .positions = fl_yaml_positions(yaml),
        .report = &report,
        .path = fl_span_str(path),
        .dynamic = true,
    };
    struct fl_reader reader;
    fl_reader_init(&reader, from.positions, err);
    struct fl_arena arena;
    fl_arena_init(&arena, MESSAGE_MAX);
    ProtobufCMessage *message;
    int result = fl_xds_read(&reader, &envoy__config__bootstrap__v3__bootstrap__descriptor, from.document, &arena,
                             &report, &message);
    if (result == 0)
        result = proxy_assembly_bootstrap(assembly, (const pb_bootstrap *)message, &from, err);
    fl_arena_done(&arena);
    return result;
}

int proxy_bootstrap_read(struct fl_span text, const char *name, struct proxy_bootstrap_warnings *warnings,
                         struct proxy_assembly *assembly, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = PROXY_BOOTSTRAP_BYTES_MAX,
                                          .depth_max = PROXY_BOOTSTRAP_DEPTH_MAX};
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    int result = fl_yaml_parse(text, name, &limits, &yaml, err);
    return result != 0 ? result : from_document(yaml, name, NULL, warnings, assembly, err);
}

int proxy_bootstrap_load(const char *path, struct proxy_bootstrap_warnings *warnings, struct proxy_assembly *assembly,
                         struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = PROXY_BOOTSTRAP_BYTES_MAX,
                                          .depth_max = PROXY_BOOTSTRAP_DEPTH_MAX};
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    int result = fl_yaml_load(path, &limits, &yaml, err);
    return result != 0 ? result : from_document(yaml, path, path, warnings, assembly, err);
}

int proxy_bootstrap_parse(struct fl_span text, const char *name, struct proxy_bootstrap_warnings *warnings,
                          struct proxy_snapshot **ret_snapshot, struct fl_err *err)
{
    struct proxy_assembly *assembly;
    if (proxy_assembly_new(NULL, NULL, &assembly) < 0)
        return fl_err_set(err, -ENOMEM, "out of memory");
    int result = proxy_bootstrap_read(text, name, warnings, assembly, err);
    if (result == 0)
        result = proxy_assembly_publish(assembly, 0, ret_snapshot, err);
    proxy_assembly_free(assembly);
    return result == PROXY_ASSEMBLY_PUBLISHED ? 0 : result;
}
