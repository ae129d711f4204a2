/* A JSON Web Key Set (RFC 7517): the public keys of one issuer. Immutable.
 *
 * Taken are keys of kty RSA for RS256 and of kty EC, crv P-256 for ES256: the algorithm is the key's, a token does not
 * choose it. Left out without a word are keys for something else (use "enc", key_ops without verify, another alg, kty
 * or crv); a key of ours that is malformed or weak, two keys of one kid and algorithm, or a set without a usable key is
 * an error.
 */
#ifndef PROXY_POLICY_JWKS_H
#define PROXY_POLICY_JWKS_H

#include "common/pki/key.h"

#define PROXY_JWKS_BYTES_MAX 65536
#define PROXY_JWKS_KEYS_MAX  64
#define PROXY_JWK_KID_MAX    256

enum proxy_jwt_algorithm { PROXY_JWT_RS256, PROXY_JWT_ES256 };

struct proxy_jwk {
    struct fl_span kid; /* empty: none */
    enum proxy_jwt_algorithm algorithm;
    struct fl_key *key;
};

struct proxy_jwks {
    size_t count;
    struct proxy_jwk *keys; /* owned, with what they point to */
};

/* 0, -EINVAL or -EMSGSIZE with the reason ("keys[2].n: …"), -ENOMEM. */
int proxy_jwks_parse(struct fl_span text, struct proxy_jwks **ret_jwks, struct fl_err *err) FL_MUST_CHECK;
struct proxy_jwks *proxy_jwks_free(struct proxy_jwks *jwks); /* accepts and returns NULL */

#endif
