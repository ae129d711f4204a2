/* The secret of the admin port: who changes something there shows that he can read the sidecar's volume, which no app
 * mounts. Everybody in the pod's network namespace reaches 127.0.0.1:15000, whatever his uid.
 *
 * Made by the proxy at its start: 32 random bytes as hex in <folder>/admin-secret, 0600, replaced whole. Sent as the
 * header x-fairlead-admin-secret by `fairlead-proxy drain` and by operators (docs/admin.md). Compared in constant time.
 */
#ifndef PROXY_ADMIN_ADMINSECRET_H
#define PROXY_ADMIN_ADMINSECRET_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define PROXY_ADMIN_SECRET_HEADER "x-fairlead-admin-secret"
#define PROXY_ADMIN_SECRET_FILE   "admin-secret"
#define PROXY_ADMIN_SECRET_LENGTH 64u /* characters */

struct proxy_admin_secret { /* zeroed: none, which nothing matches */
    char text[PROXY_ADMIN_SECRET_LENGTH + 1];
};

/* Makes one and puts it into the folder's file. 0, or a negative errno with the reason: then there is none. */
int proxy_admin_secret_make(const char *folder, struct proxy_admin_secret *ret_secret,
                            struct fl_err *err) FL_MUST_CHECK;
/* The folder's. 0, -ENOENT … with the reason; -EPROTO: not a secret. */
int proxy_admin_secret_read(const char *folder, struct proxy_admin_secret *ret_secret,
                            struct fl_err *err) FL_MUST_CHECK;
/* The time that it takes depends on the lengths alone. */
bool proxy_admin_secret_matches(const struct proxy_admin_secret *secret, struct fl_span shown);

#endif
