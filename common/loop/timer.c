#include "common/loop/timer.h"

#include "common/loop/clock.h"
#include "common/loop/wheel.h"

/* The loop's clock stands between two milliseconds: the deadline is rounded up, so that a timer is not early by the
 * fraction. */
static uint64_t deadline_ms(uint64_t now_ns, uint64_t delay_ms)
{
    uint64_t now_ms = now_ns / 1000000;
    if (delay_ms > UINT64_MAX - now_ms - 1)
        return UINT64_MAX;
    return now_ms + delay_ms + (now_ns % 1000000 != 0);
}

void fl_timer_set(struct fl_loop *loop, struct fl_timer *timer, uint64_t delay_ms,
                  void (*on_due)(struct fl_timer *timer))
{
    fl_timer_cancel(timer);
    timer->loop = loop;
    timer->on_due = on_due;
    timer->deadline_ms = deadline_ms(fl_loop_fresh_ns(loop), delay_ms);
    if (delay_ms > 0)
        fl_wheel_add(fl_loop_wheel(loop), timer);
    else
        fl_wheel_add_due(fl_loop_wheel(loop), timer);
}

void fl_timer_cancel(struct fl_timer *timer)
{
    if (timer->loop == NULL)
        return;
    fl_wheel_remove(fl_loop_wheel(timer->loop), timer);
    timer->loop = NULL;
}
