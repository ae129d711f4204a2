/* `fairlead authz explain` says what a proxy decides: policies made at random go to both. Theirs is the way of a real
 * one: the control plane's listener, compiled by the proxy, and its rules asked for the same caller. */
#include "cli/verdict.h"
#include "control/model/store.h"
#include "control/xds/generate.h"
#include "proxy/config/assembly.h"
#include "proxy/config/secret.h"
#include "proxy/filter/rbac.h"
#include "proxy/http/h1.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/control/xds_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define WORLDS  250
#define CALLERS 40 /* of a world */
#define HTTP    8080
#define OPAQUE  9000
#define ISSUER  "https://i.example"

static const char base[] =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo}\n"
    "spec: {clusterIP: 10.96.0.10, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, "
    "{name: tcp-raw, port: 9000}]}\n---\n"
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: demo, labels: {app: web, fairlead.io/inject: "
    "enabled}}\n"
    "spec: {serviceAccountName: web, containers: [{name: app, ports: [{containerPort: 8080}]}]}\n"
    "status: {phase: Running, podIPs: [{ip: 10.1.0.1}]}\n---\n"
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
    "metadata: {name: web-a, namespace: demo, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\n"
    "ports: [{name: http, port: 8080}, {name: tcp-raw, port: 9000}]\n"
    "endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: web-1}}]\n---\n"
    "apiVersion: fairlead.io/v1alpha1\nkind: RequestAuthentication\nmetadata: {name: jwt, namespace: demo}\n"
    "spec: {jwtRules: [{issuer: " ISSUER ", jwks: '{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"nX-"
    "Zqn1rjQWxUlXLJOLT1hpP44HqhMFwoA3M47F6auk\",\"y\":\"cek--1Be97cLPKXYCnd0vgilvrfD_FbTt_g3KvlADlY\"}]}'}]}\n";

/* --- policies ---------------------------------------------------------------------------------------------------- */

static const char *const principals[] = {"cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/*", "*", "*/sa/web",
                                         "cluster.local/ns/demo/*",      "other.example/*"};
static const char *const namespaces[] = {"shop", "sh*", "*op", "*", "demo", "sho"};
static const char *const blocks[] = {"10.0.0.0/8", "10.2.0.0/15", "10.2.3.4", "fd00::/9", "0.0.0.0/0"};
static const char *const tokens[] = {ISSUER "/bob", ISSUER "/*", "*", "*/bob", "*b", "https://other.example/bob"};
static const char *const hosts[] = {"web.demo", "*.demo", "web.demo:8080", "web*", "*", "WEB.demo"};
static const char *const methods[] = {"GET", "P*", "*", "*T", "PUT"};
static const char *const paths[] = {"/a", "/a/*", "*/b", "*", "/a*", "/A"};
static const char *const ports[] = {"8080", "9000", "80"};
static const char *const values[] = {"1", "1*", "*2", "*", "12"};
static const char *const keys[] = {"request.headers[x-a]", "request.auth.claims[g]", "request.auth.claims[g][h]"};

static uint64_t seed;

static size_t draw(size_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(seed >> 33) % below;
}

#define DRAW(list) ((list)[draw(FL_COUNT(list))])

static void add(struct fl_buf *out, const char *text)
{
    assert_int_equal(fl_buf_append_str(out, text), 0);
}

/* `name: ["…", "…"]` and its opposite, some times. */
static void add_list(struct fl_buf *out, const char *name, const char *opposite, const char *const *list, size_t count)
{
    const char *const names[] = {name, opposite};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        if (draw(i == 0 ? 3 : 6) != 0)
            continue;
        assert_int_equal(fl_buf_printf(out, "%s: [", names[i]), 0);
        for (size_t k = draw(2); k < 2; k++)
            assert_int_equal(fl_buf_printf(out, "\"%s\"%s", list[draw(count)], k < 1 ? ", " : ""), 0);
        add(out, "], ");
    }
}

