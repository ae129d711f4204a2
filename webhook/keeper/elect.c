#include "common/base/clock.h"
#include "common/base/log.h"
#include "webhook/keeper/heartbeat.h"
#include "webhook/keeper/state.h"

#define HEARTBEAT_MS UINT64_C(60000) /* beyond three periods: a slow API server is no reason to be restarted */

static void beat(void *owner)
{
    struct keeper *keeper = owner;
    struct fl_err err = {0};
    if (keeper->options->heartbeat == NULL)
        return;
    uint64_t stale_at_ms = fl_boot_ms() + 3 * fl_kube_lease_period_ms(keeper->lease) + HEARTBEAT_MS;
    bool failed = keeper_heartbeat_write(keeper->options->heartbeat, stale_at_ms, &err) < 0;
    if (failed && !keeper->heartbeat_failed)
        fl_log(FL_LOG_ERROR, "cannot write the heartbeat", FL_LOG_STR("error", err.text));
    keeper->heartbeat_failed = failed;
}

/* Tells what changed, and begins or ends to act. */
static void on_change(void *owner, bool leads)
{
    struct keeper *keeper = owner;
    if (leads) {
        fl_log(FL_LOG_INFO, "acquired the Lease", FL_LOG_STR("lease", keeper->options->lease),
               FL_LOG_STR("identity", keeper->options->identity));
        keeper_look_start(keeper);
    } else if (!keeper->stopping) {
        fl_log(FL_LOG_WARNING, "lost the Lease", FL_LOG_STR("lease", keeper->options->lease),
               FL_LOG_STR("holder", fl_kube_lease_holder(keeper->lease)));
        keeper_look_stop(keeper);
    }
}

static void on_trouble(void *owner, const struct fl_err *err)
{
    (void)owner;
    fl_log(FL_LOG_WARNING, "cannot keep the Lease", FL_LOG_STR("error", err->text));
}

int keeper_elect_start(struct keeper *keeper, struct fl_err *err)
{
    const struct fl_kube_lease_options options = {.name_space = keeper->options->name_space,
                                                  .name = keeper->options->lease,
                                                  .identity = keeper->options->identity,
                                                  .seconds = keeper->options->lease_seconds,
                                                  .on_change = on_change,
                                                  .on_trouble = on_trouble,
                                                  .on_turn = beat,
                                                  .owner = keeper};
    return fl_kube_lease_new(keeper->loop, keeper->client, &options, &keeper->lease, err);
}

static void on_released(void *owner, bool released, const struct fl_err *err)
{
    struct keeper *keeper = owner;
    if (err != NULL)
        fl_log(FL_LOG_WARNING, "the Lease was not released", FL_LOG_STR("error", err->text));
    else if (released)
        fl_log(FL_LOG_INFO, "released the Lease", FL_LOG_STR("lease", keeper->options->lease));
    fl_loop_stop(keeper->loop, 0);
}

void keeper_elect_stop(struct keeper *keeper)
{
    keeper->stopping = true;
    keeper_look_stop(keeper);
    fl_kube_lease_release(keeper->lease, on_released);
}
