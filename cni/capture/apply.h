/* A plan put into force in a netns: programmed, read back and compared; checked; removed. What the plugin does at ADD,
 * CHECK and DEL, and an agent may do at any time. The back end is the caller's choice (backend.h); whichever is
 * programmed, what the other one has left there is removed.
 *
 * ADD is all or nothing: the rules, their read-back, then lo and ::6 (a lo that was up once does not look as before
 * when it is down again, so it comes after all that is likely to fail). Whatever fails, the netns is as it was; only
 * rules that were there, and were replaced by the same commit, are not put back: the new ones stay. Several at once in
 * one netns: the last commit is in force, and no ADD takes away what another one made. The calling thread visits the
 * netns only to open its sockets.
 */
#ifndef CNI_CAPTURE_APPLY_H
#define CNI_CAPTURE_APPLY_H

#include "cni/capture/backend.h"
#include "cni/capture/plan.h"

enum cni_apply_outcome {
    CNI_APPLY_DIFFERS = 1, /* what is in the netns is not the plan: err has the first difference */
    CNI_APPLY_NONE = 1,    /* cni_apply_owner: no rules of ours */
};

/* 0; CNI_APPLY_DIFFERS (the read-back differed); -EOPNOTSUPP (the kernel lacks
 * something, err names it); -EAGAIN (others kept changing the netns); another negative errno. */
int cni_apply_program(int netns, enum cni_backend backend, const struct cni_plan *plan,
                      struct fl_err *err) FL_MUST_CHECK;
/* 0, CNI_APPLY_DIFFERS or a negative errno. Changes nothing. CNI_BACKEND_AUTO: whichever holds our rules is compared.
 */
int cni_apply_check(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err) FL_MUST_CHECK;
/* 0 also where nothing was there; a negative errno. CNI_BACKEND_AUTO: of both. */
int cni_apply_remove(int netns, enum cni_backend backend, struct fl_err *err) FL_MUST_CHECK;

/* The comment of the rules that are there, as in cni_plan.comment: "fairlead capture <version> <digest>". 0;
 * CNI_APPLY_NONE (nothing of ours: ret_comment is left alone); a negative errno. A table that has our name and no
 * comment gives "". */
int cni_apply_owner(int netns, char ret_comment[CNI_PLAN_COMMENT_MAX], struct fl_err *err) FL_MUST_CHECK;

#endif
