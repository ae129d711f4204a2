/* proxy/config: what the golden bootstraps do not show: every field that is read, defaults, harmless filters, sharing.
 */
#include "common/tls/context.h"
#include "proxy/config/bootstrap.h"
#include "proxy/route/table.h"
#include "tests/unit/proxy/pki_folder.h"

static struct pki_folder folder;
static struct proxy_bootstrap_warnings warnings;

static int setup(void **state)
{
    (void)state;
    pki_folder_init(&folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_folder_done(&folder);
    return 0;
}

static struct proxy_snapshot *compile(const char *text)
{
    struct fl_buf placed;
    fl_buf_init(&placed, 1u << 20);
    pki_folder_place(&folder, fl_span_str(text), &placed);
    struct proxy_snapshot *snapshot = NULL;
    struct fl_err err = {0};
    if (proxy_bootstrap_parse(fl_buf_span(&placed), "d.yaml", &warnings, &snapshot, &err) != 0)
        fail_msg("%s", err.text);
    fl_buf_done(&placed);
    return snapshot;
}

#define assert_span(span, text)                                                                                        \
    do {                                                                                                               \
        if (!fl_span_eq_str(span, text))                                                                               \
            fail_msg("expected \"%s\", got \"%.*s\"", text, FL_SPAN_ARG(span));                                        \
    } while (0)

#define TYPE "\"@type\": type.googleapis.com/envoy."
#define TCP                                                                                                            \
    "{name: t, typed_config: {" TYPE "extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c}}"
#define HEAD                                                                                                           \
    "static_resources:\n  clusters: [{name: c}, {name: b}]\n  listeners:\n  - name: l\n    address: {socket_address: " \
    "{address: 127.0.0.1, port_value: 1000}}\n"
#define ROUTER "{name: r, typed_config: {" TYPE "extensions.filters.http.router.v3.Router}}"
#define HCM                                                                                                            \
    HEAD "    filter_chains:\n    - filters:\n      - name: h\n        typed_config:\n          " TYPE                 \
         "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          stat_prefix: p\n"

static void test_cluster(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(
        "static_resources:\n  clusters:\n"
        "  - name: b\n    alt_stat_name: other\n    lb_policy: LEAST_REQUEST\n    connect_timeout: 0.0001s\n"
        "    per_connection_buffer_limit_bytes: 4096\n    max_requests_per_connection: 7\n"
        "    circuit_breakers: {thresholds: [{priority: HIGH, max_connections: 1}, {max_connections: 2, "
        "max_pending_requests: 3, max_requests: 4, max_retries: 5}]}\n"
        "    upstream_connection_options: {tcp_keepalive: {keepalive_probes: 1, keepalive_time: 2, keepalive_interval: "
        "3}}\n"
        "    typed_extension_protocol_options:\n      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n       "
        " " TYPE
        "extensions.upstreams.http.v3.HttpProtocolOptions\n        explicit_http_config: {http_protocol_options: {}}\n"
        "        common_http_protocol_options: {idle_timeout: 5s}\n"
        "    load_assignment:\n      cluster_name: b\n      endpoints:\n"
        "      - priority: 1\n        lb_endpoints:\n"
        "        - {endpoint: {address: {socket_address: {address: \"fd00::1\", port_value: 1}}}, health_status: "
        "DRAINING}\n"
        "      - lb_endpoints:\n"
        "        - {endpoint: {hostname: h, address: {socket_address: {address: 10.0.0.1, port_value: 2}}}, "
        "load_balancing_weight: 9}\n"
        "  - {name: a, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: "
        "{upstream_port_override: 80}}\n"
        "  - {name: c, metadata: {filter_metadata: {istio: {services: x}}}}\n");
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.texts[0], "thresholds[0]: is for another priority than DEFAULT"));
    assert_int_equal(proxy_snapshot_cluster_named(snapshot, FL_SPAN("a"))->original_dst_port, 80);
    const struct proxy_cluster *cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("b"));
    assert_span(cluster->stat_name, "other");
    assert_int_equal(cluster->lb_policy, PROXY_LB_LEAST_REQUEST);
    assert_int_equal(cluster->connect_timeout_ms, 1); /* rounded up: never "none" */
    assert_int_equal(cluster->buffer_limit_bytes, 4096);
    assert_int_equal(cluster->max_requests_per_connection, 7);
    assert_int_equal(cluster->max_connections, 2);
    assert_int_equal(cluster->max_pending_requests, 3);
    assert_int_equal(cluster->max_requests, 4);
    assert_int_equal(cluster->max_retries, 5);
    assert_int_equal(cluster->retry_budget_percent, 0);
    assert_int_equal(cluster->panic_percent, 50);
    assert_false(cluster->outlier.on);
    assert_int_equal(cluster->keepalive_probes, 1);
    assert_int_equal(cluster->keepalive_time_s, 2);
    assert_int_equal(cluster->keepalive_interval_s, 3);
    assert_int_equal(cluster->idle_timeout_ms, 5000);
    assert_int_equal(cluster->own.count, 2);
    assert_int_equal(cluster->own.list[0].priority, 1);
    assert_false(cluster->own.list[0].healthy);
    assert_int_equal(cluster->own.list[1].weight, 9);
    assert_span(cluster->own.list[1].hostname, "h");
    cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"));
    assert_int_equal(cluster->type, PROXY_CLUSTER_STATIC); /* defaults */
    assert_int_equal(cluster->connect_timeout_ms, 5000);
    assert_int_equal(cluster->idle_timeout_ms, 3600000);
    assert_int_equal(cluster->keepalive_probes, 3);
    assert_int_equal(cluster->keepalive_time_s, 30);
    assert_int_equal(cluster->keepalive_interval_s, 10);
    assert_int_equal(cluster->service_count, 0);
}

