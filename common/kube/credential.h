/* What a client shows and trusts: bytes that stay, or files that are read again when they change. Private to this
 * folder. */
#ifndef FL_KUBE_CREDENTIAL_H
#define FL_KUBE_CREDENTIAL_H

#include "common/base/err.h"
#include "common/base/reread.h"
#include "common/kube/access.h"

struct fl_kube_credential {
    struct fl_reread ca, cert, key, token; /* of those that are files */
};

/* Reads all for the first time: any that cannot be read fails. `access` outlives it, and owns the paths. */
int fl_kube_credential_init(struct fl_kube_credential *credential, const struct fl_kube_access *access,
                            struct fl_err *err) FL_MUST_CHECK;
void fl_kube_credential_done(struct fl_kube_credential *credential);

/* Looks whether files have changed; what cannot be read stays as it was. */
void fl_kube_credential_look(struct fl_kube_credential *credential, bool force);

/* Empty: there is none. */
struct fl_span fl_kube_material(const struct fl_kube_material *material, const struct fl_reread *file);
/* The token without the white space around it, which a file may have. */
struct fl_span fl_kube_token(const struct fl_kube_credential *credential, const struct fl_kube_access *access);

#endif
