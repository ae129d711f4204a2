#include "proxy/filter/forward.h"

#include "proxy/filter/attempt.h"
#include "proxy/filter/chain.h"
#include "proxy/filter/hcm_inner.h"
#include "proxy/filter/head.h"

#include <errno.h>

static struct proxy_data *data_of(const struct proxy_exchange_run *exchange)
{
    return exchange->data;
}

const struct proxy_route_table *proxy_forward_routes(const struct proxy_exchange_run *exchange)
{
    return exchange->routes;
}

/* --- route ------------------------------------------------------------------------------------------------------ */

static void redirect(struct proxy_exchange_run *exchange, const struct proxy_route *route)
{
    struct proxy_data *data = data_of(exchange);
    bool tls = proxy_tls_of(exchange->downstream->conn) != NULL;
    struct fl_span location;
    char scratch[8192];
    if (proxy_route_location(route, &data->request, tls ? FL_SPAN("https") : FL_SPAN("http"), scratch, sizeof(scratch),
                             &location) < 0) {
        proxy_exchange_reply(exchange, 400, 0, "redirect_impossible", NULL, NULL, 0);
        return;
    }
    const struct proxy_header header = {.name = FL_SPAN("location"), .value = location};
    unsigned status = route->redirect.status != 0 ? route->redirect.status : 301;
    proxy_exchange_reply(exchange, status, 0, "direct_response", "", &header, 1);
}

const struct proxy_route_table *proxy_forward_take_routes(struct proxy_exchange_run *exchange)
{
    struct proxy_unit *unit;
    if (exchange->routes_unit != NULL)
        return exchange->routes;
    exchange->routes = proxy_snapshot_routes(data_of(exchange)->snapshot, proxy_exchange_config(exchange),
                                             exchange->downstream->listener, &unit);
    exchange->routes_unit = proxy_unit_ref(unit);
    return exchange->routes;
}

/* CONNECT has no path: it goes where everything goes. */
static struct proxy_route_found route_of(const struct proxy_route_table *routes, struct proxy_message *request)
{
    if (request->method_id != PROXY_METHOD_CONNECT)
        return proxy_route_find(routes, request);
    request->path = FL_SPAN("/");
    struct proxy_route_found found = proxy_route_find(routes, request);
    request->path = (struct fl_span){NULL, 0};
    return found;
}

static bool find_route(struct proxy_exchange_run *exchange)
{
    struct proxy_data *data = data_of(exchange);
    if (proxy_forward_take_routes(exchange) != NULL)
        exchange->found = route_of(exchange->routes, &data->request);
    const struct proxy_route *route = exchange->found.route;
    const struct proxy_virtual_host *host = exchange->found.virtual_host;
    if (host != NULL && host->require_tls_all && proxy_tls_of(exchange->downstream->conn) == NULL) {
        const struct proxy_route to_tls = {.action = PROXY_ROUTE_REDIRECT, .redirect = {.https = true}};
        redirect(exchange, &to_tls);
        return false;
    }
    if (route == NULL) {
        proxy_exchange_reply(exchange, 404, PROXY_FLAG_NO_ROUTE, "route_not_found", "", NULL, 0);
        return false;
    }
    switch (route->action) {
    case PROXY_ROUTE_REDIRECT:
        redirect(exchange, route);
        return false;
    case PROXY_ROUTE_DIRECT: {
        FL_CLEANUP(fl_cleanup_free) char *body = fl_span_dup(route->direct.body);
        proxy_exchange_reply(exchange, route->direct.status, 0, "direct_response", body, NULL, 0);
        return false;
    }
    case PROXY_ROUTE_CLUSTER:
    case PROXY_ROUTE_WEIGHTED:
        break;
    }
    return true;
}

static void answer_no_cluster(struct proxy_exchange_run *exchange)
{
    uint16_t status = exchange->found.route->not_found;
    proxy_exchange_reply(exchange, status != 0 ? status : 503, PROXY_FLAG_NO_CLUSTER, "cluster_not_found",
                         "cluster not found", NULL, 0);
}

static bool find_cluster(struct proxy_exchange_run *exchange)
{
    struct proxy_data *data = data_of(exchange);
    struct proxy_cluster_run *cluster;
    exchange->weighted = proxy_route_pick(exchange->found.route, (uint32_t)proxy_data_random(data));
    exchange->cluster_index = exchange->weighted->cluster_index;
    if (exchange->weighted->nowhere && exchange->found.route->not_found != 0) {
        answer_no_cluster(exchange);
        return false;
    }
    int result = proxy_data_cluster(data, exchange->cluster_index, &cluster);
    if (result == 0)
        exchange->cluster = proxy_cluster_run_ref(cluster);
    else if (result == -ENOENT)
        answer_no_cluster(exchange);
    else
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_OVERLOAD, "out_of_memory", NULL, NULL, 0);
    return result == 0;
}

/* NTLM and Negotiate authenticate a connection, not a request: what comes behind it belongs to the same client. */
bool proxy_forward_binds_connection(struct fl_span value)
{
    static const struct fl_span schemes[] = {FL_SPAN("NTLM"), FL_SPAN("Negotiate")};
    for (size_t i = 0; i < FL_COUNT(schemes); i++) {
        const struct fl_span scheme = schemes[i];
        if (value.len >= scheme.len && fl_span_eq_nocase(fl_span_make(value.data, scheme.len), scheme) &&
            (value.len == scheme.len || value.data[scheme.len] == ' ' || value.data[scheme.len] == ','))
            return true;
    }
    return false;
}

bool proxy_forward_prepare(struct proxy_exchange_run *exchange)
{
    struct proxy_data *data = data_of(exchange);
    struct proxy_message *request = &data->request;
    struct fl_span scratch = fl_span_make(data->scratch, PROXY_DATA_SCRATCH);
    if (request->major == 1) /* HTTP/2 has no such clients (RFC 7540 §8.1.2.2 on its connections) */
        exchange->hcm->pinned |=
            proxy_forward_binds_connection(proxy_headers_value(&request->headers, PROXY_HEADER_AUTHORIZATION));
    if (!proxy_head_request(exchange, &scratch) || !proxy_chain_request(exchange, &scratch) || !find_route(exchange) ||
        !find_cluster(exchange))
        return false;
    if (proxy_route_rewrite_request(proxy_forward_routes(exchange), &exchange->found, exchange->weighted, request,
                                    (char *)(uintptr_t)scratch.data, scratch.len) < 0) {
        proxy_exchange_reply(exchange, 431, 0, "request_headers_too_many", NULL, NULL, 0);
        return false;
    }
    return true;
}
