#include "proxy/server/server.h"

#include "common/base/log.h"
#include "common/loop/signal.h"
#include "common/loop/timer.h"
#include "common/mesh/capture.h"
#include "common/mesh/label.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/probe.h"
#include "proxy/config/bootstrap.h"
#include "proxy/config/live.h"
#include "proxy/config/podapp.h"
#include "proxy/config/watch.h"
#include "proxy/server/sockets.h"
#include "proxy/server/worker.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#define PUBLISH_MS 2     /* from a change to its snapshot: what comes in one go is one */
#define WAIT_MS    15000 /* how often one is told what the proxy waits for before it is ready */
#define TRIM_MS    1000
#define WAITS_MAX  512
#define LAST_MS    1000 /* after a drain by hook, for what is under way when the signal comes */

struct server {
    struct proxy_server_options options;
    struct fl_loop *loop;
    struct fl_signals signals;
    struct proxy_stats *stats;   /* of the main thread */
    struct proxy_shared *shared; /* of the workers */
    struct proxy_assembly *assembly;
    struct proxy_live *live; /* NULL: everything is static */
    struct proxy_directory directory;
    struct proxy_snapshot *snapshot, *pending;  /* in force; handed to the workers */
    struct proxy_sockets sockets, next_sockets; /* of the two */
    struct proxy_worker *workers[PROXY_SERVER_WORKERS_MAX];
    unsigned worker_count, awaited;
    struct proxy_watch *watch;
    struct proxy_gate *gate;
    struct proxy_admin *admin;
    struct proxy_admin_host host;
    struct proxy_podapp app;
    enum proxy_server_state state;
    uint64_t leaving_ms; /* POST /drain: since when; 0: no */
    bool first_settled;  /* every worker had a snapshot once */
    bool reload_again;   /* asked for while a snapshot was being handed over */
    bool publish_again;  /* … something has changed in the assembly */
    bool sweep;          /* … old units are to be freed; any thread's */
    struct fl_timer drain_timer, warming_timer, publish_timer, wait_timer, trim_timer;
    int wake_fd; /* the workers' events */
    struct fl_source wake;
    atomic_uint applied, refused, drained;
};

/* --- snapshots -------------------------------------------------------------------------------------------------- */

static void hand_to_workers(struct server *server, struct proxy_snapshot *snapshot, int *fds)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        int *mine = fds + i * snapshot->listener_slots;
        if (proxy_worker_apply(server->workers[i], snapshot, mine) == 0)
            continue;
        for (size_t k = 0; k < snapshot->listener_slots; k++)
            fl_cleanup_close(&mine[k]);
        server->awaited--;
        fl_log_message(FL_LOG_ERROR, "a worker could not take the new configuration: out of memory");
    }
}

/* Hands a snapshot to every worker. On failure nothing has changed. */
static int hand_over(struct server *server, struct proxy_snapshot *snapshot, bool strict, struct fl_err *err)
{
    int *fds = NULL;
    struct proxy_sockets next;
    int result = proxy_sockets_open(&server->sockets, snapshot, server->worker_count, strict, &next, &fds, err);
    if (result < 0)
        return result;
    if (result == PROXY_SOCKETS_MISSING)
        fl_log(FL_LOG_ERROR, "a listener cannot be opened; it is tried again later", FL_LOG_STR("reason", err->text));
    server->pending = proxy_snapshot_ref(snapshot);
    server->awaited = server->worker_count;
    hand_to_workers(server, snapshot, fds);
    free(fds);
    if (server->awaited > 0) {
        server->next_sockets = next;
        return 0;
    }
    proxy_sockets_done(&next);
    server->pending = proxy_snapshot_unref(server->pending);
    return fl_err_errno(err, -ENOMEM, "hand the configuration to the workers");
}

