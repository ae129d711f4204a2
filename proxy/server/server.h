/* The whole proxy: configuration in, workers out, and what the main thread owns: signals, reloads, the admin ports, the
 * start gate, draining.
 *
 *   INITIALIZING ── every worker has the first whole configuration ──► LIVE ── SIGTERM, SIGINT, /quitquitquit ──►
 * DRAINING ─► exit
 *
 * POST /drain (fairlead-proxy drain, a preStop hook): not ready any more and HTTP clients are asked to leave
 * ("Connection: close"), while the listeners go on serving and configuration is taken. The time since then counts as
 * drain time.
 *
 * SIGHUP reads the file anew, a changed certificate file refreshes what it is used in: a whole new snapshot, or the old
 * one stays and the reason is logged. Draining: what is connected is accepted, then the listeners close; HTTP
 * connections end with their next answer or when they are idle; after drain_time_ms what is left is reset.
 */
#ifndef PROXY_SERVER_SERVER_H
#define PROXY_SERVER_SERVER_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define PROXY_SERVER_DRAIN_MS    5000u
#define PROXY_SERVER_WORKERS_MAX 64u

struct proxy_server_options {
    const char *config_path;   /* NULL: the bootstrap is built from the environment */
    const char *state_folder;  /* for the last good configuration and our identity; NULL: nothing is kept */
    const char *secret_folder; /* of the admin port's secret; NULL: none, nothing can be changed there */
    bool take_over;            /* from the process that serves the same state folder, where there is one */
    unsigned workers;          /* 0: by the CPUs and the quota that it has (cgroup.h) */
    uint64_t memory_limit;     /* bytes; 0: 90 % of the control group's limit, where it has one */
    uint64_t drain_time_ms;    /* 0: at once */
    unsigned long files;       /* descriptors that the process may have */
};

/* Runs until it is told to stop. 0, or a negative errno with the reason in err where it could not start or go on. */
int proxy_server_run(const struct proxy_server_options *options, struct fl_err *err);

/* Reads and checks the configuration alone. */
int proxy_server_validate(const char *config_path, struct fl_err *err);
/* Prints the bootstrap that the environment makes to standard output. */
int proxy_server_print_bootstrap(struct fl_err *err);

#endif
