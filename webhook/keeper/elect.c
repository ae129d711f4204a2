#include "webhook/keeper/state.h"

#include "common/base/log.h"
#include "webhook/keeper/heartbeat.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define RETRY_MS     1000u
#define HEARTBEAT_MS UINT64_C(60000) /* beyond three periods: a slow API server is no reason to be restarted */
#define BODY_MAX     4096

static void on_due(struct fl_timer *timer);

static void tick(struct keeper *keeper);
static void release(struct keeper *keeper);

static uint64_t draw(uint64_t below)
{
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        number = (uint64_t)fl_wall_us();
    return below > 0 ? number % below : 0;
}

static void beat(struct keeper *keeper)
{
    struct fl_err err = {0};
    if (keeper->options->heartbeat == NULL)
        return;
    uint64_t stale_at_ms = fl_boot_ms() + 3 * fl_kube_election_period_ms(&keeper->election) + HEARTBEAT_MS;
    bool failed = keeper_heartbeat_write(keeper->options->heartbeat, stale_at_ms, &err) < 0;
    if (failed && !keeper->heartbeat_failed)
        fl_log(FL_LOG_ERROR, "cannot write the heartbeat", FL_LOG_STR("error", err.text));
    keeper->heartbeat_failed = failed;
}

/* Tells what changed, and begins or ends to act. */
static void follow(struct keeper *keeper)
{
    bool holds = fl_kube_election_holds(&keeper->election, fl_boot_ms());
    if (holds == keeper->holds)
        return;
    keeper->holds = holds;
    if (holds) {
        fl_log(FL_LOG_INFO, "acquired the Lease", FL_LOG_STR("lease", keeper->options->lease),
               FL_LOG_STR("identity", keeper->options->identity));
        keeper_look_start(keeper);
    } else {
        fl_log(FL_LOG_WARNING, "lost the Lease", FL_LOG_STR("lease", keeper->options->lease),
               FL_LOG_STR("holder", keeper->election.seen.holder));
        keeper_look_stop(keeper);
    }
}

static void tick_in(struct keeper *keeper, uint64_t ms)
{
    uint64_t now = fl_boot_ms(), until = keeper->election.held_until_ms;
    if (keeper->holds && until > now && until - now < ms)
        ms = until - now; /* to stop in time */
    fl_timer_set(keeper->loop, &keeper->lease_timer, ms, on_due);
}

static void trouble(struct keeper *keeper, const struct fl_err *err)
{
    fl_kube_election_lost(&keeper->election);
    if (strcmp(err->text, keeper->lease_told.text) != 0)
        fl_log(FL_LOG_WARNING, "cannot keep the Lease", FL_LOG_STR("error", err->text));
    keeper->lease_told = *err;
    if (keeper->stopping) {
        fl_loop_stop(keeper->loop, 0);
        return;
    }
    uint64_t retry = fl_kube_election_period_ms(&keeper->election) / 4;
    retry = retry < RETRY_MS ? retry : RETRY_MS;
    tick_in(keeper, retry / 2 + draw(retry));
}

/* The Lease in the answer: 0 with it, or told and tried again. */
static bool take_lease(struct keeper *keeper, const struct fl_kube_answer *answer, struct fl_kube_lease_state *lease)
{
    struct fl_err err = {0};
    int result = fl_kube_answer_check(answer, &err);
    if (result == 0)
        result = fl_kube_lease_parse(answer->body, lease, &err);
    if (result < 0)
        trouble(keeper, &err);
    return result == 0;
}

static void on_read(void *owner, const struct fl_kube_answer *answer)
{
    struct keeper *keeper = owner;
    struct fl_kube_lease_state lease = {.there = false};
    keeper->lease_exchange = NULL;
    if (keeper->stopping) {
        release(keeper);
        return;
    }
    if (answer->status != 404 && !take_lease(keeper, answer, &lease))
        return;
    fl_kube_election_saw(&keeper->election, &lease, fl_boot_ms());
    follow(keeper);
    if (fl_kube_election_next(&keeper->election, fl_boot_ms()) != FL_KUBE_ELECTION_WAIT) {
        tick(keeper);
        return;
    }
    fl_kube_election_lost(&keeper->election); /* to be read again */
    uint64_t period = fl_kube_election_period_ms(&keeper->election);
    tick_in(keeper, period / 2 + draw(period / 2));
}

