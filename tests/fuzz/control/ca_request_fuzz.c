/* CreateCertificate from the message's bytes to an answer: what is signed has one name, ours. (Between the two stands a
 * channel, which ca_channel_fuzz has.)
 */
#include "common/pki/csr.h"
#include "common/xds/certificate.h"
#include "control/ca/signer.h"

#include <stdlib.h>

#define WEB "spiffe://a.b/ns/default/sa/web"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sign(const struct fl_key *key, uint32_t validity_s)
{
    static struct control_root root;
    const struct fl_cert_request for_root = {
        .common_name = FL_SPAN("root"), .not_before = 0, .not_after = 1000, .authority = true};
    if (root.cert == NULL && (fl_key_generate(&root.key, NULL) != 0 ||
                              fl_cert_issue(&for_root, root.key, NULL, root.key, &root.cert, NULL) != 0))
        abort();
    const struct control_signer signer = {.root = &root, .trust_domain = "a.b", .validity_s = 100};
    struct control_channel_message said, request = {.kind = CONTROL_CHANNEL_SIGN, .identity = FL_SPAN(WEB)};
    struct fl_buf der, out;
    struct fl_cert *cert;
    struct fl_span uri;
    fl_buf_init(&der, FL_KEY_PUBLIC_MAX);
    fl_buf_init(&out, CONTROL_CHANNEL_ANSWER_MAX);
    if (fl_key_print_public(key, &der) != 0)
        abort();
    request.key = fl_buf_span(&der);
    request.validity_s = validity_s;
    if (control_signer_answer(&signer, &request, 500, &out) != 0)
        abort();
    struct fl_span rest = fl_buf_span(&out);
    if (control_channel_read(&rest, true, &said) != CONTROL_CHANNEL_MESSAGE || said.kind != CONTROL_CHANNEL_SIGNED ||
        fl_cert_parse(said.chain, &cert, NULL) != 0 || fl_cert_spiffe(cert, &uri, NULL) != 0 ||
        !fl_span_eq_str(uri, WEB) || !fl_cert_matches(cert, key))
        abort();
    fl_cert_unref(cert);
    fl_buf_done(&der);
    fl_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_arena arena;
    struct fl_certificate_request request;
    struct fl_certificate_response response;
    struct fl_key *key;
    struct fl_err err;
    fl_arena_init(&arena, 1u << 20);
    if (fl_certificate_request_read(fl_span_make(data, size), &arena, &request, &err) == 0 &&
        fl_csr_parse(request.csr, &key, &err) == 0) {
        sign(key, (uint32_t)request.validity_s);
        fl_key_unref(key);
    }
    (void)!fl_certificate_response_read(fl_span_make(data, size), &arena, &response, &err);
    fl_arena_done(&arena);
    return 0;
}
