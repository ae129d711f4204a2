/* Fields to a block. A field that the table has is found by a hash of its ends, and is one byte or two. */
#include "proxy/http/hpack.h"
#include "proxy/http/hpack_table.h"

#include <errno.h>

#define BUCKETS 64u

/* First octets (RFC 7541 §6) and the bits that are left in them for a number. */
enum kind { INDEXED = 0x80, INDEXING = 0x40, RESIZE = 0x20, NEVER = 0x10, PLAIN = 0x00 };

struct proxy_hpack_encoder {
    struct proxy_hpack_table table;
    bool resized;              /* the peer is to be told of the table's size, and of a smaller one before it */
    uint32_t lowest;           /* since the last block */
    uint32_t buckets[BUCKETS]; /* by hash: the number of the newest entry */
};

void proxy_hpack_encoder_free(struct proxy_hpack_encoder *encoder)
{
    if (encoder != NULL)
        proxy_hpack_table_done(&encoder->table);
    free(encoder);
}

static int make(struct proxy_hpack *hpack)
{
    hpack->encoder = calloc(1, sizeof(*hpack->encoder));
    if (hpack->encoder == NULL)
        return -ENOMEM;
    hpack->encoder->table.max = PROXY_HPACK_TABLE;
    return 0;
}

int proxy_hpack_limit(struct proxy_hpack *hpack, uint32_t table)
{
    uint32_t size = table < PROXY_HPACK_TABLE ? table : PROXY_HPACK_TABLE;
    if (hpack->encoder == NULL && make(hpack) < 0)
        return -ENOMEM;
    struct proxy_hpack_encoder *encoder = hpack->encoder;
    if (size == encoder->table.max)
        return 0;
    encoder->lowest = !encoder->resized || size < encoder->lowest ? size : encoder->lowest;
    encoder->resized = true;
    proxy_hpack_table_resize(&encoder->table, size);
    return 0;
}

/* A literal whose name is a literal too: one byte, two lengths of up to six. Two changes of the table's size may stand
 * before the first one. */
size_t proxy_hpack_bound(const struct proxy_hpack_field *fields, size_t count)
{
    size_t size = 12;
    for (size_t i = 0; i < count; i++)
        size += 13 + fields[i].name.len + fields[i].value.len;
    return size;
}

/* RFC 7541 §5.1. */
static char *put_number(char *to, enum kind kind, uint32_t mask, size_t number)
{
    if (number < mask) {
        *to++ = (char)((unsigned)kind | number);
        return to;
    }
    *to++ = (char)((unsigned)kind | mask);
    for (number -= mask; number >= 0x80; number >>= 7)
        *to++ = (char)(0x80 | (number & 0x7f));
    *to++ = (char)number;
    return to;
}

static char *put_text(char *to, struct fl_span text)
{
    to = put_number(to, PLAIN, 0x7f, text.len);
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    return to + text.len;
}

static char *put_literal(char *to, enum kind kind, uint32_t name_index, const struct proxy_hpack_field *field)
{
    to = put_number(to, kind, kind == INDEXING ? 0x3f : 0x0f, name_index);
    if (name_index == 0)
        to = put_text(to, field->name);
    return put_text(to, field->value);
}

/* The first and the last eight bytes, or what there is of them. */
static uint64_t ends(struct fl_span text)
{
    uint64_t first = 0, last = 0;
    if (text.len >= 8) {
        memcpy(&first, text.data, 8);
        memcpy(&last, text.data + text.len - 8, 8);
    } else if (text.len >= 4) {
        memcpy(&first, text.data, 4);
        memcpy(&last, text.data + text.len - 4, 4);
    } else if (text.len > 0) {
        first = (uint64_t)(uint8_t)text.data[0] << 8 | (uint8_t)text.data[text.len / 2];
        last = (uint8_t)text.data[text.len - 1];
    }
    return (first ^ text.len) * 0x9e3779b97f4a7c15u + last;
}

static uint32_t hash_of(const struct proxy_hpack_field *field)
{
    uint64_t hash = (ends(field->name) ^ ends(field->value) * 0xd6e8feb86659fd93u) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash >> 32);
}

