/* Shared HTTP/2 connections to a host of a cluster, for proxy/upstream alone: requests get streams of them.
 *
 *     request ─► the host's lane ─► one of its connections, or the queue until one has room
 *     connection:  dialling ─► open ─► draining (GOAWAY, another certificate in force, its host or cluster gone) ─►
 * closed stream:      waiting ─► on a connection ─► ended
 *
 * One connection serves a host (address and identity) of a worker's cluster as long as it has room (PROXY_MUX_STREAMS,
 * or what the peer allows) and is not stalled (backlogged for longer than PROXY_MUX_STALL_MS); another one is dialled
 * when none is left that has room, at most PROXY_MUX_CONNECTIONS. Who asks while one is being dialled waits for it.
 * What a waiting stream is sent waits in it: its head (keep.h) and a body up to the high watermark and what its source
 * still brings.
 *
 * A connection whose TLS context is not the one in force takes no new streams, and closes with its last one. One that
 * has none is closed after PROXY_MUX_EXTRA_MS where the lane has others, else after PROXY_MUX_IDLE_MS or the cluster's
 * idle time, whichever is shorter.
 *
 * Where the handshake agrees on HTTP/1 (mux_open.c), the first who waits gets that connection as its own and every
 * other one dials; the lane remembers it until the context changes. Where a dial fails those who wait hear of it
 * (PROXY_RESET_CONNECT) unless another connection is there or on its way.
 *
 * With ALPN fairlead-http/1 messages are packed and unpacked (http/restore.h) between the user and the stream.
 *
 * A stream counts as a request, a connection as a connection (from its dial to its end).
 */
#ifndef PROXY_UPSTREAM_MUX_H
#define PROXY_UPSTREAM_MUX_H

#include "proxy/http/h2.h"
#include "proxy/http/keep.h"
#include "proxy/upstream/cluster_inner.h"

#define PROXY_MUX_STREAMS     100u
#define PROXY_MUX_CONNECTIONS 16u   /* of a host, a worker; beyond it streams wait for room */
#define PROXY_MUX_WAITING     4096u /* streams of a host that wait, beyond it PROXY_UPSTREAM_OVERFLOW */
#define PROXY_MUX_STALL_MS    5u
#define PROXY_MUX_IDLE_MS     90000u
#define PROXY_MUX_EXTRA_MS    5000u

struct proxy_mux;

enum proxy_lane_speech { PROXY_LANE_UNKNOWN, PROXY_LANE_HTTP1, PROXY_LANE_HTTP2 };

struct proxy_lane { /* of a host; goes with it */
    struct proxy_cluster_run *cluster;
    struct proxy_host *host;
    struct proxy_mux *muxes; /* the oldest first */
    struct proxy_front *waiting, **waiting_end;
    struct proxy_front *late;             /* that are to hear of a reset */
    size_t waiting_count, waiting_pinned; /* all, and those of them with a pin */
    size_t mux_count;                     /* without a pin */
    size_t dialling;
    const struct fl_tls_context *context; /* that `speech` was learned with */
    enum proxy_lane_speech speech;
    struct fl_hook hook;   /* at the turn's end: who waits is served, what drained is closed */
    struct fl_timer timer; /* for a dial that this turn has no time for */
};

struct proxy_mux { /* a connection, from its dial on */
    struct proxy_lane *lane;
    struct proxy_upstream *carrier; /* the connection with what it counts for */
    struct proxy_h2 *h2;            /* NULL until it is open */
    struct proxy_mux *next;
    uint64_t pin;
    uint64_t idle_since_ms, stalled_since_ms; /* 0: it is not */
    uint64_t timer_ms;                        /* when the timer is due; 0: not set */
    int end;                                  /* enum proxy_end of the connection; -1 */
    uint32_t streams, requests;
    bool restored; /* fairlead-http/1 */
    bool draining;
    bool gone; /* the connection has ended or is closed */
    bool over; /* the session has said so: close it */
    struct fl_timer timer;
    struct fl_deferred deferred;
};

