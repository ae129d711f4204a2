/* RetryPolicy → struct proxy_retry_policy, in scratch memory: the route table copies it. */
#include "proxy/config/context.h"
#include "proxy/route/table.h"

#define DEFAULT_BASE_MS 25
#define BACKOFF_TIMES   10 /* the longest interval, where none is named */
#define RETRIES_MAX     1000

typedef Envoy__Config__Route__V3__RetryPolicy pb_retry;

static int read_words(struct compile *compile, const pb_retry *message, struct proxy_retry_policy *policy)
{
    static const char *const words[PROXY_RETRY_ON_BITS] = {
#define X(id, word) [PROXY_RETRY_ON_BIT_##id] = word,
        PROXY_RETRY_ON_LIST(X)
#undef X
    };
    struct fl_span rest = fl_span_str(message->retry_on), word;
    while (fl_span_split(&rest, ',', &word)) {
        word = fl_span_trim(word);
        size_t bit = 0;
        while (bit < PROXY_RETRY_ON_BITS && !fl_span_eq_str(word, words[bit]))
            bit++;
        if (bit == PROXY_RETRY_ON_BITS && word.len > 0)
            return compile_fail_at(compile, "retry_on", "\"%.*s\" is not supported", FL_SPAN_ARG(word));
        if (word.len > 0)
            policy->on |= 1u << bit;
    }
    return 0;
}

static int read_backoff(struct compile *compile, const pb_retry *message, struct proxy_retry_policy *policy)
{
    uint64_t base_ms = DEFAULT_BASE_MS, max_ms = 0;
    if (message->retry_back_off != NULL) {
        struct compile_mark mark = compile_enter(compile, "retry_back_off");
        int result = compile_ms(compile, "base_interval", message->retry_back_off->base_interval, &base_ms);
        if (result == 0 && base_ms == 0)
            result = compile_fail_at(compile, "base_interval", "must be greater than 0");
        if (result == 0)
            result = compile_ms(compile, "max_interval", message->retry_back_off->max_interval, &max_ms);
        if (result == 0 && max_ms != 0 && max_ms < base_ms)
            result = compile_fail_at(compile, "max_interval", "must not be less than base_interval");
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    if (max_ms == 0)
        max_ms = base_ms * BACKOFF_TIMES;
    policy->backoff_base_ms = base_ms < UINT32_MAX ? (uint32_t)base_ms : UINT32_MAX;
    policy->backoff_max_ms = max_ms < UINT32_MAX ? (uint32_t)max_ms : UINT32_MAX;
    return 0;
}

static int read_statuses(struct compile *compile, const pb_retry *message, struct proxy_retry_policy *policy)
{
    uint16_t *statuses = fl_arena_array(&compile->scratch, message->n_retriable_status_codes, sizeof(*statuses));
    if (statuses == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_retriable_status_codes; i++) {
        if (message->retriable_status_codes[i] < 100 || message->retriable_status_codes[i] > 599)
            return compile_fail_at(compile, "retriable_status_codes", "expected statuses from 100 to 599, got %u",
                                   message->retriable_status_codes[i]);
        statuses[i] = (uint16_t)message->retriable_status_codes[i];
    }
    policy->statuses = statuses;
    policy->status_count = message->n_retriable_status_codes;
    return 0;
}

/* previous_hosts, by its type or, as older configurations have it, by its name alone. */
static int read_predicates(struct compile *compile, const pb_retry *message, struct proxy_retry_policy *policy)
{
    for (size_t i = 0; i < message->n_retry_host_predicate; i++) {
        const Envoy__Config__Route__V3__RetryPolicy__RetryHostPredicate *one = message->retry_host_predicate[i];
        struct compile_mark mark = compile_enter_at(compile, "retry_host_predicate", i);
        bool known = one->config_type_case ==
                             ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RETRY_HOST_PREDICATE__CONFIG_TYPE_TYPED_CONFIG
                         ? fl_span_eq_str(compile_type_name(one->typed_config),
                                          "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
                         : strcmp(one->name, "envoy.retry_host_predicates.previous_hosts") == 0;
        if (!known)
            return compile_fail(compile, "expected envoy.retry_host_predicates.previous_hosts");
        policy->other_host = true;
        compile_leave(compile, mark);
    }
    return 0;
}

static int read_headers(struct compile *compile, const pb_retry *message, struct proxy_retry_policy *policy)
{
    struct proxy_header_match *headers =
        fl_arena_array(&compile->scratch, message->n_retriable_headers, sizeof(*headers));
    if (headers == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_retriable_headers; i++) {
        struct compile_mark mark = compile_enter_at(compile, "retriable_headers", i);
        int result = compile_header_match(compile, message->retriable_headers[i], &headers[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    policy->headers = headers;
    policy->header_count = message->n_retriable_headers;
    return 0;
}

static int read_policy(struct compile *compile, const pb_retry *message, struct proxy_retry_policy *policy)
{
    uint64_t per_try_ms = 0;
    policy->num_retries = 1;
    int result = COMPILE_REFUSE(compile, message, "retry_priority", "retriable_request_headers",
                                "rate_limited_retry_back_off", "retry_options_predicates", "per_try_idle_timeout");
    if (result == 0)
        result = read_words(compile, message, policy);
    if (result == 0)
        result = compile_u32(compile, "num_retries", message->num_retries, 0, RETRIES_MAX, &policy->num_retries);
    if (result == 0)
        result = compile_ms(compile, "per_try_timeout", message->per_try_timeout, &per_try_ms);
    policy->per_try_timeout_ms = per_try_ms < UINT32_MAX ? (uint32_t)per_try_ms : UINT32_MAX;
    if (result == 0)
        result = read_backoff(compile, message, policy);
    if (result == 0)
        result = read_statuses(compile, message, policy);
    if (result == 0)
        result = read_predicates(compile, message, policy);
    return result == 0 ? read_headers(compile, message, policy) : result;
}

int compile_retry(struct compile *compile, const pb_retry *message, const struct proxy_retry_policy **ret_policy)
{
    *ret_policy = NULL;
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "retry_policy");
    struct proxy_retry_policy *policy = fl_arena_array(&compile->scratch, 1, sizeof(*policy));
    if (policy == NULL)
        return compile_no_memory(compile);
    int result = read_policy(compile, message, policy);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    *ret_policy = policy;
    return 0;
}
