/* Status written back to the API: what status/report says of each object, as conditions of the object itself.
 *
 * The source tells of each object of a kind that has a status as the API has it (control_publisher_saw): its
 * generation, resourceVersion and the status that stands there. The model tells what should stand there. Where the two
 * differ the leader writes (a merge patch of the subresource with the resourceVersion that was seen, so that whoever
 * wrote meanwhile wins, and we look again); nobody else does, and nothing is written where nothing differs.
 *
 *   - Nothing is said of a generation that the model has not taken in yet.
 *   - lastTransitionTime moves only when a condition's status does.
 *   - A route's status.parents is one list of all controllers: entries of others are kept as they are, ours are
 *     replaced, those of parents that went are dropped. Conditions of types that are not ours are kept everywhere.
 *   - An object that could not be read has Accepted: False with the field and the reason.
 *   - Who undoes what we wrote, again and again, is answered ever more slowly (1 s doubling to 5 minutes), and told
 * once.
 *
 * A round over all objects follows a change of the model 200 ms later, in slices of 2 ms, and rests nine times as long
 * as it took. Requests under way and their rate are bounded; 409: what the watch tells next decides; 404: the object is
 * gone, no error; 422 and the like: told, tried again after 5 minutes or a change; 429, 5xx, no answer: back-off for
 * all.
 */
#ifndef CONTROL_STATUS_PUBLISH_H
#define CONTROL_STATUS_PUBLISH_H

#include "common/kube/watch.h"
#include "common/metrics/registry.h"
#include "control/model/model.h"

#define CONTROL_PUBLISH_OBJECTS_MAX  (1u << 18)   /* whose status is followed; more are left alone, and counted */
#define CONTROL_PUBLISH_STATUS_MAX   (256u << 10) /* bytes of a status, as the API has it */
#define CONTROL_PUBLISH_REQUESTS     8            /* under way */
#define CONTROL_PUBLISH_RATE         50           /* writes a second, and as many at once */
#define CONTROL_PUBLISH_FIGHT_MS     1000
#define CONTROL_PUBLISH_FIGHT_MAX_MS 300000

struct control_publisher;

struct control_publisher_options {
    struct fl_metrics *metrics; /* NULL: nobody asks */
    unsigned requests, rate;    /* 0: the defaults above */
    unsigned wait_ms;           /* behind a change of the model; 0: 200 */
    unsigned fight_ms;          /* 0: CONTROL_PUBLISH_FIGHT_MS */
    int64_t (*clock)(void);     /* seconds since 1970, for lastTransitionTime; NULL: the machine's */
};

/* The client outlives it. 0, -ENOMEM. */
int control_publisher_new(struct fl_loop *loop, struct fl_kube_client *client,
                          const struct control_publisher_options *options,
                          struct control_publisher **ret_publisher) FL_MUST_CHECK;
struct control_publisher *control_publisher_free(struct control_publisher *publisher); /* NULL is fine; returns NULL */

/* Kinds that it wants to be told of. */
bool control_publisher_wants(enum control_kind kind);
/* What the source's watch said, for any kind; the object is borrowed for the call. When memory is out the object is
 * forgotten (and counted) until the next word of it. */
void control_publisher_saw(struct control_publisher *publisher, enum control_kind kind, enum fl_kube_change change,
                           const struct fl_json *object);
/* A new version of the model is in force; takes a reference. */
void control_publisher_update(struct control_publisher *publisher, struct control_model *model);
/* Whether we hold the Lease. False cancels what is under way. Begins as false. */
void control_publisher_lead(struct control_publisher *publisher, bool leads);

struct control_publisher_stats {
    size_t objects;   /* followed */
    size_t forgotten; /* not followed: too many, or memory was out */
    size_t due;       /* to be written, or under way */
    uint64_t writes;  /* that went well */
    uint64_t conflicts, gone, refused, failures;
    uint64_t fights;     /* writes that undid what somebody else had undone */
    bool leads, settled; /* settled: the newest model has been compared with every object, and nothing is due */
};
struct control_publisher_stats control_publisher_stats(const struct control_publisher *publisher);

#endif
