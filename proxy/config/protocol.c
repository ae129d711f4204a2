/* Which HTTP is spoken, and how: HTTP/2's settings of both sides; the protocol of a cluster.
 *
 * A cluster says it in typed_extension_protocol_options, or in the older fields http2_protocol_options and
 * protocol_selection, which count where the former is not there. HTTP/1 where nothing is said.
 */
#include "proxy/config/context.h"

#define HTTP_OPTIONS   "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#define OPTIONS(name)  ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_##name
#define EXPLICIT(name) ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__##name
#define WINDOW_MIN     65535u
#define WINDOW_MAX     INT32_MAX

typedef Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__ExplicitHttpConfig pb_explicit;

/* -- HTTP/2 -- */

static int read_interval(struct compile *compile, const char *field, const pb_duration *duration, uint32_t *ret_ms)
{
    uint64_t ms = *ret_ms;
    int result = compile_ms(compile, field, duration, &ms);
    if (result == 0 && duration != NULL && (ms == 0 || ms > UINT32_MAX))
        result = compile_fail_at(compile, field, "expected 0.001s to %us", UINT32_MAX / 1000);
    *ret_ms = (uint32_t)ms;
    return result;
}

static int read_pings(struct compile *compile, const Envoy__Config__Core__V3__KeepaliveSettings *message,
                      struct proxy_h2_settings *settings)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "connection_keepalive");
    int result = read_interval(compile, "interval", message->interval, &settings->ping_interval_ms);
    if (result == 0)
        result = read_interval(compile, "timeout", message->timeout, &settings->ping_timeout_ms);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

int compile_h2(struct compile *compile, const char *field, const pb_http2 *message, struct proxy_h2_settings *settings)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, field);
    int result = compile_u32(compile, "max_concurrent_streams", message->max_concurrent_streams, 1, INT32_MAX,
                             &settings->max_streams);
    if (result == 0)
        result = compile_u32(compile, "initial_stream_window_size", message->initial_stream_window_size, WINDOW_MIN,
                             WINDOW_MAX, &settings->stream_window);
    if (result == 0)
        result = compile_u32(compile, "initial_connection_window_size", message->initial_connection_window_size,
                             WINDOW_MIN, WINDOW_MAX, &settings->connection_window);
    if (result == 0)
        result = read_pings(compile, message->connection_keepalive, settings);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- clusters -- */

static int read_common(struct compile *compile, const pb_common_http *message, struct proxy_cluster *cluster)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "common_http_protocol_options");
    int result = compile_ms(compile, "idle_timeout", message->idle_timeout, &cluster->idle_timeout_ms);
    if (result == 0)
        result = compile_u32(compile, "max_requests_per_connection", message->max_requests_per_connection, 0,
                             UINT32_MAX, &cluster->max_requests_per_connection);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_explicit(struct compile *compile, const pb_explicit *message, struct proxy_cluster *cluster)
{
    int result = COMPILE_REFUSE(compile, message, "http3_protocol_options");
    if (result == 0 && message->protocol_config_case == EXPLICIT(PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS)) {
        cluster->http = PROXY_UPSTREAM_HTTP2;
        result = compile_h2(compile, "http2_protocol_options", message->http2_protocol_options, &cluster->h2);
    }
    return result;
}

static int read_choice(struct compile *compile, const pb_http_options *message, struct proxy_cluster *cluster)
{
    struct compile_mark mark = {0};
    int result = 0;
    switch ((int)message->upstream_protocol_options_case) {
    case OPTIONS(EXPLICIT_HTTP_CONFIG):
        mark = compile_enter(compile, "explicit_http_config");
        result = read_explicit(compile, message->explicit_http_config, cluster);
        break;
    case OPTIONS(USE_DOWNSTREAM_PROTOCOL_CONFIG):
        mark = compile_enter(compile, "use_downstream_protocol_config");
        cluster->http = PROXY_UPSTREAM_DOWNSTREAM;
        result = compile_h2(compile, "http2_protocol_options",
                            message->use_downstream_protocol_config->http2_protocol_options, &cluster->h2);
        break;
    case OPTIONS(AUTO_CONFIG):
        mark = compile_enter(compile, "auto_config");
        cluster->http = PROXY_UPSTREAM_AUTO;
        result = COMPILE_REFUSE(compile, message->auto_config, "http3_protocol_options");
        if (result == 0)
            result = compile_h2(compile, "http2_protocol_options", message->auto_config->http2_protocol_options,
                                &cluster->h2);
        break;
    default:
        return 0;
    }
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_options(struct compile *compile, const pb_any *any, struct proxy_cluster *cluster)
{
    ProtobufCMessage *unpacked;
    int result = compile_unpack(compile, any,
                                &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor, &unpacked);
    if (result != 0)
        return result;
    const pb_http_options *message = (const pb_http_options *)unpacked;
    cluster->http = PROXY_UPSTREAM_HTTP1;
    result = COMPILE_REFUSE(compile, message, "http_filters", "upstream_http_protocol_options");
    if (result == 0)
        result = read_choice(compile, message, cluster);
    if (result == 0)
        result = read_common(compile, message->common_http_protocol_options, cluster);
    return result;
}

static int read_extensions(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    for (size_t i = 0; i < message->n_typed_extension_protocol_options; i++) {
        struct fl_span key = fl_span_str(message->typed_extension_protocol_options[i]->key);
        struct compile_mark mark = compile_enter_key(compile, "typed_extension_protocol_options", key);
        if (!fl_span_eq_str(key, HTTP_OPTIONS))
            return compile_fail(compile, "expected " HTTP_OPTIONS);
        if (message->typed_extension_protocol_options[i]->value == NULL)
            return compile_fail(compile, "must be set");
        int result = read_options(compile, message->typed_extension_protocol_options[i]->value, cluster);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
}

int compile_upstream_http(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    if (message->http2_protocol_options != NULL)
        cluster->http = PROXY_UPSTREAM_HTTP2;
    if (message->protocol_selection ==
        ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_PROTOCOL_SELECTION__USE_DOWNSTREAM_PROTOCOL)
        cluster->http = PROXY_UPSTREAM_DOWNSTREAM;
    int result = compile_h2(compile, "http2_protocol_options", message->http2_protocol_options, &cluster->h2);
    if (result == 0)
        result = read_common(compile, message->common_http_protocol_options, cluster);
    if (result == 0)
        result = read_extensions(compile, message, cluster);
    return result;
}
