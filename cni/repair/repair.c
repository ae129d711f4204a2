/* How a process gets here, and what happens then:
 *
 *   exec event ─┐
 *               ├─► see ─► QUEUED ─► READING (a child reads its environment) ─► verify ─► believe ─► settle its sandbox
 *   scan ───────┘                                      └► FOREIGN     └► REFUSED
 *
 * One timer, the beat, drives everything that nobody announces: the scan, the full look, the glances at sandboxes, and
 * what had to wait. Sockets to a network namespace live as long as one look into it, for an open one would keep the
 * namespace from ending. A sandbox is reached through a process in it, each time anew.
 */
#include "cni/repair/repair.h"

#include "cni/capture/netns.h"
#include "cni/repair/environ.h"
#include "cni/repair/procevents.h"
#include "cni/repair/scan.h"
#include "cni/repair/sidecars.h"
#include "common/mesh/label.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#define READERS           4     /* environments read at the same time */
#define BEAT_SCAN_MS      500   /* the scan's */
#define BEAT_EVENTS_MS    1000  /* where exec events come */
#define FULL_SCAN_MS      10000 /* between two full looks, without exec events */
#define FULL_EVENTS_MS    60000 /* and with them: they miss a name that a process gives itself */
#define GLANCE_MS         5500 /* between two glances at a sandbox, a beat more at most: within 10 s all is right again */
#define CHECK_MS          600000
#define AGAIN_MS          1000 /* from a programming to a second look */
#define DISPUTE_MS        3000 /* from the first candidate until rules that are not its spec's are decided upon */
#define POD_READ_MS       500  /* between two reads of environments of one pod, */
#define POD_READ_BURST    4    /* after so many at once; */
#define NODE_READ_MS      20   /* of processes of no pod, all together */
#define NODE_READ_BURST   300
#define RETRY_MS          500
#define ATTEMPTS_MAX      4 /* to read a process that does not hold still, or whose netns lacks its address */
#define BACKOFF_MS        1000
#define BACKOFF_MAX_MS    60000
#define SETTLES_MAX       100 /* thorough looks a beat; more wait for the next */
#define DESCRIPTORS_SPARE 128 /* of RLIMIT_NOFILE, for all that is not a pidfd */

static const char *const kind_names[] = {
#define X(symbol, word) [CNI_REPAIR_##symbol] = word,
    CNI_REPAIR_KINDS(X)
#undef X
};

struct reader {
    struct cni_environ environment;
    struct cni_repair *repair;
    struct cni_sidecars_pod *pod; /* whose share it is; NULL: idle */
    struct cni_sidecar *sidecar;  /* NULL: it ended meanwhile */
};

struct cni_repair {
    struct fl_loop *loop;
    struct cni_repair_settings settings;
    struct cni_repair_counts counts;
    struct cni_proc proc;
    int home; /* the own netns; owned */
    struct cni_procevents procevents;
    struct fl_err scan_reason;
    struct cni_scan scan;
    struct cni_sidecars set;
    struct reader readers[READERS];
    struct fl_timer beat;
    uint64_t next_full_ms;
    unsigned settles; /* left in this beat */
};

const char *cni_repair_kind_name(enum cni_repair_kind kind)
{
    return kind_names[kind];
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t now_ms(void)
{
    return now_ns() / 1000000;
}

/* --- telling --- */

static void tell(struct cni_repair *repair, struct cni_repair_report *report, struct cni_sidecar *sidecar)
{
    const unsigned bit = 1u << report->kind;
    bool once = report->kind == CNI_REPAIR_REFUSED || report->kind == CNI_REPAIR_CONFLICT;
    if (once && (sidecar->told & bit) != 0)
        return;
    sidecar->told |= once ? bit : 0;
    report->pid = sidecar->pid;
    report->netns = sidecar->facts.netns.inode;
    report->proven = sidecar->facts.pod[0] != '\0' && strcmp(sidecar->facts.pod, report->pod_uid) == 0;
    repair->counts.reports[report->kind]++;
    if (repair->settings.on_report != NULL)
        repair->settings.on_report(repair->settings.owner, report);
}

static void tell_of(struct cni_repair *repair, enum cni_repair_kind kind, struct cni_sidecar *sidecar,
                    const char *reason, uint64_t since_ns)
{
    tell(repair,
         &(struct cni_repair_report){
             .kind = kind,
             .pod_namespace = cni_sidecar_namespace(sidecar),
             .pod = cni_sidecar_pod(sidecar),
             .pod_uid = cni_sidecar_pod_uid(sidecar),
             .reason = reason,
             .duration_ns = now_ns() - since_ns,
         },
         sidecar);
}

/* --- sandboxes --- */

static void forget(struct cni_repair *repair, struct cni_sidecar *sidecar)
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
            forget(repair, member);
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
static int drop_moved(struct cni_repair *repair, const struct cni_netns_id *id, struct fl_err *err)
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
            forget(repair, member);
    }
    return 0;
}

