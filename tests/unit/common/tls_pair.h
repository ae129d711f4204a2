/* Two TLS sessions, client and server, joined by two byte queues in memory, for tests. */
#ifndef TESTS_UNIT_COMMON_TLS_PAIR_H
#define TESTS_UNIT_COMMON_TLS_PAIR_H

#include "common/base/buf.h"
#include "common/tls/session.h"

struct tls_end {
    struct fl_tls *tls;
    struct fl_buf out;      /* what it sent and the other end has not been fed yet */
    struct fl_buf received; /* plaintext */
    unsigned opened;        /* calls */
    unsigned receives;      /* calls */
    size_t received_at_open;
    int result;    /* of the last call */
    int fail_send; /* errno that the sink gives from now on; 0: it works */
    int fail_receive;
    bool echo; /* what it receives it writes back at once, from inside the sink */
};

struct tls_pair {
    struct tls_end client, server;
};

void tls_pair_init(struct tls_pair *pair, struct fl_tls_context *client, struct fl_tls_context *server);
void tls_pair_done(struct tls_pair *pair);

/* Feeds what `from` has sent to `to`, in pieces of at most `piece` bytes, each in memory of its own that ends at a
 * guard page. Stops at the first failure. False where there was nothing. */
bool tls_pair_move(struct tls_end *from, struct tls_end *to, size_t piece);
/* Starts the client, and moves until both are silent. */
void tls_pair_run(struct tls_pair *pair, size_t piece);
void tls_pair_settle(struct tls_pair *pair, size_t piece); /* the same without the start */

#endif
