/* Exponential back-off with full jitter, for clients: the nth delay is drawn evenly from 0 to
 * min(max, base × 2^n). (Many proxies lose their control plane at one moment; evenly drawn delays spread their return.)
 * Pure but for the draw; no timer inside.
 */
#ifndef FL_BASE_BACKOFF_H
#define FL_BASE_BACKOFF_H

#include <stdint.h>

struct fl_backoff {
    uint32_t base_ms;
    uint32_t max_ms;
    unsigned attempts; /* since the last success */
};

/* 1 ≤ base_ms ≤ max_ms (asserted). */
void fl_backoff_init(struct fl_backoff *backoff, uint32_t base_ms, uint32_t max_ms);
/* The delay before the next attempt, in milliseconds. */
uint32_t fl_backoff_next(struct fl_backoff *backoff);
/* After a connection that proved good (an answer came, not just a handshake). */
void fl_backoff_reset(struct fl_backoff *backoff);

/* An even draw from 0 to max, for spreading; it guards nothing. */
uint32_t fl_backoff_draw(uint32_t max);

#endif
