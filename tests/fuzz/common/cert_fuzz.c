/* A certificate from outside: what parses can be asked everything, prints, and parses again to the same. */
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "tests/fuzz/common/pem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct fl_cert *cert)
{
    struct fl_buf first, second;
    struct fl_cert *again;
    fl_buf_init(&first, 1u << 20);
    fl_buf_init(&second, 1u << 20);
    if (fl_cert_print(cert, &first) == 0 && first.len <= FL_CERT_PEM_MAX) {
        if (fl_cert_parse(fl_buf_span(&first), &again, NULL) != 0 || fl_cert_print(again, &second) != 0 ||
            !fl_span_eq(fl_buf_span(&first), fl_buf_span(&second)))
            abort();
        fl_cert_unref(again);
    }
    fl_buf_done(&first);
    fl_buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_buf buf;
    struct fl_cert *cert;
    struct fl_bundle *bundle;
    struct fl_err err;
    struct fl_span pem = fuzz_pem(data, size, "CERTIFICATE", &buf);
    if (fl_cert_parse(pem, &cert, &err) == 0) {
        time_t before, after;
        struct fl_span uri;
        fl_cert_validity(cert, &before, &after);
        if (fl_cert_spiffe(cert, &uri, &err) == 0 && !fl_span_starts_with(uri, FL_SPAN("spiffe://")))
            abort();
        check_again(cert);
        fl_cert_unref(cert);
    }
    if (fl_bundle_parse(pem, &bundle, &err) == 0)
        fl_bundle_unref(bundle);
    fl_buf_done(&buf);
    return 0;
}
