/* What a policy may look at: facts of a connection and, where there is one, of a request. Borrowed, all of them, for
 * the length of a call; plain data, so that the same facts can be judged again by another policy at any time.
 */
#ifndef PROXY_POLICY_FACT_H
#define PROXY_POLICY_FACT_H

#include "proxy/http/message.h"
#include "proxy/net/address.h"
#include "proxy/policy/claims.h"

struct proxy_facts {
    const struct proxy_address *direct_source; /* who connected; NULL: not known */
    const struct proxy_address *source;        /* the client, as trusted proxies tell it; NULL: as direct_source */
    const struct proxy_address *destination;   /* the original one; NULL: not known */
    struct fl_span identity;                   /* the SPIFFE ID that was verified; empty: nobody's */
    struct fl_span server_name;                /* SNI; empty: none */
    const struct proxy_message *request;       /* NULL: no HTTP, or not known (any more): what asks for it errs */
    bool path_doubtful; /* the path is not in the one form that is checked (http/path.h): what asks for it errs */
    const struct proxy_claims *claims; /* of verified tokens; NULL: none */
};

#endif
