/* proxy/config/assembly: resources in any order, warming, refusals, removals, rotation, memory running out. */
#include "proxy/config/assembly.h"

#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/proxy/assembly_scratch.h"
#include "tests/unit/proxy/wire.h"

#include <errno.h>
#include <stdio.h>

#define ADS  "{ads: {}}"
#define TYPE "\"@type\": type.googleapis.com/envoy."

static struct proxy_assembly *assembly;
static struct fl_arena arena;
static struct proxy_snapshot *snapshot; /* the last one */
static struct fl_err err;

static int setup(void **state)
{
    (void)state;
    fl_arena_init(&arena, 64u << 20);
    snapshot = NULL;
    return proxy_assembly_new(NULL, NULL, &assembly);
}

static int teardown(void **state)
{
    (void)state;
    assembly = proxy_assembly_free(assembly);
    snapshot = proxy_snapshot_unref(snapshot); /* may go later */
    fl_arena_done(&arena);
    return 0;
}

static int put(enum fl_resource_type type, const char *name, const char *version, const char *text)
{
    return proxy_assembly_put(assembly, type, fl_span_str(name), fl_span_str(version), wire_of(&arena, type, text),
                              &err);
}

static void must_put(enum fl_resource_type type, const char *name, const char *text)
{
    if (put(type, name, "1", text) != 0)
        fail_msg("%s", err.text);
}

/* Whether there was something to publish. */
static bool publish_at(uint64_t now_ms)
{
    struct proxy_snapshot *next = NULL;
    int result = proxy_assembly_publish(assembly, now_ms, &next, &err);
    assert_true(result == PROXY_ASSEMBLY_PUBLISHED || result == PROXY_ASSEMBLY_UNCHANGED);
    if (result == PROXY_ASSEMBLY_PUBLISHED) {
        proxy_snapshot_unref(snapshot);
        snapshot = next;
    }
    const char *differs = assembly_scratch_differs(assembly, snapshot);
    if (differs != NULL)
        fail_msg("not what a publish from scratch gives: %s", differs);
    return result == PROXY_ASSEMBLY_PUBLISHED;
}

static bool publish(void)
{
    return publish_at(1000);
}

static const struct {
    enum fl_resource_type type;
    const char *name, *text;
} parts[] = {
    {FL_RESOURCE_LISTENER, "l",
     "name: l\naddress: {socket_address: {address: 10.0.0.1, port_value: 80}}\nbind_to_port: false\n"
     "filter_chains: [{filters: [{name: h, typed_config: {" TYPE "extensions.filters.network.http_connection_manager."
     "v3.HttpConnectionManager, stat_prefix: s, rds: {route_config_name: r, config_source: " ADS "}, http_filters: "
     "[{name: router, typed_config: {" TYPE "extensions.filters.http.router.v3.Router}}]}}]}]\n"},
    {FL_RESOURCE_ROUTES, "r",
     "name: r\nvirtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: c}}]}]\n"},
    {FL_RESOURCE_CLUSTER, "c", "name: c\ntype: EDS\neds_cluster_config: {eds_config: " ADS ", service_name: e}\n"},
    {FL_RESOURCE_ENDPOINTS, "e",
     "cluster_name: e\nendpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.1.0.1, "
     "port_value: 8080}}}, metadata: {filter_metadata: {fairlead: {identity: 'spiffe://a/ns/b/sa/c'}, "
     "envoy.transport_socket_match: {tlsMode: fairlead}}}}]}]\n"},
};

static void put_part(size_t i)
{
    must_put(parts[i].type, parts[i].name, parts[i].text);
}

