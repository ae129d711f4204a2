/* HttpConnectionManager.tracing → struct proxy_tracing. */
#include "proxy/config/context.h"
#include "proxy/http/message.h"

#include <errno.h>

#define TIMEOUT_MS     5000
#define PATH_LENGTH    256
#define TAGS_MAX       32
#define FIELDS_MAX     4096 /* bytes of the exporter's own header fields */
#define OPEN_TELEMETRY "envoy.tracers.opentelemetry"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__Tracing pb_tracing;
typedef Envoy__Config__Trace__V3__OpenTelemetryConfig pb_otel;
typedef Envoy__Type__Tracing__V3__CustomTag pb_tag;

/* -- where spans go -- */

/* scheme "://" authority path: the scheme is the cluster's matter. */
static int read_uri(struct compile *compile, const char *uri, struct proxy_trace_provider *provider)
{
    const char *rest = strstr(uri, "://");
    rest = rest != NULL ? rest + 3 : uri;
    size_t host = strcspn(rest, "/");
    struct fl_span authority = fl_span_make(rest, host), path = fl_span_str(rest + host);
    if (path.len == 0)
        path = FL_SPAN("/v1/traces");
    if (host == 0 || !proxy_authority_valid(authority) || !proxy_header_value_valid(path) ||
        fl_span_find(path, ' ') < path.len || fl_span_find(path, '#') < path.len)
        return compile_fail_at(compile, "uri", "expected http://host:port/path, got \"%s\"", uri);
    provider->authority = fl_arena_copy(&compile->unit->arena, authority);
    provider->path = fl_arena_copy(&compile->unit->arena, path);
    return provider->authority.data == NULL || provider->path.data == NULL ? compile_no_memory(compile) : 0;
}

static int read_http_uri(struct compile *compile, const Envoy__Config__Core__V3__HttpUri *message,
                         struct proxy_trace_provider *provider)
{
    if (message == NULL)
        return compile_fail_at(compile, "http_uri", "must be set");
    struct compile_mark mark = compile_enter(compile, "http_uri");
    uint32_t index;
    if (message->http_upstream_type_case != ENVOY__CONFIG__CORE__V3__HTTP_URI__HTTP_UPSTREAM_TYPE_CLUSTER)
        return compile_fail_at(compile, "cluster", "must be set");
    int result = compile_cluster_index(compile, "cluster", message->cluster, &index);
    if (result == 0)
        result = compile_text(compile, message->cluster, &provider->cluster);
    if (result == 0)
        result = read_uri(compile, message->uri, provider);
    if (result == 0)
        result = compile_ms(compile, "timeout", message->timeout, &provider->timeout_ms);
    if (result == 0 && provider->timeout_ms == 0)
        result = compile_fail_at(compile, "timeout", "must be greater than 0");
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_field(struct compile *compile, const pb_header_option *option, struct fl_buf *lines)
{
    if (option->header == NULL)
        return compile_fail_at(compile, "header", "must be set");
    struct fl_span name = fl_span_str(option->header->key), value = fl_span_str(option->header->value);
    if (!proxy_header_name_valid(name) || !proxy_header_value_valid(value) ||
        proxy_header_kind(proxy_header_id(name)) == PROXY_HEADER_KIND_HOP ||
        proxy_header_id(name) == PROXY_HEADER_CONTENT_LENGTH || proxy_header_id(name) == PROXY_HEADER_HOST ||
        proxy_header_id(name) == PROXY_HEADER_TRANSFER_ENCODING || proxy_header_id(name) == PROXY_HEADER_CONTENT_TYPE)
        return compile_fail_at(compile, "header", "\"%s\" cannot be added", option->header->key);
    int result = fl_buf_printf(lines, "%.*s: %.*s\r\n", FL_SPAN_ARG(name), FL_SPAN_ARG(value));
    return result == -EMSGSIZE ? compile_fail_at(compile, "header", "the fields are too long together")
           : result < 0        ? compile_no_memory(compile)
                               : 0;
}

static int read_fields(struct compile *compile, const Envoy__Config__Core__V3__HttpService *message,
                       struct proxy_trace_provider *provider)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf lines;
    fl_buf_init(&lines, FIELDS_MAX);
    int result = 0;
    for (size_t i = 0; result == 0 && i < message->n_request_headers_to_add; i++) {
        struct compile_mark mark = compile_enter_at(compile, "request_headers_to_add", i);
        result = read_field(compile, message->request_headers_to_add[i], &lines);
        if (result == 0)
            compile_leave(compile, mark);
    }
    if (result != 0 || lines.len == 0)
        return result;
    provider->fields = fl_arena_copy(&compile->unit->arena, fl_buf_span(&lines));
    return provider->fields.data == NULL ? compile_no_memory(compile) : 0;
}

