/* The admin interface and the scrape and health ports: a small HTTP/1.1 server of our own on the main thread's loop.
 *
 *   admin     (by the bootstrap; 127.0.0.1:15000)  everything below
 *   stats     :15090                               /stats/prometheus
 *   merged    :15020                               /stats/prometheus: ours and the app's (appscrape.h);
 *                                                  /app-health/…, /app-lifecycle/…: the app's probes (appprobes.h)
 *   health    :15021                               /healthz/ready, /healthz/started (which waits: startwait.h)
 *
 * The last three lines are opened in the roles of a mesh (sidecar, gateway), on all addresses. The admin port's paths
 * and forms are Envoy's, as far as there is something to say: docs/admin.md.
 *
 * What comes from outside is bounded: connections (beyond the limit the oldest of the client that has the most goes),
 * the head, the body (none is read: a request with one is answered 413 and closed), the time for a head, for an answer
 * to be taken, and between requests. Who may ask the admin port stands in guard.h; large answers are made in slices.
 */
#ifndef PROXY_ADMIN_ADMIN_H
#define PROXY_ADMIN_ADMIN_H

#include "common/loop/loop.h"
#include "proxy/admin/adminsecret.h"
#include "proxy/admin/probe.h"
#include "proxy/snapshot/snapshot.h"

struct fl_metrics;
struct proxy_assembly;
struct proxy_podapp;
struct proxy_inherited;

#define PROXY_ADMIN_CONNECTIONS_MAX 64          /* of each port */
#define PROXY_ADMIN_HEAD_MAX        16384       /* bytes */
#define PROXY_ADMIN_HEAD_MS         5000        /* for a whole head to arrive */
#define PROXY_ADMIN_WRITE_MS        10000       /* without progress of an answer */
#define PROXY_ADMIN_IDLE_MS         60000       /* between requests */
#define PROXY_ADMIN_ANSWER_MAX      (80u << 20) /* bytes of one answer: a scrape of four workers that are full */
#define PROXY_ADMIN_REGISTRIES_MAX  129         /* one a worker, and the main thread's */

enum proxy_server_state { PROXY_SERVER_INITIALIZING, PROXY_SERVER_LIVE, PROXY_SERVER_DRAINING };

struct proxy_admin_drain { /* /drain_listeners?graceful&inboundonly */
    bool graceful, inbound_only;
};

/* What the server above tells and does; all on the main thread. */
struct proxy_admin_host {
    void *owner;
    enum proxy_server_state (*state)(void *owner);
    struct proxy_snapshot *(*snapshot)(void *owner); /* the one in force; valid during the call that asked */
    /* These three may be NULL. Before LIVE: what is waited for; false: nothing. */
    bool (*waits)(void *owner, char *text, size_t size);
    struct proxy_assembly *(*assembly)(void *owner); /* for dynamic resources */
    int (*xds)(void *owner, struct fl_buf *out);     /* /debug/xds: appends JSON. 0, -ENOMEM, -EMSGSIZE */
    /* The registries to sum, at most `max`. Reading them must not race with the workers (metrics/registry.h). */
    size_t (*registries)(void *owner, struct fl_metrics **ret_registries, size_t max);
    void (*leave)(void *owner); /* not ready any more, HTTP clients are asked to leave, everybody is served on */
    /* Stop accepting, finish what is under way, go on living. graceful: only once the drain time is over, and as
     * `leave` until then. */
    void (*drain)(void *owner, const struct proxy_admin_drain *how);
    void (*quit)(void *owner); /* as SIGTERM */
};

struct proxy_admin;

struct proxy_admin_options {
    struct fl_loop *loop;
    struct proxy_address address;      /* of the admin port; not set: none. Port 0: any (proxy_admin_address tells) */
    struct proxy_inherited *inherited; /* sockets to look into first; NULL: none */
    struct proxy_admin_secret secret;  /* that changes need; zeroed: nobody can change anything */
    unsigned workers;                  /* told in /server_info */
    uint64_t drain_time_ms;            /* the same */
    bool pod_ports;                    /* open stats and health ports too */
    /* For tests: other numbers than mesh/port.h has. 0: the port of the mesh. */
    uint16_t stats_port, merged_port, health_port;
    struct proxy_gate *gate; /* for /healthz; NULL: no gate */
    const struct proxy_admin_host *host;
    const struct proxy_podapp *app; /* what the pod's app is asked for at the merged port; outlives it. NULL: nothing */
    struct fl_metrics *metrics;     /* of the main thread, for what is counted of that; may be NULL */
};

/* Opens the ports; all or none. -EADDRINUSE … with the address in err. */
int proxy_admin_new(const struct proxy_admin_options *options, struct proxy_admin **ret_admin,
                    struct fl_err *err) FL_MUST_CHECK;
struct proxy_admin *proxy_admin_free(struct proxy_admin *admin);

/* The server's state or the start gate changed: who waits for the start is answered. On the loop; NULL is allowed. */
void proxy_admin_look(struct proxy_admin *admin);

/* Where the admin port listens now. */
struct proxy_address proxy_admin_address(const struct proxy_admin *admin);

#endif
