/* One TLS connection, sans-I/O: bytes in, bytes out. Used by grpc and by the proxy's connection layer.
 *
 * The caller owns socket and buffers. It gives received bytes to fl_tls_feed, which decrypts straight from the
 * caller's memory and hands plaintext and bytes-to-send to the two sinks; fl_tls_write encrypts. Nothing is kept but a
 * partial record (≤ 16 KiB + overhead, inside OpenSSL, released when idle).
 */
#ifndef FL_TLS_SESSION_H
#define FL_TLS_SESSION_H

#include "common/tls/context.h"

struct fl_tls; /* opaque */

/* Where bytes go. A sink takes all it is given (the caller bounds the amount by pausing its reads); a negative errno
 * from it ends the call and comes back from it. */
struct fl_tls_sinks {
    int (*send)(void *owner, struct fl_span ciphertext);   /* to be written to the socket, in order */
    int (*receive)(void *owner, struct fl_span plaintext); /* the application's bytes */
    void *owner;
};

enum fl_tls_state {
    FL_TLS_HANDSHAKE,
    FL_TLS_OPEN,
    FL_TLS_PEER_CLOSED /* close_notify came; writing is still open */,
    FL_TLS_FAILED
};

int fl_tls_new(struct fl_tls_context *context, const struct fl_tls_sinks *sinks, struct fl_tls **ret_tls) FL_MUST_CHECK;
struct fl_tls *fl_tls_free(struct fl_tls *tls);

/* Client: sends the ClientHello. Server: does nothing. 0 or a negative errno. */
int fl_tls_start(struct fl_tls *tls) FL_MUST_CHECK;

/* All of `ciphertext` is consumed; one handshake step at most 1 ms of CPU. 0, or -EPROTO (TLS failed; fl_tls_error
 * tells; an alert has been sent to the sink), -EACCES (the peer's certificate or name was refused), -ENOMEM, or what a
 * sink returned. */
int fl_tls_feed(struct fl_tls *tls, struct fl_span ciphertext) FL_MUST_CHECK;

/* Encrypts all of `plaintext` as records to the send sink. -ENOTCONN before the state is FL_TLS_OPEN. */
int fl_tls_write(struct fl_tls *tls, struct fl_span plaintext) FL_MUST_CHECK;
int fl_tls_shutdown(struct fl_tls *tls) FL_MUST_CHECK; /* sends close_notify; reading goes on (half-close) */

enum fl_tls_state fl_tls_state(const struct fl_tls *tls);
/* Once open: the ALPN chosen (empty: none), the peer's SPIFFE ID (empty: none or not one; it lives as long as the
 * session), our own SPIFFE ID, the SNI. */
struct fl_span fl_tls_alpn(const struct fl_tls *tls);
struct fl_span fl_tls_peer_identity(const struct fl_tls *tls);
struct fl_span fl_tls_own_identity(const struct fl_tls *tls);
struct fl_span fl_tls_server_name(const struct fl_tls *tls);
const char *fl_tls_error(const struct fl_tls *tls); /* one line; "" where nothing failed */

#endif
