#include "cni/capture/iptablestool.h"

#include "cni/capture/iptablessieve.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define FOLDERS "/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin", "/run/current-system/sw/bin"

/* Who may fill a netns with rules has them in our memory, a copy for the kernel and one for iptables: half a million
 * are 185 MB, and would end the agent by its memory limit. Ours take 1 MB. */
#define MEMORY_MAX (32u * 1024 * 1024)

#define COMPLAINT_MAX 384 /* bytes of what the program says that are kept */
#define NOT_STARTED   125 /* the child's exit code before it was the program */
#define FREE_FD       10  /* the child's own descriptors stand from here on, below are the program's */
#define LOCK_FD       3

/* --- finding --- */

static const char *const folders[] = {FOLDERS};

/* In the order in which they are tried: of one variant by its name first. */
static const char *const names[CNI_IPTABLES_VARIANTS][CNI_FAMILIES][2] = {
    [CNI_IPTABLES_LEGACY] = {{"iptables-legacy", "iptables"}, {"ip6tables-legacy", "ip6tables"}},
    [CNI_IPTABLES_NFT] = {{"iptables", "iptables-nft"}, {"ip6tables", "ip6tables-nft"}},
};

static const char *verb(enum cni_iptables_action action)
{
    return action == CNI_IPTABLES_RESTORE ? "restore" : "save";
}

/* By the file behind the links: xtables-nft-multi, xtables-legacy-multi; once it was xtables-multi. */
static bool is_variant(const char *path, enum cni_iptables_variant variant)
{
    char target[PATH_MAX];
    if (realpath(path, target) == NULL)
        return false;
    const char *name = strrchr(target, '/');
    return variant == CNI_IPTABLES_NFT ? strstr(name, "nft") != NULL : strstr(name, "nft") == NULL;
}

int cni_iptables_tool_find(enum cni_iptables_variant variant, int family, enum cni_iptables_action action,
                           char ret_path[CNI_IPTABLES_PATH_MAX], struct fl_err *err)
{
    const char *const *looked = names[variant][family];
    for (size_t name = 0; name < 2; name++) {
        for (size_t folder = 0; folder < FL_COUNT(folders); folder++) {
            char path[CNI_IPTABLES_PATH_MAX];
            snprintf(path, sizeof(path), "%s/%s-%s", folders[folder], looked[name], verb(action));
            if (access(path, X_OK) == 0 && is_variant(path, variant)) {
                memcpy(ret_path, path, sizeof(path));
                return 0;
            }
        }
    }
    return fl_err_set(err, -ENOENT, "neither %s-%s nor %s-%s%s is in /usr/sbin, /sbin, /usr/local/sbin, /usr/bin, /bin",
                      looked[0], verb(action), looked[1], verb(action),
                      variant == CNI_IPTABLES_NFT ? " (over nf_tables)" : " (legacy)");
}

/* --- the child --- */

struct child {
    int netns, input, output, complaints, lock; /* moved to FREE_FD and above */
    char path[CNI_IPTABLES_PATH_MAX];
    enum cni_iptables_action action;
};

static _Noreturn void give_up(const struct child *child, const char *what)
{
    dprintf(child->complaints, "%s: %s", what, strerror(errno));
    _exit(NOT_STARTED);
}

static void make_empty(const struct child *child, const char *path)
{
    if (mount("/dev/null", path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
        give_up(child, path);
}

static void leave_mounts(const struct child *child)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        give_up(child, "a mount namespace");
    make_empty(child, "/etc/nsswitch.conf");
    make_empty(child, "/etc/passwd");
    make_empty(child, "/etc/group");
}

/* Into the namespace that owns the netns, as its root; a kernel or a place that does not tell leaves us where we are.
 */
static void enter_owner(const struct child *child)
{
    struct stat own, owner;
    int fd = ioctl(child->netns, NS_GET_USERNS);
    if (fd < 0 || fstat(fd, &owner) < 0 || stat("/proc/self/ns/user", &own) < 0)
        return;
    if (own.st_ino == owner.st_ino && own.st_dev == owner.st_dev)
        return;
    if (setns(fd, CLONE_NEWUSER) < 0)
        give_up(child, "enter the user namespace of the pod");
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        give_up(child, "become root of the pod's user namespace");
}

static void settle_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    alarm(CNI_IPTABLES_RUN_SECONDS); /* survives the exec */
}

