/* The self-check of a patch, before it is sent: a patch that does not apply would fail the pod's creation with an error
 * 500 of the API server, whatever the failure policy says; one that does more than it should would harm the pod. */
#ifndef WEBHOOK_SELFCHECK_H
#define WEBHOOK_SELFCHECK_H

#include "webhook/patch.h"

/* Applies the patch to a copy of the pod as the API server will, and looks at the result: all that the plan promises is
 * there, and nothing else differs from the pod. 0 (with the patched pod, if ret_patched is not NULL, owned by the
 * caller); -EBADMSG with the reason; -ENOMEM. */
int webhook_selfcheck(const struct fl_json *pod, const struct fl_json *patch, const struct webhook_plan *plan,
                      struct fl_json **ret_patched, struct fl_err *err) FL_MUST_CHECK;

#endif
