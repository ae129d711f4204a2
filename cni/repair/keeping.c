/* The repair's network namespaces ("sandboxes"): opened through their processes, looked at, put right. */
#include "cni/repair/inside.h"

#include <errno.h>

#define GLANCE_MS      5500 /* between two glances at a sandbox, a beat more at most: within 10 s all is right again */
#define CHECK_MS       600000
#define DISPUTE_MS     3000 /* from the first candidate until rules that are not its spec's are decided upon */
#define BACKOFF_MS     1000
#define BACKOFF_MAX_MS 60000

void cni_repair_forget(struct cni_repair *repair, struct cni_sidecar *sidecar)
{
    for (size_t i = 0; i < READERS; i++) {
        if (repair->readers[i].sidecar == sidecar)
            repair->readers[i].sidecar = NULL;
    }
    fl_source_remove(&sidecar->exit);
    cni_sidecars_remove(&repair->set, sidecar);
}

/* Through the first of its processes that can be looked at. Those that are not there any more (they ended, or went to
 * another network namespace) are forgotten, and the sandbox with the last of them. 0; -ESRCH (the sandbox is gone);
 * another errno. */
static int open_sandbox(struct cni_repair *repair, struct cni_sandbox *sandbox, int *ret_netns, struct fl_err *err)
{
    int failed = 0;
    for (struct cni_sidecar *member = sandbox->members, *next; member != NULL; member = next) {
        next = member->next;
        int result = cni_sidecar_open_netns(&repair->proc, member->pid, member->pidfd, &sandbox->id, ret_netns,
                                            failed == 0 ? err : NULL);
        if (result == 0)
            return 0;
        if (result > 0)
            cni_repair_forget(repair, member);
        else if (failed == 0)
            failed = result;
    }
    return failed == 0 ? -ESRCH : failed == -ESRCH ? -EIO : failed;
}

/* Whether it is this process that lacks something. */
static bool is_shortage(int result)
{
    return result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS;
}

/* Before a process joins a sandbox: that its members are still in it. The kernel gives a network namespace's number
 * out again at once, and a sandbox whose processes have all gone elsewhere has no say about the next one that has its
 * number. One that cannot be looked at (its first thread has ended, say) counts as gone: the full look sees it again.
 * 0 or a negative errno: it cannot be told. */
int cni_repair_drop_moved(struct cni_repair *repair, const struct cni_netns_id *id, struct fl_err *err)
{
    struct cni_sandbox *sandbox = cni_sidecars_sandbox(&repair->set, id);
    for (struct cni_sidecar *member = sandbox != NULL ? sandbox->members : NULL, *next; member != NULL; member = next) {
        int opened = -1;
        next = member->next;
        int result = cni_sidecar_open_netns(&repair->proc, member->pid, member->pidfd, id, &opened, err);
        fl_cleanup_close(&opened);
        if (is_shortage(result))
            return result;
        if (result != 0)
            cni_repair_forget(repair, member);
    }
    return 0;
}

static void postpone(struct cni_sandbox *sandbox)
{
    uint32_t delay = BACKOFF_MS / 2 + fl_backoff_next(&sandbox->backoff);
    sandbox->next_ms = cni_repair_now_ms() + delay;
}

static void fail_sandbox(struct cni_repair *repair, struct cni_sandbox *sandbox, const struct fl_err *err)
{
    bool first = sandbox->state != CNI_SANDBOX_FAILED;
    cni_sandbox_become(sandbox, CNI_SANDBOX_FAILED);
    if (first)
        fl_backoff_init(&sandbox->backoff, BACKOFF_MS, BACKOFF_MAX_MS);
    postpone(sandbox);
    if (first)
        cni_repair_tell_of(repair, CNI_REPAIR_FAILED, sandbox->members, err->text, sandbox->members->seen_ns);
}

/* Those that are in conflict with what the sandbox was just bound to. */
static void tell_conflicts(struct cni_repair *repair, const struct cni_sandbox *sandbox)
{
    for (struct cni_sidecar *member = sandbox->members; member != NULL; member = member->next) {
        if (member->state == CNI_SIDECAR_CONFLICT_STATE)
            cni_repair_tell_of(repair, CNI_REPAIR_CONFLICT, member, "another capture spec is in force there",
                               member->seen_ns);
    }
}

static void settled(struct cni_repair *repair, struct cni_sandbox *sandbox, struct cni_sidecar *member, int outcome,
                    const struct fl_err *err, uint64_t since_ns)
{
    const uint64_t now = cni_repair_now_ms();
    cni_sandbox_become(sandbox, CNI_SANDBOX_CAPTURED);
    sandbox->told = false;
    sandbox->next_ms = now + GLANCE_MS;
    sandbox->check_ms = now + CHECK_MS / 2 + fl_backoff_draw(CHECK_MS / 2);
    if (outcome != 0) /* ::6 cannot be bound for a moment after it was added: that glance is good for nothing */
        sandbox->next_ms = sandbox->check_ms = now + AGAIN_MS;
    if (outcome == CNI_SETTLE_CAPTURED)
        cni_repair_tell_of(repair, CNI_REPAIR_CAPTURED, member, "", member->seen_ns);
    else if (outcome == CNI_SETTLE_RESTORED)
        cni_repair_tell_of(repair, CNI_REPAIR_RESTORED, member, err->text, since_ns);
}

