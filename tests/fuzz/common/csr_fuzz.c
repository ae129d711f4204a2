/* A certificate request from outside: what parses has a key that can be certified. */
#include "common/pki/csr.h"
#include "tests/fuzz/common/pem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fl_key *authority;
    static struct fl_cert *root;
    const struct fl_cert_request for_root = {
        .common_name = FL_SPAN("root"), .not_before = 0, .not_after = 1000, .authority = true};
    const struct fl_cert_request for_leaf = {.uri = FL_SPAN("spiffe://a/b"), .not_before = 0, .not_after = 1000};
    if (root == NULL && (fl_key_generate(&authority, NULL) != 0 ||
                         fl_cert_issue(&for_root, authority, NULL, authority, &root, NULL) != 0))
        abort();
    struct fl_buf buf;
    struct fl_key *key;
    struct fl_cert *cert;
    struct fl_err err;
    if (fl_csr_parse(fuzz_pem(data, size, "CERTIFICATE REQUEST", &buf), &key, &err) == 0) {
        if (fl_cert_issue(&for_leaf, key, root, authority, &cert, &err) != 0 || !fl_cert_matches(cert, key))
            abort();
        fl_cert_unref(cert);
        fl_key_unref(key);
    }
    fl_buf_done(&buf);
    return 0;
}
