/* A cluster at run time, in one worker: its endpoints, the connections to them, and a pool of idle ones.
 *
 * proxy_upstream_get gives a connection to write to at once: one from the pool (last in, first out, per address), or a
 * dialled one, whose bytes wait until it is open. It has one user at a time, who gives it back (proxy_upstream_put) or
 * drops it.
 *
 * proxy_upstream_request gives a request's stream (stream.h) in the same way, over a connection of its own (HTTP/1) or
 * a shared one (HTTP/2, mux.h); proxy_upstream_finish gives back what it holds. Which of both: plaintext by the
 * cluster's setting, TLS by the ALPN that was agreed on; where that is not known yet head and data wait inside.
 *
 * Circuit breakers: a cluster has at most so many connections in use, connections that are not open yet, and requests
 * under way; what would be one more is refused at once (there is no queue) and told to on_overflow. They are counted
 * for the process (shared.h), so that workers and configurations have them together.
 *
 * A user tells what became of what it sent to a host (proxy_upstream_report); where the cluster looks for outliers,
 * hosts that fail in a row are passed by for a while (outlier.h), unless too many do (balance.h).
 *
 * A connection goes back into the pool only when nothing is unread, unsent or ended. While it idles it is closed by
 * the first byte or FIN that comes, when its time is over, when the pool is full (the oldest goes), or when the cluster
 * is retired. One whose TLS context is no longer the one that a new connection would get is closed instead of used.
 *
 * A new configuration changes a cluster in place, in two steps so that all clusters change or none: stage (may fail),
 * commit (cannot). Hosts are told apart by address and identity: those that stay keep connections, balance and what is
 * known of them; a host that is gone gives no connection any more, and what is under way to it ends by itself.
 */
#ifndef PROXY_UPSTREAM_CLUSTER_H
#define PROXY_UPSTREAM_CLUSTER_H

#include "common/loop/timer.h"
#include "proxy/http/h1_client.h"
#include "proxy/http/h2.h"
#include "proxy/upstream/balance.h"
#include "proxy/upstream/shared.h"

struct fl_tls_context;

#define PROXY_UPSTREAM_IDLE_MAX 1024u /* idle connections of a cluster and worker */
#define PROXY_UPSTREAM_IDLE_WARM                                                                                       \
    8u /* … that stay for the whole idle time: after a burst each holds pages of its own; */
#define PROXY_UPSTREAM_SURPLUS_MS 5000u /* … the others go when they have been idle for so long */
#define PROXY_UPSTREAM_HOSTS      256u  /* buckets of addresses of an ORIGINAL_DST cluster */

enum proxy_cluster_http { /* as the snapshot has it */
                          PROXY_CLUSTER_HTTP1,
                          PROXY_CLUSTER_HTTP2,      /* with prior knowledge */
                          PROXY_CLUSTER_DOWNSTREAM, /* what the client spoke */
                          PROXY_CLUSTER_AUTO,       /* by ALPN alone */
};

struct proxy_cluster_endpoint {
    struct proxy_address address;
    struct proxy_address other; /* of the same host, in the other family; not set: none */
    uint32_t weight;            /* 0: unhealthy */
    uint32_t priority;
    const void *transport;     /* what tls_of knows its TLS context by; NULL: plain */
    struct fl_span identity;   /* the one SPIFFE ID that it may show; empty: whom the context accepts */
    struct proxy_address gate; /* not set: none. It is reached through a tunnel (HBONE): CONNECT to its address by
                                  HTTP/2 to the gate, over TLS by `transport` with that identity */
};

