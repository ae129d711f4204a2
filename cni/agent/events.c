#include "cni/agent/events.h"

#include "common/base/log.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#define REFUSAL_MS 60000 /* between two lines about Events that are refused */

static void count(struct cni_events *events, enum cni_stats_event what)
{
    fl_counter_add(events->stats->events[what], 1);
}

static void on_done(void *owner, enum cni_post_result result, const char *reason)
{
    static const enum cni_stats_event kinds[] = {
        [CNI_POST_POSTED] = CNI_STATS_EVENT_POSTED,
        [CNI_POST_DROPPED] = CNI_STATS_EVENT_DROPPED,
        [CNI_POST_REFUSED] = CNI_STATS_EVENT_REFUSED,
        [CNI_POST_FAILED] = CNI_STATS_EVENT_FAILED,
    };
    struct cni_events *events = owner;
    uint64_t now = fl_loop_now_ms(events->loop);
    count(events, kinds[result]);
    if (result == CNI_POST_POSTED || (events->refusal_ms != 0 && now - events->refusal_ms < REFUSAL_MS))
        return;
    events->refusal_ms = now != 0 ? now : 1;
    fl_log(FL_LOG_WARNING, "an Event is not posted", FL_LOG_STR("reason", reason));
}

static void on_trouble(void *owner, const char *reason)
{
    (void)owner;
    fl_log(FL_LOG_INFO, "Events wait", FL_LOG_STR("reason", reason));
}

static const struct cni_post_ops post_ops = {on_done, on_trouble};

void cni_events_init(struct cni_events *events, struct fl_loop *loop, struct cni_stats *stats, const char *node,
                     const struct cni_post_access *access, bool wanted)
{
    struct fl_err err = {0};
    *events = (struct cni_events){.loop = loop, .stats = stats, .node = fl_span_str(node), .access = *access};
    if (wanted && cni_post_new(loop, &events->access, &post_ops, events, &events->post, &err) < 0)
        fl_log(FL_LOG_WARNING, "no Events are posted", FL_LOG_STR("reason", err.text));
    if (wanted && node == NULL)
        fl_log(FL_LOG_WARNING, "no Events about the node are posted",
               FL_LOG_STR("reason", "its name is not known: neither --node nor NODE_NAME is set"));
}

void cni_events_done(struct cni_events *events)
{
    events->post = cni_post_free(events->post);
}

/* Random, so that two agents do not give two Events one name. */
static uint64_t unique_number(void)
{
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number)) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        number = (uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec;
    }
    return number;
}

static void post(struct cni_events *events, const struct cni_event *event, const struct cni_event_telling *telling)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf body;
    char path[CNI_EVENT_PATH_MAX];
    fl_buf_init(&body, CNI_EVENT_BYTES_MAX);
    cni_event_path(event, path);
    if (cni_event_print(event, telling, events->node, unique_number(), &body) < 0)
        count(events, CNI_STATS_EVENT_FAILED);
    else
        cni_post_send(events->post, path, fl_buf_span(&body));
}

void cni_events_tell(struct cni_events *events, const struct cni_event *event)
{
    struct cni_event_telling telling;
    if (events->post == NULL) {
        count(events, CNI_STATS_EVENT_OFF);
        return;
    }
    switch (cni_event_consider(&events->memory, event, fl_loop_now_ms(events->loop), (int64_t)time(NULL), &telling)) {
    case CNI_EVENT_POST:
        post(events, event, &telling);
        return;
    case CNI_EVENT_REPEATED:
        count(events, CNI_STATS_EVENT_REPEATED);
        return;
    case CNI_EVENT_LIMITED:
        count(events, CNI_STATS_EVENT_LIMITED);
        return;
    case CNI_EVENT_BAD:
    default:
        count(events, CNI_STATS_EVENT_UNPROVEN);
        return;
    }
}

void cni_events_tell_node(struct cni_events *events, enum cni_event_reason reason, const char *note)
{
    if (events->node.len == 0)
        return;
    const struct cni_event event = {
        .reason = reason, .name = events->node, .uid = events->node, .note = fl_span_str(note)};
    cni_events_tell(events, &event);
}
