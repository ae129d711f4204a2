/* Exponential back-off with full jitter, for owners of a client: the nth delay is drawn evenly from 0 to
 * min(max, base × 2^n). (Many proxies lose their control plane at one moment; evenly drawn delays spread their return.)
 * Pure but for the draw; no timer inside.
 */
#ifndef FL_GRPC_BACKOFF_H
#define FL_GRPC_BACKOFF_H

#include <stdint.h>

struct fl_grpc_backoff {
    uint32_t base_ms;
    uint32_t max_ms;
    unsigned attempts; /* since the last success */
};

/* 1 ≤ base_ms ≤ max_ms (asserted). */
void fl_grpc_backoff_init(struct fl_grpc_backoff *backoff, uint32_t base_ms, uint32_t max_ms);
/* The delay before the next attempt, in milliseconds. */
uint32_t fl_grpc_backoff_next(struct fl_grpc_backoff *backoff);
/* After a connection that proved good (an answer came, not just a handshake). */
void fl_grpc_backoff_reset(struct fl_grpc_backoff *backoff);

#endif
