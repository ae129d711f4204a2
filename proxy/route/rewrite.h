/* What a chosen route changes in the message that passes: header fields, path and host; and where a redirect leads.
 * Pure; new texts are put into scratch that the caller keeps as long as the message. */
#ifndef PROXY_ROUTE_REWRITE_H
#define PROXY_ROUTE_REWRITE_H

#include "proxy/route/table.h"

/* Applies prefix_rewrite or regex_rewrite, host_rewrite_literal and the header edits of cluster, route, virtual host
 * and table, in this order (or the reverse where most_specific_wins). `scratch` needs the path's length, that of
 * prefix_rewrite (or what the substitution makes of the path), and 1. 0, -ENOMEM, -E2BIG (too many fields; an
 * expression whose bounds do not suffice), -EMSGSIZE (scratch too small). `cluster` may be NULL. */
int proxy_route_rewrite_request(const struct proxy_route_table *table, const struct proxy_route_found *found,
                                const struct proxy_weighted_cluster *cluster, struct proxy_message *request,
                                char *scratch, size_t scratch_size) FL_MUST_CHECK;

/* The header edits alone, of the response's side. 0 or -E2BIG. */
int proxy_route_rewrite_response(const struct proxy_route_table *table, const struct proxy_route_found *found,
                                 const struct proxy_weighted_cluster *cluster,
                                 struct proxy_message *response) FL_MUST_CHECK;

/* The Location of a redirect. `scheme` is the connection's ("http" or "https") where the target names none. 0 or
 * -EMSGSIZE; -EINVAL where the request has no authority. *ret_location points into scratch. */
int proxy_route_location(const struct proxy_route *route, const struct proxy_message *request, struct fl_span scheme,
                         char *scratch, size_t scratch_size, struct fl_span *ret_location) FL_MUST_CHECK;

#endif
