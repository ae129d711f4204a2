#include "cni/agent/agent.h"

#include "cni/agent/stats.h"
#include "common/loop/signal.h"

#include <signal.h>

struct agent {
    const struct cni_agent_options *options;
    struct fl_loop *loop;
    struct fl_signals signals;
    struct cni_stats stats;
};

static void on_signal(struct fl_signals *signals, int number)
{
    struct agent *agent = FL_CONTAINER_OF(signals, struct agent, signals);
    if (number == SIGHUP) {
        fl_log_message(FL_LOG_INFO, "looking at everything again");
        return;
    }
    fl_log(FL_LOG_INFO, "ending", FL_LOG_NUM("signal", number));
    fl_loop_stop(agent->loop, 0);
}

static int start(struct agent *agent, struct fl_err *err)
{
    int result = fl_loop_new(&agent->loop);
    if (result < 0)
        return fl_err_errno(err, result, "event loop");
    result = fl_signals_init(&agent->signals, agent->loop, (const int[]){SIGTERM, SIGINT, SIGHUP, 0}, on_signal);
    if (result < 0)
        return fl_err_errno(err, result, "signals");
    result = cni_stats_init(&agent->stats);
    return result < 0 ? fl_err_errno(err, result, "metrics") : 0;
}

static void end(struct agent *agent)
{
    cni_stats_done(&agent->stats);
    fl_signals_done(&agent->signals);
    fl_loop_free(agent->loop);
}

int cni_agent_run(const struct cni_agent_options *options, struct fl_err *err)
{
    struct agent agent = {.options = options};
    int result = start(&agent, err);
    if (result == 0) {
        fl_log(FL_LOG_INFO, "started", FL_LOG_STR("version", FL_VERSION), FL_LOG_STR("conf_dir", options->conf_dir),
               FL_LOG_STR("bin_dir", options->bin_dir), FL_LOG_STR("node", options->node));
        result = fl_loop_run(agent.loop);
        if (result < 0)
            fl_err_errno(err, result, "event loop");
    }
    end(&agent);
    return result;
}