static void postpone(struct cni_sandbox *sandbox)
{
    uint32_t delay = BACKOFF_MS / 2 + fl_backoff_next(&sandbox->backoff);
    sandbox->next_ms = now_ms() + delay;
}

static void fail_sandbox(struct cni_repair *repair, struct cni_sandbox *sandbox, const struct fl_err *err)
{
    bool first = sandbox->state != CNI_SANDBOX_FAILED;
    cni_sandbox_become(sandbox, CNI_SANDBOX_FAILED);
    if (first)
        fl_backoff_init(&sandbox->backoff, BACKOFF_MS, BACKOFF_MAX_MS);
    postpone(sandbox);
    if (first)
        tell_of(repair, CNI_REPAIR_FAILED, sandbox->members, err->text, sandbox->members->seen_ns);
}

/* Those that are in conflict with what the sandbox was just bound to. */
static void tell_conflicts(struct cni_repair *repair, const struct cni_sandbox *sandbox)
{
    for (struct cni_sidecar *member = sandbox->members; member != NULL; member = member->next) {
        if (member->state == CNI_SIDECAR_CONFLICT_STATE)
            tell_of(repair, CNI_REPAIR_CONFLICT, member, "another capture spec is in force there", member->seen_ns);
    }
}

static void settled(struct cni_repair *repair, struct cni_sandbox *sandbox, struct cni_sidecar *member, int outcome,
                    const struct fl_err *err, uint64_t since_ns)
{
    const uint64_t now = now_ms();
    cni_sandbox_become(sandbox, CNI_SANDBOX_CAPTURED);
    sandbox->told = false;
    sandbox->next_ms = now + GLANCE_MS;
    sandbox->check_ms = now + CHECK_MS / 2 + fl_backoff_draw(CHECK_MS / 2);
    if (outcome != 0) /* ::6 cannot be bound for a moment after it was added: that glance is good for nothing */
        sandbox->next_ms = sandbox->check_ms = now + AGAIN_MS;
    if (outcome == CNI_SETTLE_CAPTURED)
        tell_of(repair, CNI_REPAIR_CAPTURED, member, "", member->seen_ns);
    else if (outcome == CNI_SETTLE_RESTORED)
        tell_of(repair, CNI_REPAIR_RESTORED, member, err->text, since_ns);
}

/* For a sandbox that is bound: its spec, whoever of its processes is left. */
static void settle_bound(struct cni_repair *repair, struct cni_sandbox *sandbox, int netns)
{
    struct fl_err err = {0};
    const uint64_t since = now_ns();
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
    bool old = now_ms() >= sandbox->since_ms + DISPUTE_MS;
    return old && cni_sidecars_agree(sandbox) ? CNI_SETTLE_NAMED : CNI_SETTLE_STRANGER;
}

