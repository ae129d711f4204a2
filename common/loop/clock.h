/* What timer.c needs of the loop. Private to this folder. */
#ifndef FL_LOOP_CLOCK_H
#define FL_LOOP_CLOCK_H

#include "common/loop/loop.h"

struct fl_wheel;

struct fl_wheel *fl_loop_wheel(struct fl_loop *loop);

/* fl_loop_now_ns; between turns (set-up, tests) the clock is read anew, because nothing else would. */
uint64_t fl_loop_fresh_ns(struct fl_loop *loop);

#endif
