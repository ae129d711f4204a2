/* A request and its answer, under way between a downstream connection and one of a cluster's.
 *
 *   request:   head ─► body ─► done                  (hcm.c: reads from the client, writes to the upstream)
 *   response:  1xx… ─► head ─► body ─► done          (router.c: the other way)
 *   end:       both done, or cut                     (answer.c: replies of our own, counts, log, what lives on)
 *
 * After a 101 (or 2xx to CONNECT) both directions are opaque until both have ended.
 *
 * Where the upstream answers before the request is done, the answer goes to the client with "Connection: close", and
 * the connection ends with a lingering close when the answer is complete. Where it breaks off within an answer, the
 * client is reset: never a truncated success. A client's FIN after a whole request is taken as "no more requests" where
 * it has said that it would close (HTTP/1.0, Connection: close), else as its going away, which cancels the request.
 *
 * A request may be tried several times (attempt.h), as long as nothing of an answer has gone to the client.
 */
#ifndef PROXY_FILTER_EXCHANGE_H
#define PROXY_FILTER_EXCHANGE_H

#include "common/base/buf.h"
#include "proxy/filter/label.h"
#include "proxy/http/h1_body.h"
#include "proxy/http/h1_write.h"
#include "proxy/policy/claims.h"
#include "proxy/route/rewrite.h"

#define PROXY_EXCHANGE_TEXT_MAX 512u   /* bytes of one request field kept for the access log */
#define PROXY_HCM_BURST         8u     /* requests that one delivery may start; the rest waits for the next turn */
#define PROXY_HCM_DRAIN_IDLE_MS 1000u  /* a draining connection without a request ends after it */
#define PROXY_HCM_TIMEOUT_MS    15000u /* of a route that names none */

struct proxy_exchange_run;
struct proxy_recall;

struct proxy_hcm {
    struct proxy_downstream *downstream;
    const struct proxy_hcm_config *config;
    struct proxy_exchange_run *exchange; /* NULL between requests */
    struct proxy_h1_parser parser;
    struct proxy_h1_limits limits;
    struct fl_timer timer;   /* between requests: idle, head or drain */
    struct fl_timer breath;  /* a burst goes on in the next turn */
    struct proxy_edge *edge; /* inbound: the last one used, for the cluster below */
    uint32_t edge_cluster;
    uint64_t edge_version; /* of the snapshot that it was made under */
    uint32_t requests;
    bool head_begun; /* bytes of a head are here: the timer is for it */
    bool closing;    /* the present answer, or the next, is the last */
    struct fl_deferred deferred;
};

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
    struct fl_buf kept;    /* the request as sent so far, where it may be sent again */
    bool keeping;          /* `kept` is whole: all that was sent is in it */
    bool raced;            /* a pooled connection had died, and the request went out again */
    bool overflowed;       /* the body that came between two tries was more than is kept: there is none to come */
    bool taken;            /* counts as a retry under way */
    uint32_t retries;      /* by the policy */
    struct fl_timer timer; /* of the try, or of the wait before the next one */
    struct proxy_upstream_tried *tried; /* NULL: nobody */
};

struct proxy_trace_kept; /* tracing.c */

struct proxy_exchange_run {
    struct proxy_hcm *hcm;
    struct proxy_upstream *upstream;        /* NULL where there is none (any more) */
    uint32_t cluster_index;                 /* its slot; UINT32_MAX: none chosen */
    struct proxy_cluster_run *cluster;      /* counted; NULL: none chosen, or it is not there */
    const struct proxy_route_table *routes; /* that were in force when it began: of routes_unit */
    struct proxy_unit *routes_unit;         /* counted */
    struct proxy_route_found found;
    const struct proxy_weighted_cluster *weighted;
    struct proxy_exchange kept; /* what the answer depends on */
    struct proxy_h1_parser parser;
    struct proxy_h1_body request_body, response_body;
    uint8_t request_framing, response_framing; /* as written */
    bool request_done, request_bytes_sent;     /* bytes of a body have been sent */
    bool answered;                             /* a final head has gone to the client */
    bool answer_begun;                         /* a byte has come from the upstream */
    bool upstream_opened, upstream_keep, downstream_keep;
    bool tunnel, request_eof, response_eof;
    struct proxy_attempt attempt; /* attempt.h */
    struct proxy_trace trace;
    struct proxy_trace_kept *traced; /* of a sampled request */
    uint64_t sent_before;            /* of the upstream connection, when this exchange got it */
    struct fl_timer timeout, idle;
    struct proxy_address client; /* as trusted proxies tell it; not set: the connection's */
    struct proxy_claims claims;  /* of its verified tokens */
    struct proxy_recall
        *recall; /* what it asked, where policies may have to judge it again (recall.h); NULL: not kept */
    uint64_t start_us, start_ns, request_done_ns, first_byte_ns, active_ns;
    uint64_t request_head_bytes, request_bytes, response_sent_before, response_body_bytes;
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

/* -- router.c -- */

/* Sends the request of data->request to its route's cluster, or answers in its place. The exchange may be gone
 * afterwards (hcm->exchange tells). */
void proxy_router_begin(struct proxy_exchange_run *exchange);
/* Body bytes to the upstream, in the framing that its head announced. */
void proxy_router_body(struct proxy_exchange_run *exchange, struct fl_span data);
/* The request is complete; trailers may be NULL. */
void proxy_router_request_done(struct proxy_exchange_run *exchange, const struct proxy_headers *trailers);

/* -- answer.c -- */

struct proxy_exchange_run *proxy_exchange_new(struct proxy_hcm *hcm); /* NULL when memory is out */
/* Keeps what the access log wants of data->request. Failing to is no failure. */
void proxy_exchange_keep_texts(struct proxy_exchange_run *exchange);
/* An answer of our own, where none has begun, and the end of the exchange; else the client is cut off. `headers` may
 * be NULL. text: NULL for the reason phrase. */
void proxy_exchange_reply(struct proxy_exchange_run *exchange, unsigned status, uint32_t flag, const char *details,
                          const char *text, const struct proxy_header *headers, size_t header_count);
/* The end without an answer: both sides are reset. */
void proxy_exchange_cut(struct proxy_exchange_run *exchange, uint32_t flag, const char *details);
/* The answer is complete. upstream_clean: its connection may be used again. */
void proxy_exchange_done(struct proxy_exchange_run *exchange, bool upstream_clean);
/* A request that could not be read. */
void proxy_hcm_refuse(struct proxy_hcm *hcm, enum proxy_h1_error error);

/* -- hcm.c -- */

/* The exchange is over: the next request, or the end of the connection. */
void proxy_hcm_next(struct proxy_hcm *hcm);
void proxy_hcm_end(struct proxy_hcm *hcm, enum proxy_close how);

#endif
