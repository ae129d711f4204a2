/* Which TLS handshakes of a worker are under way, and which step is next: so that a storm of them cannot stall traffic.
 *
 * A step (the first flight of a client, or what one read brings) costs up to some 1 ms of CPU. A turn does at most one,
 * after everything else that it had to do and send, and then looks at epoll again; who waits for a step is not
 * registered for more, so a thousand of them cost the loop nothing.
 *
 *     NONE ─► WAITING ─► READY ⇄ SILENT ─► LEFT
 *             (no place)  (has a step to do) (its peer is to speak)
 *
 * At most PROXY_HANDSHAKE_PLACES are under way at a time, for what all begin together all grow old together, here and
 * at the peers. A place is asked for when there is something to do (a client's TCP connection is there, a server's
 * first bytes are), so dead hosts and silent clients hold none. It is given back at the handshake's end, or after
 * PROXY_HANDSHAKE_SILENT_MS without a word of the peer, or PROXY_HANDSHAKE_HELD_MS in all; that handshake goes on
 * without a place when its peer speaks again. So peers that stall on purpose hold the others up for that long at most.
 *
 * Those that wait are served in order. Where the oldest has waited for longer than PROXY_HANDSHAKE_OLD_MS, every second
 * place is the newest's: under more than can be done some are served in time, instead of all too late. Who has waited
 * for PROXY_HANDSHAKE_WAIT_MS fails (conn.c); the handshake's own deadline begins with its place. Steps of handshakes
 * under way and of new ones take turns where both can be done.
 */
#ifndef PROXY_NET_HANDSHAKE_H
#define PROXY_NET_HANDSHAKE_H

#include "common/loop/loop.h"
#include "common/loop/timer.h"

#define PROXY_HANDSHAKE_PLACES    64u
#define PROXY_HANDSHAKE_SILENT_MS 250u
#define PROXY_HANDSHAKE_HELD_MS   1000u
#define PROXY_HANDSHAKE_OLD_MS    1000u
#define PROXY_HANDSHAKE_WAIT_MS   10000u

enum proxy_handshake_stage {
    PROXY_HANDSHAKE_NONE, /* in no list: nothing to do yet, or silent for too long */
    PROXY_HANDSHAKE_WAITING,
    PROXY_HANDSHAKE_READY,
    PROXY_HANDSHAKE_SILENT,
    PROXY_HANDSHAKE_LEFT,
};

struct proxy_handshake { /* of a connection, zeroed at first; it leaves before its memory goes */
    struct proxy_handshake *next, *previous;
    uint64_t since_ms; /* in its list */
    uint64_t placed_ms;
    enum proxy_handshake_stage stage;
    bool begun, placed;
};

struct proxy_handshake_list {
    struct proxy_handshake *first, *last;
};

struct proxy_handshakes { /* of a worker */
    struct fl_loop *loop; /* not owned */
    /* One step, the first one or another. It may call anything here. */
    void (*step)(struct proxy_handshake *handshake, bool first);
    struct proxy_handshake_list waiting, ready, silent; /* the oldest first */
    uint32_t waiting_count, places;                     /* written by atomic stores, so that another thread may look */
    uint64_t steps;
    bool newest;    /* the next place may be the newest's */
    bool was_ready; /* the last step was of one under way */
    bool is_scheduled;
    struct fl_deferred deferred;
    struct fl_timer timer;
};

void proxy_handshakes_init(struct proxy_handshakes *handshakes, struct fl_loop *loop,
                           void (*step)(struct proxy_handshake *handshake, bool first));
void proxy_handshakes_done(struct proxy_handshakes *handshakes); /* all have left; zeroed memory is fine */

/* It has a step to do. True where it waits for a place from now on. Idempotent. */
bool proxy_handshake_want(struct proxy_handshakes *handshakes, struct proxy_handshake *handshake);
/* It is done, or has ended. Idempotent; nothing follows. */
void proxy_handshake_leave(struct proxy_handshakes *handshakes, struct proxy_handshake *handshake);

#endif
