/* A signed token in its compact form (RFC 7515 §7.1: header.payload.signature), cut and decoded. Says nothing on
 * whether it is true: see jwt.h.
 *
 * Strict: base64url without padding, white space or loose bits at the end; header and payload are JSON objects with
 * each name once (common/doc/json.h); alg is RS256 or ES256; crit is refused, since we know no extension.
 */
#ifndef PROXY_POLICY_JWS_H
#define PROXY_POLICY_JWS_H

#include "common/doc/json.h"
#include "common/jose/jwks.h"

#define PROXY_JWT_BYTES_MAX 8192 /* of a token */

/* Why a token is refused: X(id, word, text). The word goes to metrics, the text to the caller and, with '_' for blanks,
 * to the access log's details. In Envoy's words where it has some. Later ones say more: of several failures the
 * greatest is told. */
#define PROXY_JWT_FAILURES(X)                                                                                          \
    X(MISSING, "missing", "Jwt is missing")                                                                            \
    X(ISSUER, "issuer", "Jwt issuer is not configured")                                                                \
    X(SIZE, "size", "Jwt is too long")                                                                                 \
    X(SEVERAL, "several", "Jwt is given more than once")                                                               \
    X(FORM, "form", "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")                 \
    X(HEADER, "header", "Jwt header is an invalid JSON")                                                               \
    X(PAYLOAD, "payload", "Jwt payload is an invalid JSON")                                                            \
    X(ALGORITHM, "algorithm", "Jwt header [alg] is not supported")                                                     \
    X(CRITICAL, "critical", "Jwt header [crit] is not supported")                                                      \
    X(KEY, "key", "Jwks doesn't have key to match kid or alg from Jwt")                                                \
    X(SIGNATURE, "signature", "Jwt verification fails")                                                                \
    X(NOT_YET, "not_yet", "Jwt not yet valid")                                                                         \
    X(EXPIRED, "expired", "Jwt is expired")                                                                            \
    X(LIFETIME, "lifetime", "Jwt lifetime exceeds what is allowed")                                                    \
    X(SUBJECT, "subject", "Jwt subject is not allowed")                                                                \
    X(AUDIENCE, "audience", "Audiences in Jwt are not allowed")                                                        \
    X(LIMIT, "limit", "too many Jwts")

enum proxy_jwt_failure { /* positive: 0 is success */
                         PROXY_JWT_GOOD,
#define X(id, word, text) PROXY_JWT_##id,
                         PROXY_JWT_FAILURES(X)
#undef X
                             PROXY_JWT_OUTCOMES
};

const char *proxy_jwt_word(enum proxy_jwt_failure failure); /* "good" for GOOD */
const char *proxy_jwt_text(enum proxy_jwt_failure failure);

struct proxy_jws {
    struct fl_span signed_part;  /* of the token: "header.payload" */
    struct fl_span payload_part; /* of the token: the payload, encoded */
    struct fl_buf signature;     /* owned, decoded */
    struct fl_span kid;          /* in the header; empty: none */
    enum fl_jwk_algorithm algorithm;
    struct fl_json *header, *payload; /* owned: objects */
};

/* GOOD, a positive failure (FORM, SIZE, HEADER, PAYLOAD, ALGORITHM, CRITICAL), or -ENOMEM. *ret_jws is set where it is
 * GOOD alone; it borrows from `token`. */
int proxy_jws_parse(struct fl_span token, struct proxy_jws *ret_jws) FL_MUST_CHECK;
void proxy_jws_done(struct proxy_jws *jws); /* zeroed is fine */

#endif
