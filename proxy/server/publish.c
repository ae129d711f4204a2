#include "proxy/server/inner.h"

#include "common/base/log.h"
#include "common/mesh/label.h"
#include "proxy/config/bootstrap.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISH_MS 2     /* from a change to its snapshot: what comes in one go is one */
#define WAIT_MS    15000 /* how often one is told what the proxy waits for before it is ready */
#define TRIM_MS    1000
#define WAITS_MAX  512

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
int proxy_server_hand_over(struct server *server, struct proxy_snapshot *snapshot, bool strict, struct fl_err *err)
{
    int *fds = NULL;
    struct proxy_sockets next;
    int result = proxy_sockets_open(&server->sockets, &server->inherited, snapshot, server->worker_count, strict, &next,
                                    &fds, err);
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

static void still_waiting(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, wait_timer);
    char text[WAITS_MAX];
    if (!proxy_live_waits(server->live, text, sizeof(text)))
        return;
    fl_log(FL_LOG_WARNING, "not ready", FL_LOG_STR("waits_for", text));
    fl_timer_set(server->loop, timer, WAIT_MS, still_waiting);
}

void proxy_server_watch_waits(struct server *server)
{
    fl_timer_set(server->loop, &server->wait_timer, WAIT_MS, still_waiting);
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
    proxy_server_take_over_now(server);
    tell_ready(server);
    proxy_admin_look(server->admin);
}

/* What went with the configurations before goes back to the system: it looks at the whole heap. */
static void trim(struct fl_timer *timer)
{
    (void)timer;
    (void)malloc_trim(0);
}

/* Every worker has answered. */
void proxy_server_settled(struct server *server)
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
        proxy_server_reload(server, false);
    } else if (server->publish_again) {
        server->publish_again = false;
        proxy_server_publish(server);
    }
}

static void log_warnings(const struct proxy_bootstrap_warnings *warnings)
{
    for (size_t i = 0; i < warnings->count && i < PROXY_BOOTSTRAP_WARNINGS_MAX; i++)
        fl_log(FL_LOG_WARNING, "configuration", FL_LOG_STR("detail", warnings->texts[i]));
}

int proxy_server_load(const char *path, struct proxy_assembly *assembly, struct fl_err *err)
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
    proxy_server_publish(FL_CONTAINER_OF(timer, struct server, warming_timer));
}

/* Something may still be warming: time alone ends that. */
void proxy_server_watch_warming(struct server *server)
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
    proxy_server_watch_warming(server);
    proxy_names_update(server->names);
    if (result == PROXY_ASSEMBLY_PUBLISHED)
        return proxy_server_hand_over(server, snapshot, strict, err);
    return result < 0 ? result : 0;
}

/* xDS has changed something. */
void proxy_server_publish(struct server *server)
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
    proxy_server_publish(FL_CONTAINER_OF(timer, struct server, publish_timer));
}

/* What comes in one go is one snapshot. */
void proxy_server_on_change(void *owner)
{
    struct server *server = owner;
    if (!fl_timer_is_set(&server->publish_timer))
        fl_timer_set(server->loop, &server->publish_timer, PUBLISH_MS, publish_due);
}

void proxy_server_on_answer(void *owner, const struct proxy_address *destination, enum proxy_directory_answer answer)
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

void proxy_server_reload(struct server *server, bool refresh)
{
    struct fl_err err = {0};
    if (server->state == PROXY_SERVER_DRAINING)
        return;
    if (server->pending != NULL) {
        server->reload_again = true;
        return;
    }
    int result = refresh ? proxy_assembly_refresh(server->assembly, &err)
                         : proxy_server_load(server->options.config_path, server->assembly, &err);
    if (result == 0) {
        result = publish_now(server, true, &err);
        if (result < 0)
            revert(server);
    }
    proxy_stats_reload(server->stats, result == 0);
    if (result < 0)
        fl_log(FL_LOG_ERROR, "configuration refused; the one before stays in force", FL_LOG_STR("reason", err.text));
}

void proxy_server_on_files(void *owner)
{
    proxy_server_reload(owner, true);
}
