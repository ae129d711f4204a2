/* proxy/config/discovery: what a bootstrap says of its xDS server, by table; the token; a TLS context from it. */
#include "proxy/config/discovery.h"

#include "common/doc/yaml.h"
#include "common/xds/convert.h"
#include "common/xds/proto/bootstrap.pb-c.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NODE    "node: {id: n, metadata: {}}\n"
#define SERVICE "grpc_services: [{envoy_grpc: {cluster_name: xds}}]"
#define DYNAMIC(api, extra)                                                                                            \
    "dynamic_resources:\n  ads_config: {api_type: " api ", transport_api_version: V3, " extra "}\n"                    \
    "  cds_config: {ads: {}}\n  lds_config: {ads: {}}\n"
#define ENDPOINT(host) "{endpoint: {address: {socket_address: {address: \"" host "\", port_value: 15012}}}}"
#define CLUSTER(endpoints, extra)                                                                                      \
    "static_resources: {clusters: [{name: xds, type: STATIC, load_assignment: {cluster_name: xds, endpoints: "         \
    "[{lb_endpoints: [" endpoints "]}]}" extra "}]}\n"
#define NAMED(type, host)                                                                                              \
    "static_resources: {clusters: [{name: xds, type: " type ", load_assignment: {cluster_name: xds, endpoints: "       \
    "[{lb_endpoints: [" ENDPOINT(host) "]}]}}]}\n"
#define TLS(common)                                                                                                    \
    ", transport_socket: {name: envoy.transport_sockets.tls, typed_config: {\"@type\": "                               \
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: control, "                 \
    "common_tls_context: {" common "}}}"
#define ROOTS                                                                                                          \
    "validation_context: {trusted_ca: {filename: /r.pem}, match_typed_subject_alt_names: "                             \
    "[{san_type: DNS, matcher: {exact: control}}]}"

struct world {
    struct fl_arena arena;
    struct fl_yaml *yaml;
    struct proxy_discovery discovery;
    struct fl_err err;
};

static int read_text(struct world *world, const char *text)
{
    struct fl_reader reader;
    ProtobufCMessage *message = NULL;
    memset(world, 0, sizeof(*world));
    fl_arena_init(&world->arena, 1 << 20);
    if (fl_yaml_parse(fl_span_str(text), "t", NULL, &world->yaml, &world->err) != 0)
        fail_msg("%s", world->err.text);
    fl_reader_init(&reader, fl_yaml_positions(world->yaml), &world->err);
    if (fl_xds_read(&reader, &envoy__config__bootstrap__v3__bootstrap__descriptor, fl_yaml_document(world->yaml, 0),
                    &world->arena, NULL, &message) != 0)
        fail_msg("%s", world->err.text);
    return proxy_discovery_read((const Envoy__Config__Bootstrap__V3__Bootstrap *)message, &world->arena,
                                &world->discovery, &world->err);
}

static void done(struct world *world)
{
    fl_yaml_free(world->yaml);
    fl_arena_done(&world->arena);
}

static void test_taken(void **state)
{
    (void)state;
    struct world world;
    assert_int_equal(read_text(&world, NODE), 0);
    assert_false(world.discovery.present);
    done(&world);
    assert_int_equal(
        read_text(&world, NODE DYNAMIC("DELTA_GRPC", SERVICE) CLUSTER(ENDPOINT("10.0.0.1") ", " ENDPOINT("::1"), "")),
        0);
    assert_true(world.discovery.present && world.discovery.delta && world.discovery.all_clusters &&
                world.discovery.all_listeners && !world.discovery.on_demand && !world.discovery.tls.on);
    assert_true(fl_span_eq_str(world.discovery.places, "10.0.0.1:15012,[::1]:15012"));
    assert_true(fl_span_eq_str(world.discovery.authority, "xds"));
    done(&world);
    assert_int_equal(
        read_text(&world, "node: {id: n, metadata: {FAIRLEAD_DISCOVERY: on-demand, FAIRLEAD_CA_ADDRESS: \"1.1.1.1:1\", "
                          "FAIRLEAD_TOKEN_FILE: /t}}\n" DYNAMIC("DELTA_GRPC", SERVICE)
                              CLUSTER(ENDPOINT("10.0.0.1"),
                                      TLS("tls_certificate_sds_secret_configs: [{name: default}], " ROOTS))),
        0);
    assert_true(world.discovery.on_demand && !world.discovery.all_listeners && world.discovery.tls.on &&
                world.discovery.tls.own_certificate);
    assert_true(fl_span_eq_str(world.discovery.authority, "control"));
    assert_true(fl_span_eq_str(world.discovery.tls.roots.path, "/r.pem"));
    assert_int_equal(world.discovery.tls.name_count, 1);
    assert_true(fl_span_eq_str(world.discovery.identity.places, "1.1.1.1:1"));
    struct fl_grpc_address peer;
    assert_int_equal(fl_grpc_address_parse(world.discovery.places, &peer), 0);
    assert_true(proxy_discovery_may_send_token(&world.discovery, &peer));
    world.discovery.tls.on = false; /* in plaintext it goes nowhere */
    assert_false(proxy_discovery_may_send_token(&world.discovery, &peer));
    done(&world);
}

