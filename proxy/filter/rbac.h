/* Authorization at work: the pure rules of proxy/policy/rbac.h over connections and requests. Counts every decision,
 * tells the log of what a shadow rule would have denied (a few lines at a time).
 */
#ifndef PROXY_FILTER_RBAC_H
#define PROXY_FILTER_RBAC_H

#include "proxy/filter/chain.h"
#include "proxy/policy/rbac.h"

/* HTTP; config: struct proxy_rbac_filter. Denied: 403, "RBAC: access denied". */
extern const struct proxy_http_filter_ops proxy_rbac_ops;

/* Facts of the connection alone. They borrow from it. */
void proxy_rbac_facts(const struct proxy_downstream *downstream, struct proxy_facts *ret_facts);

/* The network filters of a chain, before its terminal filter starts or (live connections) any time later. True: it may
 * go on. False: *ret_details says why; it lives as long as the chain. */
bool proxy_rbac_connection(const struct proxy_downstream *downstream, const struct proxy_filter_chain *chain,
                           const char **ret_details) FL_MUST_CHECK;

/* The same, asked beforehand: nothing is counted or told. */
bool proxy_rbac_would_allow(const struct proxy_downstream *downstream, const struct proxy_filter_chain *chain);

#endif
