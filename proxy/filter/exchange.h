/* A request and its answer, under way between a client's stream and one of a cluster's. It knows no version of HTTP.
 *
 *   request:   head ─► body ─► done                  (exchange.c: from the client's stream to the router)
 *   response:  1xx… ─► head ─► body ─► done          (router.c: the other way)
 *   end:       both done, or cut                     (answer.c: replies of our own, counts, log)
 *
 * After a 101 (or 2xx to CONNECT) both directions are opaque until both have ended; what a client sends ahead of that
 * answer is kept for the tunnel, PROXY_EXCHANGE_EARLY_MAX bytes of it.
 *
 * Where the upstream answers before the request is done, the exchange ends with the answer. Where it breaks off within
 * an answer, the client's stream is reset: never a truncated success. A client that goes away cancels the request.
 *
 * Whatever is sent to a stream may break it within the call: then `over` is set, or (an upstream's) another try is on
 * its way.
 *
 * A request may be tried several times (attempt.h), as long as nothing of an answer has gone to the client.
 */
#ifndef PROXY_FILTER_EXCHANGE_H
#define PROXY_FILTER_EXCHANGE_H

#include "common/base/buf.h"
#include "proxy/filter/label.h"
#include "proxy/http/h1.h"
#include "proxy/http/keep.h"
#include "proxy/http/stream.h"
#include "proxy/net/pool.h"
#include "proxy/policy/claims.h"
#include "proxy/route/rewrite.h"

#define PROXY_EXCHANGE_TEXT_MAX  512u   /* bytes of one request field kept for the access log */
#define PROXY_EXCHANGE_EARLY_MAX 65536u /* bytes that a client sends into a tunnel before there is one */
#define PROXY_EXCHANGE_SPARE     64u    /* structs that a worker keeps for the next requests */
#define PROXY_HCM_TIMEOUT_MS     15000u /* of a route that names none */

struct proxy_kept_message;
struct proxy_hcm;

enum proxy_log_text { /* request fields kept for the access log */
                      PROXY_TEXT_METHOD,
                      PROXY_TEXT_PATH,
                      PROXY_TEXT_AUTHORITY,
                      PROXY_TEXT_USER_AGENT,
                      PROXY_TEXT_REQUEST_ID,
                      PROXY_TEXT_FORWARDED_FOR,
                      PROXY_TEXT_TRACEPARENT,
                      PROXY_TEXTS,
};

struct proxy_attempt {
    struct proxy_kept_message *head, *trailers; /* the request as sent so far, where it may be sent again */
    struct fl_buf body;
    bool keeping;     /* that is whole: all that was sent is in it */
    bool raced;       /* a pooled connection had died, and the request went out again */
    bool overflowed;  /* the body that came between two tries was more than is kept: there is none to come */
    bool fresh;       /* the next try's connection: a server that answered badly is not asked on the same one again */
    bool taken;       /* counts as a retry under way */
    uint32_t retries; /* by the policy */
    struct fl_timer timer;              /* of the try, or of the wait before the next one */
    struct proxy_upstream_tried *tried; /* NULL: nobody */
};

struct proxy_trace_kept; /* tracing.c */
struct proxy_mirroring;  /* mirror.c */

