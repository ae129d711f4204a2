#include "proxy/server/server.h"

#include "common/base/log.h"
#include "common/mesh/capture.h"
#include "common/mesh/label.h"
#include "proxy/server/inner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* The pod's capture spec. One that cannot be understood (of a version to come) captures everything but DNS: the gate
 * then waits for every family, as it must where nobody knows. False: there is none, or this is a gateway, whose pod
 * nobody captures. */
static bool read_capture(struct fl_capture *ret_capture)
{
    const char *spec = getenv(FL_ENV_CAPTURE), *gateway = getenv(FL_ENV_GATEWAY);
    struct fl_err err;
    *ret_capture = (struct fl_capture){.ipv6 = true};
    if (gateway != NULL && gateway[0] != '\0')
        return false;
    if (spec != NULL && fl_capture_parse(fl_span_str(spec), ret_capture, &err) < 0)
        fl_log(FL_LOG_WARNING, FL_ENV_CAPTURE " is not understood; the start gate waits for IPv4 and IPv6",
               FL_LOG_STR("reason", err.text));
    return spec != NULL;
}

static void on_gate(void *owner, enum proxy_gate_state state, const char *reason)
{
    struct server *server = owner;
    proxy_stats_start_gate(server->stats, state == PROXY_GATE_OPEN);
    if (state == PROXY_GATE_OPEN)
        fl_log_message(FL_LOG_INFO, "start gate open: the capture rules of this network namespace work");
    else
        fl_log(FL_LOG_WARNING, "start gate waits", FL_LOG_STR("reason", reason));
    proxy_admin_look(server->admin);
}

static int start_dns(struct server *server, const struct fl_capture *capture, struct fl_err *err)
{
    const char *file = getenv(FL_ENV_RESOLV_CONF);
    const struct proxy_dns_options options = {
        .port = capture->dns_port,
        .inherited = &server->inherited,
        .ipv4_only = !capture->ipv6,
        .resolv_conf = file != NULL && *file != '\0' ? file : PROXY_DNS_RESOLV_CONF,
        .files = server->options.files,
    };
    return capture->dns ? proxy_dns_service_new(&options, &server->dns, err) : 0;
}

/* DNS is answered before the gate can open: the first thing that an app does is to look up a name. */
static int start_gate(struct server *server, struct fl_err *err)
{
    struct fl_capture capture;
    bool wait = read_capture(&capture);
    const struct proxy_gate_options options = {
        .loop = server->loop,
        .wait = wait && server->taken_from < 0, /* whom it takes over from has proven it */
        .ipv4_only = !capture.ipv6,
        .on_state = on_gate,
        .owner = server,
    };
    int result = start_dns(server, &capture, err);
    if (result < 0)
        return result;
    result = proxy_gate_new(&options, &server->gate);
    if (result < 0)
        return fl_err_errno(err, result, "start gate");
    proxy_stats_start_gate(server->stats, proxy_gate_is_open(server->gate));
    proxy_stats_draining(server->stats, false);
    return 0;
}

/* Without one the admin port tells, and changes nothing. */
static void make_secret(struct server *server)
{
    struct fl_err err = {0};
    const char *folder = server->options.secret_folder;
    if (folder != NULL && proxy_admin_secret_make(folder, &server->secret, &err) < 0)
        fl_log(FL_LOG_WARNING, "the admin port has no secret: nothing can be changed there",
               FL_LOG_STR("reason", err.text));
}

static int start_admin(struct server *server, struct fl_err *err)
{
    server->host = proxy_server_host(server);
    make_secret(server);
    const struct proxy_admin_options options = {
        .loop = server->loop,
        .address = server->snapshot->admin,
        .pod_ports = server->snapshot->node.in_mesh,
        .gate = server->gate,
        .host = &server->host,
        .app = &server->app,
        .metrics = proxy_stats_metrics(server->stats),
        .secret = server->secret,
        .workers = server->worker_count,
        .drain_time_ms = server->options.drain_time_ms,
        .inherited = &server->inherited,
    };
    return proxy_admin_new(&options, &server->admin, err);
}

/* Made where it is missing; what else is wrong with it is told by who uses it. */
static void make_state_folder(const char *folder)
{
    if (folder != NULL && mkdir(folder, 0700) < 0 && errno != EEXIST)
        fl_log(FL_LOG_WARNING, "the state folder cannot be made", FL_LOG_STR("folder", folder),
               FL_LOG_STR("reason", strerrordesc_np(errno)));
}

