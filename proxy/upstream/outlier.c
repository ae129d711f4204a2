#include "proxy/upstream/outlier.h"

#include <string.h>

enum proxy_outlier_event proxy_outlier_event_of(unsigned status)
{
    if (status < 500)
        return PROXY_OUTLIER_ANSWERED;
    return status >= 502 && status <= 504 ? PROXY_OUTLIER_GATEWAY_ERROR : PROXY_OUTLIER_SERVER_ERROR;
}

bool proxy_outlier_is_good(enum proxy_outlier_event event)
{
    return event == PROXY_OUTLIER_ANSWERED || event == PROXY_OUTLIER_CONNECTED;
}

/* Whether an event is another failure of this kind in a row (1), breaks the row (0) or says nothing (-1). */
static int bearing(const struct proxy_outlier_config *config, enum proxy_outlier_event event,
                   enum proxy_outlier_kind kind)
{
    if (kind == PROXY_OUTLIER_LOCAL)
        return !config->split ? -1 : event == PROXY_OUTLIER_FAILED ? 1 : 0;
    switch (event) {
    case PROXY_OUTLIER_ANSWERED:
        return 0;
    case PROXY_OUTLIER_CONNECTED:
        return config->split ? -1 : 0;
    case PROXY_OUTLIER_SERVER_ERROR:
        return kind == PROXY_OUTLIER_5XX ? 1 : 0;
    case PROXY_OUTLIER_GATEWAY_ERROR:
        return 1;
    case PROXY_OUTLIER_FAILED:
        break;
    }
    return config->split ? -1 : 1;
}

bool proxy_outlier_count(const struct proxy_outlier_config *config, struct proxy_outlier_state *state,
                         enum proxy_outlier_event event, enum proxy_outlier_kind *ret_kind)
{
    bool full = false;
    for (unsigned kind = 0; kind < PROXY_OUTLIER_KIND_COUNT; kind++) {
        int bears = bearing(config, event, (enum proxy_outlier_kind)kind);
        if (bears < 0 || config->consecutive[kind] == 0)
            continue;
        state->failures[kind] = bears > 0 ? state->failures[kind] + 1 : 0;
        if (state->failures[kind] < config->consecutive[kind])
            continue;
        state->failures[kind] = 0;
        /* A kind that is enforced goes before one that is only counted. */
        if (!full || config->enforcing[*ret_kind] == 0)
            *ret_kind = (enum proxy_outlier_kind)kind;
        full = true;
    }
    return full;
}

bool proxy_outlier_allowed(const struct proxy_outlier_config *config, size_t ejected, size_t hosts)
{
    if (config->max_ejection_percent == 0)
        return false;
    return ejected == 0 || (ejected + 1) * 100 <= (size_t)config->max_ejection_percent * hosts;
}

void proxy_outlier_eject(const struct proxy_outlier_config *config, struct proxy_outlier_state *state, uint64_t now_ms)
{
    uint64_t stayed = state->times > 0 ? (now_ms - state->until_ms) / config->interval_ms : 0;
    state->times = (uint32_t)(stayed < state->times ? state->times - stayed : 0) + 1;
    /* Beyond max the number says nothing more, so it need not grow (nor the product run over). */
    uint64_t most = config->max_ms > config->base_ms ? config->max_ms : config->base_ms;
    uint64_t times_max = most / config->base_ms + 1;
    if (state->times > times_max)
        state->times = (uint32_t)times_max;
    uint64_t time_ms = config->base_ms * state->times;
    memset(state->failures, 0, sizeof(state->failures));
    state->ejected = true;
    state->until_ms = now_ms + (time_ms < most ? time_ms : most);
}

bool proxy_outlier_is_due(const struct proxy_outlier_state *state, uint64_t now_ms)
{
    return state->ejected && now_ms >= state->until_ms;
}

void proxy_outlier_return(struct proxy_outlier_state *state, uint64_t now_ms)
{
    state->ejected = false;
    state->until_ms = now_ms;
}
