/* TokenReview (authentication.k8s.io/v1): what is asked of the API server about one token, and what its answer means.
 * Pure.
 *
 * Who an answer says yes to must be a service account (user name and group), and the answer must name our audience:
 * an API server, or a webhook behind it, that does not know audiences has not looked at ours.
 */
#ifndef CONTROL_CA_REVIEW_H
#define CONTROL_CA_REVIEW_H

#include "common/base/buf.h"
#include "control/ca/authenticate.h"

#define CONTROL_REVIEW_PATH       "/apis/authentication.k8s.io/v1/tokenreviews"
#define CONTROL_REVIEW_ANSWER_MAX 65536 /* bytes; it repeats the token */

/* The body of the POST, appended. 0, -ENOMEM, -EMSGSIZE. */
int control_review_print(struct fl_span token, const char *audience, struct fl_buf *out) FL_MUST_CHECK;

/* OK with the caller (pod and pod_uid where the token is bound to one; expires is not set); REFUSED, AUDIENCE, SUBJECT;
 * UNAVAILABLE: no answer to our question, or memory is out. `detail`: what the API server said, for the log. */
enum control_auth_outcome control_review_read(struct fl_span json, const char *audience,
                                              struct control_caller *ret_caller, struct fl_err *detail);

#endif
