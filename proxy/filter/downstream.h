/* A connection that a listener accepted, from accept(2) until a terminal filter has it, and its place among all of
 * them.
 *
 *   accept ─► original destination ─► listener of it ─► first bytes (where it has an inspector) ─► filter chain
 *                     │ not known                                                                ─► TLS ─► filter
 *                     ▼
 *                  parked: the directory is asked; a later snapshot has it, or an answer comes, or its time is over
 *
 * Refused, with a reset and a count: a connection that was not redirected although the listener wants original
 * destinations; one whose original destination is one of our own ports or listeners (a loop); one that no chain wants;
 * one beyond the limit. The start gate's dial is reported and closed.
 * Who decides over TLS or plaintext: where the listener has no inspector, the chain alone; where it has one, the
 * client's first bytes until the deadline, and at the deadline the chain for what is known (inspect.c).
 *
 * Where a listener changes, each of its connections is picked a chain anew, by what it showed at its beginning. One of
 * the same kind (same TLS setting or none, same terminal filter): the connection goes on under it, its policies are
 * evaluated at once (rebind). Else the new configuration would not have accepted it so: HTTP ends with the answer that
 * is under way, and in any case after PROXY_DOWNSTREAM_EXPEL_MS. Where the listener is gone, HTTP connections are
 * drained, and opaque ones end by themselves.
 */
#ifndef PROXY_FILTER_DOWNSTREAM_H
#define PROXY_FILTER_DOWNSTREAM_H

#include "proxy/filter/data.h"

#define PROXY_DOWNSTREAM_EXPEL_MS   500u     /* what decides it comes from afar: all of it within a second */
#define PROXY_DOWNSTREAM_SILENCE_MS 10u      /* of a client, until its server is dialled to be heard */
#define PROXY_DOWNSTREAM_QUIET_MS   3600000u /* of both, beyond the deadline, until they are given to the filter */

/* A terminal filter's part: it owns the connection's callbacks, and calls proxy_downstream_end when it is done. */
struct proxy_downstream_ops {
    void (*drain)(void *filter); /* end soon: with the next answer, or once idle */
    void (*abort)(void *filter); /* end now; calls proxy_downstream_end */
    /* The connection goes on under another configuration of the same kind: downstream->chain is the new one; the old
     * one is still there until this returns. Policies are evaluated anew here, at once: what is now denied is ended. */
    void (*rebind)(void *filter, const struct proxy_filter_chain *chain);
};

struct proxy_early;

struct proxy_downstream {
    struct proxy_data *data;
    const struct proxy_listener *listener;
    struct proxy_unit *unit;                /* the listener's, counted: with all that it points to */
    const struct proxy_filter_chain *chain; /* NULL until it is picked */
    struct proxy_conn *conn;                /* NULL when it is gone */
    struct proxy_address destination; /* the original one, what a PROXY protocol's header told, or the socket's own */
    struct proxy_address *direct;     /* the socket's peer where a header told another; owned. NULL: the connection's */
    const char *server_name; /* of its ClientHello, where that was looked at; NULL: none. Points into `hello` */
    uint64_t id, start_us, start_ns;
    const char *details;                    /* why it ends, for the log; NULL: nothing went wrong */
    const struct proxy_downstream_ops *ops; /* NULL until a filter has it */
    void *filter;
    struct proxy_early *early; /* early.h; NULL: none */
    struct fl_timer deadline;  /* of the inspection, of waiting for the directory, of its removal */
    uint8_t seen;              /* enum proxy_detect_result: what its first bytes were */
    bool is_parked;
    bool awaits_header; /* of the PROXY protocol */
    bool tunnelled;     /* proxy_downstream_enter */
    bool denied;        /* its chain's policies did not let it in */
    bool overdue;       /* the inspection's deadline has passed, and nobody has said anything yet */
    char *hello;        /* owned: the names of its ClientHello (downstream.c); NULL: none */
    struct proxy_downstream *next, *previous;
    struct proxy_downstream *listener_next, *listener_previous; /* or of the parked ones */
    struct fl_deferred deferred;
};

/* Takes the accepted socket, whatever comes. `listener` belongs to data->snapshot. */
void proxy_downstream_accept(struct proxy_data *data, const struct proxy_listener *listener, int fd,
                             const struct proxy_address *peer);
/* Takes a connection that came through a tunnel (hbone.h), open and owned whatever comes, on its way to `destination`.
 * It is as one that `listener` accepted, its chain as one of mTLS, but that TLS is behind it: the bytes are what they
 * are. */
enum proxy_downstream_entry {
    PROXY_DOWNSTREAM_ENTERED,
    PROXY_DOWNSTREAM_DENIED,  /* by the chain's policies */
    PROXY_DOWNSTREAM_REFUSED, /* for another reason, which was reported; out of memory */
};
enum proxy_downstream_entry proxy_downstream_enter(struct proxy_data *data, const struct proxy_listener *listener,
                                                   struct proxy_conn *conn,
                                                   const struct proxy_address *destination) FL_MUST_CHECK;
/* The filter has let go of downstream->conn (closed or gone). The struct goes at the end of the turn. */
void proxy_downstream_end(struct proxy_downstream *downstream);

void proxy_downstream_drain_all(struct proxy_data *data);
/* A snapshot is in force: those who waited for it go on. */
void proxy_downstream_resolve(struct proxy_data *data);
/* Looks at some of the connections whose listeners have changed; comes back for the rest by itself. */
void proxy_downstream_rebind(struct proxy_data *data);
void proxy_downstream_abort_all(struct proxy_data *data);

#endif
