/* What fairlead-control generates, fairlead-proxy takes: every resource of every golden world (tests/golden/xds), for a
 * sidecar, a gateway and a plain client, goes into the proxy's assembly. */
#include "control/xds/generate.h"
#include "proxy/config/assembly.h"
#include "tests/unit/control/xds_world.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FOLDER "tests/golden/xds"

static const struct control_node nodes[] = {
    {.role = CONTROL_ROLE_SIDECAR, .name = "web-1", .name_space = "demo", .ip = "10.1.0.1"},
    {.role = CONTROL_ROLE_SIDECAR, .on_demand = true, .name = "nobody", .name_space = "demo", .ip = "10.1.0.77"},
    {.role = CONTROL_ROLE_GATEWAY, .name = "main", .name_space = "edge", .ip = "10.1.8.8"},
    {.role = CONTROL_ROLE_CLIENT},
};

struct taking {
    const char *world;
    struct control_view view;
    enum fl_resource_type type;
    struct fl_arena arena, names; /* the latter holds names while the walk's arena is in use */
    struct proxy_assembly *assembly;
    size_t taken;
};

static void take(struct taking *taking, enum fl_resource_type type, struct fl_span name)
{
    struct control_resource *resource;
    struct fl_err err = {0};
    struct fl_arena arena;
    fl_arena_init(&arena, CONTROL_GENERATE_ARENA_MAX);
    assert_int_equal(control_generate(&taking->view, type, name, &arena, &resource), 0);
    fl_arena_done(&arena);
    if (resource == NULL)
        return;
    if (proxy_assembly_put(taking->assembly, type, name, FL_SPAN("1"), resource->bytes, &err) < 0)
        fail_msg("%s: %s %.*s: %s", taking->world, fl_resource_type_word(type), FL_SPAN_ARG(name), err.text);
    control_resource_unref(resource);
    taking->taken++;
}

static int visit(void *visitor, struct fl_span name)
{
    struct taking *taking = visitor;
    take(taking, taking->type, name);
    return 0;
}

static void take_more(struct taking *taking)
{
    static const struct {
        enum fl_resource_type type;
        const char *name;
    } rows[] = {
        {FL_RESOURCE_LISTENER, "outbound|10.1.0.1:8080"},
        {FL_RESOURCE_LISTENER, "outbound|10.1.77.77:80"},
        {FL_RESOURCE_LISTENER, "outbound|192.0.2.1:443"},
        {FL_RESOURCE_CLUSTER, "workload|10.1.0.1:8080"},
        {FL_RESOURCE_ENDPOINTS, "workload|10.1.0.1:8080"},
        {FL_RESOURCE_ENDPOINTS, "outbound|80||web.demo.svc.cluster.local"},
        {FL_RESOURCE_ENDPOINTS, "outbound|9000||web.demo.svc.cluster.local"},
        {FL_RESOURCE_ROUTES, "outbound|80|web.demo.svc.cluster.local"},
        {FL_RESOURCE_ROUTES, "outbound|9001|web.demo.svc.cluster.local"},
        {FL_RESOURCE_ROUTES, "gateway|edge/main|80"},
        {FL_RESOURCE_ROUTES, "gateway|edge/main|443|https"},
        {FL_RESOURCE_SECRET, "kubernetes://edge/tls"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        take(taking, rows[i].type, fl_span_str(rows[i].name));
}

static void run(const char *path)
{
    struct control_store *store;
    struct fl_buf text;
    struct fl_err err = {0};
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    assert_int_equal(control_store_new(&store), 0);
    control_diff_free(world_put(store, fl_buf_span(&text)));
    for (size_t i = 0; i < FL_COUNT(nodes); i++) {
        struct taking taking = {.world = path};
        fl_arena_init(&taking.arena, CONTROL_GENERATE_ARENA_MAX);
        fl_arena_init(&taking.names, 1 << 20);
        assert_int_equal(proxy_assembly_new(NULL, NULL, &taking.assembly), 0);
        assert_int_equal(control_view_make(control_store_model(store), &nodes[i], (struct fl_span){NULL, 0},
                                           &taking.names, &taking.view, &err),
                         0);
        for (taking.type = 0; taking.type < FL_RESOURCE_TYPES; taking.type++)
            assert_int_equal(control_generate_each(&taking.view, taking.type, CONTROL_GROUP_EVERYTHING, &taking.arena,
                                                   visit, &taking),
                             0);
        take_more(&taking);
        assert_true(taking.taken > 0);
        proxy_assembly_free(taking.assembly);
        fl_arena_done(&taking.arena);
        fl_arena_done(&taking.names);
    }
    control_store_free(store);
    fl_buf_done(&text);
}

static void the_proxy_takes_what_control_gives(void **state)
{
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[512];
        size_t len = strlen(entry->d_name);
        if (len < 6 || strcmp(entry->d_name + len - 5, ".yaml") != 0)
            continue;
        snprintf(path, sizeof(path), FOLDER "/%s", entry->d_name);
        run(path);
    }
    closedir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_proxy_takes_what_control_gives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