static void add_source(struct fl_buf *out)
{
    add(out, "{source: {");
    size_t before = out->len;
    add_list(out, "principals", "notPrincipals", principals, FL_COUNT(principals));
    add_list(out, "namespaces", "notNamespaces", namespaces, FL_COUNT(namespaces));
    add_list(out, "ipBlocks", "notIpBlocks", blocks, FL_COUNT(blocks));
    add_list(out, "requestPrincipals", "notRequestPrincipals", tokens, FL_COUNT(tokens));
    if (out->len == before) /* an empty one is refused */
        add(out, "namespaces: [shop]");
    add(out, "}}, ");
}

static void add_operation(struct fl_buf *out)
{
    add(out, "{operation: {");
    size_t before = out->len;
    add_list(out, "hosts", "notHosts", hosts, FL_COUNT(hosts));
    add_list(out, "methods", "notMethods", methods, FL_COUNT(methods));
    add_list(out, "paths", "notPaths", paths, FL_COUNT(paths));
    add_list(out, "ports", "notPorts", ports, FL_COUNT(ports));
    if (out->len == before)
        add(out, "methods: [GET]");
    add(out, "}}, ");
}

static void add_condition(struct fl_buf *out)
{
    assert_int_equal(fl_buf_printf(out, "{key: \"%s\", ", DRAW(keys)), 0);
    size_t before = out->len;
    add_list(out, "values", "notValues", values, FL_COUNT(values));
    if (out->len == before)
        add(out, "values: [\"1\"]");
    add(out, "}, ");
}

static void add_some(struct fl_buf *out, const char *name, void (*one)(struct fl_buf *out))
{
    size_t count = draw(3);
    if (count == 0)
        return;
    assert_int_equal(fl_buf_printf(out, "%s: [", name), 0);
    for (size_t i = 0; i < count; i++)
        one(out);
    add(out, "], ");
}

static void add_policy(struct fl_buf *out, size_t number)
{
    assert_int_equal(
        fl_buf_printf(out,
                      "---\napiVersion: fairlead.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: "
                      "p%zu, namespace: %s}\nspec: {%s%saction: %s, rules: [",
                      number, draw(4) == 0 ? CONTROL_ROOT_DEFAULT : "demo", draw(5) == 0 ? "dryRun: true, " : "",
                      draw(4) == 0 ? "selector: {matchLabels: {app: web}}, " : "", draw(3) == 0 ? "DENY" : "ALLOW"),
        0);
    for (size_t i = draw(3); i < 3; i++) {
        add(out, "{");
        add_some(out, "from", add_source);
        add_some(out, "to", add_operation);
        add_some(out, "when", add_condition);
        add(out, "}, ");
    }
    add(out, draw(40) == 0 ? "{what: 1}]}\n" : "]}\n"); /* now and then one that is not understood */
}

/* --- what the proxy has of them ---------------------------------------------------------------------------------- */

struct theirs {
    struct proxy_assembly *assembly;
    struct proxy_snapshot *snapshot;
    const struct proxy_listener *listener;
};

/* Of our own identity, without which no listener with TLS comes into force. */
static struct {
    struct fl_buf key, chain, roots;
} secrets;

static int make_secrets(void **state)
{
    struct authority authority;
    struct identity identity;
    (void)state;
    authority_init(&authority, "root");
    authority_issue(&authority, "spiffe://cluster.local/ns/demo/sa/web", NULL, &identity);
    (void)pem_of_key(identity.key, &secrets.key);
    (void)pem_of_cert(identity.cert, &secrets.chain);
    (void)pem_of_cert(authority.root, &secrets.roots);
    identity_done(&identity);
    authority_done(&authority);
    return 0;
}

static int drop_secrets(void **state)
{
    (void)state;
    fl_buf_done(&secrets.key);
    fl_buf_done(&secrets.chain);
    fl_buf_done(&secrets.roots);
    return 0;
}

