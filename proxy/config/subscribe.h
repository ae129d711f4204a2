/* The xDS client on the main thread: one ADS stream at a time to the server of the bootstrap, what comes over it into
 * the assembly, what the assembly wants into subscriptions; destinations on demand; the last good configuration.
 *
 *   workers ──question──► demand ─┐
 *                                 ├─► ads ◄──► gRPC ◄──► control plane
 *   assembly ◄──put, remove───────┤
 *            ──wants──────────────┘
 *
 * Connecting goes on for ever, with back-off and jitter; what was accepted stays in force meanwhile. A response is
 * answered when the assembly has taken (or refused) what it brings.
 *
 * On demand (node metadata FAIRLEAD_DISCOVERY: on-demand), the first use of an address subscribes to the listener
 * "outbound|<ip>:<port>". While the control plane is away the chains of virtualOutbound decide about what is unknown,
 * where they name the mesh's ranges (a chain by prefix that leads to BlackHoleCluster); else it is refused.
 *
 * The state folder keeps what is in force (config/lastgood.h), written some seconds after a change and at the end; a
 * proxy that starts takes it first.
 */
#ifndef PROXY_CONFIG_SUBSCRIBE_H
#define PROXY_CONFIG_SUBSCRIBE_H

#include "proxy/config/assembly.h"
#include "proxy/config/demand.h"
#include "proxy/config/discovery.h"
#include "proxy/upstream/directory.h"

struct fl_loop;
struct fl_metrics;
struct proxy_subscribe;

#define PROXY_SUBSCRIBE_BACKOFF_MS     500u
#define PROXY_SUBSCRIBE_BACKOFF_MAX_MS 30000u
#define PROXY_SUBSCRIBE_SAVE_MS        3000u  /* from a change to the file */
#define PROXY_SUBSCRIBE_AWAY_MS        1000u  /* without a stream for so long: questions are answered without it */
#define PROXY_SUBSCRIBE_WAIT_MS        1000u  /* the first connection waits so long for a certificate to show */
#define PROXY_SUBSCRIBE_LOG_MS         30000u /* a failure that stays is told so often */

struct proxy_subscribe_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    struct proxy_assembly *assembly;
    const struct proxy_discovery *discovery; /* outlives it */
    const char *resolv_conf;                 /* NULL: /etc/resolv.conf */
    const char *state_folder;                /* NULL: nothing is kept */
    struct proxy_demand_options demand;      /* max and idle_ms alone */
    /* The assembly has something to publish. Never from within proxy_subscribe_new. */
    void (*on_change)(void *owner);
    /* An answer for all workers. */
    void (*on_answer)(void *owner, const struct proxy_address *destination, enum proxy_directory_answer answer);
    void *owner;
};

/* Takes the last good configuration, if any, into the assembly, and connects: in the loop's next turn, or where our own
 * certificate is to be shown once proxy_subscribe_identity brings it. Where it does not come in
 * PROXY_SUBSCRIBE_WAIT_MS, the token has to do. */
int proxy_subscribe_new(const struct proxy_subscribe_options *options, struct proxy_subscribe **ret_subscribe,
                        struct fl_err *err) FL_MUST_CHECK;
struct proxy_subscribe *proxy_subscribe_free(struct proxy_subscribe *subscribe); /* NULL is allowed; returns NULL */

/* Our certificate is another one: it is shown from the next connection on, and a connection that showed the old one is
 * made anew. One that a token let in stays as long as our first certificate does. Copied. 0 or -ENOMEM. */
int proxy_subscribe_identity(struct proxy_subscribe *subscribe,
                             const struct proxy_discovery_identity *identity) FL_MUST_CHECK;

/* What workers ask. */
struct proxy_directory proxy_subscribe_directory(struct proxy_subscribe *subscribe);

/* False once the first configuration is whole (or was taken from the state folder); else what is waited for. */
bool proxy_subscribe_waits(struct proxy_subscribe *subscribe, char *text, size_t size);

/* /debug/xds: appends one JSON object. 0, -ENOMEM, -EMSGSIZE. */
int proxy_subscribe_print(const struct proxy_subscribe *subscribe, struct fl_buf *out) FL_MUST_CHECK;

#endif
