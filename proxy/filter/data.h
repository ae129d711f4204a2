/* One worker's data path: what all its connections share, and which configuration is in force.
 *
 * A generation is a snapshot at work: the run-time state of its clusters and what is derived from it once. Connections
 * hold the generation that they began with, so a new snapshot never changes a connection under way: HTTP connections of
 * a retired generation end with the answer to their next request, others when they end by themselves.
 */
#ifndef PROXY_FILTER_DATA_H
#define PROXY_FILTER_DATA_H

#include "common/loop/timer.h"
#include "proxy/http/h1.h"
#include "proxy/net/turn.h"
#include "proxy/policy/jwt_cache.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/telemetry/accesslog.h"
#include "proxy/telemetry/quota.h"
#include "proxy/telemetry/stats.h"
#include "proxy/upstream/cluster.h"

#define PROXY_DATA_LOGS_MAX        16u    /* access log files of a worker */
#define PROXY_DATA_CONNECTIONS_MAX 50000u /* downstream connections of a worker, beyond which new ones are closed */

struct proxy_downstream;
struct proxy_data;
struct proxy_exporter;

struct proxy_generation {
    struct proxy_data *data;
    struct proxy_snapshot *snapshot;     /* a reference */
    struct proxy_cluster_run **clusters; /* by the snapshot's index */
    struct fl_buf preface;               /* ours, for ALPN fairlead-tcp/1 */
    size_t references;
    bool retired;
    struct fl_deferred deferred;
};

struct proxy_data_options {
    struct fl_loop *loop;
    struct proxy_stats *stats;
    struct proxy_shared *shared; /* of the process; NULL: this worker is alone */
    size_t connections_max;      /* 0: PROXY_DATA_CONNECTIONS_MAX */
    /* The start gate's dial came back. Any thread's; see admin/probe.h. NULL: there is no gate. */
    bool (*on_probe)(void *owner, const struct proxy_address *peer, const struct proxy_address *original);
    void (*on_drained)(void *owner); /* while draining: the last downstream connection is gone */
    void *owner;
};

struct proxy_data {
    struct proxy_turn turn;
    struct proxy_data_options options;
    struct proxy_generation *generation;  /* in force; NULL before the first */
    struct proxy_downstream *downstreams; /* all of them */
    size_t downstream_count;
    bool draining;
    uint64_t next_id, random_state;
    /* Scratch of one callback: heads are parsed, changed and written within it. */
    struct proxy_message request, response;
    struct proxy_headers trailers;
    struct proxy_exporter *exporters; /* export.h */
    size_t kept_bytes;                /* of requests that may be sent again (attempt.h) */
    struct {
        char *path; /* owned */
        struct proxy_log log;
    } logs[PROXY_DATA_LOGS_MAX];
    size_t log_count;
    struct proxy_quota refused_quota, upstream_quota; /* of the two warnings (report.h) */
    struct proxy_quota shadow_quota;                  /* of what policies on trial would have denied */
    struct proxy_jwt_cache jwt_cache;
    struct fl_hook log_hook;
    struct fl_timer log_timer;
};

int proxy_data_init(struct proxy_data *data, const struct proxy_data_options *options) FL_MUST_CHECK;
/* Every connection is closed at once. Before and after it the loop must run a turn (what was deferred goes there). */
void proxy_data_abort(struct proxy_data *data);
void proxy_data_done(struct proxy_data *data);

/* A new snapshot (a reference is taken): 0, or -ENOMEM, then the old one stays in force. */
int proxy_data_apply(struct proxy_data *data, struct proxy_snapshot *snapshot) FL_MUST_CHECK;

/* No new requests on HTTP connections: they end with the next answer, or when they are idle. Opaque ones go on. */
void proxy_data_drain(struct proxy_data *data);
/* Tells on_drained where that is so: no connection is left, what the last ones wrote has gone out, and their spans too.
 */
void proxy_data_check_drained(struct proxy_data *data);

struct proxy_generation *proxy_generation_ref(struct proxy_generation *generation);
void proxy_generation_unref(struct proxy_generation *generation);

/* Every access log that is a file is opened by its name anew; where that fails, the one before stays. */
void proxy_data_reopen_logs(struct proxy_data *data);

uint64_t proxy_data_random(struct proxy_data *data);
uint64_t proxy_data_now_us(void); /* wall clock, for logs */
/* Writes one line to every log of the list. */
void proxy_data_log(struct proxy_data *data, const struct proxy_access_log *logs, size_t count,
                    const struct proxy_log_record *record);

#endif
