/* A connection's inside, for the files that make it up and nobody else:
 *
 *   conn.c        where it comes from, its events, the end of the turn; what its owner asks
 *   conn_read.c   socket ─► transport ─► owner: the turn's budget, what is kept, the peer's end
 *   conn_write.c  owner ─► transport ─► socket: queues, back-pressure, our end
 *   conn_carry.c  a connection without a socket, over a stream of another one
 *   conn_rival.c  a second address while it is dialled
 *   conn_end.c    failing and closing: who is told, what is still flushed, when the memory goes
 *
 * The life of a connection, as states:
 *
 *   CONNECTING ─► STARTING ─► OPEN ─► (FLUSHING | LINGERING) ─► CLOSED
 *   (dialled)     (handshake)         (the owner has left)      (memory goes at the turn's end)
 *
 * Without a transport STARTING is skipped. Its steps are made one a turn, of all connections (handshake.h). Every step
 * away from an event handler is made in proxy_conn_run, at the end of the turn, so a callback never finds the stack of
 * another connection below it; only on_data, on_eof, on_open and on_closed run inside this connection's own event.
 * After every callback the state is looked at again: the owner may have closed.
 */
#ifndef PROXY_NET_CONN_INNER_H
#define PROXY_NET_CONN_INNER_H

#include "common/loop/timer.h"
#include "proxy/net/conn.h"

#define CONN_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

enum conn_state { CONN_CONNECTING, CONN_STARTING, CONN_OPEN, CONN_FLUSHING, CONN_LINGERING, CONN_CLOSED };

struct proxy_conn {
    struct fl_source source;
    struct proxy_turn *turn;
    const struct proxy_conn_ops *ops;
    void *owner;
    const struct proxy_transport_ops *transport_ops; /* NULL: plain */
    void *transport;
    const struct proxy_carrier_ops *carrier_ops; /* NULL: it has a socket */
    void *carrier;
    struct proxy_queue out;  /* the owner's bytes */
    struct proxy_queue wire; /* the transport's: records */
    char *input;             /* received and not consumed: input[input_begin, input_end); NULL where there is none */
    uint32_t input_begin, input_end, input_size;
    struct conn_rival *rival; /* conn_rival.c: a second socket while it is dialled; NULL: none */
    struct proxy_conn *next_ready;
    struct proxy_conn *closing_next, *closing_previous; /* in turn->closing */
    struct fl_timer timer;                              /* connect, handshake, flush or linger, by state */
    struct fl_deferred deferred;
    struct proxy_handshake handshake;
    uint64_t received, sent;
    uint64_t handshake_ms;
    uint64_t read_ns; /* the turn of the last read, for its budget */
    size_t read_bytes;
    uint32_t high; /* bytes of output at which it is backlogged; at the half it no longer is */
    struct proxy_address peer;
    int error; /* negative errno of the socket, for proxy_conn_error */
    enum conn_state state;
    bool readable, writable, hung_up; /* as epoll told */
    bool connected;                   /* connect(2) succeeded at once */
    bool ready_listed;
    bool paused;
    bool held;      /* the carrier was told to bring no more */
    bool redeliver; /* the owner wants to see the kept input again */
    bool raw_input; /* the kept input is for the transport */
    bool bulk;      /* its last reads were full ones */
    bool stepping;  /* STARTING: it is its turn to read */
    bool backlogged, tell_writable;
    bool linger;        /* FLUSHING ends in LINGERING */
    bool eof, eof_told; /* the peer's direction has ended */
    bool out_dead;      /* the peer takes no more */
    bool failed;        /* to be ended in proxy_conn_run */
    enum conn_shut { CONN_SHUT_NO, CONN_SHUT_WANTED, CONN_SHUT_NOTIFIED, CONN_SHUT_DONE } shut;
    enum proxy_end end;
};

/* Whether the owner still hears of it. */
static inline bool proxy_conn_is_owned(const struct proxy_conn *conn)
{
    return conn->state <= CONN_OPEN;
}