static void dispute(struct cni_repair *repair, struct cni_sandbox *sandbox, const struct fl_err *err)
{
    const uint64_t now = now_ms(), decided = sandbox->since_ms + DISPUTE_MS;
    cni_sandbox_become(sandbox, CNI_SANDBOX_DISPUTED);
    sandbox->next_ms = now < decided ? decided : now + GLANCE_MS;
    if (now < decided || sandbox->told)
        return;
    sandbox->told = true;
    tell_of(repair, CNI_REPAIR_CONFLICT, sandbox->members, err->text, sandbox->members->seen_ns);
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
static void settle(struct cni_repair *repair, struct cni_sandbox *sandbox)
{
    struct fl_err err = {0};
    const uint64_t since = now_ns();
    int opened = -1;
    sandbox->due = true;
    if (repair->settles == 0 || cni_sandbox_is_held(sandbox, now_ms())) {
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
    cni_sandbox_charge(sandbox, since, now_ns());
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
static void glance(struct cni_repair *repair, struct cni_sandbox *sandbox, uint64_t now)
{
    const uint64_t since = now_ns();
    bool still = sandbox->state == CNI_SANDBOX_CAPTURED || (sandbox->state == CNI_SANDBOX_DISPUTED && sandbox->told);
    if (cni_sandbox_is_held(sandbox, now_ms()))
        return;
    if (!still || sandbox->due || (sandbox->state == CNI_SANDBOX_CAPTURED && now >= sandbox->check_ms)) {
        settle(repair, sandbox);
        return;
    }
    repair->counts.fingerprints++;
    sandbox->next_ms = now + GLANCE_MS;
    if (!is_unmoved(repair, sandbox))
        settle(repair, sandbox);
    else
        cni_sandbox_charge(sandbox, since, now_ns());
}

/* --- one process --- */

static void start_reads(struct cni_repair *repair);

static void refuse(struct cni_repair *repair, struct cni_sidecar *sidecar, const struct cni_claim *claim,
                   const char *reason)
{
    cni_sidecar_become(sidecar, CNI_SIDECAR_REFUSED_STATE);
    tell(repair,
         &(struct cni_repair_report){
             .kind = CNI_REPAIR_REFUSED,
             .pod_namespace = claim->pod_namespace,
             .pod = claim->pod,
             .pod_uid = claim->pod_uid,
             .reason = reason,
             .duration_ns = now_ns() - sidecar->seen_ns,
         },
         sidecar);
}

static bool try_again(struct cni_sidecar *sidecar)
{
    if (++sidecar->attempts >= ATTEMPTS_MAX)
        return false;
    sidecar->not_before_ms = now_ms() + ((uint64_t)RETRY_MS << sidecar->attempts);
    cni_sidecar_become(sidecar, CNI_SIDECAR_QUEUED_STATE);
    return true;
}

/* The claim was read, and can be true. */
static void believe(struct cni_repair *repair, struct cni_sidecar *sidecar, struct cni_claim *claim)
{
    int result = cni_sidecars_believe(&repair->set, sidecar, claim);
    if (result == -ENOMEM && try_again(sidecar))
        return;
    if (result == 0 && sidecar->sandbox->since_ms == 0)
        sidecar->sandbox->since_ms = now_ms();
    if (result < 0) {
        refuse(repair, sidecar, claim, result == -ENOSPC ? "too many network namespaces" : "memory is out");
        return;
    }
    if (sidecar->state == CNI_SIDECAR_CONFLICT_STATE)
        tell_of(repair, CNI_REPAIR_CONFLICT, sidecar, "another capture spec is in force there", sidecar->seen_ns);
    else if (sidecar->state == CNI_SIDECAR_CANDIDATE_STATE || sidecar->sandbox->state != CNI_SANDBOX_CAPTURED)
        settle(repair, sidecar->sandbox);
}

static void verify(struct cni_repair *repair, struct cni_sidecar *sidecar, struct cni_claim *claim)
{
    struct fl_err err = {0};
    int result = drop_moved(repair, &sidecar->facts.netns, &err);
    if (result == 0) /* behind it: the process has been in that netns all the while */
        result = cni_sidecar_verify(&repair->proc, sidecar->pid, sidecar->pidfd, &sidecar->facts, claim, &err);
    if (result == 0)
        believe(repair, sidecar, claim);
    else if (result == CNI_SIDECAR_GONE)
        forget(repair, sidecar);
    else if ((result == CNI_SIDECAR_REFUSED && err.code != -EADDRNOTAVAIL) || !try_again(sidecar))
        refuse(repair, sidecar, claim, err.text);
}

static void refuse_unread(struct cni_repair *repair, struct cni_sidecar *sidecar, int result)
{
    const struct cni_claim nothing = {0};
    struct fl_err err;
    if (result == -EMSGSIZE)
        fl_err_set(&err, result, "its environment is too large: " FL_ENV_CAPTURE " is not in the first %u bytes",
                   CNI_CLAIM_ENVIRON_MAX);
    else if (result == -ETIMEDOUT)
        fl_err_set(&err, result, "its environment could not be read in time");
    else
        fl_err_errno(&err, result, "read its environment");
    refuse(repair, sidecar, &nothing, err.text);
}

static bool is_of_others(const struct cni_repair *repair, int result, const struct cni_claim *claim)
{
    const char *only = repair->settings.only_namespace;
    return only != NULL && result == 0 && strcmp(only, claim->pod_namespace) != 0;
}

static void on_environment(struct cni_environ *environment, int result, struct cni_claim *claim,
                           const struct fl_err *err)
{
    struct reader *reader = FL_CONTAINER_OF(environment, struct reader, environment);
    struct cni_repair *repair = reader->repair;
    struct cni_sidecar *sidecar = reader->sidecar;
    reader->pod->reading--;
    reader->pod = NULL;
    reader->sidecar = NULL;
    repair->counts.examined++;
    if (sidecar != NULL) {
        if (!cni_sidecar_is_alive(sidecar->pidfd))
            forget(repair, sidecar);
        else if (result == CNI_CLAIM_NONE || is_of_others(repair, result, claim))
            cni_sidecar_become(sidecar, CNI_SIDECAR_FOREIGN_STATE);
        else if (result == 0)
            verify(repair, sidecar, claim);
        else if (result == CNI_CLAIM_WRONG)
            refuse(repair, sidecar, claim, err->text);
        else if (result == -EMSGSIZE || result == -ETIMEDOUT || !try_again(sidecar))
            refuse_unread(repair, sidecar, result);
    }
    start_reads(repair);
}

static bool may_be_read(const struct cni_sidecar *sidecar, uint64_t now)
{
    const struct cni_sidecars_pod *pod = sidecar->pod;
    if (sidecar->state != CNI_SIDECAR_QUEUED_STATE || sidecar->not_before_ms > now || pod->next_read_ms > now)
        return false;
    return pod->uid[0] == '\0' || pod->reading == 0;
}

/* Some at once, then one in a while: each pod for itself, and all together that are of no pod. */
static void count_read(struct cni_sidecars_pod *pod, uint64_t now)
{
    const bool known = pod->uid[0] != '\0';
    const uint64_t interval = known ? POD_READ_MS : NODE_READ_MS;
    const uint64_t burst = interval * (known ? POD_READ_BURST : NODE_READ_BURST);
    const uint64_t earliest = now > burst ? now - burst : 0;
    pod->next_read_ms = (pod->next_read_ms > earliest ? pod->next_read_ms : earliest) + interval;
}

static void start_read(struct cni_repair *repair, struct reader *reader, struct cni_sidecar *sidecar, uint64_t now)
{
    count_read(sidecar->pod, now);
    int result = cni_environ_start(&reader->environment, repair->loop, repair->proc.fd, sidecar->pid);
    if (result < 0) {
        sidecar->not_before_ms = now + RETRY_MS;
        return;
    }
    reader->sidecar = sidecar;
    reader->pod = sidecar->pod;
    reader->pod->reading++;
    cni_sidecar_become(sidecar, CNI_SIDECAR_READING_STATE);
}

static struct reader *find_idle_reader(struct cni_repair *repair)
{
    for (size_t i = 0; i < READERS; i++) {
        if (!cni_environ_is_busy(&repair->readers[i].environment))
            return &repair->readers[i];
    }
    return NULL;
}

/* In the order in which they were seen. What has to wait is looked at in the next beat, or behind the next read. */
static void start_reads(struct cni_repair *repair)
{
    const uint64_t now = now_ms();
    struct reader *reader = find_idle_reader(repair);
    void *value;
    for (size_t cursor = 0; reader != NULL && fl_map_next(&repair->set.processes, &cursor, NULL, &value);) {
        struct cni_sidecar *sidecar = value;
        if (!may_be_read(sidecar, now))
            continue;
        start_read(repair, reader, sidecar, now);
        reader = find_idle_reader(repair);
    }
}

static void on_exit_of(struct fl_source *source, uint32_t events)
{
    struct cni_sidecar *sidecar = FL_CONTAINER_OF(source, struct cni_sidecar, exit);
    struct cni_repair *repair = sidecar->owner;
    (void)events;
    forget(repair, sidecar);
}

/* What is kept of a process that becomes another program: one that does so in a loop is read once a second, and told of
 * once. */
struct before {
    uint64_t start_time, not_before_ms;
    unsigned told;
};

static void add(struct cni_repair *repair, pid_t pid, const struct before *before)
{
    struct cni_sidecar_facts facts;
    struct cni_sidecar *sidecar;
    int opened = -1;
    int result = cni_sidecar_look(&repair->proc, pid, &opened, &facts, NULL);
    FL_CLEANUP(fl_cleanup_close) int pidfd = opened;
    if (result > 0)
        return;
    if (result == 0)
        result = cni_sidecars_add(&repair->set, pid, pidfd, &facts, &sidecar);
    if (result < 0) {
        repair->counts.limited++; /* the next full look sees it again */
        return;
    }
    sidecar->owner = repair;
    sidecar->seen_ns = now_ns();
    if (before->start_time == facts.start_time && before->start_time != 0) {
        sidecar->told = before->told;
        sidecar->not_before_ms = before->told != 0 ? before->not_before_ms : 0;
    }
    result = fl_source_add(repair->loop, &sidecar->exit, fl_take_fd(pidfd), EPOLLIN, on_exit_of);
    if (result < 0) {
        cni_sidecars_remove(&repair->set, sidecar);
        repair->counts.limited++;
    }
}

/* A process bears the proxy's name. One that is known is left alone, unless it has ended and its pid is another's by
 * now. */
static void see(struct cni_repair *repair, pid_t pid)
{
    struct cni_sidecar *known = cni_sidecars_find(&repair->set, pid);
    if (known != NULL && cni_sidecar_is_alive(known->pidfd))
        return;
    if (known != NULL)
        forget(repair, known);
    add(repair, pid, &(struct before){0});
}

static void on_named(void *owner, pid_t pid)
{
    see(owner, pid);
}

/* Whatever it was before, it is another program now. */
static void on_exec(void *owner, pid_t pid)
{
    struct cni_repair *repair = owner;
    char comm[32];
    struct cni_sidecar *known = cni_sidecars_find(&repair->set, pid);
    struct before before = {0};
    if (known != NULL) {
        before = (struct before){known->facts.start_time, now_ms() + AGAIN_MS, known->told};
        forget(repair, known);
    }
    ssize_t len = cni_procfile_comm(repair->proc.fd, pid, comm, sizeof(comm));
    if (len < 0 || !fl_span_eq_str(fl_span_make(comm, (size_t)len), FL_CONTAINER_NAME))
        return;
    add(repair, pid, &before);
    start_reads(repair);
}

/* --- the beat --- */

static bool has_events(const struct cni_repair *repair)
{
    return repair->procevents.source.loop != NULL;
}

static void on_lost(void *owner)
{
    struct cni_repair *repair = owner;
    repair->next_full_ms = 0;
}

static void scan(struct cni_repair *repair, uint64_t now)
{
    bool full = now >= repair->next_full_ms;
    if (!full && !has_events(repair))
        full = cni_scan_tick(&repair->scan, now) == CNI_SCAN_FULL;
    if (!full)
        return;
    repair->next_full_ms = now + (has_events(repair) ? FULL_EVENTS_MS : FULL_SCAN_MS);
    if (cni_scan_full(&repair->scan, now) < 0)
        repair->next_full_ms = now + BEAT_EVENTS_MS;
}

static void glance_at_due(struct cni_repair *repair, uint64_t now)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&repair->set.sandboxes, &cursor, NULL, &value);) {
        struct cni_sandbox *sandbox = value;
        if (sandbox->next_ms <= now)
            glance(repair, sandbox, now);
    }
}

