#include "common/base/backoff.h"

#include <assert.h>
#include <sys/random.h>
#include <time.h>

void fl_backoff_init(struct fl_backoff *backoff, uint32_t base_ms, uint32_t max_ms)
{
    assert(base_ms >= 1 && base_ms <= max_ms);
    *backoff = (struct fl_backoff){.base_ms = base_ms, .max_ms = max_ms};
}

/* Where the kernel has no random bytes yet (early boot), the clock's nanoseconds do: this spreads, it guards nothing.
 */
static uint64_t draw(void)
{
    uint64_t value;
    if (getrandom(&value, sizeof(value), GRND_NONBLOCK) == sizeof(value))
        return value;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_nsec * UINT64_C(0x9e3779b97f4a7c15);
}

uint32_t fl_backoff_next(struct fl_backoff *backoff)
{
    uint64_t ceiling = backoff->attempts < 32 ? (uint64_t)backoff->base_ms << backoff->attempts : backoff->max_ms;
    if (ceiling > backoff->max_ms)
        ceiling = backoff->max_ms;
    if (backoff->attempts < 32)
        backoff->attempts++;
    return fl_backoff_draw((uint32_t)ceiling);
}

uint32_t fl_backoff_draw(uint32_t max)
{
    return (uint32_t)(draw() % ((uint64_t)max + 1));
}

void fl_backoff_reset(struct fl_backoff *backoff)
{
    backoff->attempts = 0;
}