static void limit_memory(const struct child *child)
{
    const struct rlimit data = {MEMORY_MAX, MEMORY_MAX};
    if (setrlimit(RLIMIT_DATA, &data) < 0)
        give_up(child, "limit its memory");
}

static void move_up(const struct child *child, int *fd)
{
    *fd = fcntl(*fd, F_DUPFD_CLOEXEC, FREE_FD);
    if (*fd < 0)
        give_up(child, "a descriptor");
}

static _Noreturn void be_program(struct child child)
{
    static char noflush[] = "--noflush", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", language[] = "LC_ALL=C",
                lock[] = "XTABLES_LOCKFILE=/proc/self/fd/3"; /* LOCK_FD */
    char *const arguments[] = {strrchr(child.path, '/') + 1, child.action == CNI_IPTABLES_RESTORE ? noflush : NULL,
                               NULL};
    char *const environment[] = {path, language, lock, NULL};
    move_up(&child, &child.complaints);
    move_up(&child, &child.netns);
    move_up(&child, &child.input);
    move_up(&child, &child.output);
    move_up(&child, &child.lock);
    setpgid(0, 0);
    settle_signals();
    leave_mounts(&child);
    if (setns(child.netns, CLONE_NEWNET) < 0)
        give_up(&child, "enter the network namespace");
    if (child.action == CNI_IPTABLES_RESTORE) /* reading needs no more than we are, and as another's root has less */
        enter_owner(&child);
    limit_memory(&child);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(child.input, STDIN_FILENO) < 0 || dup2(child.output, STDOUT_FILENO) < 0 ||
        dup2(child.complaints, STDERR_FILENO) < 0 || dup2(child.lock, LOCK_FD) < 0)
        give_up(&child, "standard input and output");
    execve(child.path, arguments, environment);
    give_up(&child, "execute");
}

/* --- the parent --- */

struct run {
    int input, lock, output[2], complaints[2];
    struct cni_iptables_sieve sieve; /* into nothing: what comes is dropped */
    char said[COMPLAINT_MAX];
    size_t said_len;
};

static void run_done(struct run *run)
{
    int *fds[] = {&run->input, &run->lock, &run->output[0], &run->output[1], &run->complaints[0], &run->complaints[1]};
    for (size_t i = 0; i < FL_COUNT(fds); i++)
        fl_cleanup_close(fds[i]);
    cni_iptables_sieve_done(&run->sieve);
}

static int write_all(int fd, struct fl_span bytes)
{
    while (bytes.len > 0) {
        ssize_t size = write(fd, bytes.data, bytes.len);
        if (size < 0 && errno != EINTR)
            return -errno;
        if (size > 0)
            bytes = fl_span_from(bytes, (size_t)size);
    }
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static int prepare(struct run *run, struct fl_span input)
{
    run->input = memfd_create("iptables-input", MFD_CLOEXEC);
    run->lock = memfd_create("iptables-lock", MFD_CLOEXEC);
    if (run->input < 0 || run->lock < 0 || pipe2(run->output, O_CLOEXEC) < 0 || pipe2(run->complaints, O_CLOEXEC) < 0)
        return -errno;
    return write_all(run->input, input);
}

static int take_output(struct run *run, struct fl_span bytes)
{
    return run->sieve.out != NULL ? cni_iptables_sieve_feed(&run->sieve, bytes) : 0;
}

static void take_complaint(struct run *run, struct fl_span bytes)
{
    for (size_t i = 0; i < bytes.len && run->said_len < sizeof(run->said) - 1; i++)
        run->said[run->said_len++] = bytes.data[i] == '\n' ? ' ' : bytes.data[i];
}

static int milliseconds_left(const struct timespec *end)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t left = (end->tv_sec - now.tv_sec) * 1000 + (end->tv_nsec - now.tv_nsec) / 1000000;
    return left > 0 ? (int)left : 0;
}

