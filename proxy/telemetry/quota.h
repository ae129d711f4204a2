/* How often the log may speak of the same thing: PROXY_QUOTA_BURST lines at once, then one a second, so that a peer
 * cannot flood it. What is kept back is counted, and told by the next line that passes. Zeroed memory is a full quota.
 * Pure; one thread's. */
#ifndef PROXY_TELEMETRY_QUOTA_H
#define PROXY_TELEMETRY_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#define PROXY_QUOTA_BURST       10u
#define PROXY_QUOTA_INTERVAL_MS 1000u

struct proxy_quota {
    uint32_t used;
    uint64_t since_ms; /* when the oldest of them began to age */
    uint64_t suppressed;
};

/* Whether a line may be written now (a clock that does not run back). *ret_suppressed, set where it may: how many were
 * kept back since the last one. */
bool proxy_quota_take(struct proxy_quota *quota, uint64_t now_ms, uint64_t *ret_suppressed);

#endif
