/* proxy/telemetry/stats.h: Istio's labels as dashboards group by them, bounds, and a scrape beside a writing thread. */
#include "proxy/telemetry/stats.h"

#include "common/metrics/expose.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }

static const struct proxy_edge_labels inbound = {
    .reporter = PROXY_REPORTER_DESTINATION,
    .protocol = PROXY_PROTOCOL_HTTP,
    .security = PROXY_SECURITY_MUTUAL_TLS,
    .source = {.workload = TEXT("client"),
               .name_space = TEXT("demo"),
               .principal = TEXT("spiffe://cluster.local/ns/demo/sa/client")},
    .destination = {.workload = TEXT("server"),
                    .name_space = TEXT("demo"),
                    .principal = TEXT("spiffe://cluster.local/ns/demo/sa/server"),
                    .app = TEXT("server"),
                    .version = TEXT("v1"),
                    .cluster = TEXT("Kubernetes"),
                    .canonical_service = TEXT("server"),
                    .canonical_revision = TEXT("v1")},
    .service = {TEXT("server.demo.svc.cluster.local"), TEXT("server"), TEXT("demo")},
};

static void scrape(struct proxy_stats *stats, struct fl_buf *text)
{
    struct fl_metrics *metrics = proxy_stats_metrics(stats);
    fl_buf_init(text, 64 << 20);
    assert_int_equal(fl_metrics_expose(&metrics, 1, text), 0);
}

static void assert_line(struct proxy_stats *stats, const char *line)
{
    struct fl_buf text;
    scrape(stats, &text);
    const char *found = fl_buf_str(&text);
    if (strstr(found, line) == NULL)
        fail_msg("not there: %s\n%s", line, found);
    fl_buf_done(&text);
}

#define INBOUND_LABELS                                                                                                 \
    "reporter=\"destination\",source_workload=\"client\",source_workload_namespace=\"demo\","                          \
    "source_principal=\"spiffe://cluster.local/ns/demo/sa/client\",source_app=\"unknown\",source_version=\"unknown\"," \
    "source_cluster=\"unknown\",source_canonical_service=\"unknown\",source_canonical_revision=\"unknown\","           \
    "destination_workload=\"server\",destination_workload_namespace=\"demo\","                                         \
    "destination_principal=\"spiffe://cluster.local/ns/demo/sa/server\",destination_app=\"server\","                   \
    "destination_version=\"v1\",destination_cluster=\"Kubernetes\",destination_canonical_service=\"server\","          \
    "destination_canonical_revision=\"v1\",destination_service=\"server.demo.svc.cluster.local\","                     \
    "destination_service_name=\"server\",destination_service_namespace=\"demo\","

static void a_request_is_counted_with_all_labels(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    struct proxy_edge *edge = proxy_stats_edge(stats, &inbound);
    assert_ptr_equal(edge, proxy_stats_edge(stats, &inbound));
    const struct proxy_request_outcome ok = {
        .code = 200, .grpc_status = -1, .duration_ms = 3.5, .request_bytes = 100, .response_bytes = 20000};
    proxy_stats_request(edge, &ok);
    proxy_stats_request(edge, &ok);
    assert_line(stats, "istio_requests_total{" INBOUND_LABELS
                       "request_protocol=\"http\",connection_security_policy=\"mutual_tls\","
                       "response_flags=\"-\",response_code=\"200\",grpc_response_status=\"\"} 2\n");
    assert_line(stats, "response_code=\"200\",grpc_response_status=\"\",le=\"5\"} 2\n");
    assert_line(stats, "istio_request_duration_milliseconds_sum{" INBOUND_LABELS);
    assert_line(stats, "grpc_response_status=\"\"} 7\n");
    assert_line(stats, "istio_request_bytes_bucket{");
    assert_line(stats, "istio_response_bytes_sum{");
    proxy_stats_free(stats);
}

static void failures_and_grpc_have_series_of_their_own(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    struct proxy_edge_labels labels = inbound;
    labels.protocol = PROXY_PROTOCOL_GRPC;
    struct proxy_edge *edge = proxy_stats_edge(stats, &labels);
    proxy_stats_request(edge, &(struct proxy_request_outcome){.code = 200, .grpc_status = 14});
    proxy_stats_request(
        edge, &(struct proxy_request_outcome){.code = 503,
                                              .grpc_status = -1,
                                              .flags = PROXY_FLAG_UPSTREAM_CONNECT_FAILURE | PROXY_FLAG_RETRY_LIMIT});
    proxy_stats_request(
        edge, &(struct proxy_request_outcome){.code = 0, .grpc_status = -1, .flags = PROXY_FLAG_DOWNSTREAM_CLOSE});
    proxy_stats_request(edge, &(struct proxy_request_outcome){.code = 200, .grpc_status = 14});
    assert_line(stats, "request_protocol=\"grpc\",connection_security_policy=\"mutual_tls\",response_flags=\"-\","
                       "response_code=\"200\",grpc_response_status=\"14\"} 2\n");
    assert_line(stats, "response_flags=\"UF,URX\",response_code=\"503\",grpc_response_status=\"\"} 1\n");
    assert_line(stats, "response_flags=\"DC\",response_code=\"0\",grpc_response_status=\"\"} 1\n");
    proxy_stats_free(stats);
}

