#include "proxy/filter/forward.h"

#include "proxy/filter/chain.h"
#include "proxy/filter/head.h"
#include "proxy/filter/label.h"
#include "proxy/filter/report.h"

#include <errno.h>

static struct proxy_data *data_of(const struct proxy_exchange_run *exchange)
{
    return exchange->hcm->downstream->data;
}

const struct proxy_route_table *proxy_forward_routes(const struct proxy_exchange_run *exchange)
{
    return exchange->hcm->config->routes;
}

/* --- route ------------------------------------------------------------------------------------------------------ */

static void redirect(struct proxy_exchange_run *exchange, const struct proxy_route *route)
{
    struct proxy_data *data = data_of(exchange);
    bool tls = proxy_tls_of(exchange->hcm->downstream->conn) != NULL;
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

static bool find_route(struct proxy_exchange_run *exchange)
{
    struct proxy_data *data = data_of(exchange);
    exchange->found = proxy_route_find(proxy_forward_routes(exchange), &data->request);
    const struct proxy_route *route = exchange->found.route;
    const struct proxy_virtual_host *host = exchange->found.virtual_host;
    if (host != NULL && host->require_tls_all && proxy_tls_of(exchange->hcm->downstream->conn) == NULL) {
        const struct proxy_route to_tls = {.action = PROXY_ROUTE_REDIRECT, .redirect = {.https = true}};
        redirect(exchange, &to_tls);
        return false;
    }
    bool connect = data->request.method_id == PROXY_METHOD_CONNECT;
    exchange->hcm->closing |= connect; /* what follows was meant for a tunnel: it is no request */
    if (route == NULL || connect) {
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

bool proxy_forward_prepare(struct proxy_exchange_run *exchange)
{
    struct proxy_data *data = data_of(exchange);
    struct proxy_message *request = &data->request;
    /* The upper half of the worker's scratch: the head's own bytes are written to the lower one. */
    const size_t half = PROXY_TURN_WORK / 2;
    struct fl_span scratch = fl_span_make(data->turn.work + half, half);
    if (!proxy_head_request(exchange, &scratch) || !proxy_chain_request(exchange, &scratch) || !find_route(exchange))
        return false;
    exchange->weighted = proxy_route_pick(exchange->found.route, (uint32_t)proxy_data_random(data));
    exchange->cluster_index = exchange->weighted->cluster_index;
    if (proxy_route_rewrite_request(proxy_forward_routes(exchange), &exchange->found, exchange->weighted, request,
                                    (char *)(uintptr_t)scratch.data, scratch.len) < 0) {
        proxy_exchange_reply(exchange, 431, 0, "request_headers_too_many", NULL, NULL, 0);
        return false;
    }
    return true;
}

/* --- connection and head ---------------------------------------------------------------------------------------- */

bool proxy_forward_connect(struct proxy_exchange_run *exchange, bool fresh)
{
    struct proxy_downstream *downstream = exchange->hcm->downstream;
    struct proxy_data *data = downstream->data;
    struct proxy_cluster_run *cluster = downstream->generation->clusters[exchange->cluster_index];
    const unsigned want = PROXY_UPSTREAM_REQUEST | (fresh ? PROXY_UPSTREAM_FRESH : 0u);
    int result = proxy_upstream_get(cluster, &downstream->destination, want, proxy_data_random(data), &proxy_router_ops,
                                    exchange, &exchange->upstream);
    if (result == PROXY_UPSTREAM_OK) {
        exchange->upstream_opened = exchange->upstream->reused;
        exchange->sent_before = proxy_conn_bytes_sent(exchange->upstream->conn);
        proxy_report_upstream_chosen(downstream, exchange->cluster_index, exchange->upstream);
        return true;
    }
    exchange->upstream = NULL;
    if (result == PROXY_UPSTREAM_NO_HOST) {
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_NO_HEALTHY_UPSTREAM, "no_healthy_upstream",
                             "no healthy upstream", NULL, 0);
    } else if (result == PROXY_UPSTREAM_OVERFLOW) {
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_UPSTREAM_OVERFLOW, "upstream_overflow", "upstream limit reached",
                             NULL, 0);
    } else {
        proxy_report_not_dialled(downstream, exchange->cluster_index, result);
        proxy_label_failure(exchange->failure, strerrordesc_np(-result));
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_UPSTREAM_CONNECT_FAILURE, "upstream_connect_failure",
                             "upstream connect error", NULL, 0);
    }
    return false;
}

/* Only a pooled connection may die of a race with its server's idle timeout; without a body the head is all there is.
 */
static void keep_head(struct proxy_exchange_run *exchange, struct fl_span head)
{
    if (!exchange->upstream->reused || !exchange->request_done || exchange->kept.upgrade)
        return;
    exchange->head = malloc(head.len);
    if (exchange->head == NULL)
        return; /* then it is not repeated */
    memcpy(exchange->head, head.data, head.len);
    exchange->head_len = head.len;
}

void proxy_forward_head(struct proxy_exchange_run *exchange)
{
    struct proxy_data *data = data_of(exchange);
    struct proxy_h1_plan plan;
    proxy_h1_plan_request(&data->request, &plan);
    exchange->request_framing = plan.framing;
    FL_CLEANUP(fl_cleanup_free) char *large = NULL;
    size_t bound = proxy_h1_head_bound(&data->request, &plan);
    char *to = data->turn.work;
    if (bound > PROXY_TURN_WORK / 2)
        to = large = malloc(bound);
    if (to == NULL) {
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_OVERLOAD, "out_of_memory", NULL, NULL, 0);
        return;
    }
    struct fl_span head = fl_span_make(to, proxy_h1_write_head(&data->request, &plan, to));
    keep_head(exchange, head);
    proxy_conn_write(exchange->upstream->conn, head);
}
