/* TrafficPolicy. */
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/target.h"

static int read_balance(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const char *const names[] = {"RoundRobin", "LeastRequest", NULL};
    const struct fl_row word = {.name = row->name, .detail = names};
    int index = 0;
    int result = fl_read_enum(reader, value, &index, &word);
    *(enum control_balance *)field = (enum control_balance)(CONTROL_BALANCE_ROUND_ROBIN + index);
    return result;
}

#define PERCENT    0, 1, 100, NULL
#define AT(member) offsetof(struct control_outlier, member)
static const struct fl_row outlier_rows[] = {
    {"consecutive5xxErrors", fl_read_u32, AT(consecutive_5xx), OPT, 0, 100000, NULL},
    {"consecutiveGatewayErrors", fl_read_u32, AT(consecutive_gateway), OPT, 0, 100000, NULL},
    {"interval", control_read_period, AT(interval_ms), OPT, 0, 0, NULL},
    {"baseEjectionTime", control_read_period, AT(ejection_ms), OPT, 0, 0, NULL},
    {"maxEjectionPercent", fl_read_u32, AT(ejection_percent), OPT, 0, 100, NULL},
    {"minHealthPercent", fl_read_u32, AT(min_health_percent), OPT, 0, 100, NULL},
    {0},
};
static const struct fl_table outlier_table = {outlier_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct control_outlier outlier_start = {
    .consecutive_5xx = 5, .interval_ms = 10000, .ejection_ms = 30000, .ejection_percent = 10};
static const struct control_part outlier_part = {sizeof(struct control_outlier), &outlier_start, &outlier_table};
#undef AT
#undef PERCENT

#define AT(member) offsetof(struct control_circuit, member)
static const struct fl_row circuit_rows[] = {
    {"maxConnections", fl_read_u32, AT(max_connections), OPT, 1, UINT32_MAX, NULL},
    {"maxPendingRequests", fl_read_u32, AT(max_pending), OPT, 1, UINT32_MAX, NULL},
    {"maxRequests", fl_read_u32, AT(max_requests), OPT, 1, UINT32_MAX, NULL},
    {"maxRetries", fl_read_u32, AT(max_retries), OPT, 1, UINT32_MAX, NULL},
    {0},
};
static const struct fl_table circuit_table = {circuit_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct control_part circuit_part = {sizeof(struct control_circuit), NULL, &circuit_table};
#undef AT

static int read_retry_on(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const char *const names[] = {"connect-failure", "refused-stream",         "reset",       "5xx",
                                        "gateway-error",   "retriable-status-codes", "unavailable", "cancelled"};
    uint32_t *on = field;
    (void)row;
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        uint32_t bit = 0;
        for (size_t i = 0; i < FL_COUNT(names); i++)
            if (fl_span_eq_str(fl_json_string(item), names[i]))
                bit = 1u << i;
        if (bit == 0)
            return fl_reader_expected(reader, item,
                                      "connect-failure, refused-stream, reset, 5xx, gateway-error, "
                                      "retriable-status-codes, unavailable or cancelled");
        *on |= bit;
    }
    return 0;
}

static const struct control_list code_list =
    LIST_OF(struct control_retry_policy, codes, code_count, 0, 16, control_read_retry_code, NULL, NULL);
#define AT(member) offsetof(struct control_retry_policy, member)
static const struct fl_row budget_rows[] = {
    {"percent", fl_read_u32, AT(budget_percent), OPT, 0, 100, NULL},
    {"minRetriesPerSecond", fl_read_u32, AT(budget_min), OPT, 0, 1000000, NULL},
    {0},
};
static const struct fl_table budget_table = {budget_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row backoff_rows[] = {
    {"base", control_read_duration, AT(backoff_ms), OPT, 0, 0, NULL},
    {"max", control_read_duration, AT(backoff_max_ms), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table backoff_table = {backoff_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row retry_rows[] = {
    {"attempts", fl_read_u32, AT(attempts), REQ, 0, 100, NULL},
    {"perTryTimeout", control_read_duration, AT(per_try_timeout_ms), OPT, 0, 0, NULL},
    {"retryOn", read_retry_on, AT(on), OPT, 0, 0, NULL},
    {"codes", control_read_list, AT(codes), OPT, 0, 0, &code_list},
    {"backoff", fl_read_object, 0, OPT, 0, 0, &backoff_table},
    {"budget", fl_read_object, 0, OPT, 0, 0, &budget_table},
    {0},
};
static const struct fl_table retry_table = {retry_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct control_retry_policy retry_start = {.budget_percent = 20, .budget_min = 10};
static const struct control_part retry_part = {sizeof(struct control_retry_policy), &retry_start, &retry_table};
#undef AT

#define AT(member) offsetof(struct control_traffic_policy, member)
static const struct fl_row traffic_rows[] = {
    {"targetRefs", control_read_list, AT(target.names), REQ, 0, 0, &control_service_names},
    {"loadBalancer", read_balance, AT(balance), OPT, 0, 0, NULL},
    {"connectTimeout", control_read_period, AT(connect_timeout_ms), OPT, 0, 0, NULL},
    {"outlierDetection", control_read_part, AT(outlier), OPT, 0, 0, &outlier_part},
    {"circuitBreakers", control_read_part, AT(circuit), OPT, 0, 0, &circuit_part},
    {"retries", control_read_part, AT(retries), OPT, 0, 0, &retry_part},
    {0},
};
static const struct fl_table traffic_table = {traffic_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static int read_traffic(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_traffic_policy *traffic = FL_CONTAINER_OF(object, struct control_traffic_policy, object);
    int result = control_read_document(reader, document, &traffic_table, traffic);
    if (result == 0 && traffic->target.name_count == 0)
        return fl_reader_fail(reader, document, "spec.targetRefs: required, but missing");
    return result;
}

const struct control_kind_reader control_read_traffic_policy = {sizeof(struct control_traffic_policy), read_traffic,
                                                                NULL};