static void resources_may_come_in_any_order(void **state)
{
    for (unsigned order = 0; order < 256; order++) {
        const size_t at[] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6 & 3};
        if (((1u << at[0]) | (1u << at[1]) | (1u << at[2]) | (1u << at[3])) != 15)
            continue;
        assert_int_equal(setup(state), 0);
        for (size_t i = 0; i < FL_COUNT(at); i++) {
            put_part(at[i]);
            publish();
            assert_int_equal(snapshot != NULL ? snapshot->listener_count : 0, i == 3); /* when all is there */
        }
        const struct proxy_listener *listener = proxy_snapshot_listener_named(snapshot, FL_SPAN("l"));
        const struct proxy_cluster *cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"));
        const struct proxy_endpoints *endpoints = proxy_snapshot_endpoints(snapshot, cluster);
        struct proxy_unit *unit;
        assert_non_null(proxy_snapshot_routes(snapshot, listener->chains[0].http, listener, &unit));
        assert_int_equal(endpoints->count, 1);
        assert_true(fl_span_eq_str(endpoints->list[0].identity, "spiffe://a/ns/b/sa/c"));
        assert_true(fl_span_eq_str(endpoints->list[0].transport[0].value, "fairlead"));
        struct proxy_address to;
        assert_int_equal(proxy_address_parse(FL_SPAN("10.0.0.1"), 80, &to), 0);
        assert_ptr_equal(proxy_snapshot_listener_of(snapshot, &to), listener);
        teardown(state);
    }
}

static void put_all(void)
{
    for (size_t i = 0; i < FL_COUNT(parts); i++)
        put_part(i);
    assert_true(publish());
}

static struct proxy_want want_of(enum fl_resource_type type, const char *name)
{
    struct proxy_want want;
    for (size_t cursor = 0; proxy_assembly_next_want(assembly, &cursor, &want);) {
        if (want.type == type && fl_span_eq_str(want.name, name))
            return want;
    }
    fail_msg("%s is not wanted", name);
    return want;
}

static struct proxy_resource_state state_of(enum fl_resource_type type, const char *name)
{
    struct proxy_resource_state found;
    for (size_t cursor = 0; proxy_assembly_next_state(assembly, &cursor, &found);) {
        if (found.type == type && fl_span_eq_str(found.name, name))
            return found;
    }
    fail_msg("nothing is known of %s", name);
    return found;
}

static void what_is_wanted(void **state)
{
    (void)state;
    put_part(0);
    struct proxy_want routes = want_of(FL_RESOURCE_ROUTES, "r");
    assert_int_equal(routes.source, PROXY_WANT_ADS);
    assert_int_equal(routes.presence, PROXY_PRESENCE_UNKNOWN);
    uint64_t version = proxy_assembly_wants_version(assembly);
    put_part(1);
    assert_true(proxy_assembly_wants_version(assembly) != version);
    assert_int_equal(want_of(FL_RESOURCE_ROUTES, "r").presence, PROXY_PRESENCE_WARMING);
    assert_int_equal(want_of(FL_RESOURCE_CLUSTER, "c").source, PROXY_WANT_NONE);
    put_part(2);
    assert_int_equal(want_of(FL_RESOURCE_ENDPOINTS, "e").source, PROXY_WANT_ADS);
    put_part(3);
    publish();
    assert_int_equal(want_of(FL_RESOURCE_ROUTES, "r").presence, PROXY_PRESENCE_ACTIVE);
    assert_int_equal(proxy_assembly_remove(assembly, FL_RESOURCE_LISTENER, FL_SPAN("l")), 0);
    struct proxy_want want;
    size_t cursor = 0, count = 0;
    while (proxy_assembly_next_want(assembly, &cursor, &want))
        count++;
    assert_int_equal(count, 2); /* the routes want their cluster, that its endpoints */
}

static void only_what_changed_is_new(void **state)
{
    (void)state;
    put_all();
    struct proxy_snapshot *before = proxy_snapshot_ref(snapshot);
    assert_false(publish());
    put_part(1); /* the same bytes again */
    assert_false(publish());
    must_put(FL_RESOURCE_ENDPOINTS, "e", "cluster_name: e\n");
    assert_true(publish());
    const struct proxy_cluster *cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"));
    assert_ptr_equal(cluster, proxy_snapshot_cluster_named(before, FL_SPAN("c")));
    assert_int_equal(proxy_snapshot_endpoints(snapshot, cluster)->count, 0);
    assert_int_equal(proxy_snapshot_endpoints(before, cluster)->count, 1);
    assert_ptr_equal(snapshot->listeners[0], before->listeners[0]);
    assert_ptr_equal(snapshot->routes[0], before->routes[0]);
    assert_true(snapshot->version == before->version + 1);
    proxy_snapshot_unref(before);
}