static void test_named(void **state)
{
    (void)state;
    struct world world;
    assert_int_equal(read_text(&world, NODE DYNAMIC("GRPC", SERVICE) NAMED("STRICT_DNS", "control.mesh.svc")), 0);
    assert_true(fl_span_eq_str(world.discovery.places, "control.mesh.svc:15012"));
    done(&world);
    assert_int_equal(read_text(&world, NODE DYNAMIC("GRPC", SERVICE) NAMED("LOGICAL_DNS", "10.0.0.1")), 0);
    done(&world);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text, *expected;
    } rows[] = {
        {"no node", "node: {}\n" DYNAMIC("GRPC", SERVICE) CLUSTER(ENDPOINT("1.1.1.1"), ""), "$.node.id"},
        {"no ads_config", NODE "dynamic_resources: {lds_config: {ads: {}}}\n", "ads_config: must be set"},
        {"REST", NODE DYNAMIC("REST", SERVICE) CLUSTER(ENDPOINT("1.1.1.1"), ""),
         "api_type: expected GRPC or DELTA_GRPC"},
        {"V2", NODE "dynamic_resources: {ads_config: {api_type: GRPC, " SERVICE "}}\n", "transport_api_version"},
        {"google_grpc", NODE DYNAMIC("GRPC", "grpc_services: [{google_grpc: {target_uri: x}}]"),
         "google_grpc: not supported"},
        {"no service", NODE DYNAMIC("GRPC", "grpc_services: []"), "grpc_services: expected one, got 0"},
        {"no such cluster", NODE DYNAMIC("GRPC", SERVICE), "there is no static cluster \"xds\""},
        {"a name in a cluster of addresses", NODE DYNAMIC("GRPC", SERVICE) CLUSTER(ENDPOINT("control"), ""),
         "not an IP address"},
        {"a name that is none", NODE DYNAMIC("GRPC", SERVICE) NAMED("STRICT_DNS", "con_trol"), "DNS name and port"},
        {"endpoints from elsewhere", NODE DYNAMIC("GRPC", SERVICE) NAMED("EDS", "control"),
         "expected STATIC, STRICT_DNS"},
        {"no endpoints", NODE DYNAMIC("GRPC", SERVICE) CLUSTER("", ""), "expected 1 to 16 endpoints, got 0"},
        {"listeners from a file",
         NODE "dynamic_resources: {ads_config: {api_type: GRPC, transport_api_version: V3, " SERVICE
              "}, lds_config: {path: /x}}\n" CLUSTER(ENDPOINT("1.1.1.1"), ""),
         "lds_config: expected {ads: {}}"},
        {"on demand without delta",
         "node: {id: n, metadata: {FAIRLEAD_DISCOVERY: on-demand}}\n" DYNAMIC("GRPC", SERVICE)
             CLUSTER(ENDPOINT("1.1.1.1"), ""),
         "expected DELTA_GRPC, because"},
        {"TLS without roots", NODE DYNAMIC("GRPC", SERVICE) CLUSTER(ENDPOINT("1.1.1.1"), TLS("")),
         "trusted_ca must be set"},
        {"another secret",
         NODE DYNAMIC("GRPC", SERVICE)
             CLUSTER(ENDPOINT("1.1.1.1"), TLS("tls_certificate_sds_secret_configs: [{name: other}], " ROOTS)),
         "only \"default\""},
        {"a field that would weaken it",
         NODE DYNAMIC("GRPC", SERVICE)
             CLUSTER(ENDPOINT("1.1.1.1"),
                     TLS("validation_context: {trusted_ca: {filename: /r}, allow_expired_certificate: true}")),
         "allow_expired_certificate: not supported"},
        {"an empty name",
         NODE DYNAMIC("GRPC", SERVICE) CLUSTER(
             ENDPOINT("1.1.1.1"), TLS("validation_context: {trusted_ca: {filename: /r}, match_subject_alt_names: "
                                      "[{prefix: \"\"}]}")),
         "not empty"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct world world;
        int result = read_text(&world, rows[i].text);
        if (result != -EINVAL || strstr(world.err.text, rows[i].expected) == NULL)
            fail_msg("%s: %d %s", rows[i].what, result, world.err.text);
        done(&world);
    }
}

static void test_token(void **state)
{
    (void)state;
    char path[] = "/tmp/discovery-XXXXXX";
    struct fl_err err;
    struct fl_buf out;
    struct proxy_discovery discovery = {.token_file = fl_span_str(path)};
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "abc\n", 4) == 4);
    close(fd);
    fl_buf_init(&out, 100);
    assert_int_equal(proxy_discovery_token(&discovery, &out, &err), 0);
    assert_string_equal(fl_buf_str(&out), "Bearer abc");
    unlink(path);
    assert_int_equal(proxy_discovery_token(&discovery, &out, &err), -ENOENT);
    assert_non_null(strstr(err.text, path));
    fl_buf_done(&out);
}

static void test_context(void **state)
{
    (void)state;
    struct world world;
    struct fl_tls_context *context = NULL;
    struct proxy_discovery_identity identity = {0};
    assert_int_equal(read_text(&world, NODE DYNAMIC("GRPC", SERVICE) CLUSTER(ENDPOINT("1.1.1.1"), "")), 0);
    assert_int_equal(proxy_discovery_tls(&world.discovery, &identity, &context, &world.err), 0);
    assert_null(context);
    done(&world);
    assert_int_equal(read_text(&world, NODE DYNAMIC("GRPC", SERVICE) CLUSTER(
                                           ENDPOINT("1.1.1.1"),
                                           TLS("validation_context: {trusted_ca: {filename: /nonexistent/r}}"))),
                     0);
    assert_int_equal(proxy_discovery_tls(&world.discovery, &identity, &context, &world.err), -ENOENT);
    assert_non_null(strstr(world.err.text, "/nonexistent/r"));
    done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken), cmocka_unit_test(test_named),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_token), cmocka_unit_test(test_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
