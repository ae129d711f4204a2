/* The immutable configuration as types: what the bootstrap and xDS compile to, and all that workers read.
 *
 * A snapshot is a table of pointers to units (unit.h): each listener, each cluster, its endpoints, each route table
 * stands in one of its own and is shared by all snapshots in which it did not change. So the next snapshot costs what
 * has changed, and a worker sees by comparing pointers what that is. Names are slots (slots.h): routes and tcp_proxy
 * name clusters by the slot's index, the connection manager its route table (RDS), chains and clusters their TLS
 * setting; what a slot leads to is looked up in the snapshot in force, and may be nothing.
 *
 * Built by config/assembly, never written again; the main thread hands the pointer to each worker, who holds a
 * reference while it uses it. Run-time state (pools, counters, health) is not here: each worker keeps its own, by slot.
 *
 * Spans are NUL-terminated too. Durations are milliseconds; 0 means "none" where the field says so. Defaults are
 * filled in by the compiler: a reader never sees "unset".
 */
#ifndef PROXY_SNAPSHOT_SNAPSHOT_H
#define PROXY_SNAPSHOT_SNAPSHOT_H

#include "common/mesh/capture.h"
#include "common/mesh/preface.h"
#include "proxy/http/h2.h"
#include "proxy/http/path.h"
#include "proxy/net/address.h"
#include "proxy/snapshot/slots.h"
#include "proxy/telemetry/trace.h"
#include "proxy/upstream/outlier.h"

#include <sys/stat.h>

struct fl_tls_context;
struct proxy_http_filter_ops; /* filter/chain.h */
struct proxy_log_format;      /* telemetry/accesslog.h */
struct proxy_rbac_filter;     /* policy/rbac.h */
struct proxy_route_table;     /* route/table.h */

/* -- filter chains --------------------------------------------------------------------------------------------------
 */

enum proxy_transport { /* as the tls_inspector found it; raw where none looked */
                       PROXY_TRANSPORT_ANY,
                       PROXY_TRANSPORT_RAW, /* "raw_buffer" */
                       PROXY_TRANSPORT_TLS, /* "tls" */
};

enum proxy_source_type { PROXY_SOURCE_ANY, PROXY_SOURCE_LOCAL /* same IP, or loopback */, PROXY_SOURCE_EXTERNAL };

/* What a chain asks for; an empty list (0, ANY) asks for nothing. Within a list any item does, across lists all must
 * agree. See proxy_listener_pick for the order. */
struct proxy_chain_match {
    uint16_t destination_port; /* 0: any */
    const struct fl_cidr *prefixes;
    size_t prefix_count;
    const struct fl_span *server_names; /* lower case; ".example.com" stands for "*.example.com" */
    size_t server_name_count;
    enum proxy_transport transport;
    const struct fl_span *application_protocols;
    size_t application_protocol_count;
    const struct fl_cidr *direct_source_prefixes;
    size_t direct_source_prefix_count;
    enum proxy_source_type source_type;
    const struct fl_cidr *source_prefixes;
    size_t source_prefix_count;
    const uint16_t *source_ports;
    size_t source_port_count;
};

struct proxy_access_log {
    struct fl_span path;                   /* "/dev/stdout", "/dev/stderr" or a file */
    const struct proxy_log_format *format; /* telemetry/accesslog.h; NULL: the default JSON. Held by the listener */
};

struct proxy_tcp_weight {
    uint32_t cluster_index, weight;
};

struct proxy_tcp_config {
    struct fl_span stat_prefix;
    struct fl_span cluster;                 /* weighted: the first of them */
    uint32_t cluster_index;                 /* its slot's */
    const struct proxy_tcp_weight *weights; /* weighted_clusters: drawn for each connection */
    size_t weight_count;                    /* 0: `cluster` alone */
    uint64_t weight_sum;                    /* of them: 1 to UINT32_MAX */
    uint64_t idle_timeout_ms;               /* 0: none. Default 3,600,000 */
    uint32_t connect_attempts;              /* ≥ 1 */
    uint64_t max_duration_ms;               /* of a connection; 0: none */
    const struct proxy_access_log *access_logs;
    size_t access_log_count;
};

