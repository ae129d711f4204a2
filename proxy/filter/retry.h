/* Whether a try at a request that came to nothing is worth another one, by the route's policy, and when: pure.
 *
 * The policy's words mean what Envoy's do. A retry is the policy's decision whatever the method is, as in Envoy: who
 * asks for 5xx on a route that takes POST has them sent again. Only "connect-failure" and "reset-before-request"
 * promise that a server has seen nothing of the request before.
 */
#ifndef PROXY_FILTER_RETRY_H
#define PROXY_FILTER_RETRY_H

#include "proxy/route/table.h"

enum proxy_try_outcome {
    PROXY_TRY_ANSWERED,      /* a final head */
    PROXY_TRY_NOT_CONNECTED, /* TCP or TLS */
    PROXY_TRY_BROKEN,        /* the connection ended, or what came was no HTTP, before a whole head */
    PROXY_TRY_LATE,          /* per_try_timeout */
};

struct proxy_try {
    enum proxy_try_outcome outcome;
    bool sent;                            /* something of the request may have reached the server */
    const struct proxy_message *response; /* ANSWERED */
    bool refused;                         /* BROKEN: by a server that says that it has not begun (REFUSED_STREAM) */
    bool unsent; /* ANSWERED: in its app's stead by a sidecar, which could make no connection to it (below) */
};

/* The field by which a server's sidecar tells a client's that the app has seen nothing of a request: an app that is
 * about to end refuses connections for a moment before everybody knows. Such an answer (503, or UNAVAILABLE) is what a
 * connection that could not be made is, in retries; it is of the mesh alone: taken off whoever gets it, believed of a
 * peer with an identity, and never passed on from an app. */
#define PROXY_RETRY_UNSENT "x-fairlead-unsent"
/* Whether that field was there; it is taken off. Answers of other statuses are not looked through. */
bool proxy_retry_take_unsent(struct proxy_message *response);

bool proxy_retry_wants(const struct proxy_retry_policy *policy, const struct proxy_try *one);

/* Before the retry with this number (from 1): a random part of base × (2^number − 1), at most of the maximum. */
uint64_t proxy_retry_backoff_ms(const struct proxy_retry_policy *policy, uint32_t number, uint64_t random);

/* grpc-status of a head, -1 where there is none or where it is no number. */
int32_t proxy_retry_grpc_status(const struct proxy_headers *headers);

#endif
