/* What the workers of a process share of a cluster: how much is under way under its limits, and which hosts are
 * ejected. A limit that a user writes once holds for the process (DESIGN.md, decision 7), and across reloads: the state
 * belongs to the cluster's name, and lives as long as any worker's run-time state of it does.
 *
 * Counts are atomics: taking and giving one costs an uncontended add. Ejection is behind a lock that only failures, a
 * host's return and the first success after a failure take; a worker sees by two relaxed loads (version, due) that
 * nothing has changed since it last looked. Every function is thread-safe.
 */
#ifndef PROXY_UPSTREAM_SHARED_H
#define PROXY_UPSTREAM_SHARED_H

#include "proxy/net/address.h"
#include "proxy/upstream/outlier.h"

/* Hosts of a cluster that something is known against; beyond, the one known for the longest and not ejected goes. */
#define PROXY_SHARED_HOSTS_MAX 4096u

/* X(id, word): the limits that on_overflow (cluster.h) tells of. */
#define PROXY_UPSTREAM_LIMITS(X)                                                                                       \
    X(CONNECTIONS, "connections")                                                                                      \
    X(PENDING, "pending_requests")                                                                                     \
    X(REQUESTS, "requests")                                                                                            \
    X(RETRIES, "retries")

enum proxy_upstream_limit {
#define X(id, word) PROXY_UPSTREAM_LIMIT_##id,
    PROXY_UPSTREAM_LIMITS(X)
#undef X
        PROXY_UPSTREAM_LIMIT_COUNT
};

struct proxy_shared; /* of the process */

int proxy_shared_new(struct proxy_shared **ret_shared) FL_MUST_CHECK; /* 0 or -ENOMEM */
/* No cluster of it may be held any more. NULL is allowed; returns NULL. */
struct proxy_shared *proxy_shared_free(struct proxy_shared *shared);
/* Hosts that are ejected now, in all clusters. */
size_t proxy_shared_ejected(struct proxy_shared *shared, uint64_t now_ms);

struct proxy_shared_cluster; /* of a name */

/* shared NULL: one of its own, that nobody shares. 0 or -ENOMEM. */
int proxy_shared_cluster_get(struct proxy_shared *shared, struct fl_span name,
                             struct proxy_shared_cluster **ret_cluster) FL_MUST_CHECK;
struct proxy_shared_cluster *proxy_shared_cluster_put(struct proxy_shared_cluster *cluster); /* NULL allowed */

/* One more, unless that would be more than `limit`. UINT32_MAX: without a limit. */
bool proxy_shared_take(struct proxy_shared_cluster *cluster, enum proxy_upstream_limit what,
                       uint32_t limit) FL_MUST_CHECK;
void proxy_shared_give(struct proxy_shared_cluster *cluster, enum proxy_upstream_limit what);
uint32_t proxy_shared_used(const struct proxy_shared_cluster *cluster, enum proxy_upstream_limit what);

/* Whether what proxy_shared_is_ejected says may have changed since *version (0 at first), which is brought up to date;
 * hosts whose time is over come back here. */
bool proxy_shared_changed(struct proxy_shared_cluster *cluster, uint64_t now_ms, uint32_t *version);
bool proxy_shared_is_ejected(struct proxy_shared_cluster *cluster, const struct proxy_address *address);
/* Whether anything is known against any host: else a success needs no report. */
bool proxy_shared_is_clean(const struct proxy_shared_cluster *cluster);

enum proxy_shared_verdict {
    PROXY_SHARED_NOTHING,
    PROXY_SHARED_EJECTED,
    PROXY_SHARED_SPARED, /* it came to it, and was not enforced: by chance, or because too many are ejected already */
};
/* What happened with a host of `hosts`. random: any number. */
enum proxy_shared_verdict proxy_shared_report(struct proxy_shared_cluster *cluster,
                                              const struct proxy_outlier_config *config,
                                              const struct proxy_address *address, size_t hosts,
                                              enum proxy_outlier_event event, uint64_t now_ms, uint64_t random,
                                              enum proxy_outlier_kind *ret_kind);

#endif