static void on_write(void *owner, const struct fl_kube_answer *answer)
{
    struct keeper *keeper = owner;
    struct fl_kube_lease_state lease;
    keeper->lease_exchange = NULL;
    if (answer->status == 409 && !keeper->stopping) { /* somebody was quicker */
        fl_kube_election_lost(&keeper->election);
        tick_in(keeper, 50 + draw(200));
        return;
    }
    if (!take_lease(keeper, answer, &lease))
        return;
    keeper->lease_told.text[0] = '\0';
    fl_kube_election_won(&keeper->election, &lease, keeper->lease_start_ms, fl_boot_ms());
    if (keeper->stopping) {
        release(keeper);
        return;
    }
    follow(keeper);
    tick_in(keeper, fl_kube_election_period_ms(&keeper->election));
}

static void send(struct keeper *keeper, const char *method, struct fl_span body,
                 void (*on_done)(void *owner, const struct fl_kube_answer *answer))
{
    char path[1024];
    struct fl_err err = {0};
    bool make = strcmp(method, "POST") == 0;
    snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/%s/leases%s%s", keeper->options->name_space,
             make ? "" : "/", make ? "" : keeper->options->lease);
    const struct fl_kube_request request = {
        .method = method,
        .path = path,
        .content_type = strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : NULL,
        .body = body,
        .body_max = FL_KUBE_LEASE_MAX,
        .timeout_ms = fl_kube_election_request_ms(&keeper->election),
        .on_done = on_done,
        .owner = keeper,
    };
    keeper->lease_start_ms = fl_boot_ms();
    if (fl_kube_send(keeper->client, &request, &keeper->lease_exchange, &err) < 0)
        trouble(keeper, &err);
}

static void send_write(struct keeper *keeper, bool release,
                       void (*on_done)(void *owner, const struct fl_kube_answer *answer))
{
    struct fl_buf body;
    fl_buf_init(&body, BODY_MAX);
    if (fl_kube_lease_print(&keeper->election, keeper->options->lease, keeper->options->name_space, fl_wall_us(),
                            release, &body) < 0) {
        struct fl_err err = {-ENOMEM, "out of memory"};
        trouble(keeper, &err);
    } else {
        send(keeper, keeper->election.seen.there ? "PATCH" : "POST", fl_buf_span(&body), on_done);
    }
    fl_buf_done(&body);
}

static void tick(struct keeper *keeper)
{
    beat(keeper);
    follow(keeper);
    if (keeper->lease_exchange != NULL || keeper->stopping)
        return;
    switch (fl_kube_election_next(&keeper->election, fl_boot_ms())) {
    case FL_KUBE_ELECTION_READ:
    case FL_KUBE_ELECTION_WAIT:
        send(keeper, "GET", (struct fl_span){NULL, 0}, on_read);
        break;
    case FL_KUBE_ELECTION_MAKE:
    case FL_KUBE_ELECTION_TAKE:
    case FL_KUBE_ELECTION_RENEW:
        send_write(keeper, false, on_write);
        break;
    }
}

static void on_due(struct fl_timer *timer)
{
    tick(FL_CONTAINER_OF(timer, struct keeper, lease_timer));
}

void keeper_elect_start(struct keeper *keeper)
{
    snprintf(keeper->election.identity, sizeof(keeper->election.identity), "%s", keeper->options->identity);
    keeper->election.seconds = keeper->options->lease_seconds;
    tick(keeper);
}

static void on_released(void *owner, const struct fl_kube_answer *answer)
{
    struct keeper *keeper = owner;
    struct fl_err err = {0};
    keeper->lease_exchange = NULL;
    if (fl_kube_answer_check(answer, &err) < 0)
        fl_log(FL_LOG_WARNING, "the Lease was not released", FL_LOG_STR("error", err.text));
    else
        fl_log(FL_LOG_INFO, "released the Lease", FL_LOG_STR("lease", keeper->options->lease));
    fl_loop_stop(keeper->loop, 0);
}

/* What is not ours, or may not be, is left. */
static void release(struct keeper *keeper)
{
    if (keeper->election.known && fl_kube_election_holds(&keeper->election, fl_boot_ms()))
        send_write(keeper, true, on_released);
    else
        fl_loop_stop(keeper->loop, 0);
}

void keeper_elect_stop(struct keeper *keeper)
{
    keeper->stopping = true;
    keeper_look_stop(keeper);
    fl_timer_cancel(&keeper->lease_timer);
    if (keeper->lease_exchange == NULL) /* else its answer tells the version to release, in some seconds at most */
        release(keeper);
}