struct proxy_front {                /* a request's stream, whatever carries it */
    struct proxy_upstream upstream; /* first: what its user holds */
    struct proxy_stream stream;     /* … and sends to */
    struct proxy_stream *inner;     /* NULL: it waits, or has ended */
    struct proxy_mux *mux;          /* of inner, or NULL: */
    struct proxy_upstream *carrier; /* its own connection, HTTP/1 */
    struct proxy_lane *lane;
    struct proxy_front *next; /* of those that wait */
    struct proxy_front **link;
    struct proxy_front *next_late;
    struct proxy_kept_message *head, *trailers; /* sent while it waits */
    struct fl_buf data;
    uint64_t pin;
    int end;         /* enum proxy_end, -1 */
    size_t left;     /* unsent when it was reset */
    bool listed;     /* waits in the lane */
    bool head_ends;  /* the head was the request's end */
    bool end_sent;   /* while it waited */
    bool paused;     /* while it waited */
    bool backlogged; /* while it waits */
    bool closed;     /* its user hears nothing more */
    uint8_t sending; /* inside of a call of its user: a reset is told later */
    int late;        /* enum proxy_reset to be told at the turn's end, -1 */
    const char *error;
};

/* -- lane.c -- */

/* A stream for a request to `host`: as proxy_upstream_request. */
int proxy_lane_request(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                       const struct proxy_upstream_want *want, const struct proxy_stream_events *events, void *user,
                       struct proxy_upstream **ret_upstream) FL_MUST_CHECK;
/* The lane stays meanwhile. */
void proxy_lane_hold(struct proxy_lane *lane);
void proxy_lane_let(struct proxy_lane *lane);
/* Something has changed: room, an open connection, an end. */
void proxy_lane_wake(struct proxy_lane *lane);
void proxy_lane_free(struct proxy_lane *lane); /* NULL allowed; nothing is on it any more */
struct proxy_lane_failure {
    enum proxy_reset why;
    int end; /* enum proxy_end, -1 */
    const char *error;
    struct proxy_conn *conn; /* to be looked at by who hears of it; NULL: none */
};
/* A dial came to nothing. */
void proxy_lane_dial_failed(struct proxy_lane *lane, uint64_t pin, const struct proxy_lane_failure *failure);
/* At the turn's end the front hears of its reset. */
void proxy_lane_tell_late(struct proxy_front *front, enum proxy_reset why, const char *error);
void proxy_lane_forget_late(struct proxy_front *front);
/* Takes the first who waits (and may use a connection with that pin) off the queue; NULL: nobody. */
struct proxy_front *proxy_lane_next(struct proxy_lane *lane, uint64_t pin);

/* -- mux.c -- */

/* Dials one more: an outcome of proxy_upstream_get or -errno. */
int proxy_mux_dial(struct proxy_lane *lane, struct fl_tls_context *context, uint64_t pin) FL_MUST_CHECK;
bool proxy_mux_has_room(const struct proxy_mux *mux);
bool proxy_mux_is_stalled(const struct proxy_mux *mux);
/* A stream more, or less, on it. */
int proxy_mux_open_stream(struct proxy_mux *mux, struct proxy_front *front) FL_MUST_CHECK; /* 0, -ENOMEM, -EAGAIN */
void proxy_mux_stream_gone(struct proxy_mux *mux);
void proxy_mux_close(struct proxy_mux *mux); /* without streams, outside of its session's calls */

/* -- front.c -- */

struct proxy_front *proxy_front_new(struct proxy_lane *lane, const struct proxy_upstream_want *want,
                                    const struct proxy_stream_events *events, void *user); /* NULL: memory is out */
/* On its connection: tells on_open, and sends what waited. Not within a call of the session. */
void proxy_front_on_mux(struct proxy_front *front);
void proxy_front_on_carrier(struct proxy_front *front, struct proxy_upstream *carrier);
/* on_reset, and nothing after it. */
void proxy_front_reset(struct proxy_front *front, enum proxy_reset why, int end, const char *error);
void proxy_front_finish(struct proxy_front *front, enum proxy_reset why);
void proxy_front_unlist(struct proxy_front *front);         /* from those that wait */
extern const struct proxy_stream_events proxy_front_events; /* of the inner stream; user: the front */

static inline struct proxy_front *proxy_front_of(struct proxy_upstream *upstream)
{
    return (struct proxy_front *)(void *)upstream;
}

#endif
