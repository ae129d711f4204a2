#include "common/base/arena.h"

#include <stdalign.h>
#include <stdint.h>

#define CHUNK_MIN 256 /* thousands of small arenas live side by side in a proxy */
#define CHUNK_MAX 65536

struct fl_arena_chunk {
    struct fl_arena_chunk *next;
    size_t len, cap;
    alignas(max_align_t) char data[];
};

/* Sizes are rounded up, so that the next allocation is aligned too. SIZE_MAX where that overflows. */
static size_t round_up(size_t size)
{
    size_t mask = alignof(max_align_t) - 1;
    return size > SIZE_MAX - mask ? SIZE_MAX : (size + mask) & ~mask;
}

void fl_arena_init(struct fl_arena *arena, size_t max)
{
    *arena = (struct fl_arena){.max = max};
}

void fl_arena_init_small(struct fl_arena *arena, size_t max, size_t chunk)
{
    *arena = (struct fl_arena){.max = max, .chunk = chunk};
}

void fl_arena_done(struct fl_arena *arena)
{
    struct fl_arena_chunk *chunk = fl_take(arena->chunks);
    while (chunk != NULL) {
        struct fl_arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena->used = 0;
}

bool fl_arena_full(const struct fl_arena *arena, size_t size)
{
    size = round_up(size);
    return size > SIZE_MAX / 2 || size > arena->max || arena->used > arena->max - size;
}

/* A chunk is a quarter of what is in use, so that little is left over at the end; what is larger than the next chunk
 * gets one of its own size. */
static struct fl_arena_chunk *chunk_new(struct fl_arena *arena, size_t size)
{
    size_t cap = arena->used / 4;
    if (cap < CHUNK_MIN)
        cap = CHUNK_MIN;
    if (cap > CHUNK_MAX)
        cap = CHUNK_MAX;
    if (arena->chunk > 0)
        cap = arena->chunk;
    if (cap < size)
        cap = size;
    struct fl_arena_chunk *chunk = malloc(sizeof(*chunk) + cap);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct fl_arena_chunk){.next = arena->chunks, .cap = cap};
    arena->chunks = chunk;
    return chunk;
}

void *fl_arena_alloc(struct fl_arena *arena, size_t size)
{
    if (fl_arena_full(arena, size))
        return NULL;
    size = round_up(size);
    struct fl_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->cap - chunk->len < size) {
        chunk = chunk_new(arena, size);
        if (chunk == NULL)
            return NULL;
    }
    char *memory = chunk->data + chunk->len;
    chunk->len += size;
    arena->used += size;
    memset(memory, 0, size);
    return memory;
}

void *fl_arena_array(struct fl_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return fl_arena_alloc(arena, total);
}

struct fl_span fl_arena_copy(struct fl_arena *arena, struct fl_span bytes)
{
    char *copy = bytes.len == SIZE_MAX ? NULL : fl_arena_alloc(arena, bytes.len + 1);
    if (copy == NULL)
        return (struct fl_span){NULL, 0};
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return fl_span_make(copy, bytes.len);
}

char *fl_arena_str(struct fl_arena *arena, struct fl_span text)
{
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        return NULL;
    struct fl_span copy = fl_arena_copy(arena, text);
    return (char *)(uintptr_t)copy.data;
}

void fl_arena_reset(struct fl_arena *arena)
{
    struct fl_arena_chunk *kept = arena->chunks;
    if (kept == NULL)
        return;
    arena->chunks = kept->next;
    fl_arena_done(arena);
    if (kept->cap > CHUNK_MAX) {
        free(kept);
        return;
    }
    kept->next = NULL;
    kept->len = 0;
    arena->chunks = kept;
}
