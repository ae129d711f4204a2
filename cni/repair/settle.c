#include "cni/repair/settle.h"

#include "cni/capture/netns.h"

#include <errno.h>

#define TRIES_MAX 3

/* --- who may touch what --- */

static int build_plan(struct fl_span spec, struct cni_plan **ret_plan, struct fl_err *err)
{
    struct fl_capture capture;
    int result = fl_capture_parse(spec, &capture, err);
    if (result < 0)
        return result;
    FL_CLEANUP(fl_cleanup_free) struct cni_plan *plan = malloc(sizeof(*plan));
    result = plan == NULL ? -ENOMEM : cni_plan_build(&capture, plan);
    if (result < 0)
        return fl_err_errno(err, result, "plan");
    *ret_plan = fl_take(plan);
    return 0;
}

static int conflict(struct fl_err *err, const struct cni_plan *plan, const char *owner)
{
    if (strcmp(owner, plan->comment) == 0)
        fl_err_set(err, -EEXIST, "the rules there bear the name of this sidecar's spec, and are not its rules");
    else
        fl_err_set(err, -EEXIST, "the rules in force there are \"%s\", this sidecar's spec is \"%s\"", owner,
                   plan->comment);
    return CNI_SETTLE_CONFLICT;
}

/* The rules differ from the plan, or are not there. */
static int put_right(int netns, enum cni_backend backend, const struct cni_plan *plan, enum cni_settle_trust trust,
                     struct fl_err *err)
{
    char owner[CNI_PLAN_COMMENT_MAX] = "";
    struct fl_err why = {0};
    int owned = cni_apply_owner(netns, owner, &why);
    if (owned < 0)
        return fl_err_set(err, owned, "%s", why.text);
    bool may = trust == CNI_SETTLE_KNOWN || (trust == CNI_SETTLE_NAMED && strcmp(owner, plan->comment) == 0);
    if (owned == 0 && !may)
        return conflict(err, plan, owner);
    int result = cni_apply_program(netns, backend, plan, &why);
    if (result != 0) /* a read-back that differs: somebody else keeps changing it */
        return fl_err_set(err, result < 0 ? result : -EAGAIN, "%s", why.text);
    return owned == CNI_APPLY_NONE && trust != CNI_SETTLE_KNOWN ? CNI_SETTLE_CAPTURED : CNI_SETTLE_RESTORED;
}

int cni_settle(int netns, enum cni_backend backend, struct fl_span spec, enum cni_settle_trust trust,
               struct cni_glance *ret_glance, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_free) struct cni_plan *plan = NULL;
    struct fl_err why = {0};
    int own = -1, done = 0, result = build_plan(spec, &plan, err);
    if (result == 0)
        result = cni_netns_own(&own, err);
    FL_CLEANUP(fl_cleanup_close) int home = own;
    if (result < 0)
        return result;
    /* The glance comes before the check, so that what happens behind the check is seen as a move. */
    for (int i = 0; i < TRIES_MAX; i++) {
        result = cni_glance_first(netns, home, ret_glance, &why);
        if (result == 0)
            result = cni_apply_check(netns, CNI_BACKEND_AUTO, plan, &why);
        if (result < 0)
            return fl_err_set(err, result, "%s", why.text);
        if (result == 0)
            return done;
        if (done == 0) /* the difference is what a report tells */
            fl_err_set(err, why.code, "%s", why.text);
        result = put_right(netns, backend, plan, done != 0 ? CNI_SETTLE_KNOWN : trust, &why);
        if (result < 0 || result == CNI_SETTLE_CONFLICT) {
            fl_err_set(err, why.code, "%s", why.text);
            return result;
        }
        done = done != 0 ? done : result;
    }
    return fl_err_set(err, -EAGAIN, "the rules keep being changed: %s", why.text);
}
