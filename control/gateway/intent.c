#include "control/gateway/intent.h"

#include "common/kube/object.h"
#include "common/mesh/label.h"
#include "control/model/ip.h"

#include <errno.h>
#include <stdlib.h>

static struct fl_span text_of(const struct fl_json *object, const char *name)
{
    return fl_json_string(fl_json_get(object, name));
}

static const char *word_of(struct fl_span protocol)
{
    static const char *const rows[][2] = {{"HTTP", "http"}, {"HTTPS", "https"}, {"TLS", "tls"}, {"TCP", "tcp"}};
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        if (fl_span_eq_str(protocol, rows[i][0]))
            return rows[i][1];
    return NULL;
}

static int compare_ports(const void *a, const void *b)
{
    const struct control_intent_port *one = a, *other = b;
    return (one->port > other->port) - (one->port < other->port);
}

/* Listeners of protocols that we do not have get no port; the control plane says so in their status. */
static void read_ports(const struct fl_json *listeners, struct control_intent *intent)
{
    const struct fl_json *listener = fl_json_first(listeners);
    for (; listener != NULL && intent->port_count < CONTROL_INTENT_PORTS_MAX; listener = fl_json_next(listener)) {
        const char *word = word_of(text_of(listener, "protocol"));
        int64_t port = 0;
        bool known = false;
        if (word == NULL || !fl_json_int(fl_json_get(listener, "port"), 1, UINT16_MAX, &port))
            continue;
        for (size_t i = 0; i < intent->port_count && !known; i++)
            known = intent->ports[i].port == port;
        if (!known)
            intent->ports[intent->port_count++] = (struct control_intent_port){(uint16_t)port, word};
    }
    qsort(intent->ports, intent->port_count, sizeof(intent->ports[0]), compare_ports);
}

static int refuse(const char **ret_reason, const char *reason)
{
    *ret_reason = reason;
    return 1;
}

static int read_addresses(const struct fl_json *list, struct control_intent *intent, const char **ret_reason,
                          struct fl_err *err)
{
    size_t count = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        struct fl_span type = text_of(item, "type"), value = text_of(item, "value");
        struct control_ip ip;
        if (type.len > 0 && !fl_span_eq_str(type, "IPAddress")) {
            fl_err_set(err, -EINVAL, "spec.addresses: type %.*s is not supported, IPAddress is", FL_SPAN_ARG(type));
            return refuse(ret_reason, "UnsupportedAddress");
        }
        if (value.len == 0)
            continue; /* any will do */
        if (control_ip_parse(value, &ip) < 0) {
            fl_err_set(err, -EINVAL, "spec.addresses: \"%.*s\" is no IP address", FL_SPAN_ARG(value));
            return refuse(ret_reason, "UnsupportedAddress");
        }
        intent->address = value;
        count++;
    }
    if (count <= 1)
        return 0;
    fl_err_set(err, -EINVAL, "spec.addresses: a Gateway can have one address, not %zu", count);
    return refuse(ret_reason, "AddressNotUsable");
}

static int read_infrastructure(const struct fl_json *infrastructure, struct control_intent *intent,
                               const char **ret_reason, struct fl_err *err)
{
    const struct fl_json *reference = fl_json_get(infrastructure, "parametersRef");
    intent->labels = fl_json_get(infrastructure, "labels");
    intent->annotations = fl_json_get(infrastructure, "annotations");
    if (reference == NULL)
        return 0;
    struct fl_span group = text_of(reference, "group"), kind = text_of(reference, "kind");
    intent->parameters = text_of(reference, "name");
    if (group.len == 0 && fl_span_eq_str(kind, "ConfigMap") && fl_is_dns_subdomain(intent->parameters))
        return 0;
    fl_err_set(err, -EINVAL, "spec.infrastructure.parametersRef: expected a ConfigMap of group \"\", got %.*s%s%.*s",
               FL_SPAN_ARG(kind), group.len > 0 ? " of group " : "", FL_SPAN_ARG(group));
    return refuse(ret_reason, "InvalidParameters");
}

/* Service names: letters, digits and '-', beginning with a letter. */
static bool can_be_service(struct fl_span name)
{
    return name.len <= CONTROL_INTENT_NAME_MAX && fl_is_dns_label(name) && name.data[0] >= 'a' && name.data[0] <= 'z';
}

int control_intent_read(const struct fl_json *gateway, struct control_intent *ret_intent, const char **ret_reason,
                        struct fl_err *err)
{
    const struct fl_json *metadata = fl_json_get(gateway, "metadata"), *spec = fl_json_get(gateway, "spec");
    struct control_intent intent = {.name_space = text_of(metadata, "namespace"),
                                    .name = text_of(metadata, "name"),
                                    .uid = text_of(metadata, "uid"),
                                    .class_name = text_of(spec, "gatewayClassName")};
    if (!fl_is_dns_label(intent.name_space) || !fl_is_dns_subdomain(intent.name) || intent.uid.len == 0)
        return fl_err_set(err, -EINVAL, "metadata: expected namespace, name and uid");
    (void)fl_json_int(fl_json_get(metadata, "generation"), 0, INT64_C(1) << 53, &intent.generation);
    read_ports(fl_json_get(spec, "listeners"), &intent);
    int result = 0;
    if (!can_be_service(intent.name)) {
        fl_err_set(err, -EINVAL,
                   "metadata.name: with \"" CONTROL_INTENT_SUFFIX "\" behind it, it names a Service: up to %d letters, "
                   "digits and '-', beginning with a letter",
                   CONTROL_INTENT_NAME_MAX);
        result = refuse(ret_reason, "NameNotUsable");
    }
    if (result == 0)
        result = read_infrastructure(fl_json_get(spec, "infrastructure"), &intent, ret_reason, err);
    if (result == 0)
        result = read_addresses(fl_json_get(spec, "addresses"), &intent, ret_reason, err);
    *ret_intent = intent;
    return result;
}
