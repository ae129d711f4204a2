#include "control/status/publisher.h"

#include "common/loop/clock.h"

#define SLICE_NS    UINT64_C(2000000)
#define SLICE_PAUSE 4 /* ms between slices */

/* -- the line --------------------------------------------------------------------------------------------------------
 */

void publisher_line_init(struct publisher_line *line)
{
    *line = (struct publisher_line){.last = &line->first};
}

static void line_put(struct publisher_line *line, struct publisher_entry *entry, enum publisher_place place)
{
    entry->next = NULL;
    entry->link = line->last;
    *line->last = entry;
    line->last = &entry->next;
    line->count++;
    entry->place = place;
}

static void line_take(struct publisher_line *line, struct publisher_entry *entry)
{
    *entry->link = entry->next;
    if (entry->next != NULL)
        entry->next->link = entry->link;
    else
        line->last = entry->link;
    line->count--;
    entry->next = NULL;
    entry->link = NULL;
    entry->place = PLACE_NONE;
}

void publisher_leave(struct publisher_entry *entry)
{
    if (entry->place == PLACE_LINE)
        line_take(&entry->publisher->line, entry);
    else if (entry->place == PLACE_LATE)
        line_take(&entry->publisher->late, entry);
    else if (entry->place == PLACE_ASIDE)
        line_take(&entry->publisher->aside, entry);
}

size_t publisher_due(const struct control_publisher *publisher)
{
    return publisher->line.count + publisher->late.count + publisher->aside.count + publisher->flying;
}

static struct publisher_entry *front(const struct control_publisher *publisher)
{
    return publisher->line.first != NULL ? publisher->line.first : publisher->late.first;
}

bool publisher_yield(struct publisher_entry *entry)
{
    struct control_publisher *publisher = entry->publisher;
    uint64_t now = publisher_now_ms(publisher);
    if (now >= publisher->second_ms + 1000) {
        fl_tally_done(&publisher->second);
        fl_tally_init(&publisher->second);
        publisher->second_ms = now;
    }
    if (entry->place != PLACE_LINE ||
        fl_tally_get(&publisher->second, entry->name_space) < publisher->rate / PUBLISHER_SHARE + 1)
        return false;
    publisher_leave(entry);
    line_put(&publisher->late, entry, PLACE_LATE);
    return true;
}

void publisher_enqueue(struct publisher_entry *entry)
{
    struct control_publisher *publisher = entry->publisher;
    if (!publisher->leads || publisher->model == NULL || entry->place == PLACE_LINE || entry->place == PLACE_LATE ||
        entry->place == PLACE_FLYING ||
        (entry->place == PLACE_ASIDE && entry->not_before_ms > publisher_now_ms(publisher)))
        return;
    publisher_leave(entry);
    line_put(&publisher->line, entry, PLACE_LINE);
    publisher_work_soon(publisher, 0);
}

static void on_aside(struct fl_timer *timer)
{
    struct control_publisher *publisher = FL_CONTAINER_OF(timer, struct control_publisher, aside_timer);
    for (struct publisher_entry *entry = publisher->aside.first, *next; entry != NULL; entry = next) {
        next = entry->next;
        publisher_enqueue(entry);
    }
    if (publisher->aside.count > 0)
        fl_timer_set(publisher->loop, timer, PUBLISHER_ASIDE_MS, on_aside);
}

void publisher_set_aside(struct publisher_entry *entry, uint64_t until_ms)
{
    struct control_publisher *publisher = entry->publisher;
    uint64_t now = publisher_now_ms(publisher), delay = until_ms > now ? until_ms - now : 0;
    publisher_leave(entry);
    entry->not_before_ms = until_ms;
    line_put(&publisher->aside, entry, PLACE_ASIDE);
    if (!fl_timer_is_set(&publisher->aside_timer))
        fl_timer_set(publisher->loop, &publisher->aside_timer, delay < PUBLISHER_ASIDE_MS ? delay : PUBLISHER_ASIDE_MS,
                     on_aside);
}

/* -- working it off --- */

static void on_work(struct fl_timer *timer)
{
    struct control_publisher *publisher = FL_CONTAINER_OF(timer, struct control_publisher, work);
    uint64_t start = fl_loop_fresh_ns(publisher->loop), now = publisher_now_ms(publisher);
    bool goes_on = true;
    publisher_sort_problems(publisher);
    while (goes_on && front(publisher) != NULL && publisher->flying < publisher->requests &&
           publisher->paused_until_ms <= now && fl_loop_fresh_ns(publisher->loop) - start < SLICE_NS)
        goes_on = publisher_work_on(front(publisher));
    publisher->round_ns += fl_loop_fresh_ns(publisher->loop) - start;
    fl_gauge_set(publisher->due, (double)publisher_due(publisher));
    if (front(publisher) == NULL || publisher->flying >= publisher->requests)
        return; /* what ends, or comes, goes on here */
    if (publisher->paused_until_ms > now)
        publisher_work_soon(publisher, publisher->paused_until_ms - now);
    else
        publisher_work_soon(publisher, goes_on ? SLICE_PAUSE : 1000 / publisher->rate + 1);
}

void publisher_work_soon(struct control_publisher *publisher, uint64_t ms)
{
    if (front(publisher) != NULL && (!fl_timer_is_set(&publisher->work) || ms > 0))
        fl_timer_set(publisher->loop, &publisher->work, ms, on_work);
}

/* -- problems by name ------------------------------------------------------------------------------------------------
 */

static struct control_key key_of(const struct control_problem *problem)
{
    return (struct control_key){problem->kind, problem->name_space, problem->name};
}

static int compare_problems(const void *a, const void *b)
{
    const struct control_problem *one = *(const struct control_problem *const *)a,
                                 *other = *(const struct control_problem *const *)b;
    const struct control_key left = key_of(one), right = key_of(other);
    int order = control_key_compare(&left, &right);
    if (order != 0) /* of two of one name the one that is no warning */
        return order;
    return (int)control_problem_is_warning(one->reason) - (int)control_problem_is_warning(other->reason);
}

void publisher_drop_problems(struct control_publisher *publisher)
{
    free(publisher->problems);
    publisher->problems = NULL;
    publisher->problem_count = 0;
    control_problems_unref(publisher->problems_of);
    publisher->problems_of = NULL;
    publisher->problems_known = false;
}

void publisher_sort_problems(struct control_publisher *publisher)
{
    const struct control_problems *list = control_model_problems(publisher->model);
    if (publisher->problems_known)
        return;
    publisher->problems_known = true;
    if (list == NULL || list->count == 0)
        return;
    publisher->problems = calloc(list->count, sizeof(struct control_problem *));
    if (publisher->problems == NULL)
        return;
    publisher->problems_of = control_problems_ref(list);
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].known)
            publisher->problems[publisher->problem_count++] = &list->items[i];
    qsort(publisher->problems, publisher->problem_count, sizeof(struct control_problem *), compare_problems);
}

const struct control_problem *publisher_problem(struct control_publisher *publisher,
                                                const struct publisher_entry *entry)
{
    const struct control_key key = {entry->kind, entry->name_space, entry->name};
    size_t low = 0, high = publisher->problem_count;
    while (low < high) { /* the first of the name */
        size_t middle = low + (high - low) / 2;
        const struct control_key there = key_of(publisher->problems[middle]);
        if (control_key_compare(&there, &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == publisher->problem_count)
        return NULL;
    const struct control_key found = key_of(publisher->problems[low]);
    return control_key_compare(&found, &key) == 0 ? publisher->problems[low] : NULL;
}
