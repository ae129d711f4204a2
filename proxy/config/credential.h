/* A key with its certificate and the roots that came with it: checked, and kept in a file of the memory volume so that
 * a restart finds them. Pure but for that file. */
#ifndef PROXY_CONFIG_CREDENTIAL_H
#define PROXY_CONFIG_CREDENTIAL_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "proxy/config/identity.h"

#define PROXY_CREDENTIAL_PART_MAX 65536 /* bytes of key, chain or roots */
#define PROXY_CREDENTIAL_FILE     "identity.pem"
#define PROXY_CREDENTIAL_FILE_MAX (3 * PROXY_CREDENTIAL_PART_MAX + 256)

struct proxy_credential {
    struct fl_buf text;               /* owned: key, chain and roots lie in it */
    struct fl_span key, chain, roots; /* PEM */
    struct fl_span uri;               /* into `uri_text` */
    char *uri_text;
    time_t not_before, not_after;
};

void proxy_credential_done(struct proxy_credential *credential); /* wipes the key; a zeroed one is fine */

/* Takes copies of the three PEM texts where they are good at `now`: the key is the leaf's, the leaf an X.509-SVID named
 * `uri` (empty: any), its chain leads to one of the roots. 0; -EINVAL, -EACCES with the reason; -ENOMEM. */
int proxy_credential_take(struct fl_span key, struct fl_span chain, struct fl_span roots, struct fl_span uri,
                          time_t now, struct proxy_credential *ret_credential, struct fl_err *err) FL_MUST_CHECK;

/* As text and back: a line of lengths and a checksum, then the three parts. The checksum finds what a full volume or a
 * crash did, not what somebody with write access wants. Reading checks as proxy_credential_take does. */
int proxy_credential_print(const struct proxy_credential *credential, struct fl_buf *out) FL_MUST_CHECK;
int proxy_credential_read(struct fl_span text, struct fl_span uri, time_t now, struct proxy_credential *ret_credential,
                          struct fl_err *err) FL_MUST_CHECK;

/* The file of a volume: 0600, replaced whole; one that others may read is refused. Load: -ENOENT where there is none.
 */
int proxy_credential_store(const struct proxy_credential *credential, const char *volume,
                           struct fl_err *err) FL_MUST_CHECK;
int proxy_credential_load(const char *volume, struct fl_span uri, time_t now, struct proxy_credential *ret_credential,
                          struct fl_err *err) FL_MUST_CHECK;

#endif
