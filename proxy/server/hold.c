#include "proxy/server/hold.h"

#include "common/base/log.h"
#include "common/loop/signal.h"
#include "common/loop/timer.h"
#include "common/mesh/capture.h"
#include "common/mesh/label.h"
#include "common/mesh/port.h"
#include "proxy/admin/probe.h"
#include "proxy/net/origdst.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKLOG 64

struct listener {
    struct fl_source source;
    struct hold *hold;
};

struct hold {
    struct fl_loop *loop;
    struct proxy_gate *gate;
    struct fl_signals signals;
    struct fl_timer deadline, tell;
    struct listener listeners[2]; /* IPv4, IPv6 */
    char reason[FL_ERR_TEXT_MAX]; /* what it waits for; empty: not known yet */
    uint64_t start_ms;
};

/* --- what arrives --- */

static void on_connection(struct fl_source *source, uint32_t events)
{
    (void)events;
    struct listener *listener = FL_CONTAINER_OF(source, struct listener, source);
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    FL_CLEANUP(fl_cleanup_close)
    int fd = accept4(source->fd, (struct sockaddr *)&raw, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct proxy_address peer, original, local;
    if (fd >= 0 && proxy_address_from_sockaddr(&raw, &peer) == 0 &&
        proxy_origdst(fd, &peer, &original, &local) == PROXY_ORIGDST_FOUND)
        (void)proxy_gate_arrived(listener->hold->gate, &peer, &original);
}

/* The option of IPv4 counts for IPv6 too. The address need not be there: lo may come up after us. */
static int open_listener(const char *address, uint16_t port, int *ret_fd)
{
    const int on = 1;
    struct proxy_address where;
    int result = proxy_address_parse(fl_span_str(address), port, &where);
    if (result < 0)
        return result;
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(where.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
        bind(fd, &where.any, proxy_address_size(&where)) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

static int listen_on(struct hold *hold, const char *address, uint16_t port, struct listener *listener,
                     struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    int result = open_listener(address, port, &fd);
    if (result < 0)
        return fl_err_errno(err, result, "listen on %s port %u", address, port);
    listener->hold = hold;
    result = fl_source_add(hold->loop, &listener->source, fd, EPOLLIN, on_connection);
    if (result < 0)
        return fl_err_errno(err, result, "listen on %s port %u", address, port);
    (void)fl_take_fd(fd);
    return 0;
}

/* A kernel without IPv6 has nothing to listen on; the gate does not dial it either. */
static int start_listeners(struct hold *hold, uint16_t port, struct fl_err *err)
{
    int result = listen_on(hold, "127.0.0.1", port, &hold->listeners[0], err);
    if (result < 0)
        return result;
    struct fl_err failure = {0};
    result = listen_on(hold, "::1", port, &hold->listeners[1], &failure);
    return result < 0 && result != -EAFNOSUPPORT ? fl_err_set(err, result, "%s", failure.text) : 0;
}

/* --- waiting --- */

static void on_tell(struct fl_timer *timer)
{
    struct hold *hold = FL_CONTAINER_OF(timer, struct hold, tell);
    fl_log(FL_LOG_WARNING, "gate waits", FL_LOG_STR("reason", hold->reason),
           FL_LOG_NUM("waited_s", (fl_loop_now_ms(hold->loop) - hold->start_ms) / 1000));
    fl_timer_set(hold->loop, timer, PROXY_HOLD_TELL_MS, on_tell);
}

static void on_state(void *owner, enum proxy_gate_state state, const char *reason)
{
    struct hold *hold = owner;
    if (state == PROXY_GATE_OPEN) {
        fl_log_message(FL_LOG_INFO, "gate open: the capture rules of this network namespace work");
        fl_loop_stop(hold->loop, 0);
        return;
    }
    snprintf(hold->reason, sizeof(hold->reason), "%s", reason);
    on_tell(&hold->tell);
}

static void on_deadline(struct fl_timer *timer)
{
    fl_loop_stop(FL_CONTAINER_OF(timer, struct hold, deadline)->loop, -ETIMEDOUT);
}

static void on_signal(struct fl_signals *signals, int number)
{
    (void)number;
    fl_loop_stop(FL_CONTAINER_OF(signals, struct hold, signals)->loop, -EINTR);
}

/* --- life --- */

static int start_gate(struct hold *hold, bool ipv4_only, struct fl_err *err)
{
    const struct proxy_gate_options options = {
        .loop = hold->loop,
        .wait = true,
        .ipv4_only = ipv4_only,
        .on_state = on_state,
        .owner = hold,
    };
    int result = proxy_gate_new(&options, &hold->gate);
    return result < 0 ? fl_err_errno(err, result, "start gate") : 0;
}

/* A spec that cannot be understood (of a version to come) leaves nothing alone: every family is waited for. */
static void read_spec(const char *spec, uint16_t *ret_port, bool *ret_ipv4_only)
{
    struct fl_capture capture;
    struct fl_err err;
    *ret_port = FL_PORT_OUTBOUND;
    *ret_ipv4_only = false;
    if (fl_capture_parse(fl_span_str(spec), &capture, &err) == 0) {
        *ret_port = capture.outbound_port;
        *ret_ipv4_only = !capture.ipv6;
    } else {
        fl_log(FL_LOG_WARNING, FL_ENV_CAPTURE " is not understood; the gate waits for IPv4 and IPv6",
               FL_LOG_STR("reason", err.text));
    }
}

static int start(struct hold *hold, uint64_t seconds, struct fl_err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, 0};
    const char *spec = getenv(FL_ENV_CAPTURE);
    uint16_t port;
    bool ipv4_only;
    if (spec == NULL || spec[0] == '\0')
        return fl_err_set(err, -ENOENT, FL_ENV_CAPTURE " is not set: there is no capture to prove");
    read_spec(spec, &port, &ipv4_only);
    int result = fl_signals_init(&hold->signals, hold->loop, numbers, on_signal);
    if (result < 0)
        return fl_err_errno(err, result, "signals");
    result = start_listeners(hold, port, err);
    if (result == 0)
        result = start_gate(hold, ipv4_only, err);
    if (result == 0 && seconds > 0)
        fl_timer_set(hold->loop, &hold->deadline, seconds * 1000, on_deadline);
    hold->start_ms = fl_loop_now_ms(hold->loop);
    return result;
}

static void stop(struct hold *hold)
{
    hold->gate = proxy_gate_free(hold->gate);
    fl_timer_cancel(&hold->deadline);
    fl_timer_cancel(&hold->tell);
    fl_signals_done(&hold->signals);
    for (size_t i = 0; i < FL_COUNT(hold->listeners); i++) {
        struct fl_source *source = &hold->listeners[i].source;
        if (source->loop == NULL)
            continue;
        int fd = source->fd;
        fl_source_remove(source);
        close(fd);
    }
    hold->loop = fl_loop_free(hold->loop);
}

int proxy_hold_run(uint64_t seconds, struct fl_err *err)
{
    struct hold hold = {0};
    int result = fl_loop_new(&hold.loop);
    if (result < 0)
        return fl_err_errno(err, result, "the event loop");
    result = start(&hold, seconds, err);
    if (result == 0) {
        result = fl_loop_run(hold.loop);
        if (result == -ETIMEDOUT)
            fl_err_set(err, result, "not captured within %llu s: %s", (unsigned long long)seconds,
                       hold.reason[0] != '\0' ? hold.reason : "the dial did not come back");
        else if (result == -EINTR)
            fl_err_set(err, result, "ended by a signal before the capture was proven");
        else if (result < 0)
            fl_err_errno(err, result, "the event loop");
    }
    stop(&hold);
    return result;
}
