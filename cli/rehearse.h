/* One admission rehearsed: the very code of the webhook, asked on a person's machine about a pod that nobody creates.
 */
#ifndef CLI_REHEARSE_H
#define CLI_REHEARSE_H

#include "webhook/review.h"

struct cli_rehearsal {
    struct webhook_verdict_report report;
    struct fl_json *patched; /* owned: the pod as it would be stored; NULL where it was refused */
    struct fl_json *audit;   /* owned: the audit annotations of the answer; NULL: none */
};

/* `pod` as it comes to admission. 0, whatever the verdict; -EMSGSIZE (larger than an AdmissionReview may be), -ENOMEM,
 * -EBADMSG (the answer cannot be read: a fault of ours). */
int cli_rehearse(const struct webhook_context *context, const struct fl_json *pod, struct fl_span name_space,
                 struct cli_rehearsal *ret_rehearsal, struct fl_err *err) FL_MUST_CHECK;
void cli_rehearsal_done(struct cli_rehearsal *rehearsal);

#endif
