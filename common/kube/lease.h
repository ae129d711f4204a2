/* The Lease by which one program of several acts, kept on our loop: election.h says by which rules; here are the
 * requests, the timers, and what happens when the API server is slow or away.
 *
 * Nothing is logged: the owner is told. All callbacks come from the loop, never from within these functions, and may
 * release or free the Lease.
 *
 * Rights: `create` on leases of the namespace, `get` and `patch` on the one name.
 */
#ifndef FL_KUBE_LEASE_H
#define FL_KUBE_LEASE_H

#include "common/kube/client.h"
#include "common/kube/election.h"

struct fl_kube_lease;

struct fl_kube_lease_options { /* texts are copied */
    const char *name_space, *name;
    const char *identity; /* of this process and no other (fl_kube_lease_identity); shorter than FL_KUBE_HOLDER_MAX */
    unsigned seconds;     /* the Lease's duration, FL_KUBE_LEASE_SECONDS_MIN to _MAX; 0: _DEFAULT */
    bool yields;          /* others come first (election.h) */
    /* We lead from now on; or do not any more: whoever is next begins at the earliest a third of the duration later,
     * or where we gave it up by ourselves. What is under way then is to be stopped. */
    void (*on_change)(void *owner, bool leads);
    /* A request failed, and will be tried again within a second. Told at once where the reason is a new one, else each
     * minute while it lasts. NULL: nobody asks. */
    void (*on_trouble)(void *owner, const struct fl_err *err);
    /* A turn of the Lease, at least one a period (fl_kube_lease_period_ms), whatever comes of it: the program lives.
     * NULL: nobody asks. */
    void (*on_turn)(void *owner);
    void *owner;
};

/* Begins at once. The client outlives it. 0; -EINVAL (a name or identity that is none, a duration out of bounds),
 * -ENOMEM. */
int fl_kube_lease_new(struct fl_loop *loop, struct fl_kube_client *client, const struct fl_kube_lease_options *options,
                      struct fl_kube_lease **ret_lease, struct fl_err *err) FL_MUST_CHECK;
/* Where it is held, giving it up is asked for, and sent while the loop goes on and the client lives; on_change does not
 * come. NULL is allowed; returns NULL. */
struct fl_kube_lease *fl_kube_lease_free(struct fl_kube_lease *lease);

/* We stop to lead now (on_change comes later in this turn or the next, where we did), and give the Lease up, so that
 * another one need not wait; on_released at the end, some seconds later at most: 0, or what went wrong (then it runs
 * out by itself). `released` false with 0: it was not ours. Nothing comes after it. Once. */
void fl_kube_lease_release(struct fl_kube_lease *lease,
                           void (*on_released)(void *owner, bool released, const struct fl_err *err));

/* Whether we may act, by the clock and not by what was told last. */
bool fl_kube_lease_leads(const struct fl_kube_lease *lease);
/* Who holds it, as it was seen last; empty: nobody, or not known yet. Borrowed until the next turn. */
const char *fl_kube_lease_holder(const struct fl_kube_lease *lease);
uint64_t fl_kube_lease_period_ms(const struct fl_kube_lease *lease);
/* How long a request of the leader may last, so that it is over before another one leads. */
unsigned fl_kube_lease_request_ms(const struct fl_kube_lease *lease);

/* "<host name>_<16 hexadecimal digits>": of this process and no other, also where a host's name is used again. */
void fl_kube_lease_identity(const char *fallback_host, char identity[FL_KUBE_HOLDER_MAX]);

#endif
