#include "cni/repair/settle.h"

#include "cni/capture/netns.h"
#include "common/mesh/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define TRIES_MAX 3

/* --- the glance --- */

/* ::6 is there where a socket can be bound to it. Without IPv6 it cannot, at any time: that never moves. */
static void look_at_loopback(struct cni_settle_glance *glance)
{
    FL_CLEANUP(fl_cleanup_close) int six = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    FL_CLEANUP(fl_cleanup_close) int four = six < 0 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    struct ifreq request = {.ifr_name = "lo"};
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    address.sin6_addr.s6_addr[15] = 6; /* FL_PASSTHROUGH_IPV6 */
    glance->up = ioctl(six < 0 ? four : six, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
    glance->passthrough = six >= 0 && bind(six, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

int cni_settle_look(int netns, struct cni_settle_glance *ret_glance, struct fl_err *err)
{
    struct cni_settle_glance glance = {0};
    FL_CLEANUP(fl_cleanup_close) int back = -1;
    int result = cni_apply_fingerprint(netns, &glance.fingerprint, err);
    if (result < 0)
        return result;
    result = cni_netns_enter(netns, &back, err);
    if (result < 0)
        return result;
    look_at_loopback(&glance);
    result = cni_netns_leave(back, err);
    if (result == 0)
        *ret_glance = glance;
    return result;
}

bool cni_settle_same(const struct cni_settle_glance *a, const struct cni_settle_glance *b)
{
    return a->fingerprint == b->fingerprint && a->up == b->up && a->passthrough == b->passthrough;
}

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
               struct cni_settle_glance *ret_glance, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_free) struct cni_plan *plan = NULL;
    struct fl_err why = {0};
    int done = 0, result = build_plan(spec, &plan, err);
    if (result < 0)
        return result;
    /* The glance comes before the check, so that what happens behind the check is seen as a move. */
    for (int i = 0; i < TRIES_MAX; i++) {
        result = cni_settle_look(netns, ret_glance, &why);
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
