/* The repair's processes: from a name that was seen to a claim that is believed. */
#include "cni/repair/inside.h"

#include "common/mesh/label.h"

#include <errno.h>

#define POD_READ_MS     500 /* between two reads of environments of one pod, */
#define POD_READ_BURST  4   /* after so many at once; */
#define NODE_READ_MS    20  /* of processes of no pod, all together */
#define NODE_READ_BURST 300
#define RETRY_MS        500
#define ATTEMPTS_MAX    4 /* to read a process that does not hold still, or whose netns lacks its address */

static void refuse(struct cni_repair *repair, struct cni_sidecar *sidecar, const struct cni_claim *claim,
                   const char *reason)
{
    cni_sidecar_become(sidecar, CNI_SIDECAR_REFUSED_STATE);
    cni_repair_tell(repair,
                    &(struct cni_repair_report){
                        .kind = CNI_REPAIR_REFUSED,
                        .pod_namespace = claim->pod_namespace,
                        .pod = claim->pod,
                        .pod_uid = claim->pod_uid,
                        .reason = reason,
                        .duration_ns = cni_repair_now_ns() - sidecar->seen_ns,
                    },
                    sidecar);
}

static bool try_again(struct cni_sidecar *sidecar)
{
    if (++sidecar->attempts >= ATTEMPTS_MAX)
        return false;
    sidecar->not_before_ms = cni_repair_now_ms() + ((uint64_t)RETRY_MS << sidecar->attempts);
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
        sidecar->sandbox->since_ms = cni_repair_now_ms();
    if (result < 0) {
        refuse(repair, sidecar, claim, result == -ENOSPC ? "too many network namespaces" : "memory is out");
        return;
    }
    if (sidecar->state == CNI_SIDECAR_CONFLICT_STATE)
        cni_repair_tell_of(repair, CNI_REPAIR_CONFLICT, sidecar, "another capture spec is in force there",
                           sidecar->seen_ns);
    else if (sidecar->state == CNI_SIDECAR_CANDIDATE_STATE || sidecar->sandbox->state != CNI_SANDBOX_CAPTURED)
        cni_repair_settle(repair, sidecar->sandbox);
}

static void verify(struct cni_repair *repair, struct cni_sidecar *sidecar, struct cni_claim *claim)
{
    struct fl_err err = {0};
    int result = cni_repair_drop_moved(repair, &sidecar->facts.netns, &err);
    if (result == 0) /* behind it: the process has been in that netns all the while */
        result = cni_sidecar_verify(&repair->proc, sidecar->pid, sidecar->pidfd, &sidecar->facts, claim, &err);
    if (result == 0)
        believe(repair, sidecar, claim);
    else if (result == CNI_SIDECAR_GONE)
        cni_repair_forget(repair, sidecar);
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

void cni_repair_on_environment(struct cni_environ *environment, int result, struct cni_claim *claim,
                               const struct fl_err *err)
{
    struct cni_repair_reader *reader = FL_CONTAINER_OF(environment, struct cni_repair_reader, environment);
    struct cni_repair *repair = reader->repair;
    struct cni_sidecar *sidecar = reader->sidecar;
    reader->pod->reading--;
    reader->pod = NULL;
    reader->sidecar = NULL;
    repair->counts.examined++;
    if (sidecar != NULL) {
        if (!cni_sidecar_is_alive(sidecar->pidfd))
            cni_repair_forget(repair, sidecar);
        else if (result == CNI_CLAIM_NONE || is_of_others(repair, result, claim))
            cni_sidecar_become(sidecar, CNI_SIDECAR_FOREIGN_STATE);
        else if (result == 0)
            verify(repair, sidecar, claim);
        else if (result == CNI_CLAIM_WRONG)
            refuse(repair, sidecar, claim, err->text);
        else if (result == -EMSGSIZE || result == -ETIMEDOUT || !try_again(sidecar))
            refuse_unread(repair, sidecar, result);
    }
    cni_repair_read_next(repair);
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

static void start_read(struct cni_repair *repair, struct cni_repair_reader *reader, struct cni_sidecar *sidecar,
                       uint64_t now)
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

static struct cni_repair_reader *find_idle_reader(struct cni_repair *repair)
{
    for (size_t i = 0; i < READERS; i++) {
        if (!cni_environ_is_busy(&repair->readers[i].environment))
            return &repair->readers[i];
    }
    return NULL;
}

/* In the order in which they were seen. What has to wait is looked at in the next beat, or behind the next read. */
void cni_repair_read_next(struct cni_repair *repair)
{
    const uint64_t now = cni_repair_now_ms();
    struct cni_repair_reader *reader = find_idle_reader(repair);
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
    cni_repair_forget(repair, sidecar);
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
    sidecar->seen_ns = cni_repair_now_ns();
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
        cni_repair_forget(repair, known);
    add(repair, pid, &(struct before){0});
}

void cni_repair_on_named(void *owner, pid_t pid)
{
    see(owner, pid);
}

/* Whatever it was before, it is another program now. */
void cni_repair_on_exec(void *owner, pid_t pid)
{
    struct cni_repair *repair = owner;
    char comm[32];
    struct cni_sidecar *known = cni_sidecars_find(&repair->set, pid);
    struct before before = {0};
    if (known != NULL) {
        before = (struct before){known->facts.start_time, cni_repair_now_ms() + AGAIN_MS, known->told};
        cni_repair_forget(repair, known);
    }
    ssize_t len = cni_procfile_comm(repair->proc.fd, pid, comm, sizeof(comm));
    if (len < 0 || !fl_span_eq_str(fl_span_make(comm, (size_t)len), FL_CONTAINER_NAME))
        return;
    add(repair, pid, &before);
    cni_repair_read_next(repair);
}