enum proxy_codec { /* AUTO: by the agreed ALPN, else by the HTTP/2 preface in the first bytes */
                   PROXY_CODEC_AUTO,
                   PROXY_CODEC_HTTP1,
                   PROXY_CODEC_HTTP2
};

enum proxy_server_header { PROXY_SERVER_PASS_THROUGH, PROXY_SERVER_APPEND_IF_ABSENT, PROXY_SERVER_OVERWRITE };

enum proxy_forward_cert { /* x-forwarded-client-cert */
                          PROXY_XFCC_SANITIZE,
                          PROXY_XFCC_FORWARD_ONLY,
                          PROXY_XFCC_APPEND_FORWARD,
                          PROXY_XFCC_SANITIZE_SET,
                          PROXY_XFCC_ALWAYS_FORWARD_ONLY,
};

/* An HTTP filter before the router: filter/chain.h. */
struct proxy_http_filter {
    const struct proxy_http_filter_ops *ops;
    const void *config;
};

/* Where spans go: an OTLP/HTTP collector behind a cluster. */
struct proxy_trace_provider {
    struct fl_span cluster;   /* its name */
    struct fl_span authority; /* of http_uri */
    struct fl_span path;
    struct fl_span fields;       /* request_headers_to_add, as lines of a head */
    struct fl_span service_name; /* empty: the node's cluster */
    uint64_t timeout_ms;
};

struct proxy_trace_tag {
    struct fl_span name;
    struct fl_span header; /* the request's; empty: the value is always `value` */
    struct fl_span value;  /* … or what it is where the request has no such field; empty: then there is no tag */
};

struct proxy_tracing {
    const struct proxy_trace_provider *provider; /* NULL: contexts are passed on, spans go nowhere */
    struct proxy_trace_sampling sampling;
    bool spawn_upstream_span;
    uint32_t max_path_length;
    const struct proxy_trace_tag *tags;
    size_t tag_count;
};

struct proxy_hcm_config {
    struct fl_span stat_prefix;
    const struct proxy_http_filter *filters; /* in order, without the router */
    size_t filter_count;
    const struct proxy_route_table *routes; /* held by the listener; cluster indexes are slots. NULL: */
    const struct proxy_slot *rds;           /* … it is this one of the snapshot in force */
    /* It ends tunnels (HBONE): CONNECT becomes a connection of this listener, and nothing else is served; there are
     * neither filters nor routes. NULL: it is for requests. */
    const struct proxy_slot *tunnel;
    const struct proxy_access_log *access_logs;
    size_t access_log_count;
    enum proxy_codec codec;
    struct proxy_h2_settings h2; /* 0 in a field: its default */
    bool lenient;                /* of HTTP/1: what peers are known to get wrong is taken (http/h1.h) */
    struct fl_span server_name;  /* of the server header, and of answers of our own; default "fairlead" */
    enum proxy_server_header server_header;
    uint64_t stream_idle_timeout_ms;      /* 0: none. Default 300,000 */
    uint64_t request_timeout_ms;          /* 0: none (default) */
    uint64_t request_headers_timeout_ms;  /* 0: none. Default 10,000: a slow head is bounded */
    uint64_t idle_timeout_ms;             /* of a connection without requests; 0: none. Default 3,600,000 */
    uint64_t max_connection_duration_ms;  /* 0: none (default) */
    uint64_t max_stream_duration_ms;      /* of a request with its answer; 0: none (default) */
    uint32_t max_requests_per_connection; /* 0: no limit */
    uint32_t max_head_bytes;              /* default 61,440 */
    uint32_t max_header_count;            /* default 100 */
    bool use_remote_address, skip_xff_append;
    uint32_t xff_trusted_hops;
    bool generate_request_id; /* where a request has none */
    struct proxy_path_rules path;
    bool strip_any_host_port, strip_matching_host_port;
    enum proxy_forward_cert forward_client_cert;
    struct fl_span default_host_for_http_10;
    struct fl_span via;
    const struct proxy_tracing *tracing; /* NULL: trace contexts pass as they came */
};