static void test_match(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(
        HEAD "    listener_filters: [{name: i, typed_config: {" TYPE
             "extensions.filters.listener.tls_inspector.v3.TlsInspector}}]\n"
             "    filter_chains:\n    - filters: [" TCP "]\n      filter_chain_match:\n"
             "        prefix_ranges: [{address_prefix: 10.1.2.3, prefix_len: 9}, {address_prefix: \"::\"}]\n"
             "        server_names: [\"*.Example.com\", B]\n        source_type: SAME_IP_OR_LOOPBACK\n"
             "        source_ports: [1, 65535]\n        direct_source_prefix_ranges: [{address_prefix: 0.0.0.0}]\n");
    const struct proxy_chain_match *match = &snapshot->listeners[0]->chains[0].match;
    assert_int_equal(match->prefix_count, 2);
    assert_int_equal(match->prefixes[0].prefix, 9);
    assert_memory_equal(match->prefixes[0].address, "\x0a\x00\x00\x00", 4); /* host bits are cleared */
    assert_int_equal(match->prefixes[1].family, AF_INET6);
    assert_int_equal(match->prefixes[1].prefix, 0);
    assert_span(match->server_names[0], ".example.com");
    assert_span(match->server_names[1], "b");
    assert_int_equal(match->source_type, PROXY_SOURCE_LOCAL);
    assert_int_equal(match->source_port_count, 2);
    assert_int_equal(match->direct_source_prefix_count, 1);
}

static void test_the_inspector_is_added(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot =
        compile(HEAD "    filter_chains:\n    - {filters: [" TCP "], filter_chain_match: {transport_protocol: tls}}\n");
    assert_true(snapshot->listeners[0]->tls_inspector);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.texts[0], "the tls_inspector is added"));
}

