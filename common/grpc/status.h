/* gRPC's status codes and texts, and how a status is told where the peer says something else (HTTP status, HTTP/2 error
 * code), by the public gRPC protocol documents. Pure.
 */
#ifndef FL_GRPC_STATUS_H
#define FL_GRPC_STATUS_H

#include "common/base/buf.h"

/* X(id, number, text): the numbers are the protocol's, the text is what logs and metrics show. */
#define FL_GRPC_STATUSES(X)                                                                                            \
    X(OK, 0, "OK")                                                                                                     \
    X(CANCELLED, 1, "CANCELLED")                                                                                       \
    X(UNKNOWN, 2, "UNKNOWN")                                                                                           \
    X(INVALID_ARGUMENT, 3, "INVALID_ARGUMENT")                                                                         \
    X(DEADLINE_EXCEEDED, 4, "DEADLINE_EXCEEDED")                                                                       \
    X(NOT_FOUND, 5, "NOT_FOUND")                                                                                       \
    X(ALREADY_EXISTS, 6, "ALREADY_EXISTS")                                                                             \
    X(PERMISSION_DENIED, 7, "PERMISSION_DENIED")                                                                       \
    X(RESOURCE_EXHAUSTED, 8, "RESOURCE_EXHAUSTED")                                                                     \
    X(FAILED_PRECONDITION, 9, "FAILED_PRECONDITION")                                                                   \
    X(ABORTED, 10, "ABORTED")                                                                                          \
    X(OUT_OF_RANGE, 11, "OUT_OF_RANGE")                                                                                \
    X(UNIMPLEMENTED, 12, "UNIMPLEMENTED")                                                                              \
    X(INTERNAL, 13, "INTERNAL")                                                                                        \
    X(UNAVAILABLE, 14, "UNAVAILABLE")                                                                                  \
    X(DATA_LOSS, 15, "DATA_LOSS")                                                                                      \
    X(UNAUTHENTICATED, 16, "UNAUTHENTICATED")

enum fl_grpc_status {
#define X(id, number, text) FL_GRPC_##id = (number),
    FL_GRPC_STATUSES(X)
#undef X
};

#define FL_GRPC_TEXT_MAX 1024 /* bytes of a status text that are sent or kept; the rest is cut */

const char *fl_grpc_status_text(enum fl_grpc_status status); /* "UNAVAILABLE"; "UNKNOWN" for no code of ours */

/* The value of grpc-status: decimal digits alone; what is no code of the list is UNKNOWN. */
enum fl_grpc_status fl_grpc_status_parse(struct fl_span value);

/* What a response without grpc-status means. */
enum fl_grpc_status fl_grpc_status_of_http(unsigned http_status);
enum fl_grpc_status fl_grpc_status_of_reset(uint32_t h2_error);

/* The value of grpc-message: percent-encoded UTF-8. Printing cuts at FL_GRPC_TEXT_MAX bytes of the text; parsing passes
 * on what is no valid escape as it is, puts '?' for control characters, and cuts too. 0 or -ENOMEM (-EMSGSIZE where
 * the buffer's maximum is below 3 × FL_GRPC_TEXT_MAX). */
int fl_grpc_text_print(struct fl_buf *buf, struct fl_span text) FL_MUST_CHECK;
int fl_grpc_text_parse(struct fl_buf *buf, struct fl_span value) FL_MUST_CHECK;

#endif
