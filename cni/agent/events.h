/* Events, from a fact to the API server: what event.h considers worth posting goes to post.h, and what becomes of each
 * is counted. Where there is nobody to post to (no pod of a cluster, no token), everything is counted as off, and the
 * log has said so once. Never fails, never waits. */
#ifndef CNI_AGENT_EVENTS_H
#define CNI_AGENT_EVENTS_H

#include "cni/agent/event.h"
#include "cni/agent/post.h"
#include "cni/agent/stats.h"

struct cni_events {
    struct fl_loop *loop;
    struct cni_stats *stats;
    struct cni_post *post; /* NULL: off */
    struct fl_span node;
    struct cni_event_memory memory;
    struct cni_post_access access;
    uint64_t refusal_ms; /* of the last line in the log; 0: none yet */
};

/* `node` may be NULL. Not wanted: off, without a word. Everything else is borrowed. */
void cni_events_init(struct cni_events *events, struct fl_loop *loop, struct cni_stats *stats, const char *node,
                     const struct cni_post_access *access, bool wanted);
void cni_events_done(struct cni_events *events);

void cni_events_tell(struct cni_events *events, const struct cni_event *event);
/* The same about the node; nothing where its name is not known. */
void cni_events_tell_node(struct cni_events *events, enum cni_event_reason reason, const char *note);

#endif
