/* Answers of the API server about a token: who is said yes to has an identity, and no name is longer than it may be. */
#include "control/ca/review.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_caller caller;
    struct fl_err err = {0};
    struct fl_buf uri;
    fl_buf_init(&uri, FL_IDENTITY_MAX);
    enum control_auth_outcome outcome = control_review_read(fl_span_make(data, size), "fairlead-ca", &caller, &err);
    if (outcome == CONTROL_AUTH_OK && control_caller_identity(&caller, "cluster.local", &uri, NULL) != 0)
        abort();
    if (outcome != CONTROL_AUTH_OK && caller.service_account[0] != '\0' && caller.pod[0] != '\0')
        abort();
    fl_buf_done(&uri);
    return 0;
}
