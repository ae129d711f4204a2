/* Claims of verified tokens, as rules read them ("dynamic metadata" of envoy.filters.http.jwt_authn): a small list of
 * payloads by key. A payload is a JSON object, immutable and counted, so that a cache and a request may share one. Of
 * one thread.
 */
#ifndef PROXY_POLICY_CLAIMS_H
#define PROXY_POLICY_CLAIMS_H

#include "common/doc/json.h"

#define PROXY_CLAIMS_MAX       8 /* payloads of one request; more verified tokens than that fail it */
#define PROXY_CLAIMS_NAMESPACE "envoy.filters.http.jwt_authn"

struct proxy_payload {
    struct fl_json *root; /* owned: an object */
    int64_t expires_s;    /* "exp" with the provider's clock skew; INT64_MAX: never */
    unsigned references;
};

/* Takes `root`, also when memory is out (NULL then). */
struct proxy_payload *proxy_payload_new(struct fl_json *root, int64_t expires_s);
struct proxy_payload *proxy_payload_ref(struct proxy_payload *payload);
struct proxy_payload *proxy_payload_unref(struct proxy_payload *payload); /* accepts and returns NULL */

struct proxy_claims {
    size_t count;
    struct {
        struct fl_span key; /* payload_in_metadata: of the configuration, which lives longer */
        struct proxy_payload *payload;
    } list[PROXY_CLAIMS_MAX];
};

/* Takes a reference. A key that is there is replaced. 0, or -E2BIG. */
int proxy_claims_put(struct proxy_claims *claims, struct fl_span key, struct proxy_payload *payload) FL_MUST_CHECK;
void proxy_claims_done(struct proxy_claims *claims); /* zeroed is fine; empty afterwards */
/* The payload of that key; NULL: none. `claims` may be NULL. */
const struct fl_json *proxy_claims_get(const struct proxy_claims *claims, struct fl_span key);

#endif
