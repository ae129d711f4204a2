#include "proxy/config/environment.h"

#include "common/base/print.h"
#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "common/mesh/place.h"
#include "common/mesh/port.h"
#include "common/mesh/resource.h"
#include "proxy/net/address.h"

#include <errno.h>

#define PLACES_MAX 4

struct reading {
    const char *(*get)(void *owner, const char *name);
    void *owner;
    struct fl_print print;
    struct fl_err *err;
};

static struct fl_span value_of(const struct reading *reading, const char *name)
{
    return fl_span_str(reading->get(reading->owner, name));
}

static struct fl_span value_or(const struct reading *reading, const char *name, struct fl_span absent)
{
    struct fl_span value = value_of(reading, name);
    return value.len > 0 ? value : absent;
}

static int wrong(const struct reading *reading, const char *name, const char *right)
{
    struct fl_span value = value_of(reading, name);
    if (value.len == 0)
        return fl_err_set(reading->err, -EINVAL, "%s is not set: expected %s", name, right);
    return fl_err_set(reading->err, -EINVAL, "%s is \"%.*s\": expected %s", name, FL_SPAN_ARG(value), right);
}

/* --- checks ----------------------------------------------------------------------------------------------------- */

static bool is_name(struct fl_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.')
            return false;
    }
    return text.len > 0 && text.len <= 253;
}

/* namespace, service account and trust domain by the rules of the identity that they make up. */
static int check_identity(const struct reading *reading, const char *name, struct fl_identity identity,
                          const char *right)
{
    struct fl_buf scratch;
    fl_buf_init(&scratch, FL_IDENTITY_MAX + 1);
    int result = fl_identity_print(&identity, &scratch, NULL);
    fl_buf_done(&scratch);
    return result == -EINVAL || result == -EMSGSIZE ? wrong(reading, name, right) : result;
}

static bool has_no_control(const struct reading *reading)
{
    return fl_span_eq_str(value_of(reading, FL_ENV_CONTROL_ADDRESS), FL_PLACE_NONE);
}

static int check_places(const struct reading *reading, const char *name)
{
    struct fl_span rest = value_of(reading, name), part;
    size_t count = 0;
    for (struct fl_place place; fl_span_split(&rest, ',', &part); count++)
        if (!fl_place_parse(fl_span_trim(part), &place) || count >= PLACES_MAX)
            return wrong(reading, name,
                         "up to four places as 10.0.0.1:15012, [fd00::1]:15012 or control.mesh.svc:15012, with commas "
                         "between");
    return 0;
}

static int check_control(const struct reading *reading)
{
    if (value_of(reading, FL_ENV_CONTROL_ADDRESS).len == 0)
        return wrong(reading, FL_ENV_CONTROL_ADDRESS,
                     "where the control plane is, as control.mesh.svc:15012 or 10.0.0.1:15012, several with commas "
                     "between, or none (or give a configuration by -c FILE)");
    if (!has_no_control(reading))
        return check_places(reading, FL_ENV_CONTROL_ADDRESS);
    if (value_of(reading, FL_ENV_GATEWAY).len > 0)
        return wrong(reading, FL_ENV_CONTROL_ADDRESS, "a control plane, which a gateway cannot be without");
    return 0;
}

static int first_ip(const struct reading *reading, struct fl_span *ret_ip)
{
    struct fl_span rest = value_of(reading, FL_ENV_POD_IPS);
    struct proxy_address address;
    if (!fl_span_split(&rest, ',', ret_ip) || proxy_address_parse(*ret_ip, 0, &address) != 0)
        return wrong(reading, FL_ENV_POD_IPS, "the pod's IP addresses, with commas between");
    return 0;
}

static int check_gateway(const struct reading *reading)
{
    struct fl_span name = value_of(reading, FL_ENV_GATEWAY), name_space;
    if (name.len == 0)
        return 0;
    if (!fl_span_split(&name, '/', &name_space) || !is_name(name_space) || !is_name(name))
        return wrong(reading, FL_ENV_GATEWAY, "<namespace>/<name> of a Gateway");
    return 0;
}