/* Borrowed: what it points to must live until the next commit, or on_free (units that its owner holds). */
struct proxy_cluster_options {
    struct fl_span name;
    bool original_dst;          /* the address is the connection's own; there are no endpoints */
    uint16_t original_dst_port; /* 0: the connection's */
    struct proxy_balance_rules balance;
    const struct proxy_cluster_endpoint *endpoints; /* copied */
    size_t endpoint_count;
    const void *transport; /* of an ORIGINAL_DST cluster's hosts */
    /* The context in force of a transport (not NULL). NULL: there is none, nothing can be dialled (-ENOKEY). Where
     * transports are used it must be given. */
    struct fl_tls_context *(*tls_of)(void *owner, const void *transport);
    const struct fl_span *preface; /* ours, for ALPN fairlead-tcp/1; lives as long as the turn */
    struct proxy_address bind_v4, bind_v6;
    bool bind_freebind;      /* these need not be addresses of this host */
    unsigned proxy_protocol; /* the version of the header that its user writes first (proxy_conn_introduce); 0: none */
    struct proxy_keepalive keepalive;
    uint32_t buffer_limit_bytes; /* of a connection's output: proxy_conn_set_high */
    uint64_t connect_timeout_ms;
    uint64_t idle_timeout_ms;                    /* 0: none */
    uint32_t limits[PROXY_UPSTREAM_LIMIT_COUNT]; /* circuit breakers; 0 lets nothing pass */
    uint32_t retry_budget_percent;               /* of retries, instead of their limit; 0: none */
    uint32_t retry_min;                          /* … and what the budget always allows */
    struct proxy_outlier_config outlier;
    struct proxy_shared *shared;          /* of the process; NULL: counts by itself */
    uint32_t max_requests_per_connection; /* 0: no limit */
    enum proxy_cluster_http http;         /* to hosts without TLS, or where TLS agreed on no protocol */
    struct proxy_h2_settings h2;          /* of connections that speak HTTP/2 */
    struct proxy_h1_scratch scratch;      /* of the worker, for answers; not needed without proxy_upstream_request */
    void (*on_count)(void *owner, bool opened);                        /* a connection came or went; NULL allowed */
    void (*on_overflow)(void *owner, enum proxy_upstream_limit limit); /* NULL allowed */
    /* A host's row of failures was full: it is ejected, or spared (shared.h). NULL allowed */
    void (*on_outlier)(void *owner, enum proxy_outlier_kind kind, bool ejected);
    void (*on_free)(void *owner); /* the last thing that it does; NULL allowed */
    void *owner;
};

struct proxy_cluster_run; /* opaque */

/* One reference. 0 or -ENOMEM (on_free does not come). */
int proxy_cluster_run_new(struct proxy_turn *turn, const struct proxy_cluster_options *options,
                          struct proxy_cluster_run **ret_cluster) FL_MUST_CHECK;
/* Of this thread. It goes with the last reference, of which each connection has one, at the end of a turn. */
struct proxy_cluster_run *proxy_cluster_run_ref(struct proxy_cluster_run *cluster);
struct proxy_cluster_run *proxy_cluster_run_unref(struct proxy_cluster_run *cluster); /* NULL allowed; returns NULL */
/* It is in no configuration any more: closes the idle connections; later ones do not come back, new ones are not
 * dialled (NO_HOST). NULL is allowed. */
void proxy_cluster_run_retire(struct proxy_cluster_run *cluster);

/* The same cluster (name, original_dst) by other options. 0 or -ENOMEM: then nothing is staged. */
int proxy_cluster_run_stage(struct proxy_cluster_run *cluster,
                            const struct proxy_cluster_options *options) FL_MUST_CHECK;
void proxy_cluster_run_commit(struct proxy_cluster_run *cluster);     /* what is staged, if anything */
void proxy_cluster_run_unstage(struct proxy_cluster_run *cluster);    /* forgets it */
void proxy_cluster_run_close_idle(struct proxy_cluster_run *cluster); /* memory is short */
const struct proxy_cluster_options *proxy_cluster_run_options(const struct proxy_cluster_run *cluster);
size_t proxy_cluster_run_connections(const struct proxy_cluster_run *cluster); /* idle and in use */
size_t proxy_cluster_run_idle(const struct proxy_cluster_run *cluster);

struct proxy_host;

struct proxy_upstream {          /* a connection in use, or a request's stream; fields are for its user to read */
    struct proxy_conn *conn;     /* proxy_upstream_get: set to NULL by the user where on_closed told that it is gone.
                                    proxy_upstream_request: the connection that carries it, shared or not, to look at only
                                    (its peer, identity, error); in on_reset too. NULL: not known yet */
    struct proxy_stream *stream; /* proxy_upstream_request: the same until proxy_upstream_finish */
    struct proxy_cluster_run *cluster;
    struct proxy_host *host;
    bool reused;       /* came from the pool, or shares a connection that was open: it may die of a keep-alive race */
    bool opened;       /* proxy_upstream_request: the connection is open, which on_open told unless it was so before */
    uint32_t requests; /* how often it was handed out */
    void *label;       /* the user's, kept with the connection (NULL at first); never freed here */
    struct proxy_upstream *host_next, *host_prev; /* private from here */
    struct proxy_upstream *idle_next, *idle_prev;
    uint64_t idle_since_ms;
    const struct fl_tls_context *context; /* that it was dialled with; lives as long as the connection */
    bool pending, is_request, is_counted; /* what it counts for */
    uint64_t pin;                         /* whose alone it is (proxy_upstream_want); 0: anybody's */
    struct proxy_h1_client *client;       /* of a connection for HTTP/1; NULL: it is none */
    struct fl_deferred deferred;
};

