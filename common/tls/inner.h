/* What context, verify and session share; for this folder alone. */
#ifndef FL_TLS_INNER_H
#define FL_TLS_INNER_H

#include "common/base/buf.h"
#include "common/tls/session.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

/* What contexts that differ in names alone share: thousands of clusters have one SSL_CTX. */
struct fl_tls_core {
    atomic_size_t references;
    SSL_CTX *ssl;
    BIO_METHOD *transport; /* of the sessions' BIOs (session.c) */
    struct fl_cert *cert;
    struct fl_span identity; /* of `cert`; empty where it is no SVID */
    struct fl_buf alpn;      /* as on the wire: a length byte before each token */
    bool server;
    bool has_trust;
};

struct fl_tls_context {
    atomic_size_t references;
    struct fl_tls_core *core; /* counted */
    char *server_name;        /* NULL: no SNI */
    struct fl_tls_name_match *names;
    size_t name_count;
    char *name_text;
    bool require_spiffe;
};

struct fl_tls {
    struct fl_tls_context *context; /* counted */
    SSL *ssl;
    struct fl_tls_sinks sinks;
    struct fl_span input;    /* what the running fl_tls_feed has not consumed yet */
    char *expected;          /* the one SPIFFE ID that is accepted; NULL: what the context says */
    struct fl_span identity; /* the peer's; points into its certificate, which `ssl` or this keeps: */
    X509 *refused_leaf;      /* counted; NULL: none */
    enum fl_tls_state state;
    enum fl_tls_reason reason;
    int code;           /* negative errno once it failed */
    char *error;        /* the reason; NULL where nothing failed, or memory was out */
    unsigned calls;     /* nested calls of this session that run now */
    unsigned messages;  /* TLS messages after the handshake without application bytes between */
    bool begun;         /* bytes came from the peer */
    bool plaintext;     /* and the first of them begins no TLS record */
    bool sending;       /* inside the send sink */
    bool closed;        /* close_notify went out */
    bool alpn_may_lack; /* the server may choose none: "http/1.1" is offered */
    bool alpn_need_not; /* … in any case */
};

/* The session that an SSL object belongs to. */
struct fl_tls *fl_tls_of(const SSL *ssl);

/* The next token of a list as on the wire. False at its end. */
bool fl_tls_next_token(struct fl_span *rest, struct fl_span *ret_token);

/* Whether a list of tokens has http/1.1: what a peer without ALPN speaks. */
bool fl_tls_lists_http1(struct fl_span list);

/* Remembers why the session fails; the first reason counts. */
void fl_tls_refuse(struct fl_tls *tls, enum fl_tls_reason reason, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* For SSL_CTX_set_cert_verify_callback: chain, SVID rules and names of the peer; on the client the ALPN too. */
int fl_tls_verify(X509_STORE_CTX *store, void *unused);

/* Whether any of `names` is matched by a name of the certificate. */
bool fl_tls_name_matches(const X509 *certificate, const struct fl_tls_name_match *names, size_t count);

BIO_METHOD *fl_tls_transport_new(void); /* NULL when memory is out */

/* For SSL_CTX_set_info_callback: counts messages after the handshake. */
void fl_tls_observe(const SSL *ssl, int where, int value);

#endif
