/* ClusterLoadAssignment → the endpoints of a cluster, and the metadata that says how each is dialled. */
#include "proxy/config/context.h"

#include "common/base/spiffeid.h"
#include "common/doc/number.h"
#include "common/mesh/port.h"

#include <errno.h>
#include <math.h>

#define ENDPOINTS_MAX 100000 /* of a cluster */

/* -- metadata -- */

const pb_struct *compile_metadata(const Envoy__Config__Core__V3__Metadata *metadata, const char *name)
{
    for (size_t i = 0; metadata != NULL && i < metadata->n_filter_metadata; i++)
        if (strcmp(metadata->filter_metadata[i]->key, name) == 0)
            return metadata->filter_metadata[i]->value;
    return NULL;
}

/* data == NULL: it has no text. */
static struct fl_span text_of(const pb_value *value, char room[FL_NUMBER_PRINT_MAX])
{
    switch (value != NULL ? (int)value->kind_case : 0) {
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
        return fl_span_str(value->string_value);
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        return value->bool_value ? FL_SPAN("true") : FL_SPAN("false");
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        if (!isfinite(value->number_value))
            return (struct fl_span){NULL, 0};
        fl_number_print(value->number_value, room);
        return fl_span_str(room);
    default:
        return (struct fl_span){NULL, 0};
    }
}

int compile_labels(struct compile *compile, const pb_struct *object, bool strict, const struct proxy_label **ret_labels,
                   size_t *ret_count)
{
    size_t count = 0;
    struct proxy_label *labels = compile_array(compile, object != NULL ? object->n_fields : 0, sizeof(*labels));
    if (labels == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; object != NULL && i < object->n_fields; i++) {
        char room[FL_NUMBER_PRINT_MAX];
        struct fl_span text = text_of(object->fields[i]->value, room);
        if (text.data == NULL && strict)
            return compile_fail_at(compile, object->fields[i]->key, "expected a string, a boolean or a number");
        if (text.data == NULL)
            continue;
        struct proxy_label *label = &labels[count++];
        label->key = fl_arena_copy(&compile->unit->arena, fl_span_str(object->fields[i]->key));
        label->value = fl_arena_copy(&compile->unit->arena, text);
        if (label->key.data == NULL || label->value.data == NULL)
            return compile_no_memory(compile);
    }
    *ret_labels = labels;
    *ret_count = count;
    return 0;
}

/* -- endpoints -- */

/* Many endpoints have the same one: it is kept once. */
static int keep_identity(struct compile *compile, struct fl_map *identities, struct fl_span text,
                         struct fl_span *ret_text)
{
    const struct fl_span *known = fl_map_get(identities, text);
    if (known == NULL) {
        struct fl_span *copy = compile_array(compile, 1, sizeof(*copy));
        if (copy == NULL || compile_text(compile, text.data, copy) != 0 || fl_map_put(identities, *copy, copy) != 0)
            return compile_no_memory(compile);
        known = copy;
    }
    *ret_text = *known;
    return 0;
}

static int read_identity(struct compile *compile, const pb_struct *ours, struct fl_map *identities,
                         struct proxy_endpoint *endpoint)
{
    const pb_value *value = NULL;
    for (size_t i = 0; ours != NULL && i < ours->n_fields; i++)
        if (strcmp(ours->fields[i]->key, FL_METADATA_IDENTITY) == 0)
            value = ours->fields[i]->value;
    if (value == NULL)
        return 0;
    compile_enter_key(compile, "filter_metadata", FL_SPAN(FL_METADATA));
    if (value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
        return compile_fail_at(compile, FL_METADATA_IDENTITY, "expected a SPIFFE ID");
    struct fl_err why = {0};
    if (fl_spiffe_check(fl_span_str(value->string_value), NULL, &why) != 0)
        return compile_fail_at(compile, FL_METADATA_IDENTITY, "expected a SPIFFE ID: %s", why.text);
    return keep_identity(compile, identities, fl_span_str(value->string_value), &endpoint->identity);
}

static bool has_labels(const struct proxy_endpoint *endpoint, const pb_struct *object)
{
    char room[FL_NUMBER_PRINT_MAX];
    if (endpoint->transport_count != object->n_fields)
        return false;
    for (size_t i = 0; i < object->n_fields; i++) {
        if (!fl_span_eq_str(endpoint->transport[i].key, object->fields[i]->key) ||
            !fl_span_eq(endpoint->transport[i].value, text_of(object->fields[i]->value, room)))
            return false;
    }
    return true;
}

/* Mostly the same as the endpoint's before (NULL: there is none): then it is kept once. */
static int read_socket(struct compile *compile, const pb_struct *object, const struct proxy_endpoint *before,
                       struct proxy_endpoint *endpoint)
{
    if (before == NULL || !has_labels(before, object))
        return compile_labels(compile, object, false, &endpoint->transport, &endpoint->transport_count);
    endpoint->transport = before->transport;
    endpoint->transport_count = before->transport_count;
    return 0;
}

static int read_metadata(struct compile *compile, const Envoy__Config__Core__V3__Metadata *message,
                         struct fl_map *identities, const struct proxy_endpoint *before,
                         struct proxy_endpoint *endpoint)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "metadata");
    int result = read_identity(compile, compile_metadata(message, FL_METADATA), identities, endpoint);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    const pb_struct *socket = compile_metadata(message, FL_METADATA_SOCKET_MATCH);
    return socket == NULL ? 0 : read_socket(compile, socket, before, endpoint);
}

static bool is_tunnelled(const struct proxy_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->transport_count; i++)
        if (fl_span_eq_str(endpoint->transport[i].key, FL_METADATA_TUNNEL))
            return fl_span_eq_str(endpoint->transport[i].value, FL_METADATA_TUNNEL_HTTP);
    return false;
}

