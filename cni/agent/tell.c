#include "cni/agent/tell.h"

#include "common/base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define NS_PER_MS UINT64_C(1000000)

void cni_tell_init(struct cni_tell *tell, struct fl_loop *loop, struct cni_stats *stats, struct cni_events *events)
{
    *tell = (struct cni_tell){.loop = loop, .stats = stats, .events = events};
}

void cni_tell_done(struct cni_tell *tell)
{
    fl_timer_cancel(&tell->timer);
    fl_timer_cancel(&tell->later);
}

/* The installation. */

static enum cni_event_reason node_reason(enum cni_install_state state)
{
    switch (state) {
    case CNI_INSTALL_WAITING:
        return CNI_EVENT_NODE_WAITING;
    case CNI_INSTALL_UNREADABLE:
    case CNI_INSTALL_UNFIT:
        return CNI_EVENT_NODE_UNREADABLE;
    case CNI_INSTALL_EXCLUSIVE:
        return CNI_EVENT_NODE_EXCLUSIVE;
    case CNI_INSTALL_INSTALLED:
    case CNI_INSTALL_STANDBY:
    case CNI_INSTALL_REMOVED:
    case CNI_INSTALL_FAILED:
    default:
        return CNI_EVENT_NODE_FAILED;
    }
}

static void grieve(struct cni_tell *tell)
{
    tell->grieved = true;
    fl_timer_cancel(&tell->timer);
    cni_events_tell_node(tell->events, node_reason(tell->report.state), tell->report.reason);
}

static void on_patience_over(struct fl_timer *timer)
{
    grieve(FL_CONTAINER_OF(timer, struct cni_tell, timer));
}

static void tell_installed(struct cni_tell *tell, const struct cni_install_report *report)
{
    char note[FL_ERR_TEXT_MAX];
    snprintf(note, sizeof(note), "fairlead-cni is in %s", report->conflist);
    fl_timer_cancel(&tell->timer);
    if (tell->grieved)
        cni_events_tell_node(tell->events, CNI_EVENT_NODE_INSTALLED, note);
    else if (tell->installed && (report->conflist_written || report->payload_written))
        cni_events_tell_node(tell->events, CNI_EVENT_NODE_RESTORED, note);
    tell->grieved = false;
    tell->installed = true;
}

static void tell_trouble(struct cni_tell *tell, enum cni_install_state state)
{
    bool somebody_elses = state == CNI_INSTALL_STANDBY || state == CNI_INSTALL_REMOVED;
    bool at_once = state == CNI_INSTALL_FAILED || state == CNI_INSTALL_EXCLUSIVE;
    if (somebody_elses)
        fl_timer_cancel(&tell->timer);
    else if (at_once)
        grieve(tell);
    else if (!tell->grieved && !fl_timer_is_set(&tell->timer))
        fl_timer_set(tell->loop, &tell->timer, CNI_TELL_PATIENCE_MS, on_patience_over);
}

static const char *written_text(const struct cni_install_report *report)
{
    if (report->payload_written)
        return report->conflist_written ? "plugin and configuration" : "plugin";
    return report->conflist_written ? "configuration" : "nothing";
}

static bool may_say(struct cni_tell *tell)
{
    uint64_t now = fl_loop_now_ms(tell->loop), refilled = (now - tell->filled_ms) / CNI_TELL_LINE_MS;
    tell->spent -= refilled < tell->spent ? (unsigned)refilled : tell->spent;
    tell->filled_ms += refilled * CNI_TELL_LINE_MS;
    if (tell->spent == CNI_TELL_LINES_BURST)
        return false;
    tell->spent++;
    return true;
}

static void on_later(struct fl_timer *timer);

