/* What a mesh of 1,000 Services with 10,000 endpoints costs a proxy: memory, the main thread's publish, and how long a
 * worker stands still when it takes a snapshot. Printed, never asserted: CPU time, the worst of some rounds.
 *
 *     cmake --preset release -DFL_TESTS=ON && cmake --build --preset release --target bench_snapshot_swap
 *     build/release/tests/bench_snapshot_swap
 */
#include "common/doc/table.h"
#include "common/doc/yaml.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"
#include "common/xds/convert.h"
#include "common/xds/message.h"
#include "proxy/config/assembly.h"
#include "proxy/filter/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SERVICES  1000
#define ENDPOINTS 10 /* of a Service */
#define ROUNDS    20
#define TYPE      "\"@type\": type.googleapis.com/envoy."

static struct proxy_assembly *assembly;

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static long private_kib(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    long total = 0, value;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "Private_Clean: %ld", &value) == 1 || sscanf(line, "Private_Dirty: %ld", &value) == 1)
            total += value;
    }
    if (file != NULL)
        fclose(file);
    return total;
}

static void put(enum fl_resource_type type, const char *name, const char *text)
{
    const struct fl_json_limits limits = {.bytes_max = 1u << 20, .depth_max = 64};
    struct fl_yaml *yaml = NULL;
    struct fl_xds_report report = {0};
    struct fl_reader reader;
    struct ProtobufCMessage *message;
    struct fl_arena arena;
    struct fl_span wire;
    struct fl_err err = {0};
    fl_arena_init(&arena, 1u << 22);
    int result = fl_yaml_parse(fl_span_str(text), name, &limits, &yaml, &err);
    if (result == 0) {
        fl_reader_init(&reader, fl_yaml_positions(yaml), &err);
        result = fl_xds_read(&reader, fl_xds_type(fl_span_str(fl_resource_type_url(type))), fl_yaml_document(yaml, 0),
                             &arena, &report, &message);
    }
    if (result == 0)
        result = fl_xds_pack(message, &arena, &wire);
    if (result == 0)
        result = proxy_assembly_put(assembly, type, fl_span_str(name), FL_SPAN("1"), wire, &err);
    if (result < 0)
        fprintf(stderr, "%s: %s\n", name, err.text);
    check(result == 0, "put");
    fl_arena_done(&arena);
    fl_cleanup_yaml(&yaml);
}

static void put_endpoints(int i, int count)
{
    static char text[65536];
    char name[128];
    snprintf(name, sizeof(name), "outbound|80||s%d.demo.svc.cluster.local", i);
    int len = snprintf(text, sizeof(text), "cluster_name: '%s'\nendpoints:\n- lb_endpoints:\n", name);
    for (int k = 0; k < count; k++)
        len +=
            snprintf(text + len, sizeof(text) - (size_t)len,
                     "  - {endpoint: {address: {socket_address: {address: 10.%d.%d.%d, port_value: 8080}}}, metadata: "
                     "{filter_metadata: {envoy.transport_socket_match: {tlsMode: fairlead}, fairlead: {identity: "
                     "'spiffe://cluster.local/ns/demo/sa/s%d', workload: s%d, namespace: demo}}}}\n",
                     i / 256, i % 256, k + 1, i, i);
    put(FL_RESOURCE_ENDPOINTS, name, text);
}

static void put_cluster(int i, int timeout_s)
{
    static char text[8192];
    char name[128];
    snprintf(name, sizeof(name), "outbound|80||s%d.demo.svc.cluster.local", i);
    snprintf(
        text, sizeof(text),
        "name: '%s'\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}}}\nconnect_timeout: %ds\n"
        "metadata: {filter_metadata: {istio: {services: [{host: s%d.demo.svc.cluster.local, name: s%d, namespace: "
        "demo}]}}}\ntransport_socket_matches:\n- {name: mesh, match: {tlsMode: fairlead}, transport_socket: {name: "
        "tls, typed_config: {" TYPE "extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: 's%d.demo', "
        "common_tls_context: {alpn_protocols: [fairlead-tcp/1], tls_certificate_sds_secret_configs: [{name: "
        "default, sds_config: {ads: {}}}], validation_context_sds_secret_config: {name: ROOTCA, sds_config: {ads: "
        "{}}}}}}}\n- {name: plain, match: {}, transport_socket: {name: raw, typed_config: {" TYPE
        "extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}\n",
        name, timeout_s, i, i, i);
    put(FL_RESOURCE_CLUSTER, name, text);
}

