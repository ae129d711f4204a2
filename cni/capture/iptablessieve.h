/* What iptables-save prints, while it comes: what is ours is kept, the rest is let go, so that a netns with a hundred
 * thousand rules of others is compared and restored like any. Without I/O.
 *
 * Kept are the names of tables, every line with our prefix in it, and, where an entry into our chains is not the first
 * rule of its chain, a rule without words in front of it. So iptablessave.h says the same of what is kept as of the
 * whole; a test holds the two together.
 */
#ifndef CNI_CAPTURE_IPTABLESSIEVE_H
#define CNI_CAPTURE_IPTABLESSIEVE_H

#include "common/base/buf.h"

#define CNI_IPTABLES_OUTPUT_MAX (64u << 20) /* bytes of one program's output, kept or not */

struct cni_iptables_sieve {
    struct fl_buf *out; /* borrowed; has a maximum of its own */
    struct fl_buf line; /* owned; the line that has no end yet */
    size_t total;
    bool skipped;    /* a rule of this chain was let go, and none was kept since */
    size_t len;      /* of the chain's name */
    char chain[256]; /* of the rule before; a longer name is cut */
};

void cni_iptables_sieve_init(struct cni_iptables_sieve *sieve, struct fl_buf *out);
void cni_iptables_sieve_done(struct cni_iptables_sieve *sieve);

/* The next bytes, cut anywhere. A line without an end is not looked at. 0, -ENOMEM or -EMSGSIZE. */
int cni_iptables_sieve_feed(struct cni_iptables_sieve *sieve, struct fl_span bytes) FL_MUST_CHECK;

#endif
