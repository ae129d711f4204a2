/* One TCP connection: non-blocking, registered with epoll once (edge-triggered, both directions), with flow control in
 * both directions and an optional transport (TLS) between socket and owner. The owner gets bytes, an end and room to
 * write; sockets, partial writes and closing orders stay in here.
 *
 * Reading. Received bytes go to on_data straight from the worker's scratch memory. What on_data does not consume is
 * kept (≤ PROXY_CONN_INPUT_MAX, then reading stops) and shown again together with what follows, or when the owner
 * resumes. While paused nothing is read or delivered.
 * Writing. proxy_conn_write always takes everything; the bytes go out at the end of the turn in one send, TLS records
 * being cut there. Above its high watermark (PROXY_CONN_HIGH, or proxy_conn_set_high) the connection is backlogged: the
 * owner must pause the source of the bytes until on_writable (half of it), which bounds the queue at the watermark plus
 * what one turn reads. While the socket takes everything a turn may collect PROXY_CONN_COLLECT bytes. Bytes written
 * before the connection is open wait for it.
 * Half-close. on_eof tells that the peer has ended its direction (FIN, with TLS its close_notify); writing goes on.
 * proxy_conn_shutdown ends ours, after what was written. A FIN without close_notify is PROXY_END_TRUNCATED.
 * Ending. Either the owner calls proxy_conn_close, after which there is no callback; or the connection fails, and
 * on_closed is the last callback. In both cases the pointer is dead for the owner; the memory goes at the turn's end.
 * Running out of memory ends the connection (PROXY_END_MEMORY) at the end of the turn, so writes need no check.
 */
#ifndef PROXY_NET_CONN_H
#define PROXY_NET_CONN_H

#include "common/base/cleanup.h"
#include "proxy/net/address.h"
#include "proxy/net/turn.h"

#define PROXY_CONN_HIGH      65536u /* bytes of output at which a connection is backlogged, unless told otherwise */
#define PROXY_CONN_HIGH_MIN  16384u /* a TLS record */
#define PROXY_CONN_HIGH_MAX  1048576u
#define PROXY_CONN_COLLECT   262144u /* … while the socket takes everything: a turn's bytes that wait for its end */
#define PROXY_CONN_INPUT_MAX 131072u /* unconsumed bytes at which reading stops */
#define PROXY_CONN_LINGER_MS 2000u   /* how long a lingering close waits for the peer */
#define PROXY_CONN_RIVAL_MS  250u    /* RFC 8305 §5 */
#define PROXY_CONN_FLUSH_MS  30000u  /* how long a flushing close waits for the peer to read */

struct proxy_conn;

#define PROXY_ENDS(X)                                                                                                  \
    X(RESET, "connection reset by peer")                                                                               \
    X(REFUSED, "connection refused or unreachable")                                                                    \
    X(CONNECT_TIMEOUT, "connect timeout")                                                                              \
    X(HANDSHAKE_TIMEOUT, "handshake timeout")                                                                          \
    X(HANDSHAKE_QUEUE, "too many handshakes at once: none of its own in time")                                         \
    X(TLS, "TLS error")                                                                                                \
    X(TRUNCATED, "closed without close_notify")                                                                        \
    X(MEMORY, "out of memory")

enum proxy_end {
#define X(name, text) PROXY_END_##name,
    PROXY_ENDS(X)
#undef X
};
const char *proxy_end_text(enum proxy_end end);

enum proxy_close {
    PROXY_CLOSE_FLUSH,  /* when what was written has gone out (PROXY_CONN_FLUSH_MS) */
    PROXY_CLOSE_LINGER, /* … then FIN, and read and drop what the peer still sends (PROXY_CONN_LINGER_MS), so that our
                           last bytes are not lost to a reset */
    PROXY_CLOSE_NOW,    /* at once; output is dropped */
    PROXY_CLOSE_RESET,  /* at once, with a RST */
};

struct proxy_conn_ops {                                   /* all must be given */
    void (*on_open)(void *owner);                         /* connected, and the transport's handshake is done */
    size_t (*on_data)(void *owner, struct fl_span bytes); /* returns how many it consumed */
    void (*on_eof)(void *owner);                          /* what on_data left unconsumed is all there will be */
    void (*on_writable)(void *owner);
    void (*on_closed)(void *owner, enum proxy_end end);
};

