/* The timer wheel below fl_loop: pure, no clock and no system call, so that tests drive its time. Private to this
 * folder.
 *
 * Seven levels of 64 slots; a tick is 4 ms. With ticks written in base 64, a timer hangs on the level of the highest
 * digit in which its tick differs from the present one, in the slot of its own digit there. So the lowest level that
 * holds anything holds the earliest timer, one bit map a level finds it, and a timer moves down a level at most six
 * times in its life: an idle process wakes for what is due and hardly ever for the wheel's own sake.
 */
#ifndef FL_LOOP_WHEEL_H
#define FL_LOOP_WHEEL_H

#include "common/loop/timer.h"

#define FL_WHEEL_TICK_MS 4
#define FL_WHEEL_BITS    6
#define FL_WHEEL_SLOTS   64
#define FL_WHEEL_LEVELS  7
/* The last tick that the levels can name, some 550 years after boot; what lies beyond is clamped to it. */
#define FL_WHEEL_TICK_MAX ((UINT64_C(1) << (FL_WHEEL_BITS * FL_WHEEL_LEVELS)) - 1)

struct fl_wheel {
    uint64_t tick;            /* where the wheel stands; timers of this tick and earlier are due */
    size_t count;             /* timers set, due ones included */
    struct fl_timer *due;     /* in order; run by the next fl_wheel_run */
    struct fl_timer *running; /* what fl_wheel_run has taken and not yet called */
    struct fl_timer **due_end;
    uint64_t occupied[FL_WHEEL_LEVELS]; /* a bit per slot that is not empty */
    struct fl_timer *slots[FL_WHEEL_LEVELS][FL_WHEEL_SLOTS];
};

void fl_wheel_init(struct fl_wheel *wheel, uint64_t now_ms);

/* timer->deadline_ms is set and the timer is in no list. */
void fl_wheel_add(struct fl_wheel *wheel, struct fl_timer *timer);
/* The same for a timer without a delay: the next fl_wheel_run calls it, whatever its deadline is. */
void fl_wheel_add_due(struct fl_wheel *wheel, struct fl_timer *timer);
void fl_wheel_remove(struct fl_wheel *wheel, struct fl_timer *timer);

/* Turns the wheel to now_ms and calls what is due, in the order of their ticks. Timers that become due while it runs
 * (set by the callbacks with no delay) wait for the next call. */
void fl_wheel_run(struct fl_wheel *wheel, uint64_t now_ms);

/* The time at which the wheel next has something to do (never later than the next deadline's tick; sometimes earlier,
 * to move timers down), UINT64_MAX where no timer is set. */
uint64_t fl_wheel_next_ms(const struct fl_wheel *wheel);

#endif
