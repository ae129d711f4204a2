/* Which requests of a route are tried again. */
#include "control/xds/generation.h"

#define RETRIES_DEFAULT 2

static const struct {
    uint32_t bit;
    const char *word;
} retry_words[] = {
    {CONTROL_RETRY_CONNECT, "connect-failure"},
    {CONTROL_RETRY_REFUSED, "refused-stream"},
    {CONTROL_RETRY_RESET, "reset"},
    {CONTROL_RETRY_5XX, "5xx"},
    {CONTROL_RETRY_GATEWAY, "gateway-error"},
    {CONTROL_RETRY_CODES, "retriable-status-codes"},
    {CONTROL_RETRY_UNAVAILABLE, "unavailable"},
    {CONTROL_RETRY_CANCELLED, "cancelled"},
};

static char *retry_on(struct generation *generation, uint32_t on)
{
    char *text = literal("");
    for (size_t i = 0; i < FL_COUNT(retry_words); i++)
        if ((on & retry_words[i].bit) != 0)
            text = build_textf(&generation->build, "%s%s%s", text, text[0] != '\0' ? "," : "", retry_words[i].word);
    return text;
}

static void add_code(struct generation *generation, pb_retry *retry, size_t capacity, uint16_t code)
{
    if (retry->retriable_status_codes == NULL)
        retry->retriable_status_codes = fl_arena_array(generation->arena, capacity, sizeof(uint32_t));
    if (retry->retriable_status_codes == NULL)
        generation->build.failed = true;
    else
        retry->retriable_status_codes[retry->n_retriable_status_codes++] = code;
}

static void another_host(struct generation *generation, pb_retry *retry)
{
    struct build *build = &generation->build;
    pb_retry_host *predicate = new_retry_host(build);
    predicate->name = literal("envoy.retry_host_predicates.previous_hosts");
    predicate->config_type_case =
        ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RETRY_HOST_PREDICATE__CONFIG_TYPE_TYPED_CONFIG;
    predicate->typed_config = build_any(build, &new_previous_hosts(build)->base);
    PUSH(build, retry, retry_host_predicate, predicate);
    retry->host_selection_retry_max_attempts = 3;
}

static void set_backoff(struct generation *generation, pb_retry *retry, uint32_t base, uint32_t max)
{
    if (base == 0)
        return;
    retry->retry_back_off = new_retry_backoff(&generation->build);
    retry->retry_back_off->base_interval = build_ms(&generation->build, base);
    if (max >= base)
        retry->retry_back_off->max_interval = build_ms(&generation->build, max);
}

/* The rule's own, else the Service's TrafficPolicy, else what is always safe: connections that were not made. */
pb_retry *routes_retry(struct generation *generation, const struct control_retry *rule,
                       const struct control_service *service)
{
    const struct control_traffic_policy *traffic =
        service != NULL ? control_service_traffic(generation->model, service) : NULL;
    const struct control_retry_policy *policy = traffic != NULL ? traffic->retries : NULL;
    uint32_t on = CONTROL_RETRY_CONNECT | CONTROL_RETRY_REFUSED, attempts = RETRIES_DEFAULT;
    pb_retry *retry = new_retry(&generation->build);
    if (policy != NULL && rule == NULL && policy->attempts == 0)
        return NULL;
    if (policy != NULL) {
        on = policy->on != 0 ? policy->on : on;
        attempts = policy->attempts > 0 ? policy->attempts : attempts;
        set_backoff(generation, retry, policy->backoff_ms, policy->backoff_max_ms);
        if (policy->per_try_timeout_ms > 0)
            retry->per_try_timeout = build_ms(&generation->build, policy->per_try_timeout_ms);
        for (size_t i = 0; rule == NULL && i < policy->code_count; i++)
            add_code(generation, retry, policy->code_count, policy->codes[i]);
    }
    if (rule != NULL) {
        attempts = rule->attempts > 0 ? rule->attempts : attempts;
        set_backoff(generation, retry, rule->backoff_ms, 0);
        for (size_t i = 0; i < rule->code_count; i++)
            add_code(generation, retry, rule->code_count, rule->codes[i]);
    }
    if (retry->n_retriable_status_codes > 0)
        on |= CONTROL_RETRY_CODES;
    retry->retry_on = retry_on(generation, on);
    retry->num_retries = build_u32(&generation->build, attempts);
    another_host(generation, retry);
    return retry;
}
