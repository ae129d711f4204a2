/* HttpConnectionManager → struct proxy_hcm_config. */
#include "proxy/config/context.h"

#include "proxy/filter/cors.h"
#include "proxy/filter/jwt.h"
#include "proxy/filter/rbac.h"
#include "proxy/http/h1.h"

#include <strings.h>

#define HCM(name) ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__##name

/* -- HTTP filters -- */

static int read_router(struct compile *compile, const pb_any *any)
{
    ProtobufCMessage *unpacked;
    int result =
        compile_unpack(compile, any, &envoy__extensions__filters__http__router__v3__router__descriptor, &unpacked);
    if (result != 0)
        return result;
    return COMPILE_REFUSE(compile, (const Envoy__Extensions__Filters__Http__Router__V3__Router *)unpacked,
                          "upstream_http_filters");
}

/* One that judges requests, into the next place of the chain. 0 with *ret_known false: it is none of ours. */
static int read_judge(struct compile *compile, const pb_any *any, struct proxy_hcm_config *hcm,
                      struct proxy_http_filter *filter, bool *ret_known)
{
    const struct proxy_rbac_filter *rbac = NULL;
    const struct proxy_jwt_filter *jwt = NULL;
    struct fl_span type = compile_type_name(any);
    struct compile_mark mark = compile_enter(compile, "typed_config");
    int result = 0;
    *ret_known = true;
    if (fl_span_eq_str(type, envoy__extensions__filters__http__rbac__v3__rbac__descriptor.name)) {
        result = compile_http_rbac(compile, any, &rbac);
        *filter = (struct proxy_http_filter){&proxy_rbac_ops, rbac};
    } else if (fl_span_eq_str(type,
                              envoy__extensions__filters__http__jwt_authn__v3__jwt_authentication__descriptor.name)) {
        result = compile_jwt(compile, any, &jwt);
        *filter = (struct proxy_http_filter){&proxy_jwt_ops, jwt};
    } else if (fl_span_eq_str(type, envoy__extensions__filters__http__cors__v3__cors__descriptor.name)) {
        ProtobufCMessage *unpacked;
        result = compile_unpack(compile, any, &envoy__extensions__filters__http__cors__v3__cors__descriptor, &unpacked);
        *filter = (struct proxy_http_filter){&proxy_cors_ops, NULL};
    } else {
        *ret_known = false;
    }
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    hcm->filter_count += *ret_known;
    return 0;
}

static int read_http_filter(struct compile *compile, const pb_http_filter *message, bool last,
                            struct proxy_hcm_config *hcm, struct proxy_http_filter *filter)
{
    int result = compile_required(compile, "name", message->name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "config_discovery");
    if (result != 0)
        return result;
    if (message->config_type_case !=
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG)
        return compile_fail_at(compile, "typed_config", "must be set");
    const pb_any *any = message->typed_config;
    bool router =
        fl_span_eq_str(compile_type_name(any), envoy__extensions__filters__http__router__v3__router__descriptor.name);
    if (router && !last)
        return compile_fail(compile, "%s is terminal, so it must be the last filter", message->name);
    if (router) {
        struct compile_mark mark = compile_enter(compile, "typed_config");
        result = read_router(compile, any);
        compile_leave(compile, mark);
        return result;
    }
    bool known = false;
    if (!message->disabled)
        result = read_judge(compile, any, hcm, filter, &known);
    if (result != 0)
        return result;
    if (known && last)
        return compile_fail(compile, "the last HTTP filter must be the router");
    if (known)
        return 0;
    bool left_out = message->disabled || compile_is_harmless(any, true) ||
                    (message->is_optional && fl_xds_type(fl_span_str(any->type_url)) == NULL);
    if (!left_out)
        return compile_fail_at(compile, "typed_config",
                               "the filter %s is not supported (those that are: cors, rbac, jwt_authn, router)",
                               any->type_url);
    if (last)
        return compile_fail(compile, "the last HTTP filter must be the router");
    compile->harmless++;
    return 0;
}