static void on_beat(struct fl_timer *timer)
{
    struct cni_repair *repair = FL_CONTAINER_OF(timer, struct cni_repair, beat);
    const uint64_t now = now_ms();
    repair->settles = SETTLES_MAX;
    scan(repair, now);
    cni_sidecars_tidy(&repair->set, now);
    glance_at_due(repair, now);
    start_reads(repair);
    fl_timer_set(repair->loop, timer, has_events(repair) ? BEAT_EVENTS_MS : BEAT_SCAN_MS, on_beat);
}

void cni_repair_look(struct cni_repair *repair)
{
    void *value;
    repair->next_full_ms = 0;
    for (size_t cursor = 0; fl_map_next(&repair->set.sandboxes, &cursor, NULL, &value);)
        ((struct cni_sandbox *)value)->next_ms = ((struct cni_sandbox *)value)->check_ms = 0;
    fl_timer_set(repair->loop, &repair->beat, 0, on_beat);
}

/* --- the whole --- */

static size_t count_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < 2 * (rlim_t)DESCRIPTORS_SPARE)
        return DESCRIPTORS_SPARE;
    rlim_t max = limit.rlim_cur - DESCRIPTORS_SPARE;
    return max < CNI_SIDECARS_MAX ? (size_t)max : CNI_SIDECARS_MAX;
}

