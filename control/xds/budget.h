/* What the streams of one client, and of all together, may make this process keep: what they subscribed to, and what
 * waits for them to read it. A valid identity bounds nobody: whoever has one can open any number of streams.
 *
 * A client is an identity, and where nobody is known a source address; its account is there while a share of it is. A
 * share is one stream's part. Amounts are in bytes, told as they are now; whoever grows beyond what is left is told so,
 * and ends. What a share no longer has it gives back at once. Sans I/O; not thread-safe.
 */
#ifndef CONTROL_XDS_BUDGET_H
#define CONTROL_XDS_BUDGET_H

#include "common/base/map.h"

#include <sys/queue.h>

enum control_budget_kind {
    CONTROL_BUDGET_SUBSCRIBED, /* names, and what a stream takes of itself */
    CONTROL_BUDGET_QUEUED,     /* responses that the network has not taken */
    CONTROL_BUDGET_KINDS
};

/* MiB that all may be subscribed to; one client to a quarter of it; half as much of each may be queued. A wildcard
 * sidecar in a mesh of 1,000 Services takes 1 MiB, one on demand some KiB. */
#define CONTROL_BUDGET_MIB 2048u

struct control_budget_account {
    size_t used[CONTROL_BUDGET_KINDS];
    size_t shares;
    struct fl_span key;
    char text[];
};

struct control_budget {
    struct fl_map accounts; /* by key */
    size_t used[CONTROL_BUDGET_KINDS];
    size_t client_max[CONTROL_BUDGET_KINDS], all_max[CONTROL_BUDGET_KINDS];
};

struct control_budget_share { /* embedded, zeroed at first */
    struct control_budget_account *account;
    size_t used[CONTROL_BUDGET_KINDS];
};

enum control_budget_verdict { CONTROL_BUDGET_FITS, CONTROL_BUDGET_CLIENT_FULL, CONTROL_BUDGET_ALL_FULL };

void control_budget_init(struct control_budget *budget, uint32_t mib);
void control_budget_done(struct control_budget *budget); /* every share has left */

/* Opens a share of the client's account. 0 or -ENOMEM. */
int control_budget_join(struct control_budget *budget, struct fl_span client,
                        struct control_budget_share *share) FL_MUST_CHECK;
/* Idempotent; one that never joined is fine. */
void control_budget_leave(struct control_budget *budget, struct control_budget_share *share);

/* The share has so much of this kind now; counted whether it fits or not. Returns what it had. */
size_t control_budget_set(struct control_budget *budget, struct control_budget_share *share,
                          enum control_budget_kind kind, size_t amount);
/* Whether what the share has fits; one that has no more than `before` does. */
enum control_budget_verdict control_budget_judge(const struct control_budget *budget,
                                                 const struct control_budget_share *share,
                                                 enum control_budget_kind kind, size_t before) FL_MUST_CHECK;

#endif
