/* Signatures as JOSE has them (RFC 7518): ES256 (§3.4), ECDSA on P-256 with SHA-256, the signature as the 64 bytes r
 * and s; RS256 (§3.3), RSASSA-PKCS1-v1_5 with SHA-256, which is checked only. The algorithm is bound to the key by
 * whoever calls, never by what a signature or a token says of itself. */
#ifndef FL_PKI_SIGNATURE_H
#define FL_PKI_SIGNATURE_H

#include "common/pki/key.h"

#define FL_SIGNATURE_SIZE 64

/* 0; -EINVAL: a key of another kind, or without its private part; -ENOMEM. */
int fl_signature_make(const struct fl_key *key, struct fl_span message, unsigned char ret_signature[FL_SIGNATURE_SIZE],
                      struct fl_err *err) FL_MUST_CHECK;
/* 0; -EACCES: not the signature of this key over this message; -EINVAL: a key of another kind; -ENOMEM. */
int fl_signature_check(const struct fl_key *key, struct fl_span message, struct fl_span signature) FL_MUST_CHECK;

/* RS256. As fl_signature_check; the signature is as long as the modulus. */
int fl_signature_check_rs256(const struct fl_key *key, struct fl_span message, struct fl_span signature) FL_MUST_CHECK;

#endif