enum proxy_filter_kind { PROXY_FILTER_TCP, PROXY_FILTER_HTTP };

struct proxy_filter_chain {
    struct fl_span name; /* may be empty */
    struct proxy_chain_match match;
    const struct proxy_slot *tls;          /* NULL: plain bytes. See proxy_snapshot_tls */
    uint64_t tls_handshake_timeout_ms;     /* transport_socket_connect_timeout; default 15,000 */
    const struct proxy_rbac_filter *rbacs; /* network RBAC filters, in order (policy/rbac.h) */
    size_t rbac_count;
    enum proxy_filter_kind kind; /* the terminal filter */
    union {
        const struct proxy_tcp_config *tcp;
        const struct proxy_hcm_config *http;
    };
};

/* -- listeners ------------------------------------------------------------------------------------------------------
 */

enum proxy_direction { PROXY_UNSPECIFIED, PROXY_INBOUND, PROXY_OUTBOUND };

struct proxy_listener {
    struct proxy_unit *unit; /* that it stands in; not counted here */
    const struct proxy_slot *slot;
    struct fl_span name;
    struct proxy_address address;
    bool ipv4_compat;  /* address is ::, and takes IPv4 too (IPV6_V6ONLY off; 0.0.0.0 where the netns has no IPv6) */
    bool bind_to_port; /* false: never opened (it exists for another listener's hand-over) */
    bool transparent;  /* IP_TRANSPARENT */
    bool reuse_port;
    enum proxy_direction direction;
    bool original_dst;   /* SO_ORIGINAL_DST is the destination (filter envoy.filters.listener.original_dst) */
    bool hand_over;      /* use_original_dst: the listener of that address takes the connection, if there is one */
    bool tls_inspector;  /* look for a ClientHello before a chain is picked */
    bool http_inspector; /* look for an HTTP request line */
    bool proxy_protocol; /* a header of it comes first (net/proxyproto.h) */
    bool proxy_protocol_optional;   /* … or not: allow_requests_without_proxy_protocol */
    uint8_t proxy_protocol_refused; /* a set of versions: 1u << version */
    uint64_t inspect_timeout_ms;    /* listener_filters_timeout; 0: none. Default 15,000 */
    bool continue_on_timeout;       /* when it passes: pick with what is known, instead of closing */
    uint32_t backlog;
    uint32_t buffer_limit_bytes; /* of a connection's output. Default 64 KiB; 16 KiB to 1 MiB count */
    const struct proxy_filter_chain *chains;
    size_t chain_count;
    const struct proxy_filter_chain *default_chain; /* NULL: a connection that no chain wants is closed */
};

/* What is known of a connection when its chain is picked. */
struct proxy_chain_query {
    const struct proxy_address *destination;     /* the original one where it was restored */
    const struct proxy_address *source;          /* the peer; behind PROXY protocol its client */
    const struct proxy_address *direct_source;   /* the socket's peer; NULL: as source */
    enum proxy_transport transport;              /* PROXY_TRANSPORT_ANY counts as raw */
    struct fl_span server_name;                  /* SNI, any case; empty: none */
    const struct fl_span *application_protocols; /* ALPN in the client's order (or what http_inspector found) */
    size_t application_protocol_count;
};

/* Picks by Envoy's precedence: destination port, destination IP (longest prefix), server name (exact, then the longest
 * wildcard), transport protocol, application protocols (the client's first that any chain names), direct source IP,
 * source type, source IP, source port. At each step the most specific value that any remaining chain names and that
 * fits narrows the choice for good: there is no way back to a less specific one. Then the default chain, which may be
 * NULL. Pure. The compiler has refused chains that could both be left. */
const struct proxy_filter_chain *proxy_listener_pick(const struct proxy_listener *listener,
                                                     const struct proxy_chain_query *query);