static void put_secrets(struct proxy_assembly *assembly)
{
    struct fl_arena arena;
    struct fl_span wire;
    fl_arena_init(&arena, 1 << 20);
    assert_int_equal(
        proxy_secret_certificate("default", fl_buf_span(&secrets.key), fl_buf_span(&secrets.chain), &arena, &wire), 0);
    assert_int_equal(proxy_assembly_put(assembly, FL_RESOURCE_SECRET, FL_SPAN("default"), FL_SPAN("1"), wire, NULL), 0);
    assert_int_equal(proxy_secret_roots("ROOTCA", fl_buf_span(&secrets.roots), &arena, &wire), 0);
    assert_int_equal(proxy_assembly_put(assembly, FL_RESOURCE_SECRET, FL_SPAN("ROOTCA"), FL_SPAN("1"), wire, NULL), 0);
    fl_arena_done(&arena);
}

static void compile(const struct control_store *store, struct theirs *theirs)
{
    static const struct control_node node = {
        .role = CONTROL_ROLE_SIDECAR, .name = "web-1", .name_space = "demo", .ip = "10.1.0.1"};
    struct control_view view;
    struct control_resource *resource;
    struct fl_arena arena;
    struct fl_err err = {0};
    const struct fl_span name = FL_SPAN("virtualInbound");
    fl_arena_init(&arena, CONTROL_GENERATE_ARENA_MAX);
    assert_int_equal(
        control_view_make(control_store_model(store), &node, (struct fl_span){NULL, 0}, &arena, &view, &err), 0);
    assert_int_equal(control_generate(&view, FL_RESOURCE_LISTENER, name, &arena, &resource), 0);
    assert_non_null(resource);
    assert_int_equal(proxy_assembly_new(NULL, NULL, &theirs->assembly), 0);
    if (proxy_assembly_put(theirs->assembly, FL_RESOURCE_LISTENER, name, FL_SPAN("1"), resource->bytes, &err) < 0)
        fail_msg("%s", err.text);
    control_resource_unref(resource);
    fl_arena_done(&arena);
    put_secrets(theirs->assembly);
    /* Nothing else that it refers to will come: it is not waited for. */
    struct proxy_want want;
    for (size_t cursor = 0; proxy_assembly_next_want(theirs->assembly, &cursor, &want);)
        if (want.presence == PROXY_PRESENCE_UNKNOWN) {
            assert_int_equal(proxy_assembly_remove(theirs->assembly, want.type, want.name), 0);
            cursor = 0;
        }
    if (proxy_assembly_publish(theirs->assembly, 1, &theirs->snapshot, &err) != PROXY_ASSEMBLY_PUBLISHED)
        fail_msg("not published: %s", err.text);
    theirs->listener = NULL;
    for (size_t i = 0; i < theirs->snapshot->listener_slots; i++)
        if (theirs->snapshot->listeners[i] != NULL && fl_span_eq(theirs->snapshot->listeners[i]->name, name))
            theirs->listener = theirs->snapshot->listeners[i];
    assert_non_null(theirs->listener);
}

static void forget(struct theirs *theirs)
{
    proxy_snapshot_unref(theirs->snapshot);
    proxy_assembly_free(theirs->assembly);
}

/* --- one caller, and both answers -------------------------------------------------------------------------------- */

struct asked {
    struct cli_caller caller;
    struct control_name_value field;
    struct cli_claim claims[2];
    char address[64], head[256], payload[256];
    struct proxy_address source, destination;
    struct proxy_message message;
    struct proxy_claims known;
    struct proxy_facts facts;
};

