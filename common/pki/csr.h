/* PKCS#10 requests: made by the proxy, checked by the issuer. */
#ifndef FL_PKI_CSR_H
#define FL_PKI_CSR_H

#include "common/pki/cert.h"

#define FL_CSR_PEM_MAX 16384

/* A request signed by `key` with the SPIFFE ID as its URI name, appended as PEM. */
int fl_csr_make(const struct fl_key *key, struct fl_span uri, struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;

/* Checks form and signature, and that the key is strong enough; gives the public key. Names and extensions of the
 * request are ignored: the issuer knows from elsewhere who asks. -EINVAL with the reason. */
int fl_csr_parse(struct fl_span pem, struct fl_key **ret_public_key, struct fl_err *err) FL_MUST_CHECK;

#endif
