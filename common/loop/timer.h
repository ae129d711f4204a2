/* Timers of a loop: a wheel of 4 ms ticks; set, re-set and cancel are O(1); a timer fires up to one tick late (and what
 * the kernel and the turn's other work add), never early. Timers fire in the order of their ticks; within a tick the
 * order is open. Embedded in its owner; one-shot: a callback that wants to run again sets the timer again. on_due may
 * free the timer and may set or cancel any other.
 *
 * The cheap way to keep an idle timeout: store the deadline in the object, let the timer fire at the old one and set it
 * again there, instead of moving it on every byte.
 */
#ifndef FL_LOOP_TIMER_H
#define FL_LOOP_TIMER_H

#include "common/loop/loop.h"

struct fl_timer {
    void (*on_due)(struct fl_timer *timer);
    struct fl_loop *loop; /* NULL while not set */
    uint64_t deadline_ms; /* on the clock of fl_loop_now_ms */
    struct fl_timer *next;
    struct fl_timer **link;
};

/* Fires in delay_ms from fl_loop_now_ns (between turns: from now), at the earliest in the next turn; without a
 * delay in the next turn, which does not wait. A timer that is set is moved, also to another loop of this thread. Any
 * delay is allowed; past some centuries it means "never". */
void fl_timer_set(struct fl_loop *loop, struct fl_timer *timer, uint64_t delay_ms,
                  void (*on_due)(struct fl_timer *timer));
void fl_timer_cancel(struct fl_timer *timer); /* idempotent; a zeroed timer may be cancelled */
static inline bool fl_timer_is_set(const struct fl_timer *timer)
{
    return timer->loop != NULL;
}

#endif
