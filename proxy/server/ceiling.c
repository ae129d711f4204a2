#include "proxy/server/ceiling.h"

#include <stdbool.h>

#define BACK_PERCENT 10u /* below its beginning a stage ends */

static const unsigned begins_percent[PROXY_SHED_STAGE_COUNT] = {
    [PROXY_SHED_STOP_READING] = 75, [PROXY_SHED_CLOSE_IDLE] = 85, [PROXY_SHED_REFUSE] = 92};

static bool is_above(const struct proxy_ceiling *ceiling, uint64_t used, unsigned percent)
{
    return used >= ceiling->limit / 100 * percent;
}

static enum proxy_shed stage_of(const struct proxy_ceiling *ceiling, uint64_t used)
{
    enum proxy_shed stage = PROXY_SHED_NONE;
    for (unsigned i = PROXY_SHED_STOP_READING; i < PROXY_SHED_STAGE_COUNT; i++) {
        if (is_above(ceiling, used, begins_percent[i]))
            stage = (enum proxy_shed)i;
    }
    return stage;
}

enum proxy_shed proxy_ceiling_update(struct proxy_ceiling *ceiling, uint64_t used, uint64_t now_ms)
{
    if (ceiling->limit == 0)
        return PROXY_SHED_NONE;
    enum proxy_shed due = stage_of(ceiling, used);
    if (due > ceiling->stage) {
        ceiling->stage = due;
        ceiling->changed_ms = now_ms;
    } else if (ceiling->stage > PROXY_SHED_NONE && now_ms - ceiling->changed_ms >= PROXY_CEILING_HOLD_MS &&
               !is_above(ceiling, used, begins_percent[ceiling->stage] - BACK_PERCENT)) {
        ceiling->stage--;
        ceiling->changed_ms = now_ms;
    }
    return ceiling->stage;
}

struct proxy_ceiling_room proxy_ceiling_room(const struct proxy_ceiling *ceiling, uint64_t used, uint64_t held,
                                             unsigned workers)
{
    if (ceiling->limit == 0)
        return (struct proxy_ceiling_room){0, 0};
    uint64_t others = used > held ? used - held : 0;
    uint64_t room = ceiling->limit > others ? ceiling->limit - others : 0;
    room /= workers > 0 ? workers : 1;
    if (room < PROXY_CEILING_ROOM_MIN)
        room = PROXY_CEILING_ROOM_MIN;
    return (struct proxy_ceiling_room){.lean_above = (size_t)(room / 2), .max = (size_t)room};
}
