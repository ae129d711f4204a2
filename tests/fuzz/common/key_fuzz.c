/* A private key from a file: what parses prints, and parses again. */
#include "common/pki/key.h"
#include "tests/fuzz/common/pem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_buf buf, text;
    struct fl_key *key, *again;
    struct fl_err err;
    if (fl_key_parse(fuzz_pem(data, size, "PRIVATE KEY", &buf), &key, &err) == 0) {
        fl_buf_init(&text, FL_KEY_PEM_MAX);
        if (fl_key_print(key, &text) == 0) {
            if (fl_key_parse(fl_buf_span(&text), &again, &err) != 0)
                abort();
            fl_key_unref(again);
        }
        fl_buf_done(&text);
        fl_key_unref(key);
    }
    fl_buf_done(&buf);
    return 0;
}
