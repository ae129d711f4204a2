/* X.509-SVID rules (SPIFFE X509-SVID §2–5): exactly one URI name, a valid SPIFFE ID with a path; a leaf is no CA and
 * may not sign certificates or CRLs. */
#ifndef FL_PKI_SPIFFE_H
#define FL_PKI_SPIFFE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

struct x509_st;

/* The SPIFFE ID of an OpenSSL certificate (for common/tls); *ret_uri points into the certificate (which OpenSSL may
 * mark, so it is not const). 0 or -EINVAL with the reason: no URI name, more than one, a NUL inside, not a SPIFFE ID,
 * one without a path, a CA certificate. Says nothing on who issued it: verify the chain first. */
int fl_spiffe_of(struct x509_st *certificate, struct fl_span *ret_uri, struct fl_err *err) FL_MUST_CHECK;

#endif
