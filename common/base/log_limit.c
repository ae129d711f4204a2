#include "common/base/log_limit.h"

bool fl_log_limit_take(struct fl_log_limit *limit, uint64_t now_ms, uint64_t *ret_suppressed)
{
    uint64_t second = now_ms / 1000, passed = second - limit->second;
    if (passed >= FL_LOG_LIMIT_BURST / FL_LOG_LIMIT_PER_SECOND)
        limit->used = 0;
    else if (passed * FL_LOG_LIMIT_PER_SECOND < limit->used)
        limit->used -= (unsigned)passed * FL_LOG_LIMIT_PER_SECOND;
    else
        limit->used = 0;
    limit->second = second;
    if (limit->used >= FL_LOG_LIMIT_BURST) {
        limit->suppressed++;
        return false;
    }
    limit->used++;
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}