static void test_hcm(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(
        HCM
        "          codec_type: HTTP1\n          server_name: s\n          server_header_transformation: PASS_THROUGH\n"
        "          stream_idle_timeout: 1s\n          request_timeout: 2s\n          request_headers_timeout: 0s\n"
        "          drain_timeout: 4s\n          max_request_headers_kb: 16\n          via: v\n"
        "          common_http_protocol_options: {idle_timeout: 5s, max_headers_count: 50, max_connection_duration: "
        "6s, max_requests_per_connection: 8}\n"
        "          http_protocol_options: {accept_http_10: true, default_host_for_http_10: d}\n"
        "          use_remote_address: true\n          xff_num_trusted_hops: 1\n          skip_xff_append: true\n"
        "          generate_request_id: false\n          preserve_external_request_id: true\n"
        "          normalize_path: true\n          merge_slashes: true\n          strip_any_host_port: true\n"
        "          path_with_escaped_slashes_action: REJECT_REQUEST\n"
        "          forward_client_cert_details: SANITIZE_SET\n"
        "          set_current_client_cert_details: {subject: true, uri: true}\n"
        "          upgrade_configs: [{upgrade_type: websocket}]\n          route_config: {name: r}\n"
        "          access_log:\n"
        "          - {name: f, typed_config: {" TYPE "extensions.access_loggers.file.v3.FileAccessLog, path: /x, "
        "log_format: {json_format: {a: \"%PROTOCOL%\", b: 1, c: true}}}}\n"
        "          - {name: e, typed_config: {" TYPE "extensions.access_loggers.stream.v3.StderrAccessLog, "
        "log_format: {text_format: \"%PROTOCOL%\"}}}\n"
        "          - {name: s, typed_config: {" TYPE "extensions.access_loggers.stream.v3.StderrAccessLog, "
        "log_format: {text_format_source: {inline_string: \"%PROTOCOL%\"}}}}\n"
        "          http_filters:\n"
        "          - {name: c, typed_config: {" TYPE "extensions.filters.http.cors.v3.Cors}}\n"
        "          - {name: f, typed_config: {" TYPE "extensions.filters.http.fault.v3.HTTPFault}}\n"
        "          - {name: g, typed_config: {" TYPE "extensions.filters.http.grpc_stats.v3.FilterConfig, "
        "emit_filter_state: true}}\n"
        "          - {name: i, typed_config: {\"@type\": a/stats.PluginConfig, x: 1}}\n"
        "          - {name: o, is_optional: true, typed_config: {\"@type\": a/not.Known}}\n"
        "          - {name: d, disabled: true, typed_config: {\"@type\": a/not.Known}}\n"
        "          - " ROUTER "\n");
    assert_int_equal(snapshot->harmless_filters, 5);
    /* emit_filter_state, three types that are not known, drain_timeout, subject. */
    assert_int_equal(snapshot->ignored_fields, 6);
    const struct proxy_hcm_config *hcm = snapshot->listeners[0]->chains[0].http;
    assert_int_equal(hcm->codec, PROXY_CODEC_HTTP1);
    assert_span(hcm->server_name, "s");
    assert_int_equal(hcm->server_header, PROXY_SERVER_PASS_THROUGH);
    assert_int_equal(hcm->stream_idle_timeout_ms, 1000);
    assert_int_equal(hcm->request_timeout_ms, 2000);
    assert_int_equal(hcm->request_headers_timeout_ms, 0);
    assert_int_equal(hcm->max_head_bytes, 16384);
    assert_int_equal(hcm->max_header_count, 50);
    assert_int_equal(hcm->idle_timeout_ms, 5000);
    assert_int_equal(hcm->max_connection_duration_ms, 6000);
    assert_int_equal(hcm->max_requests_per_connection, 8);
    assert_span(hcm->default_host_for_http_10, "d");
    assert_span(hcm->via, "v");
    assert_true(hcm->use_remote_address && hcm->skip_xff_append);
    assert_true(hcm->path.normalize && hcm->path.merge_slashes && hcm->strip_any_host_port);
    assert_false(hcm->generate_request_id || hcm->strip_matching_host_port);
    assert_int_equal(hcm->xff_trusted_hops, 1);
    assert_int_equal(hcm->path.escaped_slashes, PROXY_SLASHES_REJECT);
    assert_int_equal(hcm->forward_client_cert, PROXY_XFCC_SANITIZE_SET);
    assert_int_equal(hcm->access_log_count, 3);
    assert_span(hcm->access_logs[0].path, "/x");
    assert_non_null(hcm->access_logs[0].format);
    assert_span(hcm->access_logs[1].path, "/dev/stderr");
    assert_non_null(hcm->access_logs[2].format);
}

static void test_http2(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(
        HEAD "    metadata: {filter_metadata: {fairlead: {lenient: true}}}\n    filter_chains:\n    - filters:\n"
             "      - name: h\n        typed_config:\n          " TYPE
             "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          stat_prefix: p\n"
             "          codec_type: HTTP2\n          max_request_headers_kb: 16\n"
             "          common_http_protocol_options: {max_headers_count: 50}\n"
             "          http2_protocol_options: {max_concurrent_streams: 7, initial_stream_window_size: 65535, "
             "initial_connection_window_size: 65536, allow_connect: true, connection_keepalive: {interval: 30s, "
             "timeout: 5s}}\n          route_config: {name: r}\n          http_filters: [" ROUTER "]\n");
    const struct proxy_hcm_config *hcm = snapshot->listeners[0]->chains[0].http;
    assert_int_equal(snapshot->ignored_fields, 0);
    assert_int_equal(hcm->codec, PROXY_CODEC_HTTP2);
    assert_true(hcm->lenient);
    assert_int_equal(hcm->h2.max_streams, 7);
    assert_int_equal(hcm->h2.stream_window, 65535);
    assert_int_equal(hcm->h2.connection_window, 65536);
    assert_int_equal(hcm->h2.head_max, 16384);
    assert_int_equal(hcm->h2.headers_max, 50);
    assert_int_equal(hcm->h2.ping_interval_ms, 30000);
    assert_int_equal(hcm->h2.ping_timeout_ms, 5000);
    assert_false(hcm->h2.no_connect);
}

#define OPTIONS(text)                                                                                                  \
    ", typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" TYPE              \
    "extensions.upstreams.http.v3.HttpProtocolOptions, " text "}}"