static bool same(const struct proxy_hpack_table *table, const struct proxy_hpack_entry *entry,
                 const struct proxy_hpack_field *field)
{
    return fl_span_eq(proxy_hpack_entry_value(table, entry), field->value) &&
           fl_span_eq(proxy_hpack_entry_name(table, entry), field->name);
}

/* The index of the field in the dynamic table, or 0. A bucket's chain leads to ever older entries. */
static uint32_t find(const struct proxy_hpack_encoder *encoder, const struct proxy_hpack_field *field, uint32_t hash)
{
    const struct proxy_hpack_table *table = &encoder->table;
    uint32_t back = table->newest - encoder->buckets[hash % BUCKETS];
    while (back < table->count) {
        const struct proxy_hpack_entry *entry = proxy_hpack_table_at(table, table->newest - back);
        if (entry->hash == hash && same(table, entry, field))
            return PROXY_HPACK_STATIC + 1 + back;
        uint32_t older = table->newest - entry->older;
        if (older <= back)
            return 0;
        back = older;
    }
    return 0;
}

/* 0 where memory is out. */
static bool index_field(struct proxy_hpack_encoder *encoder, const struct proxy_hpack_field *field, uint32_t hash)
{
    int result = proxy_hpack_table_add(&encoder->table, field->name, field->value);
    if (result > 0) {
        struct proxy_hpack_table *table = &encoder->table;
        struct proxy_hpack_entry *entry = proxy_hpack_table_at(table, table->newest);
        entry->hash = hash;
        entry->older = encoder->buckets[hash % BUCKETS];
        encoder->buckets[hash % BUCKETS] = table->newest;
    }
    return result >= 0;
}

/* Fields that rarely come again, by their names' static indices: :path, age, content-length, etag, if-modified-since,
 * if-none-match, location. What is large would push out all the rest. */
static bool comes_again(const struct proxy_hpack_encoder *encoder, const struct proxy_hpack_field *field,
                        uint32_t name_index)
{
    const uint64_t rare = 1ull << 4 | 1ull << 21 | 1ull << 28 | 1ull << 34 | 1ull << 40 | 1ull << 41 | 1ull << 46;
    size_t size = PROXY_HPACK_OVERHEAD + field->name.len + field->value.len;
    return (rare >> name_index & 1) == 0 && size <= encoder->table.max / 4 * 3;
}

/* NULL: memory is out. */
static char *put_field(struct proxy_hpack_encoder *encoder, char *to, const struct proxy_hpack_field *field)
{
    if (field->is_volatile)
        return put_literal(to, NEVER, proxy_hpack_static_name(field->name), field);
    if (field->name.len > 0 && field->name.data[0] == ':') {
        uint32_t pair = proxy_hpack_static_pair(field->name, field->value);
        if (pair > 0)
            return put_number(to, INDEXED, 0x7f, pair);
    }
    uint32_t hash = hash_of(field), index = find(encoder, field, hash);
    if (index > 0)
        return put_number(to, INDEXED, 0x7f, index);
    uint32_t name_index = proxy_hpack_static_name(field->name);
    if (!comes_again(encoder, field, name_index))
        return put_literal(to, PLAIN, name_index, field);
    return index_field(encoder, field, hash) ? put_literal(to, INDEXING, name_index, field) : NULL;
}

/* RFC 7541 §4.2. */
static char *put_resizes(struct proxy_hpack_encoder *encoder, char *to)
{
    if (!encoder->resized)
        return to;
    encoder->resized = false;
    if (encoder->lowest < encoder->table.max)
        to = put_number(to, RESIZE, 0x1f, encoder->lowest);
    return put_number(to, RESIZE, 0x1f, encoder->table.max);
}

int proxy_hpack_encode(struct proxy_hpack *hpack, const struct proxy_hpack_field *fields, size_t count, char *to,
                       size_t room, size_t *ret_size)
{
    if (proxy_hpack_bound(fields, count) > room || (hpack->encoder == NULL && make(hpack) < 0))
        return -ENOMEM;
    char *at = put_resizes(hpack->encoder, to);
    for (size_t i = 0; i < count && at != NULL; i++)
        at = put_field(hpack->encoder, at, &fields[i]);
    if (at == NULL)
        return -ENOMEM;
    *ret_size = (size_t)(at - to);
    return 0;
}
