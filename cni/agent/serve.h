/* A small HTTP/1.1 server for GET alone: /metrics, /healthz, /readyz.
 *
 * It stands on the node's network, where everybody reaches it, in the loop that repairs pods. So it is bounded in
 * everything: one request a connection, which then ends; CNI_SERVE_CONNECTIONS_MAX at a time (the oldest one makes room
 * for a new one, so that who holds connections open shuts nobody out); a head of CNI_REQUEST_HEAD_MAX;
 * CNI_SERVE_SECONDS from the first byte of TCP to the last; a few connections accepted a turn. A body is not read. What
 * does not speak HTTP/1 gets 400 and the end.
 *
 * libmicrohttpd, which serves elsewhere in the house, would bring GnuTLS into this process: more memory than everything
 * else here together. */
#ifndef CNI_AGENT_SERVE_H
#define CNI_AGENT_SERVE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/loop/loop.h"

#define CNI_SERVE_CONNECTIONS_MAX 16
#define CNI_SERVE_SECONDS         5
#define CNI_SERVE_BODY_MAX        (64u << 10) /* of an answer */

struct cni_serve;

/* How a connection ended. X(id, word). */
#define CNI_SERVE_ENDS(X)                                                                                              \
    X(ANSWERED, "answered")                                                                                            \
    X(BAD, "bad")             /* no HTTP/1, or a head past its limit */                                                \
    X(LATE, "late")           /* its time was over before an answer was out */                                         \
    X(DISPLACED, "displaced") /* a newer one took its place before an answer was out */                                \
    X(GONE, "gone")           /* the client left, or memory was out */

enum cni_serve_end {
#define X(id, word) CNI_SERVE_##id,
    CNI_SERVE_ENDS(X)
#undef X
        CNI_SERVE_END_COUNT
};

/* Called in the loop. Both append to `body`; what fails is answered with 500. `ready` also tells whether. */
struct cni_serve_ops {
    int (*metrics)(void *owner, struct fl_buf *body);
    int (*ready)(void *owner, struct fl_buf *body, bool *ret_ready);
    void (*ended)(void *owner, enum cni_serve_end end);
};

/* Listens on "ADDRESS:PORT" or "[ADDRESS]:PORT". `ops` is static. 0; a negative errno with the reason. */
int cni_serve_new(struct fl_loop *loop, const char *address, const struct cni_serve_ops *ops, void *owner,
                  struct cni_serve **ret_serve, struct fl_err *err) FL_MUST_CHECK;
/* Closes everything; NULL is fine. Not from within an op. */
struct cni_serve *cni_serve_free(struct cni_serve *serve);

#endif