static void tell_ready(const struct server *server)
{
    char admin[PROXY_ADDRESS_TEXT_MAX] = "-";
    if (server->admin != NULL) {
        struct proxy_address address = proxy_admin_address(server->admin);
        proxy_address_print(&address, admin);
    }
    fl_log(FL_LOG_INFO, "ready", FL_LOG_NUM("workers", server->worker_count),
           FL_LOG_NUM("listeners", server->snapshot->listener_count),
           FL_LOG_NUM("clusters", server->snapshot->cluster_count), FL_LOG_STR("admin", admin));
}

static void reload(struct server *server, bool refresh);
static void publish(struct server *server);

static void still_waiting(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, wait_timer);
    char text[WAITS_MAX];
    if (!proxy_live_waits(server->live, text, sizeof(text)))
        return;
    fl_log(FL_LOG_WARNING, "not ready", FL_LOG_STR("waits_for", text));
    fl_timer_set(server->loop, timer, WAIT_MS, still_waiting);
}

/* The first configuration is whole and in force: ready. */
static void check_ready(struct server *server)
{
    char text[WAITS_MAX];
    if (server->state != PROXY_SERVER_INITIALIZING || server->pending != NULL || !server->first_settled ||
        proxy_live_waits(server->live, text, sizeof(text)))
        return;
    fl_timer_cancel(&server->wait_timer);
    server->state = PROXY_SERVER_LIVE;
    tell_ready(server);
}

/* What went with the configurations before goes back to the system: it looks at the whole heap. */
static void trim(struct fl_timer *timer)
{
    (void)timer;
    (void)malloc_trim(0);
}

/* Every worker has answered. */
static void settled(struct server *server)
{
    proxy_snapshot_unref(server->snapshot);
    server->snapshot = fl_take(server->pending);
    proxy_sockets_done(&server->sockets);
    server->sockets = server->next_sockets;
    server->next_sockets = (struct proxy_sockets){0};
    proxy_assembly_sweep(server->assembly);
    if (server->watch != NULL && proxy_watch_set(server->watch, server->snapshot) < 0)
        fl_log_message(FL_LOG_WARNING, "certificate files are not watched; SIGHUP re-reads them");
    proxy_gate_dial(server->gate); /* it may be that its dials have a listener to come back to now */
    if (!fl_timer_is_set(&server->trim_timer))
        fl_timer_set(server->loop, &server->trim_timer, TRIM_MS, trim);
    if (server->state == PROXY_SERVER_LIVE)
        fl_log(server->live != NULL ? FL_LOG_DEBUG : FL_LOG_INFO, "configuration in force",
               FL_LOG_NUM("version", server->snapshot->version));
    server->first_settled = true;
    check_ready(server);
    if (server->reload_again) {
        server->reload_again = false;
        reload(server, false);
    } else if (server->publish_again) {
        server->publish_again = false;
        publish(server);
    }
}

static void log_warnings(const struct proxy_bootstrap_warnings *warnings)
{
    for (size_t i = 0; i < warnings->count && i < PROXY_BOOTSTRAP_WARNINGS_MAX; i++)
        fl_log(FL_LOG_WARNING, "configuration", FL_LOG_STR("detail", warnings->texts[i]));
}

static int load(const char *path, struct proxy_assembly *assembly, struct fl_err *err)
{
    struct proxy_bootstrap_warnings *warnings = calloc(1, sizeof(*warnings));
    if (warnings == NULL)
        return fl_err_errno(err, -ENOMEM, "configuration");
    int result = path != NULL ? proxy_bootstrap_load(path, warnings, assembly, err)
                              : proxy_live_load_environment(warnings, assembly, err);
    if (result == -ENOENT && path != NULL && strcmp(path, FL_BOOTSTRAP_PATH) == 0) /* the webhook's choice */
        fl_err_prefix(err, "no control plane is set (the webhook's config.control.address), nor is a bootstrap there");
    if (result == 0)
        log_warnings(warnings);
    free(warnings);
    return result;
}

