/* What fairlead-control generates, fairlead-proxy takes: every resource of every golden world (tests/golden/xds), for a
 * sidecar, a gateway and a plain client, goes into the proxy's assembly; and so does whatever is made of objects at
 * random, as long as they are accepted: one bad object must not take a whole listener with it. */
#include "control/source/documents.h"
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
        fail_msg("%s %.*s: %s\n%s", fl_resource_type_word(type), FL_SPAN_ARG(name), err.text, taking->world);
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

/* Every resource of the world, for each of the nodes. */
static void take_all(const char *world, const struct control_store *store)
{
    struct fl_err err = {0};
    for (size_t i = 0; i < FL_COUNT(nodes); i++) {
        struct taking taking = {.world = world};
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
}

static void run(const char *path)
{
    struct control_store *store;
    struct fl_buf text;
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    assert_int_equal(control_store_new(&store), 0);
    control_diff_free(world_put(store, fl_buf_span(&text)));
    take_all(path, store);
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

/* -- objects made at random: whatever of them is accepted, the proxy takes ------------------------------------------
 */

#define WORLDS    300
#define DOCUMENTS 12 /* of a world */

/* One document each; '~' is any of the values, as a JSON string, '@' a number. */
#define POLICY(kind) "apiVersion: fairlead.io/v1alpha1\nkind: " kind "\nmetadata: {name: r@, namespace: demo}\nspec: "
#define ROUTE(parent, rule)                                                                                            \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r@, namespace: demo}\n"               \
    "spec: {parentRefs: [{" parent "}], rules: [{" rule "}]}\n"
#define BACKENDS  "backendRefs: [{name: web, port: 80}]"
#define SERVICE   "group: \"\", kind: Service, name: web"
#define GATEWAY   "name: main, namespace: edge"
#define FILTER(x) ROUTE(SERVICE, "filters: [" x "], " BACKENDS), ROUTE(GATEWAY, "filters: [" x "], " BACKENDS)
#define MATCH(x)  ROUTE(SERVICE, "matches: [{" x "}], " BACKENDS), ROUTE(GATEWAY, "matches: [{" x "}], " BACKENDS)
#define CHANGE(type, member, change)                                                                                   \
    FILTER("{type: " type ", " member ": {set: [{name: " change "}]}}"),                                               \
        FILTER("{type: " type ", " member ": {add: [{name: " change "}]}}")
static const char *const forms[] = {
    POLICY(
        "AuthorizationPolicy") "{action: DENY, rules: [{from: [{source: {principals: [~], notNamespaces: [~]}}]}]}\n",
    POLICY("AuthorizationPolicy") "{rules: [{from: [{source: {ipBlocks: [~], requestPrincipals: [~]}}]}]}\n",
    POLICY("AuthorizationPolicy") "{rules: [{from: [{source: {notIpBlocks: [~]}}]}]}\n",
    POLICY("AuthorizationPolicy") "{rules: [{to: [{operation: {hosts: [~], methods: [~], notPaths: [~]}}]}]}\n",
    POLICY("AuthorizationPolicy") "{rules: [{to: [{operation: {headers: [{name: ~, values: [~]}]}}]}]}\n",
    POLICY("AuthorizationPolicy") "{action: DENY, rules: [{when: [{key: ~, values: [~]}]}]}\n",
    POLICY("RequestAuthentication") "{jwtRules: [{issuer: ~, jwks: ~}]}\n",
    POLICY("RequestAuthentication") "{jwtRules: [{issuer: a, jwks: ~, fromHeaders: [{name: ~, prefix: ~}]}]}\n",
    POLICY("RequestAuthentication") "{jwtRules: [{issuer: a, jwks: ~, fromParams: [~], audiences: [~]}]}\n",
    POLICY("Telemetry") "{tracing: {enabled: true, endpoint: ~}}\n",
    POLICY("Telemetry") "{accessLogging: {enabled: true, path: ~}}\n",
    POLICY("TrafficPolicy") "{targetRefs: [{kind: Service, name: web}], connectTimeout: ~}\n",
    POLICY("TrafficPolicy") "{targetRefs: [{kind: Service, name: web}], outlierDetection: {interval: ~}}\n",
    POLICY("TrafficPolicy") "{targetRefs: [{kind: Service, name: web}], outlierDetection: {baseEjectionTime: ~}}\n",
    POLICY("TrafficPolicy") "{targetRefs: [{kind: Service, name: web}], retries: {attempts: 2, backoff: {base: ~, max: "
                            "~}}}\n",
    POLICY("TrafficPolicy") "{targetRefs: [{kind: Service, name: web}], retries: {attempts: 2, perTryTimeout: ~}}\n",
    MATCH("path: {value: ~}"),
    MATCH("path: {type: Exact, value: ~}"),
    MATCH("method: ~"),
    MATCH("headers: [{name: ~, value: ~}]"),
    MATCH("queryParams: [{name: ~, value: ~}]"),
    CHANGE("RequestHeaderModifier", "requestHeaderModifier", "~, value: a"),
    CHANGE("RequestHeaderModifier", "requestHeaderModifier", "a, value: ~"),
    CHANGE("ResponseHeaderModifier", "responseHeaderModifier", "~, value: ~"),
    FILTER("{type: RequestHeaderModifier, requestHeaderModifier: {remove: [~]}}"),
    FILTER("{type: URLRewrite, urlRewrite: {hostname: ~}}"),
    FILTER("{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ~}}}"),
    ROUTE(GATEWAY, "filters: [{type: RequestRedirect, requestRedirect: {hostname: ~}}]"),
    ROUTE(GATEWAY, "filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, "
                   "replaceFullPath: ~}}}]"),
    ROUTE(SERVICE, "timeouts: {request: ~}, " BACKENDS),
    ROUTE(SERVICE, "retry: {attempts: 3, backoff: ~}, " BACKENDS),
    ROUTE(SERVICE, "backendRefs: [{name: web, port: 80, weight: 0}, {name: ~, port: 80}]"),
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r@, namespace: demo}\n"
    "spec: {parentRefs: [{" GATEWAY "}], hostnames: [~], rules: [{" BACKENDS "}]}\n",
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: main, namespace: edge, labels: {a: "
    "r@}}\n"
    "spec: {gatewayClassName: fairlead, listeners: [{name: a, protocol: HTTP, port: 80, hostname: ~, allowedRoutes: "
    "{namespaces: {from: All}}}]}\n",
    ("apiVersion: fairlead.io/v1alpha1\nkind: MeshSettings\nmetadata: {name: default, namespace: fairlead-system, "
     "labels: {a: r@}}\nspec: {trustDomain: ~}\n"),
};

#define EC_KEY                                                                                                         \
    "{\\\"kty\\\":\\\"EC\\\",\\\"crv\\\":\\\"P-256\\\",\\\"x\\\":\\\"nX-Zqn1rjQWxUlXLJOLT1hpP44HqhMFwoA3M47F6auk\\\"," \
    "\\\"y\\\":\\\"cek--1Be97cLPKXYCnd0vgilvrfD_FbTt_g3KvlADlY\\\"}"
#define LONG16 "aaaaaaaaaaaaaaaa"
#define LONG256                                                                                                        \
    LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16
static const char *const values[] = {
    "",
    "a",
    "*",
    "a*",
    "*a",
    "**",
    "a b",
    " ",
    "a\\tb",
    "a\\nb",
    "\\u0001",
    "a\\u0000b",
    "\\u007f",
    "\\u00e9",
    "\\u4e2d",
    "%",
    "50%",
    "%REQ(a)%",
    "%%",
    "::1",
    "::1/128",
    "10.0.0.0/8",
    "10.0.0.1/8",
    "::ffff:10.0.0.0/104",
    "::ffff:10.0.0.1",
    "0.0.0.0/0",
    "::/0",
    "host",
    "Host",
    "content-length",
    "TE",
    "transfer-encoding",
    "connection",
    "authorization",
    "cookie",
    ":path",
    ":authority",
    "x-a",
    "X-A",
    "[",
    "]",
    "a:b",
    "a:80",
    "[::1]:80",
    "a/b",
    "/",
    "//",
    "/a",
    "/a/",
    "/a?b",
    "/a#b",
    "/a b",
    "/%zz",
    "/a%2fb",
    "/a*",
    "request.headers[x-a]",
    "request.headers[a b]",
    "request.headers[:path]",
    "request.headers[host]",
    "request.headers[]",
    "request.auth.claims[a]",
    "request.auth.claims[a][b][c][d][e][f][g]",
    "request.auth.claims[a][b][c][d][e][f][g][h]",
    "*.example.com",
    "example.com",
    "EXAMPLE.com",
    "example.com.",
    "-a.b",
    "GET",
    "get",
    "0s",
    "1ms",
    "1us",
    "5s",
    "1000h",
    "49h",
    "http://",
    "http://a",
    "http://a b",
    "http://web.demo.svc.cluster.local:80",
    "http://web.demo.svc.cluster.local:80/x y",
    "http://web.demo.svc.cluster.local:80/x#y",
    "http://web.demo.svc.cluster.local:80/x?y",
    "http://web.demo.svc.cluster.local:0",
    "http://10.1.0.1:4318/v1",
    "http://[::1]:4318",
    "http://[::1",
    "http://a@10.1.0.1:80",
    "http://10.1.0.1:80/\\u0001",
    "http://10.1.0.1:80\\\\x",
    "/dev/stdout",
    "/tmp/a b",
    "cluster.local",
    "spiffe://a/b",
    "{\\\"keys\\\":[]}",
    "{\\\"keys\\\":[" EC_KEY "]}",
    "{\\\"keys\\\":[" EC_KEY "," EC_KEY "]}",
    "{\\\"keys\\\":[{\\\"kty\\\":\\\"RSA\\\",\\\"n\\\":\\\"abc\\\"}]}",
    LONG256,
    LONG256 LONG256 LONG256 LONG256 "a",
    "/" LONG256 LONG256 LONG256,
};

/* xorshift64: the same worlds in every run. */
static uint64_t draw(uint64_t *state, size_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (*state >> 11) % below;
}

static void append_form(const char *form, size_t number, uint64_t *state, struct fl_buf *text)
{
    int result = fl_buf_append_str(text, "---\n");
    for (; *form != '\0' && result == 0; form++) {
        if (*form == '~')
            result = fl_buf_printf(text, "\"%s\"", values[draw(state, FL_COUNT(values))]);
        else if (*form == '@')
            result = fl_buf_printf(text, "%zu", number);
        else
            result = fl_buf_append_byte(text, *form);
    }
    assert_int_equal(result, 0);
}

/* What of the text is accepted, closed policies among it. */
static size_t put_accepted(struct control_store *store, struct fl_span text)
{
    struct control_documents documents;
    struct control_diff *diff;
    assert_int_equal(control_documents_read(text, "random", FL_SPAN(CONTROL_ROOT_DEFAULT), &documents), 0);
    for (size_t i = 0; i < documents.object_count; i++)
        assert_int_equal(control_store_put(store, documents.objects[i].object), 0);
    size_t count = documents.object_count;
    assert_int_equal(control_store_commit(store, &diff), 0);
    control_diff_free(diff);
    control_documents_done(&documents);
    return count;
}

static void the_proxy_takes_whatever_is_accepted(void **state)
{
    struct fl_buf base, text;
    uint64_t random = 0x5eed;
    size_t accepted = 0;
    (void)state;
    fl_buf_init(&base, 1 << 20);
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_buf_read_file(&base, FOLDER "/gateway.yaml"), 0);
    for (size_t i = 0; i < WORLDS; i++) {
        struct control_store *store;
        assert_int_equal(control_store_new(&store), 0);
        (void)put_accepted(store, fl_buf_span(&base));
        fl_buf_clear(&text);
        for (size_t k = 0; k < DOCUMENTS; k++)
            append_form(forms[draw(&random, FL_COUNT(forms))], k, &random, &text);
        accepted += put_accepted(store, fl_buf_span(&text));
        take_all(fl_buf_str(&text), store);
        control_store_free(store);
    }
    assert_true(accepted > WORLDS); /* or the forms do not fit the kinds any more */
    fl_buf_done(&text);
    fl_buf_done(&base);
}

/* One workload that more policies apply to than a proxy takes. */
static void too_many_policies_are_closed(void **state)
{
    static const char *const rows[] = {
        POLICY("RequestAuthentication") "{jwtRules: [{issuer: a, jwks: \"{\\\"keys\\\":[" EC_KEY "]}\"}]}\n",
        POLICY("AuthorizationPolicy") "{action: DENY, rules: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}]}\n",
        POLICY("AuthorizationPolicy") "{rules: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}]}\n",
    };
    struct fl_buf base, text;
    (void)state;
    fl_buf_init(&base, 1 << 20);
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_buf_read_file(&base, FOLDER "/policies.yaml"), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct control_store *store;
        assert_int_equal(control_store_new(&store), 0);
        (void)put_accepted(store, fl_buf_span(&base));
        fl_buf_clear(&text);
        for (size_t k = 0; k < 100; k++)
            append_form(rows[i], k, NULL, &text);
        assert_int_equal(put_accepted(store, fl_buf_span(&text)), 100);
        take_all(rows[i], store);
        control_store_free(store);
    }
    fl_buf_done(&text);
    fl_buf_done(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_proxy_takes_what_control_gives),
        cmocka_unit_test(the_proxy_takes_whatever_is_accepted),
        cmocka_unit_test(too_many_policies_are_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
