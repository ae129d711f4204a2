/* A connection that a listener accepted, from accept(2) until a terminal filter has it, and its place among all of
 * them.
 *
 *   accept ─► original destination ─► first bytes (where the listener has an inspector) ─► filter chain ─► TLS ─►
 * filter
 *
 * Refused, with a reset and a count: a connection that was not redirected although the listener wants original
 * destinations; one whose original destination is one of our own ports or listeners (a loop); one that no chain wants;
 * one beyond the limit. The start gate's dial is reported and closed.
 * Who decides over TLS or plaintext: where the listener has no inspector, the chain alone (STRICT never watches);
 * where it has one, the client's first bytes until the deadline, and at the deadline the chain for what is known.
 */
#ifndef PROXY_FILTER_DOWNSTREAM_H
#define PROXY_FILTER_DOWNSTREAM_H

#include "proxy/filter/data.h"

/* A terminal filter's part: it owns the connection's callbacks, and calls proxy_downstream_end when it is done. */
struct proxy_downstream_ops {
    void (*drain)(void *filter); /* end soon: with the next answer, or once idle */
    void (*abort)(void *filter); /* end now; calls proxy_downstream_end */
    /* The connection goes on under another configuration of the same kind: downstream->chain is the new one; the old
     * one is still there until this returns. Policies are evaluated anew here, at once: what is now denied is ended. */
    void (*rebind)(void *filter, const struct proxy_filter_chain *chain);
};

struct proxy_downstream {
    struct proxy_data *data;
    struct proxy_generation *generation; /* a reference */
    const struct proxy_listener *listener;
    const struct proxy_filter_chain *chain; /* NULL until it is picked */
    struct proxy_conn *conn;                /* NULL when it is gone */
    struct proxy_address destination;       /* the original one, or the socket's own */
    char *server_name; /* owned: SNI of TLS that passes through us, where a policy asks for it; NULL: none */
    uint64_t id, start_us, start_ns;
    const char *details;                    /* why it ends, for the log; NULL: nothing went wrong */
    const struct proxy_downstream_ops *ops; /* NULL until a filter has it */
    void *filter;
    struct fl_timer deadline; /* of the inspection */
    struct proxy_downstream *next, *previous;
    struct fl_deferred deferred;
};

/* Takes the accepted socket, whatever comes. `listener` belongs to data->generation. */
void proxy_downstream_accept(struct proxy_data *data, const struct proxy_listener *listener, int fd,
                             const struct proxy_address *peer);
/* The filter has let go of downstream->conn (closed or gone). The struct goes at the end of the turn. */
void proxy_downstream_end(struct proxy_downstream *downstream);

void proxy_downstream_drain_all(struct proxy_data *data);
void proxy_downstream_drain_retired(struct proxy_data *data); /* those whose generation is no longer in force */
void proxy_downstream_abort_all(struct proxy_data *data);

#endif
