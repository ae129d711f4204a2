/* The two clocks. Monotonic is CLOCK_BOOTTIME: it goes on while a machine sleeps, so that a keeper which wakes up knows
 * that its Lease is over. */
#ifndef WEBHOOK_KEEPER_CLOCK_H
#define WEBHOOK_KEEPER_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t keeper_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline int64_t keeper_wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif
