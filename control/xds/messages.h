/* The generated messages, under short names: pb_<short>, and pb_<short>_type for its descriptor. Private to
 * control/xds: it shows protobuf-c's types. */
#ifndef CONTROL_XDS_MESSAGES_H
#define CONTROL_XDS_MESSAGES_H

#include "common/xds/proto/access_log_file.pb-c.h"
#include "common/xds/proto/access_log_stream.pb-c.h"
#include "common/xds/proto/cluster.pb-c.h"
#include "common/xds/proto/cors.pb-c.h"
#include "common/xds/proto/discovery.pb-c.h"
#include "common/xds/proto/hcm.pb-c.h"
#include "common/xds/proto/http_inspector.pb-c.h"
#include "common/xds/proto/http_options.pb-c.h"
#include "common/xds/proto/http_rbac.pb-c.h"
#include "common/xds/proto/jwt_authn.pb-c.h"
#include "common/xds/proto/listener.pb-c.h"
#include "common/xds/proto/network_rbac.pb-c.h"
#include "common/xds/proto/original_dst.pb-c.h"
#include "common/xds/proto/previous_hosts.pb-c.h"
#include "common/xds/proto/raw_buffer.pb-c.h"
#include "common/xds/proto/router.pb-c.h"
#include "common/xds/proto/tcp_proxy.pb-c.h"
#include "common/xds/proto/tls.pb-c.h"
#include "common/xds/proto/tls_inspector.pb-c.h"
#include "common/xds/proto/trace.pb-c.h"

