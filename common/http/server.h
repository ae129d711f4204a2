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
 *                            free: a new one costs another its place. Nobody whom the owner vouched for, while there
 *                            are others; of the address that has most of those; the one that was in its step longest
 *   handshakes               a few milliseconds a turn, and always one of each address: established connections and
 *                            other addresses do not wait for one that has many
 *   request line and headers FL_HTTP_HEAD_MAX together (414 or 431, then closed)
 *   head                     names are tokens, values have no control character, what a request may have once is there
 *                            once; else 400. Where `head` refuses, the body is not read
 *   body                     one length or "chunked", else 400; body_max: a larger Content-Length is answered 413
 *                            without reading the body, a chunked body that grows larger when it has ended (past twice
 *                            the limit it is cut); all bodies that are being collected together: FL_HTTP_BODIES_MAX ×
 *                            body_max (past it another is cut off, chosen as above by who holds most: slow large
 *                            bodies keep nobody out)
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
    const char *authenticate; /* 401: the WWW-Authenticate header; else NULL */
    struct fl_buf body;       /* initialised with response_max; the server sends and frees it */
    bool close;               /* answer with Connection: close */
};

struct fl_http_server_options {
    struct fl_span address;           /* "0.0.0.0:8443", "[::]:8443" (both families), "127.0.0.1:0" (any free port) */
    struct fl_span cert_pem, key_pem; /* both empty: plain HTTP. Copied. */
    struct fl_span client_roots_pem; /* HTTPS: clients are asked for a certificate, which fl_http_request_peer judges by
                                        these roots; empty: they are not asked. Copied. */
    size_t body_max;
    size_t response_max;
    unsigned connections_max;
    unsigned connections_per_address; /* 0: half of connections_max */
    unsigned idle_seconds;
    unsigned deferred_max; /* answers that are owed at once; 0: none may be deferred */
    /* The spans of the request live until it returns. It may call the functions below, but not free the server. */
    void (*handle)(void *owner, const struct fl_http_request *request, struct fl_http_response *response);
    /* Called with each head, before anything of the body is read: request->body is empty. True: go on. False: the
     * response that it filled is the answer (as a handler's; none may be deferred), and where a body was to come, the
     * connection closes. NULL: every head passes. */
    bool (*head)(void *owner, const struct fl_http_request *request, struct fl_http_response *response);
    /* Told of each request that the server itself answered and the handler never saw: 413 (a body larger than body_max)
     * or 400 (its head is malformed, its length not clear), with the reason as in the answer. For metrics and logs.
     * NULL: nobody asks. */
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

/* The new roots judge every request from now on, on open connections too. On failure (-EINVAL: malformed, none, one
 * that is no CA, a server that asks for no certificate; -ENOMEM) the old ones stay. */
int fl_http_server_set_client_roots(struct fl_http_server *server, struct fl_span pem,
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

/* ---- Who the client is ---- */

#define FL_HTTP_PEER_NAMES_MAX 16 /* more are not looked at */
#define FL_HTTP_PEER_NAME_MAX  253

struct fl_http_peer {
    enum {
        FL_HTTP_PEER_NONE, /* it showed no certificate, or was not asked for one */
        FL_HTTP_PEER_BAD,  /* one that does not count */
        FL_HTTP_PEER_GOOD  /* one of our roots, in its time, for TLS clients by its extended key usage */
    } state;
    const char *trouble; /* BAD: why not */
    size_t name_count;   /* GOOD: its common name and its DNS and URI names */
    struct fl_span names[FL_HTTP_PEER_NAMES_MAX];
};

/* By the connection's certificate, whose key the client has; lives as long as the request. Judged anew when the roots
 * have changed, and after a minute. */
const struct fl_http_peer *fl_http_request_peer(const struct fl_http_request *request);
/* The client is one of those that the server is there for: its connection gives way last. */
void fl_http_request_vouch(const struct fl_http_request *request);

/* The client is on this host. */
bool fl_http_request_is_loopback(const struct fl_http_request *request);
/* A request header by name (case ignored); empty where it is absent. */
struct fl_span fl_http_request_header(const struct fl_http_request *request, const char *name);

#endif
