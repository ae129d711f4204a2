/* TLS contexts: one side's identity, trust and rules. Immutable and counted (each session holds a reference): rotation
 * swaps the pointer, never edits a context. One a worker where several exist.
 *
 * Mesh defaults: TLS 1.3 only, X25519 then P-256, AES-128-GCM first, no session tickets, no compression, no
 * renegotiation, RELEASE_BUFFERS. `minimum_version` 0x0303 allows 1.2 (for peers outside the mesh; ECDHE with AEAD
 * only).
 */
#ifndef FL_TLS_CONTEXT_H
#define FL_TLS_CONTEXT_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdint.h>

struct fl_cert;
struct fl_key;
struct fl_bundle;
struct fl_tls_context;

#define FL_TLS_ALPN_MAX 8

enum fl_tls_name_kind { FL_TLS_NAME_URI, FL_TLS_NAME_DNS };
enum fl_tls_match_kind { FL_TLS_MATCH_EXACT, FL_TLS_MATCH_PREFIX, FL_TLS_MATCH_SUFFIX };

struct fl_tls_name_match { /* a subject alternative name that is accepted */
    enum fl_tls_name_kind kind;
    enum fl_tls_match_kind match;
    struct fl_span value; /* copied */
};

struct fl_tls_options {
    bool server;
    struct fl_cert *cert; /* NULL: a client that shows none */
    struct fl_key *key;
    struct fl_bundle *bundle; /* NULL: the peer's certificate is not asked for (server) or not accepted (client) */
    bool require_peer_cert;   /* server: a client without one is refused */
    bool require_spiffe;      /* the peer's leaf must be an X.509-SVID (pki/spiffe.h) */
    const struct fl_tls_name_match *names; /* any of them must match; none: any name is good */
    size_t name_count;
    const struct fl_span *alpn; /* in order of preference; server: a client that offers none of them is refused */
    size_t alpn_count;          /* 0: ALPN is not used */
    struct fl_span server_name; /* client: SNI; empty: none */
    uint16_t minimum_version;   /* 0: TLS 1.3 */
};

/* Everything is copied or counted. -EINVAL (key does not match …), -ENOMEM. */
int fl_tls_context_new(const struct fl_tls_options *options, struct fl_tls_context **ret_context,
                       struct fl_err *err) FL_MUST_CHECK;
struct fl_tls_context *fl_tls_context_ref(struct fl_tls_context *context);
struct fl_tls_context *fl_tls_context_unref(struct fl_tls_context *context);
void fl_cleanup_tls_context(struct fl_tls_context **context);

#endif