#define TO_D                                                                                                           \
    "name: r\nvirtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: d}}]}]\n"

static void make_before_break(void **state)
{
    (void)state;
    put_all();
    struct proxy_snapshot *before = proxy_snapshot_ref(snapshot);
    must_put(FL_RESOURCE_ROUTES, "r", TO_D);
    assert_false(publish()); /* the old table stays until the cluster is there */
    struct proxy_resource_state routes = state_of(FL_RESOURCE_ROUTES, "r");
    assert_int_equal(routes.presence, PROXY_PRESENCE_WARMING);
    assert_true(routes.has_active);
    assert_string_equal(routes.waits_for, "CDS d");
    must_put(FL_RESOURCE_CLUSTER, "d", "name: d\n");
    assert_true(publish());
    assert_true(snapshot->routes[0] != before->routes[0]);
    proxy_snapshot_unref(before);
}

static void nothing_is_waited_for_too_long_but_secrets(void **state)
{
    (void)state;
    put_all();
    must_put(FL_RESOURCE_ROUTES, "r", TO_D);
    assert_false(publish_at(2000));
    assert_int_equal(proxy_assembly_due_ms(assembly), 2000 + PROXY_ASSEMBLY_WARMING_MS);
    assert_false(publish_at(2000 + PROXY_ASSEMBLY_WARMING_MS - 1));
    assert_true(publish_at(2000 + PROXY_ASSEMBLY_WARMING_MS));
    assert_true(proxy_assembly_due_ms(assembly) == UINT64_MAX);
    assert_int_equal(state_of(FL_RESOURCE_ROUTES, "r").presence, PROXY_PRESENCE_ACTIVE);
}

static void what_does_not_exist_is_not_waited_for(void **state)
{
    (void)state;
    put_all();
    must_put(FL_RESOURCE_ROUTES, "r", TO_D);
    assert_false(publish());
    assert_int_equal(proxy_assembly_remove(assembly, FL_RESOURCE_CLUSTER, FL_SPAN("d")), 0);
    assert_int_equal(want_of(FL_RESOURCE_CLUSTER, "d").presence, PROXY_PRESENCE_ABSENT);
    assert_true(publish());
    proxy_assembly_forget(assembly, FL_RESOURCE_CLUSTER, FL_SPAN("d"));
    assert_int_equal(want_of(FL_RESOURCE_CLUSTER, "d").presence, PROXY_PRESENCE_UNKNOWN);
}

static void clusters_of_names_are_told_and_follow_what_they_come_to(void **state)
{
    (void)state;
    const struct proxy_cluster *cluster = NULL;
    size_t cursor = 0;
    uint64_t before = proxy_assembly_dns_version(assembly);
    must_put(FL_RESOURCE_CLUSTER, "n",
             "name: n\ntype: STRICT_DNS\nrespect_dns_ttl: true\nload_assignment: {cluster_name: n, endpoints: "
             "[{lb_endpoints: [{endpoint: {address: {socket_address: {address: web.demo, port_value: 80}}}}]}]}\n");
    assert_true(proxy_assembly_dns_version(assembly) != before);
    assert_true(proxy_assembly_next_dns(assembly, &cursor, &cluster));
    assert_true(fl_span_eq_str(cluster->eds_name, "dns:n") && cluster->dns->respect_ttl && !cluster->dns->logical);
    assert_false(proxy_assembly_next_dns(assembly, &cursor, &cluster));
    assert_int_equal(want_of(FL_RESOURCE_ENDPOINTS, "dns:n").source, PROXY_WANT_DNS);
    must_put(FL_RESOURCE_ENDPOINTS, "dns:n",
             "cluster_name: 'dns:n'\nendpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: "
             "10.1.0.1, port_value: 80}}}}]}]\n");
    assert_true(publish());
    cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("n"));
    assert_int_equal(proxy_snapshot_endpoints(snapshot, cluster)->count, 1);
    before = proxy_assembly_dns_version(assembly);
    assert_int_equal(proxy_assembly_remove(assembly, FL_RESOURCE_CLUSTER, FL_SPAN("n")), 0);
    assert_true(proxy_assembly_dns_version(assembly) != before);
}