/* Until both pipes have ended. 0; -ETIMEDOUT; what `out` answers. */
static int read_pipes(struct run *run)
{
    struct pollfd polled[] = {{.fd = run->output[0], .events = POLLIN}, {.fd = run->complaints[0], .events = POLLIN}};
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += CNI_IPTABLES_RUN_SECONDS + 1; /* the child ends itself before */
    while (polled[0].fd >= 0 || polled[1].fd >= 0) {
        int ready = poll(polled, 2, milliseconds_left(&end));
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready == 0)
            return -ETIMEDOUT;
        for (int i = 0; ready > 0 && i < 2; i++) {
            char bytes[4096];
            if (polled[i].revents == 0)
                continue;
            ssize_t size = read(polled[i].fd, bytes, sizeof(bytes));
            if (size <= 0) {
                polled[i].fd = -1;
                continue;
            }
            int result = i == 0 ? take_output(run, fl_span_make(bytes, (size_t)size)) : 0;
            if (result < 0)
                return result;
            if (i == 1)
                take_complaint(run, fl_span_make(bytes, (size_t)size));
        }
    }
    return 0;
}

/* iptables' exit codes: 3, the kernel or the versions do not fit; 4, a resource (the lock, a table that changed
 * meanwhile). A kernel that lacks a match or target is told in words alone. */
static int code_of(int status, const struct run *run)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGALRM ? -ETIMEDOUT : -EIO;
    if (WEXITSTATUS(status) == 0) /* whatever it warns of: what it did is read back */
        return 0;
    if (WEXITSTATUS(status) == 3 || strstr(run->said, "by that name") != NULL ||
        strstr(run->said, "Table does not exist") != NULL)
        return -EOPNOTSUPP;
    if (WEXITSTATUS(status) == 4 || strstr(run->said, "temporarily unavailable") != NULL)
        return -EAGAIN;
    return -EIO;
}

static int wait_for(pid_t child, int *ret_status)
{
    while (waitpid(child, ret_status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

/* Its process group goes too: a modprobe that it started may outlive it. */
static int watch(pid_t child, struct run *run, struct fl_err *err)
{
    int status = 0;
    fl_cleanup_close(&run->output[1]);
    fl_cleanup_close(&run->complaints[1]);
    run->output[1] = run->complaints[1] = -1;
    int result = read_pipes(run);
    if (result < 0) {
        kill(-child, SIGKILL);
        kill(child, SIGKILL);
    }
    int waited = wait_for(child, &status);
    if (result == 0)
        result = waited < 0 ? waited : code_of(status, run);
    if (result == -ETIMEDOUT)
        return fl_err_set(err, result, "not done after %d seconds", CNI_IPTABLES_RUN_SECONDS);
    if (result < 0 && run->said_len > 0)
        return fl_err_set(err, result, "%s", run->said);
    return result < 0 ? fl_err_errno(err, result, "exit code %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1) : 0;
}

int cni_iptables_tool_run(int netns, const char *path, enum cni_iptables_action action, struct fl_span input,
                          struct fl_buf *out, struct fl_err *err)
{
    FL_CLEANUP(run_done) struct run run = {.input = -1, .lock = -1, .output = {-1, -1}, .complaints = {-1, -1}};
    cni_iptables_sieve_init(&run.sieve, out);
    int result = prepare(&run, input);
    if (result < 0)
        return fl_err_errno(err, result, "%s", path);
    struct child description = {.netns = netns,
                                .input = run.input,
                                .output = run.output[1],
                                .complaints = run.complaints[1],
                                .lock = run.lock,
                                .action = action};
    snprintf(description.path, sizeof(description.path), "%s", path);
    pid_t child = fork();
    if (child < 0)
        return fl_err_errno(err, -errno, "%s: fork", path);
    if (child == 0)
        be_program(description);
    result = watch(child, &run, err);
    if (result < 0)
        fl_err_prefix(err, "%s", strrchr(path, '/') + 1);
    return result;
}
