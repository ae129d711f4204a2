/* /config_dump of resources that came over xDS: in force, warming, refused. */
#include "proxy/admin/dump.h"

#include "common/doc/json.h"
#include "proxy/config/bootstrap.h"
#include "tests/unit/proxy/wire.h"

static const struct fl_json *part(const struct fl_json *dump, const char *type, const char *list)
{
    for (const struct fl_json *one = fl_json_first(fl_json_get(dump, "configs")); one != NULL;
         one = fl_json_next(one)) {
        struct fl_span name = fl_json_string(fl_json_get(one, "@type"));
        if (fl_span_ends_with(name, fl_span_str(type)))
            return fl_json_get(one, list);
    }
    fail_msg("no %s", type);
    return NULL;
}

static void versions_and_states(void **state)
{
    (void)state;
    struct proxy_assembly *assembly;
    struct proxy_snapshot *snapshot = NULL;
    struct fl_arena arena;
    struct fl_err err;
    struct fl_buf out;
    fl_arena_init(&arena, 1u << 20);
    fl_buf_init(&out, 1u << 20);
    assert_int_equal(proxy_assembly_new(NULL, NULL, &assembly), 0);
    assert_int_equal(proxy_bootstrap_read(FL_SPAN("node: {id: a}\n"), "x", NULL, assembly, &err), 0);
    assert_int_equal(proxy_assembly_put(assembly, FL_RESOURCE_CLUSTER, FL_SPAN("c"), FL_SPAN("v1"),
                                        wire_of(&arena, FL_RESOURCE_CLUSTER, "name: c\n"), &err),
                     0);
    assert_int_equal(proxy_assembly_put(assembly, FL_RESOURCE_CLUSTER, FL_SPAN("e"), FL_SPAN("v2"),
                                        wire_of(&arena, FL_RESOURCE_CLUSTER,
                                                "name: e\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}}}\n"),
                                        &err),
                     0);
    assert_true(proxy_assembly_put(assembly, FL_RESOURCE_LISTENER, FL_SPAN("l"), FL_SPAN("v3"),
                                   wire_of(&arena, FL_RESOURCE_LISTENER, "name: l\n"), &err) < 0);
    assert_int_equal(proxy_assembly_publish(assembly, 1, &snapshot, &err), PROXY_ASSEMBLY_PUBLISHED);
    assert_int_equal(proxy_dump_print(snapshot, assembly, &out), 0);
    const struct fl_json_limits limits = {.bytes_max = 1u << 20, .depth_max = 64};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *dump = NULL;
    assert_int_equal(fl_json_parse(fl_buf_span(&out), &limits, &dump, &err), 0);
    const struct fl_json *active = fl_json_first(part(dump, "ClustersConfigDump", "dynamic_active_clusters"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(active, "version_info")), "v1"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(fl_json_get(active, "cluster"), "name")), "c"));
    const struct fl_json *warming = fl_json_first(part(dump, "ClustersConfigDump", "dynamic_warming_clusters"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(warming, "waits_for")), "EDS e"));
    const struct fl_json *refused = fl_json_first(part(dump, "ListenersConfigDump", "dynamic_listeners"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(fl_json_get(refused, "error_state"), "version_info")), "v3"));
    proxy_snapshot_unref(snapshot);
    proxy_assembly_free(assembly);
    fl_buf_done(&out);
    fl_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(versions_and_states)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
