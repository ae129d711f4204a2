/* One TCP connection that carries a session, with TLS or without: the shell between socket and fl_grpc_session, for
 * both sides. Private to this folder.
 *
 * A link is told to the owner once when it is ready (the peer's SETTINGS came) and once when it is over. Closing it,
 * also from inside any callback, ends everything at once; the memory goes at the end of the loop's turn.
 */
#ifndef FL_GRPC_LINK_H
#define FL_GRPC_LINK_H

#include "common/grpc/address.h"
#include "common/grpc/server.h"
#include "common/grpc/session.h"
#include "common/loop/timer.h"

struct fl_grpc_link;

struct fl_grpc_link_options {
    struct fl_grpc_session_options session;
    struct fl_tls_context *tls;    /* counted; NULL: plaintext */
    bool connecting;               /* connect(2) has not finished */
    uint32_t handshake_timeout_ms; /* up to ready; 0 in each of these: no limit */
    uint32_t idle_timeout_ms;
    uint32_t keepalive_ms;
    uint32_t keepalive_timeout_ms;
    uint32_t slow_timeout_ms;
};

struct fl_grpc_link_ops {
    void (*on_ready)(void *owner);
    /* Over, and not by fl_grpc_link_close. Every exchange has had its on_end with UNAVAILABLE before. The link is
     * closed already. */
    void (*on_over)(void *owner, enum fl_grpc_refusal why, const struct fl_err *reason);
    void (*on_request)(void *owner, struct fl_grpc_exchange *exchange); /* server */
    struct fl_grpc_exchange_ops exchange;
};

/* Takes the fd where it succeeds. 0, -ENOMEM, or -errno of epoll. */
int fl_grpc_link_new(struct fl_loop *loop, int fd, const struct fl_grpc_link_options *options,
                     const struct fl_grpc_link_ops *ops, void *owner, struct fl_grpc_link **ret_link) FL_MUST_CHECK;
/* Ends all: exchanges with on_end (`tell`) or in silence; no callback comes after it. NULL is allowed; returns NULL. */
struct fl_grpc_link *fl_grpc_link_close(struct fl_grpc_link *link, bool tell);
struct fl_grpc_session *fl_grpc_link_session(const struct fl_grpc_link *link);
bool fl_grpc_link_is_ready(const struct fl_grpc_link *link);
bool fl_grpc_link_is_secure(const struct fl_grpc_link *link);
struct fl_span fl_grpc_link_identity(const struct fl_grpc_link *link); /* of the peer; empty: none */
/* Of its certificate (fl_tls_peer_validity). */
bool fl_grpc_link_validity(const struct fl_grpc_link *link, int64_t *ret_not_before, int64_t *ret_not_after);

#endif