static void the_source_does_not_tell_the_security_policy(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    struct proxy_edge_labels labels = inbound;
    labels.reporter = PROXY_REPORTER_SOURCE;
    proxy_stats_request(proxy_stats_edge(stats, &labels),
                        &(struct proxy_request_outcome){.code = 204, .grpc_status = -1});
    assert_line(stats, "connection_security_policy=\"unknown\",response_flags=\"-\",response_code=\"204\"");
    proxy_stats_free(stats);
}

static void tcp_connections_and_bytes(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    struct proxy_edge_labels labels = {.reporter = PROXY_REPORTER_DESTINATION, .security = PROXY_SECURITY_NONE};
    struct proxy_edge *edge = proxy_stats_edge(stats, &labels);
    proxy_stats_tcp_opened(edge);
    proxy_stats_tcp_bytes(edge, 0, 10, 20);
    proxy_stats_tcp_bytes(edge, 0, 1, 2);
    proxy_stats_tcp_closed(edge, PROXY_FLAG_UPSTREAM_CLOSE);
    assert_line(stats, "request_protocol=\"tcp\",connection_security_policy=\"none\",response_flags=\"-\"} 1\n");
    assert_line(stats, "istio_tcp_sent_bytes_total{reporter=\"destination\",source_workload=\"unknown\"");
    assert_line(stats, "response_flags=\"-\"} 22\n");
    assert_line(stats, "response_flags=\"-\"} 11\n");
    assert_line(stats, "istio_tcp_connections_closed_total{");
    assert_line(stats, "response_flags=\"UC\"} 1\n");
    proxy_stats_request(edge, &(struct proxy_request_outcome){.code = 200}); /* not for an edge of TCP */
    proxy_stats_free(stats);
}

static void invented_values_are_bounded(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    struct proxy_edge *edge = proxy_stats_edge(stats, &inbound);
    for (unsigned code = 100; code < 1000; code++)
        proxy_stats_request(edge, &(struct proxy_request_outcome){.code = (uint16_t)code, .grpc_status = -1});
    assert_line(stats,
                "response_flags=\"overflow\",response_code=\"overflow\",grpc_response_status=\"overflow\"} 836\n");
    struct proxy_edge_labels labels = inbound;
    char name[32];
    for (unsigned i = 0; i < PROXY_STATS_EDGES_MAX + 10; i++) {
        labels.source.workload = fl_span_make(name, (size_t)snprintf(name, sizeof(name), "w%u", i));
        labels.protocol = PROXY_PROTOCOL_HTTP;
        edge = proxy_stats_edge(stats, &labels);
        proxy_stats_request(edge, &(struct proxy_request_outcome){.code = 200, .grpc_status = -1});
    }
    labels.protocol = PROXY_PROTOCOL_TCP;
    struct proxy_edge *tcp = proxy_stats_edge(stats, &labels);
    assert_ptr_not_equal(edge, tcp);
    proxy_stats_tcp_opened(tcp);
    assert_line(stats, "istio_requests_total{reporter=\"overflow\"");
    assert_line(stats, "istio_tcp_connections_opened_total{reporter=\"overflow\"");
    proxy_stats_free(stats);
}

/* A meshed peer may tell another workload with every connection: the scrape must stay one that can be had. */
static void a_flood_of_peers_does_not_end_scrapes(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    struct proxy_edge_labels labels = inbound;
    char name[253];
    memset(name, '"', sizeof(name));
    labels.source.app = labels.source.version = fl_span_make(name, sizeof(name));
    for (unsigned i = 0; i < PROXY_STATS_EDGES_MAX; i++) {
        char number[16];
        memcpy(name, number, (size_t)snprintf(number, sizeof(number), "%u-", i));
        proxy_stats_request(proxy_stats_edge(stats, &labels),
                            &(struct proxy_request_outcome){.code = 200, .grpc_status = -1});
    }
    struct fl_buf text;
    scrape(stats, &text);
    assert_true(text.len < PROXY_STATS_EXPOSED_MAX + (1u << 20));
    assert_true(text.len > PROXY_STATS_EXPOSED_MAX / 2); /* the estimate is not far off */
    assert_non_null(strstr(fl_buf_str(&text), "istio_requests_total{reporter=\"overflow\""));
    fl_buf_done(&text);
    proxy_stats_free(stats);
}

static void hostile_and_long_values_stay_one_label(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    char text[1000];
    memset(text, 'x', sizeof(text));
    struct proxy_edge_labels labels = inbound;
    labels.source.workload = FL_SPAN("a\"},b\n\xff");
    labels.source.app = fl_span_make(text, sizeof(text));
    proxy_stats_request(proxy_stats_edge(stats, &labels),
                        &(struct proxy_request_outcome){.code = 200, .grpc_status = -1});
    assert_line(stats, "source_workload=\"a\\\"},b\\n\xef\xbf\xbd\",");
    proxy_stats_free(stats);
}

