#include "control/ca/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int spawn(const char *program, char *const *arguments, char *const *environment, int channel, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0)
        return -result;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    result = posix_spawn_file_actions_adddup2(&actions, channel, CONTROL_SPAWN_CHANNEL);
    if (result == 0)
        result = posix_spawn(ret_pid, program, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -result;
}

int control_spawn(const char *program, char *const *arguments, char *const *environment, pid_t *ret_pid, int *ret_pidfd,
                  int *ret_channel)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    FL_CLEANUP(fl_cleanup_close) int ours = pair[0];
    FL_CLEANUP(fl_cleanup_close) int theirs = pair[1];
    pid_t pid;
    if (fcntl(ours, F_SETFL, O_NONBLOCK) != 0)
        return -errno;
    int result = spawn(program, arguments, environment, theirs, &pid);
    if (result < 0)
        return result;
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        result = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return result;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    *ret_channel = fl_take_fd(ours);
    return 0;
}
