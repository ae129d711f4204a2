#include "cni/capture/iptables.h"

#include "cni/capture/iptablessave.h"
#include "cni/capture/netns.h"

#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define TRIES_MAX    8
#define LOCK_SECONDS 1

static const int domains[CNI_FAMILIES] = {AF_INET, AF_INET6};

/* --- open and close --- */

/* A child waits, with a limit; the lock is the open file's, so it stays when the child is gone. */
static bool wait_for_lock(int netns)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        signal(SIGALRM, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
        alarm(LOCK_SECONDS);
        _exit(flock(netns, LOCK_EX) < 0);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int look(struct cni_iptables *iptables, struct cni_netlink *netfilter, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int back = -1;
    int result = cni_netns_enter(iptables->netns, &back, err);
    if (result < 0)
        return result;
    result = cni_iptables_kernel_open(&iptables->kernel, err);
    int left = cni_netns_leave(back, result < 0 ? NULL : err);
    if (result == 0)
        result = left;
    return result < 0 ? result : cni_iptables_kernel_read(&iptables->kernel, netfilter, &iptables->traces, err);
}

int cni_iptables_open(struct cni_iptables *iptables, int netns, bool ipv6, bool to_change,
                      struct cni_netlink *netfilter, struct fl_err *err)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    *iptables = (struct cni_iptables){.netns = netns, .ipv6 = ipv6, .kernel = {.sockets = {-1, -1}}};
    iptables->opened = sigaction(SIGCHLD, &standard, &iptables->before) == 0;
    iptables->locked =
        to_change && (flock(netns, LOCK_EX | LOCK_NB) == 0 || (errno == EWOULDBLOCK && wait_for_lock(netns)));
    return look(iptables, netfilter, err);
}

void cni_iptables_close(struct cni_iptables *iptables)
{
    if (iptables->locked)
        (void)!flock(iptables->netns, LOCK_UN);
    if (iptables->opened)
        (void)!sigaction(SIGCHLD, &iptables->before, NULL);
    iptables->locked = iptables->opened = false;
    cni_iptables_kernel_close(&iptables->kernel);
}

/* --- one family --- */

static bool traced(const struct cni_iptables *iptables, enum cni_iptables_variant variant, int family)
{
    return variant == CNI_IPTABLES_LEGACY ? iptables->traces.legacy[family] : iptables->traces.nft[family];
}

static int save(const struct cni_iptables *iptables, enum cni_iptables_variant variant, int family, struct fl_buf *out,
                struct fl_err *err)
{
    char path[CNI_IPTABLES_PATH_MAX];
    int result = cni_iptables_tool_find(variant, family, CNI_IPTABLES_SAVE, path, err);
    fl_buf_clear(out);
    return result < 0 ? result
                      : cni_iptables_tool_run(iptables->netns, path, CNI_IPTABLES_SAVE, (struct fl_span){0}, out, err);
}

static int restore(const struct cni_iptables *iptables, enum cni_iptables_variant variant, int family,
                   struct fl_span present, struct fl_span wanted, struct fl_err *err)
{
    char path[CNI_IPTABLES_PATH_MAX];
    FL_CLEANUP(fl_buf_done) struct fl_buf input;
    fl_buf_init(&input, 2 * CNI_IPTABLES_TEXT_MAX);
    struct fl_err failure = {0};
    int result = cni_iptables_transition(present, wanted, &input, &failure);
    if (result < 0)
        return failure.code != 0 ? fl_err_set(err, result, "%s", failure.text)
                                 : fl_err_errno(err, result, "write the rules of iptables");
    if (input.len == 0)
        return 0;
    result = cni_iptables_tool_find(variant, family, CNI_IPTABLES_RESTORE, path, err);
    return result < 0
               ? result
               : cni_iptables_tool_run(iptables->netns, path, CNI_IPTABLES_RESTORE, fl_buf_span(&input), NULL, err);
}

/* From whatever is there now; others may keep changing it. */
static int bring_to(const struct cni_iptables *iptables, enum cni_iptables_variant variant, int family,
                    struct fl_span wanted, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf present;
    fl_buf_init(&present, CNI_IPTABLES_TEXT_MAX);
    int result = -EAGAIN;
    for (int tries = 0; result == -EAGAIN && tries < TRIES_MAX; tries++) {
        result = save(iptables, variant, family, &present, err);
        if (result == 0)
            result = restore(iptables, variant, family, fl_buf_span(&present), wanted, err);
    }
    return result;
}

/* --- programming --- */

struct texts {
    struct fl_buf of[CNI_FAMILIES];
};

