/* The start gate: the sidecar reports "started" only after its own dial through the netns's probe rule came back to its
 * own outbound listener. So no app container starts uncaptured, whatever the reason was.
 *
 * The main thread dials 127.0.0.6:15002 (and [::6]:15002 where the netns has IPv6 and it is captured) again and again.
 * The netns's rules redirect that port to 15001; the worker that accepts there sees the original destination, asks the
 * gate (from its own thread) whether the peer is a dial of ours, and closes the connection. Once every family has come
 * back the gate is open for good.
 *
 *     OFF                     no FAIRLEAD_CAPTURE: nothing to wait for; counts as open
 *     WAITING ── all families came back ──► OPEN
 */
#ifndef PROXY_ADMIN_PROBE_H
#define PROXY_ADMIN_PROBE_H

#include "common/base/err.h"
#include "common/loop/loop.h"
#include "proxy/net/address.h"

#define PROXY_GATE_STATES(X) X(OFF, "off") X(WAITING, "waiting") X(OPEN, "open")
enum proxy_gate_state {
#define PROXY_GATE_STATE_(name, text) PROXY_GATE_##name,
    PROXY_GATE_STATES(PROXY_GATE_STATE_)
#undef PROXY_GATE_STATE_
};
const char *proxy_gate_state_name(enum proxy_gate_state state);

struct proxy_gate;

#define PROXY_GATE_RETRY_MS 100

struct proxy_gate_options {
    struct fl_loop *loop;
    bool wait;      /* false: PROXY_GATE_OFF */
    bool ipv4_only; /* the capture spec leaves IPv6 alone, so no dial of that family would come back */
    /* On the loop: "waiting" (once, some 500 ms after the start, or when a dial fails; `reason` says what to look for)
     * and "open" (once). May be NULL. */
    void (*on_state)(void *owner, enum proxy_gate_state state, const char *reason);
    void *owner;
};

/* 0 or a negative errno. Dials begin with the next turn of the loop. */
int proxy_gate_new(const struct proxy_gate_options *options, struct proxy_gate **ret_gate) FL_MUST_CHECK;
/* Dials now instead of at the next interval: the listener that dials come back to may just have been opened. NULL is
 * allowed; nothing happens where the gate does not wait. On the loop's thread. */
void proxy_gate_dial(struct proxy_gate *gate);
struct proxy_gate *proxy_gate_free(struct proxy_gate *gate); /* after the workers have stopped */

enum proxy_gate_state proxy_gate_state(const struct proxy_gate *gate); /* on the loop's thread */
static inline bool proxy_gate_is_open(const struct proxy_gate *gate)
{
    return gate == NULL || proxy_gate_state(gate) != PROXY_GATE_WAITING;
}

/* For workers, from any thread, no lock: a connection came in whose original destination is `original`. True where
 * that is the probe's destination and `peer` is one that the gate dials from: the gate has noted it. Whatever the
 * answer, a connection to that destination is closed by the worker (its port is one of our own: mesh/port.h). */
bool proxy_gate_arrived(struct proxy_gate *gate, const struct proxy_address *peer,
                        const struct proxy_address *original);

#endif