static void say(struct cni_tell *tell)
{
    const struct cni_install_report *report = &tell->report;
    bool good = report->state == CNI_INSTALL_INSTALLED;
    if (!may_say(tell)) {
        tell->unsaid++;
        if (!fl_timer_is_set(&tell->later))
            fl_timer_set(tell->loop, &tell->later, CNI_TELL_LINE_MS, on_later);
        return;
    }
    fl_log(good ? FL_LOG_INFO : FL_LOG_WARNING, good ? "installed" : "not installed",
           FL_LOG_STR("state", cni_install_state_name(report->state)), FL_LOG_STR("conflist", report->conflist),
           FL_LOG_STR("written", written_text(report)), FL_LOG_STR("reason", report->reason),
           FL_LOG_NUM("duration_us", report->duration_ns / 1000), FL_LOG_NUM("unsaid", tell->unsaid));
    tell->unsaid = 0;
    fl_timer_cancel(&tell->later);
}

static void on_later(struct fl_timer *timer)
{
    struct cni_tell *tell = FL_CONTAINER_OF(timer, struct cni_tell, later);
    tell->unsaid--; /* the last one, which is told now */
    say(tell);
}

void cni_tell_install(struct cni_tell *tell, const struct cni_install_report *report)
{
    cni_stats_install(tell->stats, report);
    tell->report = *report;
    tell->reported = true;
    say(tell);
    if (report->state == CNI_INSTALL_INSTALLED)
        tell_installed(tell, report);
    else
        tell_trouble(tell, report->state);
}

/* Sidecars. */

static const struct {
    const char *message;
    enum fl_log_level level;
    enum cni_event_reason event;
} kinds[] = {
    [CNI_REPAIR_CAPTURED] = {"captured a pod that had started uncaptured", FL_LOG_WARNING, CNI_EVENT_CAPTURED},
    [CNI_REPAIR_RESTORED] = {"restored a pod's capture that had been changed", FL_LOG_WARNING, CNI_EVENT_RESTORED},
    [CNI_REPAIR_REFUSED] = {"a process claims to be a sidecar, and is not believed", FL_LOG_WARNING, CNI_EVENT_REFUSED},
    [CNI_REPAIR_FAILED] = {"a pod could not be captured; it is tried again", FL_LOG_ERROR, CNI_EVENT_FAILED},
    [CNI_REPAIR_CONFLICT] = {"a sidecar wants another capture than the one in force; nothing was changed",
                             FL_LOG_WARNING, CNI_EVENT_CONFLICT},
};

static void tell_event(struct cni_tell *tell, const struct cni_repair_report *report)
{
    char note[FL_ERR_TEXT_MAX];
    if (!report->proven) {
        fl_counter_add(tell->stats->events[CNI_STATS_EVENT_UNPROVEN], 1);
        return;
    }
    if (report->reason[0] != '\0')
        snprintf(note, sizeof(note), "%s: %s", kinds[report->kind].message, report->reason);
    else
        snprintf(note, sizeof(note), "%s (%" PRIu64 " ms)", kinds[report->kind].message,
                 report->duration_ns / NS_PER_MS);
    const struct cni_event event = {
        .reason = kinds[report->kind].event,
        .name_space = fl_span_str(report->pod_namespace),
        .name = fl_span_str(report->pod),
        .uid = fl_span_str(report->pod_uid),
        .note = fl_span_str(note),
    };
    if (event.name_space.len > 0)
        cni_events_tell(tell->events, &event);
}

void cni_tell_repair(struct cni_tell *tell, const struct cni_repair_report *report)
{
    fl_log(kinds[report->kind].level, kinds[report->kind].message,
           FL_LOG_STR("kind", cni_repair_kind_name(report->kind)), FL_LOG_STR("namespace", report->pod_namespace),
           FL_LOG_STR("pod", report->pod), FL_LOG_STR("uid", report->pod_uid),
           FL_LOG_STR("proven", report->proven ? "yes" : "no"), FL_LOG_NUM("pid", report->pid),
           FL_LOG_NUM("netns", report->netns), FL_LOG_STR("reason", report->reason),
           FL_LOG_NUM("duration_ms", report->duration_ns / NS_PER_MS));
    cni_stats_repair(tell->stats, report);
    tell_event(tell, report);
}
