/* What keeps the configuration alive beside the bootstrap: the xDS client and our identity, as the bootstrap asks for
 * them, into the server's assembly. Main thread only.
 *
 *   CA ──► identity ──► secrets `default`, ROOTCA ──► assembly
 *   control plane ──► subscribe ───────────────────►
 *
 * A change of the bootstrap's xDS server counts from the next start on.
 */
#ifndef PROXY_CONFIG_LIVE_H
#define PROXY_CONFIG_LIVE_H

#include "proxy/config/assembly.h"
#include "proxy/config/bootstrap.h"
#include "proxy/upstream/directory.h"

struct fl_loop;
struct fl_metrics;
struct proxy_live;

struct proxy_live_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    struct proxy_assembly *assembly; /* outlives it, and holds the bootstrap already */
    struct fl_span bootstrap;        /* packed (struct proxy_snapshot) */
    const char *state_folder;        /* for the last good configuration and our identity; NULL: nothing is kept */
    /* The assembly has something to publish. Never from within proxy_live_new. */
    void (*on_change)(void *owner);
    /* For all workers: who waits for that destination. */
    void (*on_answer)(void *owner, const struct proxy_address *destination, enum proxy_directory_answer answer);
    void *owner;
};

/* Takes the last good configuration, if any, into the assembly, and connects in the loop's next turn. Where the
 * bootstrap has no xDS server there is nothing to do, and *ret_live is NULL. 0 or a negative errno with the reason. */
int proxy_live_new(const struct proxy_live_options *options, struct proxy_live **ret_live,
                   struct fl_err *err) FL_MUST_CHECK;
/* No worker may ask any more. NULL is allowed; returns NULL. */
struct proxy_live *proxy_live_free(struct proxy_live *live);

/* What workers ask; ask is NULL where destinations are not asked for. NULL is allowed. */
struct proxy_directory proxy_live_directory(struct proxy_live *live);
/* False once the first configuration is whole; else what is waited for. NULL is allowed: false. */
bool proxy_live_waits(struct proxy_live *live, char *text, size_t size);
/* /debug/xds. NULL is allowed. 0, -ENOMEM, -EMSGSIZE. */
int proxy_live_print(const struct proxy_live *live, struct fl_buf *out) FL_MUST_CHECK;

/* Whether the xDS server of a packed bootstrap can be understood, for --mode validate. */
int proxy_live_check(struct fl_span bootstrap, struct fl_err *err) FL_MUST_CHECK;

/* The bootstrap that the environment makes: as text, appended; and taken by an assembly. */
int proxy_live_print_bootstrap(struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;
int proxy_live_load_environment(struct proxy_bootstrap_warnings *warnings, struct proxy_assembly *assembly,
                                struct fl_err *err) FL_MUST_CHECK;

#endif