static void a_refused_version_keeps_the_one_before(void **state)
{
    (void)state;
    put_all();
    assert_int_equal(put(FL_RESOURCE_CLUSTER, "c", "2", "name: c\ntype: STRICT_DNS\n"), -EINVAL);
    assert_string_equal(err.text, "cluster c: $.load_assignment: must be set");
    assert_false(publish());
    struct proxy_resource_state cluster = state_of(FL_RESOURCE_CLUSTER, "c");
    assert_string_equal(cluster.refused, err.text);
    assert_true(fl_span_eq_str(cluster.refused_version, "2") && fl_span_eq_str(cluster.active_version, "1"));
    assert_int_equal(cluster.presence, PROXY_PRESENCE_ACTIVE);
    put_part(2);
    assert_null(state_of(FL_RESOURCE_CLUSTER, "c").refused);
    assert_int_equal(put(FL_RESOURCE_CLUSTER, "other", "1", parts[2].text), -EINVAL); /* of another name */
    const char bytes[] = "\xff\xff";
    assert_int_equal(
        proxy_assembly_put(assembly, FL_RESOURCE_ROUTES, FL_SPAN("r"), FL_SPAN("2"), fl_span_make(bytes, 2), &err),
        -EINVAL);
    assert_int_equal(proxy_assembly_put(assembly, FL_RESOURCE_ROUTES, FL_SPAN(""), FL_SPAN("2"), FL_SPAN(""), &err),
                     -EINVAL);
    assert_int_equal(put(FL_RESOURCE_LISTENER, "f", "1",
                         "name: f\naddress: {socket_address: {address: 10.0.0.2, port_value: 80}}\nfilter_chains: "
                         "[{filters: [{name: h, typed_config: {" TYPE
                         "extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, cluster: c}}], "
                         "transport_socket: {name: tls, typed_config: {" TYPE
                         "extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: "
                         "{tls_certificates: [{certificate_chain: {filename: /etc/passwd}}]}}}}]\n"),
                     -EINVAL);
    assert_non_null(strstr(err.text, "only the bootstrap may name files"));
}

static void removal_in_any_order(void **state)
{
    for (size_t first = 0; first < FL_COUNT(parts); first++) {
        assert_int_equal(setup(state), 0);
        put_all();
        for (size_t i = 0; i < FL_COUNT(parts); i++) {
            size_t at = (first + i) % FL_COUNT(parts);
            assert_int_equal(proxy_assembly_remove(assembly, parts[at].type, fl_span_str(parts[at].name)), 0);
            publish(); /* endpoints without a cluster are in no snapshot */
        }
        assert_int_equal(snapshot->listener_count + snapshot->cluster_count, 0);
        size_t cursor = 0;
        struct proxy_resource_state left;
        assert_false(proxy_assembly_next_state(assembly, &cursor, &left));
        teardown(state);
    }
}

/* A number that an old unit may mean is not another name's. */
static void slots_outlive_what_names_them(void **state)
{
    (void)state;
    put_all();
    uint32_t slot = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"))->slot->index;
    struct proxy_snapshot *before = proxy_snapshot_ref(snapshot);
    for (size_t i = 0; i < FL_COUNT(parts); i++)
        assert_int_equal(proxy_assembly_remove(assembly, parts[i].type, fl_span_str(parts[i].name)), 0);
    must_put(FL_RESOURCE_CLUSTER, "d", "name: d\n");
    assert_true(publish());
    assert_true(proxy_snapshot_cluster_named(snapshot, FL_SPAN("d"))->slot->index != slot);
    assert_null(proxy_snapshot_cluster(snapshot, slot));
    proxy_snapshot_unref(before);
    proxy_assembly_sweep(assembly);
    must_put(FL_RESOURCE_CLUSTER, "x", "name: x\n");
    assert_true(publish());
    assert_int_equal(proxy_snapshot_cluster_named(snapshot, FL_SPAN("x"))->slot->index, slot); /* now it may be */
}

