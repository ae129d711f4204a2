/* struct fl_arena: memory for many small things with one life, freed together. Chunks from malloc, bump allocation,
 * nothing is freed singly. Embedded: fl_arena_init / fl_arena_done (a zeroed struct may be done). Not thread-safe.
 */
#ifndef FL_BASE_ARENA_H
#define FL_BASE_ARENA_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

struct fl_arena_chunk;

struct fl_arena {
    struct fl_arena_chunk *chunks; /* the newest first */
    size_t used;                   /* bytes handed out, rounded up to the alignment */
    size_t max;                    /* used never grows beyond it */
    size_t chunk;                  /* bytes of every chunk; 0: a quarter of what is used, 256 bytes to 64 KiB */
};

/* `max` in bytes; no allocation yet. */
void fl_arena_init(struct fl_arena *arena, size_t max);
/* With chunks of `chunk` bytes each: for the arena of one small object among thousands. */
void fl_arena_init_small(struct fl_arena *arena, size_t max, size_t chunk);
void fl_arena_done(struct fl_arena *arena);

/* Zeroed memory, aligned for any type, valid until fl_arena_done. NULL when memory is out or max would be exceeded
 * (fl_arena_full tells which). size 0 gives a pointer that must not be followed. */
void *fl_arena_alloc(struct fl_arena *arena, size_t size) FL_MUST_CHECK;
/* count × size, with the overflow checked. */
void *fl_arena_array(struct fl_arena *arena, size_t count, size_t size) FL_MUST_CHECK;
/* A copy with a NUL behind it (not counted in len); data == NULL only when memory is out. */
struct fl_span fl_arena_copy(struct fl_arena *arena, struct fl_span bytes) FL_MUST_CHECK;

/* The copy as a C string; NULL also where the text holds a NUL itself (a NUL shortens nothing). */
char *fl_arena_str(struct fl_arena *arena, struct fl_span text) FL_MUST_CHECK;

/* Everything handed out is void; the newest chunk is kept for the next round, unless a large piece has it alone. */
void fl_arena_reset(struct fl_arena *arena);

/* Whether an allocation of `size` would exceed max. */
bool fl_arena_full(const struct fl_arena *arena, size_t size);

#endif
