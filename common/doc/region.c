/* Chunks from malloc, the newest first; pieces are cut off the first one. What is larger than a quarter of a chunk gets
 * one of its own, behind the first. */
#include "common/doc/region.h"

#include <assert.h>
#include <malloc.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define CHUNK_SIZE (120u << 10)
#define LARGE_SIZE (CHUNK_SIZE / 4)
#define TRIM_SIZE  (4u << 20) /* given back at once: then the C library's heap may shrink, too */

struct fl_region_chunk {
    struct fl_region_chunk *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

static _Thread_local struct fl_region *current;

#ifndef __has_feature /* clang's way to tell */
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define WORKS false
#else
#define WORKS true
#endif

void fl_region_enter(struct fl_region *region)
{
    assert(current == NULL);
    if (WORKS)
        current = region;
}

static void keep(struct fl_region *region, size_t max)
{
    struct fl_region_chunk *chunk = region->chunks, *kept = NULL;
    size_t kept_size = 0, given = 0;
    while (chunk != NULL) {
        struct fl_region_chunk *next = chunk->next;
        if (chunk->size == CHUNK_SIZE && kept_size + CHUNK_SIZE <= max) {
            chunk->used = 0;
            chunk->next = kept;
            kept = chunk;
            kept_size += CHUNK_SIZE;
        } else {
            given += chunk->size;
            free(chunk);
        }
        chunk = next;
    }
    region->chunks = kept;
    if (given >= TRIM_SIZE)
        malloc_trim(0);
}

void fl_region_leave(struct fl_region *region)
{
    assert(current == region || !WORKS);
    current = NULL;
    keep(region, FL_REGION_KEPT);
}

void fl_region_done(struct fl_region *region)
{
    assert(current != region);
    keep(region, 0);
}

static struct fl_region_chunk *new_chunk(size_t size)
{
    struct fl_region_chunk *chunk = size <= SIZE_MAX - sizeof(*chunk) ? malloc(sizeof(*chunk) + size) : NULL;
    if (chunk != NULL)
        *chunk = (struct fl_region_chunk){.size = size};
    return chunk;
}

/* Chunks that were kept stand behind the first, unused. */
static struct fl_region_chunk *next_chunk(struct fl_region *region)
{
    for (struct fl_region_chunk **link = &region->chunks; *link != NULL; link = &(*link)->next) {
        struct fl_region_chunk *chunk = *link;
        if (chunk->used > 0)
            continue;
        *link = chunk->next;
        return chunk;
    }
    return new_chunk(CHUNK_SIZE);
}

static void *allocate_large(struct fl_region *region, size_t size)
{
    struct fl_region_chunk *chunk = new_chunk(size);
    if (chunk == NULL)
        return NULL;
    chunk->used = size;
    struct fl_region_chunk **link = region->chunks != NULL ? &region->chunks->next : &region->chunks;
    chunk->next = *link;
    *link = chunk;
    return chunk->data;
}

static void *allocate_slow(struct fl_region *region, size_t size)
{
    if (size > LARGE_SIZE)
        return allocate_large(region, size);
    struct fl_region_chunk *chunk = next_chunk(region);
    if (chunk == NULL)
        return NULL;
    chunk->next = region->chunks;
    chunk->used = size;
    region->chunks = chunk;
    return chunk->data;
}

void *fl_region_allocate(size_t size)
{
    struct fl_region *region = current;
    if (region == NULL)
        return malloc(size);
    size_t rounded = size <= LARGE_SIZE ? (size + alignof(uint64_t) - 1) & ~(alignof(uint64_t) - 1) : size;
    struct fl_region_chunk *chunk = region->chunks;
    if (rounded > LARGE_SIZE || chunk == NULL || chunk->size - chunk->used < rounded)
        return allocate_slow(region, rounded);
    void *memory = chunk->data + chunk->used;
    chunk->used += rounded;
    return memory;
}

bool fl_region_owns(const void *memory)
{
    if (current == NULL)
        return false;
    uintptr_t at = (uintptr_t)memory;
    for (const struct fl_region_chunk *chunk = current->chunks; chunk != NULL; chunk = chunk->next) {
        if (at >= (uintptr_t)chunk->data && at < (uintptr_t)chunk->data + chunk->size)
            return true;
    }
    return false;
}

void fl_region_release(void *memory)
{
    if (!fl_region_owns(memory))
        free(memory);
}
