/* fairlead-control as a whole: a source, the model, the ADS server, the pages of the HTTP port, status files; until a
 * signal ends it. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "common/base/err.h"

#include <stdint.h>

#define CONTROL_LISTEN_DEFAULT "[::]:15012"
#define CONTROL_HTTP_DEFAULT   "[::]:15014"
#define CONTROL_NAMES_MAX      32

#define CONTROL_CA_SECRET      "fairlead-ca"
#define CONTROL_CACERTS_SECRET "cacerts"

struct control_options {
    const char *source;           /* "directory:PATH", or "kubernetes" */
    const char *kubeconfig;       /* of the API server; NULL: the pod's service account */
    const char *context;          /* of the kubeconfig; NULL: its current one */
    const char *name_space;       /* of the installation; NULL: the service account's, or context's, or the default */
    const char *listen;           /* xDS and certificates over TLS; NULL: not at all */
    const char *listen_plaintext; /* xDS without TLS, a loopback address; NULL: not at all */
    const char *http;             /* health, metrics, debug pages; NULL: not at all */
    const char *status;           /* folder of status files; NULL: none are written */

    /* The source "kubernetes" alone; NULL or 0: the default. */
    const char *ca_secret, *cacerts_secret; /* where neither ca_dir nor ca_cert_dir is given */
    const char *bundle_configmap, *lease;
    const char *revision; /* of several, FL_REVISION_DEFAULT leads where it is there; NULL: that one */
    uint32_t lease_s, ca_root_life_s, ca_look_ms;

    /* Identities (ca/identities.h); none of these, and no Secret: no certificates, and no TLS. */
    const char *ca_dir, *ca_cert_dir;
    const char *ca_bundle;
    const char *trust_domain;
    const char *server_names[CONTROL_NAMES_MAX + 1]; /* ends with NULL */
    const char *token_dir, *token_audience;
    uint32_t budget_mib;                           /* of what proxies' streams take; 0: the default */
    uint32_t certificate_validity_s, ca_overlap_s; /* 0: the default */
    uint32_t peer_rate, identity_rate;             /* certificates a second; UINT32_MAX: no bound; 0: the default */
};

/* Returns when it has been drained after SIGTERM or SIGINT (0), or could not start (a negative errno, with the reason).
 * The log line "ready" tells the ports. */
int control_run(const struct control_options *options, struct fl_err *err);

#endif