/* A layer between socket and owner. It calls proxy_conn_send, proxy_conn_deliver, proxy_conn_opened and
 * proxy_conn_ended. Negative results end the connection with PROXY_END_TLS, -ENOMEM with PROXY_END_MEMORY;
 * -ECANCELED: the owner has closed meanwhile. */
struct proxy_transport_ops {
    bool speaks_first;                                   /* it has something to send before the peer says anything */
    int (*start)(void *transport);                       /* its first step (handshake.h): sends what it has to send */
    int (*feed)(void *transport, struct fl_span bytes);  /* from the socket; takes all */
    int (*write)(void *transport, struct fl_span bytes); /* from the owner; takes all */
    int (*shutdown)(void *transport);                    /* the owner writes no more */
    const char *(*error)(const void *transport);
    void (*free)(void *transport);
};

/* Takes an accepted socket (owned on success). Open from the start: on_open is not called. 0, -ENOMEM or epoll's. */
int proxy_conn_accept(struct proxy_turn *turn, int fd, const struct proxy_address *peer,
                      struct proxy_conn **ret_conn) FL_MUST_CHECK;

/* What carries a connection that has no socket of its own: a stream of another connection (http/tunnel.h). It says what
 * comes by the proxy_conn_carried functions; what it is told never calls them, but proxy_conn_carried_reset. */
struct proxy_carrier_ops {                             /* all must be given */
    void (*send)(void *carrier, struct fl_span bytes); /* takes all */
    bool (*is_backlogged)(const void *carrier);        /* asked after a send; proxy_conn_carried_writable follows */
    void (*end)(void *carrier);                        /* our direction */
    void (*hold)(void *carrier, bool on);              /* no more is wanted; and wanted again */
    void (*close)(void *carrier, bool reset);          /* nothing follows but free */
    void (*free)(void *carrier);
};

/* A connection over a carrier (owned on success). `timeout_ms` 0: it is open; else it is dialled, and must be open by
 * then. 0 or -ENOMEM. */
int proxy_conn_carry(struct proxy_turn *turn, const struct proxy_carrier_ops *ops, void *carrier,
                     const struct proxy_address *peer, uint64_t timeout_ms, struct proxy_conn **ret_conn) FL_MUST_CHECK;
/* `transport`: what proxy_conn_transport gives of it from now on, the carrier's; NULL allowed. */
void proxy_conn_carried_open(struct proxy_conn *conn, void *transport);
void proxy_conn_carried_data(struct proxy_conn *conn, struct fl_span bytes);
void proxy_conn_carried_end(struct proxy_conn *conn);
void proxy_conn_carried_writable(struct proxy_conn *conn);
/* It is over, for a negative errno: the owner hears of it at the end of the turn. */
void proxy_conn_carried_reset(struct proxy_conn *conn, int error);

struct proxy_keepalive { /* of TCP; seconds and a count; 0: the kernel's own */
    uint32_t idle_s, interval_s, probes;
    uint32_t user_timeout_ms; /* what is not acknowledged, or not taken, for so long ends it (TCP_USER_TIMEOUT) */
};

struct proxy_dial {
    const struct proxy_address *source; /* NULL or unset: the kernel's choice */
    bool freebind;                      /* the source need not be an address of this host (IP_FREEBIND) */
    struct proxy_keepalive keepalive;
    const struct proxy_address *other,
        *other_source; /* NULL, or: dialled too, after PROXY_CONN_RIVAL_MS or a failure */
    uint64_t timeout_ms;
};

/* Dials; on_open or on_closed tells. 0 or -errno (-EMFILE, -ENOMEM, -EADDRNOTAVAIL …): then there is no connection. */
int proxy_conn_connect(struct proxy_turn *turn, const struct proxy_address *peer, const struct proxy_dial *how,
                       struct proxy_conn **ret_conn) FL_MUST_CHECK;

/* What goes out before anything else, in plain, the transport's first bytes included: on a dialled connection, before
 * the turn ends in which it was dialled. Not counted as the owner's. 0 or -ENOMEM. */
