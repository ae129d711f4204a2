/* Which rule would this request hit, and why: over the same flat list that resource generation uses. Pure; used by
 * `fairlead route explain` and tests. */
#ifndef CONTROL_MODEL_EXPLAIN_H
#define CONTROL_MODEL_EXPLAIN_H

#include "control/model/route.h"

struct control_request {
    struct fl_span method;                    /* "GET" */
    struct fl_span path;                      /* normalized; with "?query" or without */
    const struct control_name_value *headers; /* names in any case; a name twice: the first counts, joined values are
                                                 the caller's affair */
    size_t header_count;
};

/* Why an entry does not match; the first reason in this order. */
enum control_mismatch {
    CONTROL_MATCHES,
    CONTROL_MISMATCH_GRPC, /* it is no gRPC request */
    CONTROL_MISMATCH_PATH,
    CONTROL_MISMATCH_METHOD,
    CONTROL_MISMATCH_HEADER, /* index tells which */
    CONTROL_MISMATCH_QUERY,
};

struct control_verdict {
    enum control_mismatch mismatch;
    size_t index;
};

struct control_verdict control_match_explain(const struct control_http_match *match,
                                             const struct control_request *request);

/* Index of the entry that decides, or list->count where none matches (404). */
size_t control_route_hit(const struct control_route_list *list, const struct control_request *request);

/* Appends a line for each rule of the route that was dropped: it is in no list. 0, -ENOMEM, -EMSGSIZE. */
int control_route_explain_dropped(const struct control_http_route *route, struct fl_buf *out) FL_MUST_CHECK;

/* Appends the answer in words, a line for each entry up to the hit: what it asks for and why it is passed over; then
 * where the request goes: backends with their shares, redirect, 500 and why, or 404. 0, -ENOMEM, -EMSGSIZE. */
int control_route_explain(const struct control_route_list *list, const struct control_request *request,
                          struct fl_buf *out) FL_MUST_CHECK;

#endif
