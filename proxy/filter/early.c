#include "proxy/filter/early.h"

#include "proxy/filter/downstream_inner.h"
#include "proxy/filter/proxied.h"
#include "proxy/filter/rbac.h"
#include "proxy/filter/report.h"
#include "proxy/filter/tcp.h"

#define H2_FRAME_HEAD     9u
#define H2_FRAME_SETTINGS 4

struct proxy_early {
    struct proxy_downstream *downstream;
    const struct proxy_tcp_config
        *config;                       /* as long as the downstream connection's listener stays: else it is dropped */
    struct proxy_cluster_run *cluster; /* counted */
    struct proxy_upstream *upstream;
    bool open, spoke;
};

static uint64_t random_of(const struct proxy_early *early)
{
    return proxy_data_random(early->downstream->data);
}

static void early_free(struct proxy_early *early)
{
    early->downstream->early = NULL;
    proxy_cluster_run_unref(early->cluster);
    free(early);
}

void proxy_early_drop(struct proxy_downstream *downstream)
{
    struct proxy_early *early = downstream->early;
    if (early == NULL)
        return;
    if (early->open)
        proxy_upstream_report(early->upstream, PROXY_OUTLIER_CONNECTED, random_of(early));
    proxy_upstream_drop(early->upstream, PROXY_CLOSE_FLUSH);
    early_free(early);
}

bool proxy_early_is_quiet(const struct proxy_downstream *downstream)
{
    return downstream->early != NULL && !downstream->early->spoke;
}

/* The head of a first SETTINGS frame (RFC 9113 §3.4, §6.5): few of them, no flags, stream 0. */
static bool may_be_h2(struct fl_span bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    if (bytes.len < H2_FRAME_HEAD || at[0] != 0 || at[1] != 0 || at[2] % 6 != 0 || at[3] != H2_FRAME_SETTINGS)
        return false;
    return (at[4] | at[5] | at[6] | at[7] | at[8]) == 0;
}

static void on_open(void *owner)
{
    struct proxy_early *early = owner;
    early->open = true;
    proxy_upstream_opened(early->upstream);
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct proxy_early *early = owner;
    proxy_conn_pause(early->upstream->conn);
    early->spoke = true;
    if (!may_be_h2(bytes))
        downstream_server_spoke(early->downstream);
    return 0; /* they are for the filter that takes it, if it has not been dropped meanwhile */
}

/* Whatever it was going to say, it has said nothing. */
static void on_eof(void *owner)
{
    struct proxy_early *early = owner;
    early->spoke = true;
    downstream_server_spoke(early->downstream);
}

static void on_writable(void *owner)
{
    (void)owner;
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_early *early = owner;
    struct proxy_downstream *downstream = early->downstream;
    proxy_report_upstream_closed(downstream, early->cluster, early->upstream->conn, early->open, end);
    if (!early->open)
        proxy_upstream_report(early->upstream, PROXY_OUTLIER_FAILED, random_of(early));
    early->upstream->conn = NULL;
    proxy_upstream_drop(early->upstream, PROXY_CLOSE_NOW);
    early_free(early);
    downstream_server_failed(downstream);
}

static const struct proxy_conn_ops early_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

void proxy_early_start(struct proxy_downstream *downstream, const struct proxy_filter_chain *chain)
{
    struct proxy_data *data = downstream->data;
    struct proxy_cluster_run *cluster;
    if (downstream->early != NULL || chain == NULL || chain->kind != PROXY_FILTER_TCP ||
        (chain->tls != NULL && !downstream->tunnelled) || !proxy_rbac_would_allow(downstream, chain) ||
        proxy_data_cluster(data, proxy_tcp_draw(chain->tcp, (uint32_t)proxy_data_random(data)), &cluster) != 0)
        return;
    struct proxy_early *early = calloc(1, sizeof(*early));
    if (early == NULL)
        return;
    early->downstream = downstream;
    early->config = chain->tcp;
    early->cluster = proxy_cluster_run_ref(cluster);
    downstream->early = early;
    int result = proxy_upstream_get(cluster, &downstream->destination, PROXY_UPSTREAM_FRESH, proxy_data_random(data),
                                    &early_ops, early, &early->upstream);
    if (result != PROXY_UPSTREAM_OK) /* the filter will meet it again, and tell */
        early_free(early);
    else if (proxy_proxied_tell(downstream, early->upstream) < 0)
        proxy_early_drop(downstream);
}

static bool is_same(const struct proxy_tcp_config *a, const struct proxy_tcp_config *b)
{
    return a == b || (a->weight_count == 0 && b->weight_count == 0 && a->cluster_index == b->cluster_index);
}

bool proxy_early_take(struct proxy_downstream *downstream, const struct proxy_tcp_config *config,
                      const struct proxy_conn_ops *ops, void *owner, struct proxy_early_taken *ret_taken)
{
    struct proxy_early *early = downstream->early;
    if (early == NULL)
        return false;
    if (!is_same(early->config, config)) {
        proxy_early_drop(downstream);
        return false;
    }
    *ret_taken = (struct proxy_early_taken){
        .cluster = proxy_cluster_run_ref(early->cluster), .upstream = early->upstream, .open = early->open};
    early_free(early);
    proxy_conn_set_owner(ret_taken->upstream->conn, ops, owner);
    return true;
}
