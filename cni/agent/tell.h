/* What the installer and the repair report, told to everybody who wants to know: one line in the log, the metrics, and
 * an Event where somebody should look. */
#ifndef CNI_AGENT_TELL_H
#define CNI_AGENT_TELL_H

#include "cni/agent/events.h"
#include "common/loop/timer.h"

#define CNI_TELL_PATIENCE_MS 15000 /* a node that boots waits for its network: an Event only when it goes on */

#define CNI_TELL_LINES_BURST                                                                                           \
    32 /* about the installation, in the log: a writer may make it change a thousand times a second */
#define CNI_TELL_LINE_MS 1000 /* one more after that time; what was not told is counted, and the last is told */

struct cni_tell {
    struct fl_loop *loop;
    struct cni_stats *stats;
    struct cni_events *events;
    struct fl_timer timer;            /* runs while the installation is not in place, and nobody was told yet */
    struct cni_install_report report; /* the last one */
    struct fl_timer later;            /* runs while something is unsaid */
    uint64_t filled_ms;
    unsigned spent, unsaid; /* lines */
    bool reported, installed, grieved;
};

void cni_tell_init(struct cni_tell *tell, struct fl_loop *loop, struct cni_stats *stats, struct cni_events *events);
void cni_tell_done(struct cni_tell *tell);

void cni_tell_install(struct cni_tell *tell, const struct cni_install_report *report);
void cni_tell_repair(struct cni_tell *tell, const struct cni_repair_report *report);

#endif
