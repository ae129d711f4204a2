/* JWT authentication at work: proxy/policy/jwt.h over requests. Puts the claims of good tokens where rules find them
 * (exchange->claims), takes the fields away that only it may write (forward_payload_header, claim_to_headers), and
 * writes them; removes tokens that do not go on. Refused: 401 with www-authenticate.
 *
 * A request that is judged again and is not known any more (http/keep.h) brings no token, and might be any rule's: it
 * goes on only where none of them refuses a request without one.
 */
#ifndef PROXY_FILTER_JWT_H
#define PROXY_FILTER_JWT_H

#include "proxy/filter/chain.h"
#include "proxy/policy/jwt.h"

struct proxy_jwt_filter {
    const struct proxy_jwt_provider *providers;
    size_t provider_count; /* ≤ PROXY_JWT_PROVIDERS_MAX */
    /* Rules as a route table of one virtual host, so that a rule's match is a route's: route i belongs to
     * requirements[i]. Held by the snapshot. What no rule matches needs no token. */
    const struct proxy_route_table *rules;
    const struct proxy_jwt_requirement *requirements;
    size_t requirement_count;
    bool bypass_cors_preflight;
    bool strip_failure_response; /* 401 says nothing of why */
};

extern const struct proxy_http_filter_ops proxy_jwt_ops; /* config: struct proxy_jwt_filter */

#endif
