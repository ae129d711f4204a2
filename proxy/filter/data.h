/* One worker's data path: what all its connections share, which configuration is in force, and what is kept of it.
 *
 * State is by slot and outlives snapshots: a cluster's is made at its first use, changes in place when a snapshot
 * brings another unit for its slot, and is retired when its slot leads nowhere. Applying a snapshot costs a comparison
 * of pointers a slot; a cluster that has changed is brought up to date before it is used, and without use soon, a few a
 * turn: so no request waits for clusters that are not its own.
 *
 * Connections hold the unit of the listener that they belong to, requests that of the route table that they follow;
 * everything else is looked up in the snapshot in force. What a changed listener means for its connections stands in
 * downstream.h.
 */
#ifndef PROXY_FILTER_DATA_H
#define PROXY_FILTER_DATA_H

#include "common/loop/timer.h"
#include "proxy/http/h1.h"
#include "proxy/net/learned.h"
#include "proxy/net/turn.h"
#include "proxy/policy/jwt_cache.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/telemetry/accesslog.h"
#include "proxy/telemetry/quota.h"
#include "proxy/telemetry/stats.h"
#include "proxy/upstream/cluster.h"

#define PROXY_DATA_LOGS_MAX        16u    /* access log files of a worker */
#define PROXY_DATA_SCRATCH         65536u /* bytes of texts that one head gets new */
#define PROXY_DATA_NAMES           8192u
#define PROXY_DATA_CONNECTIONS_MAX 50000u /* downstream connections of a worker, beyond which new ones are closed */

struct proxy_downstream;
struct proxy_data;
struct proxy_exchange_run;
struct proxy_exporter;
struct proxy_mirror_run;

struct proxy_directory;
struct proxy_cluster_state; /* clusters.c */

struct proxy_listener_state {
    struct proxy_downstream *first;  /* its connections */
    struct proxy_downstream *rebind; /* the next to be looked at, because it has changed; NULL: none */
};

struct proxy_data_options {
    struct fl_loop *loop;
    struct proxy_stats *stats;
    struct proxy_shared *shared; /* of the process; NULL: this worker is alone */
    size_t connections_max;      /* 0: PROXY_DATA_CONNECTIONS_MAX */
    /* The start gate's dial came back. Any thread's; see admin/probe.h. NULL: there is no gate. */
    bool (*on_probe)(void *owner, const struct proxy_address *peer, const struct proxy_address *original);
    const struct proxy_directory *directory; /* asked for unknown destinations; NULL: nobody is */
    void (*on_drained)(void *owner);         /* while draining: the last downstream connection is gone */
    void *owner;
};

struct proxy_data {
    struct proxy_turn turn;
    struct proxy_data_options options;
    struct proxy_snapshot *snapshot;        /* in force, counted; NULL before the first */
    struct proxy_cluster_state **clusters;  /* by slot; NULL: not used yet */
    struct proxy_listener_state *listeners; /* by slot */
    size_t cluster_slots, listener_slots;
    struct fl_span preface; /* ours, for ALPN fairlead-tcp/1: */
    struct fl_buf preface_buf;
    struct proxy_downstream *downstreams; /* all of them */
    struct proxy_downstream *parked;      /* those that wait for a destination to be known */
    size_t parked_count;
    struct proxy_learned learned; /* servers that speak first */
    struct fl_hook rebind_hook;
    struct fl_timer rebind_timer;  /* the rest of many connections */
    struct fl_timer refresh_timer; /* clusters that have changed and are not used */
    uint32_t refresh_next;
    size_t downstream_count;
    bool draining; /* no new connections either; implies leaving */
    bool leaving;  /* HTTP connections end with their next answer */
    uint64_t next_id, random_state;
    /* Scratch of one callback: heads are parsed and changed within it; new texts of a head are in `scratch`. Who writes
     * heads has the turn's. */
    struct proxy_message request, response;
    struct proxy_headers trailers;
    char *scratch; /* PROXY_DATA_SCRATCH bytes, and PROXY_DATA_NAMES for names that are restored (http/restore.h) */
    struct proxy_exchange_run *spare; /* exchange.h: for the next requests */
    size_t spare_count;
    struct proxy_exporter *exporters; /* export.h */
    struct proxy_mirror_run *mirrors; /* mirror.h: under way */
    size_t mirror_count;
    size_t kept_bytes; /* of requests that may be sent again (attempt.h), or are mirrored */
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

/* A new snapshot (a reference is taken): 0, or -ENOMEM, then the old one stays in force, whole. Connections of changed
 * listeners are looked at from the end of this turn on, PROXY_DATA_REBINDS a turn. */
#define PROXY_DATA_REBINDS   256u
#define PROXY_DATA_REFRESHES 16u   /* clusters that are brought up to date a turn, beside those that are used */
#define PROXY_DATA_RETRY_MS  1000u /* where memory was out for that */
int proxy_data_apply(struct proxy_data *data, struct proxy_snapshot *snapshot) FL_MUST_CHECK;

/* What became of a question to the directory: enum proxy_directory_answer. Connections that wait for it go on, or end.
 */
void proxy_data_answer(struct proxy_data *data, const struct proxy_address *destination, int answer);

/* No new requests on HTTP connections: they end with the next answer, or when they are idle. Opaque ones go on. */
void proxy_data_drain(struct proxy_data *data);
/* The same while the listeners go on: whoever comes is served, and asked to come to somebody else the next time. */
void proxy_data_leave(struct proxy_data *data);
/* Memory is so short (net/shed.h); of its pools lean_above and max count from now on (0: no bound). */
void proxy_data_shed(struct proxy_data *data, enum proxy_shed stage, size_t lean_above, size_t max);
/* Tells on_drained where that is so: no connection is left, what the last ones wrote has gone out, and their spans too.
 */
void proxy_data_check_drained(struct proxy_data *data);

/* The cluster that a slot leads to, at work; made at its first use. Not counted for the caller. 0, -ENOENT (there is
 * none: NC), -ENOMEM. */
int proxy_data_cluster(struct proxy_data *data, uint32_t slot, struct proxy_cluster_run **ret_cluster) FL_MUST_CHECK;
/* The configuration of a cluster at work, also where it is in none any more; lives as long as that, or until the next
 * snapshot. NULL for NULL. */
const struct proxy_cluster *proxy_data_cluster_config(const struct proxy_cluster_run *cluster);

/* Every access log that is a file is opened by its name anew; where that fails, the one before stays. */
void proxy_data_reopen_logs(struct proxy_data *data);

uint64_t proxy_data_random(struct proxy_data *data);
uint64_t proxy_data_now_us(void); /* wall clock, for logs */
/* Writes one line to every log of the list. */
void proxy_data_log(struct proxy_data *data, const struct proxy_access_log *logs, size_t count,
                    const struct proxy_log_record *record);

#endif
