/* Access logs and tracing, by the view's Telemetry. */
#include "control/xds/generation.h"

#include "common/mesh/resource.h"
#include "control/model/collector.h"

static pb_access_log *logger(struct generation *generation, const char *name, const ProtobufCMessage *config)
{
    pb_access_log *log = new_access_log(&generation->build);
    log->name = literal(name);
    log->config_type_case = ENVOY__CONFIG__ACCESSLOG__V3__ACCESS_LOG__CONFIG_TYPE_TYPED_CONFIG;
    log->typed_config = build_any(&generation->build, config);
    return log;
}

pb_access_log *telemetry_log(struct generation *generation)
{
    struct fl_span path = generation->telemetry.access_log_path;
    if (!generation->telemetry.access_log)
        return NULL;
    if (path.len == 0 || fl_span_eq_str(path, "/dev/stdout"))
        return logger(generation, "envoy.access_loggers.stdout", &new_stdout_log(&generation->build)->base);
    pb_file_log *file = new_file_log(&generation->build);
    file->path = build_text(&generation->build, path);
    return logger(generation, "envoy.access_loggers.file", &file->base);
}

/* -- the collector -- */

bool telemetry_is_collector(const struct generation *generation, const struct control_ip *ip, uint16_t port)
{
    struct control_collector collector;
    return generation->telemetry.tracing && control_collector_parse(generation->telemetry.endpoint, &collector) &&
           collector.is_address && collector.port == port && control_ip_compare(&collector.ip, ip) == 0;
}

/* NULL: it is neither a Service of ours nor an address. */
static const char *collector_cluster(struct generation *generation, const struct control_collector *collector)
{
    const struct control_service *service = control_collector_service(generation->model, collector);
    if (service != NULL)
        return control_service_port(service, collector->port) != NULL
                   ? name_of_service(generation, FL_RESOURCE_CLUSTER, service, collector->port)
                   : NULL;
    return collector->is_address ? name_of_workload(generation, &collector->ip, collector->port) : NULL;
}

const char *telemetry_cluster(struct generation *generation)
{
    struct control_collector collector;
    if (!generation->telemetry.tracing || !control_collector_parse(generation->telemetry.endpoint, &collector))
        return NULL;
    return collector_cluster(generation, &collector);
}

static struct fl_span service_name(const struct generation *generation)
{
    return generation->view->has_workload ? generation->view->workload.name : FL_SPAN("fairlead");
}

pb_hcm_tracing *telemetry_tracing(struct generation *generation, bool server)
{
    struct build *build = &generation->build;
    struct control_collector collector;
    if (!generation->telemetry.tracing || !control_collector_parse(generation->telemetry.endpoint, &collector))
        return NULL;
    const char *cluster = collector_cluster(generation, &collector);
    if (cluster == NULL)
        return NULL;
    pb_otel *otel = new_otel(build);
    otel->service_name = build_text(build, service_name(generation));
    otel->http_service = new_http_service(build);
    otel->http_service->http_uri = new_http_uri(build);
    otel->http_service->http_uri->uri =
        build_textf(build, "%.*s%s", FL_SPAN_ARG(generation->telemetry.endpoint),
                    collector.path.len <= 1 ? collector.path.len == 0 ? "/v1/traces" : "v1/traces" : "");
    otel->http_service->http_uri->http_upstream_type_case =
        ENVOY__CONFIG__CORE__V3__HTTP_URI__HTTP_UPSTREAM_TYPE_CLUSTER;
    otel->http_service->http_uri->cluster = literal(cluster);
    otel->http_service->http_uri->timeout = build_ms(build, 5000);
    pb_hcm_tracing *tracing = new_hcm_tracing(build);
    tracing->provider = new_tracing_http(build);
    tracing->provider->name = literal("envoy.tracers.opentelemetry");
    tracing->provider->config_type_case = ENVOY__CONFIG__TRACE__V3__TRACING__HTTP__CONFIG_TYPE_TYPED_CONFIG;
    tracing->provider->typed_config = build_any(build, &otel->base);
    tracing->random_sampling = build_percent(build, generation->telemetry.sampling / 1000.0);
    tracing->client_sampling = build_percent(build, 100);
    tracing->overall_sampling = build_percent(build, 100);
    if (!server)
        tracing->spawn_upstream_span = build_bool(build, false);
    return tracing;
}
