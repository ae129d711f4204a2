/* Copies of requests for other clusters (request_mirror_policies): nobody waits for their answers, and nothing that
 * becomes of them is felt by the request.
 *
 * A copy goes out when the request is complete: its head as the route made it, body and trailers. Until then the
 * request is kept, up to PROXY_MIRROR_BODY_MAX bytes of body and, with what may be sent again (attempt.h),
 * PROXY_ATTEMPT_KEPT_MAX for a worker; what is larger, and tunnels, are not mirrored. A copy counts for its cluster's
 * circuit breakers, is sent once, and has PROXY_MIRROR_MS; a worker has PROXY_MIRRORS_MAX under way.
 */
#ifndef PROXY_FILTER_MIRROR_H
#define PROXY_FILTER_MIRROR_H

#include "proxy/filter/exchange.h"

#define PROXY_MIRROR_BODY_MAX (64u * 1024u)
#define PROXY_MIRRORS_MAX     1024u
#define PROXY_MIRROR_MS       15000u

/* The route is chosen and has changed the head: which of its mirrors get a copy, and the head is kept for them. */
void proxy_mirror_begin(struct proxy_exchange_run *exchange);
void proxy_mirror_body(struct proxy_exchange_run *exchange, struct fl_span bytes);
/* The request is complete: the copies go out. trailers may be NULL. */
void proxy_mirror_complete(struct proxy_exchange_run *exchange, const struct proxy_headers *trailers);
/* The exchange ends. */
void proxy_mirror_done(struct proxy_exchange_run *exchange);

/* All of a worker's that are under way, when it ends. */
void proxy_mirrors_abort(struct proxy_data *data);

#endif
