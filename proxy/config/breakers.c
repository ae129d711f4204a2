/* What keeps a cluster from being overrun, and its bad hosts from being used: circuit_breakers, outlier_detection,
 * common_lb_config, least_request_lb_config. */
#include "proxy/config/context.h"

#include "proxy/upstream/balance.h"

#define DEFAULT_LIMIT   1024 /* of connections, pending requests and requests, as Envoy has it */
#define DEFAULT_RETRIES 3
#define BUDGET_PERCENT  20
#define BUDGET_MIN      3

/* Rounded up: a little is not nothing. */
static int read_percent(struct compile *compile, const char *field, const Envoy__Type__V3__Percent *percent,
                        uint32_t *ret_percent)
{
    if (percent == NULL)
        return 0;
    if (!(percent->value >= 0 && percent->value <= 100))
        return compile_fail_at(compile, field, "expected a number from 0 to 100");
    *ret_percent = (uint32_t)percent->value + (percent->value > (uint32_t)percent->value);
    return 0;
}

/* -- circuit breakers -- */

static void read_limit(const pb_uint32 *value, uint32_t *limit)
{
    if (value != NULL)
        *limit = value->value;
}

static int read_budget(struct compile *compile, const pb_thresholds *thresholds, struct proxy_cluster *cluster)
{
    if (thresholds->retry_budget == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "retry_budget");
    cluster->retry_budget_percent = BUDGET_PERCENT;
    cluster->retry_min = BUDGET_MIN;
    int result = read_percent(compile, "budget_percent", thresholds->retry_budget->budget_percent,
                              &cluster->retry_budget_percent);
    if (result == 0)
        compile_leave(compile, mark);
    read_limit(thresholds->retry_budget->min_retry_concurrency, &cluster->retry_min);
    if (cluster->retry_budget_percent == 0) { /* a budget of nothing is a limit: the number that is always allowed */
        cluster->max_retries = cluster->retry_min;
        cluster->retry_min = 0;
    }
    return result;
}

/* Of the DEFAULT priority; the last one counts. */
static int read_breakers(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    cluster->max_connections = cluster->max_pending_requests = cluster->max_requests = DEFAULT_LIMIT;
    cluster->max_retries = DEFAULT_RETRIES;
    int result = 0;
    if (message->circuit_breakers == NULL)
        return 0;
    struct compile_mark outer = compile_enter(compile, "circuit_breakers");
    for (size_t i = 0; result == 0 && i < message->circuit_breakers->n_thresholds; i++) {
        const pb_thresholds *thresholds = message->circuit_breakers->thresholds[i];
        struct compile_mark mark = compile_enter_at(compile, "thresholds", i);
        if (thresholds->priority != ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__DEFAULT) {
            compile_warn(compile, "is for another priority than DEFAULT, ignored");
        } else {
            read_limit(thresholds->max_connections, &cluster->max_connections);
            read_limit(thresholds->max_pending_requests, &cluster->max_pending_requests);
            read_limit(thresholds->max_requests, &cluster->max_requests);
            read_limit(thresholds->max_retries, &cluster->max_retries);
            result = read_budget(compile, thresholds, cluster);
        }
        if (result == 0)
            compile_leave(compile, mark);
    }
    if (result == 0)
        compile_leave(compile, outer);
    return result;
}

/* -- outlier detection -- */

typedef Envoy__Config__Cluster__V3__OutlierDetection pb_outlier;

static int read_times(struct compile *compile, const pb_outlier *message, struct proxy_outlier_config *outlier)
{
    outlier->interval_ms = 10000;
    outlier->base_ms = 30000;
    outlier->max_ms = 300000;
    int result = compile_ms(compile, "interval", message->interval, &outlier->interval_ms);
    if (result == 0)
        result = compile_ms(compile, "base_ejection_time", message->base_ejection_time, &outlier->base_ms);
    if (result == 0)
        result = compile_ms(compile, "max_ejection_time", message->max_ejection_time, &outlier->max_ms);
    if (result == 0 && outlier->interval_ms == 0)
        return compile_fail_at(compile, "interval", "must be greater than 0");
    if (result == 0 && outlier->base_ms == 0)
        return compile_fail_at(compile, "base_ejection_time", "must be greater than 0");
    if (result == 0 && outlier->max_ms == 0)
        return compile_fail_at(compile, "max_ejection_time", "must be greater than 0");
    return result;
}

