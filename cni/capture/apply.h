/* A plan put into force in a netns: programmed by one batch, read back and compared; checked; removed. What the plugin
 * does at ADD, CHECK and DEL, and an agent may do at any time.
 *
 * ADD is all or nothing: the one batch, its read-back, then lo and ::6 (a lo that was up once does not look as before
 * when it is down again, so it comes after all that is likely to fail). Whatever fails, the netns is as it was; only a
 * table that was there, and was replaced by the same commit, is not put back: the new one stays. Killed in between,
 * there is no table or the whole of it. Several at once in one netns: the last commit is in force, and no ADD takes
 * away what another one made. The calling thread visits the netns only to open its sockets.
 */
#ifndef CNI_CAPTURE_APPLY_H
#define CNI_CAPTURE_APPLY_H

#include "cni/capture/plan.h"

enum cni_apply_outcome {
    CNI_APPLY_DIFFERS = 1, /* what is in the netns is not the plan: err has the first difference */
};

/* 0; CNI_APPLY_DIFFERS (the read-back differed); -EOPNOTSUPP (the kernel lacks
 * something, err names it); -EAGAIN (others kept changing the netns); another negative errno. */
int cni_apply_program(int netns, const struct cni_plan *plan, struct fl_err *err) FL_MUST_CHECK;
/* 0, CNI_APPLY_DIFFERS or a negative errno. Changes nothing. */
int cni_apply_check(int netns, const struct cni_plan *plan, struct fl_err *err) FL_MUST_CHECK;
/* 0 also where nothing was there; a negative errno. */
int cni_apply_remove(int netns, struct fl_err *err) FL_MUST_CHECK;

#endif