/* -- secrets -- */

static struct authority authority;

static const char *pem(struct identity *identity, bool key)
{
    struct fl_buf text;
    fl_buf_init(&text, 1u << 16);
    assert_int_equal(key ? fl_key_print(identity->key, &text) : fl_cert_print(identity->cert, &text), 0);
    struct fl_span copy = fl_arena_copy(&arena, fl_buf_span(&text));
    fl_buf_done(&text);
    for (char *c = (char *)(uintptr_t)copy.data; *c != '\0'; c++) /* a quoted YAML scalar folds line ends */
        *c = *c == '\n' ? '|' : *c;
    return copy.data;
}

/* A string for JSON. */
static void put_lines(struct fl_buf *to, const char *text)
{
    for (; *text != '\0'; text++)
        assert_int_equal(*text == '|' ? fl_buf_append(to, FL_SPAN("\\n")) : fl_buf_append_byte(to, *text), 0);
}

static void put_secret(const char *name, struct identity *identity)
{
    struct fl_buf text;
    fl_buf_init(&text, 1u << 17);
    assert_int_equal(fl_buf_printf(&text,
                                   "{\"name\": \"%s\", \"tls_certificate\": {\"certificate_chain\": "
                                   "{\"inline_string\": \"",
                                   name),
                     0);
    put_lines(&text, pem(identity, false));
    assert_int_equal(fl_buf_append(&text, FL_SPAN("\"}, \"private_key\": {\"inline_string\": \"")), 0);
    put_lines(&text, pem(identity, true));
    assert_int_equal(fl_buf_append(&text, FL_SPAN("\"}}}")), 0);
    assert_int_equal(fl_buf_append_byte(&text, '\0'), 0);
    must_put(FL_RESOURCE_SECRET, name, text.data);
    fl_buf_done(&text);
}

static void put_roots(const char *name)
{
    struct identity root = {.cert = authority.root, .key = authority.key};
    struct fl_buf text;
    fl_buf_init(&text, 1u << 17);
    assert_int_equal(fl_buf_printf(&text,
                                   "{\"name\": \"%s\", \"validation_context\": {\"trusted_ca\": "
                                   "{\"inline_string\": \"",
                                   name),
                     0);
    put_lines(&text, pem(&root, false));
    assert_int_equal(fl_buf_append(&text, FL_SPAN("\"}}}")), 0);
    assert_int_equal(fl_buf_append_byte(&text, '\0'), 0);
    must_put(FL_RESOURCE_SECRET, name, text.data);
    fl_buf_done(&text);
}

#define TLS_CLUSTER(name, sni)                                                                                         \
    "name: " name "\ntransport_socket: {name: tls, typed_config: {" TYPE                                               \
    "extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: " sni                                                \
    ", common_tls_context: {alpn_protocols: [fairlead-tcp/1], tls_certificate_sds_secret_configs: [{name: default, "   \
    "sds_config: {api_config_source: {api_type: GRPC}}}], combined_validation_context: {default_validation_context: "  \
    "{match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: 'spiffe://cluster.local/'}}]}, "               \
    "validation_context_sds_secret_config: {name: ROOTCA, sds_config: " ADS "}}}}}\n"

