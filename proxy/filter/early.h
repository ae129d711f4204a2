/* A server that is dialled while its client is still silent, so that one which speaks first can be heard.
 *
 *   silence ─► dial, for the chain that a client gets who says nothing (tcp_proxy, plain) ─► open ─► first bytes: held
 *
 * The connection belongs to the downstream connection until a tcp_proxy takes it (to the same cluster), or it is
 * dropped: the client's bytes lead elsewhere, or the client is gone. What the server says stays in the connection: at
 * most one read of it, then the socket is left alone. Nothing is dialled where the chain's policies would deny the
 * client. A server's bytes that may be the beginning of HTTP/2 (its SETTINGS come unasked) are held, and say nothing.
 */
#ifndef PROXY_FILTER_EARLY_H
#define PROXY_FILTER_EARLY_H

#include "proxy/filter/downstream.h"

/* Dials for this chain, if it is one to dial for; else, or if that fails, nothing. */
void proxy_early_start(struct proxy_downstream *downstream, const struct proxy_filter_chain *chain);
/* It is there (dialled, or open), and the server has said nothing that counts. */
bool proxy_early_is_quiet(const struct proxy_downstream *downstream);
/* Closes it. Fine where there is none. */
void proxy_early_drop(struct proxy_downstream *downstream);

struct proxy_early_taken {
    struct proxy_cluster_run *cluster; /* counted for the taker */
    struct proxy_upstream *upstream;
    bool open; /* on_open has been */
};

/* For a filter of this configuration, if that is whom it was dialled for: then the connection has these callbacks, and
 * what was held is shown to them when the filter resumes it. */
bool proxy_early_take(struct proxy_downstream *downstream, const struct proxy_tcp_config *config,
                      const struct proxy_conn_ops *ops, void *owner, struct proxy_early_taken *ret_taken);

#endif
