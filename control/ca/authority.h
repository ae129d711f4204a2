/* The mesh's certificate authority as the rest of the control plane sees it: the issuer with its folder watched, the
 * trust bundle, and the control plane's own server certificate, made by the same issuer and renewed at half its life.
 *
 * Changes of the folder are taken over by a new child (issuer.h); the one in use goes on until that is ready. The
 * bundle is also written to `bundle_file` (0644, replaced whole) for proxies to start from.
 */
#ifndef CONTROL_CA_AUTHORITY_H
#define CONTROL_CA_AUTHORITY_H

#include "control/ca/issuer.h"

struct fl_bundle;
struct fl_cert;
struct fl_key;
struct fl_metrics;
struct control_authority;

#define CONTROL_VALIDITY_S     86400   /* of a leaf, unless asked for less */
#define CONTROL_VALIDITY_MAX_S 7776000 /* 90 days: the most that --certificate-validity may say */

struct control_authority_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    const char *program; /* issuer.h; NULL outside of tests */
    const char *folder;  /* --ca-dir, or --ca-cert-dir with `given` */
    bool given;
    bool stored;                     /* the courier fills the folder: nothing begins before control_authority_reload */
    const char *trust_domain;        /* NULL: cluster.local */
    const char *const *server_names; /* DNS names and IP addresses of this control plane; ends with NULL */
    const char *bundle_file;         /* NULL: none is written */
    uint32_t validity_s;             /* 0: CONTROL_VALIDITY_S */
    uint32_t overlap_s;              /* of two roots; 0: the validity, after which every leaf knows the new root */
    /* The server certificate, its key or the bundle are new: make TLS contexts anew. Borrowed: take references.
     * Without server names cert and key are NULL. */
    void (*on_serving)(void *owner, struct fl_cert *cert, struct fl_key *key, struct fl_bundle *bundle);
    void *owner;
};

/* Everything is copied. on_serving comes once the child is ready, some 20 ms later. */
int control_authority_new(const struct control_authority_options *options, struct control_authority **ret_authority,
                          struct fl_err *err) FL_MUST_CHECK;
struct control_authority *control_authority_free(struct control_authority *authority);

void control_authority_reload(struct control_authority *authority); /* SIGHUP */
struct control_issuer *control_authority_issuer(struct control_authority *authority);
struct fl_span control_authority_bundle(const struct control_authority *authority); /* PEM; empty: not ready yet */
uint32_t control_authority_validity(const struct control_authority *authority);     /* of a leaf, seconds */
const char *control_authority_trust_domain(const struct control_authority *authority);

#endif
