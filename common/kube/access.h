/* How an API server is reached and who asks: what a kubeconfig's context or a pod's service account says, before any
 * of it is used. Paths are absolute or as the process sees them; files are read (and read again) by the client. */
#ifndef FL_KUBE_ACCESS_H
#define FL_KUBE_ACCESS_H

#include "common/base/buf.h"
#include "common/kube/plugin.h"

#define FL_KUBE_HEADERS_MAX    64          /* of impersonation */
#define FL_KUBE_CREDENTIAL_MAX (1u << 20)  /* bytes of a CA bundle, a certificate chain or a key */
#define FL_KUBE_TOKEN_MAX      (16u << 10) /* bytes of a bearer token */

/* A file or the bytes themselves; both empty: there is none. */
struct fl_kube_material {
    char *file;        /* owned; NULL: the bytes count */
    struct fl_buf pem; /* of the token: its text */
};

struct fl_kube_access {
    char *server;                 /* "https://10.0.0.1:443", "https://[::1]:6443/prefix"; no '/' at its end */
    char *tls_server_name;        /* SNI, and the name that the certificate must have; NULL: the URL's host */
    char *name_space;             /* of the context or of the service account; NULL: none was said */
    char *proxy;                  /* "http://", "https://" or "socks5://host:port" to go through; NULL: straight */
    struct fl_kube_material ca;   /* none: the machine's roots */
    struct fl_kube_material cert; /* the client's; with `key` or not at all */
    struct fl_kube_material key;
    struct fl_kube_material token;
    char **headers; /* "Impersonate-User: jane" …: as whom we ask to be treated */
    size_t header_count;
    struct fl_kube_plugin *plugin;         /* owned; what it answers becomes token, cert and key. NULL: none */
    const struct fl_kube_starter *starter; /* not NULL where there is a plugin */
    bool insecure; /* the server's certificate is not verified: only because a kubeconfig said so */
};

void fl_kube_access_done(struct fl_kube_access *access); /* secrets are overwritten; a zeroed one is fine */

#endif
