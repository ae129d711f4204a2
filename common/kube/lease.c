#include "common/kube/lease.h"

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/kube/object.h"
#include "common/loop/timer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define RETRY_MS UINT64_C(1000)
#define BODY_MAX 4096
#define PATH_MAX_BYTES                                                                                                 \
    (sizeof("/apis/coordination.k8s.io/v1/namespaces//leases/") + FL_KUBE_NAMESPACE_MAX + FL_KUBE_NAME_MAX)

struct fl_kube_lease {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    struct fl_kube_election election;
    char name_space[FL_KUBE_NAMESPACE_MAX + 1], name[FL_KUBE_NAME_MAX + 1];
    struct fl_kube_exchange *exchange; /* at most one */
    struct fl_timer timer;             /* the next request */
    struct fl_timer expiry;            /* we lead until then, unless it is renewed */
    uint64_t start_ms;                 /* of the request under way */
    bool leads;                        /* as it was told */
    bool stopping;                     /* it is given up */
    bool dead;                         /* freed: the memory lives until the turn ends */
    struct fl_kube_election_told told;
    struct fl_deferred deferred;
    void (*on_change)(void *owner, bool leads);
    void (*on_trouble)(void *owner, const struct fl_err *err);
    void (*on_turn)(void *owner);
    void (*on_released)(void *owner, bool released, const struct fl_err *err);
    void *owner;
};

static void tick(struct fl_kube_lease *lease);
static void give_up(struct fl_kube_lease *lease);

bool fl_kube_lease_leads(const struct fl_kube_lease *lease)
{
    return !lease->stopping && fl_kube_election_holds(&lease->election, fl_boot_ms());
}

static void follow(struct fl_kube_lease *lease);

static void on_expiry(struct fl_timer *timer)
{
    follow(FL_CONTAINER_OF(timer, struct fl_kube_lease, expiry));
}

/* Tells what changed. The owner may have freed the lease then. */
static void follow(struct fl_kube_lease *lease)
{
    bool leads = fl_kube_lease_leads(lease);
    uint64_t now = fl_boot_ms(), until = lease->election.held_until_ms;
    if (leads)
        fl_timer_set(lease->loop, &lease->expiry, until > now ? until - now : 0, on_expiry);
    else
        fl_timer_cancel(&lease->expiry);
    if (leads == lease->leads)
        return;
    lease->leads = leads;
    lease->on_change(lease->owner, leads);
}

static void on_due(struct fl_timer *timer)
{
    tick(FL_CONTAINER_OF(timer, struct fl_kube_lease, timer));
}

static void tick_in(struct fl_kube_lease *lease, uint64_t ms)
{
    fl_timer_set(lease->loop, &lease->timer, ms, on_due);
}

static void finish(struct fl_kube_lease *lease, bool released, const struct fl_err *err)
{
    void (*on_released)(void *, bool, const struct fl_err *) = fl_take(lease->on_released);
    if (on_released != NULL)
        on_released(lease->owner, released, err);
}

static void trouble(struct fl_kube_lease *lease, const struct fl_err *err)
{
    fl_kube_election_lost(&lease->election);
    if (lease->stopping) {
        finish(lease, false, err);
        return;
    }
    uint64_t retry = fl_kube_lease_period_ms(lease) / 4;
    retry = retry < RETRY_MS ? retry : RETRY_MS;
    tick_in(lease, retry / 2 + fl_backoff_draw((uint32_t)retry));
    if (fl_kube_election_tells(&lease->told, err, fl_boot_ms()) && lease->on_trouble != NULL)
        lease->on_trouble(lease->owner, err);
}

/* The Lease in the answer, or told and tried again. */
static bool take_state(struct fl_kube_lease *lease, const struct fl_kube_answer *answer,
                       struct fl_kube_lease_state *state)
{
    struct fl_err err = {0};
    int result = fl_kube_answer_check(answer, &err);
    if (result == 0)
        result = fl_kube_lease_parse(answer->body, state, &err);
    if (result < 0)
        trouble(lease, &err);
    return result == 0;
}

static void on_read(void *owner, const struct fl_kube_answer *answer)
{
    struct fl_kube_lease *lease = owner;
    struct fl_kube_lease_state state = {.there = false};
    lease->exchange = NULL;
    if (lease->stopping) {
        give_up(lease);
        return;
    }
    if (answer->status != 404 && !take_state(lease, answer, &state))
        return;
    fl_kube_election_saw(&lease->election, &state, fl_boot_ms());
    if (fl_kube_election_next(&lease->election, fl_boot_ms()) == FL_KUBE_ELECTION_WAIT) {
        lease->told.text[0] = '\0'; /* reading alone says little where we shall write: the namespace may be missing */
        fl_kube_election_lost(&lease->election); /* to be read again */
        uint64_t period = fl_kube_lease_period_ms(lease);
        tick_in(lease, period / 2 + fl_backoff_draw((uint32_t)(period / 2)));
    } else {
        tick_in(lease, 0);
    }
    follow(lease);
}

