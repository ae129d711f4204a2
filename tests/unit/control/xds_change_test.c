/* The promise of impact.h: after any change of the model, what a proxy was sent is what it would be sent from nothing.
 *
 * The world is all of tests/golden/xds at once. Each of its documents is taken away and put back, one at a time and
 * then file by file, under the eyes of four proxies that are driven by the impact alone, through the cache. */
#include "common/base/map.h"
#include "control/xds/apply.h"
#include "tests/unit/control/xds_world.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FOLDER    "tests/golden/xds"
#define FILES_MAX 64
#define PROXIES   4

struct proxy {
    struct control_node node;
    struct control_session *session;
    struct control_view view;
    uint64_t settings;
    struct world *world;
};

struct world {
    struct control_store *store;
    struct control_cache *cache;
    struct fl_arena view_arena, arena;
    struct control_response response;
    struct proxy proxies[PROXIES];
};

static const struct control_node nodes[PROXIES] = {
    {.role = CONTROL_ROLE_SIDECAR, .name = "web-1", .name_space = "demo", .ip = "10.1.0.1"},
    {.role = CONTROL_ROLE_SIDECAR, .on_demand = true, .name = "client", .name_space = "demo", .ip = "10.1.9.9"},
    {.role = CONTROL_ROLE_GATEWAY, .name = "main", .name_space = "edge", .ip = "10.1.8.8"},
    {.role = CONTROL_ROLE_CLIENT},
};

static const struct {
    enum fl_resource_type type;
    const char *name;
} subscriptions[] = {
    {FL_RESOURCE_ENDPOINTS, "outbound|80||web.demo.svc.cluster.local"},
    {FL_RESOURCE_ENDPOINTS, "outbound|9000||web.demo.svc.cluster.local"},
    {FL_RESOURCE_ENDPOINTS, "outbound|80||web-v2.demo.svc.cluster.local"},
    {FL_RESOURCE_ENDPOINTS, "workload|10.1.0.1:8080"},
    {FL_RESOURCE_ENDPOINTS, "workload|10.1.0.2:8080"},
    {FL_RESOURCE_ENDPOINTS, "workload|127.0.0.1:4318"},
    {FL_RESOURCE_CLUSTER, "outbound|80||web.demo.svc.cluster.local"},
    {FL_RESOURCE_CLUSTER, "inbound|8080||"},
    {FL_RESOURCE_CLUSTER, "workload|10.1.0.1:8080"},
    {FL_RESOURCE_CLUSTER, "workload|127.0.0.1:4318"},
    {FL_RESOURCE_ROUTES, "outbound|80|web.demo.svc.cluster.local"},
    {FL_RESOURCE_ROUTES, "outbound|9001|web.demo.svc.cluster.local"},
    {FL_RESOURCE_ROUTES, "gateway|edge/main|80"},
    {FL_RESOURCE_ROUTES, "gateway|edge/main|443|https"},
    {FL_RESOURCE_SECRET, "kubernetes://edge/tls"},
    {FL_RESOURCE_LISTENER, "virtualInbound"},
    {FL_RESOURCE_LISTENER, "virtualOutbound"},
    {FL_RESOURCE_LISTENER, "outbound|*"},
    {FL_RESOURCE_LISTENER, "outbound|10.96.0.10:80"},
    {FL_RESOURCE_LISTENER, "outbound|10.96.0.10:81"},
    {FL_RESOURCE_LISTENER, "outbound|10.96.0.20:80"},
    {FL_RESOURCE_LISTENER, "outbound|10.1.0.1:8080"},
    {FL_RESOURCE_LISTENER, "outbound|10.1.77.77:80"},
    {FL_RESOURCE_LISTENER, "outbound|192.0.2.1:443"},
};

/* -- a proxy -- */

static int get(void *owner, enum fl_resource_type type, struct fl_span name, struct control_resource **ret_resource)
{
    struct proxy *proxy = owner;
    return control_cache_get(proxy->world->cache, &proxy->view, proxy->settings, type, name, ret_resource);
}

