/* A worker's turn: its event loop, what its connections share, and the list of those that want something at its end.
 *
 * During a turn events only fill queues and set flags; a connection that has output, or whose reading was resumed, is
 * put on the ready list once. At the turn's end the list is run: resumed connections deliver, then every connection
 * with output does one send. So however many pieces a turn wrote, a connection costs one system call.
 *
 * A turn's work is bounded: PROXY_TURN_READ bytes a connection, up to PROXY_TURN_READ_BULK for one that always had more
 * (what is left comes in the next turn, after the others), one TLS handshake step in all, after everything else
 * (handshake.h), PROXY_TURN_ACCEPTS a listener.
 */
#ifndef PROXY_NET_TURN_H
#define PROXY_NET_TURN_H

#include "common/loop/loop.h"
#include "common/loop/timer.h"
#include "proxy/net/handshake.h"
#include "proxy/net/pool.h"
#include "proxy/net/shed.h"

#define PROXY_TURN_READ      65536u
#define PROXY_TURN_READ_BULK 262144u /* … of a connection whose last reads were full ones */
#define PROXY_TURN_ACCEPTS   16u
#define PROXY_TURN_DIALS     8u
#define PROXY_TURN_WORK      131072u
#define PROXY_TURN_NAMES     32768u
#define PROXY_TURN_PLAIN     131072u
#define PROXY_TURN_TRIM_MS   1000u /* after which memory that nobody needs any more goes back to the system */
#define PROXY_TURN_TRIM_GONE 16u

struct proxy_conn;

struct proxy_turn {
    struct fl_loop *loop; /* not owned */
    struct fl_hook hook;
    struct proxy_conn *ready, **ready_tail;
    char *scratch; /* PROXY_TURN_READ_BULK bytes: what recv fills; valid within one callback */
    char *names;   /* PROXY_TURN_NAMES bytes, for whoever spells a message's names anew within one callback */
    char *work;    /* PROXY_TURN_WORK bytes, for whoever serialises a message within one callback */
    char *plain;   /* PROXY_TURN_PLAIN bytes for transports, or NULL: made with the first bulk, given back when that is
                      over */
    struct proxy_pool pool;
    enum proxy_shed shed; /* how short memory is */
    struct proxy_handshakes handshakes;
    uint64_t dials_ns; /* the turn that dials are counted for */
    unsigned dials;
    size_t connections; /* open sockets of this worker, both sides */
    size_t peak;        /* … at most, since memory was given back */
    bool bulk;          /* large reads since the trim timer was set */
    struct fl_timer trim;
    struct proxy_conn *closing;                  /* those whose owner has left: they flush, or linger */
    void (*on_settled)(struct proxy_turn *turn); /* the last of those is gone; NULL allowed */
    void (*on_trim)(struct proxy_turn *turn);    /* its owner gives back what he keeps for later; NULL allowed */
};

int proxy_turn_init(struct proxy_turn *turn, struct fl_loop *loop) FL_MUST_CHECK; /* 0 or -ENOMEM */
/* Closes at once what its owners have left already. */
void proxy_turn_abort(struct proxy_turn *turn);
void proxy_turn_done(struct proxy_turn *turn); /* every connection must be gone, and the loop have run its deferred */

/* A connection has gone, or bulk has come: looks in PROXY_TURN_TRIM_MS whether memory can be given back. It can where
 * half of the connections are gone since the last time, or an eighth and PROXY_TURN_TRIM_GONE: a walk over the heap is
 * not for every second of a steady load. */
void proxy_turn_trim_later(struct proxy_turn *turn);
/* At once, outside of every callback that uses what the connections share. */
void proxy_turn_trim(struct proxy_turn *turn);

/* True where this turn may still do a dial that can wait for another turn, which is then counted: a socket and a TLS
 * session cost some 100 us. */
bool proxy_turn_take_dial(struct proxy_turn *turn);

#endif