static void secrets_come_and_are_rotated(void **state)
{
    (void)state;
    struct identity one, two;
    authority_init(&authority, "root");
    authority_issue(&authority, "spiffe://cluster.local/ns/a/sa/b", NULL, &one);
    authority_issue(&authority, "spiffe://cluster.local/ns/a/sa/b", NULL, &two);
    must_put(FL_RESOURCE_CLUSTER, "a", TLS_CLUSTER("a", "x"));
    must_put(FL_RESOURCE_CLUSTER, "b", TLS_CLUSTER("b", "y"));
    assert_int_equal(want_of(FL_RESOURCE_SECRET, "default").source, PROXY_WANT_API);
    publish();
    assert_true(snapshot == NULL || snapshot->cluster_count == 0);
    put_secret("default", &one);
    publish_at(1000 + 2 * PROXY_ASSEMBLY_WARMING_MS); /* however long it takes */
    assert_true(snapshot == NULL || snapshot->cluster_count == 0);
    assert_string_equal(state_of(FL_RESOURCE_CLUSTER, "a").waits_for, "SDS ROOTCA");
    put_roots("ROOTCA");
    assert_true(publish());
    assert_int_equal(snapshot->cluster_count, 2);
    const struct proxy_cluster *cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("a"));
    const struct fl_tls_context *before = proxy_snapshot_tls(snapshot, cluster->tls);
    assert_non_null(before);
    assert_int_equal(snapshot->cert_count, 1);
    put_secret("default", &two);
    assert_true(publish());
    assert_ptr_equal(proxy_snapshot_cluster_named(snapshot, FL_SPAN("a")), cluster); /* the same unit */
    assert_true(proxy_snapshot_tls(snapshot, cluster->tls) != before);
    before = proxy_snapshot_tls(snapshot, cluster->tls);
    assert_int_equal(proxy_assembly_remove(assembly, FL_RESOURCE_SECRET, FL_SPAN("default")), 0);
    publish();
    assert_ptr_equal(proxy_snapshot_tls(snapshot, cluster->tls), before); /* what it was made of stays */
    put_roots("default");                                                 /* not what it is used for */
    publish();
    assert_ptr_equal(proxy_snapshot_tls(snapshot, cluster->tls), before);
    identity_done(&one);
    identity_done(&two);
    authority_done(&authority);
}

/* -- any sequence: what is kept from publish to publish is what walking everything gives (see publish_at) -- */

#define NAMES 90 /* more than one page */
#define STEPS 6000

static uint64_t random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((random_state >> 33) % below);
}

static void put_drawn(struct identity identities[2])
{
    char name[8], text[1024], service[32] = "";
    unsigned n = draw(NAMES), other = draw(NAMES), variant = draw(3);
    snprintf(name, sizeof(name), "n%u", n);
    switch (draw(6)) {
    case 0:
        if (variant == 0)
            snprintf(service, sizeof(service), ", service_name: n%u", other);
        if (variant == 2)
            snprintf(text, sizeof(text), "name: %s\nconnect_timeout: %u.5s\n", name, other);
        else
            snprintf(text, sizeof(text), "name: %s\ntype: EDS\neds_cluster_config: {eds_config: " ADS "%s}\n", name,
                     service);
        must_put(FL_RESOURCE_CLUSTER, name, text);
        return;
    case 1:
        snprintf(text, sizeof(text),
                 "cluster_name: %s\nendpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: "
                 "10.1.0.%u, port_value: 80}}}}]}]\n",
                 name, variant + 1);
        must_put(FL_RESOURCE_ENDPOINTS, name, text);
        return;
    case 2:
        snprintf(text, sizeof(text),
                 "name: %s\nvirtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: "
                 "n%u}}]}]\n",
                 name, other);
        must_put(FL_RESOURCE_ROUTES, name, text);
        return;
    case 3:
        snprintf(text, sizeof(text),
                 "name: %s\naddress: {socket_address: {address: 10.0.0.%u, port_value: 80}}\nbind_to_port: "
                 "false\nfilter_chains: [{filters: [{name: h, typed_config: {" TYPE
                 "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, rds: "
                 "{route_config_name: n%u, config_source: " ADS "}, http_filters: [{name: router, typed_config: {" TYPE
                 "extensions.filters.http.router.v3.Router}}]}}]}]\n",
                 name, n / 2 + 1, other);
        must_put(FL_RESOURCE_LISTENER, name, text);
        return;
    case 4:
        must_put(FL_RESOURCE_CLUSTER, variant == 0 ? "a" : "b",
                 variant == 0   ? TLS_CLUSTER("a", "x")
                 : variant == 1 ? TLS_CLUSTER("b", "y")
                                : TLS_CLUSTER("b", "z"));
        return;
    default:
        if (draw(8) == 0)
            put_roots("ROOTCA");
        else
            put_secret("default", &identities[draw(2)]);
    }
}