static int start_names(struct server *server, struct fl_err *err)
{
    const char *file = getenv(FL_ENV_RESOLV_CONF);
    const struct proxy_names_options options = {
        .loop = server->loop,
        .assembly = server->assembly,
        .resolv_conf = file != NULL && *file != '\0' ? file : NULL,
        .on_change = proxy_server_on_change,
        .owner = server,
    };
    int result = proxy_names_new(&options, &server->names);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    proxy_names_update(server->names);
    return 0;
}

/* What the bootstrap asks for beside itself; with a last good configuration the first snapshot has that, too. */
static int start_live(struct server *server, struct fl_err *err)
{
    const struct proxy_live_options options = {
        .loop = server->loop,
        .metrics = proxy_stats_metrics(server->stats),
        .assembly = server->assembly,
        .bootstrap = server->snapshot->bootstrap,
        .state_folder = server->options.state_folder,
        .on_change = proxy_server_on_change,
        .on_answer = proxy_server_on_answer,
        .owner = server,
    };
    make_state_folder(server->options.state_folder);
    int result = proxy_live_new(&options, &server->live, err);
    if (result < 0 || server->live == NULL)
        return result;
    server->directory = proxy_live_directory(server->live);
    proxy_server_watch_waits(server);
    struct proxy_snapshot *snapshot = NULL;
    result = proxy_assembly_publish(server->assembly, fl_loop_now_ms(server->loop), &snapshot, err);
    if (result == PROXY_ASSEMBLY_PUBLISHED) {
        proxy_snapshot_unref(server->snapshot);
        server->snapshot = snapshot;
    }
    return result < 0 ? result : 0;
}

static const char *variable(void *owner, const char *name)
{
    (void)owner;
    return getenv(name);
}

static uint64_t memory_limit(const struct server *server)
{
    uint64_t set = server->options.memory_limit, group = server->cgroup.memory_bytes;
    return set != 0 ? set : group / 100 * PROXY_MEMORY_PERCENT;
}

/* Sockets of the process before, and so many workers as it had. Where there is none, this is an ordinary start. */
static int take_over(struct server *server, struct fl_err *err)
{
    const char *folder = server->options.secret_folder;
    if (!server->options.take_over)
        return 0;
    if (folder == NULL)
        return fl_err_set(err, -EINVAL, "--take-over needs the state folder of the process before: --state-dir");
    int result = proxy_handover_take(folder, &server->inherited, &server->taken_from, err);
    if (result == -ENOENT || result == -ECONNREFUSED) {
        fl_log(FL_LOG_INFO, "there is nobody to take over from", FL_LOG_STR("reason", err->text));
        return 0;
    }
    if (result < 0)
        return result;
    fl_log(FL_LOG_INFO, "taking over", FL_LOG_NUM("sockets", server->inherited.count));
    unsigned workers = proxy_inherited_workers(&server->inherited);
    if (workers > 0)
        server->options.workers = workers;
    return 0;
}

static void offer_hand_over(struct server *server)
{
    struct fl_err err = {0};
    const struct proxy_handover_options options = {.loop = server->loop,
                                                   .folder = server->options.secret_folder,
                                                   .on_ready = proxy_server_on_taken_over,
                                                   .owner = server};
    if (options.folder != NULL && server->handover == NULL && proxy_handover_new(&options, &server->handover, &err) < 0)
        fl_log(FL_LOG_WARNING, "no other process can take over", FL_LOG_STR("reason", err.text));
}

void proxy_server_take_over_now(struct server *server)
{
    struct fl_err err = {0};
    if (server->taken_from >= 0) {
        if (start_admin(server, &err) < 0)
            fl_log(FL_LOG_ERROR, "the admin ports cannot be opened", FL_LOG_STR("reason", err.text));
        proxy_inherited_done(&server->inherited);
        proxy_handover_ready(server->taken_from);
        server->taken_from = -1;
    }
    offer_hand_over(server);
}

