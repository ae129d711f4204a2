/* proxy/config: what is refused, each with the exact words; defaults and details that the golden files do not show. */
#include "proxy/config/bootstrap.h"
#include "tests/unit/proxy/pki_folder.h"

static struct pki_folder folder;

static int setup(void **state)
{
    (void)state;
    pki_folder_init(&folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_folder_done(&folder);
    return 0;
}

/* Pieces; what follows a piece goes on in its place. */
#define TYPE    "\"@type\": type.googleapis.com/envoy."
#define NET     TYPE "extensions.filters.network."
#define TCP     "{name: t, typed_config: {" NET "tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c}}"
#define ROUTER  "{name: r, typed_config: {" TYPE "extensions.filters.http.router.v3.Router}}"
#define CLUSTER "static_resources:\n  clusters:\n  - name: c\n    connect_timeout: 1s\n"
#define LISTENER                                                                                                       \
    CLUSTER "  listeners:\n  - name: l\n    address: {socket_address: {address: 127.0.0.1, port_value: 1000}}\n"
#define CHAINS LISTENER "    filter_chains:\n"
#define HCM                                                                                                            \
    CHAINS "    - filters:\n      - name: h\n        typed_config:\n          " NET                                    \
           "http_connection_manager.v3.HttpConnectionManager\n          stat_prefix: p\n"
#define HFILTERS "          http_filters: [" ROUTER "]\n"
#define HOST     HCM HFILTERS "          route_config:\n            virtual_hosts:\n            - name: v\n"
#define ROUTE    HOST "              domains: [\"*\"]\n              routes:\n"
#define TLS                                                                                                            \
    CHAINS "    - filters: [" TCP                                                                                      \
           "]\n      transport_socket:\n        name: tls\n        typed_config:\n          " TYPE                     \
           "extensions.transport_sockets.tls.v3.DownstreamTlsContext\n"
#define COMMON TLS "          common_tls_context:\n"
#define PAIR                                                                                                           \
    "            tls_certificates: [{certificate_chain: {filename: /run/fairlead/cert-chain.pem}, private_key: "       \
    "{filename: /run/fairlead/key.pem}}]\n"
#define CA "trusted_ca: {filename: /run/fairlead/root-cert.pem}"
#define UPSTREAM                                                                                                       \
    CLUSTER "    transport_socket:\n      name: tls\n      typed_config:\n        " TYPE                               \
            "extensions.transport_sockets.tls.v3.UpstreamTlsContext\n"

/* Places in the errors. */
#define AT_CLUSTER  "$.static_resources.clusters[0]"
#define AT_LISTENER "$.static_resources.listeners[0]"
#define AT_CHAIN    AT_LISTENER ".filter_chains[0]"
#define AT_FILTER   AT_CHAIN ".filters[0].typed_config"
#define AT_ROUTE    AT_FILTER ".route_config.virtual_hosts[0].routes[0]"
#define AT_TLS      AT_CHAIN ".transport_socket.typed_config"
#define AT_COMMON   AT_TLS ".common_tls_context"

static const struct {
    const char *what, *text, *expected;
} bad[] = {
    {"not YAML", "a: [b", "b.yaml:2:1: did not find expected ',' or ']'"},
    {"two documents", "{}\n---\n{}\n", "b.yaml: expected one document, got 2"},
    {"an empty file", "", "b.yaml: expected one document, got 0"},
    {"not an object", "[]", "b.yaml:1:1: $: expected an object, got an array"},
    {"a field twice in both spellings", "static_resources: {}\nstaticResources: {}\n",
     "b.yaml:2:18: $.staticResources: the field is there twice, as static_resources too"},
    {"a static secret of another kind", "static_resources: {secrets: [{name: a, generic_secret: {}}]}\n",
     "b.yaml:1:30: $.static_resources.secrets[0]: expected tls_certificate or validation_context"},
    {"a static secret without a root",
     "static_resources: {secrets: [{name: a, validation_context: {trusted_ca: {inline_string: x}}}]}\n",
     "b.yaml:1:73: $.static_resources.secrets[0].validation_context.trusted_ca: trust bundle: no certificate in it"},
    {"admin on a pipe", "admin: {address: {pipe: {path: /x}}}\n",
     "b.yaml:1:25: $.admin.address.pipe: pipe is not supported"},
    {"admin port out of range", "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 70000}}}\n",
     "b.yaml:1:68: $.admin.address.socket_address.port_value: expected a port from 0 to 65535, got 70000"},
    {"node is a list", "node: []\n", "b.yaml:1:7: $.node: expected an object, got an array"},
    {"cluster without name", "static_resources: {clusters: [{connect_timeout: 1s}]}\n",
     "b.yaml:1:31: " AT_CLUSTER ".name: must be set"},
    {"cluster twice", CLUSTER "  - name: c\n",
     "b.yaml:5:11: $.static_resources.clusters[1].name: a cluster \"c\" is there already"},
    {"connect_timeout 0", "static_resources: {clusters: [{name: c, connect_timeout: 0s}]}\n",
     "b.yaml:1:58: " AT_CLUSTER ".connect_timeout: must be greater than 0"},
    {"connect_timeout negative", "static_resources: {clusters: [{name: c, connect_timeout: -1s}]}\n",
     "b.yaml:1:58: " AT_CLUSTER ".connect_timeout: must not be negative"},
    {"connect_timeout without unit", "static_resources: {clusters: [{name: c, connect_timeout: 5}]}\n",
     "b.yaml:1:58: " AT_CLUSTER ".connect_timeout: expected a duration such as \"1.5s\""},
    {"unknown type", CLUSTER "    type: SOMETHING\n",
     "b.yaml:5:11: " AT_CLUSTER ".type: expected one of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST"},
    {"names without endpoints", CLUSTER "    type: STRICT_DNS\n",
     "b.yaml:3:5: " AT_CLUSTER ".load_assignment: must be set"},
    {"names never asked for again", CLUSTER "    type: LOGICAL_DNS\n    dns_refresh_rate: 0s\n",
     "b.yaml:6:23: " AT_CLUSTER ".dns_refresh_rate: must be greater than 0"},
    {"EDS", CLUSTER "    type: EDS\n    eds_cluster_config: {service_name: x}\n",
     "b.yaml:6:25: " AT_CLUSTER ".eds_cluster_config.eds_config: must be set"},
    {"CLUSTER_PROVIDED on STATIC", CLUSTER "    lb_policy: CLUSTER_PROVIDED\n",
     "b.yaml:5:16: " AT_CLUSTER ".lb_policy: CLUSTER_PROVIDED belongs to the type ORIGINAL_DST, and to no other"},
    {"ORIGINAL_DST with another policy", CLUSTER "    type: ORIGINAL_DST\n",
     "b.yaml:3:5: " AT_CLUSTER ".lb_policy: CLUSTER_PROVIDED belongs to the type ORIGINAL_DST, and to no other"},
    {"ring hash", CLUSTER "    lb_policy: RING_HASH\n",
     "b.yaml:5:16: " AT_CLUSTER ".lb_policy: expected ROUND_ROBIN, LEAST_REQUEST, RANDOM or CLUSTER_PROVIDED"},
    {"ORIGINAL_DST with endpoints",
     CLUSTER "    type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED\n    load_assignment: {cluster_name: c}\n",
     "b.yaml:7:22: " AT_CLUSTER ".load_assignment: the type ORIGINAL_DST has no endpoints of its own"},
    {"load_assignment without name", CLUSTER "    load_assignment: {endpoints: []}\n",
     "b.yaml:5:22: " AT_CLUSTER ".load_assignment.cluster_name: must be set"},
    {"a host name as endpoint",
     CLUSTER "    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: "
             "{address: example.com, port_value: 80}}}}]}]}\n",
     "b.yaml:5:116: " AT_CLUSTER ".load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address."
     "address: expected an IPv4 or IPv6 address, got \"example.com\""},
    {"endpoint without address",
     CLUSTER "    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {}}]}]}\n",
     "b.yaml:5:79: " AT_CLUSTER
     ".load_assignment.endpoints[0].lb_endpoints[0].endpoint.address: an address must be set"},
    {"endpoint without port",
     CLUSTER "    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: "
             "{address: 10.0.0.1}}}}]}]}\n",
     "b.yaml:5:106: " AT_CLUSTER
     ".load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: must be set"},
    {"endpoint over UDP",
     CLUSTER "    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: "
             "{protocol: UDP, address: 10.0.0.1, port_value: 1}}}}]}]}\n",
     "b.yaml:5:117: " AT_CLUSTER
     ".load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.protocol: UDP is not supported"},
    {"weight 0",
     CLUSTER "    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{load_balancing_weight: 0}]}]}\n",
     "b.yaml:5:92: " AT_CLUSTER ".load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight: expected a "
     "number from 1 to 4294967295, got 0"},
    {"priority above 128", CLUSTER "    load_assignment: {cluster_name: c, endpoints: [{priority: 129}]}\n",
     "b.yaml:5:63: " AT_CLUSTER ".load_assignment.endpoints[0].priority: expected a number from 0 to 128, got 129"},
    {"a keepalive time that Linux does not take",
     CLUSTER "    upstream_connection_options: {tcp_keepalive: {keepalive_time: 32768}}\n",
     "b.yaml:5:67: " AT_CLUSTER
     ".upstream_connection_options.tcp_keepalive.keepalive_time: expected a number from 1 to 32767, got 32768"},
    {"a fixed source port",
     CLUSTER "    upstream_bind_config: {source_address: {address: 127.0.0.6, port_value: 99}}\n",
     "b.yaml:5:77: " AT_CLUSTER
     ".upstream_bind_config.source_address.port_value: expected 0: a fixed source port serves one connection alone"},
    {"two sources of one family",
     CLUSTER "    upstream_bind_config: {source_address: {address: 127.0.0.6, port_value: 0}, extra_source_addresses: "
             "[{address: {address: 127.0.0.7, port_value: 0}}]}\n",
     "b.yaml:5:116: " AT_CLUSTER ".upstream_bind_config.extra_source_addresses[0].address: a second source address of "
     "this family is not supported"},
    {"transport_socket_matches", CLUSTER "    transport_socket_matches: [{name: x}]\n",
     "b.yaml:5:32: " AT_CLUSTER ".transport_socket_matches[0].transport_socket: must be set"},
    {"HTTP/3 upstream",
     CLUSTER "    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" TYPE
             "extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http3_protocol_options: {}}}}\n",
     "b.yaml:5:229: " AT_CLUSTER
     ".typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_"
     "config.http3_protocol_options: http3_protocol_options is not supported"},
    {"HTTP/2 window of an upstream",
     CLUSTER "    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" TYPE
             "extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: "
             "{initial_stream_window_size: 65534}}}}\n",
     "b.yaml:5:258: " AT_CLUSTER
     ".typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_"
     "config.http2_protocol_options.initial_stream_window_size: expected a number from 65535 to 2147483647, got 65534"},
    {"unknown protocol options",
     CLUSTER "    typed_extension_protocol_options: {x: {" TYPE "extensions.upstreams.http.v3.HttpProtocolOptions}}\n",
     "b.yaml:5:43: " AT_CLUSTER
     ".typed_extension_protocol_options.x: expected envoy.extensions.upstreams.http.v3.HttpProtocolOptions"},
    {"listener without address", CLUSTER "  listeners: [{name: l}]\n",
     "b.yaml:5:15: " AT_LISTENER ".address: an address must be set"},
    {"listener without chains", LISTENER "",
     "b.yaml:6:5: " AT_LISTENER ".filter_chains: filter_chains or default_filter_chain must be set"},
    {"listener twice",
     CHAINS "    - filters: [" TCP "]\n  - name: l\n    address: {socket_address: {address: 127.0.0.1, port_value: "
            "1001}}\n    filter_chains: [{filters: [" TCP "]}]\n",
     "b.yaml:10:11: $.static_resources.listeners[1].name: a listener \"l\" is there already"},
    {"the same address twice",
     CHAINS "    - filters: [" TCP "]\n  - name: m\n    address: {socket_address: {address: 127.0.0.1, port_value: "
            "1000}}\n    filter_chains: [{filters: [" TCP "]}]\n",
     "b.yaml:11:14: $.static_resources.listeners[1].address: listeners[0] has the same address"},
    {"ipv4_compat on IPv4",
     CLUSTER
     "  listeners: [{name: l, address: {socket_address: {address: 0.0.0.0, port_value: 1, ipv4_compat: true}}}]\n",
     "b.yaml:5:98: " AT_LISTENER ".address.socket_address.ipv4_compat: only an IPv6 address may have it"},
    {"additional addresses", LISTENER "    additional_addresses: [{}]\n",
     "b.yaml:8:27: " AT_LISTENER ".additional_addresses: additional_addresses is not supported"},
    {"negative listener_filters_timeout", LISTENER "    listener_filters_timeout: -0.1s\n",
     "b.yaml:8:31: " AT_LISTENER ".listener_filters_timeout: must not be negative"},
    {"unknown listener filter",
     LISTENER "    listener_filters: [{name: x, typed_config: {" TYPE
              "extensions.filters.listener.local_ratelimit.v3.LocalRateLimit}}]\n",
     "b.yaml:8:48: " AT_LISTENER ".listener_filters[0].typed_config: the type "
     "type.googleapis.com/envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit is not supported"},
    {"PROXY protocol behind another filter",
     LISTENER "    listener_filters: [{name: t, typed_config: {" TYPE
              "extensions.filters.listener.tls_inspector.v3.TlsInspector}},\n"
              "      {name: x, typed_config: {" TYPE "extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}}]\n",
     "b.yaml:9:31: " AT_LISTENER ".listener_filters[1].typed_config: the filter must be the first, and there once: its "
     "header comes before everything"},
    {"listener filter without config",
     LISTENER "    listener_filters: [{name: envoy.filters.listener.tls_inspector}]\n",
     "b.yaml:8:24: " AT_LISTENER ".listener_filters[0].typed_config: must be set"},
    {"listener filter twice",
     LISTENER "    listener_filters: [{name: a, typed_config: {" TYPE
              "extensions.filters.listener.original_dst.v3.OriginalDst}}, {name: b, typed_config: {" TYPE
              "extensions.filters.listener.original_dst.v3.OriginalDst}}]\n",
     "b.yaml:8:167: " AT_LISTENER ".listener_filters[1].typed_config: the filter is there twice"},
    {"a network filter as listener filter",
     LISTENER "    listener_filters: [{name: a, typed_config: {" NET "tcp_proxy.v3.TcpProxy}}]\n",
     "b.yaml:8:48: " AT_LISTENER
     ".listener_filters[0].typed_config: type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy is "
     "not a listener filter that is supported"},
    {"chain without filters", CHAINS "    - name: x\n",
     "b.yaml:9:7: " AT_CHAIN ".filters: the last filter must be tcp_proxy or http_connection_manager"},
    {"terminal filter not last", CHAINS "    - filters: [" TCP ", " TCP "]\n",
     "b.yaml:9:17: " AT_CHAIN ".filters[0]: t is terminal, so it must be the last filter"},
    {"unknown network filter", CHAINS "    - filters: [{name: x, typed_config: {" NET "echo.v3.Echo}}, " TCP "]\n",
     "b.yaml:9:41: " AT_FILTER
     ": the filter type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo is not supported"},
    {"chain that ends with a harmless filter",
     CHAINS "    - filters: [{name: x, typed_config: {\"@type\": x/stats.PluginConfig}}]\n",
     "b.yaml:9:17: " AT_CHAIN ".filters[0]: the last filter must be tcp_proxy or http_connection_manager"},
    {"filter without @type", CHAINS "    - filters: [{name: x, typed_config: {stat_prefix: p}}]\n",
     "b.yaml:9:41: " AT_FILTER ": expected a member \"@type\" with a type's name"},
    {"use_proxy_proto", CHAINS "    - filters: [" TCP "]\n      use_proxy_proto: true\n",
     "b.yaml:10:24: " AT_CHAIN ".use_proxy_proto: use_proxy_proto is not supported"},
    {"chain name twice",
     CHAINS "    - {name: x, filters: [" TCP
            "], filter_chain_match: {destination_port: 1}}\n    - {name: x, filters: [" TCP
            "], filter_chain_match: {destination_port: 2}}\n",
     "b.yaml:10:14: " AT_LISTENER ".filter_chains[1].name: a filter chain \"x\" is there already"},
    {"the same match twice",
     CHAINS "    - {filters: [" TCP
            "], filter_chain_match: {destination_port: 1, application_protocols: [a, b]}}\n    - {filters: [" TCP
            "], filter_chain_match: {destination_port: 1, application_protocols: [b]}}\n",
     "b.yaml:10:179: " AT_LISTENER
     ".filter_chains[1].filter_chain_match: matches the same connections as filter_chains[0]"},
    {"default chain with a match",
     LISTENER "    default_filter_chain: {filters: [" TCP "], filter_chain_match: {destination_port: 1}}\n",
     "b.yaml:8:199: " AT_LISTENER ".default_filter_chain.filter_chain_match: the default chain has none"},
    {"unknown field in a match", CHAINS "    - {filters: [" TCP "], filter_chain_match: {destination_ports: [1]}}\n",
     "b.yaml:9:199: " AT_CHAIN
     ".filter_chain_match.destination_ports: there is no such field in envoy.config.listener.v3.FilterChainMatch"},
    {"destination_port 0", CHAINS "    - {filters: [" TCP "], filter_chain_match: {destination_port: 0}}\n",
     "b.yaml:9:198: " AT_CHAIN ".filter_chain_match.destination_port: expected a number from 1 to 65535, got 0"},
    {"prefix too long",
     CHAINS "    - {filters: [" TCP
            "], filter_chain_match: {prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 33}]}}\n",
     "b.yaml:9:235: " AT_CHAIN
     ".filter_chain_match.prefix_ranges[0].prefix_len: expected a number from 0 to 32, got 33"},
    {"prefix is no address",
     CHAINS "    - {filters: [" TCP
            "], filter_chain_match: {prefix_ranges: [{address_prefix: 10.0.0, prefix_len: 8}]}}\n",
     "b.yaml:9:213: " AT_CHAIN
     ".filter_chain_match.prefix_ranges[0].address_prefix: expected an IPv4 or IPv6 address, got \"10.0.0\""},
    {"wildcard inside a server name",
     CHAINS "    - {filters: [" TCP "], filter_chain_match: {server_names: [\"a.*.com\"]}}\n",
     "b.yaml:9:195: " AT_CHAIN
     ".filter_chain_match.server_names[0]: expected a DNS name, with \"*.\" in front or without, got \"a.*.com\""},
    {"unknown transport protocol",
     CHAINS "    - {filters: [" TCP "], filter_chain_match: {transport_protocol: quic}}\n",
     "b.yaml:9:200: " AT_CHAIN ".filter_chain_match.transport_protocol: expected raw_buffer or tls, got \"quic\""},
    {"address_suffix", CHAINS "    - {filters: [" TCP "], filter_chain_match: {address_suffix: x}}\n",
     "b.yaml:9:196: " AT_CHAIN ".filter_chain_match.address_suffix: address_suffix is not supported"},
    {"source port out of range", CHAINS "    - {filters: [" TCP "], filter_chain_match: {source_ports: [0]}}\n",
     "b.yaml:9:195: " AT_CHAIN ".filter_chain_match.source_ports[0]: expected a port from 1 to 65535, got 0"},
    {"tcp_proxy without stat_prefix",
     CHAINS "    - filters: [{name: t, typed_config: {" NET "tcp_proxy.v3.TcpProxy, cluster: c}}]\n",
     "b.yaml:9:41: " AT_FILTER ".stat_prefix: must be set"},
    {"tcp_proxy without cluster",
     CHAINS "    - filters: [{name: t, typed_config: {" NET "tcp_proxy.v3.TcpProxy, stat_prefix: p}}]\n",
     "b.yaml:9:41: " AT_FILTER ".cluster: must be set"},
    {"tcp_proxy to nowhere",
     CHAINS "    - filters: [{name: t, typed_config: {" NET
            "tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: nowhere}}]\n",
     "b.yaml:9:152: " AT_FILTER ".cluster: there is no cluster \"nowhere\""},
    {"tcp_proxy to two clusters",
     CHAINS "    - filters: [{name: t, typed_config: {" NET
            "tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c, weighted_clusters: {}}}]\n",
     "b.yaml:9:174: " AT_FILTER ".weighted_clusters: only one of cluster and weighted_clusters may be set"},
    {"tcp_proxy by a weight of nothing",
     CHAINS "    - filters: [{name: t, typed_config: {" NET
            "tcp_proxy.v3.TcpProxy, stat_prefix: p, weighted_clusters: {clusters: [{name: c, weight: 0}]}}}]\n",
     "b.yaml:9:192: " AT_FILTER ".weighted_clusters.clusters[0].weight: must be greater than 0"},
    {"negative idle_timeout",
     CHAINS "    - filters: [{name: t, typed_config: {" NET
            "tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c, idle_timeout: -3s}}]\n",
     "b.yaml:9:169: " AT_FILTER ".idle_timeout: must not be negative"},
    {"access log of an unknown type",
     CHAINS "    - filters: [{name: t, typed_config: {" NET
            "tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c, access_log: [{name: x, typed_config: {" TYPE
            "x.Y}}]}}]\n",
     "b.yaml:9:192: " AT_FILTER ".access_log[0].typed_config: the type type.googleapis.com/envoy.x.Y is not supported"},
    {"access log without path",
     CHAINS "    - filters: [{name: t, typed_config: {" NET
            "tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c, access_log: [{name: x, typed_config: {" TYPE
            "extensions.access_loggers.file.v3.FileAccessLog}}]}}]\n",
     "b.yaml:9:192: " AT_FILTER ".access_log[0].typed_config.path: must be set"},
    {"access log with a bad operator",
     CHAINS "    - filters: [{name: t, typed_config: {" NET
            "tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c, access_log: [{name: x, typed_config: {" TYPE
            "extensions.access_loggers.stream.v3.StdoutAccessLog, log_format: {text_format: \"%NO_SUCH%\"}}}]}}]\n",
     "b.yaml:9:307: " AT_FILTER
     ".access_log[0].typed_config.log_format.text_format: access log format: unknown operator %NO_SUCH%"},
    {"hcm without routes", HCM HFILTERS, "b.yaml:12:11: " AT_FILTER ".route_config: must be set"},
    {"rds", HCM HFILTERS "          rds: {route_config_name: x}\n",
     "b.yaml:15:16: " AT_FILTER ".rds.config_source: must be set"},
    {"no HTTP filters", HCM "          route_config: {}\n",
     "b.yaml:12:11: " AT_FILTER ".http_filters: the last HTTP filter must be the router"},
    {"router not last", HCM "          route_config: {}\n          http_filters: [" ROUTER ", " ROUTER "]\n",
     "b.yaml:15:26: " AT_FILTER ".http_filters[0]: r is terminal, so it must be the last filter"},
    {"no router",
     HCM "          route_config: {}\n          http_filters: [{name: c, typed_config: {" TYPE
         "extensions.filters.http.cors.v3.Cors}}]\n",
     "b.yaml:15:26: " AT_FILTER ".http_filters[0]: the last HTTP filter must be the router"},
    {"unknown HTTP filter",
     HCM "          route_config: {}\n          http_filters: [{name: c, typed_config: {" TYPE
         "extensions.filters.http.lua.v3.Lua}}, " ROUTER "]\n",
     "b.yaml:15:50: " AT_FILTER ".http_filters[0].typed_config: the filter "
     "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua is not supported (those that are: cors, rbac, "
     "jwt_authn, router)"},
    {"fault that injects",
     HCM "          route_config: {}\n          http_filters: [{name: c, typed_config: {" TYPE
         "extensions.filters.http.fault.v3.HTTPFault, abort: {http_status: 503}}}, " ROUTER "]\n",
     "b.yaml:15:137: " AT_FILTER
     ".http_filters[0].typed_config.abort: there is no such field in envoy.extensions.filters.http.fault.v3.HTTPFault"},
    {"codec HTTP3", HCM "          codec_type: HTTP3\n",
     "b.yaml:14:23: " AT_FILTER ".codec_type: expected AUTO, HTTP1 or HTTP2"},
    {"no streams", HCM "          http2_protocol_options: {max_concurrent_streams: 0}\n",
     "b.yaml:14:60: " AT_FILTER
     ".http2_protocol_options.max_concurrent_streams: expected a number from 1 to 2147483647, got 0"},
    {"PINGs without a pause", HCM "          http2_protocol_options: {connection_keepalive: {interval: 0s}}\n",
     "b.yaml:14:69: " AT_FILTER ".http2_protocol_options.connection_keepalive.interval: expected 0.001s to 4294967s"},
    {"too large heads", HCM "          max_request_headers_kb: 96\n",
     "b.yaml:14:35: " AT_FILTER ".max_request_headers_kb: expected a number from 1 to 60, got 96"},
    {"foreign upgrade", HCM "          upgrade_configs: [{upgrade_type: spdy/3.1}]\n",
     "b.yaml:14:44: " AT_FILTER ".upgrade_configs[0].upgrade_type: expected websocket or CONNECT, got \"spdy/3.1\""},
    {"tunnels over any HTTP", HCM "          upgrade_configs: [{upgrade_type: CONNECT}]\n",
     "b.yaml:12:11: " AT_FILTER ".codec_type: expected HTTP2, as upgrade_configs says CONNECT"},
    {"negative request timeout", HCM "          request_timeout: -1s\n",
     "b.yaml:14:28: " AT_FILTER ".request_timeout: must not be negative"},
    {"server_name with a line end", HCM "          server_name: \"a\\nb\"\n",
     "b.yaml:14:24: " AT_FILTER ".server_name: is not a valid field value"},
    {"virtual host without domains", HOST "",
     "b.yaml:17:15: " AT_FILTER ".route_config.virtual_hosts[0].domains: must not be empty"},
    {"domain twice",
     ROUTE "              - {match: {prefix: /}, route: {cluster: c}}\n            - {name: w, domains: [\"*\"]}\n",
     "b.yaml:16:13: " AT_FILTER ".route_config: domain * is there twice"},
    {"route without match", ROUTE "              - {route: {cluster: c}}\n",
     "b.yaml:20:17: " AT_ROUTE ".match: must be set"},
    {"route without path", ROUTE "              - {match: {}, route: {cluster: c}}\n",
     "b.yaml:20:25: " AT_ROUTE
     ".match: prefix, path, safe_regex, connect_matcher, path_separated_prefix or path_match_policy must be set"},
    {"two paths", ROUTE "              - {match: {prefix: /, path: /x}, route: {cluster: c}}\n",
     "b.yaml:20:43: " AT_ROUTE ".match.path: only one of prefix and path may be set"},
    {"regular expression", ROUTE "              - {match: {safe_regex: {regex: 'a('}}, route: {cluster: c}}\n",
     "b.yaml:16:13: " AT_FILTER
     ".route_config: virtual host v: route 0 (): \"a(\": no regular expression, at its octet "
     "2: missing closing parenthesis"},
    {"rewrite without an expression",
     ROUTE "              - {match: {prefix: /}, route: {cluster: c, regex_rewrite: {substitution: /}}}\n",
     "b.yaml:20:73: " AT_ROUTE ".route.regex_rewrite: pattern must be set"},
    {"unknown field in a route match", ROUTE "              - {match: {prefix: /, headres: []}, route: {cluster: c}}\n",
     "b.yaml:20:46: " AT_ROUTE ".match.headres: there is no such field in envoy.config.route.v3.RouteMatch"},
    {"route without action", ROUTE "              - {match: {prefix: /}}\n",
     "b.yaml:20:17: " AT_ROUTE ": route, redirect or direct_response must be set"},
    {"route to nowhere", ROUTE "              - {match: {prefix: /}, route: {cluster: nowhere}}\n",
     "b.yaml:20:55: " AT_ROUTE ".route.cluster: there is no cluster \"nowhere\""},
    {"weighted to nowhere",
     ROUTE "              - {match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: c, weight: 1}, {name: "
           "d, weight: 1}]}}}\n",
     "b.yaml:20:106: " AT_ROUTE ".route.weighted_clusters.clusters[1].name: there is no cluster \"d\""},
    {"weights without sum",
     ROUTE "              - {match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: c, weight: 0}]}}}\n",
     "b.yaml:16:13: " AT_FILTER ".route_config: virtual host v: route 0 (): weights must add up to 1 to 4294967295"},
    {"mirror to nowhere",
     ROUTE "              - {match: {prefix: /}, route: {cluster: c, request_mirror_policies: [{cluster: nowhere}]}}\n",
     "b.yaml:20:94: " AT_ROUTE ".route.request_mirror_policies[0].cluster: there is no cluster \"nowhere\""},
    {"mirror of more than the whole",
     ROUTE "              - {match: {prefix: /}, route: {cluster: c, request_mirror_policies: [{cluster: c, "
           "runtime_fraction: {default_value: {numerator: 101}}}]}}\n",
     "b.yaml:20:115: " AT_ROUTE ".route.request_mirror_policies[0].runtime_fraction: is more than the whole"},
    {"cluster_header", ROUTE "              - {match: {prefix: /}, route: {cluster_header: x}}\n",
     "b.yaml:20:62: " AT_ROUTE ".route.cluster_header: cluster_header is not supported"},
    {"header match without name",
     ROUTE "              - {match: {prefix: /, headers: [{present_match: true}]}, route: {cluster: c}}\n",
     "b.yaml:20:47: " AT_ROUTE ".match.headers[0].name: must be set"},
    {"header match by regular expression",
     ROUTE
     "              - {match: {prefix: /, headers: [{name: a, string_match: {safe_regex: {regex: ')'}}}]}, route: "
     "{cluster: c}}\n",
     "b.yaml:16:13: " AT_FILTER
     ".route_config: virtual host v: route 0 (): \")\": no regular expression, at its octet 0: "
     "unmatched closing parenthesis"},
    {"header match with an empty matcher",
     ROUTE "              - {match: {prefix: /, headers: [{name: a, string_match: {}}]}, route: {cluster: c}}\n",
     "b.yaml:20:71: " AT_ROUTE
     ".match.headers[0].string_match: exact, prefix, suffix, safe_regex, contains or custom must be set"},
    {"direct response status", ROUTE "              - {match: {prefix: /}, direct_response: {status: 99}}\n",
     "b.yaml:20:64: " AT_ROUTE ".direct_response.status: expected a status from 200 to 599, got 99"},
    {"settings of a filter at a route",
     ROUTE
     "              - {match: {prefix: /}, route: {cluster: c}, typed_per_filter_config: {envoy.filters.http.fault: "
     "{" TYPE "extensions.filters.http.fault.v3.HTTPFault}}}\n",
     "b.yaml:20:111: " AT_ROUTE ".typed_per_filter_config[\"envoy.filters.http.fault\"]: of the filters only "
     "envoy.filters.http.cors has settings of a route"},
    {"half of CORS",
     ROUTE
     "              - {match: {prefix: /}, route: {cluster: c}, typed_per_filter_config: {envoy.filters.http.cors: "
     "{" TYPE "extensions.filters.http.cors.v3.CorsPolicy, filter_enabled: {default_value: {numerator: 50}}}}}\n",
     "b.yaml:20:206: " AT_ROUTE
     ".typed_per_filter_config[\"envoy.filters.http.cors\"].filter_enabled: expected all or nothing"},
    {"header edit of Host",
     ROUTE "              - {match: {prefix: /}, route: {cluster: c}, request_headers_to_add: [{header: {key: host, "
           "value: x}}]}\n",
     "b.yaml:16:13: " AT_FILTER
     ".route_config: virtual host v: route 0 (): a header that belongs to the connection or the framing: \"host\""},
    {"route timeout negative", ROUTE "              - {match: {prefix: /}, route: {cluster: c, timeout: -1s}}\n",
     "b.yaml:20:67: " AT_ROUTE ".route.timeout: must not be negative"},
    {"server without certificate", COMMON "            alpn_protocols: [h2]\n",
     "b.yaml:15:13: " AT_COMMON ".tls_certificates: a server needs a certificate"},
    {"unknown field in TLS", COMMON "            tls_certificate: []\n",
     "b.yaml:15:30: " AT_COMMON
     ".tls_certificate: there is no such field in envoy.extensions.transport_sockets.tls.v3.CommonTlsContext"},
    {"certificate by SDS", COMMON "            tls_certificate_sds_secret_configs: [{sds_config: {ads: {}}}]\n",
     "b.yaml:15:50: " AT_COMMON ".tls_certificate_sds_secret_configs[0].name: must be set"},
    {"certificate file missing",
     COMMON "            tls_certificates: [{certificate_chain: {filename: /run/fairlead/other.pem}, private_key: "
            "{filename: /run/fairlead/key.pem}}]\n",
     "b.yaml:15:52: " AT_COMMON
     ".tls_certificates[0].certificate_chain: cannot read /run/fairlead/other.pem: No such file or directory"},
    {"certificate inline and broken",
     COMMON "            tls_certificates: [{certificate_chain: {inline_string: x}, private_key: {filename: "
            "/run/fairlead/key.pem}}]\n",
     "b.yaml:15:52: " AT_COMMON ".tls_certificates[0].certificate_chain: certificate: none in the text"},
    {"private key missing",
     COMMON "            tls_certificates: [{certificate_chain: {filename: /run/fairlead/cert-chain.pem}}]\n",
     "b.yaml:15:32: " AT_COMMON ".tls_certificates[0].private_key: must be set"},
    {"a key that is not the certificate's",
     COMMON "            tls_certificates: [{certificate_chain: {filename: /run/fairlead/root-cert.pem}, private_key: "
            "{filename: /run/fairlead/key.pem}}]\n",
     "b.yaml:15:32: " AT_COMMON ".tls_certificates[0]: the private key is not the certificate's"},
    {"DataSource without a source", COMMON "            tls_certificates: [{certificate_chain: {}}]\n",
     "b.yaml:15:52: " AT_COMMON ".tls_certificates[0].certificate_chain: filename, inline_bytes, inline_string or "
     "environment_variable must be set"},
    {"two certificates", COMMON "            tls_certificates: [{}, {}]\n",
     "b.yaml:15:36: " AT_COMMON ".tls_certificates[1]: a second certificate is not supported"},
    {"TLS 1.1", COMMON "            tls_params: {tls_minimum_protocol_version: TLSv1_1}\n",
     "b.yaml:15:56: " AT_COMMON ".tls_params.tls_minimum_protocol_version: expected TLSv1_2 or TLSv1_3"},
    {"TLS 1.3 forbidden", COMMON "            tls_params: {tls_maximum_protocol_version: TLSv1_2}\n",
     "b.yaml:15:56: " AT_COMMON ".tls_params.tls_maximum_protocol_version: expected TLSv1_3"},
    {"mesh ALPN below TLS 1.3",
     COMMON
     "            alpn_protocols: [fairlead-tcp/1]\n            tls_params: {tls_minimum_protocol_version: TLSv1_2}\n",
     "b.yaml:16:56: " AT_COMMON ".tls_params.tls_minimum_protocol_version: the mesh's ALPN needs TLSv1_3"},
    {"curves", COMMON "            tls_params: {ecdh_curves: [X25519]}\n",
     "b.yaml:15:39: " AT_COMMON ".tls_params.ecdh_curves: ecdh_curves is not supported"},
    {"client certificate without roots",
     TLS "          require_client_certificate: true\n          common_tls_context:\n" PAIR,
     "b.yaml:14:39: " AT_TLS ".require_client_certificate: needs validation_context.trusted_ca"},
    {"mesh ALPN without client certificate",
     COMMON PAIR "            alpn_protocols: [fairlead-tcp/1]\n            validation_context: {" CA "}\n",
     "b.yaml:13:11: " AT_TLS ": the mesh's ALPN needs require_client_certificate"},
    {"names without roots",
     COMMON PAIR
     "            validation_context: {match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: a}}]}\n",
     "b.yaml:16:33: " AT_COMMON ".validation_context.trusted_ca: must be set"},
    {"name by regular expression",
     COMMON PAIR "            validation_context: {" CA
                 ", match_typed_subject_alt_names: [{san_type: URI, matcher: {safe_regex: {regex: a}}}]}\n",
     "b.yaml:16:169: " AT_COMMON ".validation_context.match_typed_subject_alt_names[0].matcher.safe_regex: safe_regex "
     "is not supported (supported: exact, "
     "prefix, suffix)"},
    {"name without matcher",
     COMMON PAIR "            validation_context: {" CA ", match_typed_subject_alt_names: [{san_type: URI}]}\n",
     "b.yaml:16:131: " AT_COMMON ".validation_context.match_typed_subject_alt_names[0].matcher: must be set"},
    {"name of an unserved type",
     COMMON PAIR "            validation_context: {" CA
                 ", match_typed_subject_alt_names: [{san_type: EMAIL, matcher: {exact: a}}]}\n",
     "b.yaml:16:142: " AT_COMMON ".validation_context.match_typed_subject_alt_names[0].san_type: expected URI or DNS"},
    {"empty prefix",
     COMMON PAIR "            validation_context: {" CA
                 ", match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: \"\"}}]}\n",
     "b.yaml:16:156: " AT_COMMON
     ".validation_context.match_typed_subject_alt_names[0].matcher: must not be empty: it would match every name"},
    {"ignore_case",
     COMMON PAIR "            validation_context: {" CA
                 ", match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: a, ignore_case: true}}]}\n",
     "b.yaml:16:181: " AT_COMMON ".validation_context.match_typed_subject_alt_names[0].matcher.ignore_case: "
     "ignore_case is not supported (supported: exact, "
     "prefix, suffix)"},
    {"revocation list", COMMON PAIR "            validation_context: {" CA ", crl: {filename: /x}}\n",
     "b.yaml:16:104: " AT_COMMON ".validation_context.crl: crl is not supported (supported: "
     "trusted_ca, match_typed_subject_alt_names, match_subject_alt_names, watched_directory)"},
    {"trust nobody",
     COMMON PAIR "            validation_context: {" CA ", trust_chain_verification: ACCEPT_UNTRUSTED}\n",
     "b.yaml:16:125: " AT_COMMON
     ".validation_context.trust_chain_verification: trust_chain_verification is not supported (supported: "
     "trusted_ca, match_typed_subject_alt_names, match_subject_alt_names, watched_directory)"},
    {"pinned hash", COMMON PAIR "            validation_context: {" CA ", verify_certificate_hash: [a]}\n",
     "b.yaml:16:124: " AT_COMMON
     ".validation_context.verify_certificate_hash: verify_certificate_hash is not supported (supported: "
     "trusted_ca, match_typed_subject_alt_names, match_subject_alt_names, watched_directory)"},
    {"a leaf as root",
     COMMON PAIR "            validation_context: {trusted_ca: {filename: /run/fairlead/cert-chain.pem}}\n",
     "b.yaml:16:46: " AT_COMMON ".validation_context.trusted_ca: trust bundle: certificate 1 is not a CA's"},
    {"upstream that is not verified", UPSTREAM "        sni: x\n        common_tls_context: {}\n",
     "b.yaml:10:29: " AT_CLUSTER ".transport_socket.typed_config.common_tls_context.validation_context: trusted_ca "
     "must be set: a server that is not verified may be anybody"},
    {"upstream with SNI from the Host", UPSTREAM "        auto_host_sni: true\n",
     "b.yaml:9:24: " AT_CLUSTER
     ".transport_socket.typed_config.auto_host_sni: auto_host_sni is not supported (supported: "
     "common_tls_context, sni, max_session_keys, enforce_rsa_key_usage)"},
    {"downstream context on a cluster",
     CLUSTER "    transport_socket: {name: x, typed_config: {" TYPE
             "extensions.transport_sockets.tls.v3.DownstreamTlsContext}}\n",
     "b.yaml:5:47: " AT_CLUSTER
     ".transport_socket.typed_config: expected the type envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, "
     "got type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"},
    {"unknown transport socket",
     CLUSTER "    transport_socket: {name: x, typed_config: {" TYPE "extensions.transport_sockets.alts.v3.Alts}}\n",
     "b.yaml:5:47: " AT_CLUSTER
     ".transport_socket.typed_config: expected the type envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, "
     "got type.googleapis.com/envoy.extensions.transport_sockets.alts.v3.Alts"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        struct fl_buf text, expected;
        fl_buf_init(&text, 1u << 20);
        fl_buf_init(&expected, 4096);
        pki_folder_place(&folder, fl_span_str(bad[i].text), &text);
        pki_folder_place(&folder, fl_span_str(bad[i].expected), &expected);
        struct proxy_snapshot *snapshot = NULL;
        struct fl_err err = {0};
        int result = proxy_bootstrap_parse(fl_buf_span(&text), "b.yaml", NULL, &snapshot, &err);
        if (result == 0)
            fail_msg("%s: accepted", bad[i].what);
        else if (!fl_span_eq_str(fl_buf_span(&expected), err.text))
            fail_msg("%s:\n  expected %s\n  got      %s", bad[i].what, fl_buf_str(&expected), err.text);
        proxy_snapshot_unref(snapshot);
        fl_buf_done(&text);
        fl_buf_done(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
