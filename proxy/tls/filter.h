/* TLS between a connection and its owner: the transport of proxy/net/conn.h over common/tls/session.h.
 *
 * Where the handshake chose ALPN fairlead-tcp/1 or fairlead-http/1, each side also sends one preface
 * (common/mesh/preface.h) before the application's bytes. A server opens the connection to its owner when the client's
 * preface is in (a client sends it with its first flight, so this costs no time), a client at once, and the server's
 * preface comes before the first byte that it delivers. The preface counts into the handshake's deadline.
 */
#ifndef PROXY_TLS_FILTER_H
#define PROXY_TLS_FILTER_H

#include "common/mesh/preface.h"
#include "common/tls/session.h"
#include "proxy/net/conn.h"

struct proxy_tls;

struct proxy_tls_options {
    struct fl_tls_context *context; /* counted by the session */
    bool server;
    const struct fl_span *preface; /* what we send, read when it is sent; lives as long as the connection */
    struct fl_span identity; /* the one SPIFFE ID that the peer may show; empty: whom the context accepts. Copied */
    uint64_t timeout_ms;     /* of the handshake */
    enum fl_alpn_use use;    /* client: which of the context's ALPN tokens are offered */
};

/* Puts TLS on `conn` (proxy_conn_set_transport). 0, -ENOMEM, -EINVAL (an identity, and a context that verifies nobody):
 * nothing was put. */
int proxy_tls_start(struct proxy_conn *conn, const struct proxy_tls_options *options) FL_MUST_CHECK;

/* For a connection that `tls` carries (proxy_conn_carry): who the peer is, and we, as `tls` has it, and nothing of what
 * was agreed on for the carrying connection. Lives on when that one is gone. NULL: memory is out. */
struct proxy_tls *proxy_tls_share(struct proxy_tls *tls);
void proxy_tls_unshare(struct proxy_tls *shared); /* NULL allowed */

/* Of a connection; NULL where it is plain. */
struct proxy_tls *proxy_tls_of(const struct proxy_conn *conn);

/* All spans live as long as the connection; empty where not known (yet). */
struct fl_span proxy_tls_peer_identity(const struct proxy_tls *tls);
struct fl_span proxy_tls_own_identity(const struct proxy_tls *tls);
struct fl_span proxy_tls_alpn(const struct proxy_tls *tls);
struct fl_span proxy_tls_server_name(const struct proxy_tls *tls);
const struct fl_preface *proxy_tls_peer_preface(const struct proxy_tls *tls); /* never NULL; empty fields */
bool proxy_tls_is_open(const struct proxy_tls *tls);                          /* the handshake was done once */
/* Why it ended. The session knows nothing of prefaces: where one was bad, that is the reason. */
enum fl_tls_reason proxy_tls_reason(const struct proxy_tls *tls);
bool proxy_tls_bad_preface(const struct proxy_tls *tls);

#endif
