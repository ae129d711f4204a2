/* How long things live and how long is waited between steps, in seconds; with the bounds and what they must be to each
 * other, so that no setting makes a certificate expire while something waits.
 */
#ifndef WEBHOOK_KEEPER_POLICY_H
#define WEBHOOK_KEEPER_POLICY_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdint.h>

#define KEEPER_DAY UINT64_C(86400)

#define KEEPER_VALIDITY_DEFAULT (30 * KEEPER_DAY) /* a leaf: stolen, it is of use for a month at most */
#define KEEPER_RENEW_DEFAULT    (10 * KEEPER_DAY) /* a keeper that is away for a week and a half harms nobody */
#define KEEPER_CA_VALIDITY_DEFAULT                                                                                     \
    (365 * KEEPER_DAY)                            /* so that rotation is a habit, not an event of every tenth year */
#define KEEPER_PROPAGATION_DEFAULT UINT64_C(300)  /* API servers follow by a watch: seconds, with one that restarts */
#define KEEPER_OVERLAP_DEFAULT     UINT64_C(3600) /* the kubelet brings a Secret within two minutes or so */
#define KEEPER_SECONDS_MAX         (3653 * KEEPER_DAY) /* ten years */
#define KEEPER_WAIT_SECONDS_MAX    (7 * KEEPER_DAY)    /* propagation and overlap */
#define KEEPER_BACKDATE_SECONDS    UINT64_C(300)       /* notBefore lies so far back: clocks of API servers differ */

struct keeper_policy {
    uint64_t validity;     /* of a leaf */
    uint64_t renew_before; /* its end: then the next one is made */
    uint64_t ca_validity;  /* of a root */
    uint64_t propagation;  /* a caBundle that is written is in force at every API server, at the latest */
    uint64_t overlap;      /* a Secret that is written is served by every webhook, at the latest */
};

void keeper_policy_init(struct keeper_policy *policy); /* the defaults */

/* 0, or -EINVAL with the option that is wrong and what would be right. */
int keeper_policy_check(const struct keeper_policy *policy, struct fl_err *err) FL_MUST_CHECK;

/* The next root is made so long before the present one ends: every leaf has its full life under the root that signed
 * it, with both waits to spare. */
uint64_t keeper_policy_ca_renew_before(const struct keeper_policy *policy);

#endif