/* After its address: port 15008 of that, or what its metadata says. */
static int read_gate(struct compile *compile, const Envoy__Config__Core__V3__Metadata *message,
                     struct proxy_endpoint *endpoint)
{
    const pb_struct *tunnel = compile_metadata(message, FL_METADATA_TUNNEL);
    if (!is_tunnelled(endpoint))
        return 0;
    endpoint->gate = endpoint->address;
    proxy_address_set_port(&endpoint->gate, FL_PORT_HBONE);
    for (size_t i = 0; tunnel != NULL && i < tunnel->n_fields; i++) {
        char room[FL_NUMBER_PRINT_MAX];
        if (strcmp(tunnel->fields[i]->key, "address") == 0 &&
            proxy_address_parse_pair(text_of(tunnel->fields[i]->value, room), &endpoint->gate) < 0)
            return compile_fail_at(compile, "metadata", "expected <ip>:<port> at tunnel.address");
    }
    return 0;
}

static bool is_healthy(const pb_endpoint *message)
{
    switch ((int)message->health_status) {
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY:
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING:
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT:
        return false;
    default:
        return true;
    }
}

/* All are checked, and one is used. */
static int read_others(struct compile *compile, const Envoy__Config__Endpoint__V3__Endpoint *message,
                       struct proxy_endpoint *endpoint)
{
    for (size_t i = 0; i < message->n_additional_addresses; i++) {
        struct compile_mark mark = compile_enter_at(compile, "additional_addresses", i);
        struct proxy_address address;
        compile_enter(compile, "address");
        int result = compile_address(compile, message->additional_addresses[i]->address, &address, NULL);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
        if (!proxy_address_is_set(&endpoint->other) && address.any.sa_family != endpoint->address.any.sa_family)
            endpoint->other = address;
    }
    return 0;
}

static int read_endpoint(struct compile *compile, const pb_endpoint *message, struct fl_map *identities,
                         const struct proxy_endpoint *before, struct proxy_endpoint *endpoint)
{
    int result = COMPILE_REFUSE(compile, message, "endpoint_name");
    if (result != 0)
        return result;
    endpoint->weight = 1;
    endpoint->healthy = is_healthy(message);
    result =
        compile_u32(compile, "load_balancing_weight", message->load_balancing_weight, 1, UINT32_MAX, &endpoint->weight);
    if (result != 0)
        return result;
    if (message->host_identifier_case != ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT)
        return compile_fail_at(compile, "endpoint", "must be set");
    result = read_metadata(compile, message->metadata, identities, before, endpoint);
    if (result != 0)
        return result;
    compile_enter(compile, "endpoint");
    endpoint->hostname = FL_SPAN("");
    if (result == 0 && message->endpoint->hostname[0] != '\0')
        result = compile_text(compile, message->endpoint->hostname, &endpoint->hostname);
    if (result != 0)
        return result;
    struct compile_mark mark = compile_enter(compile, "address");
    result = compile_address(compile, message->endpoint->address, &endpoint->address, NULL);
    if (result == 0)
        result = read_gate(compile, message->metadata, endpoint);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    return read_others(compile, message->endpoint, endpoint);
}

static int read_locality(struct compile *compile, const pb_locality *message, struct fl_map *identities,
                         struct proxy_endpoint *endpoints)
{
    int result = COMPILE_REFUSE(compile, message, "load_balancer_endpoints", "leds_cluster_locality_config");
    if (result != 0)
        return result;
    if (message->priority > 128)
        return compile_fail_at(compile, "priority", "expected a number from 0 to 128, got %u", message->priority);
    uint64_t sum = 0;
    for (size_t i = 0; i < message->n_lb_endpoints; i++) {
        struct compile_mark mark = compile_enter_at(compile, "lb_endpoints", i);
        result = read_endpoint(compile, message->lb_endpoints[i], identities, i > 0 ? &endpoints[i - 1] : NULL,
                               &endpoints[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
        endpoints[i].priority = message->priority;
        sum += endpoints[i].weight;
    }
    return sum > UINT32_MAX ? compile_fail_at(compile, "lb_endpoints", "the sum of the weights is above %u", UINT32_MAX)
                            : 0;
}

int compile_endpoints(struct compile *compile, const pb_assignment *message, struct proxy_endpoints *endpoints)
{
    int result = compile_required(compile, "cluster_name", message->cluster_name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "named_endpoints");
    size_t count = 0;
    for (size_t i = 0; i < message->n_endpoints; i++)
        count += message->endpoints[i]->n_lb_endpoints;
    if (result == 0 && count > ENDPOINTS_MAX)
        result = compile_fail_at(compile, "endpoints", "more than %d endpoints", ENDPOINTS_MAX);
    struct proxy_endpoint *list = result == 0 ? compile_array(compile, count, sizeof(*list)) : NULL;
    if (result == 0 && list == NULL)
        result = compile_no_memory(compile);
    struct fl_map identities;
    fl_map_init(&identities, ENDPOINTS_MAX);
    for (size_t i = 0, done = 0; result == 0 && i < message->n_endpoints; i++) {
        struct compile_mark mark = compile_enter_at(compile, "endpoints", i);
        result = read_locality(compile, message->endpoints[i], &identities, list + done);
        done += message->endpoints[i]->n_lb_endpoints;
        if (result == 0)
            compile_leave(compile, mark);
    }
    fl_map_done(&identities);
    *endpoints = (struct proxy_endpoints){.unit = compile->unit, .list = list, .count = count};
    return result;
}
