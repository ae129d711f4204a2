#include "proxy/server/hook.h"

#include "common/base/span.h"
#include "common/mesh/label.h"
#include "common/mesh/port.h"
#include "proxy/admin/adminsecret.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define ANSWER_MAX 4096

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A hook is there to hold the kubelet: it has nothing else to do in this time. */
static void pause_until(uint64_t deadline_ms)
{
    for (uint64_t now = now_ms(); now < deadline_ms; now = now_ms())
        (void)!poll(NULL, 0, (int)(deadline_ms - now));
}

/* -- one question -- */

static int wait_for(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd one = {.fd = fd, .events = events};
        uint64_t now = now_ms();
        int result = poll(&one, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);
        if (result > 0)
            return 0;
        if (result == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int open_connection(uint16_t port, uint64_t deadline_ms, int *ret_fd)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int error = 0;
    socklen_t size = sizeof(error);
    FL_CLEANUP(fl_cleanup_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
        if (errno != EINPROGRESS)
            return -errno;
        int result = wait_for(fd, POLLOUT, deadline_ms);
        if (result < 0)
            return result;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
            return -errno;
        if (error != 0)
            return -error;
    }
    *ret_fd = fl_take_fd(fd);
    return 0;
}

/* All of the answer, as a string; the server closes. */
static int exchange(int fd, const char *request, uint64_t deadline_ms, char answer[ANSWER_MAX])
{
    size_t length = 0, size = strlen(request);
    if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) /* it fits into any socket's buffer */
        return -EIO;
    while (length < ANSWER_MAX - 1) {
        int result = wait_for(fd, POLLIN, deadline_ms);
        if (result < 0)
            return result;
        ssize_t got = recv(fd, answer + length, ANSWER_MAX - 1 - length, 0);
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        length += got > 0 ? (size_t)got : 0;
    }
    answer[length] = '\0';
    return 0;
}

struct heard {
    unsigned status;
    char line[256]; /* the first one of the body */
};

static int read_answer(const char *answer, struct heard *heard)
{
    static const char version[] = "HTTP/1.1 ";
    uint64_t status = 0;
    if (strncmp(answer, version, sizeof(version) - 1) != 0 ||
        !fl_span_to_u64(fl_span_make(answer + sizeof(version) - 1, strnlen(answer + sizeof(version) - 1, 3)), 999,
                        &status))
        return -EPROTO;
    const char *body = strstr(answer, "\r\n\r\n");
    body = body != NULL ? body + 4 : "";
    heard->status = (unsigned)status;
    snprintf(heard->line, sizeof(heard->line), "%.*s", (int)strcspn(body, "\r\n"), body);
    return 0;
}

static int ask(const char *method, const char *path, const char *secret, uint16_t port, uint64_t deadline_ms,
               struct heard *heard)
{
    char request[384], answer[ANSWER_MAX];
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    snprintf(request, sizeof(request),
             "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s%s%sContent-Length: 0\r\nConnection: close\r\n\r\n", method, path,
             secret[0] != '\0' ? PROXY_ADMIN_SECRET_HEADER ": " : "", secret, secret[0] != '\0' ? "\r\n" : "");
    int result = open_connection(port, deadline_ms, &fd);
    if (result == 0)
        result = exchange(fd, request, deadline_ms, answer);
    return result < 0 ? result : read_answer(answer, heard);
}

/* -- the hooks -- */

static int give_up(uint64_t seconds, int result, const struct heard *heard, struct fl_err *err)
{
    if (result == 0)
        return fl_err_set(err, -ETIMEDOUT, "the proxy has not started within %llu s: %s", (unsigned long long)seconds,
                          heard->line);
    return fl_err_set(err, -ETIMEDOUT, "the proxy has not started within %llu s: port %d: %s",
                      (unsigned long long)seconds, FL_PORT_HEALTH, strerrordesc_np(-result));
}

int proxy_hook_wait(uint64_t seconds, struct fl_err *err)
{
    const uint64_t end = now_ms() + seconds * 1000;
    struct heard last = {0};
    for (;;) {
        struct heard heard = {0};
        uint64_t now = now_ms(), patience = now + PROXY_HOOK_ANSWER_MS;
        int result = ask("GET", "/healthz/started", "", FL_PORT_HEALTH,
                         patience < end || seconds == 0 ? patience : end + 1, &heard);
        if (result == 0 && heard.status == 200)
            return 0;
        if (result == 0)
            last = heard;
        if (result == -ETIMEDOUT && last.status != 0) /* the end came while it waited: what it said before holds */
            result = 0;
        now = now_ms();
        if (now + PROXY_HOOK_RETRY_MS > end)
            return give_up(seconds, result, &last, err);
        pause_until(now + PROXY_HOOK_RETRY_MS);
    }
}

static int admin_port(uint16_t *ret_port, struct fl_err *err)
{
    const char *text = getenv(FL_ENV_ADMIN_PORT);
    uint64_t port = FL_PORT_ADMIN;
    if (text != NULL && text[0] != '\0' && (!fl_span_to_u64(fl_span_str(text), 65535, &port) || port == 0))
        return fl_err_set(err, -EINVAL, FL_ENV_ADMIN_PORT " is \"%s\": expected a port", text);
    *ret_port = (uint16_t)port;
    return 0;
}

int proxy_hook_drain(const char *folder, uint64_t seconds, struct fl_err *err)
{
    struct heard heard = {0};
    struct proxy_admin_secret secret = {0};
    struct fl_err unread = {0};
    uint16_t port = 0;
    int result = admin_port(&port, err);
    if (result < 0)
        return result;
    int found = proxy_admin_secret_read(folder, &secret, &unread); /* where there is no proxy, that is what is told */
    result = ask("POST", "/drain", secret.text, port, now_ms() + PROXY_HOOK_ANSWER_MS, &heard);
    if (result < 0)
        return fl_err_errno(err, result, "ask the proxy at 127.0.0.1:%u", port);
    if (heard.status == 403 && found < 0)
        return fl_err_set(err, -EPROTO, "the proxy wants its secret: %s (--state-dir names its folder)", unread.text);
    if (heard.status != 200)
        return fl_err_set(err, -EPROTO, "the proxy answered %u: %s", heard.status, heard.line);
    pause_until(now_ms() + seconds * 1000);
    return 0;
}
