/* What a Gateway's ConfigMap (spec.infrastructure.parametersRef) says: each key of its data by name, a value checked,
 * an unknown key an error. Pure.
 *
 *   replicas               0 to 1000
 *   serviceType            LoadBalancer, ClusterIP, NodePort
 *   externalTrafficPolicy  Cluster, Local
 *   loadBalancerClass      a name
 *   cpuRequest, cpuLimit, memoryRequest, memoryLimit   quantities: "100m", "1", "64Mi"
 *   priorityClassName      a name
 *   drainSeconds           0 to 3600: how long a pod that ends serves on
 *   logLevel               error, warning, info, debug, trace
 */
#ifndef CONTROL_GATEWAY_OVERRIDE_H
#define CONTROL_GATEWAY_OVERRIDE_H

#include "common/base/err.h"
#include "common/doc/json.h"

struct control_override { /* borrowed; empty: not said */
    bool has_replicas, has_drain;
    uint32_t replicas, drain_seconds;
    struct fl_span service_type, traffic_policy, balancer_class;
    struct fl_span cpu_request, cpu_limit, memory_request, memory_limit;
    struct fl_span priority_class, log_level;
};

/* `map` is the ConfigMap. Adds to *override what it says. 0, or -EINVAL with the key and what would be right. */
int control_override_read(const struct fl_json *map, struct control_override *override,
                          struct fl_err *err) FL_MUST_CHECK;

bool control_is_quantity(struct fl_span text);
bool control_is_service_type(struct fl_span text);

#endif
