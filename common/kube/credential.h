/* What a client shows and trusts: bytes that stay, files that are read again when they change, or what a plugin
 * answers, which is asked again when that has expired or was refused. Private to this folder. */
#ifndef FL_KUBE_CREDENTIAL_H
#define FL_KUBE_CREDENTIAL_H

#include "common/base/err.h"
#include "common/base/reread.h"
#include "common/kube/access.h"

struct fl_kube_credential {
    struct fl_reread ca, cert, key, token; /* of those that are files */
    int64_t expires;                       /* of the plugin's answer, seconds since 1970; 0: not said */
    bool renewed;                          /* it was asked again after a 401, and no request has passed since */
};

/* Reads all for the first time: any that cannot be read fails. `access` outlives it, owns the paths, and gets what the
 * plugin answers. */
int fl_kube_credential_init(struct fl_kube_credential *credential, struct fl_kube_access *access,
                            struct fl_err *err) FL_MUST_CHECK;
void fl_kube_credential_done(struct fl_kube_credential *credential);

/* Looks whether files have changed; what cannot be read stays as it was. */
void fl_kube_credential_look(struct fl_kube_credential *credential, bool force);

/* Asks the plugin again where its answer has expired, or was refused (a 401) and that may help. 0 also where there is
 * none; a negative errno of the plugin's. */
int fl_kube_credential_renew(struct fl_kube_credential *credential, struct fl_kube_access *access, bool refused,
                             struct fl_err *err) FL_MUST_CHECK;
/* Whether a 401 would make it ask again: once, until something else than a 401 is answered. */
bool fl_kube_credential_may_renew(const struct fl_kube_credential *credential, const struct fl_kube_access *access);

/* Empty: there is none. */
struct fl_span fl_kube_material(const struct fl_kube_material *material, const struct fl_reread *file);
/* The token without the white space around it, which a file may have. */
struct fl_span fl_kube_token(const struct fl_kube_credential *credential, const struct fl_kube_access *access);

#endif