static void test_upstream_http(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        enum proxy_upstream_http http;
        uint32_t streams;
    } rows[] = {
        {"", PROXY_UPSTREAM_HTTP1, 0},
        {", http2_protocol_options: {max_concurrent_streams: 3}", PROXY_UPSTREAM_HTTP2, 3},
        {", protocol_selection: USE_DOWNSTREAM_PROTOCOL", PROXY_UPSTREAM_DOWNSTREAM, 0},
        {OPTIONS("explicit_http_config: {http_protocol_options: {}}"), PROXY_UPSTREAM_HTTP1, 0},
        {OPTIONS("explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 4}}"), PROXY_UPSTREAM_HTTP2,
         4},
        {OPTIONS("use_downstream_protocol_config: {http2_protocol_options: {max_concurrent_streams: 5}}"),
         PROXY_UPSTREAM_DOWNSTREAM, 5},
        {OPTIONS("auto_config: {http2_protocol_options: {max_concurrent_streams: 6}}"), PROXY_UPSTREAM_AUTO, 6},
        {", http2_protocol_options: {}" OPTIONS("explicit_http_config: {http_protocol_options: {}}"),
         PROXY_UPSTREAM_HTTP1, 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char yaml[2048];
        snprintf(yaml, sizeof(yaml), "static_resources: {clusters: [{name: c%s}]}\n", rows[i].yaml);
        FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = compile(yaml);
        const struct proxy_cluster *cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"));
        assert_int_equal(cluster->http, rows[i].http);
        assert_int_equal(cluster->h2.max_streams, rows[i].streams);
    }
}

/* What a bootstrap may have and nothing is made of: told by name. */
static void test_hcm_without_effect(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *text; /* NULL: nothing is to be told */
    } rows[] = {
        {"          normalize_path: true\n          use_remote_address: true\n"
         "          preserve_external_request_id: true\n          set_current_client_cert_details: {uri: true}\n"
         "          upgrade_configs: [{upgrade_type: websocket}]\n",
         NULL},
        {"          drain_timeout: 4s\n", "drain_timeout is not acted on"},
        {"          use_remote_address: true\n", "as with preserve_external_request_id"},
        {"          set_current_client_cert_details: {dns: true}\n", "set_current_client_cert_details is not acted on"},
        {"          upgrade_configs: [{upgrade_type: websocket, enabled: false}]\n", "enabled is not acted on"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char yaml[4096];
        snprintf(yaml, sizeof(yaml), HCM "%s          route_config: {name: r}\n          http_filters: [" ROUTER "]\n",
                 rows[i].yaml);
        FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = compile(yaml);
        assert_int_equal(snapshot->ignored_fields, rows[i].text != NULL);
        assert_int_equal(warnings.count, rows[i].text != NULL);
        if (rows[i].text != NULL)
            assert_non_null(strstr(warnings.texts[0], rows[i].text));
    }
}

static void test_hcm_server_header(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        enum proxy_server_header expected;
    } rows[] = {
        {"", PROXY_SERVER_PASS_THROUGH},
        {"          server_name: s\n", PROXY_SERVER_OVERWRITE},
        {"          server_name: s\n          server_header_transformation: PASS_THROUGH\n", PROXY_SERVER_PASS_THROUGH},
        {"          server_header_transformation: APPEND_IF_ABSENT\n", PROXY_SERVER_APPEND_IF_ABSENT},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char yaml[4096];
        snprintf(yaml, sizeof(yaml), HCM "%s          route_config: {name: r}\n          http_filters: [" ROUTER "]\n",
                 rows[i].yaml);
        FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = compile(yaml);
        assert_int_equal(snapshot->listeners[0]->chains[0].http->server_header, rows[i].expected);
    }
}