static int check(const struct reading *reading)
{
    struct fl_identity good = {FL_SPAN("a"), FL_SPAN("a"), FL_SPAN("a")}, identity = good;
    if (!is_name(value_of(reading, FL_ENV_POD_NAME)))
        return wrong(reading, FL_ENV_POD_NAME, "the pod's name");
    identity.name_space = value_of(reading, FL_ENV_POD_NAMESPACE);
    int result = check_identity(reading, FL_ENV_POD_NAMESPACE, identity, "the pod's namespace");
    identity = good;
    identity.service_account = value_of(reading, FL_ENV_SERVICE_ACCOUNT);
    if (result == 0)
        result = check_identity(reading, FL_ENV_SERVICE_ACCOUNT, identity, "the name of the pod's service account");
    identity = good;
    identity.trust_domain = value_or(reading, FL_ENV_TRUST_DOMAIN, FL_SPAN(FL_TRUST_DOMAIN_DEFAULT));
    if (result == 0)
        result = check_identity(reading, FL_ENV_TRUST_DOMAIN, identity, "a trust domain, as cluster.local");
    if (result == 0)
        result = check_control(reading);
    if (result == 0)
        result = check_places(reading, FL_ENV_CA_ADDRESS);
    if (result == 0 && !is_name(value_or(reading, FL_ENV_CONTROL_NAME, FL_SPAN(FL_CONTROL_NAME))))
        result = wrong(reading, FL_ENV_CONTROL_NAME, "the DNS name in the control plane's certificate");
    if (result == 0 && !is_name(value_or(reading, FL_ENV_CA_NAME, FL_SPAN("a"))))
        result = wrong(reading, FL_ENV_CA_NAME, "the DNS name in the certificate authority's certificate");
    struct fl_span discovery = value_or(reading, FL_ENV_DISCOVERY, FL_SPAN("all"));
    if (result == 0 && !fl_span_eq_str(discovery, "all") && !fl_span_eq_str(discovery, FL_NODE_DISCOVERY_ON_DEMAND))
        result = wrong(reading, FL_ENV_DISCOVERY, "on-demand or all");
    uint64_t port;
    if (result == 0 && !fl_span_to_u64(value_or(reading, FL_ENV_ADMIN_PORT, FL_SPAN("0")), 65535, &port))
        result = wrong(reading, FL_ENV_ADMIN_PORT, "a port");
    return result == 0 ? check_gateway(reading) : result;
}

/* --- printing --------------------------------------------------------------------------------------------------- */

/* "    KEY: "value"" where there is a value. */
static void put_member(struct reading *reading, const char *indent, const char *key, struct fl_span value)
{
    if (value.len == 0)
        return;
    fl_print(&reading->print, "%s%s: ", indent, key);
    fl_print_json(&reading->print, value);
    fl_print(&reading->print, "\n");
}

static const struct {
    const char *variable, *label;
} labels[] = {
    {FL_ENV_LABEL_APP, FL_LABEL_APP},
    {FL_ENV_LABEL_VERSION, FL_LABEL_VERSION},
    {FL_ENV_LABEL_APP_NAME, FL_LABEL_APP_NAME},
    {FL_ENV_LABEL_APP_VERSION, FL_LABEL_APP_VERSION},
    {FL_ENV_LABEL_CANONICAL_NAME, FL_LABEL_CANONICAL_NAME},
    {FL_ENV_LABEL_CANONICAL_REVISION, FL_LABEL_CANONICAL_REVISION},
};

static void put_labels(struct reading *reading)
{
    bool any = false;
    for (size_t i = 0; i < FL_COUNT(labels); i++)
        any = any || value_of(reading, labels[i].variable).len > 0;
    if (any)
        fl_print(&reading->print, "    LABELS:\n");
    for (size_t i = 0; i < FL_COUNT(labels); i++)
        put_member(reading, "      ", labels[i].label, value_of(reading, labels[i].variable));
}

