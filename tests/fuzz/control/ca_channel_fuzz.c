/* The channel between control plane and issuer, both ways: the first byte says which. What reads is written back byte
 * by byte the same; and every request that reads gets an answer that reads.
 */
#include "control/ca/signer.h"

#include <stdlib.h>

#define ROUND_MAX (CONTROL_CHANNEL_ANSWER_MAX * 2)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_back(const struct control_channel_message *message, struct fl_span bytes)
{
    struct fl_buf out;
    fl_buf_init(&out, ROUND_MAX);
    if (control_channel_write(message, &out) != 0 || !fl_span_eq(fl_buf_span(&out), bytes))
        abort();
    fl_buf_done(&out);
}

static void answer(const struct control_channel_message *request)
{
    static struct control_root root;
    const struct fl_cert_request for_root = {
        .common_name = FL_SPAN("root"), .not_before = 0, .not_after = 1000, .authority = true};
    if (root.cert == NULL && (fl_key_generate(&root.key, NULL) != 0 ||
                              fl_cert_issue(&for_root, root.key, NULL, root.key, &root.cert, NULL) != 0))
        abort();
    const struct control_signer signer = {
        .root = &root, .trust_domain = "a.b", .server_names = {"a.example", "::1"}, .validity_s = 100};
    struct control_channel_message said;
    struct fl_buf out;
    fl_buf_init(&out, ROUND_MAX);
    if (control_signer_answer(&signer, request, 500, &out) != 0)
        abort();
    struct fl_span rest = fl_buf_span(&out);
    if (control_channel_read(&rest, true, &said) != CONTROL_CHANNEL_MESSAGE || rest.len != 0 ||
        said.id != request->id || said.not_after > 600)
        abort();
    fl_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool answers = (data[0] & 1) != 0;
    struct fl_span rest = fl_span_make(data + 1, size - 1);
    for (;;) {
        struct fl_span before = rest;
        struct control_channel_message message;
        int result = control_channel_read(&rest, answers, &message);
        if (result != CONTROL_CHANNEL_MESSAGE) {
            if (!fl_span_eq(rest, before))
                abort();
            return 0;
        }
        write_back(&message, fl_span_make(before.data, before.len - rest.len));
        if (!answers)
            answer(&message);
    }
}