/* Puts it on the turn's list: proxy_conn_run follows. */
static inline void proxy_conn_want_run(struct proxy_conn *conn)
{
    if (conn->ready_listed || conn->state == CONN_CLOSED)
        return;
    conn->ready_listed = true;
    conn->next_ready = NULL;
    *conn->turn->ready_tail = conn;
    conn->turn->ready_tail = &conn->next_ready;
    fl_hook_arm(conn->turn->loop, &conn->turn->hook);
}

/* -- conn_end.c: after each of these the connection may be CLOSED -- */

/* The socket goes, the memory follows at the end of the turn; nobody is told. */
void proxy_conn_finish(struct proxy_conn *conn, bool reset);
/* Ends it and tells the owner, if it still has one. */
void proxy_conn_fail(struct proxy_conn *conn, enum proxy_end end);
void proxy_conn_fail_errno(struct proxy_conn *conn, int error); /* a negative errno of the socket */
/* Outside of a callback: told from proxy_conn_run. */
void proxy_conn_fail_later(struct proxy_conn *conn, enum proxy_end end);
/* What a transport function returned. True: go on. */
bool proxy_conn_transport_ok(struct proxy_conn *conn, int result);
/* When it has passed the connection ends, in the way of its state. */
void proxy_conn_set_deadline(struct proxy_conn *conn, uint64_t ms);
/* FLUSHING, at the turn's end: closed once the bytes are out. */
void proxy_conn_run_closing(struct proxy_conn *conn);

/* -- conn.c -- */

void proxy_conn_on_event(struct fl_source *source, uint32_t events);
int proxy_conn_socket(const struct proxy_address *peer) FL_MUST_CHECK; /* an fd, or -errno */
/* 0: connected; -EINPROGRESS; or another -errno. */
int proxy_conn_dial(int fd, const struct proxy_address *peer, const struct proxy_dial *how) FL_MUST_CHECK;

/* A new one on the turn, without a socket. NULL: memory is out. */
struct proxy_conn *proxy_conn_new(struct proxy_turn *turn, const struct proxy_address *peer);
/* It is dialled: its transport starts, or it is open. */
void proxy_conn_connected(struct proxy_conn *conn);

/* -- conn_carry.c -- */

/* Whether the carrier brings more follows from what the owner takes. */
void proxy_conn_carry_hold(struct proxy_conn *conn);
/* As a send would: how many bytes it took. */
size_t proxy_conn_carry_send(struct proxy_conn *conn, const struct iovec *iov, size_t count);

/* -- conn_rival.c -- */

void proxy_conn_rival_new(struct proxy_conn *conn, const struct proxy_dial *how);
void proxy_conn_rival_drop(struct proxy_conn *conn); /* fine where there is none */
/* The first socket has failed. True: the connection goes on, on the other one. */
bool proxy_conn_rival_takes_over(struct proxy_conn *conn);

/* -- conn_read.c -- */

/* From the socket or the carrier, to the transport or the owner. */
void proxy_conn_feed(struct proxy_conn *conn, struct fl_span bytes);
/* The peer's FIN. */
void proxy_conn_socket_eof(struct proxy_conn *conn);
/* Reads until the socket is empty, the owner pauses or the turn's share is used up. */
void proxy_conn_read(struct proxy_conn *conn);
/* STARTING: there is something to do. */
void proxy_conn_want_step(struct proxy_conn *conn);
/* STARTING and OPEN, at the turn's end: what is kept is shown again, then the socket is read. */
void proxy_conn_run_input(struct proxy_conn *conn);
void proxy_conn_input_drop(struct proxy_conn *conn);

/* -- conn_write.c -- */

/* Sends what waits, until the socket is full. */
void proxy_conn_flush(struct proxy_conn *conn);
/* close_notify and FIN, once everything before them is out. */
void proxy_conn_send_end(struct proxy_conn *conn);
bool proxy_conn_is_drained(const struct proxy_conn *conn); /* nothing is left to send, or nobody takes it */
void proxy_conn_update_backlog(struct proxy_conn *conn);

#endif
