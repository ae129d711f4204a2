/* What the proxy counts: Istio's standard metrics with their labels, and families of our own.
 *
 * One struct proxy_stats per worker (and one for the main thread); a scrape sums their registries. Only the owning
 * thread calls the functions here; a scrape reads the values meanwhile: see common/metrics/registry.h.
 *
 * An edge is who talks to whom, as seen from here: reporter, both peers, service, protocol, security. It is looked up
 * once per connection or route (a hash of the labels, no allocation where it is known) and lives as long as the stats,
 * so a connection keeps a bare pointer. A request then costs a search of the edge's few outcomes (response code, flags,
 * gRPC status; the last one used is first) and four increments. Edges, series and their bytes in a scrape are
 * bounded: beyond the bound everything is counted under the label value "overflow".
 *
 * Label values that are absent are "unknown", as Kiali and Istio's dashboards expect. istio_tcp_sent_bytes_total counts
 * what went to the client, received what came from it, on both reporters: as Istio does.
 */
#ifndef PROXY_TELEMETRY_STATS_H
#define PROXY_TELEMETRY_STATS_H

#include "common/metrics/registry.h"
#include "proxy/http/h1.h"
#include "proxy/telemetry/flag.h"
#include "proxy/upstream/cluster.h"

#define PROXY_STATS_EDGES_MAX  1000 /* per worker */
#define PROXY_STATS_SERIES_MAX 1000 /* per family and worker */
/* Bytes of a worker's part of a scrape, beside its overflow series: peers choose label values, so numbers of series
 * alone bound nothing. Some 230 pairs of edge and outcome with labels as they usually are. */
#define PROXY_STATS_EXPOSED_MAX (16u << 20)
#define PROXY_STATS_OUTCOMES_MAX                                                                                       \
    64 /* (code, flags, gRPC status) per edge; beyond it these three labels are "overflow" */

/* One end of a connection, for labels alone. Empty spans are "unknown". Borrowed during the call. */
struct proxy_peer {
    struct fl_span workload;
    struct fl_span name_space;
    struct fl_span principal; /* the SPIFFE ID that was verified, never what the peer claims */
    struct fl_span app;
    struct fl_span version;
    struct fl_span cluster;
    struct fl_span canonical_service;
    struct fl_span canonical_revision;
};

/* The service that was asked for (cluster metadata istio.services[0]); for a plain passthrough name is
 * "PassthroughCluster" or "InboundPassthroughCluster" and host is what the client named, or empty. */
struct proxy_service {
    struct fl_span host;       /* destination_service: server.demo.svc.cluster.local */
    struct fl_span name;       /* destination_service_name */
    struct fl_span name_space; /* destination_service_namespace */
};

enum proxy_reporter { PROXY_REPORTER_SOURCE, PROXY_REPORTER_DESTINATION };
enum proxy_protocol { PROXY_PROTOCOL_TCP, PROXY_PROTOCOL_HTTP, PROXY_PROTOCOL_GRPC };
enum proxy_security { PROXY_SECURITY_UNKNOWN, PROXY_SECURITY_NONE, PROXY_SECURITY_MUTUAL_TLS };

struct proxy_edge_labels {
    enum proxy_reporter reporter;
    enum proxy_protocol protocol;
    enum proxy_security security; /* the source's side always reports "unknown", as Istio's does */
    struct proxy_peer source, destination;
    struct proxy_service service;
};

struct proxy_stats;
struct proxy_edge;

int proxy_stats_new(struct proxy_stats **ret_stats) FL_MUST_CHECK; /* 0 or -ENOMEM */
struct proxy_stats *proxy_stats_free(struct proxy_stats *stats);
/* For the scrape (fl_metrics_expose) and for families of others. Owned by the stats. */
struct fl_metrics *proxy_stats_metrics(struct proxy_stats *stats);

/* The edge of these labels; made on first use. NULL only when memory is out: every function below accepts that. */
struct proxy_edge *proxy_stats_edge(struct proxy_stats *stats, const struct proxy_edge_labels *labels);

struct proxy_request_outcome {
    uint16_t code;          /* response_code; 0: nothing was answered */
    uint32_t flags;         /* enum proxy_flag */
    int32_t grpc_status;    /* -1: none (the label is empty) */
    double duration_ms;     /* from the first byte of the request to the last of the response */
    uint64_t request_bytes; /* heads and bodies, as they came and went on the downstream side */
    uint64_t response_bytes;
};

/* One request: istio_requests_total and the three histograms. */
void proxy_stats_request(struct proxy_edge *edge, const struct proxy_request_outcome *outcome);

/* One TCP connection. Bytes are added as they pass or at intervals, by differences. */
void proxy_stats_tcp_opened(struct proxy_edge *edge);
void proxy_stats_tcp_closed(struct proxy_edge *edge, uint32_t flags);
/* received: from the client; sent: to the client. */
void proxy_stats_tcp_bytes(struct proxy_edge *edge, uint32_t flags, uint64_t received, uint64_t sent);

/* Our own families. Reasons are closed lists, so a peer cannot grow them. */