static void due(struct fl_timer *timer)
{
    publish(FL_CONTAINER_OF(timer, struct server, warming_timer));
}

/* Something may still be warming: time alone ends that. */
static void watch_warming(struct server *server)
{
    uint64_t at = proxy_assembly_due_ms(server->assembly), now = fl_loop_now_ms(server->loop);
    fl_timer_cancel(&server->warming_timer);
    if (at != UINT64_MAX)
        fl_timer_set(server->loop, &server->warming_timer, at > now ? at - now : 0, due);
}

/* The assembly's next snapshot, where there is one. 0, or a negative errno with the reason. */
static int publish_now(struct server *server, bool strict, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    int result = proxy_assembly_publish(server->assembly, fl_loop_now_ms(server->loop), &snapshot, err);
    watch_warming(server);
    if (result == PROXY_ASSEMBLY_PUBLISHED)
        return hand_over(server, snapshot, strict, err);
    return result < 0 ? result : 0;
}

/* xDS has changed something. */
static void publish(struct server *server)
{
    struct fl_err err = {0};
    if (server->state == PROXY_SERVER_DRAINING)
        return;
    if (server->pending != NULL) {
        server->publish_again = true;
        return;
    }
    if (publish_now(server, false, &err) < 0)
        fl_log(FL_LOG_ERROR, "a configuration could not be handed over; the one before stays in force",
               FL_LOG_STR("reason", err.text));
    check_ready(server); /* it may be that nothing was missing */
}

static void publish_due(struct fl_timer *timer)
{
    publish(FL_CONTAINER_OF(timer, struct server, publish_timer));
}

/* What comes in one go is one snapshot. */
static void on_live_change(void *owner)
{
    struct server *server = owner;
    if (!fl_timer_is_set(&server->publish_timer))
        fl_timer_set(server->loop, &server->publish_timer, PUBLISH_MS, publish_due);
}

static void on_live_answer(void *owner, const struct proxy_address *destination, enum proxy_directory_answer answer)
{
    struct server *server = owner;
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_answer(server->workers[i], destination, answer);
}

/* The bootstrap in force takes its place again. */
static void revert(struct server *server)
{
    struct fl_err err = {0};
    int result = proxy_assembly_restore(server->assembly, server->snapshot, &err);
    if (result < 0)
        fl_log(FL_LOG_ERROR, "the configuration in force cannot be read again", FL_LOG_STR("reason", err.text));
}

static void reload(struct server *server, bool refresh)
{
    struct fl_err err = {0};
    if (server->state == PROXY_SERVER_DRAINING)
        return;
    if (server->pending != NULL) {
        server->reload_again = true;
        return;
    }
    int result = refresh ? proxy_assembly_refresh(server->assembly, &err)
                         : load(server->options.config_path, server->assembly, &err);
    if (result == 0) {
        result = publish_now(server, true, &err);
        if (result < 0)
            revert(server);
    }
    proxy_stats_reload(server->stats, result == 0);
    if (result < 0)
        fl_log(FL_LOG_ERROR, "configuration refused; the one before stays in force", FL_LOG_STR("reason", err.text));
}

static void on_files_changed(void *owner)
{
    reload(owner, true);
}

/* --- workers' events -------------------------------------------------------------------------------------------- */

static void on_worker_event(void *owner, enum proxy_worker_event event)
{
    struct server *server = owner;
    const uint64_t one = 1;
    if (event == PROXY_WORKER_DRAINED)
        atomic_fetch_add(&server->drained, 1);
    else
        atomic_fetch_add(event == PROXY_WORKER_APPLIED ? &server->applied : &server->refused, 1);
    (void)!write(server->wake_fd, &one, sizeof(one));
}

/* Any thread's. */
static void on_dead(void *owner)
{
    struct server *server = owner;
    const uint64_t one = 1;
    __atomic_store_n(&server->sweep, true, __ATOMIC_RELEASE);
    (void)!write(server->wake_fd, &one, sizeof(one));
}