static int start(struct cni_repair *repair, struct fl_err *err)
{
    int result = cni_proc_open(repair->settings.proc, &repair->proc, err);
    if (result == 0)
        result = cni_netns_own(&repair->home, err);
    if (result == 0)
        result = cni_scan_init(&repair->scan, repair->proc.fd, on_named, repair, err);
    if (result < 0)
        return result;
    if (repair->settings.no_events) {
        fl_err_set(&repair->scan_reason, -EPERM, "not wanted");
        return 0;
    }
    result = cni_procevents_init(&repair->procevents, repair->loop, on_exec, on_lost, repair, &repair->scan_reason);
    return result < 0 ? fl_err_set(err, result, "%s", repair->scan_reason.text) : 0;
}

int cni_repair_new(struct fl_loop *loop, const struct cni_repair_settings *settings, struct cni_repair **ret_repair,
                   struct fl_err *err)
{
    struct cni_repair *repair = calloc(1, sizeof(*repair));
    if (repair == NULL)
        return fl_err_errno(err, -ENOMEM, "repair");
    repair->loop = loop;
    repair->settings = *settings;
    repair->scan.loadavg = -1;
    repair->home = -1;
    cni_sidecars_init(&repair->set, count_descriptors());
    for (size_t i = 0; i < READERS; i++) {
        repair->readers[i].repair = repair;
        cni_environ_init(&repair->readers[i].environment);
        repair->readers[i].environment.on_done = on_environment;
    }
    int result = start(repair, err);
    if (result < 0) {
        cni_repair_free(repair);
        return result;
    }
    fl_timer_set(loop, &repair->beat, 0, on_beat);
    *ret_repair = repair;
    return 0;
}

