/* One admission from bytes to bytes: request → decision → settings → sidecar → patch → self-check → response. Pure: no
 * I/O, no state; the same bytes with the same configuration and namespaces give the same answer. */
#ifndef WEBHOOK_REVIEW_H
#define WEBHOOK_REVIEW_H

#include "webhook/config.h"
#include "webhook/namespace.h"
#include "webhook/reason.h"
#include "webhook/warning.h"

struct webhook_context { /* borrowed for the call */
    const struct webhook_config *config;
    const struct webhook_namespaces *namespaces; /* NULL: none has labels */
    /* The namespaces are an API server's, as they were a moment ago. Where the decision hangs on one that is not known,
     * or would leave a pod out although we were asked about it (so the API server knows better), nothing is answered:
     * report.ask says that the namespace is to be asked for. The next call is with one of: */
    bool stale;
    const struct fl_err *unreachable; /* it could not be learnt: such a pod is denied; NULL: what is known is true */
};

/* What happened, for the HTTP answer, the log and the metrics. */
struct webhook_verdict_report {
    unsigned status; /* HTTP: 200, or 400 or 500 with a line of text as body */
    enum webhook_outcome outcome;
    enum webhook_reason reason;
    struct fl_err err;               /* the message of a denial or of a refused request */
    char uid[WEBHOOK_UID_MAX + 1];   /* of the request, for logs; the rest too */
    char name_space[128];            /* longer than any that is valid; cut where they are longer still */
    char name[WEBHOOK_NAME_MAX + 1]; /* or generateName */
    char workload[WEBHOOK_NAME_MAX + 1];
    struct webhook_warnings warnings;
    size_t operations; /* of the patch */
    bool ask;          /* nothing was answered: see webhook_context.stale; name_space is the one */
};

/* Answers `body`, appending to `out` (an AdmissionReview at status 200, else a line of text). Always answers,
 * but with context->stale. */
void webhook_review(const struct webhook_context *context, struct fl_span body, struct fl_buf *out,
                    struct webhook_verdict_report *ret_report);

#endif