static void texts_done(struct texts *texts)
{
    for (int family = 0; family < CNI_FAMILIES; family++)
        fl_buf_done(&texts->of[family]);
}

/* A kernel without IPv6 wants none. */
static int texts_print(const struct cni_iptables *iptables, const struct cni_plan *plan, struct texts *texts,
                       struct fl_err *err)
{
    int result = 0;
    for (int family = 0; family < CNI_FAMILIES; family++)
        fl_buf_init(&texts->of[family], CNI_IPTABLES_TEXT_MAX);
    for (int family = 0; result == 0 && family < CNI_FAMILIES; family++) {
        if (family == CNI_IPV4 || iptables->kernel.ipv6)
            result = cni_iptables_print(plan, domains[family], &texts->of[family], err);
    }
    return result == 0 || result == -EOPNOTSUPP ? result : fl_err_errno(err, result, "write the rules of iptables");
}

void cni_iptables_change_done(struct cni_iptables_change *change)
{
    for (int family = 0; family < CNI_FAMILIES; family++)
        fl_buf_done(&change->before[family]);
}

static int undo_family(struct cni_iptables *iptables, struct cni_iptables_change *change, int family,
                       struct fl_err *err)
{
    if (!change->changed[family])
        return 0;
    change->changed[family] = false;
    return bring_to(iptables, change->variant, family, fl_buf_span(&change->before[family]), err);
}

void cni_iptables_undo(struct cni_iptables *iptables, struct cni_iptables_change *change, struct fl_err *err)
{
    struct fl_err failure = {0};
    for (int family = CNI_FAMILIES - 1; family >= 0; family--) {
        if (undo_family(iptables, change, family, &failure) < 0 && err != NULL)
            fl_err_prefix(err, "(and what was done could not be undone: %s)", failure.text);
    }
}

/* Both programs, before anything is done with one. */
static int find_tools(enum cni_iptables_variant variant, int family, struct fl_err *err)
{
    char path[CNI_IPTABLES_PATH_MAX];
    int result = cni_iptables_tool_find(variant, family, CNI_IPTABLES_RESTORE, path, err);
    return result < 0 ? result : cni_iptables_tool_find(variant, family, CNI_IPTABLES_SAVE, path, err);
}

/* A first programming finds nothing, and saves the run that would show it. */
static int program_family(struct cni_iptables *iptables, struct cni_iptables_change *change, int family,
                          struct fl_span wanted, struct fl_err *err)
{
    int result = find_tools(change->variant, family, err);
    if (result == 0 && traced(iptables, change->variant, family))
        result = save(iptables, change->variant, family, &change->before[family], err);
    if (result < 0)
        return result;
    change->changed[family] = true;
    result = restore(iptables, change->variant, family, fl_buf_span(&change->before[family]), wanted, err);
    return result == -EAGAIN ? bring_to(iptables, change->variant, family, wanted, err) : result;
}

static int compare_family(const struct cni_iptables *iptables, enum cni_iptables_variant variant, int family,
                          struct fl_span wanted, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf present;
    fl_buf_init(&present, CNI_IPTABLES_TEXT_MAX);
    int result = save(iptables, variant, family, &present, err);
    if (result < 0)
        return result;
    if (cni_iptables_same(fl_buf_span(&present), wanted, err))
        return 0;
    fl_err_prefix(err, "IPv%d", family == CNI_IPV4 ? 4 : 6);
    return CNI_IPTABLES_DIFFERS;
}

/* Both families and their read-back. IPv6 that the host cannot do is let be where the netns has none. */
static int program_variant(struct cni_iptables *iptables, struct cni_iptables_change *change, const struct texts *texts,
                           struct fl_err *err)
{
    for (int family = 0; family < CNI_FAMILIES; family++) {
        struct fl_span wanted = fl_buf_span(&texts->of[family]);
        if (wanted.len == 0 && !traced(iptables, change->variant, family))
            continue;
        int result = program_family(iptables, change, family, wanted, err);
        if (result < 0 && family == CNI_IPV6 && !iptables->ipv6) {
            (void)!undo_family(iptables, change, family, NULL);
            continue;
        }
        if (result == 0)
            result = compare_family(iptables, change->variant, family, wanted, err);
        if (result != 0)
            return result;
    }
    return 0;
}

static int remove_variant(struct cni_iptables *iptables, enum cni_iptables_variant variant, struct fl_err *err)
{
    int result = 0;
    for (int family = 0; result == 0 && family < CNI_FAMILIES; family++) {
        if (traced(iptables, variant, family))
            result = bring_to(iptables, variant, family, (struct fl_span){0}, err);
    }
    return result;
}

