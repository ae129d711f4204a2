#include "tests/fuzz/common/pem.h"

#include <openssl/evp.h>

#define INPUT_MAX (1u << 20)

struct fl_span fuzz_pem(const uint8_t *data, size_t size, const char *label, struct fl_buf *buf)
{
    unsigned char line[80];
    int result = 0;
    fl_buf_init(buf, 2 * INPUT_MAX);
    if (size > INPUT_MAX)
        return fl_buf_span(buf);
    if (size == 0 || data[0] == '-') {
        result = fl_buf_append(buf, fl_span_make(data, size));
        return result == 0 ? fl_buf_span(buf) : (struct fl_span){NULL, 0};
    }
    result = fl_buf_printf(buf, "-----BEGIN %s-----\n", label);
    for (size_t at = 0; at < size && result == 0; at += 48) {
        int length = EVP_EncodeBlock(line, data + at, size - at < 48 ? (int)(size - at) : 48);
        result = fl_buf_printf(buf, "%.*s\n", length, (const char *)line);
    }
    if (result == 0)
        result = fl_buf_printf(buf, "-----END %s-----\n", label);
    return result == 0 ? fl_buf_span(buf) : (struct fl_span){NULL, 0};
}
