/* Any policy against any answer: a decision, whatever the bytes are; a back-off within its maximum. The first bytes are
 * the policy, the rest is the head of an answer. */
#include "proxy/filter/retry.h"
#include "proxy/http/h1.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct proxy_message response;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct proxy_header_match headers[] = {
        {.name = {"x-again", 7}, .kind = PROXY_VALUE_STRING, .string = {PROXY_STRING_PREFIX, false, {"y", 1}}},
        {.name = {"retry-after", 11}, .kind = PROXY_VALUE_RANGE, .range_start = 0, .range_end = 10},
    };
    static const struct proxy_exchange get = {.method_id = PROXY_METHOD_GET, .minor = 1};
    if (size < 4)
        return 0;
    const uint16_t statuses[] = {(uint16_t)(data[2] * 3)};
    const struct proxy_retry_policy policy = {
        .on = data[0] | (uint32_t)data[1] << 8,
        .backoff_base_ms = data[2] + 1u,
        .backoff_max_ms = data[2] * 7u + 1u,
        .statuses = statuses,
        .status_count = 1,
        .headers = headers,
        .header_count = FL_COUNT(headers),
    };
    struct proxy_try one = {.outcome = data[3] % 4, .sent = data[3] >= 128, .response = &response};
    struct proxy_h1_parser parser = {.scanned = 0};
    size_t used = 0;
    struct fl_span bytes = fl_span_make((const char *)data + 4, size - 4);
    int result = proxy_h1_parse_response(&parser, bytes, NULL, &get, &response, &used);
    if (result != PROXY_H1_DONE && one.outcome == PROXY_TRY_ANSWERED)
        return 0;
    if (result == PROXY_H1_DONE)
        one.unsent = proxy_retry_take_unsent(&response);
    bool wants = proxy_retry_wants(&policy, &one);
    assert(!wants || policy.on != 0);
    if (result == PROXY_H1_DONE)
        assert(proxy_retry_grpc_status(&response.headers) >= -1);
    assert(proxy_retry_backoff_ms(&policy, data[1], data[0] * 0x9e3779b97f4a7c15u) <= policy.backoff_max_ms);
    return 0;
}
