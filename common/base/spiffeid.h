/* The syntax of a SPIFFE ID (SPIFFE-ID §2), pure text: what pki reads in certificates and mesh makes of names. It
 * stands here because those two are siblings, which do not include each other. */
#ifndef FL_BASE_SPIFFEID_H
#define FL_BASE_SPIFFEID_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define FL_SPIFFE_ID_MAX           2048 /* bytes (§2.3) */
#define FL_SPIFFE_TRUST_DOMAIN_MAX 255

/* Any valid SPIFFE ID: the scheme in lower case, a trust domain of lower-case letters, digits, '-', '.', '_', a path
 * (it may be absent) without empty, "." or ".." segments and without a slash at its end; no query, fragment, port,
 * userinfo or percent-encoding. *ret_trust_domain (NULL allowed) points into `uri`. 0 or -EINVAL with the reason. */
int fl_spiffe_check(struct fl_span uri, struct fl_span *ret_trust_domain, struct fl_err *err) FL_MUST_CHECK;

#endif
