#include "proxy/filter/label.h"

#include "proxy/tls/filter.h"

static struct proxy_peer peer_from(const struct fl_preface *preface, struct fl_span principal)
{
    return (struct proxy_peer){
        .workload = preface->fields[FL_PREFACE_WORKLOAD],
        .name_space = preface->fields[FL_PREFACE_NAMESPACE],
        .principal = principal,
        .app = preface->fields[FL_PREFACE_APP],
        .version = preface->fields[FL_PREFACE_VERSION],
        .cluster = preface->fields[FL_PREFACE_CLUSTER],
        .canonical_service = preface->fields[FL_PREFACE_CANONICAL_SERVICE],
        .canonical_revision = preface->fields[FL_PREFACE_CANONICAL_REVISION],
    };
}

/* The other end of a connection, and ourselves as that connection shows us. */
static void peers_of(const struct proxy_downstream *downstream, const struct proxy_conn *conn,
                     struct proxy_peer *ret_other, struct proxy_peer *ret_self)
{
    const struct proxy_tls *tls = conn != NULL ? proxy_tls_of(conn) : NULL;
    const struct fl_span none = {NULL, 0};
    const struct fl_preface nothing = {0};
    *ret_other =
        tls != NULL ? peer_from(proxy_tls_peer_preface(tls), proxy_tls_peer_identity(tls)) : peer_from(&nothing, none);
    bool mutual = tls != NULL && proxy_tls_peer_identity(tls).len > 0;
    *ret_self = peer_from(&downstream->data->snapshot->node.preface, mutual ? proxy_tls_own_identity(tls) : none);
}

bool proxy_label_is_mutual(const struct proxy_conn *conn)
{
    const struct proxy_tls *tls = conn != NULL ? proxy_tls_of(conn) : NULL;
    return tls != NULL && proxy_tls_peer_identity(tls).len > 0;
}

static bool is_inbound(const struct proxy_downstream *downstream)
{
    return downstream->listener->direction == PROXY_INBOUND;
}

/* The host in a meshed client's SNI, "outbound_.8080_._.server.demo.svc.cluster.local"; empty: another SNI, or none. */
static struct fl_span called_host(const struct proxy_downstream *downstream)
{
    const struct proxy_tls *tls = downstream->conn != NULL ? proxy_tls_of(downstream->conn) : NULL;
    struct fl_span name = tls != NULL ? proxy_tls_server_name(tls) : (struct fl_span){NULL, 0};
    const struct fl_span prefix = FL_SPAN("outbound_."), mark = FL_SPAN("_._.");
    if (!fl_span_starts_with(name, prefix))
        return (struct fl_span){NULL, 0};
    const char *found = memmem(name.data, name.len, mark.data, mark.len);
    return found != NULL ? fl_span_from(name, (size_t)(found - name.data) + mark.len) : (struct fl_span){NULL, 0};
}

/* Inbound, the client tells which of the cluster's Services it called; it may not name another. */
static const struct proxy_cluster_service *called_service(const struct proxy_downstream *downstream,
                                                          const struct proxy_cluster *cluster)
{
    struct fl_span host =
        is_inbound(downstream) && cluster->service_count > 1 ? called_host(downstream) : (struct fl_span){NULL, 0};
    for (size_t i = 0; host.len > 0 && i < cluster->service_count; i++)
        if (fl_span_eq_nocase(cluster->services[i].host, host))
            return &cluster->services[i];
    return cluster->service_count > 0 ? &cluster->services[0] : NULL;
}

static struct proxy_service service_of(const struct proxy_downstream *downstream, const struct proxy_cluster_run *run)
{
    const struct proxy_cluster *cluster = proxy_data_cluster_config(run);
    const struct proxy_cluster_service *called = cluster != NULL ? called_service(downstream, cluster) : NULL;
    struct proxy_service service = {0};
    if (called != NULL)
        service = (struct proxy_service){called->host, called->name, called->name_space};
    if (service.host.len == 0 && service.name.len == 0)
        service.name = is_inbound(downstream) ? FL_SPAN("InboundPassthroughCluster") : FL_SPAN("PassthroughCluster");
    return service;
}

struct proxy_edge *proxy_label_edge(const struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster,
                                    const struct proxy_conn *upstream, enum proxy_protocol protocol)
{
    struct proxy_edge_labels labels = {.protocol = protocol, .service = service_of(downstream, cluster)};
    if (is_inbound(downstream)) {
        labels.reporter = PROXY_REPORTER_DESTINATION;
        peers_of(downstream, downstream->conn, &labels.source, &labels.destination);
        labels.security = labels.source.principal.len > 0 ? PROXY_SECURITY_MUTUAL_TLS : PROXY_SECURITY_NONE;
    } else {
        labels.reporter = PROXY_REPORTER_SOURCE;
        peers_of(downstream, upstream, &labels.destination, &labels.source);
        labels.security = PROXY_SECURITY_UNKNOWN;
    }
    return proxy_stats_edge(downstream->data->options.stats, &labels);
}

void proxy_label_record(const struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster,
                        const struct proxy_conn *upstream, struct proxy_address *upstream_local,
                        struct proxy_log_record *ret_record)
{
    bool inbound = is_inbound(downstream);
    struct proxy_peer source, destination;
    if (inbound)
        peers_of(downstream, downstream->conn, &source, &destination);
    else
        peers_of(downstream, upstream, &destination, &source);
    *ret_record = (struct proxy_log_record){
        .duration_us = -1,
        .upstream_first_byte_us = -1,
        .grpc_status = -1,
        .direction = inbound                                             ? PROXY_LOG_INBOUND
                     : downstream->listener->direction == PROXY_OUTBOUND ? PROXY_LOG_OUTBOUND
                                                                         : PROXY_LOG_UNKNOWN,
        .downstream_remote = downstream->conn != NULL ? proxy_conn_peer(downstream->conn) : NULL,
        .downstream_local = &downstream->destination,
        .listener = downstream->listener->name,
        .source_principal = source.principal,
        .destination_principal = destination.principal,
        .source_workload = source.workload,
        .source_namespace = source.name_space,
        .destination_workload = destination.workload,
        .destination_namespace = destination.name_space,
        .connection_id = downstream->id,
    };
    if (cluster != NULL)
        ret_record->upstream_cluster = proxy_data_cluster_config(cluster)->name;
    const struct proxy_tls *tls = downstream->conn != NULL ? proxy_tls_of(downstream->conn) : NULL;
    if (tls != NULL && proxy_tls_is_open(tls)) {
        ret_record->tls_version = FL_SPAN("TLSv1.3");
        ret_record->alpn = proxy_tls_alpn(tls);
        ret_record->server_name = proxy_tls_server_name(tls);
    }
    if (upstream != NULL) {
        ret_record->upstream_host = proxy_conn_peer(upstream);
        if (proxy_conn_local(upstream, upstream_local) == 0)
            ret_record->upstream_local = upstream_local;
    }
}

void proxy_label_failure(char to[PROXY_FAILURE_MAX], const char *text)
{
    size_t len = strnlen(text, PROXY_FAILURE_MAX - 1);
    memcpy(to, text, len);
    to[len] = '\0';
}
