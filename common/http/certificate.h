/* A certificate chain with its key in GnuTLS's form. Counted: a handshake that began under the old pair ends under it.
 */
#ifndef FL_HTTP_CERTIFICATE_H
#define FL_HTTP_CERTIFICATE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

struct gnutls_pcert_st;
struct gnutls_privkey_st;
struct fl_http_certificate;

/* -EINVAL with the reason: malformed, or the key is not the leaf's; -ENOMEM. */
int fl_http_certificate_new(struct fl_span cert_pem, struct fl_span key_pem,
                            struct fl_http_certificate **ret_certificate, struct fl_err *err) FL_MUST_CHECK;
struct fl_http_certificate *fl_http_certificate_ref(struct fl_http_certificate *certificate);
struct fl_http_certificate *fl_http_certificate_unref(struct fl_http_certificate *certificate); /* returns NULL */

/* As gnutls_certificate_retrieve_function2 wants them; borrowed. */
void fl_http_certificate_lend(struct fl_http_certificate *certificate, struct gnutls_pcert_st **ret_chain,
                              unsigned *ret_count, struct gnutls_privkey_st **ret_key);

#endif
