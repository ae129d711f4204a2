/* Resources as they come over the wire, from YAML. Failures are asserted. */
#ifndef TESTS_UNIT_PROXY_WIRE_H
#define TESTS_UNIT_PROXY_WIRE_H

#include "common/doc/table.h"
#include "common/doc/yaml.h"
#include "common/mesh/resource.h"
#include "common/xds/convert.h"
#include "common/xds/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* In the arena. */
static inline struct fl_span wire_of(struct fl_arena *arena, enum fl_resource_type type, const char *text)
{
    const struct fl_json_limits limits = {.bytes_max = 1u << 22, .depth_max = 64};
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    struct fl_xds_report report = {0};
    struct fl_err err = {0};
    struct fl_reader reader;
    struct ProtobufCMessage *message;
    struct fl_span bytes = {NULL, 0};
    if (fl_yaml_parse(fl_span_str(text), "wire", &limits, &yaml, &err) < 0)
        fail_msg("%s", err.text);
    fl_reader_init(&reader, fl_yaml_positions(yaml), &err);
    if (fl_xds_read(&reader, fl_xds_type(fl_span_str(fl_resource_type_url(type))), fl_yaml_document(yaml, 0), arena,
                    &report, &message) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(fl_xds_pack(message, arena, &bytes), 0);
    return bytes;
}

#endif
