/* The tries of one request: it goes out again, to another host or on another connection, where the first try came to
 * nothing and nothing of an answer has gone to the client.
 *
 *   - At once and without a policy, on a fresh connection: where a pooled one died before a single byte of an answer
 *     (the keep-alive race), nothing of a body was sent, and the method is idempotent or nothing has left us at all
 *     (RFC 9110 §9.2.2, RFC 9112 §9.3.1); and where a server says that it has not begun (REFUSED_STREAM, GOAWAY).
 *   - By the route's policy (retry.h), after a back-off, within num_retries and the cluster's budget.
 *
 * For that the request is kept, head, body and trailers; and only where a policy asks for it (or, its head alone, on a
 * connection that was there before). A body beyond PROXY_ATTEMPT_BODY_MAX, or beyond what the worker keeps in all, is
 * let go, and with it the retries. Between two tries the client is not read.
 */
#ifndef PROXY_FILTER_ATTEMPT_H
#define PROXY_FILTER_ATTEMPT_H

#include "proxy/filter/exchange.h"
#include "proxy/filter/retry.h"

#define PROXY_ATTEMPT_BODY_MAX (64u * 1024u) /* bytes of one request's body that are kept, */
#define PROXY_ATTEMPT_KEPT_MAX (8u << 20)    /* bytes kept by a worker, heads included */

/* Sends the head of data->request on the first try, where there is a connection for it, and keeps it where it may go
 * out again. */
void proxy_attempt_head(struct proxy_exchange_run *exchange);
/* Body, and the end with trailers or NULL: likewise. */
void proxy_attempt_send(struct proxy_exchange_run *exchange, struct fl_span bytes);
void proxy_attempt_send_end(struct proxy_exchange_run *exchange, struct proxy_headers *trailers);
/* The request is complete: the time of the try begins. */
void proxy_attempt_complete(struct proxy_exchange_run *exchange);

/* A connection of the cluster for the next try: an outcome of proxy_upstream_request or -errno. */
int proxy_attempt_connect(struct proxy_exchange_run *exchange, bool fresh) FL_MUST_CHECK;
/* There is none. A retry, or the answer that says so; the exchange may be over. */
void proxy_attempt_not_connected(struct proxy_exchange_run *exchange, int result);

/* The answer where no connection could be made; a sidecar tells a peer in the mesh that its app has seen nothing
 * (PROXY_RETRY_UNSENT). The exchange is over. */
void proxy_attempt_give_up(struct proxy_exchange_run *exchange);

/* True: a further try is on its way (the upstream was let go). False: it is for the caller to end the exchange. */
bool proxy_attempt_after_race(struct proxy_exchange_run *exchange, enum proxy_reset why,
                              bool nothing_left) FL_MUST_CHECK;
bool proxy_attempt_again(struct proxy_exchange_run *exchange, const struct proxy_try *one) FL_MUST_CHECK;

/* Tells the cluster how the try came out. */
void proxy_attempt_report(struct proxy_exchange_run *exchange, enum proxy_outlier_event event);
/* Something of an answer goes to the client: the request is not sent again. */
void proxy_attempt_forget(struct proxy_exchange_run *exchange);
/* The final head does: there is no further try, and this one is not timed any more. */
void proxy_attempt_settle(struct proxy_exchange_run *exchange);
/* The exchange ends. */
void proxy_attempt_done(struct proxy_exchange_run *exchange);

#endif
