/* What the files of a cluster share: for proxy/upstream alone.
 *
 *     cluster.c  its life          hosts.c  which host is next      stage.c  other options
 *     pool.c     get, put, drop    idle.c   connections that wait   limits.c what is counted
 *     request.c  streams           mux.h    … of shared connections: lane.c, mux.c, front.c
 *     hbone.c     connections through tunnels
 */
#ifndef PROXY_UPSTREAM_CLUSTER_INNER_H
#define PROXY_UPSTREAM_CLUSTER_INNER_H

#include "common/mesh/alpn.h"
#include "proxy/upstream/cluster.h"

#define PROXY_HOST_GONE UINT32_MAX /* it is no host of the cluster any more, and goes with its last connection */

struct proxy_lane;

struct proxy_host { /* an address, with its connections */
    struct proxy_address address, other;
    struct fl_span identity; /* in the options' memory */
    const void *transport;
    struct proxy_upstream *idle; /* the last one used first */
    struct proxy_lane *lane;     /* of its shared connections; NULL until there is one */
    struct proxy_address gate_address;
    struct proxy_host *gate;   /* the tunnels' host, whose lane has their connections; NULL: none yet */
    struct proxy_host *behind; /* it is that of this host, which owns it */
    struct proxy_host *next;   /* in its bucket (ORIGINAL_DST) */
    uint32_t uses;             /* connections, idle or in use: such a host goes with its last one */
    uint32_t item;             /* index of its balance item (STATIC); PROXY_HOST_GONE */
};

/* The hosts of options that are not in force yet. */
struct proxy_staged {
    struct proxy_cluster_options options;
    struct proxy_balance_item *items;
    struct proxy_cluster_endpoint *endpoints;
    struct proxy_host **hosts; /* those that stay are the cluster's */
    bool *is_new;
};

struct proxy_cluster_run {
    struct proxy_turn *turn;
    struct proxy_cluster_options options;
    struct proxy_balance_item *items; /* STATIC: by endpoint */
    struct proxy_host **hosts;        /* STATIC: by endpoint */
    struct proxy_host **buckets;      /* ORIGINAL_DST: made with the first connection */
    struct proxy_staged *staged;      /* NULL: nothing */
    struct proxy_upstream *idle_newest, *idle_oldest;
    size_t idle, connections;
    struct proxy_shared_cluster *shared;
    uint32_t ejection_version; /* of the shared state that the items show */
    struct fl_timer expiry;    /* of the oldest idle one */
    size_t references;
    bool retired;
    struct fl_deferred deferred;
};

/* -- hosts.c -- */

/* The host that is next: an outcome of proxy_upstream_get, or -ENOMEM. */
int proxy_host_choose(struct proxy_cluster_run *cluster, const struct proxy_address *original,
                      const struct proxy_upstream_tried *tried, uint64_t random,
                      struct proxy_host **ret_host) FL_MUST_CHECK;
/* Goes where nothing uses it and it is no host of the configuration. */
void proxy_host_release(struct proxy_cluster_run *cluster, struct proxy_host *host);
void proxy_host_free(struct proxy_host *host);
/* By how much more it is at work (for the balance). */
void proxy_host_count(struct proxy_upstream *upstream, int by);

/* -- idle.c -- */

/* The last one used that is good for a new user; NULL: none. Those that are not are closed. */
struct proxy_upstream *proxy_idle_take(struct proxy_host *host, const struct fl_tls_context *context, uint64_t pin,
                                       const struct proxy_conn_ops *ops, void *owner);
void proxy_idle_put(struct proxy_upstream *upstream);
void proxy_idle_close(struct proxy_upstream *upstream);
/* A connection and what stands for it, in use by nobody. */
void proxy_upstream_discard(struct proxy_upstream *upstream, enum proxy_close how);
/* on_count. */
void proxy_cluster_tell(const struct proxy_cluster_run *cluster, bool opened);

/* -- pool.c -- */

/* What a new connection to it would be: *ret_context NULL for plaintext. 0 or -ENOKEY. */
int proxy_host_context(const struct proxy_cluster_run *cluster, const struct proxy_host *host,
                       struct fl_tls_context **ret_context) FL_MUST_CHECK;
/* A connection, within the cluster's limits: an outcome of proxy_upstream_get, or -errno. */
int proxy_upstream_dial(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                        enum fl_alpn_use use, const struct proxy_conn_ops *ops, void *owner,
                        struct proxy_upstream **ret_upstream) FL_MUST_CHECK;

/* proxy_upstream_get_other for that host. With POOLED nothing is dialled: -EAGAIN. */
#define PROXY_UPSTREAM_POOLED 4u
int proxy_upstream_take(struct proxy_cluster_run *cluster, struct proxy_host *host, unsigned want, uint64_t pin,
                        const struct proxy_conn_ops *ops, void *owner,
                        struct proxy_upstream **ret_upstream) FL_MUST_CHECK;
/* Counts for its host's balance, and no longer; what it held of the limit of requests is given back. */
void proxy_upstream_count(struct proxy_upstream *upstream);
void proxy_upstream_uncount(struct proxy_upstream *upstream);
/* proxy_upstream_put of a clean client, also in the event that told the end of its answer. */
void proxy_upstream_put_read(struct proxy_upstream *upstream);

/* -- hbone.c -- */

static inline bool proxy_host_is_gated(const struct proxy_host *host)
{
    return proxy_address_is_set(&host->gate_address);
}
/* The host's fields have changed: so do its gate's. */
void proxy_hbone_refresh(struct proxy_host *host);
/* A connection to the host through a tunnel: as proxy_conn_connect, 0 or -errno. */
int proxy_hbone_dial(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                     struct proxy_conn **ret_conn) FL_MUST_CHECK;

/* -- limits.c -- */

bool proxy_limit_take(struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit) FL_MUST_CHECK;
void proxy_limit_give(const struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit);
/* Tells on_overflow. PROXY_UPSTREAM_OVERFLOW. */
int proxy_limit_overflow(const struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit);

/* -- stage.c -- */

void proxy_staged_free(struct proxy_staged *staged);

#endif
