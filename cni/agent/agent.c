#include "cni/agent/agent.h"

#include "cni/agent/privilege.h"
#include "cni/agent/serve.h"
#include "cni/agent/tell.h"
#include "cni/install/platform.h"
#include "common/loop/signal.h"

#include <errno.h>
#include <signal.h>

#define REMOVE_AGAIN_MS 5000 /* with --stay */
#define LISTEN_AGAIN_MS 2000

struct agent {
    const struct cni_agent_options *options;
    struct cni_install_settings settings;
    struct fl_loop *loop;
    struct fl_signals signals;
    struct cni_stats stats;
    struct cni_events events;
    struct cni_tell tell;
    struct cni_watch *watch;
    struct cni_repair *repair; /* NULL: off */
    struct cni_serve *serve;   /* NULL: nothing is served, or not yet */
    struct fl_timer listen_again;
    int listen_trouble;           /* what was told about it */
    struct fl_timer remove_again; /* with --stay, until everything is gone */
    struct fl_err left;           /* why it is not gone */
    struct fl_err repair_off;     /* why repair is off */
};

/* Pages. */

static int write_metrics(void *owner, struct fl_buf *body)
{
    struct agent *agent = owner;
    struct cni_repair_counts counts;
    if (agent->repair != NULL)
        cni_repair_count(agent->repair, &counts);
    return cni_stats_expose(&agent->stats, agent->watch != NULL ? cni_watch_counts(agent->watch) : NULL,
                            agent->repair != NULL ? &counts : NULL, body);
}

static int write_removed(const struct agent *agent, struct fl_buf *body, bool *ret_ready)
{
    *ret_ready = agent->left.code == 0;
    return *ret_ready ? fl_buf_append_str(body, "uninstalled\n")
                      : fl_buf_printf(body, "not uninstalled: %s\n", agent->left.text);
}

static int write_ready(void *owner, struct fl_buf *body, bool *ret_ready)
{
    const struct agent *agent = owner;
    const struct cni_install_report *report = &agent->tell.report;
    if (agent->options->uninstall)
        return write_removed(agent, body, ret_ready);
    *ret_ready = agent->tell.reported && report->state == CNI_INSTALL_INSTALLED;
    int result = *ret_ready ? fl_buf_printf(body, "installed in %s\n", report->conflist)
                 : agent->tell.reported
                     ? fl_buf_printf(body, "%s: %s\n", cni_install_state_name(report->state), report->reason)
                     : fl_buf_append_str(body, "nothing was looked at yet\n");
    return result == 0 && agent->repair == NULL ? fl_buf_printf(body, "repair is off: %s\n", agent->repair_off.text)
                                                : result;
}

static void count_connection(void *owner, enum cni_serve_end end)
{
    struct agent *agent = owner;
    fl_counter_add(agent->stats.connections[end], 1);
}

static const struct cni_serve_ops pages = {write_metrics, write_ready, count_connection};

/* A port that another one holds (an agent that is about to end, say) is no reason not to install and repair. */
static int start_pages(struct agent *agent, struct fl_err *err);

static void on_listen_again(struct fl_timer *timer)
{
    struct agent *agent = FL_CONTAINER_OF(timer, struct agent, listen_again);
    if (start_pages(agent, NULL) < 0)
        fl_loop_stop(agent->loop, -EINVAL);
}

static int start_pages(struct agent *agent, struct fl_err *err)
{
    struct fl_err trouble = {0};
    if (agent->options->listen == NULL)
        return 0;
    int result = cni_serve_new(agent->loop, agent->options->listen, &pages, agent, &agent->serve, &trouble);
    if (result == -EINVAL)
        return fl_err_set(err, result, "--listen: %s", trouble.text);
    if (result < 0) {
        if (agent->listen_trouble != result)
            fl_log(FL_LOG_ERROR, "no metrics and probes are served; it is tried again",
                   FL_LOG_STR("reason", trouble.text));
        fl_timer_set(agent->loop, &agent->listen_again, LISTEN_AGAIN_MS, on_listen_again);
    } else if (agent->listen_trouble != 0) {
        fl_log(FL_LOG_INFO, "metrics and probes are served", FL_LOG_STR("address", agent->options->listen));
    }
    agent->listen_trouble = result;
    return 0;
}

/* The parts. */

static void on_install(void *owner, const struct cni_install_report *report)
{
    struct agent *agent = owner;
    cni_tell_install(&agent->tell, report);
}

static void on_repair(void *owner, const struct cni_repair_report *report)
{
    struct agent *agent = owner;
    cni_tell_repair(&agent->tell, report);
}

static int start_watch(struct agent *agent, struct fl_err *err)
{
    return cni_watch_new(agent->loop, &agent->settings, on_install, agent, &agent->watch, err);
}

/* Off is no reason not to install. */
static void start_repair(struct agent *agent)
{
    struct cni_repair_settings settings = {.proc = agent->options->proc, .on_report = on_repair, .owner = agent};
    char missing[CNI_PRIVILEGE_TEXT_MAX];
    (void)cni_backend_parse(fl_span_str(agent->options->backend), &settings.backend); /* options.c took it */
    cni_privilege_missing(cni_privilege_effective(), settings.backend == CNI_BACKEND_IPTABLES, missing);
    if (!agent->options->repair)
        fl_err_set(&agent->repair_off, -ECANCELED, "--no-repair");
    else if (!cni_privilege_sees_machine())
        fl_err_set(&agent->repair_off, -EPERM,
                   "the node's processes are not seen: the pod needs hostPID (%s is of its own)", settings.proc);
    else if (missing[0] != '\0')
        fl_err_set(&agent->repair_off, -EPERM, "capabilities are missing: %s", missing);
    else if (cni_repair_new(agent->loop, &settings, &agent->repair, &agent->repair_off) == 0)
        fl_log(FL_LOG_INFO, "repair is on", FL_LOG_STR("scans_because", cni_repair_scan_reason(agent->repair)));
    if (agent->repair == NULL)
        fl_log(agent->options->repair ? FL_LOG_WARNING : FL_LOG_INFO, "repair is off",
               FL_LOG_STR("reason", agent->repair_off.text));
    if (cni_privilege_has_own_network(settings.proc))
        fl_log(FL_LOG_WARNING, "this pod depends on the plugins that it installs",
               FL_LOG_STR("reason", "its network is not the node's: hostNetwork is missing"));
}

