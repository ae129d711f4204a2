/* The event loop: epoll, timers, deferred destruction, end-of-turn hooks. One loop a thread; nothing here is shared.
 *
 * Rules, on one page:
 *  - A turn: wait; handle every event; run the timers that are due; run the hooks (flush lists); run what was deferred.
 *  - A callback may remove and destroy anything, itself included: memory that an event of this turn might still name
 *    is released by fl_loop_defer(), which runs after the last event of the turn. What a deferred call defers in turn
 *    runs at the end of the next turn, which does not wait.
 *  - Sources and timers are embedded in their owners; the loop never allocates for them. (It holds one array of events
 *    of a fixed size.)
 *  - Interest is given once. The data path registers edge-triggered (EPOLLET) for both directions and never touches
 *    epoll again; control traffic may use level-triggered sources and fl_source_modify.
 *  - The clock is read once a turn (fl_loop_now_ns); a callback that runs for long reads its own.
 *  - Turns do not nest: a callback never calls fl_loop_turn or fl_loop_run.
 *  - Teardown: fl_loop_free runs what is deferred, then asserts that no source, timer or hook is registered.
 */
#ifndef FL_LOOP_LOOP_H
#define FL_LOOP_LOOP_H

#include "common/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct fl_loop;

struct fl_source {
    int fd; /* not owned: the owner closes it after fl_source_remove */
    void (*on_event)(struct fl_source *source, uint32_t events); /* events: EPOLL* bits that came */
    struct fl_loop *loop;                                        /* NULL while not registered */
};

struct fl_deferred {
    struct fl_deferred *next;
    void (*run)(struct fl_deferred *deferred); /* usually frees the object that it is embedded in */
};

/* A hook runs once at the end of every turn in which fl_hook_arm was called on it, after all events and timers, in the
 * order of arming: here connections flush what the turn collected. A hook may be armed again while hooks run: it then
 * runs in the same turn, at most 16 rounds, the rest in the next turn, which does not wait. */
struct fl_hook {
    void (*run)(struct fl_hook *hook);
    struct fl_hook *next;
    struct fl_hook **link; /* where it hangs; NULL while not armed */
};

int fl_loop_new(struct fl_loop **ret_loop) FL_MUST_CHECK; /* 0, -ENOMEM, -EMFILE … */
struct fl_loop *fl_loop_free(struct fl_loop *loop);       /* NULL is allowed; returns NULL */

/* Runs turns until fl_loop_stop; returns its code, or a negative errno of epoll_wait. */
int fl_loop_run(struct fl_loop *loop);
/* One turn, waiting at most timeout_ms (-1: for ever, 0: not at all), or less where a timer is due. For tests. 0, or a
 * negative errno of epoll_wait (a signal's EINTR is a turn without events, not an error). */
int fl_loop_turn(struct fl_loop *loop, int timeout_ms);
/* The turn that is running ends as usual. Called before fl_loop_run, it lets that return at once. */
void fl_loop_stop(struct fl_loop *loop, int code);

/* CLOCK_MONOTONIC as read at the start of this turn's event handling. */
uint64_t fl_loop_now_ns(const struct fl_loop *loop);
static inline uint64_t fl_loop_now_ms(const struct fl_loop *loop)
{
    return fl_loop_now_ns(loop) / 1000000;
}

/* events: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET … 0, or -errno of epoll_ctl (then nothing is registered and *source is
 * as it was). */
int fl_source_add(struct fl_loop *loop, struct fl_source *source, int fd, uint32_t events,
                  void (*on_event)(struct fl_source *source, uint32_t events)) FL_MUST_CHECK;
int fl_source_modify(struct fl_source *source, uint32_t events) FL_MUST_CHECK;
/* No callback comes after it, not even for an event that this turn has fetched already. Idempotent; a zeroed source is
 * fine. Asserts that the fd has not been closed before it. */
void fl_source_remove(struct fl_source *source);

void fl_loop_defer(struct fl_loop *loop, struct fl_deferred *deferred, void (*run)(struct fl_deferred *deferred));
void fl_hook_arm(struct fl_loop *loop, struct fl_hook *hook); /* idempotent; hook->run is set by its owner */
void fl_hook_disarm(struct fl_hook *hook);                    /* idempotent */

#endif