/* Whether some connection could fit both equally well: what a compiler has to refuse. */
bool proxy_chain_match_overlap(const struct proxy_chain_match *a, const struct proxy_chain_match *b);

/* -- clusters -------------------------------------------------------------------------------------------------------
 */

enum proxy_cluster_type { PROXY_CLUSTER_STATIC, PROXY_CLUSTER_ORIGINAL_DST, PROXY_CLUSTER_EDS };
enum proxy_lb_policy { PROXY_LB_ROUND_ROBIN, PROXY_LB_LEAST_REQUEST, PROXY_LB_RANDOM, PROXY_LB_ORIGINAL_DST };

/* What an endpoint hears in HTTP: a plain one from us, over fairlead-http/1 the application, from the sidecar beside
 * it. Over other TLS the agreed ALPN decides. */
enum proxy_upstream_http {
    PROXY_UPSTREAM_HTTP1,
    PROXY_UPSTREAM_HTTP2,      /* with prior knowledge */
    PROXY_UPSTREAM_DOWNSTREAM, /* what the client spoke */
    PROXY_UPSTREAM_AUTO,       /* by ALPN alone; HTTP/1 where there is none */
};

struct proxy_label { /* a member of a metadata object: its text, "true", "false" or the number's shortest form */
    struct fl_span key, value;
};

struct proxy_endpoint {
    struct proxy_address address;
    struct proxy_address other; /* of additional_addresses, the first of the other family; not set: none */
    struct fl_span hostname;
    /* filter_metadata.fairlead.identity: the one SPIFFE ID that it may show. Where it is there, a connection is TLS
     * with that ID or fails: never plaintext. Empty: whom the cluster's TLS setting accepts. */
    struct fl_span identity;
    const struct proxy_label *transport; /* filter_metadata["envoy.transport_socket_match"] */
    size_t transport_count;
    /* Where that says tunnel: http: it is reached by HBONE, CONNECT to its address over HTTP/2 and mTLS at this one;
     * not set: it is dialled itself. */
    struct proxy_address gate;
    uint32_t weight;   /* ≥ 1 */
    uint32_t priority; /* 0 first */
    bool healthy;      /* health_status UNKNOWN, HEALTHY or DEGRADED */
};

/* The endpoints of a cluster: its own (in its unit), or those that EDS tells (a unit of their own). */
struct proxy_endpoints {
    struct proxy_unit *unit;
    const struct proxy_endpoint *list;
    size_t count;
};

/* transport_socket_matches: the first whose criteria an endpoint all has. */
struct proxy_transport_match {
    struct fl_span name;
    const struct proxy_label *criteria;
    size_t criteria_count;        /* 0: fits every endpoint */
    const struct proxy_slot *tls; /* NULL: plain */
};

/* Where endpoints are names (STRICT_DNS, LOGICAL_DNS): config/names.h asks for them, and what comes of it are endpoints
 * as those of EDS, under the cluster's eds_name. */
struct proxy_cluster_dns {
    struct fl_span assignment; /* packed: the ClusterLoadAssignment with the names */
    bool logical;              /* of each name, one host */
    uint8_t family;            /* enum proxy_resolve_family */
    bool respect_ttl;
    uint64_t refresh_ms;                      /* default 5,000 */
    uint64_t failure_base_ms, failure_max_ms; /* after a failure: doubled from one to the other */
};

struct proxy_cluster_service { /* empty where absent */
    struct fl_span host, name, name_space;
};

