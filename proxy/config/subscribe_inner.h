/* What the files of proxy/config/subscribe share. Private to them. */
#ifndef PROXY_CONFIG_SUBSCRIBE_INNER_H
#define PROXY_CONFIG_SUBSCRIBE_INNER_H

#include "common/base/backoff.h"
#include "common/loop/timer.h"
#include "common/metrics/registry.h"
#include "proxy/config/ads.h"
#include "proxy/config/question.h"
#include "proxy/config/subscribe.h"
#include "proxy/config/whereabouts.h"

struct proxy_subscribe {
    struct proxy_subscribe_options options;
    struct proxy_ads *ads;

    /* stream (subscribe.c) */
    struct proxy_whereabouts *whereabouts;
    struct fl_grpc_client *client;
    struct fl_grpc_call *call; /* NULL: no stream */
    struct fl_backoff backoff;
    struct fl_timer retry;
    struct fl_buf unsent; /* a message that found the queue full; empty: none */
    bool showed_own;      /* our certificate, to the present connection */
    bool answered;        /* something came over this stream */
    bool save_failed;     /* the last time: told once */
    uint64_t since_ms;    /* of the stream; or since when there is none */
    uint64_t connects, told_ms;
    struct fl_err lost;                                      /* why the last one ended */
    char last_nack[FL_RESOURCE_TYPES][PROXY_ADS_DETAIL_MAX]; /* as it was logged */
    struct fl_buf key, chain, roots;                         /* our identity */

    /* feed (subscribe_feed.c) */
    uint64_t wants_version;
    bool restored, complete; /* started from the state folder; the first configuration was whole once */
    bool changed;            /* something was put or removed since on_change */
    bool ranges_known;       /* virtualOutbound names the mesh's ranges */
    struct fl_timer save, tick;

    /* on demand (subscribe_demand.c) */
    struct proxy_demand *demand;       /* NULL: not on demand */
    struct proxy_questions *questions; /* the same */
    struct fl_buf gone;                /* names that went while ads was at work, each with a NUL behind */
    uint64_t flood_told_ms;
};

/* subscribe.c */
void proxy_subscribe_send(struct proxy_subscribe *subscribe); /* what ads has to say, as far as the queue takes it */
uint64_t proxy_subscribe_now(const struct proxy_subscribe *subscribe);
bool proxy_subscribe_is_away(const struct proxy_subscribe *subscribe);

/* subscribe_feed.c: between ads and assembly */
int proxy_subscribe_take(void *owner, const struct proxy_ads_resource *resource, struct fl_err *err);
void proxy_subscribe_drop(void *owner, enum fl_resource_type type, struct fl_span name);
/* What the assembly wants becomes what ads wants; then tells the owner of a change. */
void proxy_subscribe_settle(struct proxy_subscribe *subscribe);
int proxy_subscribe_begin(struct proxy_subscribe *subscribe) FL_MUST_CHECK; /* what is wanted from the start */
void proxy_subscribe_restore(struct proxy_subscribe *subscribe);
/* What waits to be kept is kept now. */
void proxy_subscribe_save_pending(struct proxy_subscribe *subscribe);

/* subscribe_demand.c */
uint64_t proxy_subscribe_used_ms(void *owner, struct fl_span name); /* of proxy_demand_options */
void proxy_subscribe_on_question(void *owner, const struct proxy_address *destination);
/* A destination's listener is gone: to be given up after ads has done its work. */
void proxy_subscribe_note_gone(struct proxy_subscribe *subscribe, struct fl_span name);
void proxy_subscribe_give_up_gone(struct proxy_subscribe *subscribe);
void proxy_subscribe_expire(struct proxy_subscribe *subscribe);

/* subscribe_stats.c */
void proxy_subscribe_count_connect(const struct proxy_subscribe *subscribe, bool good);
void proxy_subscribe_count_question(const struct proxy_subscribe *subscribe, const char *result);
void proxy_subscribe_show(const struct proxy_subscribe *subscribe); /* gauges, and what ads counts */

#endif
