/* What is gRPC's about an exchange: pure. (Its status in an answer: retry.h.) */
#ifndef PROXY_FILTER_GRPC_H
#define PROXY_FILTER_GRPC_H

#include "proxy/http/message.h"

/* By the content type: "application/grpc", perhaps with a kind of message behind it; not "application/grpc-web". */
bool proxy_grpc_is(const struct proxy_headers *headers);

/* The status that stands for an answer of our own with this status of HTTP and these flags (enum proxy_flag): as Envoy
 * has it. */
unsigned proxy_grpc_status_of(unsigned status, uint32_t flags);

/* A text as grpc-message has it: percent-encoded, cut where it is too long. */
#define PROXY_GRPC_MESSAGE_MAX 512u
struct fl_span proxy_grpc_message(struct fl_span text, char to[PROXY_GRPC_MESSAGE_MAX]);

/* grpc-timeout in milliseconds, rounded up: at most eight digits and a unit (H, M, S, m, u, n). False: there is none,
 * or it is no time. */
bool proxy_grpc_timeout(const struct proxy_headers *headers, uint64_t *ret_ms);

#endif
