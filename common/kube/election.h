/* The Lease (coordination.k8s.io/v1) by which one program of several acts: its JSON, and the election. Pure.
 *
 * As client-go does it, no clock of another machine is believed: a holder lives as long as its Lease changes, seen on
 * our own monotonic clock, and is dead when it did not for the Lease's duration. Every write names the version that
 * was read, so of two that are quick one fails.
 *
 *   who yields takes what is nobody's a whole duration later than others would, so only where none of them is there; he
 * keeps it then, also where they come; a Lease that is missing is made at once by either
 *
 *   renewed every duration/3; the holder stops to act duration × 2/3 after the start of the last renewal that went
 * well, and a request lasts no longer than duration/6: what it began is over before anybody else begins.
 */
#ifndef FL_KUBE_ELECTION_H
#define FL_KUBE_ELECTION_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_KUBE_HOLDER_MAX            254 /* and its NUL */
#define FL_KUBE_LEASE_SECONDS_DEFAULT 30
#define FL_KUBE_LEASE_SECONDS_MIN     3
#define FL_KUBE_LEASE_SECONDS_MAX     3600
#define FL_KUBE_LEASE_MAX             65536 /* bytes of an answer */
#define FL_KUBE_LEASE_VERSION_MAX     64    /* a resourceVersion and its NUL */

struct fl_kube_lease_state { /* zeroed: there is none */
    bool there;
    char version[FL_KUBE_LEASE_VERSION_MAX];
    char holder[FL_KUBE_HOLDER_MAX]; /* empty: nobody */
    int64_t seconds, transitions;
};

/* The JSON of a Lease. Members that are not as they should be count as nobody's. -EINVAL: it is none; -ENOMEM. */
int fl_kube_lease_parse(struct fl_span json, struct fl_kube_lease_state *ret_lease, struct fl_err *err) FL_MUST_CHECK;

struct fl_kube_election {
    char identity[FL_KUBE_HOLDER_MAX];
    unsigned seconds;                /* of our own Lease */
    bool yields;                     /* others come first: what is nobody's is ours a duration (`seconds`) later */
    struct fl_kube_lease_state seen; /* as it was read or written last */
    bool known;                      /* `seen` counts */
    uint64_t seen_ms;                /* when its version was seen first */
    uint64_t held_until_ms;          /* we may act until then; 0: we are not the holder */
};

enum fl_kube_election_step {
    FL_KUBE_ELECTION_READ,  /* GET the Lease */
    FL_KUBE_ELECTION_MAKE,  /* POST: there is none */
    FL_KUBE_ELECTION_TAKE,  /* PATCH: it is nobody's, ours of an earlier life, or its holder is dead */
    FL_KUBE_ELECTION_RENEW, /* PATCH: it is ours */
    FL_KUBE_ELECTION_WAIT,  /* read it again later */
};

/* What the next request is: after the Lease was read (known), or at a renewal's time. */
enum fl_kube_election_step fl_kube_election_next(const struct fl_kube_election *election, uint64_t now_ms);
/* What was read; `ret.there` false: there is none. */
void fl_kube_election_saw(struct fl_kube_election *election, const struct fl_kube_lease_state *lease, uint64_t now_ms);
/* A write that was begun at start_ms went well, and gave this. */
void fl_kube_election_won(struct fl_kube_election *election, const struct fl_kube_lease_state *lease, uint64_t start_ms,
                          uint64_t now_ms);
/* A write was refused, or the answer did not come: what stands there is not known any more. */
void fl_kube_election_lost(struct fl_kube_election *election);
bool fl_kube_election_holds(const struct fl_kube_election *election, uint64_t now_ms);

uint64_t fl_kube_election_period_ms(const struct fl_kube_election *election);  /* between renewals, and looks */
unsigned fl_kube_election_request_ms(const struct fl_kube_election *election); /* how long any request may last */

#define FL_KUBE_ELECTION_TELL_MS 60000 /* a reason that lasts is told so often */

struct fl_kube_election_told { /* what goes wrong, as it was told last; zeroed: nothing */
    char text[FL_ERR_TEXT_MAX];
    uint64_t at_ms;
};

/* Whether this is to be told: it is another reason than the last one, or a minute has gone by. True once each. What
 * goes well is not asked about: whoever asks zeroes it then. */
bool fl_kube_election_tells(struct fl_kube_election_told *told, const struct fl_err *err, uint64_t now_ms);

/* The body of a POST (make) or PATCH (application/merge-patch+json), appended; now_us is the clock of the wall.
 * `release`: nobody holds it from now on. 0, -ENOMEM, -EMSGSIZE. */
int fl_kube_lease_print(const struct fl_kube_election *election, const char *name, const char *name_space,
                        int64_t now_us, bool release, struct fl_buf *out) FL_MUST_CHECK;

#endif