struct proxy_exchange_run {
    struct proxy_hcm *hcm;
    struct proxy_downstream *downstream;        /* the connection manager's */
    struct proxy_data *data;                    /* the worker's */
    struct proxy_exchange_run *next, *previous; /* of the same connection */
    struct proxy_stream *client;                /* NULL: it is gone */
    struct proxy_upstream *upstream;            /* NULL where there is none (any more) */
    uint32_t cluster_index;                     /* its slot; UINT32_MAX: none chosen */
    struct proxy_cluster_run *cluster;          /* counted; NULL: none chosen, or it is not there */
    const struct proxy_route_table *routes;     /* that were in force when it began: of routes_unit */
    struct proxy_unit *routes_unit;             /* counted */
    struct proxy_route_found found;
    const struct proxy_weighted_cluster *weighted;
    struct proxy_exchange kept;            /* what the answer depends on */
    bool over;                             /* it has ended; the memory is there until the turn's end */
    bool request_done, request_bytes_sent; /* bytes of a body have been sent */
    bool answered;                         /* a final head has gone to the client */
    bool cancelled;                        /* by the upstream: so the client is told where it is cut */
    uint8_t major;                         /* HTTP version that the client speaks */
    bool upgrade;                          /* the request asks for a tunnel */
    bool tunnel, request_eof, response_eof;
    struct proxy_queue early;          /* of a tunnel that there is not yet */
    struct proxy_attempt attempt;      /* attempt.h */
    struct proxy_mirroring *mirroring; /* what copies are made of (mirror.h); NULL: there are none */
    struct proxy_trace trace;
    struct proxy_trace_kept *traced; /* of a sampled request */
    struct fl_timer timeout, idle, duration;
    struct proxy_address trusted_client; /* as trusted proxies tell it; not set: the connection's */
    struct proxy_claims claims;          /* of its verified tokens */
    const struct proxy_cors *cors;       /* that allows it (cors.h): of routes_unit; NULL: nobody asked, or refused */
    char *cors_origin;                   /* who asked */
    bool cors_preflight;                 /* it is the question before it */
    struct proxy_kept_message *recall;   /* what it asked, where policies may have to judge it again; NULL: not kept */
    uint64_t start_us, start_ns, request_done_ns, first_byte_ns, active_ns;
    uint64_t grpc_deadline_ns;                   /* by the request's grpc-timeout; 0: it has none */
    uint64_t request_bytes, response_body_bytes; /* of bodies */
    uint64_t client_received, client_sent;       /* in all, once the client's stream is gone */
    uint32_t flags;
    uint16_t status;
    bool is_grpc;        /* by the request's content type */
    int32_t grpc_status; /* -1: none */
    const char *details;
    char failure[PROXY_FAILURE_MAX]; /* of the upstream's transport */
    char *texts;                     /* for the log: PROXY_TEXTS pieces one after the other */
    uint16_t text_lens[PROXY_TEXTS];
    struct fl_deferred deferred;
};

/* -- exchange.c -- */

/* A request has begun: its exchange is the stream's user, and in the connection manager's list. False: memory is out.
 */
bool proxy_exchange_begin(struct proxy_hcm *hcm, struct proxy_stream *client) FL_MUST_CHECK;
/* Everything that is left lets go, counted and logged by who ends it. The client's stream is the caller's, who closes
 * it. why: for the upstream's. */
void proxy_exchange_release(struct proxy_exchange_run *exchange, enum proxy_reset why);
/* To the client, as proxy_stream_send_head and _end. */
void proxy_exchange_send_head(struct proxy_exchange_run *exchange, struct proxy_message *message, bool end);
void proxy_exchange_send_end(struct proxy_exchange_run *exchange, struct proxy_headers *trailers);
/* Of the client's stream no event is to come any more; to be closed by the caller, if it is not NULL. */
struct proxy_stream *proxy_exchange_leave_client(struct proxy_exchange_run *exchange);
/* Spare structs, when the worker ends. */
void proxy_exchange_free_spare(struct proxy_data *data);

const struct proxy_hcm_config *proxy_exchange_config(const struct proxy_exchange_run *exchange);

/* -- router.c -- */

/* Sends the request of data->request to its route's cluster, or answers in its place. The exchange may be over
 * afterwards. */
void proxy_router_begin(struct proxy_exchange_run *exchange);
/* Body bytes to the upstream. */
void proxy_router_body(struct proxy_exchange_run *exchange, struct fl_span data);
/* The request is complete; trailers may be NULL. */
void proxy_router_request_done(struct proxy_exchange_run *exchange, struct proxy_headers *trailers);
/* The client's direction of a tunnel has ended. */
void proxy_router_tunnel_end(struct proxy_exchange_run *exchange);
/* The client can take more. */
void proxy_router_resume(struct proxy_exchange_run *exchange);

/* -- answer.c -- */

/* Keeps what the access log wants of data->request. Failing to is no failure. */
void proxy_exchange_keep_texts(struct proxy_exchange_run *exchange);
/* An answer of our own, where none has begun, and the end of the exchange; else the client is cut off. `headers` may
 * be NULL. text: NULL for the reason phrase. To a gRPC request it is an answer without messages (trailers-only). */
void proxy_exchange_reply(struct proxy_exchange_run *exchange, unsigned status, uint32_t flag, const char *details,
                          const char *text, const struct proxy_header *headers, size_t header_count);
/* The end without an answer: both sides are reset. */
void proxy_exchange_cut(struct proxy_exchange_run *exchange, uint32_t flag, const char *details);
/* The answer is complete. */
void proxy_exchange_done(struct proxy_exchange_run *exchange);

#endif