static void put_service(int i)
{
    static char text[8192];
    char name[128];
    snprintf(name, sizeof(name), "outbound|80|s%d.demo.svc.cluster.local", i);
    snprintf(text, sizeof(text),
             "name: '%s'\nvirtual_hosts: [{name: s%d, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: "
             "'outbound|80||s%d.demo.svc.cluster.local', timeout: 0s}}]}]\n",
             name, i, i);
    put(FL_RESOURCE_ROUTES, name, text);
    snprintf(text, sizeof(text),
             "name: 'outbound|10.96.%d.%d:80'\naddress: {socket_address: {address: 10.96.%d.%d, port_value: 80}}\n"
             "bind_to_port: false\ntraffic_direction: OUTBOUND\nfilter_chains: [{filters: [{name: hcm, typed_config: "
             "{" TYPE "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: "
             "outbound, rds: {route_config_name: '%s', config_source: {ads: {}}}, http_filters: [{name: router, "
             "typed_config: {" TYPE "extensions.filters.http.router.v3.Router}}]}}]}]\n",
             i / 256, i % 256, i / 256, i % 256, name);
    snprintf(name, sizeof(name), "outbound|10.96.%d.%d:80", i / 256, i % 256);
    put(FL_RESOURCE_LISTENER, name, text);
    put_cluster(i, 5);
    put_endpoints(i, ENDPOINTS);
}

static void append_json(struct fl_buf *out, struct fl_buf *pem)
{
    check(fl_buf_append_json_string(out, fl_buf_span(pem)) == 0, "print");
    fl_buf_done(pem);
}

static void put_secrets(void)
{
    struct fl_key *root_key = NULL, *key = NULL;
    struct fl_cert *root = NULL, *leaf = NULL;
    struct fl_buf text, pem;
    struct fl_cert_request request = {
        .common_name = FL_SPAN("root"), .not_before = 1000000000, .not_after = 4000000000, .authority = true};
    check(fl_key_generate(&root_key, NULL) == 0 && fl_key_generate(&key, NULL) == 0 &&
              fl_cert_issue(&request, root_key, NULL, root_key, &root, NULL) == 0,
          "keys");
    request = (struct fl_cert_request){
        .uri = FL_SPAN("spiffe://cluster.local/ns/demo/sa/a"), .not_before = 1000000000, .not_after = 4000000000};
    check(fl_cert_issue(&request, key, root, root_key, &leaf, NULL) == 0, "certificate");
    fl_buf_init(&text, 1u << 16);
    fl_buf_init(&pem, 1u << 16);
    check(fl_buf_printf(&text, "{\"name\": \"default\", \"tls_certificate\": {\"certificate_chain\": "
                               "{\"inline_string\": ") == 0 &&
              fl_cert_print(leaf, &pem) == 0,
          "print");
    append_json(&text, &pem);
    fl_buf_init(&pem, 1u << 16);
    check(fl_buf_printf(&text, "}, \"private_key\": {\"inline_string\": ") == 0 && fl_key_print(key, &pem) == 0,
          "print");
    append_json(&text, &pem);
    check(fl_buf_printf(&text, "}}}%c", 0) == 0, "print");
    put(FL_RESOURCE_SECRET, "default", text.data);
    fl_buf_done(&text);
    fl_buf_init(&text, 1u << 16);
    fl_buf_init(&pem, 1u << 16);
    check(fl_buf_printf(&text,
                        "{\"name\": \"ROOTCA\", \"validation_context\": {\"trusted_ca\": {\"inline_string\": ") == 0 &&
              fl_cert_print(root, &pem) == 0,
          "print");
    append_json(&text, &pem);
    check(fl_buf_printf(&text, "}}}%c", 0) == 0, "print");
    put(FL_RESOURCE_SECRET, "ROOTCA", text.data);
    fl_buf_done(&text);
    fl_cert_unref(leaf);
    fl_cert_unref(root);
    fl_key_unref(key);
    fl_key_unref(root_key);
}

