/* Which shared connection a request gets, and who waits for one. */
#include "proxy/upstream/mux.h"

#include <errno.h>

static void run(struct fl_hook *hook);

static struct proxy_lane *lane_of(struct proxy_cluster_run *cluster, struct proxy_host *host)
{
    if (host->lane != NULL)
        return host->lane;
    struct proxy_lane *lane = calloc(1, sizeof(*lane));
    if (lane == NULL)
        return NULL;
    lane->cluster = cluster;
    lane->host = host;
    lane->waiting_end = &lane->waiting;
    lane->hook.run = run;
    host->lane = lane;
    return lane;
}

void proxy_lane_free(struct proxy_lane *lane)
{
    if (lane != NULL) {
        fl_hook_disarm(&lane->hook);
        fl_timer_cancel(&lane->timer);
    }
    free(lane);
}

void proxy_lane_wake(struct proxy_lane *lane)
{
    fl_hook_arm(lane->cluster->turn->loop, &lane->hook);
}

/* --- who gets what ---------------------------------------------------------------------------------------------- */

/* The first with room that is not stalled; with `stalled`, one that is. Those of another context drain. */
static struct proxy_mux *pick(struct proxy_lane *lane, const struct fl_tls_context *context, uint64_t pin, bool stalled)
{
    for (struct proxy_mux *mux = lane->muxes; mux != NULL; mux = mux->next) {
        if (mux->carrier->context != context && !mux->draining) {
            mux->draining = true;
            proxy_lane_wake(lane);
        }
        if (mux->pin == pin && proxy_mux_has_room(mux) && (stalled || !proxy_mux_is_stalled(mux)))
            return mux;
    }
    return NULL;
}

static bool dials_for(const struct proxy_lane *lane, const struct fl_tls_context *context, uint64_t pin)
{
    for (const struct proxy_mux *mux = lane->muxes; mux != NULL; mux = mux->next) {
        if (mux->h2 == NULL && !mux->draining && mux->pin == pin && mux->carrier->context == context)
            return true;
    }
    return false;
}

/* Whether those who wait (with one more) want another dial. */
static bool wants_dial(const struct proxy_lane *lane, const struct fl_tls_context *context, uint64_t pin)
{
    if (!dials_for(lane, context, pin))
        return true;
    if (lane->speech == PROXY_LANE_HTTP1 && lane->context == context)
        return lane->waiting_count >= lane->dialling;
    return lane->waiting_count >= lane->dialling * PROXY_MUX_STREAMS;
}

/* Someone is left to wait for. */
static bool has_hope(const struct proxy_lane *lane, uint64_t pin)
{
    for (const struct proxy_mux *mux = lane->muxes; mux != NULL; mux = mux->next) {
        if (!mux->draining && mux->pin == pin)
            return true;
    }
    return false;
}

static void dial_now(struct fl_timer *timer)
{
    proxy_lane_wake(FL_CONTAINER_OF(timer, struct proxy_lane, timer));
}

static int dial(struct proxy_lane *lane, struct fl_tls_context *context, uint64_t pin)
{
    bool http1 = lane->speech == PROXY_LANE_HTTP1 && lane->context == context;
    if (!http1 && lane->mux_count >= PROXY_MUX_CONNECTIONS && has_hope(lane, pin))
        return PROXY_UPSTREAM_OK; /* it waits for room */
    if (!proxy_turn_take_dial(lane->cluster->turn)) {
        fl_timer_set(lane->cluster->turn->loop, &lane->timer, 1, dial_now);
        return PROXY_UPSTREAM_OK; /* it waits for a turn with less to do */
    }
    int result = proxy_mux_dial(lane, context, pin);
    return result != PROXY_UPSTREAM_OK && !http1 && has_hope(lane, pin) ? PROXY_UPSTREAM_OK : result;
}

static void enqueue(struct proxy_lane *lane, struct proxy_front *front)
{
    front->link = lane->waiting_end;
    *lane->waiting_end = front;
    lane->waiting_end = &front->next;
    lane->waiting_count++;
    lane->waiting_pinned += front->pin != 0;
    front->listed = true;
}

