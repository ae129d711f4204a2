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
#include "cni/repair/inside.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#define BEAT_SCAN_MS      500   /* the scan's */
#define BEAT_EVENTS_MS    1000  /* where exec events come */
#define FULL_SCAN_MS      10000 /* between two full looks, without exec events */
#define FULL_EVENTS_MS    60000 /* and with them: they miss a name that a process gives itself */
#define SETTLES_MAX       100   /* thorough looks a beat; more wait for the next */
#define DESCRIPTORS_SPARE 128   /* of RLIMIT_NOFILE, for all that is not a pidfd */

static const char *const kind_names[] = {
#define X(symbol, word) [CNI_REPAIR_##symbol] = word,
    CNI_REPAIR_KINDS(X)
#undef X
};

const char *cni_repair_kind_name(enum cni_repair_kind kind)
{
    return kind_names[kind];
}

uint64_t cni_repair_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t cni_repair_now_ms(void)
{
    return cni_repair_now_ns() / 1000000;
}

/* --- telling --- */

void cni_repair_tell(struct cni_repair *repair, struct cni_repair_report *report, struct cni_sidecar *sidecar)
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

/* A pod that was missed has waited for as long as its sidecar has run, most of it perhaps before this agent came. All
 * else is as old as the look that found it, and so is a sidecar whose start the boot clock contradicts. */
static uint64_t measure(enum cni_repair_kind kind, const struct cni_sidecar *sidecar, uint64_t since_ns)
{
    const uint64_t known_ns = cni_repair_now_ns() - since_ns;
    struct timespec now;
    if (kind != CNI_REPAIR_CAPTURED || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
        return known_ns;
    const uint64_t age_ns = cni_procfile_age_ns(sidecar->facts.start_time, (uint64_t)sysconf(_SC_CLK_TCK),
                                                (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
    return age_ns > known_ns ? age_ns : known_ns;
}

void cni_repair_tell_of(struct cni_repair *repair, enum cni_repair_kind kind, struct cni_sidecar *sidecar,
                        const char *reason, uint64_t since_ns)
{
    cni_repair_tell(repair,
                    &(struct cni_repair_report){
                        .kind = kind,
                        .pod_namespace = cni_sidecar_namespace(sidecar),
                        .pod = cni_sidecar_pod(sidecar),
                        .pod_uid = cni_sidecar_pod_uid(sidecar),
                        .reason = reason,
                        .duration_ns = measure(kind, sidecar, since_ns),
                    },
                    sidecar);
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
            cni_repair_glance(repair, sandbox, now);
    }
}

static void on_beat(struct fl_timer *timer)
{
    struct cni_repair *repair = FL_CONTAINER_OF(timer, struct cni_repair, beat);
    const uint64_t now = cni_repair_now_ms();
    repair->settles = SETTLES_MAX;
    scan(repair, now);
    cni_sidecars_tidy(&repair->set, now);
    glance_at_due(repair, now);
    cni_repair_read_next(repair);
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
        result = cni_scan_init(&repair->scan, repair->proc.fd, cni_repair_on_named, repair, err);
    if (result < 0)
        return result;
    if (repair->settings.no_events) {
        fl_err_set(&repair->scan_reason, -EPERM, "not wanted");
        return 0;
    }
    result = cni_procevents_init(&repair->procevents, repair->loop, cni_repair_on_exec, on_lost, repair,
                                 &repair->scan_reason);
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
        repair->readers[i].environment.on_done = cni_repair_on_environment;
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
        cni_repair_forget(repair, value);
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
