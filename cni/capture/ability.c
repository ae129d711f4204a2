#include "cni/capture/ability.h"

#include "cni/capture/apply.h"
#include "cni/capture/netns.h"

#include <errno.h>

int cni_ability_check(enum cni_backend backend, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int netns = -1;
    struct fl_capture capture;
    struct cni_plan plan;
    fl_capture_defaults(&capture);
    int result = cni_plan_build(&capture, &plan);
    if (result < 0)
        return fl_err_errno(err, result, "plan the default capture");
    result = cni_netns_make(&netns, err);
    if (result < 0)
        return result;
    result = cni_apply_program(netns, backend, &plan, err);
    return result == CNI_APPLY_DIFFERS ? -EIO : result;
}