/* Order: signals are blocked before there is a thread; every port is taken before anything is said to be ready. */
static int start(struct server *server, struct fl_err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0};
    int result = fl_loop_new(&server->loop);
    if (result == 0)
        result = fl_signals_init(&server->signals, server->loop, numbers, proxy_server_on_signal);
    if (result == 0)
        result = proxy_stats_new(&server->stats);
    if (result == 0)
        result = proxy_shared_new(&server->shared);
    server->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (result == 0)
        result = server->wake_fd < 0
                     ? -errno
                     : fl_source_add(server->loop, &server->wake, server->wake_fd, EPOLLIN, proxy_server_on_wake);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    proxy_stats_process(server->stats);
    result = proxy_assembly_new(proxy_server_on_dead, server, &server->assembly);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    result = take_over(server, err);
    if (result == 0)
        result = proxy_server_load(server->options.config_path, server->assembly, err);
    if (result == 0)
        result = proxy_assembly_publish(server->assembly, fl_loop_now_ms(server->loop), &server->snapshot, err);
    uint64_t version = server->snapshot != NULL ? server->snapshot->version : 0;
    if (result == PROXY_ASSEMBLY_PUBLISHED)
        result = start_names(server, err);
    if (result == 0)
        result = start_live(server, err);
    if (result == 0)
        result = proxy_server_start_workers(server, err);
    if (result == 0)
        proxy_memory_start(server, memory_limit(server));
    if (result == 0)
        result = start_gate(server, err);
    if (result == 0)
        result = proxy_podapp_read(variable, NULL, &server->app, err);
    if (result == 0 && server->taken_from < 0)
        result = start_admin(server, err);
    if (result < 0)
        return result;
    if (proxy_watch_new(server->loop, proxy_server_on_files, server, &server->watch) < 0)
        fl_log_message(FL_LOG_WARNING, "certificate files are not watched; SIGHUP re-reads them");
    proxy_server_watch_warming(server);
    /* A port that was taken would stop every start from the last good configuration, and so its mending. */
    return proxy_server_hand_over(server, server->snapshot, server->snapshot->version == version, err);
}

static void stop(struct server *server)
{
    fl_timer_cancel(&server->drain_timer);
    fl_timer_cancel(&server->warming_timer);
    fl_timer_cancel(&server->publish_timer);
    fl_timer_cancel(&server->wait_timer);
    fl_timer_cancel(&server->trim_timer);
    fl_timer_cancel(&server->listeners_timer);
    proxy_memory_stop(server);
    server->handover = proxy_handover_free(server->handover);
    proxy_inherited_done(&server->inherited);
    if (server->taken_from >= 0)
        close(server->taken_from);
    server->admin = proxy_admin_free(server->admin);
    for (unsigned i = 0; i < server->worker_count; i++)
        server->workers[i] = proxy_worker_free(server->workers[i]);
    server->gate = proxy_gate_free(server->gate);
    server->dns = proxy_dns_service_free(server->dns);
    server->watch = proxy_watch_free(server->watch);
    server->live = proxy_live_free(server->live);
    server->names = proxy_names_free(server->names);
    server->assembly = proxy_assembly_free(server->assembly);
    if (server->signals.source.loop != NULL)
        fl_signals_done(&server->signals);
    if (server->wake_fd >= 0) {
        fl_source_remove(&server->wake);
        close(server->wake_fd);
    }
    proxy_snapshot_unref(server->pending);
    proxy_snapshot_unref(server->snapshot);
    proxy_sockets_done(&server->sockets);
    proxy_sockets_done(&server->next_sockets);
    if (server->loop != NULL) {
        (void)!fl_loop_turn(server->loop, 0); /* what was deferred */
        fl_loop_free(server->loop);
    }
    proxy_podapp_done(&server->app);
    proxy_shared_free(server->shared);
    proxy_stats_free(server->stats);
}

int proxy_server_run(const struct proxy_server_options *options, struct fl_err *err)
{
    struct server server = {.options = *options, .cgroup = proxy_cgroup_read(""), .taken_from = -1, .wake_fd = -1};
    int result = start(&server, err);
    if (result == 0) {
        result = fl_loop_run(server.loop);
        if (result < 0)
            fl_err_errno(err, result, "event loop");
        else
            fl_log_message(FL_LOG_INFO, "stopped");
    }
    stop(&server);
    return result;
}

int proxy_server_validate(const char *config_path, struct fl_err *err)
{
    struct proxy_assembly *assembly;
    if (proxy_assembly_new(NULL, NULL, &assembly) < 0)
        return fl_err_errno(err, -ENOMEM, "configuration");
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    int result = proxy_server_load(config_path, assembly, err);
    if (result == 0)
        result = proxy_assembly_publish(assembly, 0, &snapshot, err);
    if (result == PROXY_ASSEMBLY_PUBLISHED)
        result = proxy_live_check(snapshot->bootstrap, err);
    proxy_assembly_free(assembly);
    return result;
}

int proxy_server_print_bootstrap(struct fl_err *err)
{
    struct fl_buf text;
    fl_buf_init(&text, 1 << 20);
    int result = proxy_live_print_bootstrap(&text, err);
    if (result == 0 && fwrite(text.data, 1, text.len, stdout) != text.len)
        result = fl_err_set(err, -EIO, "standard output");
    fl_buf_done(&text);
    return result;
}
