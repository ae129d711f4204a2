#include "control/model/core.h"

#include "common/mesh/label.h"
#include "control/model/kind/ingress.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/row.h"

#include <errno.h>

/* -- ports --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    enum control_protocol protocol;
} protocols[] = {
    {"http", CONTROL_PROTOCOL_HTTP},
    {"http1", CONTROL_PROTOCOL_HTTP},
    {"http2", CONTROL_PROTOCOL_HTTP2},
    {"h2c", CONTROL_PROTOCOL_HTTP2},
    {"grpc", CONTROL_PROTOCOL_HTTP2},
    {"grpc-web", CONTROL_PROTOCOL_HTTP},
    {"kubernetes.io/h2c", CONTROL_PROTOCOL_HTTP2},
    {"kubernetes.io/ws", CONTROL_PROTOCOL_HTTP},
    {"tcp", CONTROL_PROTOCOL_TCP},
    {"tls", CONTROL_PROTOCOL_TCP},
    {"https", CONTROL_PROTOCOL_TCP},
    {"kubernetes.io/wss", CONTROL_PROTOCOL_TCP},
    {"mysql", CONTROL_PROTOCOL_TCP},
    {"redis", CONTROL_PROTOCOL_TCP},
    {"mongo", CONTROL_PROTOCOL_TCP},
    {"postgres", CONTROL_PROTOCOL_TCP},
    {"postgresql", CONTROL_PROTOCOL_TCP},
    {"kafka", CONTROL_PROTOCOL_TCP},
    {"amqp", CONTROL_PROTOCOL_TCP},
    {"smtp", CONTROL_PROTOCOL_TCP},
    {"ldap", CONTROL_PROTOCOL_TCP},
    {"mariadb", CONTROL_PROTOCOL_TCP},
    {"mongodb", CONTROL_PROTOCOL_TCP},
    {"nats", CONTROL_PROTOCOL_TCP},
    {"submission", CONTROL_PROTOCOL_TCP},
    {"imap", CONTROL_PROTOCOL_TCP},
    {"pop3", CONTROL_PROTOCOL_TCP},
    {"ftp", CONTROL_PROTOCOL_TCP},
    {"ssh", CONTROL_PROTOCOL_TCP},
    {"sftp", CONTROL_PROTOCOL_TCP},
};

/* SMTP, DNS, MySQL and MongoDB where nothing else is said, as Istio has it. */
static const uint16_t opaque_ports[] = {25, 53, 3306, 27017};

const char *control_protocol_name(enum control_protocol protocol)
{
    static const char *const names[] = {"auto", "tcp", "http", "http2"};
    return names[protocol];
}

static bool protocol_of_word(struct fl_span word, enum control_protocol *ret_protocol)
{
    for (size_t i = 0; i < FL_COUNT(protocols); i++) {
        if (!fl_span_eq_nocase(word, fl_span_str(protocols[i].word)))
            continue;
        *ret_protocol = protocols[i].protocol;
        return true;
    }
    return false;
}

static bool is_opaque_port(uint16_t port)
{
    for (size_t i = 0; i < FL_COUNT(opaque_ports); i++)
        if (opaque_ports[i] == port)
            return true;
    return false;
}

/* "grpc-web" and "grpc-web-…" are one word with a hyphen. */
static struct fl_span word_of_name(struct fl_span name)
{
    const struct fl_span web = FL_SPAN("grpc-web");
    if (name.len >= web.len && fl_span_eq_nocase(fl_span_make(name.data, web.len), web) &&
        (name.len == web.len || name.data[web.len] == '-'))
        return web;
    return fl_span_make(name.data, fl_span_find(name, '-'));
}

static enum control_protocol protocol_of(struct fl_span app_protocol, struct fl_span name, uint16_t port)
{
    enum control_protocol protocol = CONTROL_PROTOCOL_TCP;
    if (app_protocol.len > 0) {
        protocol_of_word(app_protocol, &protocol);
        return protocol;
    }
    if (protocol_of_word(word_of_name(name), &protocol))
        return protocol;
    return is_opaque_port(port) ? CONTROL_PROTOCOL_TCP : CONTROL_PROTOCOL_AUTO;
}

