/* Connections whose listener has changed. */
#include "proxy/filter/downstream_inner.h"
#include "proxy/filter/early.h"

static void expel_now(struct fl_timer *timer)
{
    struct proxy_downstream *downstream = FL_CONTAINER_OF(timer, struct proxy_downstream, deadline);
    downstream->ops->abort(downstream->filter);
}

/* The new configuration would not have it so. */
static void expel(struct proxy_downstream *downstream)
{
    if (downstream->ops == NULL) {
        downstream_refuse(downstream, PROXY_REFUSED_NO_FILTER_CHAIN);
        return;
    }
    fl_timer_set(downstream->data->turn.loop, &downstream->deadline, PROXY_DOWNSTREAM_EXPEL_MS, expel_now);
    downstream->ops->drain(downstream->filter);
}

static bool is_same_kind(const struct proxy_filter_chain *before, const struct proxy_filter_chain *chain)
{
    return chain != NULL && chain->tls == before->tls && chain->kind == before->kind;
}

static void listener_is_gone(struct proxy_downstream *downstream)
{
    if (downstream->ops != NULL)
        downstream->ops->drain(downstream->filter);
    else
        downstream_refuse(downstream, PROXY_REFUSED_NO_FILTER_CHAIN);
}

/* The old listener stays until everything has let go of it. */
static void change(struct proxy_downstream *downstream, const struct proxy_listener *listener,
                   const struct proxy_filter_chain *chain)
{
    struct proxy_unit *before = downstream->unit;
    proxy_early_drop(downstream); /* it was dialled by what was configured before */
    downstream->unit = proxy_unit_ref(listener->unit);
    downstream->listener = listener;
    downstream->chain = chain;
    if (downstream->ops != NULL)
        downstream->ops->rebind(downstream->filter, chain);
    proxy_unit_unref(before);
}

/* Its listener did not look, and the handshake is under way: what it is will be known at the end of that. */
static bool is_unknown(const struct proxy_downstream *downstream)
{
    return downstream->ops == NULL && downstream->chain->tls != NULL && !downstream->tunnelled &&
           downstream->seen != PROXY_DETECT_TLS;
}

void downstream_rebind(struct proxy_downstream *downstream)
{
    const struct proxy_listener *listener =
        proxy_snapshot_listener(downstream->data->snapshot, downstream->listener->slot->index);
    if (listener == downstream->listener)
        return;
    if (listener == NULL) {
        listener_is_gone(downstream);
        return;
    }
    if (downstream->chain == NULL) { /* its first bytes are still looked at */
        change(downstream, listener, NULL);
        if (!downstream->awaits_header)
            downstream_watch_again(downstream);
        return;
    }
    if (is_unknown(downstream))
        return;
    const struct proxy_filter_chain *chain = downstream_pick(downstream, listener);
    if (is_same_kind(downstream->chain, chain))
        change(downstream, listener, chain);
    else
        expel(downstream);
}

static void go_on(struct fl_timer *timer)
{
    proxy_downstream_rebind(FL_CONTAINER_OF(timer, struct proxy_data, rebind_timer));
}

/* A connection may end meanwhile, and with it move data->listeners[].rebind on: downstream_unlist does that. */
void proxy_downstream_rebind(struct proxy_data *data)
{
    unsigned left = PROXY_DATA_REBINDS;
    for (size_t i = 0; i < data->listener_slots; i++) {
        struct proxy_listener_state *state = &data->listeners[i];
        for (; state->rebind != NULL && left > 0; left--) {
            struct proxy_downstream *one = state->rebind;
            state->rebind = one->listener_next;
            downstream_rebind(one);
        }
        if (state->rebind != NULL) { /* the rest in the next turn */
            fl_timer_set(data->turn.loop, &data->rebind_timer, 0, go_on);
            return;
        }
    }
}
