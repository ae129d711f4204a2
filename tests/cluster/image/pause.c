/*
 * The process that holds namespaces open: pid 1 of every pod sandbox, and pid 1
 * of the node itself. It reaps what is orphaned to it and ends on SIGTERM or
 * SIGINT. Static, so that its image is this one file.
 */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void)
{
    sigset_t set;
    int sig;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return 1;

    for (;;) {
        if (sigwait(&set, &sig))
            return 1;
        if (sig != SIGCHLD)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}