/* For a sandbox that is bound: its spec, whoever of its processes is left. */
static void settle_bound(struct cni_repair *repair, struct cni_sandbox *sandbox, int netns)
{
    struct fl_err err = {0};
    const uint64_t since = cni_repair_now_ns();
    int result = cni_settle(netns, repair->settings.backend, fl_span_make(sandbox->spec, sandbox->spec_len),
                            CNI_SETTLE_KNOWN, &sandbox->glance, &err);
    if (result < 0)
        fail_sandbox(repair, sandbox, &err);
    else
        settled(repair, sandbox, sandbox->members, result, &err, since);
}

/* A name counts only once every sidecar of the pod has had time to show its spec, and all show the same one: where two
 * have one digest, one of them was made to have it. */
static enum cni_settle_trust trust_in(const struct cni_sandbox *sandbox)
{
    bool old = cni_repair_now_ms() >= sandbox->since_ms + DISPUTE_MS;
    return old && cni_sidecars_agree(sandbox) ? CNI_SETTLE_NAMED : CNI_SETTLE_STRANGER;
}

static void dispute(struct cni_repair *repair, struct cni_sandbox *sandbox, const struct fl_err *err)
{
    const uint64_t now = cni_repair_now_ms(), decided = sandbox->since_ms + DISPUTE_MS;
    cni_sandbox_become(sandbox, CNI_SANDBOX_DISPUTED);
    sandbox->next_ms = now < decided ? decided : now + GLANCE_MS;
    if (now < decided || sandbox->told)
        return;
    sandbox->told = true;
    cni_repair_tell_of(repair, CNI_REPAIR_CONFLICT, sandbox->members, err->text, sandbox->members->seen_ns);
}

/* Each candidate in the order of coming, until one's spec is in force. */
static void settle_unbound(struct cni_repair *repair, struct cni_sandbox *sandbox, int netns)
{
    struct fl_err err = {0};
    const enum cni_settle_trust trust = trust_in(sandbox);
    int result = CNI_SETTLE_CONFLICT;
    struct cni_sidecar *member = sandbox->members;
    for (; member != NULL; member = result == CNI_SETTLE_CONFLICT ? member->next : NULL) {
        result = cni_settle(netns, repair->settings.backend, cni_sidecar_spec(member), trust, &sandbox->glance, &err);
        if (result >= 0 && result != CNI_SETTLE_CONFLICT) {
            cni_sidecars_bind(sandbox, member);
            settled(repair, sandbox, member, result, &err, member->seen_ns);
            tell_conflicts(repair, sandbox);
            return;
        }
    }
    if (result < 0)
        fail_sandbox(repair, sandbox, &err);
    else
        dispute(repair, sandbox, &err);
}

/* A thorough look at it, now if there is work left for this beat and its pod has time left. */
void cni_repair_settle(struct cni_repair *repair, struct cni_sandbox *sandbox)
{
    struct fl_err err = {0};
    const uint64_t since = cni_repair_now_ns();
    int opened = -1;
    sandbox->due = true;
    if (repair->settles == 0 || cni_sandbox_is_held(sandbox, cni_repair_now_ms())) {
        sandbox->next_ms = 0;
        return;
    }
    repair->settles--;
    int result = open_sandbox(repair, sandbox, &opened, &err);
    FL_CLEANUP(fl_cleanup_close) int netns = opened;
    if (result == -ESRCH)
        return;
    repair->counts.checks++;
    sandbox->due = false;
    if (result < 0)
        fail_sandbox(repair, sandbox, &err);
    else if (sandbox->spec != NULL)
        settle_bound(repair, sandbox, netns);
    else
        settle_unbound(repair, sandbox, netns);
    cni_sandbox_charge(sandbox, since, cni_repair_now_ns());
}

/* True: nothing moved there since it was last right. All that is odd is for the thorough look to find out. */
static bool is_unmoved(const struct cni_repair *repair, const struct cni_sandbox *sandbox)
{
    struct cni_glance look;
    int opened = -1, result = CNI_SIDECAR_GONE;
    for (const struct cni_sidecar *member = sandbox->members; member != NULL && result != 0; member = member->next)
        result = cni_sidecar_peek_netns(&repair->proc, member->pid, &sandbox->id, &opened);
    FL_CLEANUP(fl_cleanup_close) int netns = opened;
    return result == 0 && cni_glance_again(netns, repair->home, &sandbox->glance, &look, NULL) == 0 &&
           cni_glance_same(&look, &sandbox->glance);
}

/* The look of every few seconds: nothing moved, or a thorough one. */
void cni_repair_glance(struct cni_repair *repair, struct cni_sandbox *sandbox, uint64_t now)
{
    const uint64_t since = cni_repair_now_ns();
    bool still = sandbox->state == CNI_SANDBOX_CAPTURED || (sandbox->state == CNI_SANDBOX_DISPUTED && sandbox->told);
    if (cni_sandbox_is_held(sandbox, cni_repair_now_ms()))
        return;
    if (!still || sandbox->due || (sandbox->state == CNI_SANDBOX_CAPTURED && now >= sandbox->check_ms)) {
        cni_repair_settle(repair, sandbox);
        return;
    }
    repair->counts.fingerprints++;
    sandbox->next_ms = now + GLANCE_MS;
    if (!is_unmoved(repair, sandbox))
        cni_repair_settle(repair, sandbox);
    else
        cni_sandbox_charge(sandbox, since, cni_repair_now_ns());
}