/* The whole with one variant, or nothing. */
static int try_variant(struct cni_iptables *iptables, enum cni_iptables_variant variant, const struct texts *texts,
                       struct cni_iptables_change *ret_change, struct fl_err *err)
{
    const enum cni_iptables_variant other = variant == CNI_IPTABLES_LEGACY ? CNI_IPTABLES_NFT : CNI_IPTABLES_LEGACY;
    struct cni_iptables_change change = {.variant = variant};
    for (int family = 0; family < CNI_FAMILIES; family++)
        fl_buf_init(&change.before[family], CNI_IPTABLES_TEXT_MAX);
    int result = program_variant(iptables, &change, texts, err);
    if (result == 0)
        result = remove_variant(iptables, other, err);
    if (result == 0) {
        *ret_change = change;
        return 0;
    }
    cni_iptables_undo(iptables, &change, err);
    cni_iptables_change_done(&change);
    return result;
}

/* A variant that the host or the kernel lacks makes room for the other one. */
int cni_iptables_program(struct cni_iptables *iptables, const struct cni_plan *plan,
                         struct cni_iptables_change *ret_change, struct fl_err *err)
{
    FL_CLEANUP(texts_done) struct texts texts;
    struct fl_err first = {0}, second = {0};
    int result = texts_print(iptables, plan, &texts, err);
    if (result < 0)
        return result;
    result = try_variant(iptables, CNI_IPTABLES_LEGACY, &texts, ret_change, &first);
    if (result != -ENOENT && result != -EOPNOTSUPP)
        return result == 0 ? 0 : (fl_err_set(err, first.code, "%s", first.text), result);
    result = try_variant(iptables, CNI_IPTABLES_NFT, &texts, ret_change, &second);
    if (result == 0)
        return 0;
    bool lacks = result == -ENOENT || result == -EOPNOTSUPP;
    fl_err_set(err, lacks ? -EOPNOTSUPP : second.code, "%s; %s", first.text, second.text);
    return lacks ? -EOPNOTSUPP : result;
}

/* --- the other verbs --- */

int cni_iptables_compare(struct cni_iptables *iptables, const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(texts_done) struct texts texts;
    const struct cni_iptables_traces *traces = &iptables->traces;
    bool legacy = traces->legacy[CNI_IPV4] || traces->legacy[CNI_IPV6];
    bool nft = traces->nft[CNI_IPV4] || traces->nft[CNI_IPV6];
    int result = texts_print(iptables, plan, &texts, err);
    if (result == 0 && legacy == nft) {
        fl_err_set(err, -EBADMSG,
                   legacy ? "rules of ours are in iptables-legacy and in iptables-nft"
                          : "iptables has no rules of ours");
        return CNI_IPTABLES_DIFFERS;
    }
    enum cni_iptables_variant variant = legacy ? CNI_IPTABLES_LEGACY : CNI_IPTABLES_NFT;
    for (int family = 0; result == 0 && family < CNI_FAMILIES; family++) {
        bool let_be = family == CNI_IPV6 && (!iptables->ipv6 || texts.of[family].len == 0);
        if (traced(iptables, variant, family) || !let_be)
            result = compare_family(iptables, variant, family, fl_buf_span(&texts.of[family]), err);
    }
    return result;
}

int cni_iptables_remove(struct cni_iptables *iptables, struct fl_err *err)
{
    int legacy = remove_variant(iptables, CNI_IPTABLES_LEGACY, err);
    int nft = remove_variant(iptables, CNI_IPTABLES_NFT, legacy < 0 ? NULL : err);
    return legacy < 0 ? legacy : nft;
}

int cni_iptables_owner(struct cni_iptables *iptables, char ret_comment[CNI_PLAN_COMMENT_MAX], struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf present;
    fl_buf_init(&present, CNI_IPTABLES_TEXT_MAX);
    memset(ret_comment, 0, CNI_PLAN_COMMENT_MAX);
    if (iptables->traces.commented)
        memcpy(ret_comment, iptables->traces.comment, CNI_PLAN_COMMENT_MAX);
    for (int family = 0; ret_comment[0] == '\0' && family < CNI_FAMILIES; family++) {
        int result = 0;
        if (iptables->traces.nft[family])
            result = save(iptables, CNI_IPTABLES_NFT, family, &present, err);
        if (result < 0)
            return result;
        if (iptables->traces.nft[family])
            (void)!cni_iptables_comment(fl_buf_span(&present), ret_comment);
    }
    return 0;
}