static void put_node(struct reading *reading, struct fl_span ip)
{
    struct fl_span pod = value_of(reading, FL_ENV_POD_NAME), name_space = value_of(reading, FL_ENV_POD_NAMESPACE);
    struct fl_span gateway = value_of(reading, FL_ENV_GATEWAY), workload = value_or(reading, FL_ENV_WORKLOAD, pod);
    struct fl_span control = value_of(reading, FL_ENV_CONTROL_ADDRESS);
    struct fl_span name = value_or(reading, FL_ENV_CONTROL_NAME, FL_SPAN(FL_CONTROL_NAME));
    struct fl_span discovery =
        value_or(reading, FL_ENV_DISCOVERY, gateway.len > 0 ? FL_SPAN("all") : FL_SPAN(FL_NODE_DISCOVERY_ON_DEMAND));
    static const char indent[] = "    ";
    fl_print(&reading->print, "node:\n  id: \"%s~%.*s~%.*s.%.*s~%.*s.svc.cluster.local\"\n",
             gateway.len > 0 ? "router" : "sidecar", FL_SPAN_ARG(ip), FL_SPAN_ARG(pod), FL_SPAN_ARG(name_space),
             FL_SPAN_ARG(name_space));
    fl_print(&reading->print, "  cluster: ");
    fl_print_json(&reading->print, workload);
    fl_print(&reading->print, "\n  metadata:\n");
    put_member(reading, indent, "NAMESPACE", name_space);
    put_member(reading, indent, "WORKLOAD_NAME", workload);
    put_member(reading, indent, "SERVICE_ACCOUNT", value_of(reading, FL_ENV_SERVICE_ACCOUNT));
    put_member(reading, indent, "CLUSTER_ID", value_or(reading, FL_ENV_CLUSTER_ID, FL_SPAN("Kubernetes")));
    put_member(reading, indent, "NODE_NAME", value_of(reading, FL_ENV_NODE_NAME));
    put_member(reading, indent, "TRUST_DOMAIN",
               value_or(reading, FL_ENV_TRUST_DOMAIN, FL_SPAN(FL_TRUST_DOMAIN_DEFAULT)));
    put_labels(reading);
    if (has_no_control(reading))
        return;
    put_member(reading, indent, FL_NODE_GATEWAY, gateway);
    put_member(reading, indent, FL_NODE_DISCOVERY, discovery);
    put_member(reading, indent, FL_ENV_CA_ADDRESS, value_or(reading, FL_ENV_CA_ADDRESS, control));
    put_member(reading, indent, FL_ENV_CA_NAME, value_or(reading, FL_ENV_CA_NAME, name));
    put_member(reading, indent, FL_ENV_ROOT_FILE, value_or(reading, FL_ENV_ROOT_FILE, FL_SPAN(FL_ROOT_PATH)));
    put_member(reading, indent, FL_ENV_TOKEN_FILE,
               value_or(reading, FL_ENV_TOKEN_FILE, FL_SPAN(FL_TOKEN_PATH "/token")));
}

static void put_dynamic(struct reading *reading)
{
    fl_print(&reading->print, "dynamic_resources:\n"
                              "  ads_config:\n"
                              "    api_type: DELTA_GRPC\n"
                              "    transport_api_version: V3\n"
                              "    grpc_services:\n"
                              "    - envoy_grpc: {cluster_name: " PROXY_ENVIRONMENT_CONTROL "}\n"
                              "  cds_config: {ads: {}, resource_api_version: V3}\n"
                              "  lds_config: {ads: {}, resource_api_version: V3}\n");
}

static void put_endpoints(struct reading *reading)
{
    struct fl_span rest = value_of(reading, FL_ENV_CONTROL_ADDRESS), part;
    fl_print(&reading->print, "    load_assignment:\n"
                              "      cluster_name: " PROXY_ENVIRONMENT_CONTROL "\n"
                              "      endpoints:\n"
                              "      - lb_endpoints:\n");
    while (fl_span_split(&rest, ',', &part)) {
        struct fl_place place = {0};
        (void)fl_place_parse(fl_span_trim(part), &place); /* checked before */
        fl_print(&reading->print, "        - endpoint: {address: {socket_address: {address: ");
        fl_print_json(&reading->print, place.host);
        fl_print(&reading->print, ", port_value: %u}}}\n", (unsigned)place.port);
    }
}

static bool has_names(const struct reading *reading)
{
    struct fl_span rest = value_of(reading, FL_ENV_CONTROL_ADDRESS), part;
    for (struct fl_place place; fl_span_split(&rest, ',', &part);)
        if (fl_place_parse(fl_span_trim(part), &place) && place.is_name)
            return true;
    return false;
}