/* X(short, struct, descriptor) */
#define CONTROL_MESSAGES(X)                                                                                                                   \
    X(any, Google__Protobuf__Any, google__protobuf__any__descriptor)                                                                          \
    X(duration, Google__Protobuf__Duration, google__protobuf__duration__descriptor)                                                           \
    X(struct, Google__Protobuf__Struct, google__protobuf__struct__descriptor)                                                                 \
    X(struct_field, Google__Protobuf__Struct__FieldsEntry, google__protobuf__struct__fields_entry__descriptor)                                \
    X(value, Google__Protobuf__Value, google__protobuf__value__descriptor)                                                                    \
    X(list, Google__Protobuf__ListValue, google__protobuf__list_value__descriptor)                                                            \
    X(bool, Google__Protobuf__BoolValue, google__protobuf__bool_value__descriptor)                                                            \
    X(u32, Google__Protobuf__UInt32Value, google__protobuf__uint32_value__descriptor)                                                         \
    X(empty, Google__Protobuf__Empty, google__protobuf__empty__descriptor)                                                                    \
    X(percent, Envoy__Type__V3__Percent, envoy__type__v3__percent__descriptor)                                                                \
    X(string_match, Envoy__Type__Matcher__V3__StringMatcher, envoy__type__matcher__v3__string_matcher__descriptor)                            \
    X(regex, Envoy__Type__Matcher__V3__RegexMatcher, envoy__type__matcher__v3__regex_matcher__descriptor)                                     \
    X(regex_rewrite, Envoy__Type__Matcher__V3__RegexMatchAndSubstitute,                                                                       \
      envoy__type__matcher__v3__regex_match_and_substitute__descriptor)                                                                       \
    X(fraction, Envoy__Type__V3__FractionalPercent, envoy__type__v3__fractional_percent__descriptor)                                          \
    X(runtime_fraction, Envoy__Config__Core__V3__RuntimeFractionalPercent,                                                                    \
      envoy__config__core__v3__runtime_fractional_percent__descriptor)                                                                        \
    X(mirror, Envoy__Config__Route__V3__RouteAction__RequestMirrorPolicy,                                                                     \
      envoy__config__route__v3__route_action__request_mirror_policy__descriptor)                                                              \
    X(cors, Envoy__Extensions__Filters__Http__Cors__V3__Cors,                                                                                 \
      envoy__extensions__filters__http__cors__v3__cors__descriptor)                                                                           \
    X(cors_policy, Envoy__Extensions__Filters__Http__Cors__V3__CorsPolicy,                                                                    \
      envoy__extensions__filters__http__cors__v3__cors_policy__descriptor)                                                                    \
    X(route_filter, Envoy__Config__Route__V3__Route__TypedPerFilterConfigEntry,                                                               \
      envoy__config__route__v3__route__typed_per_filter_config_entry__descriptor)                                                             \
    X(path_match, Envoy__Type__Matcher__V3__PathMatcher, envoy__type__matcher__v3__path_matcher__descriptor)                                  \
    X(metadata_match, Envoy__Type__Matcher__V3__MetadataMatcher,                                                                              \
      envoy__type__matcher__v3__metadata_matcher__descriptor)                                                                                 \
    X(metadata_segment, Envoy__Type__Matcher__V3__MetadataMatcher__PathSegment,                                                               \
      envoy__type__matcher__v3__metadata_matcher__path_segment__descriptor)                                                                   \
    X(value_match, Envoy__Type__Matcher__V3__ValueMatcher, envoy__type__matcher__v3__value_matcher__descriptor)                               \
    X(list_match, Envoy__Type__Matcher__V3__ListMatcher, envoy__type__matcher__v3__list_matcher__descriptor)                                  \
    X(or_match, Envoy__Type__Matcher__V3__OrMatcher, envoy__type__matcher__v3__or_matcher__descriptor)                                        \
    X(node, Envoy__Config__Core__V3__Node, envoy__config__core__v3__node__descriptor)                                                         \
    X(metadata, Envoy__Config__Core__V3__Metadata, envoy__config__core__v3__metadata__descriptor)                                             \
    X(metadata_entry, Envoy__Config__Core__V3__Metadata__FilterMetadataEntry,                                                                 \
      envoy__config__core__v3__metadata__filter_metadata_entry__descriptor)                                                                   \
    X(address, Envoy__Config__Core__V3__Address, envoy__config__core__v3__address__descriptor)                                                \
    X(socket_address, Envoy__Config__Core__V3__SocketAddress, envoy__config__core__v3__socket_address__descriptor)                            \
    X(extra_source, Envoy__Config__Core__V3__ExtraSourceAddress,                                                                              \
      envoy__config__core__v3__extra_source_address__descriptor)                                                                              \
    X(bind, Envoy__Config__Core__V3__BindConfig, envoy__config__core__v3__bind_config__descriptor)                                            \
    X(cidr, Envoy__Config__Core__V3__CidrRange, envoy__config__core__v3__cidr_range__descriptor)                                              \
    X(data_source, Envoy__Config__Core__V3__DataSource, envoy__config__core__v3__data_source__descriptor)                                     \
    X(transport, Envoy__Config__Core__V3__TransportSocket, envoy__config__core__v3__transport_socket__descriptor)                             \
    X(header_value, Envoy__Config__Core__V3__HeaderValue, envoy__config__core__v3__header_value__descriptor)                                  \
    X(header_option, Envoy__Config__Core__V3__HeaderValueOption,                                                                              \
      envoy__config__core__v3__header_value_option__descriptor)                                                                               \
    X(config_source, Envoy__Config__Core__V3__ConfigSource, envoy__config__core__v3__config_source__descriptor)                               \
    X(ads, Envoy__Config__Core__V3__AggregatedConfigSource,                                                                                   \
      envoy__config__core__v3__aggregated_config_source__descriptor)                                                                          \
    X(http2_options, Envoy__Config__Core__V3__Http2ProtocolOptions,                                                                           \
      envoy__config__core__v3__http2_protocol_options__descriptor)                                                                            \
    X(http1_options, Envoy__Config__Core__V3__Http1ProtocolOptions,                                                                           \
      envoy__config__core__v3__http1_protocol_options__descriptor)                                                                            \
    X(http_uri, Envoy__Config__Core__V3__HttpUri, envoy__config__core__v3__http_uri__descriptor)                                              \
    X(http_service, Envoy__Config__Core__V3__HttpService, envoy__config__core__v3__http_service__descriptor)                                  \
    X(locality, Envoy__Config__Core__V3__Locality, envoy__config__core__v3__locality__descriptor)                                             \
    X(access_log, Envoy__Config__Accesslog__V3__AccessLog, envoy__config__accesslog__v3__access_log__descriptor)                              \
    X(stdout_log, Envoy__Extensions__AccessLoggers__Stream__V3__StdoutAccessLog,                                                              \
      envoy__extensions__access_loggers__stream__v3__stdout_access_log__descriptor)                                                           \
    X(file_log, Envoy__Extensions__AccessLoggers__File__V3__FileAccessLog,                                                                    \
      envoy__extensions__access_loggers__file__v3__file_access_log__descriptor)                                                               \
    X(listener, Envoy__Config__Listener__V3__Listener, envoy__config__listener__v3__listener__descriptor)                                     \
    X(listener_filter, Envoy__Config__Listener__V3__ListenerFilter,                                                                           \
      envoy__config__listener__v3__listener_filter__descriptor)                                                                               \
    X(chain, Envoy__Config__Listener__V3__FilterChain, envoy__config__listener__v3__filter_chain__descriptor)                                 \
    X(chain_match, Envoy__Config__Listener__V3__FilterChainMatch,                                                                             \
      envoy__config__listener__v3__filter_chain_match__descriptor)                                                                            \
    X(filter, Envoy__Config__Listener__V3__Filter, envoy__config__listener__v3__filter__descriptor)                                           \
    X(original_dst, Envoy__Extensions__Filters__Listener__OriginalDst__V3__OriginalDst,                                                       \
      envoy__extensions__filters__listener__original_dst__v3__original_dst__descriptor)                                                       \
    X(tls_inspector, Envoy__Extensions__Filters__Listener__TlsInspector__V3__TlsInspector,                                                    \
      envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector__descriptor)                                                     \
    X(http_inspector, Envoy__Extensions__Filters__Listener__HttpInspector__V3__HttpInspector,                                                 \
      envoy__extensions__filters__listener__http_inspector__v3__http_inspector__descriptor)                                                   \
    X(tcp_proxy, Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy,                                                                 \
      envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor)                                                              \
    X(tcp_weighted, Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy__WeightedCluster,                                             \
      envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__weighted_cluster__descriptor)                                            \
    X(tcp_weight, Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy__WeightedCluster__ClusterWeight,                                \
      envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__weighted_cluster__cluster_weight__descriptor)                            \
    X(hcm, Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager,                                             \
      envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor)                                  \
    X(hcm_upgrade,                                                                                                                            \
      Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__UpgradeConfig,                                   \
      envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__upgrade_config__descriptor)                  \
    X(hcm_cert_details,                                                                                                                       \
      Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__SetCurrentClientCertDetails,                     \
      envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__set_current_client_cert_details__descriptor) \
    X(hcm_tracing, Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__Tracing,                            \
      envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__tracing__descriptor)                         \
    X(rds, Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__Rds,                                                               \
      envoy__extensions__filters__network__http_connection_manager__v3__rds__descriptor)                                                      \
    X(http_filter, Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter,                                                \
      envoy__extensions__filters__network__http_connection_manager__v3__http_filter__descriptor)                                              \
    X(router, Envoy__Extensions__Filters__Http__Router__V3__Router,                                                                           \
      envoy__extensions__filters__http__router__v3__router__descriptor)                                                                       \
    X(tracing_http, Envoy__Config__Trace__V3__Tracing__Http, envoy__config__trace__v3__tracing__http__descriptor)                             \
    X(otel, Envoy__Config__Trace__V3__OpenTelemetryConfig,                                                                                    \
      envoy__config__trace__v3__open_telemetry_config__descriptor)                                                                            \
    X(routes, Envoy__Config__Route__V3__RouteConfiguration, envoy__config__route__v3__route_configuration__descriptor)                        \
    X(virtual_host, Envoy__Config__Route__V3__VirtualHost, envoy__config__route__v3__virtual_host__descriptor)                                \
    X(route, Envoy__Config__Route__V3__Route, envoy__config__route__v3__route__descriptor)                                                    \
    X(route_match, Envoy__Config__Route__V3__RouteMatch, envoy__config__route__v3__route_match__descriptor)                                   \
    X(header_match, Envoy__Config__Route__V3__HeaderMatcher, envoy__config__route__v3__header_matcher__descriptor)                            \
    X(query_match, Envoy__Config__Route__V3__QueryParameterMatcher,                                                                           \
      envoy__config__route__v3__query_parameter_matcher__descriptor)                                                                          \
    X(route_action, Envoy__Config__Route__V3__RouteAction, envoy__config__route__v3__route_action__descriptor)                                \
    X(connect_matcher, Envoy__Config__Route__V3__RouteMatch__ConnectMatcher,                                                                  \
      envoy__config__route__v3__route_match__connect_matcher__descriptor)                                                                     \
    X(route_upgrade, Envoy__Config__Route__V3__RouteAction__UpgradeConfig,                                                                    \
      envoy__config__route__v3__route_action__upgrade_config__descriptor)                                                                     \
    X(connect_config, Envoy__Config__Route__V3__RouteAction__UpgradeConfig__ConnectConfig,                                                    \
      envoy__config__route__v3__route_action__upgrade_config__connect_config__descriptor)                                                     \
    X(redirect, Envoy__Config__Route__V3__RedirectAction, envoy__config__route__v3__redirect_action__descriptor)                              \
    X(direct, Envoy__Config__Route__V3__DirectResponseAction,                                                                                 \
      envoy__config__route__v3__direct_response_action__descriptor)                                                                           \
    X(weighted, Envoy__Config__Route__V3__WeightedCluster, envoy__config__route__v3__weighted_cluster__descriptor)                            \
    X(weight, Envoy__Config__Route__V3__WeightedCluster__ClusterWeight,                                                                       \
      envoy__config__route__v3__weighted_cluster__cluster_weight__descriptor)                                                                 \
    X(retry, Envoy__Config__Route__V3__RetryPolicy, envoy__config__route__v3__retry_policy__descriptor)                                       \
    X(retry_backoff, Envoy__Config__Route__V3__RetryPolicy__RetryBackOff,                                                                     \
      envoy__config__route__v3__retry_policy__retry_back_off__descriptor)                                                                     \
    X(retry_host, Envoy__Config__Route__V3__RetryPolicy__RetryHostPredicate,                                                                  \
      envoy__config__route__v3__retry_policy__retry_host_predicate__descriptor)                                                               \
    X(previous_hosts, Envoy__Extensions__Retry__Host__PreviousHosts__V3__PreviousHostsPredicate,                                              \
      envoy__extensions__retry__host__previous_hosts__v3__previous_hosts_predicate__descriptor)                                               \
    X(cluster, Envoy__Config__Cluster__V3__Cluster, envoy__config__cluster__v3__cluster__descriptor)                                          \
    X(eds, Envoy__Config__Cluster__V3__Cluster__EdsClusterConfig,                                                                             \
      envoy__config__cluster__v3__cluster__eds_cluster_config__descriptor)                                                                    \
    X(socket_match, Envoy__Config__Cluster__V3__Cluster__TransportSocketMatch,                                                                \
      envoy__config__cluster__v3__cluster__transport_socket_match__descriptor)                                                                \
    X(common_lb, Envoy__Config__Cluster__V3__Cluster__CommonLbConfig,                                                                         \
      envoy__config__cluster__v3__cluster__common_lb_config__descriptor)                                                                      \
    X(cluster_options, Envoy__Config__Cluster__V3__Cluster__TypedExtensionProtocolOptionsEntry,                                               \
      envoy__config__cluster__v3__cluster__typed_extension_protocol_options_entry__descriptor)                                                \
    X(http_options, Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions,                                                              \
      envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor)                                                              \
    X(http_explicit, Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__ExplicitHttpConfig,                                         \
      envoy__extensions__upstreams__http__v3__http_protocol_options__explicit_http_config__descriptor)                                        \
    X(http_downstream, Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__UseDownstreamHttpConfig,                                  \
      envoy__extensions__upstreams__http__v3__http_protocol_options__use_downstream_http_config__descriptor)                                  \
    X(breakers, Envoy__Config__Cluster__V3__CircuitBreakers, envoy__config__cluster__v3__circuit_breakers__descriptor)                        \
    X(thresholds, Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds,                                                                    \
      envoy__config__cluster__v3__circuit_breakers__thresholds__descriptor)                                                                   \
    X(retry_budget, Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds__RetryBudget,                                                     \
      envoy__config__cluster__v3__circuit_breakers__thresholds__retry_budget__descriptor)                                                     \
    X(outlier, Envoy__Config__Cluster__V3__OutlierDetection,                                                                                  \
      envoy__config__cluster__v3__outlier_detection__descriptor)                                                                              \
    X(assignment, Envoy__Config__Endpoint__V3__ClusterLoadAssignment,                                                                         \
      envoy__config__endpoint__v3__cluster_load_assignment__descriptor)                                                                       \
    X(localities, Envoy__Config__Endpoint__V3__LocalityLbEndpoints,                                                                           \
      envoy__config__endpoint__v3__locality_lb_endpoints__descriptor)                                                                         \
    X(lb_endpoint, Envoy__Config__Endpoint__V3__LbEndpoint, envoy__config__endpoint__v3__lb_endpoint__descriptor)                             \
    X(endpoint, Envoy__Config__Endpoint__V3__Endpoint, envoy__config__endpoint__v3__endpoint__descriptor)                                     \
    X(upstream_tls, Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext,                                                         \
      envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor)                                                        \
    X(downstream_tls, Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext,                                                     \
      envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor)                                                      \
    X(common_tls, Envoy__Extensions__TransportSockets__Tls__V3__CommonTlsContext,                                                             \
      envoy__extensions__transport_sockets__tls__v3__common_tls_context__descriptor)                                                          \
    X(combined_validation,                                                                                                                    \
      Envoy__Extensions__TransportSockets__Tls__V3__CommonTlsContext__CombinedCertificateValidationContext,                                   \
      envoy__extensions__transport_sockets__tls__v3__common_tls_context__combined_certificate_validation_context__descriptor)                 \
    X(tls_parameters, Envoy__Extensions__TransportSockets__Tls__V3__TlsParameters,                                                            \
      envoy__extensions__transport_sockets__tls__v3__tls_parameters__descriptor)                                                              \
    X(validation, Envoy__Extensions__TransportSockets__Tls__V3__CertificateValidationContext,                                                 \
      envoy__extensions__transport_sockets__tls__v3__certificate_validation_context__descriptor)                                              \
    X(san_match, Envoy__Extensions__TransportSockets__Tls__V3__SubjectAltNameMatcher,                                                         \
      envoy__extensions__transport_sockets__tls__v3__subject_alt_name_matcher__descriptor)                                                    \
    X(sds, Envoy__Extensions__TransportSockets__Tls__V3__SdsSecretConfig,                                                                     \
      envoy__extensions__transport_sockets__tls__v3__sds_secret_config__descriptor)                                                           \
    X(secret, Envoy__Extensions__TransportSockets__Tls__V3__Secret,                                                                           \
      envoy__extensions__transport_sockets__tls__v3__secret__descriptor)                                                                      \
    X(tls_certificate, Envoy__Extensions__TransportSockets__Tls__V3__TlsCertificate,                                                          \
      envoy__extensions__transport_sockets__tls__v3__tls_certificate__descriptor)                                                             \
    X(raw_buffer, Envoy__Extensions__TransportSockets__RawBuffer__V3__RawBuffer,                                                              \
      envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor)                                                           \
    X(rbac, Envoy__Config__Rbac__V3__RBAC, envoy__config__rbac__v3__rbac__descriptor)                                                         \
    X(rbac_entry, Envoy__Config__Rbac__V3__RBAC__PoliciesEntry,                                                                               \
      envoy__config__rbac__v3__rbac__policies_entry__descriptor)                                                                              \
    X(rbac_policy, Envoy__Config__Rbac__V3__Policy, envoy__config__rbac__v3__policy__descriptor)                                              \
    X(permission, Envoy__Config__Rbac__V3__Permission, envoy__config__rbac__v3__permission__descriptor)                                       \
    X(permission_set, Envoy__Config__Rbac__V3__Permission__Set, envoy__config__rbac__v3__permission__set__descriptor)                         \
    X(principal, Envoy__Config__Rbac__V3__Principal, envoy__config__rbac__v3__principal__descriptor)                                          \
    X(principal_set, Envoy__Config__Rbac__V3__Principal__Set, envoy__config__rbac__v3__principal__set__descriptor)                            \
    X(authenticated, Envoy__Config__Rbac__V3__Principal__Authenticated,                                                                       \
      envoy__config__rbac__v3__principal__authenticated__descriptor)                                                                          \
    X(http_rbac, Envoy__Extensions__Filters__Http__Rbac__V3__RBAC,                                                                            \
      envoy__extensions__filters__http__rbac__v3__rbac__descriptor)                                                                           \
    X(network_rbac, Envoy__Extensions__Filters__Network__Rbac__V3__RBAC,                                                                      \
      envoy__extensions__filters__network__rbac__v3__rbac__descriptor)                                                                        \
    X(jwt, Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtAuthentication,                                                                 \
      envoy__extensions__filters__http__jwt_authn__v3__jwt_authentication__descriptor)                                                        \
    X(jwt_provider, Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtProvider,                                                              \
      envoy__extensions__filters__http__jwt_authn__v3__jwt_provider__descriptor)                                                              \
    X(jwt_provider_entry, Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtAuthentication__ProvidersEntry,                                  \
      envoy__extensions__filters__http__jwt_authn__v3__jwt_authentication__providers_entry__descriptor)                                       \
    X(jwt_rule, Envoy__Extensions__Filters__Http__JwtAuthn__V3__RequirementRule,                                                              \
      envoy__extensions__filters__http__jwt_authn__v3__requirement_rule__descriptor)                                                          \
    X(jwt_requirement, Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtRequirement,                                                        \
      envoy__extensions__filters__http__jwt_authn__v3__jwt_requirement__descriptor)                                                           \
    X(jwt_or, Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtRequirementOrList,                                                           \
      envoy__extensions__filters__http__jwt_authn__v3__jwt_requirement_or_list__descriptor)                                                   \
    X(jwt_and, Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtRequirementAndList,                                                         \
      envoy__extensions__filters__http__jwt_authn__v3__jwt_requirement_and_list__descriptor)                                                  \
    X(jwt_header, Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtHeader,                                                                  \
      envoy__extensions__filters__http__jwt_authn__v3__jwt_header__descriptor)                                                                \
    X(delta_request, Envoy__Service__Discovery__V3__DeltaDiscoveryRequest,                                                                    \
      envoy__service__discovery__v3__delta_discovery_request__descriptor)                                                                     \
    X(delta_response, Envoy__Service__Discovery__V3__DeltaDiscoveryResponse,                                                                  \
      envoy__service__discovery__v3__delta_discovery_response__descriptor)                                                                    \
    X(request, Envoy__Service__Discovery__V3__DiscoveryRequest,                                                                               \
      envoy__service__discovery__v3__discovery_request__descriptor)                                                                           \
    X(response, Envoy__Service__Discovery__V3__DiscoveryResponse,                                                                             \
      envoy__service__discovery__v3__discovery_response__descriptor)                                                                          \
    X(resource, Envoy__Service__Discovery__V3__Resource, envoy__service__discovery__v3__resource__descriptor)                                 \
    X(control_plane, Envoy__Service__Discovery__V3__ControlPlane,                                                                             \
      envoy__service__discovery__v3__control_plane__descriptor)

#define X(short, type, descriptor) typedef type pb_##short;
CONTROL_MESSAGES(X)
#undef X

#endif
