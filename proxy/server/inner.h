/* What the parts of the main thread share; nobody else includes this. One struct server, one loop, one thread: only
 * what is atomic, and the two callbacks said to be any thread's, is touched by others.
 *
 *   server.c    start and end, in their order
 *   publish.c   configuration becomes snapshots, handed to the workers one after the other
 *   workers.c   how many there are, and what they answer
 *   leaving.c   signals, draining, the end
 *   host.c      what the admin port asks and orders
 *   memory.c    the ceiling of its memory, and how it gets small again
 */
#ifndef PROXY_SERVER_INNER_H
#define PROXY_SERVER_INNER_H

#include "common/loop/signal.h"
#include "common/loop/timer.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/probe.h"
#include "proxy/config/live.h"
#include "proxy/config/names.h"
#include "proxy/config/podapp.h"
#include "proxy/config/watch.h"
#include "proxy/dns/service.h"
#include "proxy/server/cgroup.h"
#include "proxy/server/handover.h"
#include "proxy/server/memory.h"
#include "proxy/server/server.h"
#include "proxy/server/sockets.h"
#include "proxy/server/worker.h"

#include <stdatomic.h>

struct server {
    struct proxy_server_options options;
    struct proxy_cgroup cgroup; /* what the container may use */
    struct fl_loop *loop;
    struct fl_signals signals;
    struct proxy_stats *stats;   /* of the main thread */
    struct proxy_shared *shared; /* of the workers */
    struct proxy_assembly *assembly;
    struct proxy_names *names;
    struct proxy_live *live; /* NULL: everything is static */
    struct proxy_directory directory;
    struct proxy_snapshot *snapshot, *pending;  /* in force; handed to the workers */
    struct proxy_sockets sockets, next_sockets; /* of the two */
    struct proxy_worker *workers[PROXY_SERVER_WORKERS_MAX];
    unsigned worker_count, awaited;
    struct proxy_watch *watch;
    struct proxy_gate *gate;
    struct proxy_dns_service *dns; /* NULL: DNS is not captured */
    struct proxy_admin *admin;
    struct proxy_admin_host host;
    struct proxy_podapp app;
    struct proxy_memory memory;
    struct proxy_inherited inherited; /* sockets of the process before, until it is LIVE */
    int taken_from;                   /* … the connection to it; -1: none */
    struct proxy_handover *handover;  /* for the process after; NULL: no folder */
    struct proxy_admin_secret secret;
    enum proxy_server_state state;
    uint64_t leaving_ms; /* POST /drain: since when; 0: no */
    bool inbound_only;   /* … POST /drain_listeners: these alone */
    bool first_settled;  /* every worker had a snapshot once */
    bool reload_again;   /* asked for while a snapshot was being handed over */
    bool publish_again;  /* … something has changed in the assembly */
    bool sweep;          /* … old units are to be freed; any thread's */
    struct fl_timer drain_timer, warming_timer, publish_timer, wait_timer, trim_timer, listeners_timer;
    int wake_fd; /* the workers' events */
    struct fl_source wake;
    atomic_uint applied, refused, drained;
};

/* -- publish.c -- */

/* Reads the bootstrap (NULL: the environment's) into the assembly. */
int proxy_server_load(const char *path, struct proxy_assembly *assembly, struct fl_err *err) FL_MUST_CHECK;
/* Hands a snapshot to every worker. On failure nothing has changed. */
int proxy_server_hand_over(struct server *server, struct proxy_snapshot *snapshot, bool strict,
                           struct fl_err *err) FL_MUST_CHECK;
void proxy_server_settled(struct server *server); /* every worker has answered */
void proxy_server_publish(struct server *server); /* the assembly has changed */
/* The bootstrap is read anew; refresh: only the files that it names. */
void proxy_server_reload(struct server *server, bool refresh);
void proxy_server_watch_warming(struct server *server);
void proxy_server_watch_waits(struct server *server); /* tells what is waited for, again and again, until it is ready */
/* Callbacks of live and watch. */
void proxy_server_on_change(void *owner);
void proxy_server_on_answer(void *owner, const struct proxy_address *destination, enum proxy_directory_answer answer);
void proxy_server_on_files(void *owner);

/* -- server.c -- */

/* LIVE: where another process was taken over from, the admin ports are opened and it is told; from now on the next one
 * may come. */
void proxy_server_take_over_now(struct server *server);

/* -- workers.c -- */

int proxy_server_start_workers(struct server *server, struct fl_err *err) FL_MUST_CHECK;
void proxy_server_on_wake(struct fl_source *source, uint32_t events);
void proxy_server_on_dead(void *owner); /* any thread's: old units are to be freed */

/* -- leaving.c -- */

void proxy_server_leave(struct server *server); /* not ready any more, served on */
void proxy_server_drain(struct server *server); /* the listeners close */
void proxy_server_drain_listeners(struct server *server, const struct proxy_admin_drain *how);
void proxy_server_quit(struct server *server); /* drain and exit; asked twice: at once */
void proxy_server_on_taken_over(void *owner);  /* another process serves */
void proxy_server_on_signal(struct fl_signals *signals, int number);

/* -- host.c -- */

struct proxy_admin_host proxy_server_host(struct server *server);

#endif
