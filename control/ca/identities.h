/* The certificate authority as one piece, as control.c starts it: authority, authenticator, CreateCertificate, and the
 * TLS of the gRPC server, whose certificate and client roots come from the same authority.
 */
#ifndef CONTROL_CA_IDENTITIES_H
#define CONTROL_CA_IDENTITIES_H

#include "control/ca/authenticate.h"
#include "control/ca/authority.h"

struct control_identities;
struct control_storage;
struct fl_grpc_method;
struct fl_grpc_server;

/* Certificates a second that may be asked for: by an address (a pod), and for an identity (all pods of a workload). */
#define CONTROL_PEER_RATE     20u
#define CONTROL_IDENTITY_RATE 200u
#define CONTROL_RATE_BURST    10u /* times as many at once */

struct control_identities_secrets { /* storage.h */
    const char *name_space, *secret, *cacerts, *kubeconfig, *context;
    const char *folder; /* NULL: one is made */
    uint32_t root_life_s, look_ms;
};

struct control_identities_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    const char *ca_dir;                               /* a self-made root; or … */
    const char *ca_cert_dir;                          /* … a given intermediate; or … */
    const struct control_identities_secrets *secrets; /* … Secrets of the API server; exactly one of the three */
    const char *bundle_file;         /* where the trust bundle is written; NULL: root-cert.pem in ca_dir */
    const char *trust_domain;        /* NULL: cluster.local */
    const char *const *server_names; /* ends with NULL; NULL or empty: FL_CONTROL_NAME, localhost, 127.0.0.1, ::1 */
    const char *token_dir;           /* whose key proves tokens; or … */
    struct control_authenticator *authenticator;        /* … who judges them: taken over, also on failure */
    const char *token_audience;                         /* NULL: FL_TOKEN_AUDIENCE */
    uint32_t validity_s, overlap_s;                     /* authority.h */
    uint32_t peer_rate, identity_rate;                  /* UINT32_MAX: no bound; 0: the default above */
    void (*on_bundle)(void *owner, struct fl_span pem); /* the trust bundle is this from now on; NULL: nobody asks */
    void (*on_serving)(void *owner); /* the server's TLS is there (again): the first time the program is ready */
    void *owner;
};

/* 0, -EINVAL with the option's name, -ENOMEM. */
int control_identities_new(const struct control_identities_options *options, struct control_identities **ret_identities,
                           struct fl_err *err) FL_MUST_CHECK;
struct control_identities *control_identities_free(struct control_identities *identities); /* after the server */

void control_identities_method(struct control_identities *identities, struct fl_grpc_method *ret_method);
struct control_authenticator *control_identities_authenticator(struct control_identities *identities);
/* Its TLS, now and after each change; before the loop runs. */
void control_identities_attach(struct control_identities *identities, struct fl_grpc_server *server);
void control_identities_reload(struct control_identities *identities); /* SIGHUP */

#endif
