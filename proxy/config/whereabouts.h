/* Where the control plane (or a certificate authority) is: up to PROXY_WHEREABOUTS_MAX places, IP addresses or DNS
 * names (mesh/place.h). Names are looked up before each connection, by a resolver that lives as long as the question:
 * nothing is kept in memory for them in between. A name that nobody answers is where it was the last time.
 *
 *   proxy_whereabouts_connect ──► (names) ──► fl_grpc_client_set_addresses, fl_grpc_client_connect
 *                                    └── no address at all ──► on_failed
 */
#ifndef PROXY_CONFIG_WHEREABOUTS_H
#define PROXY_CONFIG_WHEREABOUTS_H

#include "common/grpc/client.h"

#define PROXY_WHEREABOUTS_MAX FL_GRPC_ADDRESSES_MAX /* places; and addresses that are taken of them, in their order */

struct proxy_whereabouts;

struct proxy_whereabouts_options {
    struct fl_loop *loop;
    struct fl_span places;   /* "10.0.0.1:15012, control.mesh.svc:15012": with commas between; copied */
    const char *resolv_conf; /* copied; NULL: /etc/resolv.conf */
    /* No place has an address, with the reason; from the loop, never from within connect. */
    void (*on_failed)(void *owner, const struct fl_err *reason);
    void *owner;
};

/* 0; -EINVAL with the place that is none; -ENOMEM. */
int proxy_whereabouts_new(const struct proxy_whereabouts_options *options, struct proxy_whereabouts **ret_whereabouts,
                          struct fl_err *err) FL_MUST_CHECK;
struct proxy_whereabouts *proxy_whereabouts_free(struct proxy_whereabouts *whereabouts); /* NULL is fine */

/* The client, which is idle, connects there: at once where no name has to be looked up, else later. 0, or as
 * fl_grpc_client_connect; -EALREADY while an earlier call looks names up. */
int proxy_whereabouts_connect(struct proxy_whereabouts *whereabouts, struct fl_grpc_client *client) FL_MUST_CHECK;
/* What is looked up is not waited for any more. Idempotent; NULL is fine. */
void proxy_whereabouts_cancel(struct proxy_whereabouts *whereabouts);

/* As it was given, for people; borrowed. */
struct fl_span proxy_whereabouts_text(const struct proxy_whereabouts *whereabouts);

#endif