int proxy_conn_introduce(struct proxy_conn *conn, struct fl_span bytes) FL_MUST_CHECK;
/* Who the peer is, as a proxy in front of it has told. */
void proxy_conn_set_peer(struct proxy_conn *conn, const struct proxy_address *peer);

void proxy_conn_set_owner(struct proxy_conn *conn, const struct proxy_conn_ops *ops, void *owner);

/* Puts a transport in place (owned). On an accepted connection unconsumed bytes are its first input; on a dialled one
 * it starts when connected. It begins, and each read goes on, when it is its turn (handshake.h); nothing of the socket
 * is read before. timeout_ms: for the handshake, from where it begins, and for the peer's first bytes; on_open tells
 * when it is done. */
void proxy_conn_set_transport(struct proxy_conn *conn, const struct proxy_transport_ops *ops, void *transport,
                              uint64_t timeout_ms);

/* Where it is backlogged, within PROXY_CONN_HIGH_MIN and _MAX. 0: PROXY_CONN_HIGH. */
void proxy_conn_set_high(struct proxy_conn *conn, uint32_t bytes);
void proxy_conn_write(struct proxy_conn *conn, struct fl_span bytes);
void proxy_conn_shutdown(struct proxy_conn *conn);
void proxy_conn_close(struct proxy_conn *conn, enum proxy_close how); /* NULL is allowed */
void proxy_conn_pause(struct proxy_conn *conn);
void proxy_conn_resume(struct proxy_conn *conn); /* also shows unconsumed bytes again */

bool proxy_conn_is_backlogged(const struct proxy_conn *conn);
bool proxy_conn_is_open(const struct proxy_conn *conn);      /* open, both ways usable as far as we know */
bool proxy_conn_saw_eof(const struct proxy_conn *conn);      /* a FIN has come, delivered or not */
bool proxy_conn_write_failed(const struct proxy_conn *conn); /* the peer does not read any more */
size_t proxy_conn_unread(const struct proxy_conn *conn);     /* received and not consumed */
size_t proxy_conn_unsent(const struct proxy_conn *conn);
uint64_t proxy_conn_bytes_received(const struct proxy_conn *conn); /* of the owner's: without TLS */
uint64_t proxy_conn_bytes_sent(const struct proxy_conn *conn);     /* written by the owner */
const struct proxy_address *proxy_conn_peer(const struct proxy_conn *conn);
int proxy_conn_local(const struct proxy_conn *conn, struct proxy_address *ret_address) FL_MUST_CHECK;
int proxy_conn_fd(const struct proxy_conn *conn); /* -1: it is carried */
struct proxy_turn *proxy_conn_turn(const struct proxy_conn *conn);
void *proxy_conn_transport(const struct proxy_conn *conn);   /* NULL: plain */
int proxy_conn_errno(const struct proxy_conn *conn);         /* in on_closed: the socket's, negative; 0: none */
const char *proxy_conn_error(const struct proxy_conn *conn); /* in on_closed: what the errno or the transport says */

/* For transports. */
int proxy_conn_send(struct proxy_conn *conn, struct fl_span bytes) FL_MUST_CHECK;    /* to the socket */
int proxy_conn_deliver(struct proxy_conn *conn, struct fl_span bytes) FL_MUST_CHECK; /* to the owner */
int proxy_conn_opened(struct proxy_conn *conn) FL_MUST_CHECK;                        /* the handshake is done */
void proxy_conn_ready(struct proxy_conn *conn); /* the deadline of proxy_conn_set_transport no longer counts */
int proxy_conn_ended(struct proxy_conn *conn) FL_MUST_CHECK; /* the peer's clean end */

/* For turn.c: one round over a connection of the ready list. */
void proxy_conn_run(struct proxy_conn *conn);
/* A handshake step of a connection. */
void proxy_conn_step(struct proxy_handshake *handshake, bool first);
struct proxy_conn *proxy_conn_next_ready(struct proxy_conn *conn);
void proxy_conn_abandon(struct proxy_conn *conn); /* of the list of closing ones: it is closed at once */

#endif
