/* Signed tokens in their compact form (RFC 7515 §7.1: header.payload.signature): cut and decoded, the signature checked
 * by a key set, and those claims that every JWT may have (RFC 7519 §4.1). Which issuer, audience or subject counts is
 * the caller's to say.
 *
 * Strict: base64url without padding, white space or loose bits at the end; header and payload are JSON objects with
 * each name once (common/doc/json.h); alg is RS256 or ES256; crit is refused, since we know no extension.
 */
#ifndef FL_JOSE_JWS_H
#define FL_JOSE_JWS_H

#include "common/doc/json.h"
#include "common/jose/jwks.h"

#define FL_JWS_BYTES_MAX     8192 /* of a token */
#define FL_JWS_AUDIENCES_MAX 100  /* of a token; more are none */

enum fl_jws_failure { /* positive: 0 is success */
                      FL_JWS_GOOD,
                      FL_JWS_SIZE,      /* longer than FL_JWS_BYTES_MAX */
                      FL_JWS_FORM,      /* not three parts, or one is no base64url */
                      FL_JWS_HEADER,    /* no JSON object */
                      FL_JWS_PAYLOAD,   /* no JSON object; or a time that is none */
                      FL_JWS_ALGORITHM, /* another one */
                      FL_JWS_CRITICAL,
                      FL_JWS_KEY, /* none of the set fits */
                      FL_JWS_SIGNATURE,
                      FL_JWS_NOT_YET,
                      FL_JWS_EXPIRED,
                      FL_JWS_FAILURES
};

struct fl_jws {
    struct fl_span signed_part;  /* of the token: "header.payload" */
    struct fl_span payload_part; /* of the token: the payload, encoded */
    struct fl_buf signature;     /* owned, decoded */
    struct fl_span kid;          /* in the header; empty: none */
    enum fl_jwk_algorithm algorithm;
    struct fl_json *header, *payload; /* owned: objects */
};

/* GOOD, SIZE, FORM, HEADER, PAYLOAD, ALGORITHM, CRITICAL, or -ENOMEM. *ret_jws is set where it is GOOD alone; it
 * borrows from `token`. Nothing is verified yet. */
int fl_jws_parse(struct fl_span token, struct fl_jws *ret_jws) FL_MUST_CHECK;
void fl_jws_done(struct fl_jws *jws); /* zeroed is fine */

/* By the keys that fit: of the token's algorithm, and of its kid where both have one. GOOD, KEY, SIGNATURE, or -ENOMEM,
 * -EIO. */
int fl_jws_verify(const struct fl_jws *jws, const struct fl_jwks *keys) FL_MUST_CHECK;

struct fl_jws_times { /* seconds since the epoch, whole or not */
    double expires;   /* INFINITY: none is said */
    double issued;    /* `now` where none is said */
};

/* exp and nbf, with `skew_s` for clocks that differ. GOOD, PAYLOAD (another type), NOT_YET, EXPIRED. */
int fl_jws_check_times(const struct fl_json *payload, int64_t now_s, unsigned skew_s,
                       struct fl_jws_times *ret_times) FL_MUST_CHECK;

/* "aud", a text or a list of them, has one of these. Byte by byte. */
bool fl_jws_has_audience(const struct fl_json *payload, const struct fl_span *wanted, size_t count);

#endif
