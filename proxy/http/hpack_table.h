/* The tables of HPACK (RFC 7541 §2.3): the static one, and the dynamic one of one direction. Between hpack.c's halves.
 *
 * A dynamic table is a ring of entries over one stretch of bytes, both as large as what was ever in them at once (the
 * bytes rounded up, 4,096 at most). Entries have numbers that only grow, so that an index is the distance from the
 * newest one. Spans of entries hold until the next change of the table. */
#ifndef PROXY_HTTP_HPACK_TABLE_H
#define PROXY_HTTP_HPACK_TABLE_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define PROXY_HPACK_STATIC   61u
#define PROXY_HPACK_OVERHEAD 32u /* bytes that an entry counts for, beside its text (§4.1) */

struct proxy_hpack_entry {
    uint32_t at;          /* of its text: name, then value; see base */
    uint32_t hash, older; /* the encoder's: of the text, and the number of an older entry of the same bucket */
    uint16_t name, value; /* lengths */
    uint8_t note;         /* the decoder's user's */
};

struct proxy_hpack_table { /* zeroed but max to begin with */
    uint32_t max, size;    /* bytes as §4.1 counts them */
    uint32_t newest, count;
    uint32_t slots;           /* room of entries: a power of two, or 0 */
    uint32_t room, base, end; /* of bytes; the positions (`at`) of bytes[0] and of the next text */
    struct proxy_hpack_entry *entries;
    char *bytes;
};

void proxy_hpack_table_done(struct proxy_hpack_table *table);
/* What no longer fits is evicted. */
void proxy_hpack_table_resize(struct proxy_hpack_table *table, uint32_t max);

/* Puts a field in front; older ones are evicted for it (§4.4). The name may be an entry's. 1: it is
 * in; 0: it is larger than the table, which is empty now; or -ENOMEM. */
int proxy_hpack_table_add(struct proxy_hpack_table *table, struct fl_span name, struct fl_span value) FL_MUST_CHECK;

static inline bool proxy_hpack_table_has(const struct proxy_hpack_table *table, uint32_t number)
{
    return table->newest - number < table->count;
}

static inline struct proxy_hpack_entry *proxy_hpack_table_at(const struct proxy_hpack_table *table, uint32_t number)
{
    return &table->entries[number & (table->slots - 1)];
}

static inline struct fl_span proxy_hpack_entry_name(const struct proxy_hpack_table *table,
                                                    const struct proxy_hpack_entry *entry)
{
    return fl_span_make(table->bytes + (entry->at - table->base), entry->name);
}

static inline struct fl_span proxy_hpack_entry_value(const struct proxy_hpack_table *table,
                                                     const struct proxy_hpack_entry *entry)
{
    return fl_span_make(table->bytes + (entry->at - table->base) + entry->name, entry->value);
}

struct proxy_hpack_pair {
    struct fl_span name, value;
};
extern const struct proxy_hpack_pair proxy_hpack_static[PROXY_HPACK_STATIC]; /* [index - 1] */

/* The index of the static field, of the first one of that name; 0: there is none. Of fields with a value those of
 * pseudo-headers alone are looked for. */
uint32_t proxy_hpack_static_pair(struct fl_span name, struct fl_span value);
uint32_t proxy_hpack_static_name(struct fl_span name);

/* The two directions' own; NULL is allowed. */
struct proxy_hpack_encoder;
struct proxy_hpack_decoder;
void proxy_hpack_encoder_free(struct proxy_hpack_encoder *encoder);
void proxy_hpack_decoder_free(struct proxy_hpack_decoder *decoder);

#endif