struct cni_repair *cni_repair_free(struct cni_repair *repair)
{
    void *value;
    if (repair == NULL)
        return NULL;
    fl_timer_cancel(&repair->beat);
    for (size_t i = 0; i < READERS; i++) {
        cni_environ_done(&repair->readers[i].environment);
        if (repair->readers[i].pod != NULL)
            repair->readers[i].pod->reading--;
    }
    cni_procevents_done(&repair->procevents);
    for (size_t cursor = 0; fl_map_next(&repair->set.processes, &cursor, NULL, &value);)
        forget(repair, value);
    cni_sidecars_done(&repair->set);
    cni_scan_done(&repair->scan);
    cni_proc_close(&repair->proc);
    fl_cleanup_close(&repair->home);
    free(repair);
    return NULL;
}

void cni_repair_count(const struct cni_repair *repair, struct cni_repair_counts *ret_counts)
{
    void *value;
    *ret_counts = repair->counts;
    ret_counts->sidecars = repair->set.sandboxes.count;
    for (size_t cursor = 0; fl_map_next(&repair->set.sandboxes, &cursor, NULL, &value);)
        ret_counts->uncaptured += ((struct cni_sandbox *)value)->state != CNI_SANDBOX_CAPTURED;
    for (size_t cursor = 0; fl_map_next(&repair->set.processes, &cursor, NULL, &value);)
        ret_counts->refused += ((struct cni_sidecar *)value)->state == CNI_SIDECAR_REFUSED_STATE;
    ret_counts->events = has_events(repair);
    ret_counts->execs = repair->procevents.execs;
    ret_counts->losses = repair->procevents.losses;
}

const char *cni_repair_scan_reason(const struct cni_repair *repair)
{
    return repair->scan_reason.text;
}