struct proxy_cluster {
    struct proxy_unit *unit; /* that it stands in; not counted here */
    const struct proxy_slot *slot;
    struct fl_span name;
    struct fl_span stat_name; /* alt_stat_name, or the name */
    enum proxy_cluster_type type;
    enum proxy_lb_policy lb_policy;
    struct proxy_endpoints own;          /* STATIC; see proxy_snapshot_endpoints */
    const struct proxy_cluster_dns *dns; /* of type EDS; NULL: its endpoints come over xDS */
    struct fl_span eds_name;             /* EDS: of its endpoints */
    enum proxy_upstream_http http;
    struct proxy_h2_settings h2;  /* 0 in a field: its default */
    uint64_t connect_timeout_ms;  /* > 0; default 5,000 */
    uint8_t proxy_protocol;       /* 1 or 2: the version of the header that goes before everything; 0: none */
    const struct proxy_slot *tls; /* where no match fits; NULL: plain. See proxy_cluster_transport */
    const struct proxy_transport_match *matches;
    size_t match_count;
    struct proxy_address bind_v4, bind_v6; /* source of connections by family; not set: the kernel chooses */
    bool bind_freebind;
    uint32_t original_dst_port; /* ORIGINAL_DST: dial this port instead; 0: the connection's own */
    /* TCP's keepalive is always on; 0: the kernel's. Default 30 s idle, then every 10 s, 3 times. */
    uint32_t keepalive_probes, keepalive_time_s, keepalive_interval_s;
    uint32_t user_timeout_ms; /* 0: the kernel's. Where all three are configured: when the last probe would be lost */
    uint64_t idle_timeout_ms; /* of pooled connections; 0: none. Default 3,600,000 */
    uint32_t max_requests_per_connection; /* 0: no limit */
    uint32_t buffer_limit_bytes;          /* of a connection's output. Default 64 KiB; 16 KiB to 1 MiB count */
    uint32_t max_connections, max_pending_requests, max_requests; /* circuit breakers; 0 lets nothing pass */
    uint32_t max_retries;                                         /* under way at once; default 3 */
    uint32_t retry_budget_percent; /* of the requests under way, instead of max_retries; 0: no budget */
    uint32_t retry_min;            /* what a budget always allows */
    struct proxy_outlier_config outlier;
    uint32_t choice_count;  /* of least request; default 2 */
    uint32_t panic_percent; /* healthy_panic_threshold; default 50; 0: never */
    /* metadata.filter_metadata.istio.services, for metric labels: which Services' traffic it carries. Inbound there may
     * be several; the SNI of a meshed client tells which one was called, else the first one counts. */
    const struct proxy_cluster_service *services;
    size_t service_count;
};

/* -- the whole ------------------------------------------------------------------------------------------------------
 */

struct proxy_node {
    struct fl_span id, cluster;
    bool in_mesh;   /* sidecar or gateway: id begins "sidecar~" or "router~", or FAIRLEAD_CAPTURE is set */
    bool on_demand; /* metadata FAIRLEAD_DISCOVERY: destinations are asked for (upstream/directory.h) */
    struct fl_span service_account; /* metadata SERVICE_ACCOUNT */
    struct fl_preface preface; /* metadata as the preface sends it: workload, namespace, app, version, cluster, … */
};

/* A file that the configuration names (certificates, keys, roots), as it was when it was read. */
struct proxy_watched_file {
    struct fl_span path;
    struct stat status; /* zeroed where it could not be read */
};

/* A certificate in use, for /certs. Times in seconds since the epoch. */
struct proxy_cert_info {
    struct fl_span path;   /* or "inline", or "secret <name>" */
    struct fl_span spiffe; /* empty: not an X.509-SVID */
    int64_t not_before, not_after;
};

struct proxy_routes {
    struct proxy_unit *unit;
    const struct proxy_slot *slot;
    const struct proxy_route_table *table; /* held by the unit; cluster indexes are slots */
};

/* The units' tables are by slot index; NULL where there is nothing. */
struct proxy_snapshot {
    struct proxy_unit unit; /* first; what it holds goes with it */
    uint64_t version;       /* 1, 2, 3 … in this process */
    struct proxy_node node;
    struct proxy_address admin; /* not set: no admin listener */
    const struct proxy_listener *const *listeners;
    size_t listener_slots, listener_count;
    const struct proxy_cluster *const *clusters;
    const struct proxy_endpoints *const *endpoints; /* of EDS clusters */
    size_t cluster_slots, cluster_count;
    const struct proxy_routes *const *routes; /* of RDS */
    size_t routes_slots;
    struct fl_tls_context *const *tls;
    size_t tls_slots;
    const uint32_t *by_address; /* private: slots of listeners, hashed by address */
    size_t by_address_size;
    const struct proxy_watched_file *files;
    size_t file_count;
    const struct proxy_cert_info *certs;
    size_t cert_count;
    struct fl_span bootstrap;  /* the accepted bootstrap as protobuf, for /config_dump and for a recompile */
    struct fl_span path;       /* the file it came from; empty: none */
    uint64_t ignored_fields;   /* fields that we do not know, outside the strict messages */
    uint64_t harmless_filters; /* accepted and left out (docs/configuration.md) */
};

