#include "proxy/telemetry/quota.h"

bool proxy_quota_take(struct proxy_quota *quota, uint64_t now_ms, uint64_t *ret_suppressed)
{
    uint64_t back = (now_ms - quota->since_ms) / PROXY_QUOTA_INTERVAL_MS;
    if (back >= quota->used) {
        quota->used = 0;
        quota->since_ms = now_ms;
    } else {
        quota->used -= (uint32_t)back;
        quota->since_ms += back * PROXY_QUOTA_INTERVAL_MS;
    }
    if (quota->used == PROXY_QUOTA_BURST) {
        quota->suppressed++;
        return false;
    }
    quota->used++;
    *ret_suppressed = quota->suppressed;
    quota->suppressed = 0;
    return true;
}
