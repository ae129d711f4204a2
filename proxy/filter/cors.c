#include "proxy/filter/cors.h"

#include "proxy/filter/data.h"
#include "proxy/filter/forward.h"

#include <stdlib.h>

static struct fl_span field(const struct proxy_message *request, const char *name)
{
    const struct proxy_header *header =
        proxy_headers_next(&request->headers, PROXY_HEADER_OTHER, fl_span_str(name), NULL);
    return header != NULL ? header->value : (struct fl_span){NULL, 0};
}

static bool is_preflight(const struct proxy_message *request)
{
    return request->method_id == PROXY_METHOD_OPTIONS && field(request, "access-control-request-method").len > 0;
}

static bool allows(const struct proxy_cors *cors, struct fl_span origin)
{
    for (size_t i = 0; i < cors->origin_count; i++)
        if (proxy_string_match(&cors->origins[i], origin))
            return true;
    return false;
}

static bool judge(const void *config, struct proxy_judgement *judgement)
{
    struct proxy_exchange_run *exchange = judgement->exchange;
    const struct proxy_message *request = judgement->request;
    (void)config;
    struct fl_span origin = field(request, "origin");
    if (origin.len == 0 || request->method_id == PROXY_METHOD_CONNECT)
        return true;
    const struct proxy_route_table *routes = proxy_forward_take_routes(exchange);
    const struct proxy_route *route = routes != NULL ? proxy_route_find(routes, request).route : NULL;
    const struct proxy_cors *cors = route != NULL ? route->cors : NULL;
    if (cors == NULL)
        return true;
    bool allowed = allows(cors, origin), preflight = is_preflight(request);
    if (allowed && exchange->cors_origin == NULL)
        exchange->cors_origin = fl_span_dup(origin);
    if (allowed && exchange->cors_origin == NULL) {
        judgement->refusal =
            (struct proxy_refusal){.status = 503, .flag = PROXY_FLAG_OVERLOAD, .details = "out_of_memory", .text = ""};
        return false;
    }
    exchange->cors = allowed ? cors : NULL;
    exchange->cors_preflight = preflight;
    if (!preflight || (!allowed && cors->forward_preflights))
        return true;
    judgement->refusal = (struct proxy_refusal){
        .status = 200, .details = allowed ? "cors_preflight" : "cors_preflight_other_origin", .text = ""};
    return false;
}

const struct proxy_http_filter_ops proxy_cors_ops = {.name = "cors", .once = true, .judge = judge};

/* --- what answers say -------------------------------------------------------------------------------------------- */

/* Where the route says nothing the upstream has its word. */
static int say(struct proxy_message *response, const char *name, struct fl_span value)
{
    return value.len > 0 ? proxy_headers_set(&response->headers, fl_span_str(name), value) : 0;
}

static bool is_any(const struct proxy_cors *cors, struct fl_span text)
{
    return cors->credentials && fl_span_eq_str(text, "*");
}

/* A '*' means nothing beside credentials: then it is what was asked for. */
static int preflight(const struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    const struct proxy_cors *cors = exchange->cors;
    const struct proxy_message *request = &exchange->data->request;
    struct fl_span methods =
        is_any(cors, cors->methods) ? field(request, "access-control-request-method") : cors->methods;
    struct fl_span headers =
        is_any(cors, cors->headers) ? field(request, "access-control-request-headers") : cors->headers;
    int result = say(response, "access-control-allow-methods", methods);
    if (result == 0)
        result = say(response, "access-control-allow-headers", headers);
    return result == 0 ? say(response, "access-control-max-age", cors->max_age) : result;
}

int proxy_cors_response(const struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    const struct proxy_cors *cors = exchange->cors;
    if (cors == NULL)
        return 0;
    int result = say(response, "access-control-allow-origin", fl_span_str(exchange->cors_origin));
    if (result == 0 && cors->credentials)
        result = say(response, "access-control-allow-credentials", FL_SPAN("true"));
    else if (!cors->credentials)
        proxy_headers_remove(&response->headers, FL_SPAN("access-control-allow-credentials"));
    if (result == 0 && !is_any(cors, cors->expose))
        result = say(response, "access-control-expose-headers", cors->expose);
    if (result == 0)
        result = proxy_headers_add(&response->headers, FL_SPAN("vary"), FL_SPAN("origin")); /* for caches */
    /* A preflight that goes upstream was not allowed: this one is answered while its request is here. */
    return result == 0 && exchange->cors_preflight ? preflight(exchange, response) : result;
}
