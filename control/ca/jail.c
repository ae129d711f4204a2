#include "control/ca/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#else
#error "the system calls that the issuer may make are not known for this machine"
#endif

/* Descriptors 0 to 2 stay (0 and 1 are /dev/null), and the channel. */
static int close_others(int channel)
{
    if (channel > 3 && close_range(3, (unsigned)channel - 1, 0) != 0)
        return -errno;
    return close_range((unsigned)channel + 1, ~0u, 0) != 0 ? -errno : 0;
}

static int silence(int fd, int flags)
{
    FL_CLEANUP(fl_cleanup_close) int null = open("/dev/null", flags | O_CLOEXEC);
    return null < 0 || dup2(null, fd) < 0 ? -errno : 0;
}

int control_jail_shed(int channel, struct fl_err *err)
{
    const struct rlimit none = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0)
        return fl_err_errno(err, -errno, "cannot give up privileges");
    int result = silence(0, O_RDONLY);
    if (result == 0)
        result = silence(1, O_WRONLY);
    if (result == 0)
        result = close_others(channel);
    return result < 0 ? fl_err_errno(err, result, "cannot close what was inherited") : 0;
}

int control_jail_enter(int channel, bool *ret_isolated, struct fl_err *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return fl_err_errno(err, -errno, "cannot give up privileges");
    int result = control_jail_shed(channel, err);
    if (result < 0)
        return result;
    *ret_isolated = unshare(CLONE_NEWNET) == 0;
    return 0;
}

/* The filter as rows: each decides, or passes on to the row behind `skip` more; the accumulator holds the call's
 * number. */
#define LOAD(member)        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, member))
#define ARGUMENT_LOW(n)     BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n)))
#define ANSWER(value)       BPF_STMT(BPF_RET | BPF_K, (value))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 0, (skip))
/* One system call without a look at its arguments. */
#define ALLOW(name) UNLESS(SYS_##name, 1), ANSWER(SECCOMP_RET_ALLOW)

int control_jail_lock(int channel, struct fl_err *err)
{
    struct sock_filter rules[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        /* read: the channel. write: the channel and stderr. */
        UNLESS(SYS_read, 4),
        ARGUMENT_LOW(0),
        UNLESS(channel, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        UNLESS(SYS_write, 5),
        ARGUMENT_LOW(0),
        UNLESS(channel, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        UNLESS(STDERR_FILENO, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        /* Memory that is neither a file's nor executable. */
        LOAD(nr),
        UNLESS(SYS_mmap, 6),
        ARGUMENT_LOW(2),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 3, 0),
        ARGUMENT_LOW(3),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        UNLESS(SYS_mprotect, 4),
        ARGUMENT_LOW(2),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(madvise),
        ALLOW(brk),
        ALLOW(futex),
        ALLOW(getrandom),
        ALLOW(clock_gettime),
        ALLOW(getpid), /* OpenSSL: was there a fork? */
        ALLOW(gettid),
        ALLOW(rt_sigreturn),
        ALLOW(sigaltstack), /* AddressSanitizer, before _exit */
        ALLOW(restart_syscall),
        ALLOW(exit),
        ALLOW(exit_group),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
    };
    const struct sock_fprog program = {FL_COUNT(rules), rules};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return fl_err_errno(err, -errno, "cannot lock the issuer in");
    return 0;
}
