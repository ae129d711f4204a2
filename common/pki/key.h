/* Keys (OpenSSL 3). EC P-256 is what the mesh makes; what it reads may be EC on P-256, P-384 or P-521, or RSA of 2048
 * to 8192 bits. Immutable; the count is atomic, so that threads may share one.
 */
#ifndef FL_PKI_KEY_H
#define FL_PKI_KEY_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_KEY_PEM_MAX    16384 /* bytes of a PEM text */
#define FL_KEY_PUBLIC_MAX 2048  /* bytes of a public key as DER: RSA of 8192 bits has 1,062 */

struct fl_key; /* opaque: an EVP_PKEY */

int fl_key_generate(struct fl_key **ret_key, struct fl_err *err) FL_MUST_CHECK; /* P-256 */
/* A private key: PEM, PKCS#8 or the traditional forms, not encrypted; blocks of other kinds before it are skipped.
 * -EINVAL: malformed, encrypted, of another kind or strength; -ENOMEM. */
int fl_key_parse(struct fl_span pem, struct fl_key **ret_key, struct fl_err *err) FL_MUST_CHECK;
/* Appends PKCS#8 PEM. -EINVAL for a key that holds no private part (fl_csr_parse), -EMSGSIZE, -ENOMEM. */
int fl_key_print(const struct fl_key *key, struct fl_buf *out) FL_MUST_CHECK;
/* The public part alone, DER (SubjectPublicKeyInfo), appended: -EMSGSIZE, -ENOMEM. And read, to its last byte, by the
 * rules of fl_key_parse: -EINVAL, -ENOMEM. */
int fl_key_print_public(const struct fl_key *key, struct fl_buf *out) FL_MUST_CHECK;
int fl_key_parse_public(struct fl_span der, struct fl_key **ret_key, struct fl_err *err) FL_MUST_CHECK;
struct fl_key *fl_key_ref(struct fl_key *key);
struct fl_key *fl_key_unref(struct fl_key *key); /* returns NULL */
void fl_cleanup_key(struct fl_key **key);

#endif
