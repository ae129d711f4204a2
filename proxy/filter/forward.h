/* From a request's head to its upstream: route, what the listener and the route change in the head, and the head's
 * bytes. Each step answers the client itself where it cannot go on, and then returns false: the exchange is
 * over. */
#ifndef PROXY_FILTER_FORWARD_H
#define PROXY_FILTER_FORWARD_H

#include "proxy/filter/exchange.h"
#include "proxy/tls/filter.h"

/* Chooses route and cluster for data->request and applies all changes to it. */
bool proxy_forward_prepare(struct proxy_exchange_run *exchange) FL_MUST_CHECK;
/* The bytes of data->request's head go to the first try (attempt.h). */
bool proxy_forward_head(struct proxy_exchange_run *exchange) FL_MUST_CHECK;

const struct proxy_route_table *proxy_forward_routes(const struct proxy_exchange_run *exchange);

extern const struct proxy_conn_ops proxy_router_ops; /* router.c: of the upstream connection, owner: the exchange */

#endif
