/* What the data path tells people of its connections, beside the access log: who was refused and which upstream could
 * not be reached (warnings, few at a time: proxy/telemetry/quota.h), and at level debug the life of each connection.
 * Counts stand here too where they belong to such a line, so that log and metric always name the same reason.
 */
#ifndef PROXY_FILTER_REPORT_H
#define PROXY_FILTER_REPORT_H

#include "proxy/filter/downstream.h"

/* A caller that is not served: counted, one line, and one of the access log where its chain has one (flag DPE, or DC
 * where the client left). `downstream->conn` is still there, open or just ended. */
void proxy_report_refused(struct proxy_downstream *downstream, enum proxy_refused reason);
/* The same for one whose chain's policies deny it (flag UAEX); details: rbac.h's. */
void proxy_report_denied(struct proxy_downstream *downstream, const char *details);
/* A policy on trial would have denied: one line, few at a time. request may be NULL (opaque bytes); policy is empty
 * where nothing allowed it. */
void proxy_report_shadow(const struct proxy_downstream *downstream, const struct proxy_message *request,
                         struct fl_span policy);
/* The same where there is not even a struct for it. destination may be unset. */
void proxy_report_not_accepted(struct proxy_data *data, const struct proxy_listener *listener,
                               const struct proxy_address *peer, const struct proxy_address *destination,
                               enum proxy_refused reason);
/* The same for a transport that failed before its connection was open; names the reason in downstream->details. */
void proxy_report_handshake_failed(struct proxy_downstream *downstream, enum proxy_end end);

/* In on_closed of an upstream connection: counts and tells what kept it from working, which is where it was never open,
 * or where the server's only word was an alert (to a client of TLS 1.3 a refusal comes late). Nothing else is told. */
void proxy_report_upstream_closed(struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster,
                                  const struct proxy_conn *conn, bool was_open, enum proxy_end end);
/* There is no connection at all: a negative errno of proxy_upstream_get. */
void proxy_report_not_dialled(struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster, int error);

/* Level debug; cost a comparison where that is off. */
void proxy_report_picked(const struct proxy_downstream *downstream, bool is_tls);
void proxy_report_upstream_chosen(const struct proxy_downstream *downstream, const struct proxy_upstream *upstream);
void proxy_report_ended(const struct proxy_downstream *downstream);

#endif