static void on_write(void *owner, const struct fl_kube_answer *answer)
{
    struct fl_kube_lease *lease = owner;
    struct fl_kube_lease_state state;
    lease->exchange = NULL;
    if (answer->status == 409 && !lease->stopping) { /* somebody was quicker */
        fl_kube_election_lost(&lease->election);
        tick_in(lease, 50 + fl_backoff_draw(200));
        return;
    }
    if (!take_state(lease, answer, &state))
        return;
    lease->told.text[0] = '\0';
    fl_kube_election_won(&lease->election, &state, lease->start_ms, fl_boot_ms());
    if (lease->stopping) {
        give_up(lease);
        return;
    }
    tick_in(lease, fl_kube_lease_period_ms(lease));
    follow(lease);
}

static int send(struct fl_kube_lease *lease, const char *method, struct fl_span body,
                void (*on_done)(void *owner, const struct fl_kube_answer *answer),
                struct fl_kube_exchange **ret_exchange, struct fl_err *err)
{
    char path[PATH_MAX_BYTES];
    bool make = strcmp(method, "POST") == 0;
    snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/%s/leases%s%s", lease->name_space,
             make ? "" : "/", make ? "" : lease->name);
    const struct fl_kube_request request = {
        .method = method,
        .path = path,
        .content_type = strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : NULL,
        .body = body,
        .body_max = FL_KUBE_LEASE_MAX,
        .timeout_ms = fl_kube_lease_request_ms(lease),
        .on_done = on_done,
        .owner = lease,
    };
    lease->start_ms = fl_boot_ms();
    return fl_kube_send(lease->client, &request, ret_exchange, err);
}

static int send_write(struct fl_kube_lease *lease, bool release,
                      void (*on_done)(void *owner, const struct fl_kube_answer *answer),
                      struct fl_kube_exchange **ret_exchange, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf body;
    fl_buf_init(&body, BODY_MAX);
    int result = fl_kube_lease_print(&lease->election, lease->name, lease->name_space, fl_wall_us(), release, &body);
    if (result < 0)
        return fl_err_errno(err, result, "the Lease");
    return send(lease, lease->election.seen.there ? "PATCH" : "POST", fl_buf_span(&body), on_done, ret_exchange, err);
}

static void ask(struct fl_kube_lease *lease)
{
    struct fl_err err = {0};
    int result = 0;
    switch (fl_kube_election_next(&lease->election, fl_boot_ms())) {
    case FL_KUBE_ELECTION_READ:
    case FL_KUBE_ELECTION_WAIT:
        result = send(lease, "GET", (struct fl_span){NULL, 0}, on_read, &lease->exchange, &err);
        break;
    case FL_KUBE_ELECTION_MAKE:
    case FL_KUBE_ELECTION_TAKE:
    case FL_KUBE_ELECTION_RENEW:
        result = send_write(lease, false, on_write, &lease->exchange, &err);
        break;
    }
    if (result < 0)
        trouble(lease, &err);
}

static void tick(struct fl_kube_lease *lease)
{
    if (lease->on_turn != NULL)
        lease->on_turn(lease->owner);
    if (!lease->dead)
        follow(lease);
    if (lease->dead || lease->exchange != NULL)
        return;
    if (lease->stopping)
        give_up(lease);
    else
        ask(lease);
}

/* --- giving it up --- */

static void on_given_up(void *owner, const struct fl_kube_answer *answer)
{
    struct fl_kube_lease *lease = owner;
    struct fl_err err = {0};
    lease->exchange = NULL;
    fl_kube_election_lost(&lease->election);
    if (fl_kube_answer_check(answer, &err) < 0)
        finish(lease, false, &err);
    else
        finish(lease, true, NULL);
}

static bool may_give_up(const struct fl_kube_lease *lease)
{
    return lease->election.known && fl_kube_election_holds(&lease->election, fl_boot_ms());
}

/* What is not ours, or may not be, is left. */
static void give_up(struct fl_kube_lease *lease)
{
    struct fl_err err = {0};
    if (!may_give_up(lease))
        finish(lease, false, NULL);
    else if (send_write(lease, true, on_given_up, &lease->exchange, &err) < 0)
        finish(lease, false, &err);
}

