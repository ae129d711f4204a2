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

#include "common/jose/jwks.h"
#include "proxy/http/message.h"
#include "proxy/policy/claims.h"
#include "proxy/policy/jws.h"
#include "proxy/route/match.h"

#define PROXY_JWT_PROVIDERS_MAX    64
#define PROXY_JWT_REQUIREMENTS_MAX 1024 /* of one filter, all levels */
#define PROXY_JWT_DEPTH_MAX        8    /* any, all inside each other */
#define PROXY_JWT_AUDIENCES_MAX    100  /* of a token; more fail it */
#define PROXY_JWT_CLOCK_SKEW_S     60   /* where the provider names none */

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
