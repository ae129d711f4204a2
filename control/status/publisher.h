/* What the publisher's files share; for this folder alone.
 *
 *   publish    what was seen, rounds, life
 *   publine    the line of entries that may not be as they should be; problems by name
 *   pubwrite   one entry: compared, written, and what the API server says of it
 *   pubbundle  the version of Gateway API's CRDs
 *
 * Every object that was seen is an entry. An entry whose status may not be as it should is in the line; the line is
 * worked off at the front, 2 ms a turn: compared (desire.h), and written where it differs. One that may not be written
 * yet stands aside with its time; one of a namespace that had its share of a second's writes waits behind the line,
 * for what others leave, so that one namespace's very many keep nobody else waiting. A round is nothing but all entries
 * put into the line.
 */
#ifndef CONTROL_STATUS_PUBLISHER_H
#define CONTROL_STATUS_PUBLISHER_H

#include "common/base/backoff.h"
#include "common/base/log_limit.h"
#include "common/base/map.h"
#include "common/base/tally.h"
#include "common/loop/timer.h"
#include "control/status/publish.h"

#define PUBLISHER_VERSION_MAX 64
#define PUBLISHER_ASIDE_MS    250 /* who stands aside is looked at so often */
#define PUBLISHER_SHARE       5   /* of a second's writes one namespace has so much, one in …, before all others */
#define PUBLISHER_KEY_ROOM    (FL_KUBE_NAMESPACE_MAX + FL_KUBE_NAME_MAX + 8)

enum publisher_place { PLACE_NONE, PLACE_LINE, PLACE_LATE, PLACE_ASIDE, PLACE_FLYING };

struct publisher_entry {
    struct control_publisher *publisher;
    enum control_kind kind;
    char key[PUBLISHER_KEY_ROOM]; /* kind, namespace and name, with '/' between */
    struct fl_span name_space, name;
    char *text; /* {generation, version, parents, status} as JSON; NULL: too large, or memory was out */
    size_t length;
    int64_t generation;
    uint64_t changed_ms; /* when the generation came */
    struct fl_kube_exchange *exchange;
    char *api_version; /* as the object has it */
    uint64_t sent_hash, flying_hash;
    uint64_t wrote_ms;
    uint64_t not_before_ms;                  /* while it stands aside */
    uint64_t refused_hash, refused_until_ms; /* what the API server did not take */
    unsigned fights, conflicts;
    enum publisher_place place;
    bool newer; /* the watch told of it while its write was under way */
    struct publisher_entry *next, **link;
};

struct publisher_line { /* first in, first out */
    struct publisher_entry *first, **last;
    size_t count;
};

struct control_publisher {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    struct fl_metrics *metrics;
    unsigned requests, rate, wait_ms, fight_ms;
    int64_t (*clock)(void);
    bool leads;

    struct control_model *model;             /* NULL: none yet */
    uint64_t model_ms;                       /* when it came */
    const struct control_problem **problems; /* sorted by key; of problems_of */
    size_t problem_count;
    struct control_problems *problems_of;
    bool problems_known;

    struct fl_map entries;
    struct publisher_line line, late, aside; /* late: served when the line is empty */
    struct fl_tally second;                  /* writes of each namespace since second_ms */
    uint64_t second_ms;
    struct fl_timer work; /* the line's next slice, or the round's time */
    struct fl_timer aside_timer;
    struct fl_timer round;
    uint64_t round_ns; /* that the round took so far */

    size_t flying;
    double tokens;
    uint64_t tokens_ms;
    struct fl_backoff backoff;
    uint64_t paused_until_ms;
    struct fl_log_limit told;

    char bundle[32]; /* version of Gateway API's CRDs; "": unknown */
    struct fl_kube_exchange *bundle_exchange;
    struct fl_timer bundle_timer;

    struct control_publisher_stats stats;
    struct fl_counter *writes, *failures, *conflicts, *fights;
    struct fl_gauge *due;
};

static inline uint64_t publisher_now_ms(const struct control_publisher *publisher)
{
    return fl_loop_now_ms(publisher->loop);
}

/* publine.c */
void publisher_line_init(struct publisher_line *line);
/* To be compared as soon as it comes to it; one that stands aside when its time has come. */
void publisher_enqueue(struct publisher_entry *entry);
void publisher_set_aside(struct publisher_entry *entry, uint64_t until_ms);
size_t publisher_due(const struct control_publisher *publisher); /* entries that may have to be written */
/* Whether its namespace had its share: then it waits behind the line. */
bool publisher_yield(struct publisher_entry *entry);
void publisher_leave(struct publisher_entry *entry); /* the line, or where it waits or stands aside */
void publisher_work_soon(struct control_publisher *publisher, uint64_t ms);
/* Of the model in force; when memory is out there are none for now. */
void publisher_sort_problems(struct control_publisher *publisher);
void publisher_drop_problems(struct control_publisher *publisher);
const struct control_problem *publisher_problem(struct control_publisher *publisher,
                                                const struct publisher_entry *entry);

/* publish.c: what the API has of the object becomes the entry's. 0, -ENOMEM, -EMSGSIZE, -EINVAL. */
int publisher_take(struct publisher_entry *entry, const struct fl_json *object) FL_MUST_CHECK;

/* pubwrite.c: what to do with the entry in front. False: nothing can be written now; it stays in front. */
bool publisher_work_on(struct publisher_entry *entry);

/* pubbundle.c: asks now, and again and again. */
void publisher_ask_bundle(struct control_publisher *publisher);

#endif