#define PROXY_SNAPSHOT_MAX (64u << 20) /* bytes of its tables */

/* An empty snapshot with one reference. `graveyard` may be NULL. NULL when memory is out. */
struct proxy_snapshot *proxy_snapshot_new(struct proxy_graveyard *graveyard);
/* Thread-safe. Both accept NULL; unref returns NULL. */
struct proxy_snapshot *proxy_snapshot_ref(struct proxy_snapshot *snapshot);
struct proxy_snapshot *proxy_snapshot_unref(struct proxy_snapshot *snapshot);
void fl_cleanup_proxy_snapshot(struct proxy_snapshot **snapshot);
/* For who builds it, when its listeners are there: so that proxy_snapshot_listener_of finds them. `same`: a snapshot
 * with the same listeners, or NULL. 0 or -ENOMEM. */
int proxy_snapshot_index(struct proxy_snapshot *snapshot, const struct proxy_snapshot *same) FL_MUST_CHECK;

/* What an index of a slot leads to; any index is fine. NULL: nothing. */
const struct proxy_cluster *proxy_snapshot_cluster(const struct proxy_snapshot *snapshot, uint32_t index);
const struct proxy_listener *proxy_snapshot_listener(const struct proxy_snapshot *snapshot, uint32_t index);
/* A cluster's endpoints: its own, or what EDS told. NULL: none. */
const struct proxy_endpoints *proxy_snapshot_endpoints(const struct proxy_snapshot *snapshot,
                                                       const struct proxy_cluster *cluster);
/* The table of a connection manager: its own, or that of RDS. NULL: there is none (yet). The table lives as long as
 * *ret_unit, which is not counted for the caller. `listener`: that the manager stands in. */
const struct proxy_route_table *proxy_snapshot_routes(const struct proxy_snapshot *snapshot,
                                                      const struct proxy_hcm_config *hcm,
                                                      const struct proxy_listener *listener,
                                                      struct proxy_unit **ret_unit);
/* The context of a TLS setting (not NULL). Not counted for the caller. NULL: its secrets are not there: nothing can be
 * accepted or dialled, least of all in plaintext. */
struct fl_tls_context *proxy_snapshot_tls(const struct proxy_snapshot *snapshot, const struct proxy_slot *setting);
/* The listener of exactly this address, or of its port on all addresses (as Envoy hands over); the one that binds to no
 * port first. NULL: none. */
const struct proxy_listener *proxy_snapshot_listener_of(const struct proxy_snapshot *snapshot,
                                                        const struct proxy_address *address);

/* An order of names: as memcmp; a name that another begins with comes first. */
int proxy_name_compare(struct fl_span a, struct fl_span b);

/* By exact name; these look at every one: for pages and tests. NULL where there is none. */
const struct proxy_cluster *proxy_snapshot_cluster_named(const struct proxy_snapshot *snapshot, struct fl_span name);
const struct proxy_listener *proxy_snapshot_listener_named(const struct proxy_snapshot *snapshot, struct fl_span name);

/* Which TLS setting an endpoint of the cluster is dialled with; NULL: plain. Pure. */
const struct proxy_slot *proxy_cluster_transport(const struct proxy_cluster *cluster,
                                                 const struct proxy_endpoint *endpoint);

/* Whether a watched file is another one now (device, inode, size, times), or is gone, or came to be. */
bool proxy_snapshot_files_changed(const struct proxy_snapshot *snapshot);

#endif