static int read_kind(struct compile *compile, enum proxy_outlier_kind kind, const char *field, const pb_uint32 *count,
                     const char *enforcing_field, const pb_uint32 *enforcing, struct proxy_outlier_config *outlier)
{
    int result = compile_u32(compile, field, count, 0, UINT32_MAX, &outlier->consecutive[kind]);
    return result == 0 ? compile_u32(compile, enforcing_field, enforcing, 0, 100, &outlier->enforcing[kind]) : result;
}

static bool is_enforced(const pb_uint32 *percent)
{
    return percent != NULL && percent->value > 0;
}

/* Statistics over all hosts of a cluster are not kept: who asks for them is told. */
static void tell_unused(struct compile *compile, const pb_outlier *message)
{
    if (is_enforced(message->enforcing_success_rate) || is_enforced(message->enforcing_local_origin_success_rate) ||
        message->success_rate_minimum_hosts != NULL || message->success_rate_request_volume != NULL ||
        message->success_rate_stdev_factor != NULL)
        compile_warn(compile, "success rates are not acted on: failures in a row are");
    if (is_enforced(message->enforcing_failure_percentage) ||
        is_enforced(message->enforcing_failure_percentage_local_origin) ||
        message->failure_percentage_threshold != NULL || message->failure_percentage_minimum_hosts != NULL ||
        message->failure_percentage_request_volume != NULL)
        compile_warn(compile, "failure percentages are not acted on: failures in a row are");
}

static int read_outlier(struct compile *compile, const pb_cluster *cluster_message, struct proxy_cluster *cluster)
{
    const pb_outlier *message = cluster_message->outlier_detection;
    struct proxy_outlier_config *outlier = &cluster->outlier;
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "outlier_detection");
    *outlier = (struct proxy_outlier_config){
        .on = true,
        .split = message->split_external_local_origin_errors != 0,
        .consecutive = {5, 5, 5},
        .enforcing = {[PROXY_OUTLIER_5XX] = 100, [PROXY_OUTLIER_GATEWAY] = 0, [PROXY_OUTLIER_LOCAL] = 100},
        .max_ejection_percent = 10,
    };
    int result = read_kind(compile, PROXY_OUTLIER_5XX, "consecutive_5xx", message->consecutive_5xx,
                           "enforcing_consecutive_5xx", message->enforcing_consecutive_5xx, outlier);
    if (result == 0)
        result = read_kind(compile, PROXY_OUTLIER_GATEWAY, "consecutive_gateway_failure",
                           message->consecutive_gateway_failure, "enforcing_consecutive_gateway_failure",
                           message->enforcing_consecutive_gateway_failure, outlier);
    if (result == 0)
        result = read_kind(compile, PROXY_OUTLIER_LOCAL, "consecutive_local_origin_failure",
                           message->consecutive_local_origin_failure, "enforcing_consecutive_local_origin_failure",
                           message->enforcing_consecutive_local_origin_failure, outlier);
    if (result == 0)
        result = compile_u32(compile, "max_ejection_percent", message->max_ejection_percent, 0, 100,
                             &outlier->max_ejection_percent);
    if (result == 0)
        result = read_times(compile, message, outlier);
    if (result != 0)
        return result;
    tell_unused(compile, message);
    if (cluster->type == PROXY_CLUSTER_ORIGINAL_DST)
        compile_warn(compile, "is not acted on: the type ORIGINAL_DST has no other host to choose");
    compile_leave(compile, mark);
    return 0;
}

/* -- balancing -- */

static int read_balancing(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    cluster->panic_percent = 50;
    cluster->choice_count = 2;
    int result = 0;
    if (message->common_lb_config != NULL) {
        struct compile_mark mark = compile_enter(compile, "common_lb_config");
        result = read_percent(compile, "healthy_panic_threshold", message->common_lb_config->healthy_panic_threshold,
                              &cluster->panic_percent);
        if (result == 0)
            compile_leave(compile, mark);
    }
    if (result != 0 ||
        message->lb_config_case != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_LEAST_REQUEST_LB_CONFIG)
        return result;
    if (cluster->lb_policy != PROXY_LB_LEAST_REQUEST)
        return compile_fail_at(compile, "least_request_lb_config", "belongs to the policy LEAST_REQUEST");
    struct compile_mark mark = compile_enter(compile, "least_request_lb_config");
    result = compile_u32(compile, "choice_count", message->least_request_lb_config->choice_count, 2,
                         PROXY_BALANCE_CHOICES_MAX, &cluster->choice_count);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

int compile_breakers(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    int result = read_breakers(compile, message, cluster);
    if (result == 0)
        result = read_outlier(compile, message, cluster);
    return result == 0 ? read_balancing(compile, message, cluster) : result;
}