static void draw_request(struct asked *asked)
{
    static const char *const requested[] = {"/a", "/a/b", "/b", "/ab?x=1", "/A", "/"};
    static const char *const done[] = {"GET", "POST", "PUT"};
    static const char *const called[] = {"web.demo", "web.demo:8080", "Web.Demo", "web.other", "x.demo"};
    static const char *const fields[] = {"1", "12", "2"};
    struct cli_caller *caller = &asked->caller;
    const char *method = DRAW(done), *path = DRAW(requested), *host = DRAW(called), *field = DRAW(fields);
    bool has_field = draw(3) != 0;
    struct proxy_h1_parser parser = {0};
    size_t size = 0;
    caller->host = fl_span_str(host);
    caller->request = (struct control_request){.method = fl_span_str(method), .path = fl_span_str(path)};
    asked->field = (struct control_name_value){FL_SPAN("X-A"), fl_span_str(field), false};
    if (has_field) {
        caller->request.headers = &asked->field;
        caller->request.header_count = 1;
    }
    int len = snprintf(asked->head, sizeof(asked->head), "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", method, path, host,
                       has_field ? "x-a: " : "", has_field ? field : "", has_field ? "\r\n" : "");
    assert_int_equal(
        proxy_h1_parse_request(&parser, fl_span_make(asked->head, (size_t)len), NULL, &asked->message, &size),
        PROXY_H1_DONE);
    asked->facts.request = &asked->message;
}

/* A token that is valid: of an issuer that is trusted. */
static void draw_token(struct asked *asked)
{
    static const char *const subjects[] = {"bob", "ann", "b"};
    static const char *const claimed[] = {"1", "12", "2"};
    struct cli_caller *caller = &asked->caller;
    const char *subject = DRAW(subjects), *g = DRAW(claimed);
    bool nested = draw(2) == 0, has = draw(3) != 0;
    if (draw(3) == 0)
        return;
    caller->issuer = FL_SPAN(ISSUER);
    caller->subject = fl_span_str(subject);
    asked->claims[0] = (struct cli_claim){nested ? FL_SPAN("g.h") : FL_SPAN("g"), fl_span_str(g)};
    caller->claims = asked->claims;
    caller->claim_count = has ? 1 : 0;
    snprintf(asked->payload, sizeof(asked->payload), "{\"iss\":\"" ISSUER "\",\"sub\":\"%s\"%s%s%s%s}", subject,
             has ? nested ? ",\"g\":{\"h\":\"" : ",\"g\":\"" : "", has ? g : "", has ? "\"" : "",
             has && nested ? "}" : "");
    struct fl_json *root;
    assert_int_equal(fl_json_parse(fl_span_str(asked->payload), NULL, &root, NULL), 0);
    struct proxy_payload *payload = proxy_payload_new(root, INT64_MAX);
    assert_non_null(payload);
    assert_int_equal(proxy_claims_put(&asked->known, FL_SPAN("payload"), payload), 0);
    proxy_payload_unref(payload);
    asked->facts.claims = &asked->known;
}

static void draw_caller(struct asked *asked)
{
    static const char *const identities[] = {
        "", "spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/demo/sa/web",
        "spiffe://cluster.local/ns/shopping/sa/db", "spiffe://other.example/ns/shop/sa/web"};
    static const char *const addresses[] = {"10.2.3.4", "10.3.0.1", "192.0.2.1", "fd00::1", "fe80::1"};
    struct cli_caller *caller = &asked->caller;
    memset(asked, 0, sizeof(*asked));
    caller->tcp = draw(4) == 0;
    caller->port = caller->tcp ? OPAQUE : HTTP;
    caller->identity = fl_span_str(DRAW(identities));
    snprintf(asked->address, sizeof(asked->address), "%s", DRAW(addresses));
    assert_int_equal(control_ip_parse(fl_span_str(asked->address), &caller->ip), 0);
    assert_int_equal(proxy_address_parse(fl_span_str(asked->address), 4000, &asked->source), 0);
    assert_int_equal(proxy_address_parse(FL_SPAN("10.1.0.1"), caller->port, &asked->destination), 0);
    asked->facts = (struct proxy_facts){.direct_source = &asked->source,
                                        .source = &asked->source,
                                        .destination = &asked->destination,
                                        .identity = caller->identity};
    if (caller->tcp)
        return;
    draw_request(asked);
    draw_token(asked);
}

