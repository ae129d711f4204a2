/* JWT authentication (Envoy's jwt_authn): providers, what a request has to bring, and the check itself. Pure but for
 * the cache that is handed in.
 *
 * A provider is an issuer with its keys and the places where its tokens stand in a request. A token is good where its
 * signature is by a key of the provider (the kid's, where the token names one), its issuer, audience, subject and times
 * are as the provider wants them. exp and nbf are whole or fractional seconds; a claim of another type fails the
 * token. Audiences are compared byte by byte.
 *
 * A request with several, different tokens in the places of one provider is refused: nobody could say which one the
 * application will read.
 */
#ifndef PROXY_POLICY_JWT_H
#define PROXY_POLICY_JWT_H

#include "common/jose/jws.h"
#include "proxy/http/message.h"
#include "proxy/policy/claims.h"
#include "proxy/route/match.h"

#define PROXY_JWT_PROVIDERS_MAX    64
#define PROXY_JWT_REQUIREMENTS_MAX 1024 /* of one filter, all levels */
#define PROXY_JWT_DEPTH_MAX        8    /* any, all inside each other */
#define PROXY_JWT_CLOCK_SKEW_S     60   /* where the provider names none */

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

struct proxy_jwt_header {
    struct fl_span name;
    struct fl_span prefix; /* of the value, without regard to case: "Bearer " */
};

struct proxy_jwt_claim_header {
    struct fl_span name;
    const struct fl_span *claim; /* steps: claim_name cut at its dots */
    size_t claim_count;
};

struct proxy_jwt_provider {
    uint64_t id; /* of this process, never used twice: the cache's key */
    struct fl_span name;
    struct fl_span issuer;           /* empty: any */
    const struct fl_span *audiences; /* none: any */
    size_t audience_count;
    bool has_subjects;
    struct proxy_string_match subjects;
    bool require_expiration;
    uint64_t max_lifetime_s; /* exp - iat (without iat: exp - now); 0: no limit */
    uint32_t clock_skew_s;
    const struct fl_jwks *keys; /* held by the snapshot */
    const struct proxy_jwt_header *headers;
    size_t header_count;
    const struct fl_span *params; /* of the query */
    size_t param_count;
    bool forward; /* the token goes on to the application */
    struct fl_span payload_header;
    bool payload_header_padded;
    struct fl_span metadata_key;           /* payload_in_metadata; empty: claims are not kept */
    const struct fl_span *space_delimited; /* claims whose text becomes a list of words */
    size_t space_delimited_count;
    const struct proxy_jwt_claim_header *claim_headers;
    size_t claim_header_count;
};

/* One token against one provider. `audiences`: instead of the provider's (NULL: the provider's). GOOD with an owned
 * payload, a positive failure, or -ENOMEM, -EIO (which count as failures, too). */
int proxy_jwt_verify(const struct proxy_jwt_provider *provider, const struct fl_span *audiences, size_t audience_count,
                     struct fl_span token, int64_t now_s, struct proxy_payload **ret_payload) FL_MUST_CHECK;

/* The provider's token in the request: GOOD with its span, MISSING, SEVERAL. */
enum proxy_jwt_failure proxy_jwt_find(const struct proxy_jwt_provider *provider, const struct proxy_message *request,
                                      struct fl_span *ret_token);

/* -- what a request has to bring -- */

enum proxy_jwt_kind {
    PROXY_JWT_NOTHING,                 /* no token is asked for, none is looked at */
    PROXY_JWT_PROVIDER,                /* a good token of `provider` */
    PROXY_JWT_ANY,                     /* one of `list` */
    PROXY_JWT_ALL,                     /* all of `list` */
    PROXY_JWT_ALLOW_MISSING,           /* no token, or a good one of any provider */
    PROXY_JWT_ALLOW_MISSING_OR_FAILED, /* whatever there is; good ones count */
};

struct proxy_jwt_requirement {
    enum proxy_jwt_kind kind;
    const struct proxy_jwt_provider *provider;
    const struct fl_span *audiences; /* provider_and_audiences; NULL: the provider's */
    size_t audience_count;
    const struct proxy_jwt_requirement *list;
    size_t count;
};

struct proxy_jwt_cache; /* jwt_cache.h */

struct proxy_jwt_found { /* a good token */
    const struct proxy_jwt_provider *provider;
    struct fl_span token;
    struct proxy_payload *payload; /* a reference */
};

/* One request under judgement. */
struct proxy_jwt_case {
    const struct proxy_jwt_provider *providers; /* of the filter */
    size_t provider_count;
    const struct proxy_message *request;
    int64_t now_s;
    struct proxy_jwt_cache *cache;                 /* NULL: none */
    struct proxy_jwt_found good[PROXY_CLAIMS_MAX]; /* what was found, each provider once */
    size_t good_count;
};

/* GOOD, or why not. Fails closed: memory that is out is SIGNATURE. */
enum proxy_jwt_failure proxy_jwt_judge(const struct proxy_jwt_requirement *requirement, struct proxy_jwt_case *request);
void proxy_jwt_case_done(struct proxy_jwt_case *request);

#endif
