/* AdmissionReview out: the answer as text. Every value is escaped here; the uid is the request's; a patch is base64 of
 * its JSON, and absent where it is empty. */
#ifndef WEBHOOK_RESPONSE_H
#define WEBHOOK_RESPONSE_H

#include "common/doc/json.h"
#include "webhook/reason.h"
#include "webhook/warning.h"

struct webhook_response {
    struct fl_span uid;
    bool allowed;
    enum webhook_outcome outcome;
    enum webhook_reason reason;
    const char *message;         /* of a denial; NULL when allowed */
    const struct fl_json *patch; /* an array; NULL or empty: none */
    const struct webhook_warnings *warnings;
    struct fl_span workload, identity; /* audit annotations; empty: left out */
};

/* Appends the AdmissionReview. 0, -ENOMEM, -EMSGSIZE. */
int webhook_response_print(const struct webhook_response *response, struct fl_buf *out) FL_MUST_CHECK;

#endif