static void test_routes(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(
        HCM
        "          http_filters: [" ROUTER "]\n          route_config:\n            name: r\n"
        "            ignore_port_in_host_matching: true\n            virtual_hosts:\n            - name: v\n"
        "              domains: [a.example, \"*.b.example\"]\n              require_tls: ALL\n"
        "              response_headers_to_remove: [x-gone]\n              routes:\n"
        "              - name: w\n                match: {path: /w, case_sensitive: false, headers: [{name: x, "
        "string_match: {prefix: p, ignore_case: true}}, {name: y, present_match: false}, {name: z, range_match: "
        "{start: 1, end: 9}, invert_match: true}, {name: e, exact_match: v}], query_parameters: [{name: q, "
        "string_match: {exact: \"\"}}, {name: t}]}\n"
        "                route: {timeout: 3s, idle_timeout: 0s, prefix_rewrite: /n, host_rewrite_literal: h, "
        "cluster_not_found_response_code: INTERNAL_SERVER_ERROR, "
        "weighted_clusters: {clusters: [{name: c, weight: 3}, {name: b, weight: 1, request_headers_to_add: "
        "[{header: {key: k, value: v}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}]}}\n"
        "              - match: {path_separated_prefix: /s}\n"
        "                redirect: {https_redirect: true, host_redirect: o, port_redirect: 8443, prefix_rewrite: /, "
        "response_code: PERMANENT_REDIRECT, strip_query: true}\n"
        "              - match: {prefix: /d}\n                direct_response: {status: 404, body: {inline_string: "
        "gone}}\n"
        "              - match: {prefix: /}\n                route: {cluster: c, request_mirror_policies: [{cluster: "
        "b}]}\n"
        "                typed_per_filter_config: {envoy.filters.http.cors: {" TYPE
        "extensions.filters.http.cors.v3.CorsPolicy, allow_origin_string_match: [{exact: \"https://a\"}, {safe_regex: "
        "{regex: "
        "\".*\"}}], allow_methods: GET, max_age: \"5\", allow_credentials: true, filter_enabled: {default_value: "
        "{numerator: "
        "100}}}}\n");
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.texts[0], "request_mirror_policies[0]: the host keeps its name"));
    const struct proxy_route_config *config = proxy_route_table_config(snapshot->listeners[0]->chains[0].http->routes);
    assert_true(config->ignore_port);
    const struct proxy_virtual_host *host = &config->virtual_hosts[0];
    assert_int_equal(host->domain_count, 2);
    assert_true(host->require_tls_all);
    assert_int_equal(host->response.removal_count, 1);
    const struct proxy_route *route = &host->routes[0];
    assert_int_equal(route->match.path_kind, PROXY_PATH_EXACT);
    assert_true(route->match.ignore_case);
    assert_int_equal(route->match.header_count, 4);
    assert_true(route->match.headers[0].string.ignore_case);
    assert_int_equal(route->match.headers[1].kind, PROXY_VALUE_PRESENT);
    assert_true(route->match.headers[1].invert);
    assert_int_equal(route->match.headers[2].range_end, 9);
    assert_true(route->match.headers[2].invert);
    assert_int_equal(route->match.query_count, 2);
    assert_int_equal(route->action, PROXY_ROUTE_WEIGHTED);
    assert_int_equal(route->weight_sum, 4);
    assert_span(snapshot->clusters[route->clusters[0].cluster_index]->name, "c");
    assert_span(snapshot->clusters[route->clusters[1].cluster_index]->name, "b");
    assert_int_equal(route->clusters[1].request.edits[0].action, PROXY_EDIT_OVERWRITE);
    assert_int_equal(route->timeout_ms, 3000);
    assert_int_equal(route->idle_timeout_ms, 0);
    assert_true(route->has_prefix_rewrite);
    assert_span(route->host_rewrite_literal, "h");
    assert_int_equal(route->not_found, 500);
    route = &host->routes[1];
    assert_int_equal(route->action, PROXY_ROUTE_REDIRECT);
    assert_int_equal(route->redirect.status, 308);
    assert_true(route->redirect.https && route->redirect.has_prefix && route->redirect.strip_query);
    assert_int_equal(route->redirect.port, 8443);
    route = &host->routes[2];
    assert_int_equal(route->action, PROXY_ROUTE_DIRECT);
    assert_int_equal(route->direct.status, 404);
    assert_span(route->direct.body, "gone");
    assert_int_equal(host->routes[3].timeout_ms, PROXY_TIMEOUT_UNSET);
    assert_null(host->routes[0].cors);
    const struct proxy_cors *cors = host->routes[3].cors;
    assert_non_null(cors);
    assert_int_equal(cors->origin_count, 2);
    assert_true(proxy_string_match(&cors->origins[1], FL_SPAN("https://b")));
    assert_span(cors->methods, "GET");
    assert_span(cors->max_age, "5");
    assert_true(cors->credentials && cors->forward_preflights);
}

#define TLS(more)                                                                                                      \
    "{name: tls, typed_config: {" TYPE "extensions.transport_sockets.tls.v3.UpstreamTlsContext, " more                 \
    "common_tls_context: {tls_params: {tls_minimum_protocol_version: TLSv1_3, cipher_suites: [x]}, "                   \
    "validation_context: "                                                                                             \
    "{trusted_ca: {filename: /run/fairlead/root-cert.pem}, match_subject_alt_names: [{exact: a}]}}}}"