static void remove_drawn(void)
{
    static const char *const others[] = {"a", "b", "default", "ROOTCA"};
    char name[8];
    snprintf(name, sizeof(name), "n%u", draw(NAMES));
    enum fl_resource_type type = (enum fl_resource_type)draw(FL_RESOURCE_TYPES);
    if (draw(8) == 0)
        snprintf(name, sizeof(name), "%s", others[draw(FL_COUNT(others))]);
    if (draw(4) == 0)
        proxy_assembly_forget(assembly, type, fl_span_str(name));
    else
        assert_int_equal(proxy_assembly_remove(assembly, type, fl_span_str(name)), 0);
}

static void any_sequence_gives_what_a_publish_from_scratch_gives(void **state)
{
    struct identity identities[2];
    struct proxy_snapshot *kept = NULL;
    size_t published = 0;
    authority_init(&authority, "root");
    for (size_t i = 0; i < 2; i++)
        authority_issue(&authority, "spiffe://cluster.local/ns/a/sa/b", NULL, &identities[i]);
    for (random_state = 1; random_state <= 3;) {
        uint64_t seed = random_state, now_ms = 1000;
        assert_int_equal(setup(state), 0);
        for (unsigned i = 0; i < STEPS / 3; i++) {
            unsigned what = draw(16);
            if (what < 8)
                put_drawn(identities);
            else if (what < 11)
                remove_drawn();
            else
                published += publish_at(now_ms += draw(3000));
            if (draw(40) == 0) { /* an old one may outlive many */
                proxy_snapshot_unref(kept);
                kept = proxy_snapshot_ref(snapshot);
            }
            if (i % 64 == 0)
                fl_arena_reset(&arena);
        }
        teardown(state);
        kept = proxy_snapshot_unref(kept);
        random_state = seed + 1;
    }
    assert_true(published > 100);
    for (size_t i = 0; i < 2; i++)
        identity_done(&identities[i]);
    authority_done(&authority);
}

/* -- memory -- */

static void memory_running_out(void **state)
{
    struct fl_span wires[FL_COUNT(parts)], changed;
    struct fl_arena outside;
    fl_arena_init(&outside, 1u << 20);
    for (size_t i = 0; i < FL_COUNT(parts); i++)
        wires[i] = wire_of(&outside, parts[i].type, parts[i].text);
    changed = wire_of(&outside, FL_RESOURCE_CLUSTER, "name: c\nconnect_timeout: 1s\n");
    assert_int_equal(setup(state), 0);
    put_all();
    const struct proxy_cluster *before = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"));
    FAIL_EACH_ALLOCATION
    {
        struct proxy_snapshot *next = NULL;
        int result = proxy_assembly_put(assembly, FL_RESOURCE_CLUSTER, FL_SPAN("c"), FL_SPAN("2"), changed, &err);
        if (result == 0)
            result = proxy_assembly_publish(assembly, 1000, &next, &err);
        fail_stop();
        if (fail_happened() && result < 0) {
            assert_int_equal(result, -ENOMEM);
            assert_null(next);
            assert_ptr_equal(proxy_snapshot_cluster_named(snapshot, FL_SPAN("c")), before);
        }
        proxy_snapshot_unref(next);
        /* back to where it was */
        assert_int_equal(proxy_assembly_put(assembly, FL_RESOURCE_CLUSTER, FL_SPAN("c"), FL_SPAN("1"), wires[2], &err),
                         0);
        publish();
        before = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"));
    }
    teardown(state);
    fl_arena_done(&outside);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources_may_come_in_any_order),
        TEST(what_is_wanted),
        TEST(only_what_changed_is_new),
        TEST(make_before_break),
        TEST(nothing_is_waited_for_too_long_but_secrets),
        TEST(what_does_not_exist_is_not_waited_for),
        TEST(clusters_of_names_are_told_and_follow_what_they_come_to),
        TEST(a_refused_version_keeps_the_one_before),
        cmocka_unit_test(removal_in_any_order),
        TEST(slots_outlive_what_names_them),
        TEST(secrets_come_and_are_rotated),
        cmocka_unit_test(any_sequence_gives_what_a_publish_from_scratch_gives),
        cmocka_unit_test(memory_running_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
