/* From a request's head to its upstream: route, cluster, and what the listener and the route change in the head. */
#ifndef PROXY_FILTER_FORWARD_H
#define PROXY_FILTER_FORWARD_H

#include "proxy/filter/exchange.h"
#include "proxy/tls/filter.h"

/* Chooses route and cluster for data->request and applies all changes to it. False: the client has its answer, the
 * exchange is over. */
bool proxy_forward_prepare(struct proxy_exchange_run *exchange) FL_MUST_CHECK;
/* Whether such an authentication (the value of Authorization or WWW-Authenticate) is one of the connection. */
bool proxy_forward_binds_connection(struct fl_span value);

/* The table that this request follows to its end: the one in force when it is first asked for. NULL: there is none. */
const struct proxy_route_table *proxy_forward_take_routes(struct proxy_exchange_run *exchange);
const struct proxy_route_table *proxy_forward_routes(const struct proxy_exchange_run *exchange);

extern const struct proxy_stream_events
    proxy_router_events; /* router.c: of the upstream's stream; user: the exchange */

#endif
