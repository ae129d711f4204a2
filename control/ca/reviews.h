/* The authenticator of Kubernetes: the API server judges tokens (TokenReview, review.h). It answers later, or at once
 * where it has been asked before.
 *
 * The order, so that whoever floods us keeps nothing from others:
 *  1. What a token says of itself: one that is malformed, of no service account, expired or for another audience is
 *     refused without a question.
 *  2. What was said before: accepted for CONTROL_REVIEWS_ACCEPTED_MS at most (a token that was revoked, or whose pod is
 *     gone, is good for so long at most), never beyond its own end; refused for CONTROL_REVIEWS_REFUSED_MS. A token of
 * a pod that the model does not have (any more), or has with another uid, is asked about again, unless that was done in
 *     the last CONTROL_REVIEWS_SETTLE_MS: the API server knows which of the two is late.
 *  3. The peer's rate; a token that is refused costs five.
 *  4. The queue: those who have also shown a certificate of ours first, and in places of their own, so that many
 *     addresses at once cannot take them. Who waits for CONTROL_REVIEWS_WAIT_MS is sent away with BUSY. Reviews under
 *     way, and a second, are bounded for all together.
 * A token that is asked about already is not asked about again: its callers wait for one answer, and it goes to the
 * better places with the first of them who is vouched for.
 *
 * API server slow or away: UNAVAILABLE, but for what is known.
 */
#ifndef CONTROL_CA_REVIEWS_H
#define CONTROL_CA_REVIEWS_H

#include "common/kube/client.h"
#include "control/ca/authenticate.h"

struct fl_metrics;

#define CONTROL_REVIEWS_ACCEPTED     16384 /* verdicts that are kept, 900 bytes each */
#define CONTROL_REVIEWS_REFUSED      2048
#define CONTROL_REVIEWS_ACCEPTED_MS  300000
#define CONTROL_REVIEWS_REFUSED_MS   10000
#define CONTROL_REVIEWS_SETTLE_MS    10000
#define CONTROL_REVIEWS_RATE         50 /* a second, and twice as many at once, of all */
#define CONTROL_REVIEWS_PEER_RATE    5  /* of an address; four times as many at once */
#define CONTROL_REVIEWS_REFUSAL_COST 5
#define CONTROL_REVIEWS_UNDER_WAY    32
#define CONTROL_REVIEWS_WAITING      1024 /* tokens, not callers */
#define CONTROL_REVIEWS_VOUCHED      256  /* … besides these, of callers with a certificate of ours */
#define CONTROL_REVIEWS_WAIT_MS      5000
#define CONTROL_REVIEWS_REQUEST_MS   5000

enum control_reviews_pod {                              /* what the model says of a pod of that name and uid */
                           CONTROL_REVIEWS_POD_UNKNOWN, /* nothing: it has no pods (yet), or does not know uids */
                           CONTROL_REVIEWS_POD_THERE,
                           CONTROL_REVIEWS_POD_GONE /* there is none, or another one of the name */
};

struct control_reviews_options {
    struct fl_loop *loop;
    struct fl_kube_client *client; /* borrowed: outlives this */
    struct fl_metrics *metrics;
    const char *audience;                                                                  /* copied */
    uint32_t rate, peer_rate;                                                              /* 0: the defaults above */
    enum control_reviews_pod (*look_up)(void *owner, const struct control_caller *caller); /* NULL: nobody knows */
    void *owner;
};

/* 0 or -ENOMEM. */
int control_reviews_new(const struct control_reviews_options *options,
                        struct control_authenticator **ret_authenticator) FL_MUST_CHECK;

#endif
