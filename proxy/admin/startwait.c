#include "proxy/admin/startwait.h"

#include "common/loop/timer.h"

#include <errno.h>
#include <stdlib.h>

struct waiter {
    struct proxy_serving_wait wait;
    struct proxy_startwait *startwait;
    struct fl_timer timer;
    struct waiter *next, **link;
};

struct proxy_startwait {
    struct proxy_startwait_options options;
    struct waiter *first;
};

static void forget(struct waiter *waiter)
{
    fl_timer_cancel(&waiter->timer);
    *waiter->link = waiter->next;
    if (waiter->next != NULL)
        waiter->next->link = waiter->link;
    free(waiter);
}

static void on_gone(struct proxy_serving_wait *wait)
{
    forget(FL_CONTAINER_OF(wait, struct waiter, wait));
}

static void answer_now(struct fl_timer *timer)
{
    struct waiter *waiter = FL_CONTAINER_OF(timer, struct waiter, timer);
    const struct proxy_startwait_options *options = &waiter->startwait->options;
    struct proxy_answer answer;
    proxy_answer_init(&answer);
    if (options->fill(options->owner, &answer) != 0) {
        fl_buf_clear(&answer.body);
        answer.status = 500;
    }
    proxy_serving_answer(&waiter->wait, &answer);
    forget(waiter);
}

int proxy_startwait_begin(struct proxy_startwait *startwait, struct proxy_answer *answer)
{
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return -ENOMEM;
    waiter->wait.on_gone = on_gone;
    waiter->startwait = startwait;
    waiter->next = startwait->first;
    waiter->link = &startwait->first;
    if (waiter->next != NULL)
        waiter->next->link = &waiter->next;
    startwait->first = waiter;
    fl_timer_set(startwait->options.loop, &waiter->timer, PROXY_STARTWAIT_MS, answer_now);
    answer->wait = &waiter->wait;
    return 0;
}

void proxy_startwait_end(struct proxy_startwait *startwait)
{
    for (struct waiter *waiter = startwait->first; waiter != NULL; waiter = waiter->next)
        fl_timer_set(startwait->options.loop, &waiter->timer, 0, answer_now);
}

int proxy_startwait_new(const struct proxy_startwait_options *options, struct proxy_startwait **ret_startwait)
{
    struct proxy_startwait *startwait = calloc(1, sizeof(*startwait));
    if (startwait == NULL)
        return -ENOMEM;
    startwait->options = *options;
    *ret_startwait = startwait;
    return 0;
}

struct proxy_startwait *proxy_startwait_free(struct proxy_startwait *startwait)
{
    if (startwait == NULL)
        return NULL;
    while (startwait->first != NULL) {
        proxy_serving_abandon(&startwait->first->wait);
        forget(startwait->first);
    }
    free(startwait);
    return NULL;
}
