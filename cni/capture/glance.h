/* A glance at a netns: the few numbers that move whenever what captures there may have changed, for whoever asks every
 * few seconds. 14 system calls with the netns opened, 33 µs, one visit; nothing is loaded, made or changed by it. Equal
 * glances mean that the rules are those of the first one; others say only that a thorough look (cni_apply_check) is
 * due.
 *
 * Tables of nf_tables, iptables-nft's among them, do not change but by a commit, which the netns counts. iptables' old
 * tables have no such count and are read, but only where rules of ours were found in them.
 */
#ifndef CNI_CAPTURE_GLANCE_H
#define CNI_CAPTURE_GLANCE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct cni_glance {
    uint64_t rules;   /* moves with any commit to nf_tables; with `legacy`, also with any change there */
    bool legacy;      /* rules of ours are in iptables' old tables */
    bool up;          /* lo is up */
    bool passthrough; /* ::6 can be bound; never without IPv6 */
};

/* The first one, which finds out where rules of ours are. `home` is the calling thread's own netns (cni_netns_own): it
 * is back there afterwards. 0 or a negative errno. */
int cni_glance_first(int netns, int home, struct cni_glance *ret_glance, struct fl_err *err) FL_MUST_CHECK;
/* A later one, to be compared with `before`: it looks where that found rules. */
int cni_glance_again(int netns, int home, const struct cni_glance *before, struct cni_glance *ret_glance,
                     struct fl_err *err) FL_MUST_CHECK;
bool cni_glance_same(const struct cni_glance *a, const struct cni_glance *b);

#endif