/* fairlead_connections_refused_total{reason} */
#define PROXY_REFUSED_LIST(X)                                                                                          \
    X(NOT_REDIRECTED, "not_redirected") /* no original destination */                                                  \
    X(LOOP, "loop")                     /* original destination is one of our own ports */                             \
    X(NO_FILTER_CHAIN, "no_filter_chain")                                                                              \
    X(PLAINTEXT, "plaintext")                     /* STRICT, and the client speaks no TLS */                           \
    X(FOREIGN_TLS, "foreign_tls")                 /* STRICT, and the TLS is not the mesh's */                          \
    X(UNKNOWN_DESTINATION, "unknown_destination") /* asked for, and not found in time */                               \
    X(NO_SECRET, "no_secret")                     /* its chain's certificate has not come yet */                       \
    X(PROXY_PROTOCOL, "proxy_protocol")           /* no header of it, or a bad one */                                  \
    X(DETECT_TIMEOUT, "detect_timeout")                                                                                \
    X(BAD_PREFACE, "bad_preface")                                                                                      \
    X(POLICY, "policy")     /* an authorization policy denies it */                                                    \
    X(LIMIT, "limit")       /* too many connections */                                                                 \
    X(OVERLOAD, "overload") /* the memory ceiling */                                                                   \
    X(DRAINING, "draining")                                                                                            \
    X(NO_MEMORY, "no_memory")

enum proxy_refused {
#define X(id, word) PROXY_REFUSED_##id,
    PROXY_REFUSED_LIST(X)
#undef X
        PROXY_REFUSED_REASONS
};

/* fairlead_detections_total{result}: what ended the looking at a connection's first bytes. */
#define PROXY_DETECTED_LIST(X)                                                                                         \
    X(TLS, "tls") /* the client's bytes */                                                                             \
    X(HTTP1, "http1")                                                                                                  \
    X(HTTP2, "http2")                                                                                                  \
    X(OTHER, "other")                                                                                                  \
    X(SERVER_FIRST, "server_first") /* the server spoke before its client */                                           \
    X(END, "end")                   /* of the client's bytes */                                                        \
    X(DEADLINE, "deadline")

enum proxy_detected {
#define X(id, word) PROXY_DETECTED_##id,
    PROXY_DETECTED_LIST(X)
#undef X
        PROXY_DETECTED_RESULTS
};

/* fairlead_tls_handshake_failures_total{side, reason} */
#define PROXY_HANDSHAKE_LIST(X)                                                                                        \
    X(NO_CERTIFICATE, "no_certificate")                                                                                \
    X(UNTRUSTED, "untrusted") /* no chain to our bundle */                                                             \
    X(EXPIRED, "expired")     /* or not valid yet */                                                                   \
    X(IDENTITY, "identity")   /* trusted, and not the SPIFFE ID that is accepted here */                               \
    X(ALPN, "alpn")                                                                                                    \
    X(PROTOCOL, "protocol") /* not TLS 1.3, or not TLS */                                                              \
    X(ALERT, "alert")       /* the peer refused us */                                                                  \
    X(CLOSED, "closed")                                                                                                \
    X(TIMEOUT, "timeout")                                                                                              \
    X(QUEUE, "queue") /* too many at once: it never began */                                                           \
    X(OTHER, "other")

enum proxy_handshake_failure {
#define X(id, word) PROXY_HANDSHAKE_##id,
    PROXY_HANDSHAKE_LIST(X)
#undef X
        PROXY_HANDSHAKE_REASONS
};

enum proxy_side { PROXY_SIDE_DOWNSTREAM, PROXY_SIDE_UPSTREAM }; /* label side: downstream, upstream */

const char *proxy_refused_word(enum proxy_refused reason);
const char *proxy_handshake_word(enum proxy_handshake_failure reason);

/* fairlead_connections_opened_total and fairlead_connections (a gauge), by side. */
void proxy_stats_connection_opened(struct proxy_stats *stats, enum proxy_side side);
void proxy_stats_connection_closed(struct proxy_stats *stats, enum proxy_side side);
void proxy_stats_refused(struct proxy_stats *stats, enum proxy_refused reason);
void proxy_stats_detected(struct proxy_stats *stats, enum proxy_detected result);
void proxy_stats_handshake_failed(struct proxy_stats *stats, enum proxy_side side, enum proxy_handshake_failure reason);
/* fairlead_accept_failures_total{reason}: EMFILE, ENFILE "fd"; ENOBUFS, ENOMEM "memory"; else "other". */
void proxy_stats_accept_failed(struct proxy_stats *stats, int error);
/* fairlead_http_parse_errors_total{side, reason}: the word of h1.h without its "http1.", or that of h2.h. */
void proxy_stats_parse_error(struct proxy_stats *stats, enum proxy_side side, const char *word);
/* fairlead_access_log_dropped_total */
void proxy_stats_log_dropped(struct proxy_stats *stats, uint64_t lines);
/* fairlead_upstream_connect_failures_total{reason}: "refused", "timeout", "unreachable", "reset", "no_tls" (ENOKEY:
 * it was not dialled; upstream/cluster.h), "other" by errno. */
