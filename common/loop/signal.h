/* Signals as events of the loop (signalfd). Blocks them for the whole process: call it before a thread is started.
 * Also ignores SIGPIPE. A child that this process starts inherits both: it unblocks what it wants to hear. The callback
 * may call fl_signals_done and free the structure.
 */
#ifndef FL_LOOP_SIGNAL_H
#define FL_LOOP_SIGNAL_H

#include "common/loop/loop.h"

struct fl_signals {
    struct fl_source source;
    void (*on_signal)(struct fl_signals *signals, int number);
};

/* `numbers` ends with 0: (const int[]){SIGTERM, SIGINT, SIGHUP, 0}. 0 or a negative errno. */
int fl_signals_init(struct fl_signals *signals, struct fl_loop *loop, const int *numbers,
                    void (*on_signal)(struct fl_signals *signals, int number)) FL_MUST_CHECK;
void fl_signals_done(struct fl_signals *signals); /* the signals stay blocked; idempotent, a zeroed one is fine */

#endif