/* One round: publish and apply what has changed. */
static void swap(struct proxy_data *data, double *publish_us, double *apply_us)
{
    struct proxy_snapshot *snapshot = NULL;
    double begin = now_us();
    check(proxy_assembly_publish(assembly, 1, &snapshot, NULL) == PROXY_ASSEMBLY_PUBLISHED, "publish");
    double between = now_us();
    check(proxy_data_apply(data, snapshot) == 0, "apply");
    double end = now_us();
    proxy_snapshot_unref(snapshot);
    *publish_us = between - begin;
    *apply_us = end - between;
}

static void report(const char *what, struct proxy_data *data, struct fl_loop *loop, void (*change)(int round))
{
    double worst_apply = 0, best_apply = 1e9, worst_publish = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double publish_us, apply_us;
        change(i);
        swap(data, &publish_us, &apply_us);
        for (int k = 0; k < 3; k++)
            (void)!fl_loop_turn(loop, 0);
        worst_apply = apply_us > worst_apply ? apply_us : worst_apply;
        best_apply = apply_us < best_apply ? apply_us : best_apply;
        worst_publish = publish_us > worst_publish ? publish_us : worst_publish;
    }
    printf("%-44s publish %7.0f µs   worker %7.0f µs (best %.0f)\n", what, worst_publish, worst_apply, best_apply);
}

static void one_endpoint(int round)
{
    put_endpoints(7, ENDPOINTS - 1 - round % 2);
}

static void one_service(int round)
{
    put_service(SERVICES + round);
}

static void all_clusters(int round)
{
    for (int i = 0; i < SERVICES; i++)
        put_cluster(i, 6 + round % 2);
}

int main(void)
{
    struct proxy_data data;
    struct fl_loop *loop = NULL;
    struct proxy_stats *stats = NULL;
    long before = private_kib();
    check(proxy_assembly_new(NULL, NULL, &assembly) == 0 && fl_loop_new(&loop) == 0 && proxy_stats_new(&stats) == 0,
          "start");
    const struct proxy_data_options options = {.loop = loop, .stats = stats};
    check(proxy_data_init(&data, &options) == 0, "worker");
    put_secrets();
    for (int i = 0; i < SERVICES; i++)
        put_service(i);
    double publish_us, apply_us;
    swap(&data, &publish_us, &apply_us);
    printf("first: publish %.0f µs, worker %.0f µs; private memory %ld KiB more than before\n", publish_us, apply_us,
           private_kib() - before);
    report("one Service's endpoints, nothing in use", &data, loop, one_endpoint);
    for (uint32_t i = 0; i < data.snapshot->cluster_slots; i++) {
        struct proxy_cluster_run *run;
        (void)!proxy_data_cluster(&data, i, &run);
    }
    printf("all clusters in use: private memory %ld KiB more than before\n", private_kib() - before);
    report("one Service's endpoints, all in use", &data, loop, one_endpoint);
    report("one more Service, all in use", &data, loop, one_service);
    report("every cluster changes, all in use", &data, loop, all_clusters);
    proxy_data_abort(&data);
    for (int i = 0; i < 4; i++)
        (void)!fl_loop_turn(loop, 0);
    proxy_data_done(&data);
    proxy_assembly_free(assembly);
    fl_loop_free(loop);
    proxy_stats_free(stats);
    return 0;
}
