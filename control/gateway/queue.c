#include "control/gateway/job.h"

#define DRIFT_MS     1000   /* the second time in a row, doubling */
#define DRIFT_FORGET 600000 /* so long without: none in a row */

uint64_t deploy_now(const struct control_deploy *deploy)
{
    return fl_loop_now_ms(deploy->loop);
}

/* -- the queue -------------------------------------------------------------------------------------------------------
 */

void deploy_queue_put(struct deploy_entry *entry)
{
    struct control_deploy *deploy = entry->deploy;
    if (entry->place == DEPLOY_ACTIVE)
        entry->again = true;
    if (entry->place != DEPLOY_IDLE)
        return;
    fl_timer_cancel(&entry->timer);
    entry->next = NULL;
    entry->link = deploy->last;
    *deploy->last = entry;
    deploy->last = &entry->next;
    deploy->queued++;
    entry->place = DEPLOY_QUEUED;
    deploy_pump_soon(deploy, 0);
}

void deploy_queue_take(struct deploy_entry *entry)
{
    struct control_deploy *deploy = entry->deploy;
    *entry->link = entry->next;
    if (entry->next != NULL)
        entry->next->link = entry->link;
    else
        deploy->last = entry->link;
    entry->next = NULL;
    entry->link = NULL;
    deploy->queued--;
    entry->place = DEPLOY_IDLE;
}

static void on_entry_timer(struct fl_timer *timer)
{
    deploy_queue_put(FL_CONTAINER_OF(timer, struct deploy_entry, timer));
}

static void look_in(struct deploy_entry *entry, uint64_t ms)
{
    if (entry->place == DEPLOY_IDLE)
        fl_timer_set(entry->deploy->loop, &entry->timer, ms, on_entry_timer);
}

bool deploy_is_synced(const struct control_deploy *deploy)
{
    for (size_t i = 0; i < FL_COUNT(deploy->synced); i++)
        if (!deploy->synced[i])
            return false;
    return true;
}

static bool take_token(struct control_deploy *deploy)
{
    uint64_t now = deploy_now(deploy);
    deploy->tokens += (double)(now - deploy->tokens_ms) * CONTROL_DEPLOY_RATE / 1000.0;
    deploy->tokens_ms = now;
    if (deploy->tokens > CONTROL_DEPLOY_RATE)
        deploy->tokens = CONTROL_DEPLOY_RATE;
    if (deploy->tokens < 1)
        return false;
    deploy->tokens--;
    return true;
}

static void work_on(struct deploy_entry *entry)
{
    struct control_deploy *deploy = entry->deploy;
    deploy_queue_take(entry);
    entry->drifting = false;
    if (deploy_judge(entry) == DEPLOY_NOT_OURS) {
        entry->refused = entry->deployed = false;
        return;
    }
    entry->place = DEPLOY_ACTIVE;
    entry->again = false;
    deploy->active++;
    if (deploy_job_start(entry) < 0)
        deploy_finished(entry, DEPLOY_BACKOFF_MS);
}

static void on_pump(struct fl_timer *timer)
{
    struct control_deploy *deploy = FL_CONTAINER_OF(timer, struct control_deploy, pump);
    uint64_t now = deploy_now(deploy);
    while (deploy->first != NULL && deploy->active < CONTROL_DEPLOY_AT_ONCE && deploy->paused_until_ms <= now) {
        if (deploy_judge(deploy->first) != DEPLOY_NOT_OURS && !take_token(deploy)) {
            deploy_pump_soon(deploy, 1000 / CONTROL_DEPLOY_RATE);
            return;
        }
        work_on(deploy->first);
    }
    if (deploy->first != NULL && deploy->paused_until_ms > now)
        deploy_pump_soon(deploy, deploy->paused_until_ms - now);
}

void deploy_pump_soon(struct control_deploy *deploy, uint64_t ms)
{
    if (deploy->leads && deploy_is_synced(deploy) && deploy->first != NULL &&
        (!fl_timer_is_set(&deploy->pump) || ms > 0))
        fl_timer_set(deploy->loop, &deploy->pump, ms, on_pump);
}

void deploy_pause(struct control_deploy *deploy, unsigned retry_after)
{
    uint64_t delay = fl_backoff_next(&deploy->backoff),
             asked = (retry_after < 300 ? retry_after : 300) * UINT64_C(1000);
    deploy->paused_until_ms = deploy_now(deploy) + (delay > asked ? delay : asked);
}

/* -- drift -----------------------------------------------------------------------------------------------------------
 */

bool deploy_has_drifted(const struct deploy_child *child)
{
    return child->told != 0 && child->told != child->known &&
           (child->told_generation == 0 || child->told_generation != child->known_generation);
}

void deploy_follow_drift(struct deploy_entry *entry)
{
    uint64_t now = deploy_now(entry->deploy);
    if (entry->drifting || entry->place != DEPLOY_IDLE)
        return; /* one more word of the same, or it is looked at anyway */
    if (now - entry->drift_ms > DRIFT_FORGET)
        entry->drifts = 0;
    entry->drift_ms = now;
    entry->drifting = true;
    unsigned shift = entry->drifts < 10 ? entry->drifts : 10;
    entry->drifts++;
    uint64_t delay = shift > 0 ? (uint64_t)DRIFT_MS << (shift - 1) : 0;
    look_in(entry, delay < DEPLOY_BACKOFF_MAX_MS ? delay : DEPLOY_BACKOFF_MAX_MS);
}

void deploy_finished(struct deploy_entry *entry, uint64_t next_ms)
{
    struct control_deploy *deploy = entry->deploy;
    bool drifted = false;
    deploy->active--;
    entry->place = DEPLOY_IDLE;
    for (size_t i = 0; i < CONTROL_DEPLOY_CHILD_COUNT && entry->deployed; i++)
        drifted |= deploy_has_drifted(&entry->children[i]);
    if (entry->again)
        deploy_queue_put(entry);
    else if (drifted)
        deploy_follow_drift(entry);
    else
        look_in(entry, next_ms);
    entry->again = false;
    deploy_pump_soon(deploy, 0);
}
