/* Private keys (OpenSSL 3). EC P-256 is what the mesh makes; what it reads from files may be any EC or RSA key ≥ 2048.
 */
#ifndef FL_PKI_KEY_H
#define FL_PKI_KEY_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct fl_key; /* opaque: an EVP_PKEY */

int fl_key_generate(struct fl_key **ret_key, struct fl_err *err) FL_MUST_CHECK; /* P-256 */
/* PEM, PKCS#8 or the traditional forms, not encrypted. -EINVAL: malformed or too weak (RSA < 2048, curves < 256 bits).
 */
int fl_key_parse(struct fl_span pem, struct fl_key **ret_key, struct fl_err *err) FL_MUST_CHECK;
int fl_key_print(const struct fl_key *key, struct fl_buf *out) FL_MUST_CHECK; /* PKCS#8 PEM */
struct fl_key *fl_key_ref(struct fl_key *key);
struct fl_key *fl_key_unref(struct fl_key *key); /* returns NULL */
void fl_cleanup_key(struct fl_key **key);

#endif