static void look_again(struct agent *agent)
{
    struct fl_err err = {0};
    fl_log_message(FL_LOG_INFO, "looking at everything again");
    if (agent->repair != NULL)
        cni_repair_look(agent->repair);
    if (agent->watch == NULL)
        return;
    agent->watch = cni_watch_free(agent->watch);
    if (start_watch(agent, &err) < 0) {
        fl_log(FL_LOG_ERROR, "ending", FL_LOG_STR("reason", err.text));
        fl_loop_stop(agent->loop, err.code);
    }
}

static void on_signal(struct fl_signals *signals, int number)
{
    struct agent *agent = FL_CONTAINER_OF(signals, struct agent, signals);
    if (number == SIGHUP) {
        look_again(agent);
        return;
    }
    fl_log(FL_LOG_INFO, "ending", FL_LOG_NUM("signal", number));
    fl_loop_stop(agent->loop, 0);
}

/* Uninstalling. */

static void remove_all(struct agent *agent)
{
    agent->left = (struct fl_err){0};
    if (cni_install_remove(&agent->settings, agent->options->grace_ms, &agent->left) == 0)
        fl_log(FL_LOG_INFO, "uninstalled", FL_LOG_STR("conf_dir", agent->settings.conf_dir),
               FL_LOG_STR("bin_dir", agent->settings.payload.bin_dir));
    else
        fl_log(FL_LOG_ERROR, "not uninstalled", FL_LOG_STR("reason", agent->left.text));
}

static void on_remove_again(struct fl_timer *timer)
{
    struct agent *agent = FL_CONTAINER_OF(timer, struct agent, remove_again);
    remove_all(agent);
    if (agent->left.code != 0)
        fl_timer_set(agent->loop, timer, REMOVE_AGAIN_MS, on_remove_again);
}

/* Life. */

static int start(struct agent *agent, struct fl_err *err)
{
    const struct cni_agent_options *options = agent->options;
    int result = fl_loop_new(&agent->loop);
    if (result < 0)
        return fl_err_errno(err, result, "event loop");
    result = fl_signals_init(&agent->signals, agent->loop, (const int[]){SIGTERM, SIGINT, SIGHUP, 0}, on_signal);
    if (result < 0)
        return fl_err_errno(err, result, "signals");
    result = cni_stats_init(&agent->stats);
    if (result < 0)
        return fl_err_errno(err, result, "metrics");
    const struct cni_post_access access = {getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT"),
                                           options->account};
    cni_events_init(&agent->events, agent->loop, &agent->stats, options->node, &access,
                    options->events && !options->uninstall);
    cni_tell_init(&agent->tell, agent->loop, &agent->stats, &agent->events);
    result = start_pages(agent, err);
    if (result < 0)
        return result;
    if (options->uninstall) {
        on_remove_again(&agent->remove_again);
        return 0;
    }
    start_repair(agent);
    return start_watch(agent, err);
}

static void end(struct agent *agent)
{
    fl_timer_cancel(&agent->remove_again);
    fl_timer_cancel(&agent->listen_again);
    cni_serve_free(agent->serve);
    cni_watch_free(agent->watch);
    cni_repair_free(agent->repair);
    cni_tell_done(&agent->tell);
    cni_events_done(&agent->events);
    cni_stats_done(&agent->stats);
    fl_signals_done(&agent->signals);
    fl_loop_free(agent->loop);
}

static void settings_of(const struct cni_agent_options *options, struct cni_install_settings *settings)
{
    *settings = (struct cni_install_settings){
        .payload = {.source = options->payload, .bin_dir = options->bin_dir},
        .conf_dir = options->conf_dir,
        .conflist = options->conflist,
        .mode = options->mode,
        .backend = options->backend,
    };
}

int cni_agent_run(const struct cni_agent_options *options, struct fl_err *err)
{
    struct agent agent = {.options = options};
    settings_of(options, &agent.settings);
    if (options->uninstall && !options->stay) {
        int removed = cni_install_remove(&agent.settings, options->grace_ms, err);
        if (removed == 0)
            fl_log(FL_LOG_INFO, "uninstalled", FL_LOG_STR("conf_dir", options->conf_dir),
                   FL_LOG_STR("bin_dir", options->bin_dir));
        return removed;
    }
    int result = start(&agent, err);
    if (result == 0) {
        fl_log(FL_LOG_INFO, "started", FL_LOG_STR("version", FL_VERSION), FL_LOG_STR("conf_dir", options->conf_dir),
               FL_LOG_STR("bin_dir", options->bin_dir), FL_LOG_STR("mode", cni_install_mode_name(options->mode)),
               FL_LOG_STR("backend", options->backend), FL_LOG_STR("node", options->node));
        result = fl_loop_run(agent.loop);
        if (result < 0)
            fl_err_errno(err, result, "event loop");
    }
    end(&agent);
    return result;
}