void fl_kube_lease_release(struct fl_kube_lease *lease,
                           void (*on_released)(void *owner, bool released, const struct fl_err *err))
{
    lease->stopping = true;
    lease->on_released = on_released;
    tick_in(lease, 0); /* with a request under way its answer tells the version to give up, in some seconds at most */
}

/* --- its life --- */

static int copy_options(struct fl_kube_lease *lease, const struct fl_kube_lease_options *options, struct fl_err *err)
{
    unsigned seconds = options->seconds > 0 ? options->seconds : FL_KUBE_LEASE_SECONDS_DEFAULT;
    size_t identity = strlen(options->identity);
    if (!fl_is_dns_label(fl_span_str(options->name_space)))
        return fl_err_set(err, -EINVAL, "the Lease's namespace is not a name: %s", options->name_space);
    if (!fl_is_dns_subdomain(fl_span_str(options->name)))
        return fl_err_set(err, -EINVAL, "the Lease's name is none: %s", options->name);
    if (identity == 0 || identity >= FL_KUBE_HOLDER_MAX)
        return fl_err_set(err, -EINVAL, "the holder's identity: expected 1 to %d bytes", FL_KUBE_HOLDER_MAX - 1);
    if (seconds < FL_KUBE_LEASE_SECONDS_MIN || seconds > FL_KUBE_LEASE_SECONDS_MAX)
        return fl_err_set(err, -EINVAL, "the Lease's duration: expected seconds from %d to %d",
                          FL_KUBE_LEASE_SECONDS_MIN, FL_KUBE_LEASE_SECONDS_MAX);
    snprintf(lease->name_space, sizeof(lease->name_space), "%s", options->name_space);
    snprintf(lease->name, sizeof(lease->name), "%s", options->name);
    memcpy(lease->election.identity, options->identity, identity + 1);
    lease->election.seconds = seconds;
    lease->election.yields = options->yields;
    return 0;
}

int fl_kube_lease_new(struct fl_loop *loop, struct fl_kube_client *client, const struct fl_kube_lease_options *options,
                      struct fl_kube_lease **ret_lease, struct fl_err *err)
{
    struct fl_kube_lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL)
        return fl_err_set(err, -ENOMEM, "the Lease: out of memory");
    int result = copy_options(lease, options, err);
    if (result < 0) {
        free(lease);
        return result;
    }
    lease->loop = loop;
    lease->client = client;
    lease->on_change = options->on_change;
    lease->on_trouble = options->on_trouble;
    lease->on_turn = options->on_turn;
    lease->owner = options->owner;
    tick_in(lease, 0);
    *ret_lease = lease;
    return 0;
}

static void free_later(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct fl_kube_lease, deferred));
}

static void ignore(void *owner, const struct fl_kube_answer *answer)
{
    (void)owner;
    (void)answer;
}

struct fl_kube_lease *fl_kube_lease_free(struct fl_kube_lease *lease)
{
    struct fl_err err = {0};
    if (lease == NULL)
        return NULL;
    lease->exchange = fl_kube_cancel(lease->exchange);
    fl_timer_cancel(&lease->timer);
    fl_timer_cancel(&lease->expiry);
    if (may_give_up(lease) && send_write(lease, true, ignore, NULL, &err) < 0) {
        /* it runs out by itself */
    }
    lease->dead = true;
    fl_loop_defer(lease->loop, &lease->deferred, free_later);
    return NULL;
}

const char *fl_kube_lease_holder(const struct fl_kube_lease *lease)
{
    return lease->election.seen.holder;
}

uint64_t fl_kube_lease_period_ms(const struct fl_kube_lease *lease)
{
    return fl_kube_election_period_ms(&lease->election);
}

unsigned fl_kube_lease_request_ms(const struct fl_kube_lease *lease)
{
    return fl_kube_election_request_ms(&lease->election);
}

void fl_kube_lease_identity(const char *fallback_host, char identity[FL_KUBE_HOLDER_MAX])
{
    char host[FL_KUBE_HOLDER_MAX - 20] = "";
    uint64_t number = 0;
    if (gethostname(host, sizeof(host) - 1) < 0 || host[0] == '\0')
        snprintf(host, sizeof(host), "%s", fallback_host);
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        number = (uint64_t)fl_wall_us();
    snprintf(identity, FL_KUBE_HOLDER_MAX, "%s_%016" PRIx64, host, number);
}
