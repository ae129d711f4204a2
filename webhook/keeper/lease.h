/* The Lease (coordination.k8s.io/v1) by which one keeper of several acts: its JSON, and the election. Pure.
 *
 * As client-go does it, no clock of another machine is believed: a holder lives as long as its Lease changes, seen on
 * our own monotonic clock, and is dead when it did not for the Lease's duration. Every write names the version that
 * was read, so of two that are quick one fails.
 *
 *   renewed every duration/3; the holder stops to act duration × 2/3 after the start of the last renewal that went
 * well, and a request lasts no longer than duration/6: what it began is over before anybody else begins.
 */
#ifndef WEBHOOK_KEEPER_LEASE_H
#define WEBHOOK_KEEPER_LEASE_H

#include "webhook/keeper/secret.h"

#define KEEPER_IDENTITY_MAX          254 /* and its NUL */
#define KEEPER_LEASE_SECONDS_DEFAULT 30
#define KEEPER_LEASE_SECONDS_MIN     3
#define KEEPER_LEASE_SECONDS_MAX     3600
#define KEEPER_LEASE_MAX             65536 /* bytes of an answer */

struct keeper_lease { /* zeroed: there is none */
    bool there;
    char version[KEEPER_VERSION_MAX];
    char holder[KEEPER_IDENTITY_MAX]; /* empty: nobody */
    int64_t seconds, transitions;
};

/* The JSON of a Lease. Members that are not as they should be count as nobody's. -EINVAL: it is none; -ENOMEM. */
int keeper_lease_read(struct fl_span json, struct keeper_lease *ret_lease, struct fl_err *err) FL_MUST_CHECK;

struct keeper_election {
    char identity[KEEPER_IDENTITY_MAX];
    unsigned seconds;         /* of our own Lease */
    struct keeper_lease seen; /* as it was read or written last */
    bool known;               /* `seen` counts */
    uint64_t seen_ms;         /* when its version was seen first */
    uint64_t held_until_ms;   /* we may act until then; 0: we are not the holder */
};

enum keeper_election_step {
    KEEPER_ELECTION_READ,  /* GET the Lease */
    KEEPER_ELECTION_MAKE,  /* POST: there is none */
    KEEPER_ELECTION_TAKE,  /* PATCH: it is nobody's, ours of an earlier life, or its holder is dead */
    KEEPER_ELECTION_RENEW, /* PATCH: it is ours */
    KEEPER_ELECTION_WAIT,  /* read it again later */
};

/* What the next request is: after the Lease was read (known), or at a renewal's time. */
enum keeper_election_step keeper_election_next(const struct keeper_election *election, uint64_t now_ms);
/* What was read; `ret.there` false: there is none. */
void keeper_election_saw(struct keeper_election *election, const struct keeper_lease *lease, uint64_t now_ms);
/* A write that was begun at start_ms went well, and gave this. */
void keeper_election_won(struct keeper_election *election, const struct keeper_lease *lease, uint64_t start_ms,
                         uint64_t now_ms);
/* A write was refused, or the answer did not come: what stands there is not known any more. */
void keeper_election_lost(struct keeper_election *election);
bool keeper_election_holds(const struct keeper_election *election, uint64_t now_ms);

uint64_t keeper_election_period_ms(const struct keeper_election *election);  /* between renewals, and looks */
unsigned keeper_election_request_ms(const struct keeper_election *election); /* how long any request may last */

/* The body of a POST (make) or PATCH (application/merge-patch+json), appended; now_us is the clock of the wall.
 * `release`: nobody holds it from now on. 0, -ENOMEM, -EMSGSIZE. */
int keeper_lease_print(const struct keeper_election *election, const char *name, const char *name_space, int64_t now_us,
                       bool release, struct fl_buf *out) FL_MUST_CHECK;

#endif
