#include "proxy/server/inner.h"

#include "common/base/log.h"

#include <signal.h>

#define LAST_MS 1000 /* after a drain by hook, for what is under way when the signal comes */

static void drain_is_over(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, drain_timer);
    fl_log_message(FL_LOG_WARNING, "drain time over; the connections that are left are closed");
    fl_loop_stop(server->loop, 0);
}

void proxy_server_drain(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_drain(server->workers[i]);
}

static void drain_inbound(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_drain_inbound(server->workers[i]);
}

/* What was asked for gracefully is due. */
static void listeners_due(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, listeners_timer);
    if (server->inbound_only)
        drain_inbound(server);
    else
        proxy_server_drain(server);
}

void proxy_server_drain_listeners(struct server *server, const struct proxy_admin_drain *how)
{
    fl_log(FL_LOG_INFO, "listeners are drained, as asked at the admin port", FL_LOG_NUM("graceful", how->graceful),
           FL_LOG_NUM("inbound_only", how->inbound_only));
    server->inbound_only = how->inbound_only;
    if (!how->graceful) {
        listeners_due(&server->listeners_timer);
        return;
    }
    proxy_server_leave(server);
    if (!fl_timer_is_set(&server->listeners_timer))
        fl_timer_set(server->loop, &server->listeners_timer, server->options.drain_time_ms, listeners_due);
}

void proxy_server_leave(struct server *server)
{
    if (server->leaving_ms != 0)
        return;
    fl_log_message(FL_LOG_INFO, "draining, as asked at the admin port; the listeners go on");
    server->leaving_ms = fl_loop_now_ms(server->loop);
    proxy_stats_draining(server->stats, true);
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_leave(server->workers[i]);
}

/* What is left of the drain time; at least LAST_MS for what is under way. */
static uint64_t drain_time(const struct server *server)
{
    uint64_t whole = server->options.drain_time_ms, least = whole < LAST_MS ? whole : LAST_MS;
    uint64_t gone = server->leaving_ms != 0 ? fl_loop_now_ms(server->loop) - server->leaving_ms : 0;
    return whole > gone + least ? whole - gone : least;
}

void proxy_server_quit(struct server *server)
{
    if (server->state == PROXY_SERVER_DRAINING) { /* asked twice: at once */
        fl_loop_stop(server->loop, 0);
        return;
    }
    server->state = PROXY_SERVER_DRAINING;
    proxy_stats_draining(server->stats, true);
    fl_log(FL_LOG_INFO, "draining", FL_LOG_NUM("drain_time_ms", drain_time(server)));
    fl_timer_set(server->loop, &server->drain_timer, drain_time(server), drain_is_over);
    proxy_server_drain(server);
    if (atomic_load(&server->drained) >= server->worker_count) /* the listeners had been drained before */
        fl_loop_stop(server->loop, 0);
}

void proxy_server_on_taken_over(void *owner)
{
    struct server *server = owner;
    fl_log_message(FL_LOG_INFO, "another process has taken over");
    server->admin = proxy_admin_free(server->admin);
    server->dns = proxy_dns_service_free(server->dns);
    if (server->state != PROXY_SERVER_DRAINING)
        proxy_server_quit(server);
}

void proxy_server_on_signal(struct fl_signals *signals, int number)
{
    struct server *server = FL_CONTAINER_OF(signals, struct server, signals);
    if (number == SIGTERM || number == SIGINT) {
        proxy_server_quit(server);
        return;
    }
    if (number == SIGHUP)
        proxy_server_reload(server, false);
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_reopen(server->workers[i]);
}