static int read_http_filters(struct compile *compile, const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    struct proxy_http_filter *filters = compile_array(compile, message->n_http_filters, sizeof(*filters));
    if (filters == NULL)
        return compile_no_memory(compile);
    hcm->filters = filters;
    if (message->n_http_filters == 0)
        return compile_fail_at(compile, "http_filters", "the last HTTP filter must be the router");
    for (size_t i = 0; i < message->n_http_filters; i++) {
        struct compile_mark mark = compile_enter_at(compile, "http_filters", i);
        int result = read_http_filter(compile, message->http_filters[i], i + 1 == message->n_http_filters, hcm,
                                      &filters[hcm->filter_count]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
}

/* -- enums -- */

static int read_codec(struct compile *compile, const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    switch ((int)message->codec_type) {
    case HCM(CODEC_TYPE__AUTO):
        hcm->codec = PROXY_CODEC_AUTO;
        return 0;
    case HCM(CODEC_TYPE__HTTP1):
        hcm->codec = PROXY_CODEC_HTTP1;
        return 0;
    case HCM(CODEC_TYPE__HTTP2):
        hcm->codec = PROXY_CODEC_HTTP2;
        return 0;
    default:
        return compile_fail_at(compile, "codec_type", "expected AUTO, HTTP1 or HTTP2");
    }
}

/* OVERWRITE is what the field is where nobody set it: without a name to write over, an answer stays as it came. */
static enum proxy_server_header server_header(const pb_hcm *message)
{
    switch ((int)message->server_header_transformation) {
    case HCM(SERVER_HEADER_TRANSFORMATION__APPEND_IF_ABSENT):
        return PROXY_SERVER_APPEND_IF_ABSENT;
    case HCM(SERVER_HEADER_TRANSFORMATION__PASS_THROUGH):
        return PROXY_SERVER_PASS_THROUGH;
    default:
        return message->server_name[0] != '\0' ? PROXY_SERVER_OVERWRITE : PROXY_SERVER_PASS_THROUGH;
    }
}

static enum proxy_forward_cert forward_cert(const pb_hcm *message)
{
    switch ((int)message->forward_client_cert_details) {
    case HCM(FORWARD_CLIENT_CERT_DETAILS__FORWARD_ONLY):
        return PROXY_XFCC_FORWARD_ONLY;
    case HCM(FORWARD_CLIENT_CERT_DETAILS__APPEND_FORWARD):
        return PROXY_XFCC_APPEND_FORWARD;
    case HCM(FORWARD_CLIENT_CERT_DETAILS__SANITIZE_SET):
        return PROXY_XFCC_SANITIZE_SET;
    case HCM(FORWARD_CLIENT_CERT_DETAILS__ALWAYS_FORWARD_ONLY):
        return PROXY_XFCC_ALWAYS_FORWARD_ONLY;
    default:
        return PROXY_XFCC_SANITIZE;
    }
}

static enum proxy_escaped_slashes escaped_slashes(const pb_hcm *message)
{
    switch ((int)message->path_with_escaped_slashes_action) {
    case HCM(PATH_WITH_ESCAPED_SLASHES_ACTION__REJECT_REQUEST):
        return PROXY_SLASHES_REJECT;
    case HCM(PATH_WITH_ESCAPED_SLASHES_ACTION__UNESCAPE_AND_REDIRECT):
        return PROXY_SLASHES_REDIRECT;
    case HCM(PATH_WITH_ESCAPED_SLASHES_ACTION__UNESCAPE_AND_FORWARD):
        return PROXY_SLASHES_FORWARD_UNESCAPED;
    default:
        return PROXY_SLASHES_KEEP;
    }
}

/* -- settings -- */

static int read_upgrades(struct compile *compile, const pb_hcm *message)
{
    for (size_t i = 0; i < message->n_upgrade_configs; i++) {
        struct compile_mark mark = compile_enter_at(compile, "upgrade_configs", i);
        if (strcasecmp(message->upgrade_configs[i]->upgrade_type, "websocket") != 0 &&
            strcasecmp(message->upgrade_configs[i]->upgrade_type, "CONNECT") != 0)
            return compile_fail_at(compile, "upgrade_type", "expected websocket or CONNECT, got \"%s\"",
                                   message->upgrade_configs[i]->upgrade_type);
        int result = COMPILE_REFUSE(compile, message->upgrade_configs[i], "filters");
        if (result != 0)
            return result;
        if (!compile_bool(message->upgrade_configs[i]->enabled, true))
            compile_warn(compile, "enabled is not acted on: upgrades always pass");
        compile_leave(compile, mark);
    }
    return 0;
}

static int read_common(struct compile *compile, const pb_common_http *message, struct proxy_hcm_config *hcm)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "common_http_protocol_options");
    int result = COMPILE_REFUSE(compile, message, "headers_with_underscores_action");
    if (result == 0)
        result = compile_ms(compile, "idle_timeout", message->idle_timeout, &hcm->idle_timeout_ms);
    if (result == 0)
        result = compile_ms(compile, "max_connection_duration", message->max_connection_duration,
                            &hcm->max_connection_duration_ms);
    if (result == 0)
        result = compile_ms(compile, "max_stream_duration", message->max_stream_duration, &hcm->max_stream_duration_ms);
    if (result == 0)
        result = compile_u32(compile, "max_headers_count", message->max_headers_count, 1, PROXY_HEADERS_WIRE_MAX,
                             &hcm->max_header_count);
    if (result == 0)
        result = compile_u32(compile, "max_requests_per_connection", message->max_requests_per_connection, 0,
                             UINT32_MAX, &hcm->max_requests_per_connection);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_timeouts(struct compile *compile, const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    hcm->stream_idle_timeout_ms = 300000;
    hcm->request_headers_timeout_ms = 10000;
    hcm->idle_timeout_ms = 3600000;
    int result = compile_ms(compile, "stream_idle_timeout", message->stream_idle_timeout, &hcm->stream_idle_timeout_ms);
    if (result == 0)
        result = compile_ms(compile, "request_timeout", message->request_timeout, &hcm->request_timeout_ms);
    if (result == 0)
        result = compile_ms(compile, "request_headers_timeout", message->request_headers_timeout,
                            &hcm->request_headers_timeout_ms);
    return result;
}

static int read_texts(struct compile *compile, const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    int result = compile_required(compile, "stat_prefix", message->stat_prefix);
    if (result == 0)
        result = compile_text(compile, message->stat_prefix, &hcm->stat_prefix);
    if (result == 0)
        result = compile_text(compile, message->server_name[0] != '\0' ? message->server_name : "fairlead",
                              &hcm->server_name);
    if (result == 0)
        result = compile_text(compile, message->via, &hcm->via);
    if (result == 0 && !proxy_header_value_valid(hcm->server_name))
        result = compile_fail_at(compile, "server_name", "is not a valid field value");
    if (result == 0 && !proxy_header_value_valid(hcm->via))
        result = compile_fail_at(compile, "via", "is not a valid field value");
    return result;
}

static void read_flags(const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    hcm->server_header = server_header(message);
    hcm->forward_client_cert = forward_cert(message);
    hcm->use_remote_address = compile_bool(message->use_remote_address, false);
    hcm->skip_xff_append = message->skip_xff_append != 0;
    hcm->xff_trusted_hops = message->xff_num_trusted_hops;
    hcm->generate_request_id = compile_bool(message->generate_request_id, true);
    hcm->path = (struct proxy_path_rules){.normalize = compile_bool(message->normalize_path, false),
                                          .merge_slashes = message->merge_slashes != 0,
                                          .escaped_slashes = escaped_slashes(message)};
    hcm->strip_matching_host_port = message->strip_matching_host_port != 0;
    hcm->strip_any_host_port =
        message->strip_port_mode_case == HCM(STRIP_PORT_MODE_STRIP_ANY_HOST_PORT) && message->strip_any_host_port;
}

/* What is accepted so that a bootstrap need not be changed for us, and has no effect: never in silence. */
static void tell_unused(struct compile *compile, const pb_hcm *message)
{
    if (message->drain_timeout != NULL)
        compile_warn(compile, "drain_timeout is not acted on: --drain-time-s decides");
    if (message->use_remote_address != NULL && message->use_remote_address->value &&
        !message->preserve_external_request_id)
        compile_warn(compile, "a request keeps the x-request-id that it brings, as with preserve_external_request_id");
    const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__SetCurrentClientCertDetails
        *details = message->set_current_client_cert_details;
    if (details != NULL && (details->cert || details->chain || details->dns || compile_bool(details->subject, false)))
        compile_warn(compile, "set_current_client_cert_details is not acted on: By and URI are told");
}

static int read_http1(struct compile *compile, const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    hcm->max_head_bytes = PROXY_H1_HEAD_MAX;
    hcm->max_header_count = PROXY_H1_HEADERS_MAX;
    uint32_t kilobytes = PROXY_H1_HEAD_MAX / 1024;
    int result = compile_u32(compile, "max_request_headers_kb", message->max_request_headers_kb, 1,
                             PROXY_H1_HEAD_MAX / 1024, &kilobytes);
    hcm->max_head_bytes = kilobytes * 1024;
    if (result != 0 || message->http_protocol_options == NULL)
        return result;
    struct compile_mark mark = compile_enter(compile, "http_protocol_options");
    result = COMPILE_REFUSE(compile, message->http_protocol_options, "allow_chunked_length");
    if (result == 0)
        result = compile_text(compile, message->http_protocol_options->default_host_for_http_10,
                              &hcm->default_host_for_http_10);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* After common_http_protocol_options: limits of a head are the same in every version. */
static int read_http2(struct compile *compile, const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    hcm->h2.head_max = hcm->max_head_bytes;
    hcm->h2.headers_max = hcm->max_header_count;
    return compile_h2(compile, "http2_protocol_options", message->http2_protocol_options, &hcm->h2);
}

static int read_rds(struct compile *compile,
                    const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__Rds *message,
                    struct proxy_hcm_config *hcm)
{
    struct compile_mark mark = compile_enter(compile, "rds");
    enum proxy_want_source source = PROXY_WANT_ADS;
    struct fl_span name = fl_span_str(message->route_config_name);
    int result = compile_required(compile, "route_config_name", message->route_config_name);
    if (result == 0 && name.len > PROXY_ASSEMBLY_NAME_MAX)
        result = compile_fail_at(compile, "route_config_name", "is longer than %u bytes", PROXY_ASSEMBLY_NAME_MAX);
    if (result == 0)
        result = compile_config_source(compile, "config_source", message->config_source, &source);
    if (result == 0)
        result = compile_slot(compile, PROXY_SLOT_ROUTES, name, &hcm->rds);
    if (result == 0)
        result = compile_need(compile, FL_RESOURCE_ROUTES, name, source);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_routes(struct compile *compile, const pb_hcm *message, struct proxy_hcm_config *hcm)
{
    int result = COMPILE_REFUSE(compile, message, "scoped_routes");
    if (result != 0)
        return result;
    if (message->route_specifier_case == HCM(ROUTE_SPECIFIER_RDS))
        return read_rds(compile, message->rds, hcm);
    if (message->route_specifier_case != HCM(ROUTE_SPECIFIER_ROUTE_CONFIG))
        return compile_fail_at(compile, "route_config", "must be set");
    struct compile_mark mark = compile_enter(compile, "route_config");
    result = compile_routes(compile, message->route_config, &hcm->routes);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

int compile_hcm(struct compile *compile, const pb_any *any, const struct proxy_hcm_config **ret_hcm)
{
    ProtobufCMessage *unpacked;
    int result = compile_unpack(
        compile, any,
        &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
        &unpacked);
    struct proxy_hcm_config *hcm = result == 0 ? compile_array(compile, 1, sizeof(*hcm)) : NULL;
    if (result != 0)
        return result;
    if (hcm == NULL)
        return compile_no_memory(compile);
    const pb_hcm *message = (const pb_hcm *)unpacked;
    read_flags(message, hcm);
    hcm->lenient = compile->lenient;
    tell_unused(compile, message);
    result = read_texts(compile, message, hcm);
    if (result == 0)
        result = read_codec(compile, message, hcm);
    if (result == 0)
        result = read_timeouts(compile, message, hcm);
    if (result == 0)
        result = read_http1(compile, message, hcm);
    if (result == 0)
        result = read_common(compile, message->common_http_protocol_options, hcm);
    if (result == 0)
        result = read_http2(compile, message, hcm);
    if (result == 0)
        result = read_upgrades(compile, message);
    bool tunnels = compile_hcm_tunnels(message);
    if (result == 0)
        result = tunnels ? compile_tunnel(compile, message, &hcm->tunnel) : read_routes(compile, message, hcm);
    if (result == 0)
        result = compile_tracing(compile, message, &hcm->tracing);
    if (result == 0)
        result = read_http_filters(compile, message, hcm);
    if (result == 0)
        result = compile_access_logs(compile, message->access_log, message->n_access_log, &hcm->access_logs);
    hcm->access_log_count = message->n_access_log;
    *ret_hcm = hcm;
    return result;
}