static void test_equal_tls_settings_share_a_context(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile("static_resources:\n  clusters:\n  - {name: a, transport_socket: " TLS(
        "") "}\n"
            "  - {name: b, transport_socket: " TLS("") "}\n  - {name: c, transport_socket: " TLS(
                "sni: x, ") "}\n"
                            "  - {name: d, transport_socket: {name: raw, typed_config: {" TYPE
                            "extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}\n");
    assert_non_null(snapshot->clusters[0]->tls);
    assert_ptr_equal(snapshot->clusters[0]->tls, snapshot->clusters[1]->tls);
    assert_true(snapshot->clusters[2]->tls != NULL && snapshot->clusters[2]->tls != snapshot->clusters[0]->tls);
    assert_null(snapshot->clusters[3]->tls);
    assert_int_equal(snapshot->file_count, 1); /* read once */
    assert_int_equal(snapshot->cert_count, 0);
}

static void test_node_defaults(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot =
        compile("node: {id: gw, metadata: {WORKLOAD_NAME: w, NAMESPACE: 5, LABELS: {app.kubernetes.io/name: n}}}\n");
    assert_false(snapshot->node.in_mesh);
    const struct fl_span *fields = snapshot->node.preface.fields;
    assert_span(fields[FL_PREFACE_WORKLOAD], "w");
    assert_int_equal(fields[FL_PREFACE_NAMESPACE].len, 0); /* not a string: not there */
    assert_span(fields[FL_PREFACE_APP], "n");
    assert_span(fields[FL_PREFACE_CANONICAL_SERVICE], "n");
    assert_span(fields[FL_PREFACE_CANONICAL_REVISION], "latest");
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *empty = compile("{}");
    assert_int_equal(empty->node.id.len, 0);
    assert_int_equal(empty->listener_count + empty->cluster_count, 0);
}

#define ROUTES                                                                                                         \
    HCM "          http_filters: [" ROUTER                                                                             \
        "]\n          route_config:\n            virtual_hosts:\n            - name: v\n"                              \
        "              domains: ['*']\n"
#define CLUSTERS "static_resources:\n  clusters:\n  - name: c\n"

static void refuse(const char *text, const char *reason)
{
    struct fl_buf placed;
    struct proxy_snapshot *snapshot = NULL;
    struct fl_err err = {0};
    fl_buf_init(&placed, 1u << 20);
    pki_folder_place(&folder, fl_span_str(text), &placed);
    assert_int_not_equal(proxy_bootstrap_parse(fl_buf_span(&placed), "d.yaml", &warnings, &snapshot, &err), 0);
    if (strstr(err.text, reason) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", reason, err.text);
    fl_buf_done(&placed);
}

static void test_retries(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(
        ROUTES
        "              retry_policy: {retry_on: 'connect-failure, unavailable', num_retries: 0}\n"
        "              routes:\n"
        "              - match: {prefix: /a}\n                route: {cluster: c, retry_policy: {retry_on: "
        "'5xx,retriable-status-codes,retriable-headers', num_retries: 4, per_try_timeout: 0.25s, "
        "retriable_status_codes: [418, 429], retriable_headers: [{name: x-again, exact_match: 'yes'}], "
        "host_selection_retry_max_attempts: 5, retry_host_predicate: [{name: p, typed_config: "
        "{\"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}], "
        "retry_back_off: {base_interval: 0.1s}}}\n"
        "              - match: {prefix: /}\n                route: {cluster: c}\n");
    assert_int_equal(warnings.count, 0);
    const struct proxy_virtual_host *host =
        &proxy_route_table_config(snapshot->listeners[0]->chains[0].http->routes)->virtual_hosts[0];
    const struct proxy_retry_policy *policy = host->routes[0].retry;
    assert_int_equal(policy->on, PROXY_RETRY_ON_5XX | PROXY_RETRY_ON_STATUS_CODES | PROXY_RETRY_ON_HEADERS);
    assert_int_equal(policy->num_retries, 4);
    assert_int_equal(policy->per_try_timeout_ms, 250);
    assert_int_equal(policy->backoff_base_ms, 100);
    assert_int_equal(policy->backoff_max_ms, 1000);
    assert_int_equal(policy->status_count, 2);
    assert_int_equal(policy->statuses[1], 429);
    assert_int_equal(policy->header_count, 1);
    assert_span(policy->headers[0].string.text, "yes");
    assert_true(policy->other_host);
    policy = host->routes[1].retry; /* the virtual host's */
    assert_ptr_equal(policy, host->retry);
    assert_int_equal(policy->on, PROXY_RETRY_ON_CONNECT_FAILURE | PROXY_RETRY_ON_UNAVAILABLE);
    assert_int_equal(policy->num_retries, 0);
    assert_int_equal(policy->backoff_base_ms, 25);
    assert_int_equal(policy->backoff_max_ms, 250);
    assert_false(policy->other_host);
}

static void test_retries_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *reason;
    } rows[] = {
        {"{retry_on: '5xx,envoy-ratelimited'}", "\"envoy-ratelimited\" is not supported"},
        {"{retry_priority: {name: x}}", "retry_priority"},
        {"{retriable_request_headers: [{name: x}]}", "retriable_request_headers"},
        {"{rate_limited_retry_back_off: {}}", "rate_limited_retry_back_off"},
        {"{per_try_idle_timeout: 1s}", "per_try_idle_timeout"},
        {"{retry_host_predicate: [{name: envoy.retry_host_predicates.omit_canary_hosts}]}",
         "retry_host_predicate[0]: expected envoy.retry_host_predicates.previous_hosts"},
        {"{retriable_status_codes: [99]}", "expected statuses from 100 to 599"},
        {"{retry_back_off: {base_interval: 0s}}", "base_interval: must be greater than 0"},
        {"{retry_back_off: {base_interval: 2s, max_interval: 1s}}", "max_interval: must not be less"},
        {"{num_retries: 1001}", "num_retries: expected a number"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char text[4096];
        snprintf(text, sizeof(text),
                 "%s              routes: [{match: {prefix: /}, route: {cluster: c, retry_policy: %s}}]\n", ROUTES,
                 rows[i].policy);
        refuse(text, rows[i].reason);
    }
}

