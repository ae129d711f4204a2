#include "proxy/net/pool.h"

#include <assert.h>
#include <errno.h>

static void set_in_use(struct proxy_pool *pool, size_t bytes)
{
    __atomic_store_n(&pool->in_use, bytes, __ATOMIC_RELAXED);
}

static struct proxy_chunk *chunk_get(struct proxy_pool *pool, size_t want)
{
    bool small = want <= PROXY_CHUNK_SMALL || proxy_pool_is_lean(pool);
    if (pool->max != 0 && pool->in_use + (small ? PROXY_CHUNK_SMALL : PROXY_CHUNK_LARGE) > pool->max)
        return NULL;
    struct proxy_chunk **list = small ? &pool->small : &pool->large;
    struct proxy_chunk *chunk = *list;
    if (chunk != NULL) {
        *list = chunk->next;
        (*(small ? &pool->small_count : &pool->large_count))--;
    } else {
        uint32_t size = small ? PROXY_CHUNK_SMALL : PROXY_CHUNK_LARGE;
        chunk = malloc(sizeof(*chunk) + size);
        if (chunk == NULL)
            return NULL;
        chunk->size = size;
    }
    chunk->next = NULL;
    chunk->begin = chunk->end = 0;
    set_in_use(pool, pool->in_use + chunk->size);
    return chunk;
}

static void chunk_put(struct proxy_pool *pool, struct proxy_chunk *chunk)
{
    bool small = chunk->size == PROXY_CHUNK_SMALL;
    unsigned *count = small ? &pool->small_count : &pool->large_count;
    struct proxy_chunk **list = small ? &pool->small : &pool->large;
    set_in_use(pool, pool->in_use - chunk->size);
    if (*count >= (small ? PROXY_POOL_KEEP_SMALL : PROXY_POOL_KEEP_LARGE)) {
        free(chunk);
        return;
    }
    chunk->next = *list;
    *list = chunk;
    (*count)++;
}

static void free_all(struct proxy_chunk *chunk)
{
    while (chunk != NULL) {
        struct proxy_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void proxy_pool_done(struct proxy_pool *pool)
{
    assert(pool->in_use == 0);
    proxy_pool_trim(pool);
}

void proxy_pool_trim(struct proxy_pool *pool)
{
    free_all(fl_take(pool->small));
    free_all(fl_take(pool->large));
    pool->small_count = pool->large_count = 0;
}

/* Chunks for what does not fit behind the tail, before anything is copied: so an append is all or nothing. */
static int reserve(struct proxy_pool *pool, size_t want, struct proxy_chunk **ret_chain)
{
    struct proxy_chunk *chain = NULL, **link = &chain;
    while (want > 0) {
        struct proxy_chunk *chunk = chunk_get(pool, want);
        if (chunk == NULL) {
            while (chain != NULL) {
                struct proxy_chunk *next = chain->next;
                chunk_put(pool, chain);
                chain = next;
            }
            return -ENOMEM;
        }
        *link = chunk;
        link = &chunk->next;
        want -= want < chunk->size ? want : chunk->size;
    }
    *ret_chain = chain;
    return 0;
}

static struct fl_span fill(struct proxy_chunk *chunk, struct fl_span bytes)
{
    size_t room = chunk->size - chunk->end;
    size_t part = bytes.len < room ? bytes.len : room;
    memcpy(chunk->data + chunk->end, bytes.data, part);
    chunk->end += (uint32_t)part;
    return fl_span_from(bytes, part);
}

int proxy_queue_append(struct proxy_queue *queue, struct proxy_pool *pool, struct fl_span bytes)
{
    if (bytes.len == 0)
        return 0;
    size_t room = queue->tail != NULL ? queue->tail->size - queue->tail->end : 0;
    struct proxy_chunk *chain = NULL;
    if (bytes.len > room && reserve(pool, bytes.len - room, &chain) < 0)
        return -ENOMEM;
    queue->bytes += bytes.len;
    if (room > 0)
        bytes = fill(queue->tail, bytes);
    for (struct proxy_chunk *chunk = chain; chunk != NULL; chunk = chunk->next) {
        bytes = fill(chunk, bytes);
        if (queue->tail != NULL)
            queue->tail->next = chunk;
        else
            queue->head = chunk;
        queue->tail = chunk;
    }
    return 0;
}

struct fl_span proxy_queue_front(const struct proxy_queue *queue)
{
    const struct proxy_chunk *chunk = queue->head;
    if (chunk == NULL)
        return (struct fl_span){NULL, 0};
    return fl_span_make(chunk->data + chunk->begin, chunk->end - chunk->begin);
}

size_t proxy_queue_iov(const struct proxy_queue *queue, struct iovec *iov, size_t max)
{
    size_t count = 0;
    for (struct proxy_chunk *chunk = queue->head; chunk != NULL && count < max; chunk = chunk->next)
        iov[count++] = (struct iovec){chunk->data + chunk->begin, chunk->end - chunk->begin};
    return count;
}

void proxy_queue_consume(struct proxy_queue *queue, struct proxy_pool *pool, size_t count)
{
    assert(count <= queue->bytes);
    queue->bytes -= count;
    while (queue->head != NULL) {
        struct proxy_chunk *chunk = queue->head;
        size_t here = chunk->end - chunk->begin;
        if (count < here) {
            chunk->begin += (uint32_t)count;
            return;
        }
        count -= here;
        queue->head = chunk->next;
        chunk_put(pool, chunk);
    }
    queue->tail = NULL;
}

void proxy_queue_clear(struct proxy_queue *queue, struct proxy_pool *pool)
{
    proxy_queue_consume(queue, pool, queue->bytes);
}
