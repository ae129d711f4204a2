/* A JSON Web Key Set (RFC 7517): the public keys of one issuer. Immutable.
 *
 * Taken are keys of kty RSA for RS256 and of kty EC, crv P-256 for ES256: the algorithm is the key's, a token does not
 * choose it. Left out without a word are keys for something else (use "enc", key_ops without verify, another alg, kty
 * or crv); a key of ours that is malformed or weak, two keys of one kid and algorithm, or a set without a usable key is
 * an error.
 */
#ifndef FL_JOSE_JWKS_H
#define FL_JOSE_JWKS_H

#include "common/pki/key.h"

#define FL_JWKS_BYTES_MAX 65536
#define FL_JWKS_KEYS_MAX  64
#define FL_JWK_KID_MAX    256

enum fl_jwk_algorithm { FL_JWK_RS256, FL_JWK_ES256 };

struct fl_jwk {
    struct fl_span kid; /* empty: none */
    enum fl_jwk_algorithm algorithm;
    struct fl_key *key;
};

struct fl_jwks {
    size_t count;
    struct fl_jwk *keys; /* owned, with what they point to */
};

/* 0, -EINVAL or -EMSGSIZE with the reason ("keys[2].n: …"), -ENOMEM. */
int fl_jwks_parse(struct fl_span text, struct fl_jwks **ret_jwks, struct fl_err *err) FL_MUST_CHECK;
struct fl_jwks *fl_jwks_free(struct fl_jwks *jwks); /* accepts and returns NULL */

#endif
