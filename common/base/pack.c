#include "common/base/pack.h"

#include <stdint.h>

#define MATCH_MIN    4
#define MATCH_MAX    (0x7f + MATCH_MIN)
#define LITERALS_MAX 0x80
#define FAR_MAX      0xffff
#define SLOT_BITS    11 /* where a group of four bytes was seen last: 8 KiB on the stack */

/* -- packing -- */

struct packer {
    const uint8_t *in;
    size_t len;
    uint8_t *out;
    size_t used;
    uint32_t seen[1 << SLOT_BITS]; /* position + 1, of the low 32 bits; 0: not yet */
};

static uint32_t *slot_of(struct packer *packer, size_t at)
{
    uint32_t group;
    memcpy(&group, packer->in + at, sizeof(group));
    return &packer->seen[(group * 2654435761u) >> (32 - SLOT_BITS)];
}

static void put_literals(struct packer *packer, size_t from, size_t to)
{
    while (from < to) {
        size_t count = to - from < LITERALS_MAX ? to - from : LITERALS_MAX;
        packer->out[packer->used++] = (uint8_t)(count - 1);
        memcpy(packer->out + packer->used, packer->in + from, count);
        packer->used += count;
        from += count;
    }
}

/* How many bytes from `at` on are those `far` before; also where the two overlap. */
static size_t match_len(const struct packer *packer, size_t at, size_t far)
{
    size_t max = packer->len - at < MATCH_MAX ? packer->len - at : MATCH_MAX, count = 0;
    while (count < max && packer->in[at + count] == packer->in[at + count - far])
        count++;
    return count;
}

static void put_match(struct packer *packer, size_t far, size_t count)
{
    packer->out[packer->used++] = (uint8_t)(0x80 | (count - MATCH_MIN));
    packer->out[packer->used++] = (uint8_t)far;
    packer->out[packer->used++] = (uint8_t)(far >> 8);
}

static void pack(struct packer *packer)
{
    size_t at = 0, literals = 0;
    while (packer->len - at >= MATCH_MIN) {
        uint32_t *slot = slot_of(packer, at);
        size_t far = (uint32_t)(at + 1) - *slot, count = 0;
        if (*slot != 0 && far > 0 && far <= FAR_MAX && far <= at)
            count = match_len(packer, at, far);
        *slot = (uint32_t)(at + 1);
        if (count < MATCH_MIN) {
            at++;
            continue;
        }
        put_literals(packer, literals, at);
        put_match(packer, far, count);
        at += count;
        literals = at;
    }
    put_literals(packer, literals, packer->len);
}

bool fl_pack(struct fl_span bytes, struct fl_arena *scratch, struct fl_arena *arena, struct fl_packed *ret_packed)
{
    struct packer packer = {.in = (const uint8_t *)bytes.data, .len = bytes.len};
    if (bytes.len == 0) {
        *ret_packed = (struct fl_packed){.bytes = {NULL, 0}};
        return true;
    }
    packer.out = bytes.len > SIZE_MAX / 2 ? NULL : fl_arena_alloc(scratch, bytes.len + bytes.len / LITERALS_MAX + 1);
    if (packer.out == NULL)
        return false;
    pack(&packer);
    struct fl_span kept = packer.used < bytes.len ? fl_span_make(packer.out, packer.used) : bytes;
    kept = fl_arena_copy(arena, kept);
    if (kept.data == NULL)
        return false;
    *ret_packed = (struct fl_packed){.bytes = kept, .len = bytes.len};
    return true;
}

/* -- reading -- */

/* A piece: `far` 0 means bytes as they are, at `at`. */
struct piece {
    size_t at, far, count;
};

/* False at the end, and where the bytes are damaged: a piece must not go beyond `room`, nor begin before `done`. */
static bool next_piece(struct fl_span packed, size_t *cursor, size_t done, size_t room, struct piece *ret_piece)
{
    const uint8_t *bytes = (const uint8_t *)packed.data;
    if (*cursor >= packed.len)
        return false;
    struct piece piece = {.at = *cursor + 1, .count = (size_t)(bytes[*cursor] & 0x7f)};
    if (bytes[*cursor] < 0x80) {
        piece.count++;
        if (piece.count > packed.len - piece.at)
            return false;
        *cursor = piece.at + piece.count;
    } else {
        piece.count += MATCH_MIN;
        if (packed.len - piece.at < 2)
            return false;
        piece.far = bytes[piece.at] | (size_t)bytes[piece.at + 1] << 8;
        if (piece.far == 0 || piece.far > done)
            return false;
        *cursor = piece.at + 2;
    }
    *ret_piece = piece;
    return piece.count <= room;
}

struct fl_span fl_unpack(const struct fl_packed *packed, struct fl_arena *arena)
{
    if (packed->bytes.len == packed->len)
        return fl_arena_copy(arena, packed->bytes);
    char *out = packed->len == SIZE_MAX ? NULL : fl_arena_alloc(arena, packed->len + 1);
    struct piece piece;
    size_t done = 0;
    if (out == NULL)
        return (struct fl_span){NULL, 0};
    for (size_t cursor = 0; next_piece(packed->bytes, &cursor, done, packed->len - done, &piece);) {
        if (piece.far == 0)
            memcpy(out + done, packed->bytes.data + piece.at, piece.count);
        for (size_t i = 0; piece.far > 0 && i < piece.count; i++)
            out[done + i] = out[done + i - piece.far];
        done += piece.count;
    }
    return done == packed->len ? fl_span_make(out, done) : (struct fl_span){NULL, 0};
}

bool fl_packed_eq(const struct fl_packed *packed, struct fl_span bytes)
{
    struct piece piece;
    size_t done = 0;
    if (packed->len != bytes.len)
        return false;
    if (packed->bytes.len == packed->len)
        return fl_span_eq(packed->bytes, bytes);
    for (size_t cursor = 0; next_piece(packed->bytes, &cursor, done, bytes.len - done, &piece);) {
        /* What was compared before is what it refers to. */
        const char *from = piece.far == 0 ? packed->bytes.data + piece.at : bytes.data + done - piece.far;
        if (memcmp(from, bytes.data + done, piece.count) != 0)
            return false;
        done += piece.count;
    }
    return done == bytes.len;
}