static void put_control(struct reading *reading)
{
    struct fl_span name = value_or(reading, FL_ENV_CONTROL_NAME, FL_SPAN(FL_CONTROL_NAME));
    fl_print(&reading->print,
             "static_resources:\n"
             "  clusters:\n"
             "  - name: " PROXY_ENVIRONMENT_CONTROL "\n"
             "    type: %s\n"
             "    connect_timeout: 5s\n"
             "    typed_extension_protocol_options:\n"
             "      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n"
             "        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n"
             "        explicit_http_config: {http2_protocol_options: {}}\n",
             has_names(reading) ? "STRICT_DNS" : "STATIC");
    put_endpoints(reading);
    fl_print(&reading->print,
             "    transport_socket:\n"
             "      name: envoy.transport_sockets.tls\n"
             "      typed_config:\n"
             "        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n"
             "        sni: ");
    fl_print_json(&reading->print, name);
    fl_print(&reading->print, "\n        common_tls_context:\n"
                              "          alpn_protocols: [h2]\n"
                              "          tls_certificate_sds_secret_configs:\n"
                              "          - {name: " FL_RESOURCE_NAME_OWN_CERTIFICATE ", sds_config: {ads: {}}}\n"
                              "          validation_context:\n"
                              "            trusted_ca: {filename: ");
    fl_print_json(&reading->print, value_or(reading, FL_ENV_ROOT_FILE, FL_SPAN(FL_ROOT_PATH)));
    fl_print(&reading->print, "}\n            match_typed_subject_alt_names:\n"
                              "            - {san_type: DNS, matcher: {exact: ");
    fl_print_json(&reading->print, name);
    fl_print(&reading->print, "}}\n");
}

/* Without a control plane: what was captured goes on as it came, byte by byte. */
static void put_listener(struct reading *reading, const char *name, const char *direction, unsigned port,
                         const char *cluster)
{
    fl_print(&reading->print,
             "  - name: %s\n"
             "    traffic_direction: %s\n"
             "    address: {socket_address: {address: \"::\", port_value: %u, ipv4_compat: true}}\n"
             "    listener_filters:\n"
             "    - name: envoy.filters.listener.original_dst\n"
             "      typed_config:\n"
             "        \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst\n"
             "    default_filter_chain:\n"
             "      filters:\n"
             "      - name: envoy.filters.network.tcp_proxy\n"
             "        typed_config:\n"
             "          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n"
             "          stat_prefix: %s\n"
             "          cluster: %s\n",
             name, direction, port, cluster, cluster);
}

static void put_cluster(struct reading *reading, const char *name, bool inbound)
{
    fl_print(&reading->print,
             "  - name: %s\n"
             "    type: ORIGINAL_DST\n"
             "    lb_policy: CLUSTER_PROVIDED\n"
             "    connect_timeout: 10s\n",
             name);
    if (inbound)
        fl_print(&reading->print,
                 "    upstream_bind_config:\n"
                 "      source_address: {address: " FL_PASSTHROUGH_IPV4 ", port_value: 0}\n"
                 "      extra_source_addresses: [{address: {address: \"" FL_PASSTHROUGH_IPV6 "\", port_value: 0}}]\n");
}

static void put_passthrough(struct reading *reading)
{
    fl_print(&reading->print, "static_resources:\n  listeners:\n");
    put_listener(reading, FL_RESOURCE_NAME_VIRTUAL_INBOUND, "INBOUND", FL_PORT_INBOUND,
                 FL_RESOURCE_NAME_INBOUND_PASSTHROUGH);
    put_listener(reading, FL_RESOURCE_NAME_VIRTUAL_OUTBOUND, "OUTBOUND", FL_PORT_OUTBOUND,
                 FL_RESOURCE_NAME_PASSTHROUGH);
    fl_print(&reading->print, "  clusters:\n");
    put_cluster(reading, FL_RESOURCE_NAME_INBOUND_PASSTHROUGH, true);
    put_cluster(reading, FL_RESOURCE_NAME_PASSTHROUGH, false);
}

int proxy_environment_print(const char *(*get)(void *owner, const char *name), void *owner, struct fl_buf *out,
                            struct fl_err *err)
{
    struct reading reading = {.get = get, .owner = owner, .print = {.out = out}, .err = err};
    struct fl_span ip = {NULL, 0};
    int result = check(&reading);
    if (result == 0)
        result = first_ip(&reading, &ip);
    if (result != 0)
        return result == -ENOMEM ? fl_err_set(err, result, "out of memory") : result;
    uint64_t port = FL_PORT_ADMIN;
    (void)fl_span_to_u64(value_of(&reading, FL_ENV_ADMIN_PORT), 65535, &port);
    put_node(&reading, ip);
    fl_print(&reading.print, "admin:\n  address: {socket_address: {address: 127.0.0.1, port_value: %u}}\n",
             (unsigned)port);
    if (has_no_control(&reading)) {
        put_passthrough(&reading);
    } else {
        put_dynamic(&reading);
        put_control(&reading);
    }
    return reading.print.result == 0
               ? 0
               : fl_err_set(err, reading.print.result, "the environment makes no bootstrap: it is too long");
}
