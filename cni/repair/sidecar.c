#include "cni/repair/sidecar.h"

#include "cni/capture/address.h"
#include "cni/capture/netns.h"
#include "common/mesh/label.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define STATUS_MAX 4096
#define MAP_MAX    16384 /* of a user namespace: the kernel takes 340 lines */

/* --- the folder --- */

int cni_proc_open(const char *path, struct cni_proc *ret_proc, struct fl_err *err)
{
    char self[16], expected[16];
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fl_err_errno(err, -errno, "open %s", path);
    ssize_t len = readlinkat(fd, "self", self, sizeof(self));
    int expected_len = snprintf(expected, sizeof(expected), "%d", (int)getpid());
    if (len != expected_len || memcmp(self, expected, (size_t)len) != 0)
        return fl_err_set(err, -EINVAL, "%s is not the /proc of this process's own pid namespace", path);
    ret_proc->path = path;
    ret_proc->fd = fl_take_fd(fd);
    return 0;
}

void cni_proc_close(struct cni_proc *proc)
{
    if (proc->path != NULL)
        close(proc->fd);
    *proc = (struct cni_proc){.fd = -1};
}

/* --- what the kernel says --- */

bool cni_sidecar_is_alive(int pidfd)
{
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    return poll(&wait, 1, 0) == 0;
}

/* A process that ends while it is read makes all kinds of errors. */
static int failed(int pidfd, int result, const char *what, struct fl_err *err)
{
    return cni_sidecar_is_alive(pidfd) ? fl_err_errno(err, result, "%s", what) : CNI_SIDECAR_GONE;
}

static int read_id(int proc, const char *path, struct cni_netns_id *ret_id)
{
    struct stat file;
    if (fstatat(proc, path, &file, 0) < 0)
        return -errno;
    *ret_id = (struct cni_netns_id){file.st_dev, file.st_ino};
    return 0;
}

static int read_namespace(int proc, pid_t pid, const char *kind, struct cni_netns_id *ret_id)
{
    char path[32];
    snprintf(path, sizeof(path), "%d/ns/%s", (int)pid, kind);
    return read_id(proc, path, ret_id);
}

static int read_facts(const struct cni_proc *proc, pid_t pid, int pidfd, struct cni_sidecar_facts *facts,
                      struct fl_err *err)
{
    char text[STATUS_MAX];
    ssize_t len = cni_procfile_read_of(proc->fd, pid, "stat", text, sizeof(text));
    if (len < 0 || !cni_procfile_start_time(fl_span_make(text, (size_t)len), &facts->start_time))
        return failed(pidfd, len < 0 ? (int)len : -EBADMSG, "stat", err);
    len = cni_procfile_read_of(proc->fd, pid, "status", text, sizeof(text));
    if (len < 0 || !cni_procfile_ids(fl_span_make(text, (size_t)len), &facts->uid, &facts->gid))
        return failed(pidfd, len < 0 ? (int)len : -EBADMSG, "status", err);
    len = cni_procfile_read_of(proc->fd, pid, "cgroup", text, sizeof(text));
    if (len > 0)
        (void)cni_procfile_pod(fl_span_make(text, (size_t)len), facts->pod);
    int result = read_namespace(proc->fd, pid, "net", &facts->netns);
    return result < 0 ? failed(pidfd, result, "ns/net (CAP_SYS_PTRACE?)", err) : 0;
}

int cni_sidecar_look(const struct cni_proc *proc, pid_t pid, int *ret_pidfd, struct cni_sidecar_facts *ret_facts,
                     struct fl_err *err)
{
    char comm[32];
    struct cni_sidecar_facts facts = {0};
    FL_CLEANUP(fl_cleanup_close) int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0 && (errno == ESRCH || errno == EINVAL || errno == ENOENT)) /* the latter two: a thread */
        return CNI_SIDECAR_GONE;
    if (pidfd < 0)
        return fl_err_errno(err, -errno, "pidfd_open");
    ssize_t len = cni_procfile_comm(proc->fd, pid, comm, sizeof(comm));
    if (len < 0)
        return CNI_SIDECAR_GONE;
    if (!fl_span_eq_str(fl_span_make(comm, (size_t)len), FL_CONTAINER_NAME))
        return CNI_SIDECAR_OTHER;
    int result = read_facts(proc, pid, pidfd, &facts, err);
    if (result == 0 && !cni_sidecar_is_alive(pidfd))
        result = CNI_SIDECAR_GONE;
    if (result == 0) {
        *ret_facts = facts;
        *ret_pidfd = fl_take_fd(pidfd);
    }
    return result;
}

/* --- its netns --- */

static bool same(const struct cni_netns_id *a, const struct cni_netns_id *b)
{
    return a->device == b->device && a->inode == b->inode;
}

static int refuse_host(struct fl_err *err)
{
    fl_err_set(err, -EPERM, "it runs in the host's network namespace, whose traffic is never captured");
    return CNI_SIDECAR_REFUSED;
}