enum proxy_upstream_result {
    PROXY_UPSTREAM_OK = 1,
    PROXY_UPSTREAM_NO_HOST = 2,  /* no endpoint (UH) */
    PROXY_UPSTREAM_OVERFLOW = 3, /* a limit (UO) */
};

enum proxy_upstream_flags {                           /* a set */
                            PROXY_UPSTREAM_FRESH = 1, /* never one from the pool */
                            PROXY_UPSTREAM_REQUEST =
                                2, /* it is for an HTTP request, which counts as under way until put or drop */
};

/* original: for ORIGINAL_DST clusters, else ignored. An outcome, or -errno of dialling (out of descriptors or memory,
 * no route, no such source address; -ENOKEY where there is no TLS context, or an identity is to be shown in plaintext:
 * it is never dialled then). */
int proxy_upstream_get(struct proxy_cluster_run *cluster, const struct proxy_address *original, unsigned want,
                       uint64_t random, const struct proxy_conn_ops *ops, void *owner,
                       struct proxy_upstream **ret_upstream) FL_MUST_CHECK;
/* The same, to another host than these where there is one. */
#define PROXY_UPSTREAM_TRIED_MAX 8u
struct proxy_upstream_tried {
    uint32_t count;
    struct proxy_address hosts[PROXY_UPSTREAM_TRIED_MAX]; /* the oldest go first */
};
void proxy_upstream_tried_add(struct proxy_upstream_tried *tried, const struct proxy_address *address);
int proxy_upstream_get_other(struct proxy_cluster_run *cluster, const struct proxy_address *original,
                             const struct proxy_upstream_tried *tried, unsigned want, uint64_t random,
                             const struct proxy_conn_ops *ops, void *owner,
                             struct proxy_upstream **ret_upstream) FL_MUST_CHECK;
/* What became of it. random: any number. */
void proxy_upstream_report(struct proxy_upstream *upstream, enum proxy_outlier_event event, uint64_t random);
/* One retry more, within the cluster's budget; what would be too many is told to on_overflow. */
bool proxy_upstream_retry_take(struct proxy_cluster_run *cluster) FL_MUST_CHECK;
void proxy_upstream_retry_give(struct proxy_cluster_run *cluster);
/* Its user, from on_open: it is pending no longer. */
void proxy_upstream_opened(struct proxy_upstream *upstream);
/* Back into the pool where it may be used again, else closed. */
void proxy_upstream_put(struct proxy_upstream *upstream);
void proxy_upstream_drop(struct proxy_upstream *upstream, enum proxy_close how);
const struct proxy_address *proxy_upstream_address(const struct proxy_upstream *upstream);

struct proxy_upstream_want {                  /* a request's wishes */
    const struct proxy_address *original;     /* ORIGINAL_DST clusters */
    const struct proxy_upstream_tried *tried; /* to other hosts than these where there are; NULL */
    uint64_t random;
    bool fresh;         /* a retry after a keep-alive race: never a pooled HTTP/1 connection */
    bool downstream_h2; /* for clusters that speak what the client spoke */
    bool upgrade;       /* it is CONNECT or asks for an upgrade: message->upgrade */
    uint64_t pin;       /* not 0: NTLM, Negotiate: this downstream connection's own upstream connection */
};

/* A stream for a request, as proxy_upstream_get gives a connection: the same outcomes, and what it counts for. It can
 * be sent to at once. No event comes within the call: where the connection is open already there is no on_open, and
 * (*ret_upstream)->opened says so.
 * After on_reset, and in it, the stream is dead but *ret_upstream is not: proxy_upstream_finish follows. */
int proxy_upstream_request(struct proxy_cluster_run *cluster, const struct proxy_upstream_want *want,
                           const struct proxy_stream_events *events, void *user,
                           struct proxy_upstream **ret_upstream) FL_MUST_CHECK;
/* Closes its stream where it has not ended (why: as proxy_stream_close) and gives back what it counts for; a clean
 * HTTP/1 connection goes into the pool. NULL is allowed. */
void proxy_upstream_finish(struct proxy_upstream *upstream, enum proxy_reset why);
/* In on_reset: enum proxy_end of the connection where that has ended, else -1. */
int proxy_upstream_end(const struct proxy_upstream *upstream);

#endif
