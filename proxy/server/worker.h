/* A worker: a thread with its loop, its data path and its listening sockets. The main thread talks to it by orders,
 * which it carries out in its next turn; it answers by one callback on its own thread. Nothing else is shared but
 * immutable snapshots and what proxy/telemetry/stats.h says of scrapes.
 */
#ifndef PROXY_SERVER_WORKER_H
#define PROXY_SERVER_WORKER_H

#include "proxy/filter/data.h"
#include "proxy/net/listener.h"
#include "proxy/upstream/directory.h"

struct proxy_worker;

enum proxy_worker_event {
    PROXY_WORKER_APPLIED, /* the last snapshot is in force */
    PROXY_WORKER_REFUSED, /* out of memory: the one before stays in force */
    PROXY_WORKER_DRAINED, /* no downstream connection is left */
};

struct proxy_worker_options {
    size_t connections_max;
    struct proxy_shared *shared;             /* of all workers; lives longer than they do */
    const struct proxy_directory *directory; /* the same; NULL: nobody is asked */
    /* On the worker's thread. */
    void (*on_event)(void *owner, enum proxy_worker_event event);
    bool (*on_probe)(void *owner, const struct proxy_address *peer, const struct proxy_address *original);
    void *owner;
};

/* Starts the thread. 0 or a negative errno. */
int proxy_worker_new(const struct proxy_worker_options *options, struct proxy_worker **ret_worker) FL_MUST_CHECK;
/* Stops it: connections that are left are reset. Waits for the thread. NULL is allowed; returns NULL. */
struct proxy_worker *proxy_worker_free(struct proxy_worker *worker);

/* The main thread's orders. `sockets`: one per listener slot of the snapshot, owned by the worker on success: a
 * listening socket, or -1 where the listener opens none or goes on with the socket of its address. 0 or -ENOMEM. */
int proxy_worker_apply(struct proxy_worker *worker, struct proxy_snapshot *snapshot, const int *sockets) FL_MUST_CHECK;
/* What became of a question to the directory. Where too many wait already it is lost: those who asked run out of time.
 */
void proxy_worker_answer(struct proxy_worker *worker, const struct proxy_address *destination,
                         enum proxy_directory_answer answer);
/* Accepts what is connected, closes the listening sockets, and ends HTTP connections as they become idle. */
void proxy_worker_drain(struct proxy_worker *worker);
/* The listeners of inbound traffic close; what is connected goes on. */
void proxy_worker_drain_inbound(struct proxy_worker *worker);
/* Ends HTTP connections as they become idle, and with their next answer; new ones are served as before. */
void proxy_worker_leave(struct proxy_worker *worker);
/* Opens its access logs by their names anew: they were renamed. */
void proxy_worker_reopen(struct proxy_worker *worker);

/* Memory is so short (filter/data.h). */
void proxy_worker_shed(struct proxy_worker *worker, enum proxy_shed stage, size_t lean_above, size_t max);
/* Bytes of its pools in use, about now. */
size_t proxy_worker_held(const struct proxy_worker *worker);
/* TLS handshakes, about now. */
size_t proxy_worker_handshakes(const struct proxy_worker *worker, size_t *ret_waiting);

struct fl_metrics *proxy_worker_metrics(struct proxy_worker *worker);

#endif