static bool on_probe(void *owner, const struct proxy_address *peer, const struct proxy_address *original)
{
    const struct server *server = owner;
    return server->gate != NULL && proxy_gate_arrived(server->gate, peer, original);
}

static void on_wake(struct fl_source *source, uint32_t events)
{
    struct server *server = FL_CONTAINER_OF(source, struct server, wake);
    uint64_t count;
    (void)events;
    (void)!read(server->wake_fd, &count, sizeof(count));
    if (__atomic_exchange_n(&server->sweep, false, __ATOMIC_ACQ_REL))
        proxy_assembly_sweep(server->assembly);
    unsigned refused = atomic_exchange(&server->refused, 0), applied = atomic_exchange(&server->applied, 0);
    if (refused > 0)
        fl_log_message(FL_LOG_ERROR, "a worker refused the configuration: out of memory");
    if (server->pending != NULL) {
        server->awaited -= refused + applied;
        if (server->awaited == 0)
            settled(server);
    }
    if (server->state == PROXY_SERVER_DRAINING && atomic_load(&server->drained) >= server->worker_count)
        fl_loop_stop(server->loop, 0);
}

/* --- draining --------------------------------------------------------------------------------------------------- */

static void drain_is_over(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, drain_timer);
    fl_log_message(FL_LOG_WARNING, "drain time over; the connections that are left are closed");
    fl_loop_stop(server->loop, 0);
}

static void drain(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_drain(server->workers[i]);
}

static void leave(struct server *server)
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

static void quit(struct server *server)
{
    if (server->state == PROXY_SERVER_DRAINING) { /* asked twice: at once */
        fl_loop_stop(server->loop, 0);
        return;
    }
    server->state = PROXY_SERVER_DRAINING;
    proxy_stats_draining(server->stats, true);
    fl_log(FL_LOG_INFO, "draining", FL_LOG_NUM("drain_time_ms", drain_time(server)));
    fl_timer_set(server->loop, &server->drain_timer, drain_time(server), drain_is_over);
    drain(server);
    if (atomic_load(&server->drained) >= server->worker_count) /* the listeners had been drained before */
        fl_loop_stop(server->loop, 0);
}

static void on_signal(struct fl_signals *signals, int number)
{
    struct server *server = FL_CONTAINER_OF(signals, struct server, signals);
    if (number == SIGTERM || number == SIGINT) {
        quit(server);
        return;
    }
    if (number == SIGHUP)
        reload(server, false);
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_reopen(server->workers[i]);
}

/* --- what admin asks -------------------------------------------------------------------------------------------- */

static bool host_waits(void *owner, char *text, size_t size)
{
    return proxy_live_waits(((struct server *)owner)->live, text, size);
}

static struct proxy_assembly *host_assembly(void *owner)
{
    return ((struct server *)owner)->assembly;
}

static int host_xds(void *owner, struct fl_buf *out)
{
    return proxy_live_print(((struct server *)owner)->live, out);
}

static enum proxy_server_state host_state(void *owner)
{
    const struct server *server = owner;
    return server->leaving_ms != 0 && server->state == PROXY_SERVER_LIVE ? PROXY_SERVER_DRAINING : server->state;
}

static const struct proxy_snapshot *host_snapshot(void *owner)
{
    return ((struct server *)owner)->snapshot;
}

static size_t host_registries(void *owner, struct fl_metrics **ret_registries, size_t max)
{
    struct server *server = owner;
    size_t count = 0;
    proxy_stats_ejected(server->stats, proxy_shared_ejected(server->shared, fl_loop_now_ms(server->loop)));
    if (count < max)
        ret_registries[count++] = proxy_stats_metrics(server->stats);
    for (unsigned i = 0; i < server->worker_count && count < max; i++)
        ret_registries[count++] = proxy_worker_metrics(server->workers[i]);
    return count;
}

