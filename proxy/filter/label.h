/* Who talks to whom, for metrics and logs: from the downstream connection, the cluster and the upstream connection.
 * Identities are the ones that TLS verified; everything else is what a peer says of itself (its preface).
 */
#ifndef PROXY_FILTER_LABEL_H
#define PROXY_FILTER_LABEL_H

#include "proxy/filter/downstream.h"

#define PROXY_FAILURE_MAX 96u /* bytes kept of why an upstream's transport failed */

/* The edge of this connection to that cluster (NULL: none). `upstream` may be NULL (never connected). NULL: memory is
 * out. */
struct proxy_edge *proxy_label_edge(const struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster,
                                    const struct proxy_conn *upstream, enum proxy_protocol protocol);

/* The peer has an identity that TLS has verified; conn: NULL is nobody. */
bool proxy_label_is_mutual(const struct proxy_conn *conn);

/* Fills in what the connections tell of a record: start, addresses, identities, cluster, listener. upstream_host and
 * *upstream_local (storage for the record) are set where `upstream` is. cluster: NULL for none. */
void proxy_label_record(const struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster,
                        const struct proxy_conn *upstream, struct proxy_address *upstream_local,
                        struct proxy_log_record *ret_record);

/* Keeps the beginning of `text`, with a NUL. */
void proxy_label_failure(char to[PROXY_FAILURE_MAX], const char *text);

#endif
