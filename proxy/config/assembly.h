/* The assembly: where configuration comes together, one resource at a time, and becomes snapshots. The only way there
 * is: the bootstrap's static resources, xDS, and the secrets of our own identity all go through it. Main thread only.
 *
 *   put, remove  ─►  resource: compiled alone into a unit (a refusal keeps the version before, and is remembered)
 *   wants        ─►  names that resources refer to: what to subscribe to
 *   publish      ─►  the next snapshot; it shares every unit that did not change
 *
 * Warming (make before break): a resource that was put counts once what it refers to is there; until then its version
 * before stays in force. A cluster waits for its endpoints (EDS) and secrets, a route table for the clusters that it
 * names, a listener for its route tables (RDS), secrets and clusters. What has been removed by name counts as known not
 * to exist and is waited for no longer; nor is anything but a secret for longer than PROXY_ASSEMBLY_WARMING_MS. So it
 * does not matter in which order resources come. At run time a cluster that is not there is a 503 (NC), a route table
 * that is not there a 404, a cluster without endpoints a 503 (UH); a TLS setting whose secret is not there refuses
 * connections: it is never plaintext.
 *
 * Static resources come from the bootstrap, never wait, and can be neither replaced nor removed by name.
 *
 * Secrets are not parts of units: listeners and clusters name TLS settings by slot, and the snapshot has the contexts
 * by slot. So a new secret changes contexts alone. A secret that is removed stays in the contexts that were made of it.
 */
#ifndef PROXY_CONFIG_ASSEMBLY_H
#define PROXY_CONFIG_ASSEMBLY_H

#include "common/base/pack.h"
#include "common/mesh/resource.h"
#include "proxy/config/compile.h"
#include "proxy/snapshot/snapshot.h"

#define PROXY_ASSEMBLY_WARMING_MS     15000u /* as Envoy's initial_fetch_timeout */
#define PROXY_ASSEMBLY_RESOURCES_MAX  16384u /* of a type */
#define PROXY_ASSEMBLY_SECRETS_MAX    1024u
#define PROXY_ASSEMBLY_RESOURCE_BYTES (16u << 20)  /* of one, as it came */
#define PROXY_ASSEMBLY_BYTES          (512u << 20) /* of all units of an assembly that are in it, compiled */
#define PROXY_ASSEMBLY_NAME_MAX       1024u        /* bytes */

struct proxy_assembly;

/* on_dead: any thread's (snapshot/unit.h): something is to be freed; proxy_assembly_sweep should be called soon. NULL:
 * nobody is told. The assembly may go before its snapshots. */
int proxy_assembly_new(void (*on_dead)(void *owner), void *owner, struct proxy_assembly **ret_assembly) FL_MUST_CHECK;
struct proxy_assembly *proxy_assembly_free(struct proxy_assembly *assembly); /* NULL is allowed; returns NULL */
void proxy_assembly_sweep(struct proxy_assembly *assembly);

/* The bootstrap, or another one in its place: node, admin, static resources, whole or nothing; what did not change
 * stays the same unit. Files that it names (certificates, keys, roots) are read. `from` may be NULL. 0; -EINVAL;
 * -EMSGSIZE; -ENOMEM; -errno of reading a file. On failure everything is as before. The next publish gives a snapshot,
 * whatever has changed. */
int proxy_assembly_bootstrap(struct proxy_assembly *assembly,
                             const struct Envoy__Config__Bootstrap__V3__Bootstrap *bootstrap,
                             const struct proxy_compile_from *from, struct fl_err *err) FL_MUST_CHECK;
/* The same bootstrap once more: the files that it names are read anew. What to do when a certificate was replaced. */
int proxy_assembly_refresh(struct proxy_assembly *assembly, struct fl_err *err) FL_MUST_CHECK;
/* The bootstrap of that snapshot again: what came after it could not be put in force. */
int proxy_assembly_restore(struct proxy_assembly *assembly, const struct proxy_snapshot *snapshot,
                           struct fl_err *err) FL_MUST_CHECK;

/* One resource as it came over the wire (the message itself, not the Any around it). `name` is what the protocol calls
 * it, and must be the message's own. The same bytes again change nothing but the version. A Secret's files are not
 * read: it must carry its bytes. 0: it will be in force once it is warm. -EINVAL (with the reason, which names resource
 * and field: the text for the NACK), -EMSGSIZE, -ENOSPC (a limit), -ENOMEM: the version before stays, and
 * proxy_assembly_next_state tells of the refusal. */