static void host_drain(void *owner)
{
    fl_log_message(FL_LOG_INFO, "listeners are drained, as asked at the admin port");
    drain(owner);
}

static void host_leave(void *owner)
{
    leave(owner);
}

static void host_quit(void *owner)
{
    quit(owner);
}

static void on_gate(void *owner, enum proxy_gate_state state, const char *reason)
{
    struct server *server = owner;
    proxy_stats_start_gate(server->stats, state == PROXY_GATE_OPEN);
    if (state == PROXY_GATE_OPEN)
        fl_log_message(FL_LOG_INFO, "start gate open: the capture rules of this network namespace work");
    else
        fl_log(FL_LOG_WARNING, "start gate waits", FL_LOG_STR("reason", reason));
}

/* --- start and end ---------------------------------------------------------------------------------------------- */

/* CPUs that it may run on, and no more than the container's limit, which the kernel enforces by making all wait. */
static unsigned default_workers(void)
{
    cpu_set_t cpus;
    uint64_t limit;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        return 1;
    unsigned count = (unsigned)CPU_COUNT(&cpus);
    if (fl_span_to_u64(fl_span_str(getenv(FL_ENV_CPU_LIMIT)), UINT32_MAX, &limit) && limit > 0 && limit < count)
        count = (unsigned)limit;
    return count <= 2 ? 1 : count < 4 ? count : 4;
}

static int start_workers(struct server *server, struct fl_err *err)
{
    unsigned count = server->options.workers != 0 ? server->options.workers : default_workers();
    if (count > PROXY_SERVER_WORKERS_MAX)
        count = PROXY_SERVER_WORKERS_MAX;
    /* A connection takes two descriptors; some are for listeners, logs and the admin ports. */
    unsigned long files = server->options.files;
    const struct proxy_worker_options options = {
        .shared = server->shared,
        .connections_max = files > 128 ? (files - 64) / 2 / count : 0,
        .on_event = on_worker_event,
        .on_probe = on_probe,
        .directory = server->directory.ask != NULL ? &server->directory : NULL,
        .owner = server,
    };
    while (server->worker_count < count) {
        int result = proxy_worker_new(&options, &server->workers[server->worker_count]);
        if (result < 0)
            return fl_err_errno(err, result, "start a worker");
        server->worker_count++;
    }
    return 0;
}

/* Whether the pod's capture spec leaves IPv6 alone. One that cannot be understood (of a version to come) leaves nothing
 * alone: the gate then waits for every family, as it must where nobody knows. */
static bool captures_ipv4_only(const char *spec)
{
    struct fl_capture capture;
    struct fl_err err;
    if (spec == NULL)
        return false;
    if (fl_capture_parse(fl_span_str(spec), &capture, &err) == 0)
        return !capture.ipv6;
    fl_log(FL_LOG_WARNING, FL_ENV_CAPTURE " is not understood; the start gate waits for IPv4 and IPv6",
           FL_LOG_STR("reason", err.text));
    return false;
}

static int start_gate(struct server *server, struct fl_err *err)
{
    const char *spec = getenv(FL_ENV_CAPTURE);
    const struct proxy_gate_options options = {
        .loop = server->loop,
        .wait = spec != NULL,
        .ipv4_only = captures_ipv4_only(spec),
        .on_state = on_gate,
        .owner = server,
    };
    int result = proxy_gate_new(&options, &server->gate);
    if (result < 0)
        return fl_err_errno(err, result, "start gate");
    proxy_stats_start_gate(server->stats, proxy_gate_is_open(server->gate));
    proxy_stats_draining(server->stats, false);
    return 0;
}

