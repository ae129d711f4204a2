#include "cni/capture/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define LEAVE_TRIES    100
#define LEAVE_PAUSE_MS 10

/* From the kernel itself, so that it works where /proc is not mounted. */
static int open_own(struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return fl_err_errno(err, -errno, "open a socket to find the own network namespace");
    int own = ioctl(probe, SIOCGSKNS);
    return own < 0 ? fl_err_errno(err, -errno, "find the own network namespace") : own;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* 0: it is neither; CNI_NETNS_HOST; or a negative errno, where the own one cannot be told. */
static int check_not_host(int netns, const char *path, struct fl_err *err)
{
    struct stat target, other;
    FL_CLEANUP(fl_cleanup_close) int own = open_own(err);
    if (own < 0)
        return own;
    if (fstat(netns, &target) < 0 || fstat(own, &other) < 0)
        return fl_err_errno(err, -errno, "stat %s", path);
    if (!same_file(&target, &other) && (stat("/proc/1/ns/net", &other) < 0 || !same_file(&target, &other)))
        return 0;
    fl_err_set(err, -EPERM, "%s is the host's network namespace: its traffic is never captured", path);
    return CNI_NETNS_HOST;
}

/* 0; CNI_NETNS_ABSENT for the empty file that is left where a namespace was mounted; CNI_NETNS_FOREIGN. */
static int check_netns(int fd)
{
    struct statfs filesystem;
    struct stat file;
    if (fstatfs(fd, &filesystem) < 0 || fstat(fd, &file) < 0)
        return CNI_NETNS_FOREIGN;
    if (filesystem.f_type == NSFS_MAGIC)
        return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET ? 0 : CNI_NETNS_FOREIGN;
    return S_ISREG(file.st_mode) && file.st_size == 0 ? CNI_NETNS_ABSENT : CNI_NETNS_FOREIGN;
}

int cni_netns_open(const char *path, int *ret_fd, struct fl_err *err)
{
    /* Not blocking: the path may name a FIFO or a device. */
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ESRCH)) {
        fl_err_set(err, -ENOENT, "%s: there is no such network namespace", path);
        return CNI_NETNS_ABSENT;
    }
    if (fd < 0)
        return fl_err_errno(err, -errno, "open %s", path);
    int result = check_netns(fd);
    if (result != 0) {
        fl_err_set(err, result == CNI_NETNS_ABSENT ? -ENOENT : -EINVAL, "%s is not a network namespace", path);
        return result;
    }
    result = check_not_host(fd, path, err);
    if (result == 0)
        *ret_fd = fl_take_fd(fd);
    return result;
}

int cni_netns_own(int *ret_fd, struct fl_err *err)
{
    int own = open_own(err);
    if (own >= 0)
        *ret_fd = own;
    return own < 0 ? own : 0;
}

int cni_netns_go(int netns, struct fl_err *err)
{
    return setns(netns, CLONE_NEWNET) < 0 ? fl_err_errno(err, -errno, "enter the network namespace") : 0;
}

int cni_netns_enter(int netns, int *ret_back, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int own = open_own(err);
    if (own < 0)
        return own;
    int result = cni_netns_go(netns, err);
    if (result == 0)
        *ret_back = fl_take_fd(own);
    return result;
}

int cni_netns_leave(int back, struct fl_err *err)
{
    (void)err;
    for (int i = 0; setns(back, CLONE_NEWNET) < 0; i++) {
        if ((errno != ENOMEM && errno != EINTR) || i == LEAVE_TRIES)
            abort();
        (void)poll(NULL, 0, LEAVE_PAUSE_MS);
    }
    return 0;
}

int cni_netns_make(int *ret_fd, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int own = open_own(err), made = -1;
    if (own < 0)
        return own;
    if (unshare(CLONE_NEWNET) < 0)
        return fl_err_errno(err, -errno, "make a network namespace");
    made = open_own(err);
    int left = cni_netns_leave(own, made < 0 ? NULL : err);
    if (made < 0 || left < 0)
        return made < 0 ? made : left;
    *ret_fd = fl_take_fd(made);
    return 0;
}