static void our_own_families(void **state)
{
    (void)state;
    struct proxy_stats *stats;
    assert_int_equal(proxy_stats_new(&stats), 0);
    assert_line(stats, "fairlead_connections_refused_total{reason=\"loop\"} 0\n"); /* seen from the start */
    proxy_stats_connection_opened(stats, PROXY_SIDE_DOWNSTREAM);
    proxy_stats_connection_opened(stats, PROXY_SIDE_DOWNSTREAM);
    proxy_stats_connection_closed(stats, PROXY_SIDE_DOWNSTREAM);
    proxy_stats_refused(stats, PROXY_REFUSED_LOOP);
    proxy_stats_handshake_failed(stats, PROXY_SIDE_UPSTREAM, PROXY_HANDSHAKE_IDENTITY);
    proxy_stats_accept_failed(stats, -EMFILE);
    proxy_stats_parse_error(stats, PROXY_SIDE_DOWNSTREAM, "http1.content_length_and_transfer_encoding");
    proxy_stats_parse_error(stats, PROXY_SIDE_UPSTREAM, "http2.flow_control");
    proxy_stats_log_dropped(stats, 3);
    proxy_stats_connect_failed(stats, -ECONNREFUSED);
    proxy_stats_process(stats);
    proxy_stats_start_gate(stats, true);
    proxy_stats_reload(stats, false);
    assert_line(stats, "fairlead_connections_opened_total{side=\"downstream\"} 2\n");
    assert_line(stats, "fairlead_connections{side=\"downstream\"} 1\n");
    assert_line(stats, "fairlead_connections_refused_total{reason=\"loop\"} 1\n");
    assert_line(stats, "fairlead_tls_handshake_failures_total{side=\"upstream\",reason=\"identity\"} 1\n");
    assert_line(stats, "fairlead_accept_failures_total{reason=\"fd\"} 1\n");
    assert_line(
        stats,
        "fairlead_http_parse_errors_total{side=\"downstream\",reason=\"content_length_and_transfer_encoding\"} 1\n");
    assert_line(stats, "fairlead_http_parse_errors_total{side=\"upstream\",reason=\"http2.flow_control\"} 1\n");
    assert_line(stats, "fairlead_access_log_dropped_total 3\n");
    assert_line(stats, "fairlead_upstream_connect_failures_total{reason=\"refused\"} 1\n");
    assert_line(stats, "fairlead_build_info{version=\"" FL_VERSION "\"} 1\n");
    assert_line(stats, "fairlead_start_gate_open 1\n");
    assert_line(stats, "fairlead_config_reloads_total{result=\"rejected\"} 1\n");
    proxy_stats_free(stats);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_stats *stats = NULL;
        if (proxy_stats_new(&stats) == 0) {
            struct proxy_edge *edge = proxy_stats_edge(stats, &inbound);
            proxy_stats_request(edge, &(struct proxy_request_outcome){.code = 200, .grpc_status = -1});
            proxy_stats_refused(stats, PROXY_REFUSED_LOOP);
        }
        fail_stop();
        proxy_stats_free(stats);
    }
}

struct shared {
    struct proxy_stats *stats;
    atomic_bool ready, done;
};

static void *write_all_the_time(void *argument)
{
    struct shared *shared = argument;
    struct proxy_edge_labels labels = inbound;
    for (unsigned i = 0; i < 2000; i++) {
        char name[32];
        labels.source.workload = fl_span_make(name, (size_t)snprintf(name, sizeof(name), "w%u", i % 200));
        proxy_stats_request(proxy_stats_edge(shared->stats, &labels),
                            &(struct proxy_request_outcome){.code = 200, .grpc_status = -1});
        atomic_store(&shared->ready, true);
    }
    atomic_store(&shared->done, true);
    return NULL;
}

static void a_scrape_runs_beside_the_writer(void **state)
{
    (void)state;
    struct shared shared = {0};
    pthread_t thread;
    assert_int_equal(proxy_stats_new(&shared.stats), 0);
    assert_int_equal(pthread_create(&thread, NULL, write_all_the_time, &shared), 0);
    while (!atomic_load(&shared.ready))
        ;
    do {
        struct fl_buf text;
        scrape(shared.stats, &text);
        fl_buf_done(&text);
    } while (!atomic_load(&shared.done));
    pthread_join(thread, NULL);
    assert_line(shared.stats, "source_workload=\"w199\"");
    proxy_stats_free(shared.stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_counted_with_all_labels),
        cmocka_unit_test(failures_and_grpc_have_series_of_their_own),
        cmocka_unit_test(the_source_does_not_tell_the_security_policy),
        cmocka_unit_test(tcp_connections_and_bytes),
        cmocka_unit_test(invented_values_are_bounded),
        cmocka_unit_test(a_flood_of_peers_does_not_end_scrapes),
        cmocka_unit_test(hostile_and_long_values_stay_one_label),
        cmocka_unit_test(our_own_families),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(a_scrape_runs_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