const char *proxy_connect_word(int error);
const char *proxy_connect_text(int error); /* the same for a person */
void proxy_stats_connect_failed(struct proxy_stats *stats, int error);

/* fairlead_upstream_overflows_total{limit}: what a circuit breaker refused. */
void proxy_stats_overflow(struct proxy_stats *stats, enum proxy_upstream_limit limit);

/* fairlead_upstream_retries_total{result} */
#define PROXY_RETRY_LIST(X)                                                                                            \
    X(STARTED, "started")                                                                                              \
    X(SUCCEEDED, "succeeded")   /* a request that was retried got an answer that asks for no further retry */          \
    X(LIMIT, "limit")           /* num_retries */                                                                      \
    X(OVERFLOW, "overflow")     /* the cluster's budget */                                                             \
    X(NOT_KEPT, "not_kept")     /* the request was too large to keep */                                                \
    X(KEEP_ALIVE, "keep_alive") /* at once, without a policy: a pooled connection had died */

enum proxy_retry_result {
#define X(id, word) PROXY_RETRY_##id,
    PROXY_RETRY_LIST(X)
#undef X
        PROXY_RETRY_RESULTS
};

void proxy_stats_retry(struct proxy_stats *stats, enum proxy_retry_result result);

/* fairlead_mirrored_requests_total{result}: copies of requests for further clusters. */
#define PROXY_MIRROR_LIST(X)                                                                                           \
    X(ANSWERED, "answered") /* whatever the answer was */                                                              \
    X(FAILED, "failed")     /* no connection, a reset, too late */                                                     \
    X(SKIPPED, "skipped")   /* not sent: the request was too large, too many are under way, no host, a limit */

enum proxy_mirror_result {
#define X(id, word) PROXY_MIRROR_##id,
    PROXY_MIRROR_LIST(X)
#undef X
        PROXY_MIRROR_RESULTS
};

void proxy_stats_mirror(struct proxy_stats *stats, enum proxy_mirror_result result);

/* fairlead_trace_spans_total{result} */
#define PROXY_SPANS_LIST(X)                                                                                            \
    X(EXPORTED, "exported")                                                                                            \
    X(QUEUE_FULL, "queue_full")                                                                                        \
    X(UNREACHABLE, "unreachable") /* no connection to the collector, or it broke, or no answer in time */              \
    X(REJECTED, "rejected")       /* its answer was not 2xx */                                                         \
    X(UNSENT, "no_memory")

enum proxy_spans_result {
#define X(id, word) PROXY_SPANS_##id,
    PROXY_SPANS_LIST(X)
#undef X
        PROXY_SPANS_RESULTS
};

void proxy_stats_spans(struct proxy_stats *stats, enum proxy_spans_result result, size_t count);

/* fairlead_upstream_ejections_total{kind, enforced}: a host's row of failures was full. */
void proxy_stats_outlier(struct proxy_stats *stats, enum proxy_outlier_kind kind, bool ejected);

/* Main thread: fairlead_upstream_hosts_ejected, brought up to date before a scrape. */
void proxy_stats_ejected(struct proxy_stats *stats, size_t hosts);
/* … fairlead_tls_handshakes_under_way, fairlead_tls_handshakes_waiting. */
void proxy_stats_handshakes(struct proxy_stats *stats, size_t under_way, size_t waiting);

/* fairlead_rbac_decisions_total{filter, rules, result}: by "http" or "tcp", "enforced" or "shadow", "allowed" or
 * "denied".
 */
enum proxy_policy_at { PROXY_POLICY_TCP, PROXY_POLICY_HTTP };
enum proxy_policy_rules { PROXY_POLICY_ENFORCED, PROXY_POLICY_SHADOW };
void proxy_stats_rbac(struct proxy_stats *stats, enum proxy_policy_at at, enum proxy_policy_rules rules, bool allowed);
/* fairlead_jwt_checks_total{result}: requests that had to bring a token. `outcome` is any number below
 * PROXY_STATS_JWT_MAX that stands for `word`. */
#define PROXY_STATS_JWT_MAX 32
void proxy_stats_jwt(struct proxy_stats *stats, unsigned outcome, const char *word);

/* Main thread: fairlead_start_gate_open, fairlead_draining (0, 1); fairlead_build_info{version} 1 (set by
 * proxy_stats_process); fairlead_config_reloads_total{result}. */
void proxy_stats_process(struct proxy_stats *stats);
void proxy_stats_start_gate(struct proxy_stats *stats, bool open);
/* Main thread: fairlead_memory_limit_bytes, fairlead_memory_used_bytes, fairlead_memory_stage (enum proxy_shed), and
 * fairlead_memory_stages_total{stage} where a stage begins. */
void proxy_stats_memory(struct proxy_stats *stats, uint64_t limit, uint64_t used, enum proxy_shed stage);
void proxy_stats_shed_stage(struct proxy_stats *stats, enum proxy_shed stage);
/* fairlead_memory_requests_refused_total */
void proxy_stats_shed_request(struct proxy_stats *stats);
void proxy_stats_draining(struct proxy_stats *stats, bool draining);
void proxy_stats_reload(struct proxy_stats *stats, bool accepted);

#endif
