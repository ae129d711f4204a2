/* CORS at work (the Fetch standard, as Envoy's filter of that name does it): the policy of the route that a request is
 * for (route/table.h, proxy_cors) decides.
 *
 * A preflight (OPTIONS with Origin and Access-Control-Request-Method) from an origin that is allowed gets its answer
 * from here, 200 and no body, before the filters behind: it carries no credentials that they could judge. From another
 * one it gets 200 without any permission, or goes upstream (forward_preflights). Any other request goes on; where its
 * origin is allowed the answer, the upstream's or one of our own, says so, whatever the upstream says of it.
 *
 * The browser enforces: this keeps nobody from asking.
 */
#ifndef PROXY_FILTER_CORS_H
#define PROXY_FILTER_CORS_H

#include "proxy/filter/chain.h"

extern const struct proxy_http_filter_ops proxy_cors_ops; /* has no configuration */

/* Writes the fields into a final answer, where the origin is allowed. 0 or -E2BIG. */
int proxy_cors_response(const struct proxy_exchange_run *exchange, struct proxy_message *response) FL_MUST_CHECK;

#endif
