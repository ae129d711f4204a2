#include "control/ca/verdicts.h"

#include "common/base/map.h"

#include <errno.h>
#include <sys/queue.h>

struct entry {
    unsigned char digest[FL_DIGEST_SIZE];
    struct control_verdict verdict;
    TAILQ_ENTRY(entry) link;
};

TAILQ_HEAD(entries, entry);

struct shelf { /* of one kind, the oldest first */
    struct entries entries;
    size_t count, max;
};

struct control_verdicts {
    struct fl_map map;
    struct shelf accepted, refused;
};

int control_verdicts_new(size_t accepted_max, size_t refused_max, struct control_verdicts **ret_verdicts)
{
    struct control_verdicts *verdicts = calloc(1, sizeof(*verdicts));
    if (verdicts == NULL)
        return -ENOMEM;
    fl_map_init(&verdicts->map, accepted_max + refused_max);
    TAILQ_INIT(&verdicts->accepted.entries);
    TAILQ_INIT(&verdicts->refused.entries);
    verdicts->accepted.max = accepted_max;
    verdicts->refused.max = refused_max;
    *ret_verdicts = verdicts;
    return 0;
}

static struct fl_span key_of(const unsigned char digest[FL_DIGEST_SIZE])
{
    return fl_span_make(digest, FL_DIGEST_SIZE);
}

static struct shelf *shelf_of(struct control_verdicts *verdicts, enum control_auth_outcome outcome)
{
    return outcome == CONTROL_AUTH_OK ? &verdicts->accepted : &verdicts->refused;
}

static void remove_entry(struct control_verdicts *verdicts, struct entry *entry)
{
    struct shelf *shelf = shelf_of(verdicts, entry->verdict.outcome);
    fl_map_remove(&verdicts->map, key_of(entry->digest));
    TAILQ_REMOVE(&shelf->entries, entry, link);
    shelf->count--;
    free(entry);
}

struct control_verdicts *control_verdicts_free(struct control_verdicts *verdicts)
{
    if (verdicts == NULL)
        return NULL;
    while (!TAILQ_EMPTY(&verdicts->accepted.entries))
        remove_entry(verdicts, TAILQ_FIRST(&verdicts->accepted.entries));
    while (!TAILQ_EMPTY(&verdicts->refused.entries))
        remove_entry(verdicts, TAILQ_FIRST(&verdicts->refused.entries));
    fl_map_done(&verdicts->map);
    free(verdicts);
    return NULL;
}

const struct control_verdict *control_verdicts_get(struct control_verdicts *verdicts,
                                                   const unsigned char digest[FL_DIGEST_SIZE], uint64_t now_ms)
{
    struct entry *entry = fl_map_get(&verdicts->map, key_of(digest));
    if (entry != NULL && now_ms < entry->verdict.until_ms)
        return &entry->verdict;
    if (entry != NULL)
        remove_entry(verdicts, entry);
    return NULL;
}

void control_verdicts_put(struct control_verdicts *verdicts, const unsigned char digest[FL_DIGEST_SIZE],
                          const struct control_verdict *verdict)
{
    struct shelf *shelf = shelf_of(verdicts, verdict->outcome);
    control_verdicts_drop(verdicts, digest);
    if (shelf->count == shelf->max)
        remove_entry(verdicts, TAILQ_FIRST(&shelf->entries));
    struct entry *entry = malloc(sizeof(*entry));
    if (entry == NULL)
        return;
    memcpy(entry->digest, digest, sizeof(entry->digest));
    entry->verdict = *verdict;
    if (fl_map_put(&verdicts->map, key_of(entry->digest), entry) < 0) {
        free(entry);
        return;
    }
    TAILQ_INSERT_TAIL(&shelf->entries, entry, link);
    shelf->count++;
}

void control_verdicts_drop(struct control_verdicts *verdicts, const unsigned char digest[FL_DIGEST_SIZE])
{
    struct entry *entry = fl_map_get(&verdicts->map, key_of(digest));
    if (entry != NULL)
        remove_entry(verdicts, entry);
}

size_t control_verdicts_count(const struct control_verdicts *verdicts)
{
    return verdicts->accepted.count + verdicts->refused.count;
}
