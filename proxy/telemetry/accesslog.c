#include "proxy/telemetry/accesslog.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(PROXY_LOG_LINE_MAX <= PIPE_BUF, "a line goes into a pipe whole");

void proxy_log_init(struct proxy_log *log, int fd)
{
    struct stat status;
    *log = (struct proxy_log){.fd = fd, .kind = PROXY_LOG_KIND_FILE};
    if (fstat(fd, &status) < 0)
        return;
    if (S_ISSOCK(status.st_mode))
        log->kind = PROXY_LOG_KIND_SOCKET; /* each send says itself that it must not wait */
    else if (!S_ISREG(status.st_mode))
        log->kind = PROXY_LOG_KIND_PIPE;
    int flags = fcntl(fd, F_GETFL);
    log->polled = log->kind == PROXY_LOG_KIND_PIPE && (flags < 0 || (flags & O_NONBLOCK) == 0);
}

/* A pipe or terminal of ours, opened anew: non-blocking without a change for those who share the first descriptor. It
 * fails where that belongs to another user; then there is the poll. */
static void open_anew(struct proxy_log *log)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", log->fd);
    int fd = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return;
    log->fd = fd;
    log->owned = true;
    log->polled = false;
}

/* The process's own descriptor of that name; -1: none. */
static int standard_of(const char *path)
{
    if (strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    return strcmp(path, "/dev/stderr") == 0 ? STDERR_FILENO : -1;
}

int proxy_log_open(struct proxy_log *log, const char *path, struct fl_err *err)
{
    int standard = standard_of(path);
    if (standard >= 0) {
        proxy_log_init(log, standard);
        if (log->polled)
            open_anew(log);
        return 0;
    }
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
    if (fd < 0)
        return fl_err_errno(err, -errno, "access log %s", path);
    proxy_log_init(log, fd);
    log->owned = true;
    return 0;
}

int proxy_log_reopen(struct proxy_log *log, const char *path, struct fl_err *err)
{
    struct proxy_log fresh;
    if (standard_of(path) >= 0)
        return 0;
    int result = proxy_log_open(&fresh, path, err);
    if (result < 0)
        return result;
    (void)proxy_log_flush(log);
    if (log->owned)
        close(log->fd);
    log->fd = fresh.fd;
    log->kind = fresh.kind;
    log->owned = fresh.owned;
    log->polled = fresh.polled;
    return 0;
}

void proxy_log_done(struct proxy_log *log)
{
    if (log->len > 0)
        (void)proxy_log_flush(log);
    free(log->buffer);
    if (log->owned)
        close(log->fd);
    *log = (struct proxy_log){.fd = -1};
}

/* Room for one more line of any length. */
static bool make_room(struct proxy_log *log)
{
    if (log->cap - log->len >= PROXY_LOG_LINE_MAX)
        return true;
    size_t cap = log->cap > 0 ? log->cap * 2 : PROXY_LOG_BUFFER_MIN;
    char *buffer = cap <= PROXY_LOG_BUFFER_MAX ? realloc(log->buffer, cap) : NULL;
    if (buffer == NULL)
        return false;
    log->buffer = buffer;
    log->cap = cap;
    return true;
}

void proxy_log_write(struct proxy_log *log, const struct proxy_log_format *format,
                     const struct proxy_log_record *record)
{
    if (!make_room(log)) {
        log->dropped++;
        return;
    }
    log->len += proxy_log_print(format, record, log->buffer + log->len);
    log->lines++;
}

/* As many whole lines as one write takes: all, or into a pipe what it takes undivided. */
static size_t piece_length(const struct proxy_log *log)
{
    if (log->kind != PROXY_LOG_KIND_PIPE || log->len <= PIPE_BUF)
        return log->len;
    const char *last = memrchr(log->buffer, '\n', PIPE_BUF);
    return last != NULL ? (size_t)(last - log->buffer) + 1 : PIPE_BUF;
}

static ssize_t write_piece(const struct proxy_log *log, size_t size)
{
    if (log->kind == PROXY_LOG_KIND_SOCKET)
        return send(log->fd, log->buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
    if (log->polled && poll(&ready, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(log->fd, log->buffer, size);
}

static void consume(struct proxy_log *log, size_t size)
{
    log->len -= size;
    if (log->len > 0)
        memmove(log->buffer, log->buffer + size, log->len);
}

static void drop_all(struct proxy_log *log)
{
    for (size_t i = 0; i < log->len; i++)
        log->dropped += log->buffer[i] == '\n' ? 1 : 0;
    log->len = 0;
}

/* What a slow reader made us take is given back. */
static void shrink(struct proxy_log *log)
{
    if (log->cap <= PROXY_LOG_BUFFER_MIN)
        return;
    char *buffer = realloc(log->buffer, PROXY_LOG_BUFFER_MIN);
    if (buffer == NULL)
        return;
    log->buffer = buffer;
    log->cap = PROXY_LOG_BUFFER_MIN;
}

int proxy_log_flush(struct proxy_log *log)
{
    while (log->len > 0) {
        ssize_t size = write_piece(log, piece_length(log));
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return 1;
        if (size < 0) {
            int error = -errno;
            drop_all(log);
            return error;
        }
        consume(log, (size_t)size);
    }
    shrink(log);
    return 0;
}
