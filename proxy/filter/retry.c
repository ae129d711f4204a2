#include "proxy/filter/retry.h"

int32_t proxy_retry_grpc_status(const struct proxy_headers *headers)
{
    uint64_t status;
    struct fl_span text = proxy_headers_value(headers, PROXY_HEADER_GRPC_STATUS);
    return fl_span_to_u64(text, 999, &status) ? (int32_t)status : -1;
}

/* The statuses of gRPC that retry_on has words for. */
static uint32_t grpc_word(int32_t status)
{
    switch (status) {
    case 1:
        return PROXY_RETRY_ON_CANCELLED;
    case 4:
        return PROXY_RETRY_ON_DEADLINE_EXCEEDED;
    case 8:
        return PROXY_RETRY_ON_RESOURCE_EXHAUSTED;
    case 13:
        return PROXY_RETRY_ON_INTERNAL;
    case 14:
        return PROXY_RETRY_ON_UNAVAILABLE;
    default:
        return 0;
    }
}

static bool status_is_listed(const struct proxy_retry_policy *policy, uint16_t status)
{
    for (size_t i = 0; i < policy->status_count; i++) {
        if (policy->statuses[i] == status)
            return true;
    }
    return false;
}

static bool header_is_listed(const struct proxy_retry_policy *policy, const struct proxy_message *response)
{
    for (size_t i = 0; i < policy->header_count; i++) {
        if (proxy_header_match(&policy->headers[i], response))
            return true;
    }
    return false;
}

static bool wants_answer(const struct proxy_retry_policy *policy, const struct proxy_message *response)
{
    const uint32_t on = policy->on;
    const uint16_t status = response->status;
    return ((on & PROXY_RETRY_ON_5XX) != 0 && status >= 500) ||
           ((on & PROXY_RETRY_ON_GATEWAY_ERROR) != 0 && status >= 502 && status <= 504) ||
           ((on & PROXY_RETRY_ON_RETRIABLE_4XX) != 0 && status == 409) ||
           ((on & PROXY_RETRY_ON_STATUS_CODES) != 0 && status_is_listed(policy, status)) ||
           ((on & PROXY_RETRY_ON_HEADERS) != 0 && header_is_listed(policy, response)) ||
           (on & grpc_word(proxy_retry_grpc_status(&response->headers))) != 0;
}

bool proxy_retry_take_unsent(struct proxy_message *response)
{
    if (response->status != 503 && grpc_word(proxy_retry_grpc_status(&response->headers)) != PROXY_RETRY_ON_UNAVAILABLE)
        return false;
    return proxy_headers_remove(&response->headers, FL_SPAN(PROXY_RETRY_UNSENT)) > 0;
}

bool proxy_retry_wants(const struct proxy_retry_policy *policy, const struct proxy_try *one)
{
    const uint32_t any_break = PROXY_RETRY_ON_5XX | PROXY_RETRY_ON_GATEWAY_ERROR | PROXY_RETRY_ON_RESET;
    const uint32_t unconnected = any_break | PROXY_RETRY_ON_CONNECT_FAILURE | PROXY_RETRY_ON_RESET_BEFORE_REQUEST;
    switch (one->outcome) {
    case PROXY_TRY_ANSWERED:
        return (one->unsent && (policy->on & unconnected) != 0) || wants_answer(policy, one->response);
    case PROXY_TRY_NOT_CONNECTED:
        return (policy->on & unconnected) != 0;
    case PROXY_TRY_BROKEN:
        return (policy->on & any_break) != 0 ||
               (!one->sent && (policy->on & PROXY_RETRY_ON_RESET_BEFORE_REQUEST) != 0) ||
               (one->refused && (policy->on & PROXY_RETRY_ON_REFUSED_STREAM) != 0);
    case PROXY_TRY_LATE:
        break;
    }
    return (policy->on & any_break) != 0;
}

uint64_t proxy_retry_backoff_ms(const struct proxy_retry_policy *policy, uint32_t number, uint64_t random)
{
    uint64_t doubled = number < 32 ? (UINT64_C(1) << number) - 1 : UINT32_MAX;
    uint64_t most = policy->backoff_base_ms * doubled;
    if (most > policy->backoff_max_ms)
        most = policy->backoff_max_ms;
    return random % (most + 1);
}
