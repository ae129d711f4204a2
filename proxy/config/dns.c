/* Clusters whose endpoints are names (STRICT_DNS, LOGICAL_DNS): checked, and kept as they came for config/names. */
#include "proxy/config/context.h"
#include "proxy/config/names.h"
#include "proxy/upstream/resolve.h"

#include <stdio.h>

#define PREFIX "dns:" /* of the endpoints' name */

static int read_rates(struct compile *compile, const pb_cluster *message, struct proxy_cluster_dns *dns)
{
    dns->refresh_ms = 5000;
    int result = compile_ms(compile, "dns_refresh_rate", message->dns_refresh_rate, &dns->refresh_ms);
    if (result == 0 && dns->refresh_ms == 0)
        result = compile_fail_at(compile, "dns_refresh_rate", "must be greater than 0");
    dns->failure_base_ms = dns->failure_max_ms = dns->refresh_ms;
    if (result != 0 || message->dns_failure_refresh_rate == NULL)
        return result;
    struct compile_mark mark = compile_enter(compile, "dns_failure_refresh_rate");
    dns->failure_base_ms = 0;
    result =
        compile_ms(compile, "base_interval", message->dns_failure_refresh_rate->base_interval, &dns->failure_base_ms);
    if (result == 0 && dns->failure_base_ms == 0)
        result = compile_fail_at(compile, "base_interval", "must be greater than 0");
    dns->failure_max_ms = dns->failure_base_ms * 10;
    if (result == 0)
        result =
            compile_ms(compile, "max_interval", message->dns_failure_refresh_rate->max_interval, &dns->failure_max_ms);
    if (result == 0 && dns->failure_max_ms < dns->failure_base_ms)
        result = compile_fail_at(compile, "max_interval", "is less than base_interval");
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_assignment(struct compile *compile, const pb_cluster *message, struct proxy_cluster_dns *dns)
{
    struct proxy_endpoints endpoints = {.count = 0};
    if (message->load_assignment == NULL)
        return compile_fail_at(compile, "load_assignment", "must be set");
    struct compile_mark mark = compile_enter(compile, "load_assignment");
    compile->names = true;
    int result = compile_endpoints(compile, message->load_assignment, &endpoints);
    compile->names = false;
    if (result == 0 && endpoints.count > PROXY_NAMES_OF_CLUSTER)
        result = compile_fail_at(compile, "endpoints", "more than %u endpoints of a cluster of names",
                                 PROXY_NAMES_OF_CLUSTER);
    if (result == 0 && dns->logical && endpoints.count != 1)
        result = compile_fail_at(compile, "endpoints", "LOGICAL_DNS has one endpoint");
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    size_t size = protobuf_c_message_get_packed_size(&message->load_assignment->base);
    uint8_t *wire = fl_arena_alloc(&compile->unit->arena, size + 1);
    if (wire == NULL)
        return compile_no_memory(compile);
    dns->assignment = fl_span_make(wire, protobuf_c_message_pack(&message->load_assignment->base, wire));
    return 0;
}

/* The endpoints are those that come under a name that nobody else uses. */
static int name_endpoints(struct compile *compile, struct proxy_cluster *cluster)
{
    size_t size = cluster->name.len + sizeof(PREFIX);
    if (size - 1 > PROXY_ASSEMBLY_NAME_MAX)
        return compile_fail_at(compile, "name", "is longer than %zu bytes", PROXY_ASSEMBLY_NAME_MAX - strlen(PREFIX));
    char *name = fl_arena_alloc(&compile->unit->arena, size);
    if (name == NULL)
        return compile_no_memory(compile);
    snprintf(name, size, PREFIX "%s", cluster->name.data);
    cluster->eds_name = fl_span_str(name);
    return compile_need(compile, FL_RESOURCE_ENDPOINTS, cluster->eds_name, PROXY_WANT_DNS);
}

int compile_names(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    struct proxy_cluster_dns *dns = compile_array(compile, 1, sizeof(*dns));
    if (dns == NULL)
        return compile_no_memory(compile);
    cluster->dns = dns;
    dns->logical = message->type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS;
    dns->respect_ttl = message->respect_dns_ttl != 0;
    if ((int)message->dns_lookup_family < 0 || (int)message->dns_lookup_family > (int)PROXY_RESOLVE_ALL)
        return compile_fail_at(compile, "dns_lookup_family", "is not known");
    dns->family = (uint8_t)message->dns_lookup_family;
    int result = COMPILE_REFUSE(compile, message, "dns_resolvers");
    if (result == 0)
        result = read_rates(compile, message, dns);
    if (result == 0)
        result = read_assignment(compile, message, dns);
    return result == 0 ? name_endpoints(compile, cluster) : result;
}
