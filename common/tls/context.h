/* TLS contexts: one side's identity, trust and rules. Immutable and counted (each session holds a reference): rotation
 * swaps the pointer, never edits a context. One a worker where several exist.
 *
 * Mesh defaults: TLS 1.3 only, X25519 then P-256, AES-128-GCM first, no session tickets and no resumption (the peer's
 * certificate is checked at every connection), no compression, no renegotiation, RELEASE_BUFFERS, OpenSSL's security
 * level 2. `minimum_version` 0x0303 allows 1.2 (for peers outside the mesh; ECDHE with AEAD only).
 *
 * The peer's chain: at most FL_CERT_CHAIN_MAX certificates below the root and FL_TLS_PEER_CHAIN_BYTES, verified to a
 * root of the bundle with the key usage of its side; then, on the verified leaf, require_spiffe and names. All of that
 * happens inside the handshake, so that a refused peer gets an alert and never a byte of the application.
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

#define FL_TLS_ALPN_MAX         8
#define FL_TLS_NAMES_MAX        64
#define FL_TLS_PEER_CHAIN_BYTES 16384 /* parsing certificates of a stranger is the dearest thing he can ask for */

enum fl_tls_name_kind { FL_TLS_NAME_URI, FL_TLS_NAME_DNS };
enum fl_tls_match_kind { FL_TLS_MATCH_EXACT, FL_TLS_MATCH_PREFIX, FL_TLS_MATCH_SUFFIX };

/* A subject alternative name that is accepted. URI names are compared byte by byte, DNS names without regard to case;
 * an exact DNS name is also matched by a certificate's "*." in place of its first label. A prefix should end in '/':
 * "spiffe://a.example" begins "spiffe://a.example.evil/…" too. */
struct fl_tls_name_match {
    enum fl_tls_name_kind kind;
    enum fl_tls_match_kind match;
    struct fl_span value; /* not empty; copied */
};

struct fl_tls_options {
    bool server;
    struct fl_cert *cert; /* a server must have one; NULL: a client that shows none */
    struct fl_key *key;
    struct fl_bundle *bundle; /* a client must have one; NULL: a server that asks for no certificate */
    /* A client alone, without a bundle: whoever answers is fine, with any key, and with older ciphers of TLS 1.2. For
     * health checks of an app in the same pod, as the kubelet makes them: nothing that is said over such a session may
     * be a secret, nothing that is heard may decide over security. */
    bool anybody;
    bool require_peer_cert;                /* server: a client without one is refused */
    bool require_spiffe;                   /* the peer's leaf must be an X.509-SVID (pki/spiffe.h) */
    const struct fl_tls_name_match *names; /* any of them must match; none: any name is good */
    size_t name_count;
    /* In order of preference. Server: a client that offers none of them, or no ALPN at all, is refused with
     * no_application_protocol (without any it is let in where http/1.1 is one of them). Client: a server that chooses
     * none is refused (but see fl_tls_offer). */
    const struct fl_span *alpn;
    size_t alpn_count;          /* 0: ALPN is not used */
    struct fl_span server_name; /* client: SNI; empty: none */
    uint16_t minimum_version;   /* 0: TLS 1.3 */
};

/* Everything is copied or counted. -EINVAL with the reason (the key is not the certificate's, no bundle for what asks
 * for one, too many or bad names …), -ENOMEM. */
int fl_tls_context_new(const struct fl_tls_options *options, struct fl_tls_context **ret_context,
                       struct fl_err *err) FL_MUST_CHECK;
/* The same side, certificate, trust, ALPN and versions as `like` (counted), with the names, server_name and
 * require_spiffe of `options`, whose other fields are not looked at. It costs some hundred bytes. -EINVAL, -ENOMEM. */
int fl_tls_context_derive(struct fl_tls_context *like, const struct fl_tls_options *options,
                          struct fl_tls_context **ret_context, struct fl_err *err) FL_MUST_CHECK;
/* Of the context's ALPN tokens the one at `at`; empty beyond the last. */
struct fl_span fl_tls_context_alpn(const struct fl_tls_context *context, size_t at);
struct fl_tls_context *fl_tls_context_ref(struct fl_tls_context *context);
struct fl_tls_context *fl_tls_context_unref(struct fl_tls_context *context);
void fl_cleanup_tls_context(struct fl_tls_context **context);

#endif
