#include "proxy/admin/slices.h"

#include "common/loop/timer.h"

#include <errno.h>
#include <stdlib.h>

struct slice { /* one answer */
    struct proxy_serving_wait wait;
    struct proxy_slices *slices;
    struct proxy_slice_source source;
    struct proxy_answer answer;
    struct fl_timer timer;
    struct slice *next, **link;
};

struct proxy_slices {
    struct fl_loop *loop;
    struct slice *first;
    unsigned count;
};

static void end(struct slice *slice)
{
    fl_timer_cancel(&slice->timer);
    *slice->link = slice->next;
    if (slice->next != NULL)
        slice->next->link = slice->link;
    slice->slices->count--;
    slice->source.free(slice->source.source);
    fl_buf_done(&slice->answer.body);
    free(slice);
}

static void on_gone(struct proxy_serving_wait *wait)
{
    end(FL_CONTAINER_OF(wait, struct slice, wait));
}

static void on_turn(struct fl_timer *timer)
{
    struct slice *slice = FL_CONTAINER_OF(timer, struct slice, timer);
    int result = slice->source.step(slice->source.source, PROXY_SLICE_BYTES, &slice->answer.body);
    if (result > 0) {
        fl_timer_set(slice->slices->loop, timer, 0, on_turn);
        return;
    }
    if (result < 0) {
        fl_buf_clear(&slice->answer.body);
        slice->answer.content_type = NULL;
        slice->answer.status = 500;
    }
    proxy_serving_answer(&slice->wait, &slice->answer);
    end(slice);
}

int proxy_slices_begin(struct proxy_slices *slices, const struct proxy_slice_source *source, const char *content_type,
                       struct proxy_answer *answer)
{
    struct slice *slice = slices->count < PROXY_SLICES_MAX ? calloc(1, sizeof(*slice)) : NULL;
    if (slice == NULL) {
        bool many = slices->count >= PROXY_SLICES_MAX;
        source->free(source->source);
        answer->content_type = NULL;
        answer->status = 503;
        return many ? fl_buf_append_str(&answer->body, "too many large answers are being made\n") : -ENOMEM;
    }
    slice->slices = slices;
    slice->source = *source;
    slice->wait.on_gone = on_gone;
    proxy_answer_init(&slice->answer);
    slice->answer.content_type = content_type;
    slice->next = slices->first;
    slice->link = &slices->first;
    if (slice->next != NULL)
        slice->next->link = &slice->next;
    slices->first = slice;
    slices->count++;
    fl_timer_set(slices->loop, &slice->timer, 0, on_turn);
    answer->wait = &slice->wait;
    return 0;
}

int proxy_slices_new(struct fl_loop *loop, struct proxy_slices **ret_slices)
{
    struct proxy_slices *slices = calloc(1, sizeof(*slices));
    if (slices == NULL)
        return -ENOMEM;
    slices->loop = loop;
    *ret_slices = slices;
    return 0;
}

struct proxy_slices *proxy_slices_free(struct proxy_slices *slices)
{
    if (slices == NULL)
        return NULL;
    while (slices->first != NULL) {
        struct slice *slice = slices->first;
        proxy_serving_abandon(&slice->wait);
        end(slice);
    }
    free(slices);
    return NULL;
}
