/* One TLS connection, sans-I/O: bytes in, bytes out. Used by grpc and by the proxy's connection layer.
 *
 * The caller owns socket and buffers. It gives received bytes to fl_tls_feed, which decrypts straight from the
 * caller's memory and hands plaintext and bytes-to-send to the sinks; fl_tls_write encrypts. Nothing is kept but a
 * partial record (≤ 16 KiB + overhead, inside OpenSSL, released when idle). A session belongs to one thread.
 *
 * Truncation (RFC 8446 §6.1) is the caller's to see: a connection that ends while the state is not FL_TLS_PEER_CLOSED
 * was cut. A client of TLS 1.3 is open before the server has judged its certificate: a refusal then comes as an alert.
 * A flood of key updates or session tickets without application bytes between fails the session.
 */
#ifndef FL_TLS_SESSION_H
#define FL_TLS_SESSION_H

#include "common/tls/context.h"

struct fl_tls; /* opaque */

/* Where bytes go. A sink takes all it is given (the caller bounds the amount by pausing its reads); a negative errno
 * from it ends the call, comes back from it, and the session has failed: bytes were lost.
 *
 * What a sink may do: `opened` and `receive` may call fl_tls_write and fl_tls_shutdown of this session, which call
 * `send` in turn, and anything of other sessions, feed them too. `send` runs inside OpenSSL: it may look (state, alpn,
 * identities), and calls nothing else of any session. No sink may feed or free this session (asserted): an owner that
 * wants it gone returns -ECANCELED and frees it when the call that it came from has returned, or later
 * (fl_loop_defer). */
struct fl_tls_sinks {
    int (*send)(void *owner, struct fl_span ciphertext);   /* to be written to the socket, in order */
    int (*receive)(void *owner, struct fl_span plaintext); /* the application's bytes, never empty, ≤ 16 KiB unless
                                                              fl_tls_feed_into was given more room */
    int (*opened)(void *owner); /* NULL allowed; once, when the peer is accepted, before any application byte */
    void *owner;
};

enum fl_tls_state {
    FL_TLS_HANDSHAKE,
    FL_TLS_OPEN,
    FL_TLS_PEER_CLOSED, /* close_notify came; writing is still open (RFC 8446 §6.1) */
    FL_TLS_FAILED,
};

/* Why a session failed, for counters. X(id, word). */
#define FL_TLS_REASONS(X)                                                                                              \
    X(NONE, "none")                                                                                                    \
    X(PLAINTEXT, "plaintext") /* the peer's first byte begins no TLS record */                                         \
    X(NO_CERTIFICATE, "no_certificate")                                                                                \
    X(UNTRUSTED, "untrusted") /* the chain is not good, for another reason than time */                                \
    X(EXPIRED, "expired")     /* or not valid yet */                                                                   \
    X(IDENTITY, "identity")   /* trusted, and no X.509-SVID or none of the names wanted */                             \
    X(ALPN, "alpn")                                                                                                    \
    X(ALERT, "alert")   /* the peer gave up: an alert came */                                                          \
    X(CLOSED, "closed") /* close_notify during the handshake */                                                        \
    X(PROTOCOL, "protocol")                                                                                            \
    X(LOCAL, "local") /* memory, or what a sink returned */

enum fl_tls_reason {
#define X(id, word) FL_TLS_REASON_##id,
    FL_TLS_REASONS(X)
#undef X
};

/* Counts the context, copies the sinks. -ENOMEM. */
int fl_tls_new(struct fl_tls_context *context, const struct fl_tls_sinks *sinks, struct fl_tls **ret_tls) FL_MUST_CHECK;
struct fl_tls *fl_tls_free(struct fl_tls *tls);

/* Of this session's peer nothing is accepted but an X.509-SVID with exactly this ID, beside all that the context asks
 * for. Before the start. 0, -ENOMEM, -EINVAL (empty, or the context verifies nobody). */
int fl_tls_expect(struct fl_tls *tls, struct fl_span identity) FL_MUST_CHECK;

/* Client: of the context's ALPN tokens only those that `likes` likes are offered; all where it likes none. A server
 * that chooses none is then not refused where "http/1.1" was among them, which is what such a server speaks, and no
 * single identity is expected; nor where "istio" was the only one (Istio's sidecars agree to no token for bytes).
 * Before the start. 0 or -ENOMEM. */
int fl_tls_offer(struct fl_tls *tls, bool (*likes)(struct fl_span token, unsigned use), unsigned use) FL_MUST_CHECK;

/* Client: sends the ClientHello. Server: does nothing. 0 or a negative errno. Once, before the first feed. */
int fl_tls_start(struct fl_tls *tls) FL_MUST_CHECK;

/* All of `ciphertext` is consumed, also across the end of the handshake; what follows a close_notify is ignored. One
 * handshake step is at most some 1 ms of CPU. 0, or -EPROTO (TLS failed, or the peer sent an alert), -EACCES (the
 * peer's certificate or name was refused), -ENOMEM, or what a sink returned. After a failure fl_tls_error tells the
 * reason, an alert has gone to `send` where TLS has one for it, and every further call gives the same errno. */
int fl_tls_feed(struct fl_tls *tls, struct fl_span ciphertext) FL_MUST_CHECK;
/* The same, decrypting into the caller's memory, so that many records are handed on together. size: ≥ 16 KiB. Nobody
 * else uses the memory until it returns, sinks included. */
int fl_tls_feed_into(struct fl_tls *tls, struct fl_span ciphertext, char *plain, size_t size) FL_MUST_CHECK;

/* Encrypts all of `plaintext` to `send`, a call for each record of up to 16 KiB: collect small pieces before. 0,
 * -ENOTCONN before the state is FL_TLS_OPEN, -EPIPE after fl_tls_shutdown (neither harms the session), or as
 * fl_tls_feed. */
int fl_tls_write(struct fl_tls *tls, struct fl_span plaintext) FL_MUST_CHECK;
/* Sends close_notify; reading goes on (half-close). Again: 0 and nothing is sent. -ENOTCONN before FL_TLS_OPEN. */
int fl_tls_shutdown(struct fl_tls *tls) FL_MUST_CHECK;

enum fl_tls_state fl_tls_state(const struct fl_tls *tls);
/* Once open (before: empty; they live as long as the session): the ALPN chosen (empty: none), the peer's SPIFFE ID
 * (empty: no certificate, or not an X.509-SVID; known also where it was verified, and refused for its name), our own
 * SPIFFE ID, the SNI. */
struct fl_span fl_tls_alpn(const struct fl_tls *tls);
struct fl_span fl_tls_peer_identity(const struct fl_tls *tls);
struct fl_span fl_tls_own_identity(const struct fl_tls *tls);
/* From when to when the peer's certificate is good, in seconds since the epoch. False where it showed none. */
bool fl_tls_peer_validity(const struct fl_tls *tls, int64_t *ret_not_before, int64_t *ret_not_after);
struct fl_span fl_tls_server_name(const struct fl_tls *tls);
const char *fl_tls_version_name(const struct fl_tls *tls); /* "TLSv1.3"; "" before */
const char *fl_tls_cipher_name(const struct fl_tls *tls);  /* "TLS_AES_128_GCM_SHA256"; "" before */
const char *fl_tls_error(const struct fl_tls *tls);        /* one line; "" where nothing failed */
/* NONE where nothing failed; but PLAINTEXT from the first byte on that says so. */
enum fl_tls_reason fl_tls_reason(const struct fl_tls *tls);
const char *fl_tls_reason_word(enum fl_tls_reason reason);

#endif
