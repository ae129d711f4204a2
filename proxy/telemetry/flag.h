/* Response flags: why a request or connection ended as it did, in Envoy's words. A set of bits, so that several hold.
 */
#ifndef PROXY_TELEMETRY_FLAG_H
#define PROXY_TELEMETRY_FLAG_H

#include "common/base/span.h"

/* X(id, word). The words go to access logs and to the label response_flags. */
#define PROXY_FLAG_LIST(X)                                                                                             \
    X(NO_HEALTHY_UPSTREAM, "UH")                                                                                       \
    X(UPSTREAM_CONNECT_FAILURE, "UF")                                                                                  \
    X(UPSTREAM_OVERFLOW, "UO")                                                                                         \
    X(NO_ROUTE, "NR")                                                                                                  \
    X(RETRY_LIMIT, "URX")                                                                                              \
    X(NO_CLUSTER, "NC")                                                                                                \
    X(DURATION_TIMEOUT, "DT")                                                                                          \
    X(DOWNSTREAM_CLOSE, "DC")                                                                                          \
    X(UPSTREAM_TIMEOUT, "UT")                                                                                          \
    X(LOCAL_RESET, "LR")                                                                                               \
    X(UPSTREAM_RESET, "UR")                                                                                            \
    X(UPSTREAM_CLOSE, "UC")                                                                                            \
    X(DELAY_INJECTED, "DI")                                                                                            \
    X(FAULT_INJECTED, "FI")                                                                                            \
    X(RATE_LIMITED, "RL")                                                                                              \
    X(UNAUTHORIZED, "UAEX")                                                                                            \
    X(STREAM_IDLE_TIMEOUT, "SI")                                                                                       \
    X(DOWNSTREAM_PROTOCOL_ERROR, "DPE")                                                                                \
    X(UPSTREAM_PROTOCOL_ERROR, "UPE")                                                                                  \
    X(OVERLOAD, "OM")

enum proxy_flag_bit {
#define X(id, word) PROXY_FLAG_BIT_##id,
    PROXY_FLAG_LIST(X)
#undef X
        PROXY_FLAGS
};

enum proxy_flag {
#define X(id, word) PROXY_FLAG_##id = 1 << PROXY_FLAG_BIT_##id,
    PROXY_FLAG_LIST(X)
#undef X
};

/* "UF,URX", or "-" for none. `to` has PROXY_FLAGS_TEXT_MAX bytes; returns the span inside it. */
#define PROXY_FLAGS_TEXT_MAX (5 * PROXY_FLAGS)
struct fl_span proxy_flags_print(uint32_t flags, char *to);

#endif
