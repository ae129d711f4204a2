/* The running keeper, for the files that share it: `elect` (the Lease), `look` (what is read), `act` (what is written),
 * `keeper` (start, signals, end). Private to this folder. At most one request of the election and one of looking and
 * acting is under way.
 */
#ifndef WEBHOOK_KEEPER_STATE_H
#define WEBHOOK_KEEPER_STATE_H

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "common/kube/lease.h"
#include "common/kube/watch.h"
#include "common/loop/signal.h"
#include "common/loop/timer.h"
#include "webhook/keeper/keeper.h"
#include "webhook/keeper/material.h"

#define KEEPER_RETRY_MS     1000u /* after trouble; doubled up to */
#define KEEPER_RETRY_MAX_MS 30000u
#define KEEPER_BLOCKED_MS                                                                                              \
    600000u                      /* a caBundle of another manager is tried again, or when its configuration changes    \
                                  */
#define KEEPER_STEPS_IN_A_ROW 24 /* more than that without coming to rest is trouble */
#define KEEPER_WATCHES_MAX    (KEEPER_CONFIGURATIONS_MAX + 2)

enum keeper_phase {
    KEEPER_RESTING,
    KEEPER_READING_CONFIGURATIONS,
    KEEPER_READING_LEAF,
    KEEPER_READING_CA,
    KEEPER_ACTING
};

struct keeper_blocked { /* a configuration whose caBundle belongs to another manager */
    char name[KEEPER_CONFIGURATION_NAME];
    char version[KEEPER_VERSION_MAX];
    uint64_t until_ms;
};

struct keeper {
    const struct keeper_options *options;
    struct fl_loop *loop;
    struct fl_kube_client *client;
    struct fl_signals signals;
    bool stopping;

    /* elect */
    struct fl_kube_lease *lease;
    bool heartbeat_failed;

    /* look and act */
    enum keeper_phase phase;
    struct fl_kube_exchange *exchange;
    struct fl_timer look_timer;
    bool look_again;
    unsigned failures, steps;
    struct fl_err told;
    const char *waits_for; /* as it was told */
    size_t asked;          /* configurations, by name */
    struct fl_json *objects[KEEPER_CONFIGURATIONS_MAX];
    size_t object_count;
    struct keeper_secret leaf, ca;
    struct keeper_material material;
    struct keeper_configuration configurations[KEEPER_CONFIGURATIONS_MAX];
    struct keeper_memory memory;
    struct keeper_blocked blocked[KEEPER_CONFIGURATIONS_MAX];
    struct keeper_decision decision;
    size_t published;          /* configurations that were looked at in this step */
    struct fl_err publish_err; /* of one of them; code 0: none */
    struct fl_buf bundle;      /* of this step */

    struct fl_kube_watch *watches[KEEPER_WATCHES_MAX];
    size_t watch_count;
};

/* elect.c */
int keeper_elect_start(struct keeper *keeper, struct fl_err *err) FL_MUST_CHECK;
void keeper_elect_stop(struct keeper *keeper); /* releases the Lease, then stops the loop */

/* look.c: begins once the Lease is ours; ends what is under way. */
void keeper_look_start(struct keeper *keeper);
void keeper_look_stop(struct keeper *keeper);
void keeper_look_in(struct keeper *keeper, uint64_t ms);
/* Something failed: told once, tried again with back-off. */
void keeper_look_failed(struct keeper *keeper, const struct fl_err *err);
/* Sends one request of the look; keeper->phase says what it is for. False: it failed, and that is dealt with. */
bool keeper_look_send(struct keeper *keeper, const struct fl_kube_request *request);

/* Something changed: a look soon, or another one after this one. */
void keeper_look_poke(struct keeper *keeper);

/* follow.c */
void keeper_follow_start(struct keeper *keeper);
void keeper_follow_stop(struct keeper *keeper);

/* act.c */
void keeper_act(struct keeper *keeper);
void keeper_acted(struct keeper *keeper, const struct fl_kube_answer *answer);
bool keeper_act_is_blocked(const void *owner, const struct keeper_configuration *configuration);

#endif
