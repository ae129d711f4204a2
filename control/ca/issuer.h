/* The issuing key, at arm's length: a child process holds it, with no network, no files and no way to be traced, and is
 * reached by a socketpair alone (channel.h). The child judges what it signs (signer.h): a program that was taken over
 * can ask it for certificates of the mesh for as long as it holds the socket, and gets no other kind, no other trust
 * domain, no CA, none longer than the bound, and never the key.
 *
 * Asynchronous: requests are pipelined, answers come in order by on_done on the loop; what is refused at once (no
 * child, too many) comes before the call returns. A callback may do anything, free the issuer too. Bounded:
 * CONTROL_ISSUER_WAITING requests at a time. The child dying, or not answering for CONTROL_ISSUER_ANSWER_MS, ends every
 * request under way as UNAVAILABLE; it is started again with back-off, from what is in the folder then.
 * control_issuer_reload starts a second child from the folder as it is now and puts it in the first one's place once it
 * is ready; where the new one does not come up, the old one stays, and on_trouble tells why.
 */
#ifndef CONTROL_CA_ISSUER_H
#define CONTROL_CA_ISSUER_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pki/key.h"

#include <sys/types.h>
#include <time.h>

struct fl_loop;
struct control_issuer;
struct control_child;

#define CONTROL_ISSUER_WAITING        1024
#define CONTROL_ISSUER_ANSWER_MS      5000
#define CONTROL_ISSUER_START_MS       15000
#define CONTROL_ISSUER_BACKOFF_MS     100   /* doubles … */
#define CONTROL_ISSUER_BACKOFF_MAX_MS 30000 /* … up to this */

enum control_issue_outcome {
    CONTROL_ISSUE_OK,
    CONTROL_ISSUE_REFUSED,     /* the child will not sign this; the reason says why */
    CONTROL_ISSUE_UNAVAILABLE, /* no child, or it died meanwhile: try again later */
    CONTROL_ISSUE_BUSY,        /* too many requests wait */
};

struct control_issued {    /* spans live as long as the call of on_done */
    struct fl_span chain;  /* PEM: the leaf, then its intermediates, no root */
    struct fl_span serial; /* hex */
    time_t not_after;
};

struct control_issue { /* embedded in its owner, zeroed at first */
    /* `issued` is NULL but for OK, `reason` a text for a person. Its memory is the owner's again. */
    void (*on_done)(struct control_issue *issue, enum control_issue_outcome outcome,
                    const struct control_issued *issued, const char *reason);
    /* For the issuer alone: */
    struct control_issue *next, *previous;
    struct control_child *child; /* NULL while not under way */
    uint32_t id;
};

/* What a child that is ready says of itself; spans live as long as the call. */
struct control_issuer_standing {
    struct fl_span bundle; /* PEM: the roots to trust, one or more */
    time_t not_after;      /* of the issuing certificate: leaves end before it */
    time_t changes;        /* when another root issues (then it is to be reloaded); 0: no such plan */
    bool isolated;         /* the child has a network namespace of its own; without one seccomp alone keeps it off */
};

struct control_issuer_options {
    struct fl_loop *loop;
    const char *program;             /* whose "issuer" command is the child; NULL: this program's */
    const char *folder;              /* root.h */
    bool given;                      /* the folder holds a given intermediate, nothing is made there */
    bool stored;                     /* the courier fills the folder; the child starts at the first reload */
    const char *trust_domain;        /* of the identities that are signed */
    const char *const *server_names; /* DNS names and IP addresses of control_issuer_server; ends with NULL */
    uint32_t validity_s;             /* of a leaf at most */
    uint32_t overlap_s;              /* root.h */
    void (*on_ready)(void *owner, const struct control_issuer_standing *standing);
    void (*on_trouble)(void *owner, const char *reason); /* it died, did not start, or did not answer */
    void *owner;
};

/* Starts the child; everything is copied. 0, -EINVAL, -ENOMEM, -EMFILE …; a child that cannot start is no error here
 * (on_trouble, later). */
int control_issuer_new(const struct control_issuer_options *options, struct control_issuer **ret_issuer,
                       struct fl_err *err) FL_MUST_CHECK;
/* Kills the child and waits for its end. Requests under way are dropped without on_done. */
struct control_issuer *control_issuer_free(struct control_issuer *issuer);

void control_issuer_reload(struct control_issuer *issuer);
bool control_issuer_is_ready(const struct control_issuer *issuer);
pid_t control_issuer_pid(const struct control_issuer *issuer); /* of the child in use; 0: none */

/* A leaf for `key` with `identity` (a SPIFFE ID of our path form) as its one name; `validity_s` 0: the longest. */
void control_issuer_sign(struct control_issuer *issuer, struct control_issue *issue, struct fl_span identity,
                         const struct fl_key *key, uint32_t validity_s);
/* A leaf for `key` with the server names that the child was started with. */
void control_issuer_server(struct control_issuer *issuer, struct control_issue *issue, const struct fl_key *key);
/* on_done does not come any more. Idempotent. */
void control_issuer_cancel(struct control_issue *issue);

/* The child: the program's "issuer" command, started by the above and by nobody else. Exit status. */
int control_issuer_main(int argc, char **argv);

#endif