#define OTEL(config)                                                                                                   \
    "provider: {name: envoy.tracers.opentelemetry, typed_config: {" TYPE                                               \
    "config.trace.v3.OpenTelemetryConfig, " config "}}"
#define URI "http_service: {http_uri: {uri: 'http://otel.example:4318/v1/traces', cluster: b, timeout: 1s}"
#define TRACING(fields)                                                                                                \
    HCM "          http_filters: [" ROUTER "]\n          route_config: {}\n          tracing: {" fields "}\n"

static void test_tracing(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(TRACING(
        "random_sampling: {value: 12.5}, client_sampling: {value: 0}, max_path_tag_length: 99, spawn_upstream_span: "
        "true, "
        "custom_tags: [{tag: zone, literal: {value: z}}, {tag: t, request_header: {name: x-t, default_value: "
        "d}}], " OTEL("service_name: s, " URI ", request_headers_to_add: [{header: {key: x-key, value: v}}]}")));
    assert_int_equal(warnings.count, 0);
    const struct proxy_tracing *tracing = snapshot->listeners[0]->chains[0].http->tracing;
    assert_int_equal(tracing->sampling.random, 125000);
    assert_int_equal(tracing->sampling.client, 0);
    assert_int_equal(tracing->sampling.overall, 1000000);
    assert_int_equal(tracing->max_path_length, 99);
    assert_true(tracing->spawn_upstream_span);
    assert_int_equal(tracing->tag_count, 2);
    assert_span(tracing->tags[0].value, "z");
    assert_span(tracing->tags[1].header, "x-t");
    assert_span(tracing->tags[1].value, "d");
    assert_span(tracing->provider->service_name, "s");
    assert_span(tracing->provider->cluster, "b");
    assert_span(tracing->provider->authority, "otel.example:4318");
    assert_span(tracing->provider->path, "/v1/traces");
    assert_span(tracing->provider->fields, "x-key: v\r\n");
    assert_int_equal(tracing->provider->timeout_ms, 1000);
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *bare = compile(TRACING(""));
    assert_int_equal(warnings.count, 1); /* no provider */
    assert_null(bare->listeners[0]->chains[0].http->tracing->provider);
    assert_int_equal(bare->listeners[0]->chains[0].http->tracing->max_path_length, 256);
}

static void test_tracing_that_is_refused(void **state)
{
    (void)state;
    refuse(TRACING("provider: {name: envoy.tracers.zipkin}"), "expected envoy.tracers.opentelemetry");
    refuse(TRACING("provider: {name: envoy.tracers.opentelemetry}"), "typed_config");
    refuse(TRACING(OTEL("grpc_service: {envoy_grpc: {cluster_name: b}}")), "grpc_service");
    refuse(TRACING(OTEL("service_name: s")), "http_service");
    refuse(TRACING(OTEL("http_service: {http_uri: {uri: 'http://x/', cluster: nobody}}")), "there is no cluster");
    refuse(TRACING(OTEL("http_service: {http_uri: {uri: 'http:///v1', cluster: b}}")),
           "expected http://host:port/path");
    refuse(TRACING(OTEL("http_service: {http_uri: {uri: 'http://x/a b', cluster: b}}")),
           "expected http://host:port/path");
    refuse(TRACING(OTEL("http_service: {http_uri: {uri: 'http://x/', cluster: b, timeout: 0s}}")), "timeout");
    refuse(TRACING(OTEL(URI ", request_headers_to_add: [{header: {key: host, value: v}}]}")), "cannot be added");
    refuse(TRACING(OTEL(URI ", request_headers_to_add: [{header: {key: x, value: \"a\\r\\nb\"}}]}")),
           "cannot be added");
    refuse(TRACING("custom_tags: [{tag: a, environment: {name: HOME}}]"), "environment");
    refuse(TRACING("custom_tags: [{literal: {value: z}}]"), "tag");
    refuse(TRACING("random_sampling: {value: 101}"), "random_sampling");
}

