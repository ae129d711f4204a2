/* What the connection manager itself changes in the heads that pass, before routes are looked at and after they have
 * had their say: x-request-id, x-forwarded-for, x-forwarded-client-cert, Via, the host's port, the path; of an answer
 * Server and Via. Each for one field of struct proxy_hcm_config; with none of them set a head passes as it came. */
#ifndef PROXY_FILTER_HEAD_H
#define PROXY_FILTER_HEAD_H

#include "proxy/filter/exchange.h"

/* Changes data->request, with new texts in *scratch, of which it takes from the front. Keeps what the access log wants:
 * path and host as the client sent them. False: the client has its answer, the exchange is over. */
bool proxy_head_request(struct proxy_exchange_run *exchange, struct fl_span *scratch) FL_MUST_CHECK;
/* A final answer that the upstream gave. 0 or -E2BIG. */
int proxy_head_response(const struct proxy_exchange_run *exchange, struct proxy_message *response) FL_MUST_CHECK;

#endif