int cni_sidecar_open_netns(const struct cni_proc *proc, pid_t pid, int pidfd, const struct cni_netns_id *netns,
                           int *ret_netns, struct fl_err *err)
{
    char path[256];
    struct stat file;
    struct cni_netns_id first = {0};
    int opened = -1;
    snprintf(path, sizeof(path), "%s/%d/ns/net", proc->path, (int)pid);
    int result = cni_netns_open(path, &opened, err);
    FL_CLEANUP(fl_cleanup_close) int fd = opened;
    if (result == CNI_NETNS_HOST)
        return refuse_host(err);
    if (result != 0)
        return failed(pidfd, result < 0 ? result : -ENOENT, "open its network namespace", err);
    if (fstat(fd, &file) < 0)
        return fl_err_errno(err, -errno, "stat its network namespace");
    const struct cni_netns_id now = {file.st_dev, file.st_ino};
    /* Some machines let nobody look at process 1; the agent's own namespace, which was compared already, is the host's
     * as well, for it runs with hostNetwork. */
    if (read_id(proc->fd, "1/ns/net", &first) == 0 && same(&now, &first))
        return refuse_host(err);
    if (!same(&now, netns) || !cni_sidecar_is_alive(pidfd))
        return CNI_SIDECAR_GONE;
    *ret_netns = fl_take_fd(fd);
    return 0;
}

int cni_sidecar_peek_netns(const struct cni_proc *proc, pid_t pid, const struct cni_netns_id *netns, int *ret_netns)
{
    char path[32];
    struct stat file;
    snprintf(path, sizeof(path), "%d/ns/net", (int)pid);
    FL_CLEANUP(fl_cleanup_close) int fd = openat(proc->fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) < 0 || !same(&(struct cni_netns_id){file.st_dev, file.st_ino}, netns))
        return CNI_SIDECAR_GONE;
    *ret_netns = fl_take_fd(fd);
    return 0;
}

/* --- whether the claim can be true --- */

static int refuse_ids(const struct cni_claim *claim, uint32_t uid, uint32_t gid, struct fl_err *err)
{
    fl_err_set(err, -EPERM, "it runs as %u:%u, and its capture spec is for a proxy that runs as %u:%u", uid, gid,
               claim->uid, claim->gid);
    return CNI_SIDECAR_REFUSED;
}

static int map_id(const struct cni_proc *proc, pid_t pid, const char *name, uint32_t outside, uint32_t *ret_inside)
{
    FL_CLEANUP(fl_cleanup_free) char *map = malloc(MAP_MAX);
    if (map == NULL)
        return -ENOMEM;
    ssize_t len = cni_procfile_read_of(proc->fd, pid, name, map, MAP_MAX);
    if (len < 0)
        return (int)len;
    return cni_procfile_map_id(fl_span_make(map, (size_t)len), outside, ret_inside) ? 0 : -ENOENT;
}

/* The rules compare ids as the user namespace has them that owns the netns: the machine's first one for most pods, the
 * pod's own with hostUsers: false. Of a third one nobody here knows the numbers. */
static int verify_ids(const struct cni_proc *proc, pid_t pid, int pidfd, int netns,
                      const struct cni_sidecar_facts *facts, const struct cni_claim *claim, struct fl_err *err)
{
    struct stat owner;
    struct cni_netns_id own = {0}, its = {0};
    uint32_t uid = facts->uid, gid = facts->gid;
    FL_CLEANUP(fl_cleanup_close) int users = ioctl(netns, NS_GET_USERNS);
    if (users < 0 || fstat(users, &owner) < 0)
        return fl_err_errno(err, -errno, "which user namespace owns the network namespace");
    const struct cni_netns_id owning = {owner.st_dev, owner.st_ino};
    int result = read_id(proc->fd, "self/ns/user", &own);
    if (result == 0)
        result = read_namespace(proc->fd, pid, "user", &its);
    if (result == 0 && !same(&owning, &own)) {
        if (!same(&owning, &its)) {
            fl_err_set(err, -EPERM, "its user namespace is not the one that owns its network namespace");
            return CNI_SIDECAR_REFUSED;
        }
        result = map_id(proc, pid, "uid_map", facts->uid, &uid);
        if (result == 0)
            result = map_id(proc, pid, "gid_map", facts->gid, &gid);
        if (result == -ENOENT)
            return refuse_ids(claim, uid, gid, err);
    }
    if (result < 0)
        return failed(pidfd, result, "user namespaces", err);
    return uid == claim->uid && gid == claim->gid ? 0 : refuse_ids(claim, uid, gid, err);
}

static int verify_address(int netns, const struct cni_claim *claim, struct fl_err *err)
{
    bool has;
    int result = cni_netns_has_address(netns, claim->addresses, claim->address_count, &has, err);
    if (result < 0 || has)
        return result;
    fl_err_set(err, -EADDRNOTAVAIL, "its network namespace holds none of the addresses in " FL_ENV_POD_IPS);
    return CNI_SIDECAR_REFUSED;
}

int cni_sidecar_verify(const struct cni_proc *proc, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts,
                       const struct cni_claim *claim, struct fl_err *err)
{
    int opened = -1;
    int result = cni_sidecar_open_netns(proc, pid, pidfd, &facts->netns, &opened, err);
    FL_CLEANUP(fl_cleanup_close) int netns = opened;
    if (result != 0)
        return result;
    if (facts->pod[0] != '\0' && strcmp(facts->pod, claim->pod_uid) != 0) {
        fl_err_set(err, -EPERM, FL_ENV_POD_UID " is not the pod of its cgroup");
        return CNI_SIDECAR_REFUSED;
    }
    result = verify_ids(proc, pid, pidfd, netns, facts, claim, err);
    if (result == 0)
        result = verify_address(netns, claim, err);
    return result == 0 && !cni_sidecar_is_alive(pidfd) ? CNI_SIDECAR_GONE : result;
}