static int start_admin(struct server *server, struct fl_err *err)
{
    server->host = (struct proxy_admin_host){
        .owner = server,
        .state = host_state,
        .waits = host_waits,
        .assembly = host_assembly,
        .xds = host_xds,
        .snapshot = host_snapshot,
        .registries = host_registries,
        .drain = host_drain,
        .leave = host_leave,
        .quit = host_quit,
    };
    const struct proxy_admin_options options = {
        .loop = server->loop,
        .address = server->snapshot->admin,
        .pod_ports = server->snapshot->node.in_mesh,
        .gate = server->gate,
        .host = &server->host,
        .app = &server->app,
        .metrics = proxy_stats_metrics(server->stats),
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

/* What the bootstrap asks for beside itself; with a last good configuration the first snapshot has that, too. */
static int start_live(struct server *server, struct fl_err *err)
{
    const struct proxy_live_options options = {
        .loop = server->loop,
        .metrics = proxy_stats_metrics(server->stats),
        .assembly = server->assembly,
        .bootstrap = server->snapshot->bootstrap,
        .state_folder = server->options.state_folder,
        .on_change = on_live_change,
        .on_answer = on_live_answer,
        .owner = server,
    };
    make_state_folder(server->options.state_folder);
    int result = proxy_live_new(&options, &server->live, err);
    if (result < 0 || server->live == NULL)
        return result;
    server->directory = proxy_live_directory(server->live);
    fl_timer_set(server->loop, &server->wait_timer, WAIT_MS, still_waiting);
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

/* Order: signals are blocked before there is a thread; every port is taken before anything is said to be ready. */
static int start(struct server *server, struct fl_err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0};
    int result = fl_loop_new(&server->loop);
    if (result == 0)
        result = fl_signals_init(&server->signals, server->loop, numbers, on_signal);
    if (result == 0)
        result = proxy_stats_new(&server->stats);
    if (result == 0)
        result = proxy_shared_new(&server->shared);
    server->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (result == 0)
        result = server->wake_fd < 0 ? -errno
                                     : fl_source_add(server->loop, &server->wake, server->wake_fd, EPOLLIN, on_wake);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    proxy_stats_process(server->stats);
    result = proxy_assembly_new(on_dead, server, &server->assembly);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    result = load(server->options.config_path, server->assembly, err);
    if (result == 0)
        result = proxy_assembly_publish(server->assembly, fl_loop_now_ms(server->loop), &server->snapshot, err);
    uint64_t version = server->snapshot != NULL ? server->snapshot->version : 0;
    if (result == PROXY_ASSEMBLY_PUBLISHED)
        result = start_live(server, err);
    if (result == 0)
        result = start_workers(server, err);
    if (result == 0)
        result = start_gate(server, err);
    if (result == 0)
        result = proxy_podapp_read(variable, NULL, &server->app, err);
    if (result == 0)
        result = start_admin(server, err);
    if (result < 0)
        return result;
    if (proxy_watch_new(server->loop, on_files_changed, server, &server->watch) < 0)
        fl_log_message(FL_LOG_WARNING, "certificate files are not watched; SIGHUP re-reads them");
    watch_warming(server);
    /* A port that was taken would stop every start from the last good configuration, and so its mending. */
    return hand_over(server, server->snapshot, server->snapshot->version == version, err);
}

static void stop(struct server *server)
{
    fl_timer_cancel(&server->drain_timer);
    fl_timer_cancel(&server->warming_timer);
    fl_timer_cancel(&server->publish_timer);
    fl_timer_cancel(&server->wait_timer);
    fl_timer_cancel(&server->trim_timer);
    server->admin = proxy_admin_free(server->admin);
    for (unsigned i = 0; i < server->worker_count; i++)
        server->workers[i] = proxy_worker_free(server->workers[i]);
    server->gate = proxy_gate_free(server->gate);
    server->watch = proxy_watch_free(server->watch);
    server->live = proxy_live_free(server->live);
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
    struct server server = {.options = *options, .wake_fd = -1};
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
    int result = load(config_path, assembly, err);
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
