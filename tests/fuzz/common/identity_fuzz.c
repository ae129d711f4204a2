/* An identity has one spelling: what is read prints to the same bytes; it is a SPIFFE ID. */
#include "common/mesh/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span uri = fl_span_make(data, size), domain;
    struct fl_identity identity;
    struct fl_buf out;
    bool valid = fl_spiffe_check(uri, &domain, NULL) == 0;
    if (fl_identity_parse(uri, &identity, NULL) < 0)
        return 0;
    check(valid && fl_span_eq(domain, identity.trust_domain));
    fl_buf_init(&out, FL_IDENTITY_MAX);
    check(fl_identity_print(&identity, &out, NULL) == 0 && fl_span_eq(fl_buf_span(&out), uri));
    fl_buf_done(&out);
    return 0;
}