static int each(void *owner, enum fl_resource_type type, enum control_group group,
                int (*visit)(void *visitor, struct fl_span name), void *visitor)
{
    struct proxy *proxy = owner;
    int result = control_generate_each(&proxy->view, type, group, &proxy->world->arena, visit, visitor);
    fl_arena_reset(&proxy->world->arena);
    return result;
}

static void look(struct proxy *proxy)
{
    struct fl_err err = {0};
    fl_arena_reset(&proxy->world->view_arena);
    if (control_view_make(control_store_model(proxy->world->store), &proxy->node, (struct fl_span){NULL, 0},
                          &proxy->world->view_arena, &proxy->view, &err) < 0)
        fail_msg("%s", err.text);
    proxy->settings = control_generate_settings(&proxy->view);
}

/* Takes every response there is, and acknowledges it. */
static void drain(struct proxy *proxy)
{
    const struct control_session_source source = {get, each, proxy};
    struct control_response *response = &proxy->world->response;
    look(proxy);
    while (control_session_next(proxy->session, &source, response) == 1) {
        const struct control_ask ask = {.type = response->type, .nonce = fl_span_str(response->nonce)};
        assert_int_equal(control_session_request(proxy->session, &ask, NULL), CONTROL_SESSION_ACKED);
    }
    assert_true(control_session_settled(proxy->session));
}

static void subscribe(struct proxy *proxy)
{
    if (!proxy->node.on_demand)
        for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
            const struct control_ask ask = {.type = type};
            assert_int_equal(control_session_request(proxy->session, &ask, NULL), CONTROL_SESSION_TAKEN);
        }
    for (size_t i = 0; i < FL_COUNT(subscriptions); i++) {
        const struct fl_span name = fl_span_str(subscriptions[i].name);
        const struct control_ask ask = {.type = subscriptions[i].type, .names = &name, .name_count = 1};
        assert_int_equal(control_session_request(proxy->session, &ask, NULL), CONTROL_SESSION_TAKEN);
    }
}

/* -- what it has, and what it should have -- */

struct checking {
    struct proxy *proxy;
    enum fl_resource_type type;
    const char *what;
    struct fl_map seen;
};

static int check_entry(void *visitor, struct fl_span name, uint64_t version)
{
    struct checking *checking = visitor;
    struct control_resource *fresh;
    assert_int_equal(
        control_generate(&checking->proxy->view, checking->type, name, &checking->proxy->world->arena, &fresh), 0);
    fl_arena_reset(&checking->proxy->world->arena);
    if ((fresh != NULL ? fresh->version : 0) != version)
        fail_msg("%s: %s %s: %s %.*s is not what it should be", checking->what,
                 control_role_word(checking->proxy->node.role), checking->proxy->node.name,
                 fl_resource_type_word(checking->type), FL_SPAN_ARG(name));
    control_resource_unref(fresh);
    return 0;
}

static int note(void *visitor, struct fl_span name, uint64_t version)
{
    struct checking *checking = visitor;
    (void)version;
    assert_int_equal(fl_map_put(&checking->seen, name, checking), 0);
    return 0;
}

static int check_member(void *visitor, struct fl_span name)
{
    struct checking *checking = visitor;
    if (fl_map_get(&checking->seen, name) == NULL)
        fail_msg("%s: %s %s: %s %.*s was not sent", checking->what, control_role_word(checking->proxy->node.role),
                 checking->proxy->node.name, fl_resource_type_word(checking->type), FL_SPAN_ARG(name));
    return 0;
}

static void check(struct proxy *proxy, const char *what)
{
    enum control_group group = proxy->node.on_demand ? CONTROL_GROUP_OWN_NAMESPACE : CONTROL_GROUP_EVERYTHING;
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        struct checking checking = {.proxy = proxy, .type = type, .what = what};
        fl_map_init(&checking.seen, FL_MAP_MAX);
        control_session_each(proxy->session, type, check_entry, &checking);
        control_session_each(proxy->session, type, note, &checking);
        if (!proxy->node.on_demand || type == FL_RESOURCE_LISTENER)
            assert_int_equal(
                control_generate_each(&proxy->view, type, group, &proxy->world->arena, check_member, &checking), 0);
        fl_arena_reset(&proxy->world->arena);
        fl_map_done(&checking.seen);
    }
}

