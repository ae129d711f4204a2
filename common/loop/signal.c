#include "common/loop/signal.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* One signal an event (the source is level-triggered, the next comes in the next turn): the callback may end and free
 * the whole structure, so nothing is touched after it. */
static void on_event(struct fl_source *source, uint32_t events)
{
    struct fl_signals *signals = FL_CONTAINER_OF(source, struct fl_signals, source);
    struct signalfd_siginfo info;
    (void)events;
    if (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        signals->on_signal(signals, (int)info.ssi_signo);
}

static int open_signals(struct fl_signals *signals, struct fl_loop *loop, const sigset_t *set)
{
    FL_CLEANUP(fl_cleanup_close) int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int result = fl_source_add(loop, &signals->source, fd, EPOLLIN, on_event);
    if (result < 0)
        return result;
    fl_take_fd(fd);
    return 0;
}

int fl_signals_init(struct fl_signals *signals, struct fl_loop *loop, const int *numbers,
                    void (*on_signal)(struct fl_signals *signals, int number))
{
    sigset_t set;
    sigset_t old;
    *signals = (struct fl_signals){.on_signal = on_signal};
    sigemptyset(&set);
    for (; *numbers != 0; numbers++) {
        if (sigaddset(&set, *numbers) < 0)
            return -errno;
    }
    if (sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) < 0)
        return -errno;
    int result = pthread_sigmask(SIG_BLOCK, &set, &old);
    if (result != 0)
        return -result;
    result = open_signals(signals, loop, &set);
    if (result < 0)
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result;
}

void fl_signals_done(struct fl_signals *signals)
{
    if (signals->source.loop == NULL)
        return;
    fl_source_remove(&signals->source);
    close(signals->source.fd);
}
