/* What was said of tokens, kept for a while: by a SHA-256 of the token, never the token. Bounded; accepted and refused
 * ones apart, so that a flood of bad tokens drives no good one out; where one of the two is full, its oldest entry
 * makes room. Pure; one thread's.
 */
#ifndef CONTROL_CA_VERDICTS_H
#define CONTROL_CA_VERDICTS_H

#include "common/pki/digest.h"
#include "control/ca/authenticate.h"

struct control_verdicts;

struct control_verdict {
    enum control_auth_outcome outcome;
    struct control_caller caller;
    uint64_t made_ms, until_ms; /* on a clock that does not run back */
};

/* 0 or -ENOMEM. */
int control_verdicts_new(size_t accepted_max, size_t refused_max, struct control_verdicts **ret_verdicts) FL_MUST_CHECK;
struct control_verdicts *control_verdicts_free(struct control_verdicts *verdicts);

/* NULL: none, or it is over. Borrowed until the next call. */
const struct control_verdict *control_verdicts_get(struct control_verdicts *verdicts,
                                                   const unsigned char digest[FL_DIGEST_SIZE], uint64_t now_ms);
/* Replaces what was there. Where memory is out it is not kept. */
void control_verdicts_put(struct control_verdicts *verdicts, const unsigned char digest[FL_DIGEST_SIZE],
                          const struct control_verdict *verdict);
void control_verdicts_drop(struct control_verdicts *verdicts, const unsigned char digest[FL_DIGEST_SIZE]);
size_t control_verdicts_count(const struct control_verdicts *verdicts);

#endif