static void follow(struct world *world, struct control_diff *diff, const char *what)
{
    struct control_impact impact;
    assert_int_equal(control_impact_of(diff, &impact), 0);
    control_impact_drop(&impact, world->cache);
    for (size_t i = 0; i < PROXIES; i++) {
        control_impact_touch(&impact, &world->proxies[i].node, world->proxies[i].session);
        drain(&world->proxies[i]);
        check(&world->proxies[i], what);
    }
    control_impact_done(&impact);
    control_diff_free(diff);
}

/* -- the world -- */

static void begin(struct world *world)
{
    *world = (struct world){0};
    assert_int_equal(control_store_new(&world->store), 0);
    assert_int_equal(control_cache_new(&world->cache), 0);
    fl_arena_init(&world->arena, CONTROL_GENERATE_ARENA_MAX);
    fl_arena_init(&world->view_arena, 1 << 20);
    control_response_init(&world->response);
    for (size_t i = 0; i < PROXIES; i++) {
        world->proxies[i].node = nodes[i];
        world->proxies[i].world = world;
        assert_int_equal(control_session_new(CONTROL_SESSION_DELTA, &world->proxies[i].session), 0);
        subscribe(&world->proxies[i]);
        drain(&world->proxies[i]);
    }
}

static void end(struct world *world)
{
    for (size_t i = 0; i < PROXIES; i++)
        control_session_free(world->proxies[i].session);
    control_response_done(&world->response);
    control_cache_free(world->cache);
    control_store_free(world->store);
    fl_arena_done(&world->arena);
    fl_arena_done(&world->view_arena);
}

/* Every document of a file in turn: taken away, put back. */
static void toggle_documents(struct world *world, struct fl_span text, const char *name)
{
    while (text.len > 0) {
        const char *mark = memmem(text.data, text.len, "\n---\n", 5);
        size_t len = mark != NULL ? (size_t)(mark - text.data) + 1 : text.len;
        struct fl_span document = fl_span_make(text.data, len);
        char what[512];
        snprintf(what, sizeof(what), "%.100s without:\n%.*s", name, (int)(len < 300 ? len : 300), text.data);
        follow(world, world_remove(world->store, document), what);
        snprintf(what, sizeof(what), "%.100s with:\n%.*s", name, (int)(len < 300 ? len : 300), text.data);
        follow(world, world_put(world->store, document), what);
        text = fl_span_from(text, mark != NULL ? len + 4 : text.len);
    }
}

static size_t load(struct fl_buf texts[FILES_MAX], char names[FILES_MAX][64])
{
    DIR *folder = opendir(FOLDER);
    size_t count = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && count < FILES_MAX;) {
        char path[512];
        size_t len = strlen(entry->d_name);
        if (len < 6 || len >= sizeof(names[0]) || strcmp(entry->d_name + len - 5, ".yaml") != 0)
            continue;
        snprintf(path, sizeof(path), FOLDER "/%s", entry->d_name);
        memcpy(names[count], entry->d_name, len + 1);
        fl_buf_init(&texts[count], 1 << 20);
        assert_int_equal(fl_buf_read_file(&texts[count++], path), 0);
    }
    closedir(folder);
    assert_true(count > 0);
    return count;
}

static void what_was_sent_is_what_would_be_sent(void **state)
{
    (void)state;
    struct world world;
    static struct fl_buf texts[FILES_MAX];
    static char names[FILES_MAX][64];
    size_t count = load(texts, names);
    begin(&world);
    for (size_t i = 0; i < count; i++)
        follow(&world, world_put(world.store, fl_buf_span(&texts[i])), names[i]);
    for (size_t i = 0; i < count; i++)
        toggle_documents(&world, fl_buf_span(&texts[i]), names[i]);
    for (size_t i = 0; i < count; i++)
        follow(&world, world_remove(world.store, fl_buf_span(&texts[i])), names[i]);
    end(&world);
    for (size_t i = 0; i < count; i++)
        fl_buf_done(&texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_sent_is_what_would_be_sent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
