/* What the API server answers to a POST, from bytes to a status: HTTP/1.1, pure, bounded, no allocation. Whoever
 * answers is not trusted: he can end the exchange, and nothing else. Fuzzed.
 *
 * 1xx answers in front are skipped. A body is looked at only to know where the next answer would begin, so that the
 * connection can be used again: what has no Content-Length, or a longer one than fits, ends with the connection. */
#ifndef CNI_AGENT_ANSWER_H
#define CNI_AGENT_ANSWER_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define CNI_ANSWER_BYTES_MAX   (16u << 10) /* head and body; more of a body is not waited for */
#define CNI_ANSWER_RETRY_MAX_S 300         /* a longer Retry-After counts as this */

enum cni_answer_outcome {
    CNI_ANSWER_COMPLETE, /* *ret_answer is set, and the body is here */
    CNI_ANSWER_HEAD,     /* *ret_answer is set; of the body is here what stands in it */
    CNI_ANSWER_PARTIAL,  /* not even a head */
    CNI_ANSWER_BAD,      /* no HTTP/1.1, or contradictory */
};

struct cni_answer {
    unsigned status;        /* 200 to 599 */
    unsigned retry_after_s; /* 0: none was said, or as a date */
    bool reusable;          /* once it is complete, the connection may carry another request */
    struct fl_span body;    /* as far as it is here */
};

/* `bytes`: everything that came so far, at most CNI_ANSWER_BYTES_MAX. */
enum cni_answer_outcome cni_answer_parse(struct fl_span bytes, struct cni_answer *ret_answer) FL_MUST_CHECK;

/* "message" of a Status, as it stands in the JSON (escapes and all), cut at 200 bytes; empty where there is none. For
 * the log alone: it is not parsed. */
struct fl_span cni_answer_message(struct fl_span body);

#endif
