/* What the deployer's files share; for this folder alone.
 *
 *   deploy  Gateways, classes and children as the watches tell of them; life
 *   queue   which Gateway is worked on, and when; drift
 *   job     one Gateway, request by request: parameters → look at all four children → apply each → condition
 *
 * Nothing is applied before all four names were looked at: a Gateway whose name is taken makes nothing at all.
 */
#ifndef CONTROL_GATEWAY_JOB_H
#define CONTROL_GATEWAY_JOB_H

#include "common/base/backoff.h"
#include "common/base/log_limit.h"
#include "common/base/map.h"
#include "common/loop/timer.h"
#include "control/gateway/manifest.h"

#define DEPLOY_UID_ROOM    64
#define DEPLOY_REASON_ROOM 64

#define DEPLOY_BACKOFF_MS     2000 /* of one Gateway */
#define DEPLOY_BACKOFF_MAX_MS 300000

enum deploy_place { DEPLOY_IDLE, DEPLOY_QUEUED, DEPLOY_ACTIVE };

enum deploy_ours {
    DEPLOY_NOT_OURS, /* another controller's class, another revision, or nobody knows yet: nothing is done */
    DEPLOY_OURS,
    DEPLOY_RELEASED, /* its class is another controller's, and it has children of ours: they go */
};

struct deploy_child { /* hashes of resourceVersions; 0: none */
    uint64_t told;    /* by the watch */
    uint64_t known;   /* by the answer to what we sent */
    int64_t told_generation, known_generation;
};

struct deploy_entry { /* a Gateway */
    struct control_deploy *deploy;
    char *key; /* namespace/name */
    struct fl_span name_space, name;
    char *text; /* the Gateway, as far as we read it, as JSON */
    size_t length;
    uint64_t mark, condition; /* of what would make us look at it; of our condition as it stands there */
    bool wrote;               /* the condition, and the watch has not told of it yet */
    char class_name[256];
    enum deploy_place place;
    bool again;             /* changed while its job was under way */
    bool refused, deployed; /* as its last job ended */
    struct deploy_child children[CONTROL_DEPLOY_CHILD_COUNT];
    bool drifting;     /* the next look is for somebody else's hand */
    unsigned drifts;   /* how often in a row */
    uint64_t drift_ms; /* when last */
    struct fl_backoff backoff;
    struct fl_timer timer; /* the next look */
    struct deploy_entry *next, **link;
    struct deploy_job *job;
};

struct control_deploy {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    const struct control_deploy_options *options;
    bool leads;
    struct fl_map gateways, classes;
    struct fl_kube_watch *watches[2 + CONTROL_DEPLOY_CHILD_COUNT];
    bool synced[2 + CONTROL_DEPLOY_CHILD_COUNT];
    struct deploy_entry *first, **last; /* the queue */
    size_t queued, active;
    double tokens;
    uint64_t tokens_ms, paused_until_ms;
    struct fl_backoff backoff; /* of the API server as a whole */
    struct fl_timer pump, start;
    struct fl_err trouble; /* of a watch, the last one since we lead; code 0: none */
    struct fl_log_limit told;
    struct control_deploy_stats stats;
};

/* deploy.c */
enum deploy_ours deploy_judge(const struct deploy_entry *entry);

/* queue.c */
uint64_t deploy_now(const struct control_deploy *deploy);
bool deploy_is_synced(const struct control_deploy *deploy); /* every list is complete */
void deploy_queue_put(struct deploy_entry *entry);          /* it is to be looked at */
void deploy_queue_take(struct deploy_entry *entry);         /* out of the queue */
void deploy_pump_soon(struct control_deploy *deploy, uint64_t ms);
void deploy_pause(struct control_deploy *deploy, unsigned retry_after);
/* Whether somebody else's hand was the last on a child. A Deployment's status is no business of ours: its generation
 * tells; what has none changes seldom. */
bool deploy_has_drifted(const struct deploy_child *child);
/* Who changes our objects back again and again is followed ever more slowly. */
void deploy_follow_drift(struct deploy_entry *entry);
/* The job is over: ms until the next look. The job is gone. */
void deploy_finished(struct deploy_entry *entry, uint64_t next_ms);

/* deploy.c */
uint64_t deploy_hash(const struct fl_json *metadata); /* of its resourceVersion; 0: none */

/* job.c: 0 and it ends by deploy_finished, from the loop; or -ENOMEM. */
int deploy_job_start(struct deploy_entry *entry) FL_MUST_CHECK;
void deploy_job_cancel(struct deploy_entry *entry);

#endif