int proxy_assembly_put(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name,
                       struct fl_span version, struct fl_span wire, struct fl_err *err) FL_MUST_CHECK;
/* It does not exist (any more); also for what was never there, so that nobody waits for it. What is static stays.
 * 0 or -ENOMEM. */
int proxy_assembly_remove(struct proxy_assembly *assembly, enum fl_resource_type type,
                          struct fl_span name) FL_MUST_CHECK;
/* Forgets that a name is known not to exist (it is subscribed to anew). Never fails; nothing else changes. */
void proxy_assembly_forget(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name);

/* -- what is wanted -- */

enum proxy_want_source {                  /* where the resource that refers to it says that it is to be had */
                         PROXY_WANT_ADS,  /* ads, or self */
                         PROXY_WANT_API,  /* an api_config_source of its own (Istio: the agent's SDS) */
                         PROXY_WANT_DNS,  /* names of a cluster: config/names.h */
                         PROXY_WANT_NONE, /* it says nothing: clusters */
};

enum proxy_presence {
    PROXY_PRESENCE_UNKNOWN, /* nothing came yet */
    PROXY_PRESENCE_ABSENT,  /* removed */
    PROXY_PRESENCE_WARMING,
    PROXY_PRESENCE_ACTIVE,
};

struct proxy_want {
    enum fl_resource_type type; /* SECRET, ENDPOINTS, CLUSTER, ROUTES */
    struct fl_span name;        /* valid until the next put, remove, bootstrap or publish */
    enum proxy_want_source source;
    enum proxy_presence presence;
    bool is_static; /* the bootstrap has it: nothing to subscribe to */
};

/* Walks every name that a resource refers to, in force or warming, static ones included; each once. *cursor starts at
 * 0; false at the end. Endpoints and route tables that nobody wants any more may be removed. */
bool proxy_assembly_next_want(const struct proxy_assembly *assembly, size_t *cursor, struct proxy_want *ret_want);
/* Changes with every change of that list. */
uint64_t proxy_assembly_wants_version(const struct proxy_assembly *assembly);

/* Walks the clusters whose endpoints are names, in force or warming (then that version); false at the end. Valid until
 * the next change. */
bool proxy_assembly_next_dns(const struct proxy_assembly *assembly, size_t *cursor,
                             const struct proxy_cluster **ret_cluster);
/* Changes with every change of that list. */
uint64_t proxy_assembly_dns_version(const struct proxy_assembly *assembly);

/* -- the result -- */

enum proxy_assembly_result {
    PROXY_ASSEMBLY_PUBLISHED = 1,
    PROXY_ASSEMBLY_UNCHANGED = 2, /* no snapshot: it would be the one that was published last */
};

/* What is warm becomes active. now_ms: of CLOCK_MONOTONIC. An outcome, with a reference of the caller's in
 * *ret_snapshot for PUBLISHED; -ENOMEM: everything is as before, call again. */
int proxy_assembly_publish(struct proxy_assembly *assembly, uint64_t now_ms, struct proxy_snapshot **ret_snapshot,
                           struct fl_err *err) FL_MUST_CHECK;
/* When publish should be called for time alone (something warms for too long then); UINT64_MAX: not. */
uint64_t proxy_assembly_due_ms(const struct proxy_assembly *assembly);

/* -- what is known of each resource: /config_dump, the command line, warm restarts -- */

struct proxy_resource_state {
    enum fl_resource_type type;
    struct fl_span name; /* all spans are valid until the next change */
    bool is_static;
    bool wanted;                   /* another resource refers to it */
    enum proxy_presence presence;  /* of the newest that was taken */
    bool has_active;               /* an older version is in force, where presence is WARMING */
    struct fl_span active_version; /* empty where nothing is in force, or it has none */
    struct fl_packed active_wire;  /* as it came */
    struct fl_span warming_version;
    struct fl_packed warming_wire;
    const char *waits_for; /* WARMING: the first thing missing, as "cluster outbound|80||a"; NULL */
    const char *refused;   /* the last put since was refused, and why; NULL */
    struct fl_span refused_version;
    uint64_t used_ms; /* listeners and clusters: when a connection used it last; 0: never */
};

/* When a listener or a cluster was used last; 0: never, or it is another thing. */
uint64_t proxy_assembly_used_ms(const struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name);
/* *cursor starts at 0; false at the end. */
bool proxy_assembly_next_state(const struct proxy_assembly *assembly, size_t *cursor,
                               struct proxy_resource_state *ret_state);

#endif