/* A stream now, or a place in the queue. An outcome or -errno: then the front is nowhere. */
static int place(struct proxy_lane *lane, struct fl_tls_context *context, struct proxy_front *front)
{
    bool first = front->pin != 0 || lane->waiting_count == lane->waiting_pinned;
    struct proxy_mux *mux = first ? pick(lane, context, front->pin, false) : NULL;
    int result = mux != NULL ? proxy_mux_open_stream(mux, front) : -EAGAIN;
    if (result == 0) {
        front->upstream.opened = front->upstream.reused = true;
        return PROXY_UPSTREAM_OK;
    }
    if (result != -EAGAIN)
        return result;
    if (lane->waiting_count >= PROXY_MUX_WAITING)
        return proxy_limit_overflow(lane->cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    result = wants_dial(lane, context, front->pin) ? dial(lane, context, front->pin) : PROXY_UPSTREAM_OK;
    if (result == PROXY_UPSTREAM_OK)
        enqueue(lane, front);
    return result;
}

int proxy_lane_request(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                       const struct proxy_upstream_want *want, const struct proxy_stream_events *events, void *user,
                       struct proxy_upstream **ret_upstream)
{
    struct proxy_lane *lane = lane_of(cluster, host);
    if (lane == NULL)
        return -ENOMEM;
    bool counts = host->behind == NULL;
    if (counts && !proxy_limit_take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS))
        return proxy_limit_overflow(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    struct proxy_front *front = proxy_front_new(lane, want, events, user);
    if (front == NULL && counts)
        proxy_limit_give(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    if (front == NULL)
        return -ENOMEM;
    int result = place(lane, context, front);
    if (result != PROXY_UPSTREAM_OK) {
        proxy_front_finish(front, PROXY_RESET_CANCELLED);
        return result;
    }
    *ret_upstream = &front->upstream;
    return PROXY_UPSTREAM_OK;
}

/* --- the turn's end --------------------------------------------------------------------------------------------- */

void proxy_lane_tell_late(struct proxy_front *front, enum proxy_reset why, const char *error)
{
    struct proxy_lane *lane = front->lane;
    if (front->late >= 0)
        return;
    front->late = (int)why;
    front->error = error;
    front->next_late = lane->late;
    lane->late = front;
    proxy_lane_wake(lane);
}

void proxy_lane_forget_late(struct proxy_front *front)
{
    struct proxy_front **link = &front->lane->late;
    while (*link != front)
        link = &(*link)->next_late;
    *link = front->next_late;
    front->late = -1;
}

static void tell_late(struct proxy_lane *lane)
{
    while (lane->late != NULL) {
        struct proxy_front *front = lane->late;
        enum proxy_reset why = (enum proxy_reset)front->late;
        proxy_lane_forget_late(front);
        if (front->listed)
            proxy_front_unlist(front);
        proxy_front_reset(front, why, front->end, front->error);
    }
}

/* The host is none any more: what is there ends, nothing is dialled. */
static bool is_over(const struct proxy_lane *lane)
{
    return lane->cluster->retired || lane->host->item == PROXY_HOST_GONE;
}

static void close_drained(struct proxy_lane *lane)
{
    struct proxy_mux *next;
    for (struct proxy_mux *mux = lane->muxes; mux != NULL; mux = next) {
        next = mux->next;
        mux->draining |= is_over(lane) && lane->waiting == NULL;
        bool idle = mux->streams == 0 && (mux->h2 != NULL || lane->waiting == NULL);
        if (mux->over || (mux->draining && idle))
            proxy_mux_close(mux);
    }
}

struct proxy_front *proxy_lane_next(struct proxy_lane *lane, uint64_t pin)
{
    for (struct proxy_front *front = lane->waiting; front != NULL; front = front->next) {
        if (front->pin != pin || front->late >= 0)
            continue;
        proxy_front_unlist(front);
        return front;
    }
    return NULL;
}

static void fail_one(struct proxy_front *front, const struct proxy_lane_failure *failure)
{
    front->upstream.conn = failure->conn;
    proxy_front_reset(front, failure->why, failure->end, failure->error);
}

static void fail_all(struct proxy_lane *lane, uint64_t pin, const struct proxy_lane_failure *failure)
{
    struct proxy_front *front;
    while ((front = proxy_lane_next(lane, pin)) != NULL)
        fail_one(front, failure);
}

void proxy_lane_dial_failed(struct proxy_lane *lane, uint64_t pin, const struct proxy_lane_failure *failure)
{
    if (lane->speech == PROXY_LANE_HTTP1) { /* it was for one of them */
        struct proxy_front *front = lane->waiting_count > lane->dialling ? proxy_lane_next(lane, pin) : NULL;
        if (front != NULL)
            fail_one(front, failure);
    } else if (!has_hope(lane, pin)) {
        fail_all(lane, pin, failure);
    }
    proxy_lane_wake(lane);
}

/* The first who waits for whom there is room. */
static struct proxy_front *find_servable(struct proxy_lane *lane, const struct fl_tls_context *context,
                                         struct proxy_mux **ret_mux)
{
    bool looked = false; /* for those without a pin: all but few */
    for (struct proxy_front *front = lane->waiting; front != NULL; front = front->next) {
        if (front->late >= 0 || (front->pin == 0 && looked))
            continue;
        looked |= front->pin == 0;
        *ret_mux = pick(lane, context, front->pin, lane->mux_count >= PROXY_MUX_CONNECTIONS);
        if (*ret_mux != NULL)
            return front;
    }
    return NULL;
}

static void attach_all(struct proxy_lane *lane, const struct fl_tls_context *context)
{
    struct proxy_front *front;
    struct proxy_mux *mux;
    while ((front = find_servable(lane, context, &mux)) != NULL) {
        proxy_front_unlist(front);
        if (proxy_mux_open_stream(mux, front) == 0)
            proxy_front_on_mux(front);
        else
            proxy_front_reset(front, PROXY_RESET_MEMORY, -1, NULL);
    }
}

/* Who waits with nobody dialling for him. */
static struct proxy_front *find_forlorn(struct proxy_lane *lane, const struct fl_tls_context *context)
{
    bool http1 = lane->speech == PROXY_LANE_HTTP1 && lane->context == context;
    for (struct proxy_front *front = lane->waiting; front != NULL; front = front->next) {
        if (front->late < 0 && (http1 ? lane->dialling < lane->waiting_count : !dials_for(lane, context, front->pin)))
            return front;
        if (http1 || front->pin == 0)
            return NULL;
    }
    return NULL;
}

static void dial_for_the_rest(struct proxy_lane *lane, struct fl_tls_context *context)
{
    struct proxy_front *front;
    while ((front = find_forlorn(lane, context)) != NULL) {
        size_t before = lane->dialling;
        int result = is_over(lane) ? PROXY_UPSTREAM_NO_HOST : dial(lane, context, front->pin);
        if (result == PROXY_UPSTREAM_OK && lane->dialling == before)
            return; /* it waits for room */
        const struct proxy_lane_failure failure = {.why = PROXY_RESET_CONNECT, .end = -1};
        if (result != PROXY_UPSTREAM_OK) {
            proxy_front_unlist(front);
            fail_one(front, &failure);
        }
    }
}

static void serve(struct proxy_lane *lane)
{
    const struct proxy_lane_failure failure = {.why = PROXY_RESET_CONNECT, .end = -1};
    struct fl_tls_context *context = NULL;
    if (lane->waiting == NULL)
        return;
    if (!is_over(lane) && proxy_host_context(lane->cluster, lane->host, &context) < 0) {
        while (lane->waiting != NULL)
            fail_all(lane, lane->waiting->pin, &failure);
        return;
    }
    if (is_over(lane) && lane->muxes != NULL)
        context = (struct fl_tls_context *)(uintptr_t)lane->muxes->carrier->context;
    attach_all(lane, context);
    dial_for_the_rest(lane, context);
}

void proxy_lane_hold(struct proxy_lane *lane)
{
    proxy_cluster_run_ref(lane->cluster);
    lane->host->uses++;
}

void proxy_lane_let(struct proxy_lane *lane)
{
    struct proxy_cluster_run *cluster = lane->cluster;
    lane->host->uses--;
    proxy_host_release(cluster, lane->host);
    proxy_cluster_run_unref(cluster);
}

static void run(struct fl_hook *hook)
{
    struct proxy_lane *lane = FL_CONTAINER_OF(hook, struct proxy_lane, hook);
    if (lane->cluster->references == 0) /* it is on its way out, with nothing left here */
        return;
    proxy_lane_hold(lane);
    tell_late(lane);
    serve(lane);
    close_drained(lane);
    proxy_lane_let(lane);
}
