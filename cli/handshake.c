#include "cli/handshake.h"

#include "common/pki/bundle.h"
#include "common/tls/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define TIMEOUT_MS 10000
#define READ_MAX   16384
#define BYTES_MAX  262144 /* of the server, for a whole handshake */
#define TLS_1_2    0x0303

struct dial {
    int fd;
    int64_t end;
    bool opened;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_for(const struct dial *dial, short events)
{
    struct pollfd one = {dial->fd, events, 0};
    int64_t left = dial->end - now_ms();
    int result;
    do
        result = left > 0 ? poll(&one, 1, (int)left) : 0;
    while (result < 0 && errno == EINTR && (left = dial->end - now_ms()) > 0);
    return result > 0 ? 0 : result == 0 || errno == EINTR ? -ETIMEDOUT : -errno;
}

static int on_send(void *owner, struct fl_span bytes)
{
    const struct dial *dial = owner;
    while (bytes.len > 0) {
        ssize_t sent = send(dial->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes = fl_span_from(bytes, (size_t)sent);
            continue;
        }
        int result = errno == EAGAIN ? wait_for(dial, POLLOUT) : errno == EINTR ? 0 : -errno;
        if (result < 0)
            return result;
    }
    return 0;
}

static int on_receive(void *owner, struct fl_span bytes)
{
    (void)owner, (void)bytes;
    return 0;
}

static int on_opened(void *owner)
{
    struct dial *dial = owner;
    dial->opened = true;
    return 0;
}

static int open_socket(const char *address, struct dial *dial, struct fl_err *err)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct fl_span port = fl_span_str(address), host;
    char text[INET_ADDRSTRLEN];
    uint64_t number;
    if (!fl_span_split(&port, ':', &host) || !fl_span_to_u64(port, UINT16_MAX, &number) || host.len >= sizeof(text))
        return fl_err_set(err, -EINVAL, "%s: expected IPv4:port", address);
    (void)snprintf(text, sizeof(text), "%.*s", FL_SPAN_ARG(host));
    to.sin_port = htons((uint16_t)number);
    if (inet_pton(AF_INET, text, &to.sin_addr) != 1)
        return fl_err_set(err, -EINVAL, "%s: expected IPv4:port", address);
    dial->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dial->fd < 0)
        return fl_err_errno(err, -errno, "socket");
    int result = connect(dial->fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
    if (result == -EINPROGRESS && (result = wait_for(dial, POLLOUT)) == 0) {
        int failure = 0;
        socklen_t size = sizeof(failure);
        result = getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0 ? -errno : -failure;
    }
    return result < 0 ? fl_err_errno(err, result, "connect to %s", address) : 0;
}

static int make_context(const struct cli_handshake *how, struct fl_tls_context **ret_context, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_bundle) struct fl_bundle *bundle = NULL;
    const struct fl_tls_name_match name = {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, fl_span_str(how->name)};
    int result = fl_bundle_parse(how->roots, &bundle, err);
    if (result < 0)
        return result;
    const struct fl_tls_options options = {
        .bundle = bundle, .names = &name, .name_count = 1, .server_name = name.value, .minimum_version = TLS_1_2};
    return fl_tls_context_new(&options, ret_context, err);
}

static int shake(struct fl_tls *tls, struct dial *dial, struct fl_err *err)
{
    char bytes[READ_MAX];
    size_t total = 0;
    int result = fl_tls_start(tls);
    while (result == 0 && !dial->opened) {
        ssize_t count = recv(dial->fd, bytes, sizeof(bytes), 0);
        if (count > 0 && (total += (size_t)count) <= BYTES_MAX)
            result = fl_tls_feed(tls, fl_span_make(bytes, (size_t)count));
        else if (count < 0 && errno == EAGAIN)
            result = wait_for(dial, POLLIN);
        else if (count >= 0 || errno != EINTR)
            result = count > 0 ? -EMSGSIZE : count == 0 ? -ECONNRESET : -errno;
    }
    if (result < 0 && fl_tls_error(tls)[0] != '\0')
        return fl_err_set(err, result, "%s", fl_tls_error(tls));
    return result < 0 ? fl_err_errno(err, result, "the handshake") : 0;
}

static void cleanup_tls(struct fl_tls **tls)
{
    fl_tls_free(*tls);
}

int cli_handshake(const char *address, const struct cli_handshake *how, int64_t *ret_from, int64_t *ret_until,
                  struct fl_err *err)
{
    struct dial dial = {.fd = -1, .end = now_ms() + (how->timeout_ms != 0 ? how->timeout_ms : TIMEOUT_MS)};
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *context = NULL;
    FL_CLEANUP(cleanup_tls) struct fl_tls *tls = NULL;
    const struct fl_tls_sinks sinks = {on_send, on_receive, on_opened, &dial};
    int result = make_context(how, &context, err);
    if (result == 0 && (result = fl_tls_new(context, &sinks, &tls)) < 0)
        (void)fl_err_errno(err, result, "the handshake");
    if (result == 0)
        result = open_socket(address, &dial, err);
    if (result == 0)
        result = shake(tls, &dial, err);
    if (result == 0 && !fl_tls_peer_validity(tls, ret_from, ret_until))
        result = fl_err_set(err, -EPROTO, "it shows no certificate");
    if (dial.fd >= 0)
        close(dial.fd);
    return result;
}
