#include "cli/cnisubject.h"

#include "cni/capture/netns.h"
#include "cni/repair/environ.h"
#include "cni/repair/sidecar.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

struct cli_subjects {
    struct cni_proc proc;
    struct fl_loop *loop;
    struct cni_environ environment;
    /* of the environment that is being read */
    int result;
    struct cni_claim claim;
    struct fl_err err;
};

void cli_subject_done(struct cli_subject *subject)
{
    fl_cleanup_close(&subject->netns);
    cni_claim_done(&subject->claim);
    *subject = (struct cli_subject){.netns = -1};
}

int cli_subjects_new(struct cli_subjects **ret_subjects, struct fl_err *err)
{
    struct cli_subjects *subjects = calloc(1, sizeof(*subjects));
    if (subjects == NULL)
        return fl_err_errno(err, -ENOMEM, "look for sidecars");
    cni_environ_init(&subjects->environment);
    subjects->proc.fd = -1;
    int result = fl_loop_new(&subjects->loop);
    if (result < 0)
        fl_err_errno(err, result, "the event loop");
    else
        result = cni_proc_open("/proc", &subjects->proc, err);
    if (result < 0)
        cli_subjects_free(subjects);
    else
        *ret_subjects = subjects;
    return result;
}

struct cli_subjects *cli_subjects_free(struct cli_subjects *subjects)
{
    if (subjects == NULL)
        return NULL;
    cni_environ_done(&subjects->environment);
    if (subjects->loop != NULL)
        fl_loop_free(subjects->loop);
    if (subjects->proc.fd >= 0)
        cni_proc_close(&subjects->proc);
    free(subjects);
    return NULL;
}

/* As root it works; others are told. */
static void explain_rights(struct fl_err *err)
{
    if (err->code == -EACCES || (err->code == -EPERM && geteuid() != 0))
        fl_err_set(err, err->code, "%s (as root, on the node, it would work)", err->text);
}

/* --- one process --- */

static void on_environment(struct cni_environ *environment, int result, struct cni_claim *claim,
                           const struct fl_err *err)
{
    struct cli_subjects *subjects = FL_CONTAINER_OF(environment, struct cli_subjects, environment);
    subjects->result = result;
    subjects->claim = *claim;
    *claim = (struct cni_claim){0};
    subjects->err = *err;
    fl_loop_stop(subjects->loop, 0);
}

/* The environment, by a child that may be killed. 0, CNI_CLAIM_NONE, CNI_CLAIM_WRONG or a negative errno; what is not
 * 0 leaves err behind. */
static int read_claim(struct cli_subjects *subjects, pid_t pid, struct cni_claim *ret_claim, struct fl_err *err)
{
    subjects->environment.on_done = on_environment;
    int result = cni_environ_start(&subjects->environment, subjects->loop, subjects->proc.fd, pid);
    if (result == 0)
        result = fl_loop_run(subjects->loop);
    if (result < 0)
        return fl_err_errno(err, result, "the environment of process %d", (int)pid);
    if (subjects->result == 0)
        *ret_claim = subjects->claim;
    else
        cni_claim_done(&subjects->claim);
    if (subjects->result < 0)
        fl_err_errno(err, subjects->result, "the environment of process %d", (int)pid);
    else if (subjects->result != 0)
        fl_err_set(err, -EINVAL, "process %d: %s", (int)pid, subjects->err.text);
    return subjects->result;
}

/* A process that bears the proxy's name, and is alive: 0 where it claims to be a sidecar, whether it is believed or not
 * (the subject's err tells); CNI_CLAIM_NONE where it does not, or is gone. */
static int look_into(struct cli_subjects *subjects, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts,
                     struct cli_subject *subject)
{
    struct fl_err *err = &subject->err;
    subject->pid = pid;
    subject->inode = facts->netns.inode;
    int result = read_claim(subjects, pid, &subject->claim, err);
    if (result == CNI_CLAIM_NONE || !cni_sidecar_is_alive(pidfd)) {
        cli_subject_done(subject);
        return CNI_CLAIM_NONE;
    }
    if (result >= 0) { /* one whose claim is wrong can be held to a spec from elsewhere */
        int opened = cni_sidecar_open_netns(&subjects->proc, pid, pidfd, &facts->netns, &subject->netns,
                                            result == 0 ? err : NULL);
        result = opened != 0 ? opened : result;
    }
    if (result == 0) {
        result = cni_sidecar_verify(&subjects->proc, pid, pidfd, facts, &subject->claim, err);
        if (result == CNI_SIDECAR_REFUSED)
            fl_err_prefix(err, "process %d claims to be of %s/%s, and is not believed", (int)pid,
                          subject->claim.pod_namespace, subject->claim.pod);
    }
    subject->sidecar = result == 0;
    explain_rights(err);
    return 0;
}

/* --- the node --- */

