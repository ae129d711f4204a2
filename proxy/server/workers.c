#include "proxy/server/inner.h"

#include "common/base/log.h"
#include "common/mesh/label.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

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
void proxy_server_on_dead(void *owner)
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

void proxy_server_on_wake(struct fl_source *source, uint32_t events)
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
            proxy_server_settled(server);
    }
    if (server->state == PROXY_SERVER_DRAINING && atomic_load(&server->drained) >= server->worker_count)
        fl_loop_stop(server->loop, 0);
}

static unsigned default_workers(const struct proxy_cgroup *cgroup)
{
    cpu_set_t cpus;
    uint64_t limit = 0;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        return 1;
    if (!fl_span_to_u64(fl_span_str(getenv(FL_ENV_CPU_LIMIT)), UINT32_MAX, &limit))
        limit = 0;
    return proxy_cgroup_workers(cgroup, (unsigned)CPU_COUNT(&cpus), limit);
}

int proxy_server_start_workers(struct server *server, struct fl_err *err)
{
    unsigned count = server->options.workers != 0 ? server->options.workers : default_workers(&server->cgroup);
    if (count > PROXY_SERVER_WORKERS_MAX)
        count = PROXY_SERVER_WORKERS_MAX;
    /* A connection takes two descriptors; some are for listeners, logs and the admin ports. */
    unsigned long files = server->options.files;
    const struct proxy_worker_options options = {
        .shared = server->shared,
        .connections_max = files > 128 ? (files - 64) / 2 / count
                           : files > 0 ? files / (4 * count) + 1
                                       : 0,
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
