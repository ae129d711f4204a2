#include "tests/unit/control/xds_world.h"

#include "common/doc/yaml.h"
#include "control/model/reader.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct fl_json_limits limits = {.bytes_max = 4 << 20, .depth_max = 64, .values_max = 1 << 20};

static struct control_diff *change(struct control_store *store, struct fl_span text, bool remove)
{
    struct fl_yaml *yaml;
    struct fl_err err = {0};
    struct control_diff *diff;
    if (fl_yaml_parse(text, "world.yaml", &limits, &yaml, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < fl_yaml_count(yaml); i++) {
        const struct control_origin origin = {.source = FL_SPAN("world.yaml"), .document = (uint32_t)i + 1};
        struct control_object *object;
        struct control_identity identity;
        int result = control_object_read(fl_yaml_document(yaml, i), fl_yaml_positions(yaml), &origin,
                                         FL_SPAN(CONTROL_ROOT_DEFAULT), &object, &identity, &err);
        if (result != CONTROL_READ_OK)
            fail_msg("document %zu: %s", i + 1, err.text);
        if (remove)
            assert_int_equal(control_store_remove(store, control_object_key(object)), 0);
        else
            assert_int_equal(control_store_put(store, object), 0);
        control_object_unref(object);
    }
    fl_yaml_free(yaml);
    assert_int_equal(control_store_commit(store, &diff), 0);
    return diff;
}

struct control_diff *world_put(struct control_store *store, struct fl_span yaml)
{
    return change(store, yaml, false);
}

struct control_diff *world_remove(struct control_store *store, struct fl_span yaml)
{
    return change(store, yaml, true);
}
