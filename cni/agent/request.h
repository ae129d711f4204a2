/* The head of an HTTP request, as far as /metrics and the probes need it: pure, no I/O, no allocation. Whatever it says
 * of a body or of keeping the connection, one request is answered and the connection ends, so nothing behind the head
 * is ever taken for a second request. Fuzzed. */
#ifndef CNI_AGENT_REQUEST_H
#define CNI_AGENT_REQUEST_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define CNI_REQUEST_HEAD_MAX 4096 /* bytes, with its empty line */

enum cni_request_outcome {
    CNI_REQUEST_COMPLETE, /* *ret_request is set */
    CNI_REQUEST_PARTIAL,  /* more bytes are needed */
    CNI_REQUEST_BAD,      /* no HTTP/1 */
};

struct cni_request {
    struct fl_span method; /* of letters, as sent */
    struct fl_span path;   /* begins with '/'; without its query, nothing decoded */
};

/* `bytes`: everything that came so far. What no head can begin with is BAD at its first wrong byte's line. */
enum cni_request_outcome cni_request_parse(struct fl_span bytes, struct cni_request *ret_request) FL_MUST_CHECK;

#endif
