/* Tokens and key sets for tests, made by OpenSSL itself: an issuer with an RSA and an EC key. Everything asserts. */
#ifndef TESTS_UNIT_COMMON_JWT_MAKER_H
#define TESTS_UNIT_COMMON_JWT_MAKER_H

#include "common/base/buf.h"

struct evp_pkey_st;

struct jwt_maker {
    struct evp_pkey_st *rsa, *ec;
};

void jwt_maker_init(struct jwt_maker *maker);
void jwt_maker_done(struct jwt_maker *maker);

/* The public keys, with kid "rsa" and "ec". Owned: free(). */
char *jwt_maker_jwks(const struct jwt_maker *maker);
/* One key as a JWK without kid; `more` goes in as it is (",\"kid\":\"x\""). Owned. */
char *jwt_maker_jwk(struct evp_pkey_st *key, const char *more);

/* header.payload.signature, by RS256 with an RSA key, ES256 with an EC key. Owned. */
char *jwt_sign(struct evp_pkey_st *key, const char *header, const char *payload);
/* The same, with this signature, already encoded. */
char *jwt_join(const char *header, const char *payload, const char *signature);
/* ES256's signature as DER, which is what a careless signer writes. */
char *jwt_sign_der(struct evp_pkey_st *key, const char *header, const char *payload);
/* HS256 with these bytes as its secret. */
char *jwt_sign_hmac(struct fl_span secret, const char *header, const char *payload);

#endif
