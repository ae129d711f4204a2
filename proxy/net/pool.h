/* Memory of the data path: chunks from a per-worker pool, and queues of bytes made of them.
 *
 * An idle connection holds none. A chunk goes back as soon as it is empty; the pool keeps a few of them warm (they are
 * the hot ones: last in, first out) and gives the rest back to malloc. One worker, one pool: nothing is locked.
 */
#ifndef PROXY_NET_POOL_H
#define PROXY_NET_POOL_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <sys/uio.h>

#define PROXY_CHUNK_SMALL     2048u  /* bytes of content */
#define PROXY_CHUNK_LARGE     16384u /* one full TLS record */
#define PROXY_POOL_KEEP_SMALL 64u
#define PROXY_POOL_KEEP_LARGE 16u

struct proxy_chunk {
    struct proxy_chunk *next;
    uint32_t begin, end; /* the content is data[begin, end) */
    uint32_t size;       /* PROXY_CHUNK_SMALL or PROXY_CHUNK_LARGE */
    char data[];
};

struct proxy_pool { /* zeroed: empty */
    struct proxy_chunk *small, *large;
    unsigned small_count, large_count;
    size_t in_use; /* bytes of content room handed out; written by atomic stores, so that another thread may look */
    /* Of the memory ceiling (server/ceiling.h): above the first the pool is lean, beyond the second there is no chunk
     * (-ENOMEM). 0: no bound. */
    size_t lean_above, max;
    bool lean; /* … whatever is in use */
};

/* Small chunks and small reads are asked for: memory is short. */
static inline bool proxy_pool_is_lean(const struct proxy_pool *pool)
{
    return pool->lean || (pool->lean_above != 0 && pool->in_use > pool->lean_above);
}

void proxy_pool_trim(struct proxy_pool *pool); /* gives back what it keeps warm */

void proxy_pool_done(struct proxy_pool *pool); /* asserts that everything came back */

struct proxy_queue { /* zeroed: empty */
    struct proxy_chunk *head, *tail;
    size_t bytes;
};

/* Copies all of `bytes` behind the queue, or nothing: 0 or -ENOMEM. */
int proxy_queue_append(struct proxy_queue *queue, struct proxy_pool *pool, struct fl_span bytes) FL_MUST_CHECK;
/* The first chunk's content; empty where the queue is. */
struct fl_span proxy_queue_front(const struct proxy_queue *queue);
/* The content from the front, at most `max` pieces. Returns their number. */
size_t proxy_queue_iov(const struct proxy_queue *queue, struct iovec *iov, size_t max);
/* Drops `count` ≤ queue->bytes at the front. */
void proxy_queue_consume(struct proxy_queue *queue, struct proxy_pool *pool, size_t count);
void proxy_queue_clear(struct proxy_queue *queue, struct proxy_pool *pool);

#endif
