/* An HTTP(S) server for control traffic (libmicrohttpd), driven by our loop: admission, health, metrics. Never the
 * data path. Its TLS is GnuTLS, and that fact ends behind this header.
 *
 * One handler is called with each complete request (body collected, capped) and fills the response before it returns.
 * HTTP/1.0 and 1.1, keep-alive, pipelining, Expect: 100-continue; TLS 1.2 and 1.3. Any method reaches the handler; for
 * HEAD it answers as for GET, and the body is left out on the wire.
 *
 * A handler that cannot answer yet keeps the request (fl_http_request_defer) and answers later.
 *
 * Bounds:
 *   connections              connections_max (the next ones wait in the kernel), per client address
 *                            connections_per_address (the next ones are closed at once). From 8 on, an eighth is kept
 *                            free: a new one costs the one that has been in its step longest its place
 *   request line and headers FL_HTTP_HEAD_MAX together (414 or 431, then closed)
 *   body                     one length or "chunked", else 400; body_max: a larger Content-Length is answered 413
 *                            without reading the body, a chunked body that grows larger when it has ended (past twice
 *                            the limit it is cut); all bodies that are being collected together: FL_HTTP_BODIES_MAX ×
 *                            body_max (past it the one that has been coming longest is cut off: slow large bodies keep
 *                            nobody out)
 *   time                     idle_seconds for each step as a whole, however its bytes trickle: handshake and first
 *                            request line (or the wait for the next one), the rest of the request, the answer
 */
#ifndef FL_HTTP_SERVER_H
#define FL_HTTP_SERVER_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/loop/loop.h"

#define FL_HTTP_HEAD_MAX   24576
#define FL_HTTP_BODIES_MAX 8

struct fl_http_server;

struct fl_http_request {
    struct fl_span method, path; /* path as sent, without the query */
    struct fl_span query;        /* behind the '?'; empty: none */
    struct fl_span content_type; /* empty: none */
    struct fl_span body;
    const void *connection; /* for fl_http_request_header */
};

struct fl_http_response {
    unsigned status;          /* 200 to 599; 200 unless the handler sets another */
    const char *content_type; /* a literal; "application/json" unless set */
    const char *allow;        /* 405: the Allow header; else NULL */
    struct fl_buf body;       /* initialised with response_max; the server sends and frees it */
    bool close;               /* answer with Connection: close */
};

struct fl_http_server_options {
    struct fl_span address;           /* "0.0.0.0:8443", "[::]:8443" (both families), "127.0.0.1:0" (any free port) */
    struct fl_span cert_pem, key_pem; /* both empty: plain HTTP. Copied. */
    size_t body_max;
    size_t response_max;
    unsigned connections_max;
    unsigned connections_per_address; /* 0: half of connections_max */
    unsigned idle_seconds;
    unsigned deferred_max; /* answers that are owed at once; 0: none may be deferred */
    /* The spans of the request live until it returns. It may call the functions below, but not free the server. */
    void (*handle)(void *owner, const struct fl_http_request *request, struct fl_http_response *response);
    /* Told of each request that the server itself answered and the handler never saw: 413 (a body larger than body_max)
     * or 400 (its length is not clear), with the reason as in the answer. For metrics and logs. NULL: nobody asks. */
    void (*refused)(void *owner, unsigned status, const char *reason);
    void *owner;
};

/* Listens and registers with the loop. 0 or a negative errno with the reason (-EADDRINUSE, -EINVAL for an address,
 * certificate or key, …). The process should ignore SIGPIPE (fl_signals_init does). */
int fl_http_server_new(struct fl_loop *loop, const struct fl_http_server_options *options,
                       struct fl_http_server **ret_server, struct fl_err *err) FL_MUST_CHECK;
/* Closes every connection, whatever it is at. Returns NULL. */
struct fl_http_server *fl_http_server_free(struct fl_http_server *server);

/* The new pair serves every handshake from now on; connections that are open go on. On failure (-EINVAL: malformed, the
 * key is not the certificate's, a server of plain HTTP; -ENOMEM) the old one stays. */
int fl_http_server_set_certificate(struct fl_http_server *server, struct fl_span cert_pem, struct fl_span key_pem,
                                   struct fl_err *err) FL_MUST_CHECK;

uint16_t fl_http_server_port(const struct fl_http_server *server);
/* Stops accepting and closes the listening socket. Requests that are under way, or come within half a second on a
 * connection that is open, are answered with Connection: close; then idle connections are closed. Idempotent. */
void fl_http_server_drain(struct fl_http_server *server);
/* Whether no connection is left. */
bool fl_http_server_idle(const struct fl_http_server *server);

/* ---- Answers that come later ---- */

struct fl_http_deferred; /* an answer that is owed */

/* From within the handler: this request is answered later, and what the handler left in its response is dropped. The
 * request lives until then, its body and all. Ended by fl_http_deferred_send, or, before that, by on_gone (the server
 * gave the connection up: out of time, its place was needed, the server is freed): the pointer is void then. on_gone
 * may not free the server. That a client has gone is seen only when it is answered. NULL: deferred_max are owed
 * already, or memory is out; the handler answers now. */
struct fl_http_deferred *fl_http_request_defer(const struct fl_http_request *request, void (*on_gone)(void *owner),
                                               void *owner) FL_MUST_CHECK;
const struct fl_http_request *fl_http_deferred_request(const struct fl_http_deferred *deferred);
/* To be filled as a handler does. */
struct fl_http_response *fl_http_deferred_response(struct fl_http_deferred *deferred);
/* From outside of the handler of this very request. */
void fl_http_deferred_send(struct fl_http_deferred *deferred);

/* The client is on this host. */
bool fl_http_request_is_loopback(const struct fl_http_request *request);
/* A request header by name (case ignored); empty where it is absent. */
struct fl_span fl_http_request_header(const struct fl_http_request *request, const char *name);

#endif