static int read_otel(struct compile *compile, const pb_otel *message, struct proxy_trace_provider *provider)
{
    int result = COMPILE_REFUSE(compile, message, "grpc_service", "sampler");
    if (result != 0)
        return result;
    if (message->n_resource_detectors > 0)
        compile_warn(compile, "resource_detectors are not acted on: the resource is what the node says");
    if (message->http_service == NULL)
        return compile_fail_at(compile, "http_service", "must be set");
    result = compile_text(compile, message->service_name, &provider->service_name);
    struct compile_mark mark = compile_enter(compile, "http_service");
    if (result == 0)
        result = read_http_uri(compile, message->http_service->http_uri, provider);
    if (result == 0)
        result = read_fields(compile, message->http_service, provider);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_provider(struct compile *compile, const Envoy__Config__Trace__V3__Tracing__Http *message,
                         struct proxy_tracing *tracing)
{
    if (message == NULL) {
        compile_warn(compile, "without a provider trace contexts are passed on, and spans go nowhere");
        return 0;
    }
    struct compile_mark mark = compile_enter(compile, "provider");
    struct proxy_trace_provider *provider = compile_array(compile, 1, sizeof(*provider));
    if (provider == NULL)
        return compile_no_memory(compile);
    if (strcmp(message->name, OPEN_TELEMETRY) != 0)
        return compile_fail_at(compile, "name", "expected " OPEN_TELEMETRY ", got \"%s\"", message->name);
    if (message->config_type_case != ENVOY__CONFIG__TRACE__V3__TRACING__HTTP__CONFIG_TYPE_TYPED_CONFIG)
        return compile_fail_at(compile, "typed_config", "must be set");
    compile_enter(compile, "typed_config");
    ProtobufCMessage *unpacked;
    int result = compile_unpack(compile, message->typed_config,
                                &envoy__config__trace__v3__open_telemetry_config__descriptor, &unpacked);
    provider->timeout_ms = TIMEOUT_MS;
    if (result == 0)
        result = read_otel(compile, (const pb_otel *)unpacked, provider);
    if (result != 0)
        return result;
    tracing->provider = provider;
    compile_leave(compile, mark);
    return 0;
}

/* -- what is sampled -- */

static int read_share(struct compile *compile, const char *field, const Envoy__Type__V3__Percent *percent,
                      uint32_t *ret_share)
{
    *ret_share = PROXY_TRACE_MILLION;
    if (percent == NULL)
        return 0;
    if (!(percent->value >= 0 && percent->value <= 100))
        return compile_fail_at(compile, field, "expected a number from 0 to 100");
    *ret_share = (uint32_t)(percent->value * (PROXY_TRACE_MILLION / 100) + 0.5);
    return 0;
}

/* -- tags -- */

static int read_tag(struct compile *compile, const pb_tag *message, struct proxy_trace_tag *tag)
{
    int result = compile_required(compile, "tag", message->tag);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "environment", "metadata", "value");
    if (result == 0)
        result = compile_text(compile, message->tag, &tag->name);
    if (result != 0)
        return result;
    switch ((int)message->type_case) {
    case ENVOY__TYPE__TRACING__V3__CUSTOM_TAG__TYPE_LITERAL:
        return compile_text(compile, message->literal->value, &tag->value);
    case ENVOY__TYPE__TRACING__V3__CUSTOM_TAG__TYPE_REQUEST_HEADER:
        if (!proxy_header_name_valid(fl_span_str(message->request_header->name)))
            return compile_fail_at(compile, "request_header", "name is not the name of a field");
        result = compile_text(compile, message->request_header->name, &tag->header);
        return result == 0 ? compile_text(compile, message->request_header->default_value, &tag->value) : result;
    default:
        return compile_fail(compile, "literal or request_header must be set");
    }
}

static int read_tags(struct compile *compile, const pb_tracing *message, struct proxy_tracing *tracing)
{
    if (message->n_custom_tags > TAGS_MAX)
        return compile_fail_at(compile, "custom_tags", "more than %d", TAGS_MAX);
    struct proxy_trace_tag *tags = compile_array(compile, message->n_custom_tags, sizeof(*tags));
    if (tags == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_custom_tags; i++) {
        struct compile_mark mark = compile_enter_at(compile, "custom_tags", i);
        int result = read_tag(compile, message->custom_tags[i], &tags[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    tracing->tags = tags;
    tracing->tag_count = message->n_custom_tags;
    return 0;
}

int compile_tracing(struct compile *compile, const pb_hcm *hcm, const struct proxy_tracing **ret_tracing)
{
    const pb_tracing *message = hcm->tracing;
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "tracing");
    struct proxy_tracing *tracing = compile_array(compile, 1, sizeof(*tracing));
    if (tracing == NULL)
        return compile_no_memory(compile);
    tracing->spawn_upstream_span = compile_bool(message->spawn_upstream_span, false);
    tracing->max_path_length = PATH_LENGTH;
    if (message->verbose)
        compile_warn(compile, "verbose is not acted on");
    int result =
        compile_u32(compile, "max_path_tag_length", message->max_path_tag_length, 0, 512, &tracing->max_path_length);
    if (result == 0)
        result = read_share(compile, "client_sampling", message->client_sampling, &tracing->sampling.client);
    if (result == 0)
        result = read_share(compile, "random_sampling", message->random_sampling, &tracing->sampling.random);
    if (result == 0)
        result = read_share(compile, "overall_sampling", message->overall_sampling, &tracing->sampling.overall);
    if (result == 0)
        result = read_tags(compile, message, tracing);
    if (result == 0)
        result = read_provider(compile, message->provider, tracing);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    *ret_tracing = tracing;
    return 0;
}
