#include "control/gateway/override.h"

#include "common/base/log.h"
#include "common/kube/object.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#define REPLICAS_MAX 1000
#define DRAIN_MAX    3600
#define LENGTH_MAX   32 /* of a quantity */

bool control_is_quantity(struct fl_span text)
{
    static const char *const suffixes[] = {"", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"};
    size_t digits = 0, i = 0, dots = 0;
    for (; i < text.len && ((text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] == '.' && digits > 0)); i++) {
        digits += text.data[i] != '.';
        dots += text.data[i] == '.';
    }
    if (digits == 0 || dots > 1 || text.len > LENGTH_MAX || text.data[i - 1] == '.')
        return false;
    for (size_t k = 0; k < FL_COUNT(suffixes); k++)
        if (fl_span_eq_str(fl_span_from(text, i), suffixes[k]))
            return true;
    return false;
}

bool control_is_service_type(struct fl_span text)
{
    return fl_span_eq_str(text, "LoadBalancer") || fl_span_eq_str(text, "ClusterIP") ||
           fl_span_eq_str(text, "NodePort");
}

static bool is_policy(struct fl_span text)
{
    return fl_span_eq_str(text, "Cluster") || fl_span_eq_str(text, "Local");
}

static bool is_level(struct fl_span text)
{
    enum fl_log_level level;
    return fl_log_level_parse(text, &level);
}

/* "example.com/class": what stands before the '/' is a DNS name. */
static bool is_class(struct fl_span text)
{
    size_t slash = fl_span_find(text, '/');
    struct fl_span last = slash < text.len ? fl_span_from(text, slash + 1) : text;
    return (slash == text.len || fl_is_dns_subdomain(fl_span_make(text.data, slash))) && fl_is_dns_label(last);
}

static const struct {
    const char *key;
    bool (*good)(struct fl_span text);
    size_t offset;
    const char *wanted;
} texts[] = {
    {"serviceType", control_is_service_type, offsetof(struct control_override, service_type),
     "LoadBalancer, ClusterIP or NodePort"},
    {"externalTrafficPolicy", is_policy, offsetof(struct control_override, traffic_policy), "Cluster or Local"},
    {"loadBalancerClass", is_class, offsetof(struct control_override, balancer_class), "a name, as example.com/class"},
    {"cpuRequest", control_is_quantity, offsetof(struct control_override, cpu_request), "a quantity, as 100m"},
    {"cpuLimit", control_is_quantity, offsetof(struct control_override, cpu_limit), "a quantity, as 2"},
    {"memoryRequest", control_is_quantity, offsetof(struct control_override, memory_request), "a quantity, as 64Mi"},
    {"memoryLimit", control_is_quantity, offsetof(struct control_override, memory_limit), "a quantity, as 256Mi"},
    {"priorityClassName", fl_is_dns_subdomain, offsetof(struct control_override, priority_class), "a name"},
    {"logLevel", is_level, offsetof(struct control_override, log_level), "error, warning, info, debug or trace"},
};

static int wrong(struct fl_err *err, const char *key, const char *wanted, struct fl_span got)
{
    int shown = got.len < 64 ? (int)got.len : 64;
    return fl_err_set(err, -EINVAL, "%s: expected %s, got \"%.*s\"", key, wanted, shown, got.data);
}

static int read_number(const char *key, struct fl_span value, uint64_t max, uint32_t *ret_number, bool *ret_has,
                       struct fl_err *err)
{
    uint64_t number = 0;
    char wanted[48];
    snprintf(wanted, sizeof(wanted), "a whole number from 0 to %llu", (unsigned long long)max);
    if (!fl_span_to_u64(value, max, &number))
        return wrong(err, key, wanted, value);
    *ret_number = (uint32_t)number;
    *ret_has = true;
    return 0;
}

static int read_member(const struct fl_json *member, struct control_override *override, struct fl_err *err)
{
    struct fl_span key = fl_json_name(member), value = fl_json_string(member);
    if (fl_span_eq_str(key, "replicas"))
        return read_number("replicas", value, REPLICAS_MAX, &override->replicas, &override->has_replicas, err);
    if (fl_span_eq_str(key, "drainSeconds"))
        return read_number("drainSeconds", value, DRAIN_MAX, &override->drain_seconds, &override->has_drain, err);
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        if (!fl_span_eq_str(key, texts[i].key))
            continue;
        if (!texts[i].good(value))
            return wrong(err, texts[i].key, texts[i].wanted, value);
        memcpy((char *) override + texts[i].offset, &value, sizeof(value));
        return 0;
    }
    int shown = key.len < 64 ? (int)key.len : 64;
    return fl_err_set(err, -EINVAL,
                      "%.*s: no such parameter; known are replicas, serviceType, externalTrafficPolicy, "
                      "loadBalancerClass, cpuRequest, cpuLimit, memoryRequest, memoryLimit, priorityClassName, "
                      "drainSeconds, logLevel",
                      shown, key.data);
}

int control_override_read(const struct fl_json *map, struct control_override *override, struct fl_err *err)
{
    int result = 0;
    for (const struct fl_json *item = fl_json_first(fl_json_get(map, "data")); item != NULL && result == 0;
         item = fl_json_next(item))
        result = read_member(item, override, err);
    if (result == 0 && fl_json_count(fl_json_get(map, "binaryData")) > 0)
        result = fl_err_set(err, -EINVAL, "binaryData: parameters stand in data");
    return result;
}
