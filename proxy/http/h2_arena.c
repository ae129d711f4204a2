/* Text of one head while its message is told or written: the first 2 KiB on the caller's stack, so that an ordinary
 * head allocates nothing; what is beyond in blocks. Bounded by the head's own limit. */
#include "proxy/http/h2_inner.h"

#define BLOCK 16384u

struct h2_block {
    struct h2_block *next;
    char data[];
};

void proxy_h2_arena_init(struct h2_arena *arena)
{
    arena->blocks = NULL;
    arena->at = arena->first;
    arena->used = 0;
    arena->size = sizeof(arena->first);
}

void proxy_h2_arena_done(struct h2_arena *arena)
{
    while (arena->blocks != NULL) {
        struct h2_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

char *proxy_h2_arena_take(struct h2_arena *arena, size_t size)
{
    if (size > arena->size - arena->used) {
        size_t room = size > BLOCK ? size : BLOCK;
        struct h2_block *block = malloc(sizeof(*block) + room);
        if (block == NULL)
            return NULL;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->at = block->data;
        arena->used = 0;
        arena->size = room;
    }
    char *text = arena->at + arena->used;
    arena->used += size;
    return text;
}
