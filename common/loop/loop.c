/* One turn of the loop, in the order that loop.h promises.
 *
 * Nothing here holds a pointer over a callback: each list is popped from its head, and the events that epoll_wait
 * fetched lie in the loop itself, where fl_source_remove finds and blanks the ones of its source. Removing is therefore
 * linear in the events that are left of the turn (at most EVENTS_MAX, 12 bytes each); adding and turning are not.
 */
#include "common/loop/loop.h"

#include "common/loop/clock.h"
#include "common/loop/wheel.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <time.h>

#define EVENTS_MAX      128
#define HOOK_ROUNDS_MAX 16
#define NS_PER_MS       UINT64_C(1000000)

struct fl_loop {
    int epoll;
    bool turning;
    bool stopped;
    int code;
    uint64_t now_ns;
    size_t sources;
    struct fl_hook *hooks;         /* armed; the last one armed first */
    struct fl_hook *running_hooks; /* taken by this round and not yet called */
    struct fl_deferred *deferred;
    struct fl_deferred **deferred_end;
    int event_next; /* events before it have been handled */
    int event_count;
    struct epoll_event events[EVENTS_MAX];
    struct fl_wheel wheel;
};

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

int fl_loop_new(struct fl_loop **ret_loop)
{
    struct fl_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return -ENOMEM;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        int result = -errno;
        free(loop);
        return result;
    }
    loop->deferred_end = &loop->deferred;
    loop->now_ns = clock_ns();
    fl_wheel_init(&loop->wheel, fl_loop_now_ms(loop));
    *ret_loop = loop;
    return 0;
}

/* What a deferred call defers in turn waits for the next turn, so that one that renews itself cannot hold the loop. */
static void run_deferred(struct fl_loop *loop)
{
    struct fl_deferred *deferred = loop->deferred;
    loop->deferred = NULL;
    loop->deferred_end = &loop->deferred;
    while (deferred != NULL) {
        struct fl_deferred *next = deferred->next;
        deferred->run(deferred);
        deferred = next;
    }
}

struct fl_loop *fl_loop_free(struct fl_loop *loop)
{
    if (loop == NULL)
        return NULL;
    while (loop->deferred != NULL)
        run_deferred(loop);
    assert(!loop->turning);
    assert(loop->sources == 0);
    assert(loop->wheel.count == 0);
    assert(loop->hooks == NULL);
    close(loop->epoll);
    free(loop);
    return NULL;
}

static int wait_ms(struct fl_loop *loop, int timeout_ms)
{
    if (loop->hooks != NULL || loop->deferred != NULL)
        return 0;
    if (timeout_ms == 0 || loop->wheel.count == 0)
        return timeout_ms;
    uint64_t next_ms = fl_wheel_next_ms(&loop->wheel);
    if (next_ms > UINT64_MAX / NS_PER_MS)
        return timeout_ms;
    uint64_t now_ns = clock_ns();
    uint64_t next_ns = next_ms * NS_PER_MS;
    if (next_ns <= now_ns)
        return 0;
    uint64_t left_ms = (next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    if (timeout_ms >= 0 && left_ms > (uint64_t)timeout_ms)
        return timeout_ms;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

static void run_events(struct fl_loop *loop)
{
    while (loop->event_next < loop->event_count) {
        struct epoll_event event = loop->events[loop->event_next++];
        struct fl_source *source = event.data.ptr;
        if (source != NULL)
            source->on_event(source, event.events);
    }
}

/* Takes the list and turns it round: hooks run in the order in which they were armed. */
static void take_hooks(struct fl_loop *loop)
{
    struct fl_hook *hook = loop->hooks;
    loop->hooks = NULL;
    while (hook != NULL) {
        struct fl_hook *next = hook->next;
        hook->next = loop->running_hooks;
        hook->link = &loop->running_hooks;
        if (hook->next != NULL)
            hook->next->link = &hook->next;
        loop->running_hooks = hook;
        hook = next;
    }
}

static void run_hooks(struct fl_loop *loop)
{
    for (unsigned round = 0; loop->hooks != NULL && round < HOOK_ROUNDS_MAX; round++) {
        take_hooks(loop);
        while (loop->running_hooks != NULL) {
            struct fl_hook *hook = loop->running_hooks;
            fl_hook_disarm(hook);
            hook->run(hook);
        }
    }
}

int fl_loop_turn(struct fl_loop *loop, int timeout_ms)
{
    assert(!loop->turning);
    int count = epoll_wait(loop->epoll, loop->events, EVENTS_MAX, wait_ms(loop, timeout_ms));
    if (count < 0 && errno != EINTR)
        return -errno;
    loop->event_next = 0;
    loop->event_count = count > 0 ? count : 0;
    loop->now_ns = clock_ns();
    loop->turning = true;
    run_events(loop);
    fl_wheel_run(&loop->wheel, fl_loop_now_ms(loop));
    run_hooks(loop);
    run_deferred(loop);
    loop->turning = false;
    return 0;
}

int fl_loop_run(struct fl_loop *loop)
{
    int result = 0;
    while (!loop->stopped && result == 0)
        result = fl_loop_turn(loop, -1);
    loop->stopped = false;
    return result < 0 ? result : loop->code;
}

void fl_loop_stop(struct fl_loop *loop, int code)
{
    loop->stopped = true;
    loop->code = code;
}

uint64_t fl_loop_now_ns(const struct fl_loop *loop)
{
    return loop->now_ns;
}

uint64_t fl_loop_fresh_ns(struct fl_loop *loop)
{
    if (!loop->turning)
        loop->now_ns = clock_ns();
    return loop->now_ns;
}

struct fl_wheel *fl_loop_wheel(struct fl_loop *loop)
{
    return &loop->wheel;
}

int fl_source_add(struct fl_loop *loop, struct fl_source *source, int fd, uint32_t events,
                  void (*on_event)(struct fl_source *source, uint32_t events))
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    *source = (struct fl_source){.fd = fd, .on_event = on_event, .loop = loop};
    loop->sources++;
    return 0;
}

int fl_source_modify(struct fl_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(source->loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void fl_source_remove(struct fl_source *source)
{
    struct fl_loop *loop = source->loop;
    if (loop == NULL)
        return;
    int result = epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    assert(result == 0); /* closed before it was removed: the event of a stranger would name this source */
    (void)result;
    for (int i = loop->event_next; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == source)
            loop->events[i].data.ptr = NULL;
    }
    source->loop = NULL;
    loop->sources--;
}

void fl_loop_defer(struct fl_loop *loop, struct fl_deferred *deferred, void (*run)(struct fl_deferred *deferred))
{
    deferred->next = NULL;
    deferred->run = run;
    *loop->deferred_end = deferred;
    loop->deferred_end = &deferred->next;
}

void fl_hook_arm(struct fl_loop *loop, struct fl_hook *hook)
{
    if (hook->link != NULL)
        return;
    hook->next = loop->hooks;
    hook->link = &loop->hooks;
    if (hook->next != NULL)
        hook->next->link = &hook->next;
    loop->hooks = hook;
}

void fl_hook_disarm(struct fl_hook *hook)
{
    if (hook->link == NULL)
        return;
    *hook->link = hook->next;
    if (hook->next != NULL)
        hook->next->link = hook->link;
    hook->next = NULL;
    hook->link = NULL;
}