static bool ask_one(const struct proxy_rbac_filter *filter, struct asked *asked, bool *shadowed)
{
    if (!proxy_rbac_decide(filter->shadow_rules, &asked->facts).allowed)
        *shadowed = true;
    return proxy_rbac_decide(filter->rules, &asked->facts).allowed;
}

/* Whether the proxy lets the caller in. */
static bool ask_proxy(const struct theirs *theirs, struct asked *asked, bool *shadowed)
{
    const struct fl_span alpn[] = {asked->caller.tcp ? FL_SPAN("fairlead-tcp/1") : FL_SPAN("fairlead-http/1")};
    const bool secured = asked->caller.identity.len > 0;
    const struct proxy_chain_query query = {.destination = &asked->destination,
                                            .source = &asked->source,
                                            .transport = secured ? PROXY_TRANSPORT_TLS : PROXY_TRANSPORT_RAW,
                                            .application_protocols = alpn,
                                            .application_protocol_count = secured ? 1 : 0};
    const struct proxy_filter_chain *chain = proxy_listener_pick(theirs->listener, &query);
    bool allowed = true;
    *shadowed = false;
    assert_non_null(chain);
    assert_true(chain->kind == (asked->caller.tcp ? PROXY_FILTER_TCP : PROXY_FILTER_HTTP));
    for (size_t i = 0; i < chain->rbac_count; i++)
        allowed &= ask_one(&chain->rbacs[i], asked, shadowed);
    for (size_t i = 0; chain->kind == PROXY_FILTER_HTTP && i < chain->http->filter_count; i++)
        if (chain->http->filters[i].ops == &proxy_rbac_ops)
            allowed &= ask_one(chain->http->filters[i].config, asked, shadowed);
    return allowed;
}

static void compare(const struct control_model *model, const struct theirs *theirs, const char *text, size_t counts[2])
{
    struct asked asked;
    struct cli_verdict verdict;
    struct control_workload workload;
    bool shadowed;
    control_workload_of_pod(control_model_pod(model, FL_SPAN("demo"), FL_SPAN("web-1")), &workload);
    draw_caller(&asked);
    assert_int_equal(cli_verdict_judge(model, &workload, &asked.caller, &verdict), 0);
    bool ours = cli_verdict_is_allowed(&verdict), allowed = ask_proxy(theirs, &asked, &shadowed);
    if (ours != allowed || (verdict.shadow != NULL) != shadowed) {
        fputs(text, stderr);
        fail_msg("explain: %s%s, the proxy: %s%s\nfrom \"%s\" %s to %u\n%s%s", ours ? "allowed" : "denied",
                 verdict.shadow != NULL ? ", shadow" : "", allowed ? "allowed" : "denied", shadowed ? ", shadow" : "",
                 asked.caller.identity.data, asked.address, asked.caller.port, asked.head, asked.payload);
    }
    counts[ours]++;
    proxy_claims_done(&asked.known);
}

static void explain_says_what_the_proxy_decides(void **state)
{
    struct fl_buf text;
    size_t counts[2] = {0, 0};
    (void)state;
    seed = 0x5eed;
    fl_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < WORLDS; i++) {
        struct control_store *store;
        struct theirs theirs;
        fl_buf_clear(&text);
        for (size_t k = draw(3); k < 4; k++)
            add_policy(&text, k);
        assert_int_equal(control_store_new(&store), 0);
        control_diff_free(world_put(store, fl_span_str(base)));
        control_diff_free(world_put(store, fl_buf_span(&text)));
        compile(store, &theirs);
        for (size_t k = 0; k < CALLERS; k++)
            compare(control_store_model(store), &theirs, fl_buf_str(&text), counts);
        forget(&theirs);
        control_store_free(store);
    }
    fl_buf_done(&text);
    assert_true(counts[0] > WORLDS && counts[1] > WORLDS); /* or the forms do not meet the callers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(explain_says_what_the_proxy_decides),
    };
    return cmocka_run_group_tests(tests, make_secrets, drop_secrets);
}
