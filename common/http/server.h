/* An HTTP(S) server for control traffic (libmicrohttpd), driven by our loop: admission, health, metrics. Never the
 * data path. Its TLS is GnuTLS, and that fact ends behind this header.
 *
 * One handler is called with each complete request (body collected, capped) and fills the response before it returns.
 * Bounded: connections, connections per address, header and body bytes, idle time. HTTP/1.1, keep-alive.
 */
#ifndef FL_HTTP_SERVER_H
#define FL_HTTP_SERVER_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/loop/loop.h"

struct fl_http_server;

struct fl_http_request {
    struct fl_span method, path; /* path as sent, without the query */
    struct fl_span query;        /* behind the '?'; empty: none */
    struct fl_span content_type; /* empty: none */
    struct fl_span body;
    const void *connection; /* for fl_http_request_header */
};

struct fl_http_response {
    unsigned status;          /* 200 unless the handler sets another */
    const char *content_type; /* a literal; "application/json" unless set */
    const char *allow;        /* 405: the Allow header; else NULL */
    struct fl_buf body;       /* initialised with response_max */
    bool close;               /* answer with Connection: close */
};

struct fl_http_server_options {
    struct fl_span address;           /* "0.0.0.0:8443", "[::]:8443", "127.0.0.1:0" (any free port) */
    struct fl_span cert_pem, key_pem; /* both empty: plain HTTP. Copied. */
    size_t body_max;                  /* larger requests are answered 413 without being read to the end */
    size_t response_max;
    unsigned connections_max;
    unsigned idle_seconds; /* also bounds a slow handshake or request */
    void (*handle)(void *owner, const struct fl_http_request *request, struct fl_http_response *response);
    void *owner;
};

/* Listens and registers with the loop. 0 or a negative errno with the reason (address in use, bad certificate …). */
int fl_http_server_new(struct fl_loop *loop, const struct fl_http_server_options *options,
                       struct fl_http_server **ret_server, struct fl_err *err) FL_MUST_CHECK;
struct fl_http_server *fl_http_server_free(struct fl_http_server *server);

/* The new pair serves every handshake from now on; connections that are open go on. On failure the old one stays. */
int fl_http_server_set_certificate(struct fl_http_server *server, struct fl_span cert_pem, struct fl_span key_pem,
                                   struct fl_err *err) FL_MUST_CHECK;

uint16_t fl_http_server_port(const struct fl_http_server *server);
/* Stops accepting; open connections finish their request. fl_http_server_idle tells when none is left. */
void fl_http_server_drain(struct fl_http_server *server);
bool fl_http_server_idle(const struct fl_http_server *server);

/* A request header by name (case ignored); empty where it is absent. */
struct fl_span fl_http_request_header(const struct fl_http_request *request, const char *name);

#endif
