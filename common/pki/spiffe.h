/* X.509-SVID rules (SPIFFE X509-SVID §2–5): exactly one URI name, a valid SPIFFE ID; a leaf is no CA. */
#ifndef FL_PKI_SPIFFE_H
#define FL_PKI_SPIFFE_H

#include "common/base/err.h"
#include "common/base/span.h"

struct x509_st;

/* The SPIFFE ID of an OpenSSL certificate (for common/tls); *ret_uri points into the certificate. 0 or -EINVAL with the
 * reason: no URI name, more than one, a NUL inside, not a SPIFFE ID, a CA certificate. */
int fl_spiffe_of(const struct x509_st *certificate, struct fl_span *ret_uri, struct fl_err *err);

#endif