struct port_texts { /* of a Service, a slice or a container: the union of their fields */
    struct fl_span name, app_protocol;
    int64_t port;
    uint16_t container_port;
    int transport;
    const struct fl_json *target;
};

static const char *const transports[] = {"TCP", "UDP", "SCTP", NULL};

#define AT(member) offsetof(struct port_texts, member)
static const struct fl_row port_rows[] = {
    {"name", fl_read_string, AT(name), OPT, 0, 63, NULL},
    {"port", fl_read_i64, AT(port), OPT, 1, UINT16_MAX, NULL},
    {"containerPort", control_read_port, AT(container_port), OPT, 0, 0, NULL},
    {"protocol", fl_read_enum, AT(transport), OPT, 0, 0, transports},
    {"appProtocol", fl_read_string, AT(app_protocol), OPT, 0, 256, NULL},
    {"targetPort", fl_read_json, AT(target), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table port_table = {port_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_target(struct fl_reader *reader, const struct fl_json *target, struct control_port *port)
{
    int64_t number = 0;
    int result = 0;
    size_t mark = fl_reader_enter(reader, FL_SPAN("targetPort"));
    if (fl_json_is(target, FL_JSON_STRING))
        result = control_copy(reader, fl_json_string(target), &port->target_name);
    else if (!fl_json_int(target, 0, UINT16_MAX, &number))
        result = fl_reader_expected(reader, target, "a port number or a port's name");
    if (number > 0)
        port->target = (uint16_t)number;
    fl_reader_leave(reader, mark);
    return result;
}

static int read_port(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct port_texts texts = {0};
    struct control_port *port = field;
    (void)row;
    int result = fl_table_read(reader, value, &port_table, &texts);
    if (result == 0)
        result = control_copy(reader, texts.name, &port->name);
    if (result < 0)
        return result;
    port->port = texts.container_port > 0 ? texts.container_port : (uint16_t)texts.port;
    port->transport = (enum control_transport)texts.transport;
    port->protocol = protocol_of(texts.app_protocol, texts.name, port->port);
    return texts.target != NULL ? read_target(reader, texts.target, port) : 0;
}

/* -- Service ------------------------------------------------------------------------------------------------------- */

static int read_service_port(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    struct control_port *port = field;
    int result = read_port(reader, value, field, row);
    if (result < 0)
        return result;
    if (port->port == 0)
        return fl_reader_fail(reader, value, "port: required, but missing");
    if (port->target == 0 && port->target_name.len == 0)
        port->target = port->port;
    return 0;
}

struct service_spec {
    struct fl_span type, cluster_ip, external_name;
    const struct fl_json *cluster_ips;
    bool publish_not_ready;
    struct fl_labels selector;
    const struct control_port *ports;
    size_t port_count;
};

static const struct control_list service_ports = {
    .size = sizeof(struct control_port),
    .count_delta = CONTROL_COUNT_DELTA(struct service_spec, ports, port_count),
    .max = CONTROL_PORTS_MAX,
    .item = {.read = read_service_port},
};
#define AT(member) offsetof(struct service_spec, member)
static const struct fl_row service_rows[] = {
    {"type", fl_read_string, AT(type), OPT, 0, 0, NULL},
    {"clusterIP", fl_read_string, AT(cluster_ip), OPT, 0, 0, NULL},
    {"clusterIPs", fl_read_array, AT(cluster_ips), OPT, 0, 0, NULL},
    {"externalName", control_read_text, AT(external_name), OPT, 0, FL_KUBE_NAME_MAX, NULL},
    {"publishNotReadyAddresses", fl_read_bool, AT(publish_not_ready), OPT, 0, 0, NULL},
    {"selector", control_read_labels, AT(selector), OPT, 0, 0, NULL},
    {"ports", control_read_list, AT(ports), OPT, 0, 0, &service_ports},
    {0},
};
static const struct fl_table service_table = {service_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* "spec" or "status" of a document through a table; absent is fine. */
static int read_section(struct fl_reader *reader, const struct fl_json *document, const char *name,
                        const struct fl_table *table, void *target)
{
    const struct fl_json *section = fl_json_get(document, name);
    if (section == NULL || fl_json_is(section, FL_JSON_NULL))
        return 0;
    size_t mark = fl_reader_enter(reader, fl_span_str(name));
    int result = fl_table_read(reader, section, table, target);
    fl_reader_leave(reader, mark);
    return result;
}

#define SERVICE_IPS_MAX 2

static int read_service_ips(struct fl_reader *reader, const struct fl_json *document, const struct service_spec *spec,
                            struct control_service *service)
{
    const struct fl_json *one = fl_json_get(fl_json_get(document, "spec"), "clusterIP");
    const struct fl_json *value = fl_json_count(spec->cluster_ips) > 0 ? fl_json_first(spec->cluster_ips) : one;
    size_t count = fl_json_count(spec->cluster_ips) > 0 ? fl_json_count(spec->cluster_ips) : spec->cluster_ip.len > 0;
    if (count > SERVICE_IPS_MAX)
        return fl_reader_fail(reader, spec->cluster_ips, "spec.clusterIPs: more than %d", SERVICE_IPS_MAX);
    if (count == 0)
        return 0;
    if (fl_span_eq_str(fl_json_string(value), "None")) {
        service->headless = true;
        return 0;
    }
    struct control_ip *ips = fl_arena_array(reader->context, count, sizeof(*ips));
    if (ips == NULL)
        return -ENOMEM;
    size_t mark = fl_reader_enter(reader, FL_SPAN("spec"));
    fl_reader_enter(reader, FL_SPAN("clusterIPs"));
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++, value = fl_json_next(value))
        result = control_read_ip(reader, value, &ips[i], NULL);
    fl_reader_leave(reader, mark);
    service->ips = ips;
    service->ip_count = count;
    return result;
}

static int read_service(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_service *service = FL_CONTAINER_OF(object, struct control_service, object);
    struct service_spec spec = {0};
    int result = read_section(reader, document, "spec", &service_table, &spec);
    if (result < 0)
        return result;
    service->publish_not_ready = spec.publish_not_ready;
    service->selector = spec.selector;
    service->ports = spec.ports;
    service->port_count = spec.port_count;
    if (fl_span_eq_str(spec.type, "ExternalName")) {
        service->external_name = spec.external_name;
        return 0;
    }
    result = read_service_ips(reader, document, &spec, service);
    return result == 0 ? control_read_ingress(reader, document, service) : result;
}

const struct control_kind_reader control_read_service = {sizeof(struct control_service), read_service, NULL};

/* -- EndpointSlice ------------------------------------------------------------------------------------------------- */

struct endpoint_conditions {
    bool ready, serving, terminating;
    bool serving_given;
};

static int read_serving(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct endpoint_conditions *conditions = field;
    conditions->serving_given = true;
    return fl_read_bool(reader, value, &conditions->serving, row);
}

struct endpoint_target {
    struct fl_span kind, name;
};

struct endpoint_texts {
    const struct fl_json *addresses;
    struct endpoint_conditions conditions;
    struct fl_span node, zone, hostname;
    struct endpoint_target target;
};

#define AT(member) offsetof(struct endpoint_conditions, member)
static const struct fl_row condition_rows[] = {
    {"ready", fl_read_bool, AT(ready), OPT, 0, 0, NULL},
    {"serving", read_serving, 0, OPT, 0, 0, NULL},
    {"terminating", fl_read_bool, AT(terminating), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table condition_table = {condition_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT
#define AT(member) offsetof(struct endpoint_target, member)
static const struct fl_row target_rows[] = {
    {"kind", fl_read_string, AT(kind), OPT, 0, 0, NULL},
    {"name", control_read_text, AT(name), OPT, 0, FL_KUBE_NAME_MAX, NULL},
    {0},
};
static const struct fl_table target_table = {target_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT
#define AT(member) offsetof(struct endpoint_texts, member)
static const struct fl_row endpoint_rows[] = {
    {"addresses", fl_read_array, AT(addresses), REQ, 0, 0, NULL},
    {"conditions", fl_read_object, AT(conditions), OPT, 0, 0, &condition_table},
    {"nodeName", control_read_text, AT(node), OPT, 0, FL_KUBE_NAME_MAX, NULL},
    {"zone", control_read_text, AT(zone), OPT, 0, FL_KUBE_NAME_MAX, NULL},
    {"hostname", control_read_text, AT(hostname), OPT, 0, FL_KUBE_NAME_MAX, NULL},
    {"targetRef", fl_read_object, AT(target), OPT, 0, 0, &target_table},
    {0},
};
static const struct fl_table endpoint_table = {endpoint_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static uint8_t condition_bits(const struct endpoint_conditions *conditions)
{
    bool serving = conditions->serving_given ? conditions->serving : conditions->ready;
    return (uint8_t)((conditions->ready ? CONTROL_ENDPOINT_READY : 0) | (serving ? CONTROL_ENDPOINT_SERVING : 0) |
                     (conditions->terminating ? CONTROL_ENDPOINT_TERMINATING : 0));
}

static int read_endpoint(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_slice_endpoint *endpoint = field;
    struct endpoint_texts texts = {.conditions = {.ready = true}};
    (void)row;
    int result = fl_table_read(reader, value, &endpoint_table, &texts);
    if (result < 0)
        return result;
    size_t count = fl_json_count(texts.addresses);
    if (count < 1 || count > CONTROL_ADDRESSES_MAX)
        return fl_reader_fail(reader, texts.addresses, "addresses: expected 1 to %d", CONTROL_ADDRESSES_MAX);
    const struct fl_json *first = fl_json_first(texts.addresses);
    if (control_ip_parse(fl_json_string(first), &endpoint->ip) < 0)
        return fl_reader_expected(reader, first, "an IP address");
    endpoint->conditions = condition_bits(&texts.conditions);
    endpoint->pod = fl_span_eq_str(texts.target.kind, "Pod") ? texts.target.name : (struct fl_span){NULL, 0};
    endpoint->node = texts.node;
    endpoint->zone = texts.zone;
    endpoint->hostname = texts.hostname;
    return 0;
}

static const struct control_list slice_ports = {
    .size = sizeof(struct control_port),
    .count_delta = CONTROL_COUNT_DELTA(struct control_slice, ports, port_count),
    .max = CONTROL_PORTS_MAX,
    .item = {.read = read_port},
};
static const struct control_list slice_endpoints = {
    .size = sizeof(struct control_slice_endpoint),
    .count_delta = CONTROL_COUNT_DELTA(struct control_slice, endpoints, endpoint_count),
    .max = CONTROL_ENDPOINTS_MAX,
    .item = {.read = read_endpoint},
};
#define AT(member) offsetof(struct control_slice, member)
static const struct fl_row slice_rows[] = {
    {"ports", control_read_list, AT(ports), OPT, 0, 0, &slice_ports},
    {"endpoints", control_read_list, AT(endpoints), OPT, 0, 0, &slice_endpoints},
    {0},
};
static const struct fl_table slice_table = {slice_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

#define LABEL_SERVICE_NAME "kubernetes.io/service-name"

static int read_slice(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_slice *slice = FL_CONTAINER_OF(object, struct control_slice, object);
    slice->service = fl_labels_get(&object->metadata.labels, FL_SPAN(LABEL_SERVICE_NAME));
    slice->fqdn = fl_span_eq_str(fl_json_string(fl_json_get(document, "addressType")), "FQDN");
    return slice->fqdn ? 0 : fl_table_read(reader, document, &slice_table, slice);
}

const struct control_kind_reader control_read_slice = {sizeof(struct control_slice), read_slice, NULL};

/* -- Pod ----------------------------------------------------------------------------------------------------------- */

struct container {
    struct fl_span name;
    const struct fl_json *ports;
};

struct pod_spec {
    struct fl_span service_account, node;
    bool host_network;
    const struct fl_json *containers, *init_containers;
};

struct pod_status {
    struct fl_span phase, ip;
    const struct fl_json *ips, *conditions;
};

#define AT(member) offsetof(struct pod_spec, member)
static const struct fl_row pod_rows[] = {
    {"serviceAccountName", control_read_name, AT(service_account), OPT, 0, 0, NULL},
    {"nodeName", control_read_text, AT(node), OPT, 0, FL_KUBE_NAME_MAX, NULL},
    {"hostNetwork", fl_read_bool, AT(host_network), OPT, 0, 0, NULL},
    {"containers", fl_read_array, AT(containers), OPT, 0, 0, NULL},
    {"initContainers", fl_read_array, AT(init_containers), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table pod_table = {pod_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT
#define AT(member) offsetof(struct pod_status, member)
static const struct fl_row pod_status_rows[] = {
    {"phase", fl_read_string, AT(phase), OPT, 0, 0, NULL},
    {"podIP", fl_read_string, AT(ip), OPT, 0, 0, NULL},
    {"podIPs", fl_read_array, AT(ips), OPT, 0, 0, NULL},
    {"conditions", fl_read_array, AT(conditions), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table pod_status_table = {pod_status_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* status.podIPs[].ip, else status.podIP. */
static int read_pod_ips(struct fl_reader *reader, const struct fl_json *document, const struct pod_status *status,
                        struct control_pod *pod)
{
    const struct fl_json *one = fl_json_get(fl_json_get(document, "status"), "podIP");
    size_t count = fl_json_count(status->ips);
    if (count == 0 && status->ip.len == 0)
        return 0;
    if (count > CONTROL_ADDRESSES_MAX)
        return fl_reader_fail(reader, status->ips, "status.podIPs: more than %d", CONTROL_ADDRESSES_MAX);
    struct control_ip *ips = fl_arena_array(reader->context, count > 0 ? count : 1, sizeof(*ips));
    if (ips == NULL)
        return -ENOMEM;
    pod->ips = ips;
    pod->ip_count = count > 0 ? count : 1;
    size_t mark = fl_reader_enter(reader, FL_SPAN("status"));
    fl_reader_enter(reader, FL_SPAN("podIPs"));
    int result = count > 0 ? 0 : control_read_ip(reader, one, &ips[0], NULL);
    const struct fl_json *item = fl_json_first(status->ips);
    for (size_t i = 0; i < count && result == 0; i++, item = fl_json_next(item)) {
        const struct fl_json *ip = fl_json_get(item, "ip");
        result = control_read_ip(reader, ip != NULL ? ip : item, &ips[i], NULL);
    }
    fl_reader_leave(reader, mark);
    return result;
}

static bool is_ready(const struct fl_json *conditions)
{
    bool ready = true;
    for (const struct fl_json *item = fl_json_first(conditions); item != NULL; item = fl_json_next(item))
        if (fl_span_eq_str(fl_json_string(fl_json_get(item, "type")), "Ready"))
            ready = fl_span_eq_str(fl_json_string(fl_json_get(item, "status")), "True");
    return ready;
}

/* Appends the container's ports behind `*used` of `ports`, which has CONTROL_PORTS_MAX. */
static int read_container(struct fl_reader *reader, const struct fl_json *item, struct control_pod *pod,
                          struct control_port *ports, size_t *used)
{
    if (fl_span_eq_str(fl_json_string(fl_json_get(item, "name")), FL_CONTAINER_NAME)) {
        pod->has_sidecar = true;
        return 0; /* its ports are not the app's */
    }
    const struct fl_json *list = fl_json_get(item, "ports");
    size_t mark = fl_reader_enter(reader, FL_SPAN("ports")), i = 0;
    int result = 0;
    for (const struct fl_json *port = fl_json_first(list); port != NULL && result == 0; port = fl_json_next(port)) {
        size_t inner = fl_reader_enter_at(reader, i++);
        if (*used == CONTROL_PORTS_MAX)
            result = fl_reader_fail(reader, port, "more than %d ports in the Pod", CONTROL_PORTS_MAX);
        else
            result = read_port(reader, port, &ports[(*used)++], NULL);
        fl_reader_leave(reader, inner);
    }
    fl_reader_leave(reader, mark);
    return result;
}

static int read_containers(struct fl_reader *reader, const char *name, const struct fl_json *list,
                           struct control_pod *pod, struct control_port *ports, size_t *used)
{
    size_t mark = fl_reader_enter(reader, fl_span_str(name)), i = 0;
    int result = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item)) {
        size_t inner = fl_reader_enter_at(reader, i++);
        result = read_container(reader, item, pod, ports, used);
        fl_reader_leave(reader, inner);
    }
    fl_reader_leave(reader, mark);
    return result;
}

static int read_pod_ports(struct fl_reader *reader, const struct pod_spec *spec, struct control_pod *pod)
{
    struct control_port room[CONTROL_PORTS_MAX] = {0};
    size_t used = 0;
    size_t mark = fl_reader_enter(reader, FL_SPAN("spec"));
    int result = read_containers(reader, "initContainers", spec->init_containers, pod, room, &used);
    if (result == 0)
        result = read_containers(reader, "containers", spec->containers, pod, room, &used);
    fl_reader_leave(reader, mark);
    if (result < 0 || used == 0)
        return result;
    struct control_port *ports = fl_arena_array(reader->context, used, sizeof(*ports));
    if (ports == NULL)
        return -ENOMEM;
    memcpy(ports, room, used * sizeof(*ports));
    pod->ports = ports;
    pod->port_count = used;
    return 0;
}

static int read_pod(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_pod *pod = FL_CONTAINER_OF(object, struct control_pod, object);
    struct pod_spec spec = {.service_account = FL_SPAN("default")};
    struct pod_status status = {0};
    int result = read_section(reader, document, "spec", &pod_table, &spec);
    if (result == 0)
        result = read_section(reader, document, "status", &pod_status_table, &status);
    if (result == 0)
        result = read_pod_ips(reader, document, &status, pod);
    if (result == 0)
        result = read_pod_ports(reader, &spec, pod);
    pod->service_account = spec.service_account;
    pod->node = spec.node;
    pod->host_network = spec.host_network;
    pod->ended = fl_span_eq_str(status.phase, "Succeeded") || fl_span_eq_str(status.phase, "Failed");
    pod->ready = is_ready(status.conditions);
    return result;
}

const struct control_kind_reader control_read_pod = {sizeof(struct control_pod), read_pod, NULL};

/* -- kinds of which metadata is all ---------------------------------------------------------------------------------
 */

static int read_nothing(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    (void)reader;
    (void)document;
    (void)object;
    return 0;
}

#define LABEL_NAMESPACE_NAME "kubernetes.io/metadata.name"

/* The API server gives every Namespace a label with its name, which selectors use: a file may leave it out. */
static int read_namespace(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    const struct fl_label label = {FL_SPAN(LABEL_NAMESPACE_NAME), object->metadata.name};
    struct fl_labels *labels = &object->metadata.labels;
    size_t at = 0;
    (void)document;
    if (fl_labels_have(labels, label.key))
        return 0;
    struct fl_label *items = fl_arena_array(reader->context, labels->count + 1, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    while (at < labels->count && strcmp(labels->items[at].key.data, LABEL_NAMESPACE_NAME) < 0)
        at++;
    for (size_t i = 0; i <= labels->count; i++)
        items[i] = i == at ? label : labels->items[i < at ? i : i - 1];
    *labels = (struct fl_labels){items, labels->count + 1};
    return 0;
}

const struct control_kind_reader control_read_namespace = {sizeof(struct control_namespace), read_namespace, NULL};
const struct control_kind_reader control_read_service_account = {sizeof(struct control_service_account), read_nothing,
                                                                 NULL};