static void test_outliers_and_balancing(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = compile(
        CLUSTERS
        "    lb_policy: LEAST_REQUEST\n    least_request_lb_config: {choice_count: 4}\n"
        "    common_lb_config: {healthy_panic_threshold: {value: 12.5}}\n"
        "    circuit_breakers: {thresholds: [{retry_budget: {budget_percent: {value: 25}}}]}\n"
        "    outlier_detection: {consecutive_5xx: 3, interval: 1s, base_ejection_time: 2s, max_ejection_time: 20s, "
        "max_ejection_percent: 60, enforcing_consecutive_5xx: 70, consecutive_gateway_failure: 0, "
        "split_external_local_origin_errors: true, success_rate_minimum_hosts: 3, enforcing_success_rate: 0, "
        "enforcing_failure_percentage: 5}\n"
        "  - {name: d, outlier_detection: {}}\n");
    assert_int_equal(warnings.count, 2);
    assert_non_null(strstr(warnings.texts[0], "success rates are not acted on"));
    assert_non_null(strstr(warnings.texts[1], "failure percentages are not acted on"));
    const struct proxy_cluster *cluster = snapshot->clusters[0];
    assert_int_equal(cluster->choice_count, 4);
    assert_int_equal(cluster->panic_percent, 13);
    assert_int_equal(cluster->retry_budget_percent, 25);
    assert_int_equal(cluster->retry_min, 3);
    const struct proxy_outlier_config *outlier = &cluster->outlier;
    assert_true(outlier->on && outlier->split);
    assert_int_equal(outlier->consecutive[PROXY_OUTLIER_5XX], 3);
    assert_int_equal(outlier->consecutive[PROXY_OUTLIER_GATEWAY], 0);
    assert_int_equal(outlier->consecutive[PROXY_OUTLIER_LOCAL], 5);
    assert_int_equal(outlier->enforcing[PROXY_OUTLIER_5XX], 70);
    assert_int_equal(outlier->interval_ms, 1000);
    assert_int_equal(outlier->base_ms, 2000);
    assert_int_equal(outlier->max_ms, 20000);
    assert_int_equal(outlier->max_ejection_percent, 60);
    outlier = &snapshot->clusters[1]->outlier; /* defaults */
    assert_true(outlier->on && !outlier->split);
    assert_int_equal(outlier->consecutive[PROXY_OUTLIER_5XX], 5);
    assert_int_equal(outlier->enforcing[PROXY_OUTLIER_GATEWAY], 0);
    assert_int_equal(outlier->enforcing[PROXY_OUTLIER_LOCAL], 100);
    assert_int_equal(outlier->interval_ms, 10000);
    assert_int_equal(outlier->base_ms, 30000);
    assert_int_equal(outlier->max_ms, 300000);
    assert_int_equal(outlier->max_ejection_percent, 10);
    refuse(CLUSTERS "    outlier_detection: {interval: 0s}\n", "outlier_detection.interval: must be greater than 0");
    refuse(CLUSTERS "    outlier_detection: {max_ejection_percent: 101}\n", "max_ejection_percent: expected a number");
    refuse(CLUSTERS "    common_lb_config: {healthy_panic_threshold: {value: 101}}\n", "healthy_panic_threshold");
    refuse(CLUSTERS "    least_request_lb_config: {choice_count: 2}\n", "belongs to the policy LEAST_REQUEST");
    refuse(CLUSTERS "    lb_policy: LEAST_REQUEST\n    least_request_lb_config: {choice_count: 1}\n", "choice_count");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracing),
        cmocka_unit_test(test_tracing_that_is_refused),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_retries_that_are_refused),
        cmocka_unit_test(test_outliers_and_balancing),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_the_inspector_is_added),
        cmocka_unit_test(test_hcm),
        cmocka_unit_test(test_hcm_without_effect),
        cmocka_unit_test(test_http2),
        cmocka_unit_test(test_upstream_http),
        cmocka_unit_test(test_hcm_server_header),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_equal_tls_settings_share_a_context),
        cmocka_unit_test(test_node_defaults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
