/* Identities as text: spiffe://<trust domain>/ns/<namespace>/sa/<service account> (SPIFFE-ID §2, Istio's path form). */
#ifndef FL_MESH_IDENTITY_H
#define FL_MESH_IDENTITY_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/spiffeid.h" /* fl_spiffe_check: the syntax of any SPIFFE ID */

#define FL_IDENTITY_MAX              FL_SPIFFE_ID_MAX
#define FL_IDENTITY_TRUST_DOMAIN_MAX FL_SPIFFE_TRUST_DOMAIN_MAX
#define FL_TRUST_DOMAIN_DEFAULT      "cluster.local"

struct fl_identity {                /* spans into the text that was parsed */
    struct fl_span trust_domain;    /* lower-case letters, digits, '-', '.', '_' */
    struct fl_span name_space;      /* a DNS-1123 label */
    struct fl_span service_account; /* a DNS-1123 subdomain */
};

/* A SPIFFE ID of our path form. 0 or -EINVAL. */
int fl_identity_parse(struct fl_span uri, struct fl_identity *ret_identity, struct fl_err *err) FL_MUST_CHECK;

/* Appends the URI; every part is checked. 0, -EINVAL, -EMSGSIZE, -ENOMEM. */
int fl_identity_print(const struct fl_identity *identity, struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;

#endif