/* Every process of the proxy's name, until `look` says true. 0 or a negative errno. */
static int look_at_sidecars(struct cli_subjects *subjects,
                            bool (*look)(void *context, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts),
                            void *context, struct fl_err *err)
{
    DIR *folder = opendir(subjects->proc.path);
    bool found = false;
    if (folder == NULL)
        return fl_err_errno(err, -errno, "open %s", subjects->proc.path);
    for (const struct dirent *entry = readdir(folder); entry != NULL && !found; entry = readdir(folder)) {
        FL_CLEANUP(fl_cleanup_close) int pidfd = -1;
        struct cni_sidecar_facts facts;
        uint64_t pid;
        if (!fl_span_to_u64(fl_span_str(entry->d_name), INT_MAX, &pid))
            continue;
        int result = cni_sidecar_look(&subjects->proc, (pid_t)pid, &pidfd, &facts, NULL);
        if (result == 0)
            found = look(context, (pid_t)pid, pidfd, &facts);
        else if (result == -EACCES || result == -EPERM)
            found = look(context, (pid_t)pid, -1, NULL);
    }
    (void)closedir(folder);
    return 0;
}

struct finding { /* the sidecar of a netns */
    struct cli_subjects *subjects;
    struct cli_subject *subject;
};

static bool is_in_netns(void *context, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts)
{
    struct finding *finding = context;
    struct cli_subject found = {.netns = -1};
    if (facts == NULL || facts->netns.inode != finding->subject->inode ||
        look_into(finding->subjects, pid, pidfd, facts, &found) != 0)
        return false;
    fl_cleanup_close(&finding->subject->netns);
    *finding->subject = found;
    return true;
}

static void find_sidecar(struct cli_subjects *subjects, struct cli_subject *subject)
{
    struct finding finding = {subjects, subject};
    (void)!look_at_sidecars(subjects, is_in_netns, &finding, &subject->err);
}

static void open_path(const char *path, struct cli_subject *subject)
{
    struct stat file;
    int result = cni_netns_open(path, &subject->netns, &subject->err);
    if (result < 0)
        explain_rights(&subject->err);
    if (result == 0 && fstat(subject->netns, &file) == 0)
        subject->inode = file.st_ino;
}

void cli_subject_of_path(struct cli_subjects *subjects, const char *path, struct cli_subject *ret_subject)
{
    *ret_subject = (struct cli_subject){.netns = -1};
    open_path(path, ret_subject);
    if (ret_subject->netns >= 0)
        find_sidecar(subjects, ret_subject);
}

void cli_subject_of_pid(struct cli_subjects *subjects, pid_t pid, struct cli_subject *ret_subject)
{
    FL_CLEANUP(fl_cleanup_close) int pidfd = -1;
    struct cni_sidecar_facts facts;
    char path[64];
    *ret_subject = (struct cli_subject){.netns = -1, .pid = pid};
    int result = cni_sidecar_look(&subjects->proc, pid, &pidfd, &facts, &ret_subject->err);
    if (result == 0 && look_into(subjects, pid, pidfd, &facts, ret_subject) == 0)
        return;
    if (result == CNI_SIDECAR_GONE) {
        fl_err_set(&ret_subject->err, -ESRCH, "there is no process %d", (int)pid);
        return;
    }
    /* The app, or anything else in the pod. */
    *ret_subject = (struct cli_subject){.netns = -1, .pid = pid};
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    open_path(path, ret_subject);
    if (ret_subject->netns >= 0)
        find_sidecar(subjects, ret_subject);
}

struct visiting {
    struct cli_subjects *subjects;
    struct fl_span pod_namespace, pod; /* empty: every one */
    void (*visit)(void *context, struct cli_subject *subject);
    void *context;
    size_t count, denied;
    uint64_t seen[CLI_SUBJECTS_MAX]; /* netns */
};

static bool was_seen(const struct visiting *visiting, uint64_t inode)
{
    for (size_t i = 0; i < visiting->count; i++)
        if (visiting->seen[i] == inode)
            return true;
    return false;
}

static bool visit_one(void *context, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts)
{
    struct visiting *visiting = context;
    struct cli_subject subject = {.netns = -1};
    if (facts == NULL) {
        visiting->denied++;
        return false;
    }
    if (was_seen(visiting, facts->netns.inode) || look_into(visiting->subjects, pid, pidfd, facts, &subject) != 0)
        return false;
    visiting->denied += subject.err.code == -EACCES;
    bool wanted = visiting->pod.len == 0 || (fl_span_eq_str(visiting->pod, subject.claim.pod) &&
                                             fl_span_eq_str(visiting->pod_namespace, subject.claim.pod_namespace));
    if (wanted) {
        if (subject.sidecar)
            visiting->seen[visiting->count] = subject.inode;
        visiting->count++;
        visiting->visit(visiting->context, &subject);
    }
    cli_subject_done(&subject);
    return visiting->count == CLI_SUBJECTS_MAX;
}

int cli_subjects_visit(struct cli_subjects *subjects, const char *name,
                       void (*visit)(void *context, struct cli_subject *subject), void *context, struct fl_err *err)
{
    struct fl_span rest = fl_span_str(name);
    FL_CLEANUP(fl_cleanup_free) struct visiting *visiting = calloc(1, sizeof(*visiting));
    if (visiting == NULL)
        return fl_err_errno(err, -ENOMEM, "look for sidecars");
    visiting->subjects = subjects;
    visiting->visit = visit;
    visiting->context = context;
    if (name != NULL && fl_span_split(&rest, '/', &visiting->pod_namespace))
        visiting->pod = rest;
    int result = look_at_sidecars(subjects, visit_one, visiting, err);
    if (result == 0 && visiting->count == 0 && visiting->denied > 0)
        return fl_err_set(err, -EACCES, "%zu processes may not be looked into; as root, on the node, it would work",
                          visiting->denied);
    return result < 0 ? result : (int)visiting->count;
}
