#include "cni/repair/environ.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PIECE   65536 /* bytes read at once */
#define REAP_MS 20    /* between two looks whether a killed child is gone */

/* --- in the child --- */

static int read_all(int proc, pid_t pid, struct cni_claim_reader *reader)
{
    char path[32];
    FL_CLEANUP(fl_cleanup_free) char *piece = malloc(PIECE);
    snprintf(path, sizeof(path), "%d/environ", (int)pid);
    FL_CLEANUP(fl_cleanup_close) int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || piece == NULL)
        return fd < 0 ? -errno : -ENOMEM;
    int result = 0;
    while (result == 0) {
        ssize_t got = read(fd, piece, PIECE);
        if (got <= 0)
            return got < 0 ? -errno : 0;
        result = cni_claim_feed(reader, fl_span_make(piece, (size_t)got));
    }
    return result < 0 ? result : 0;
}

/* The pipe gets the errno (0: none) as one int, then the excerpt. */
static void write_all(int pipe, const void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t put = write(pipe, (const char *)bytes + done, len - done);
        if (put <= 0)
            return;
        done += (size_t)put;
    }
}

static void run_child(int proc, pid_t pid, int pipe)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf excerpt;
    FL_CLEANUP(cni_claim_reader_done) struct cni_claim_reader reader;
    fl_buf_init(&excerpt, CNI_CLAIM_EXCERPT_MAX);
    cni_claim_reader_init(&reader);
    int result = read_all(proc, pid, &reader);
    if (result == 0)
        result = cni_claim_excerpt(&reader, &excerpt);
    write_all(pipe, &result, sizeof(result));
    if (result == 0)
        write_all(pipe, excerpt.data, excerpt.len);
}

/* Nothing of the agent's is held open longer than needed by a child that hangs: not a lock, not a listener. */
static void close_others(int a, int b)
{
    const int low = a < b ? a : b, high = a < b ? b : a;
    if (low > 0)
        (void)close_range(0, (unsigned)low - 1, 0);
    if (high - low > 1)
        (void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    (void)close_range((unsigned)high + 1, UINT32_MAX, 0);
}

static void become_reader(int proc, pid_t pid, int pipe, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(1);
    close_others(proc, pipe);
    run_child(proc, pid, pipe);
    _exit(0);
}

/* --- in the agent --- */

/* After SIGKILL a child is gone as soon as the kernel has seen to it, which is not waited for. */
static void reap(struct cni_environ *environment)
{
    if (waitpid(environment->child, NULL, WNOHANG) != 0)
        environment->child = 0;
}

static void on_reap(struct fl_timer *timer)
{
    struct cni_environ *environment = FL_CONTAINER_OF(timer, struct cni_environ, deadline);
    struct fl_loop *loop = environment->loop;
    reap(environment);
    if (environment->child != 0)
        fl_timer_set(loop, timer, REAP_MS, on_reap);
}

static void end_child(struct cni_environ *environment)
{
    fl_timer_cancel(&environment->deadline);
    fl_source_remove(&environment->source);
    close(environment->pipe);
    environment->pipe = -1;
    kill(environment->child, SIGKILL);
    reap(environment);
}

static void finish(struct cni_environ *environment, int result)
{
    FL_CLEANUP(cni_claim_done) struct cni_claim claim = {0};
    FL_CLEANUP(fl_buf_done) struct fl_buf excerpt = environment->excerpt;
    struct fl_err err = {0};
    int told = 0;
    environment->excerpt = (struct fl_buf){0};
    end_child(environment);
    if (environment->child != 0)
        fl_timer_set(environment->loop, &environment->deadline, REAP_MS, on_reap);
    if (result == 0 && excerpt.len < sizeof(told))
        result = -EIO;
    if (result == 0) {
        FL_CLEANUP(cni_claim_reader_done) struct cni_claim_reader reader;
        memcpy(&told, excerpt.data, sizeof(told));
        cni_claim_reader_init(&reader);
        struct fl_span found = fl_span_make(excerpt.data + sizeof(told), excerpt.len - sizeof(told));
        result = told < 0 ? told : cni_claim_feed(&reader, found);
        if (result >= 0)
            result = cni_claim_finish(&reader, &claim, &err);
    }
    environment->on_done(environment, result, &claim, &err);
}

static void on_readable(struct fl_source *source, uint32_t events)
{
    struct cni_environ *environment = FL_CONTAINER_OF(source, struct cni_environ, source);
    char bytes[4096];
    (void)events;
    ssize_t got = read(environment->pipe, bytes, sizeof(bytes));
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int result = got < 0 ? -errno : 0;
    if (got > 0)
        result = fl_buf_append(&environment->excerpt, fl_span_make(bytes, (size_t)got));
    if (got <= 0 || result < 0)
        finish(environment, result);
}

static void on_deadline(struct fl_timer *timer)
{
    finish(FL_CONTAINER_OF(timer, struct cni_environ, deadline), -ETIMEDOUT);
}

void cni_environ_init(struct cni_environ *environment)
{
    *environment = (struct cni_environ){.pipe = -1};
}

int cni_environ_start(struct cni_environ *environment, struct fl_loop *loop, int proc, pid_t pid)
{
    int ends[2];
    const pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    FL_CLEANUP(fl_cleanup_close) int reading = ends[0];
    FL_CLEANUP(fl_cleanup_close) int writing = ends[1];
    if (fcntl(reading, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    int result = fl_source_add(loop, &environment->source, reading, EPOLLIN, on_readable);
    if (result < 0)
        return result;
    environment->child = fork();
    if (environment->child == 0)
        become_reader(proc, pid, writing, parent);
    if (environment->child < 0) {
        result = -errno;
        fl_source_remove(&environment->source);
        return result;
    }
    environment->loop = loop;
    fl_buf_init(&environment->excerpt, CNI_CLAIM_EXCERPT_MAX + sizeof(int));
    environment->pipe = fl_take_fd(reading);
    fl_timer_set(loop, &environment->deadline, CNI_ENVIRON_MS, on_deadline);
    return 0;
}

void cni_environ_done(struct cni_environ *environment)
{
    fl_timer_cancel(&environment->deadline);
    if (environment->pipe < 0)
        return;
    end_child(environment);
    fl_buf_done(&environment->excerpt);
    environment->excerpt = (struct fl_buf){0};
}
