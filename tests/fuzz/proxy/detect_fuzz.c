/* First bytes of a client: any bytes, any wish; and what is decided about a beginning stays decided. */
#include "proxy/net/detect.h"

#include <stdlib.h>

#define SPLITS 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_detect whole, part;
    for (unsigned wanted = 0; wanted <= 3; wanted++) {
        enum proxy_detect_result result = proxy_detect(fl_span_make(data, size), wanted, &whole);
        check(whole.server_name_len <= PROXY_DETECT_NAME_MAX && whole.alpn_count <= PROXY_DETECT_ALPN_MAX);
        check(result != PROXY_DETECT_MORE || size < PROXY_DETECT_MAX);
        check(result == PROXY_DETECT_TLS || whole.alpn_count == 0);
        for (size_t cut = 0; cut < size; cut += 1 + size / SPLITS) { /* small inputs at every byte */
            enum proxy_detect_result before = proxy_detect(fl_span_make(data, cut), wanted, &part);
            check(before == PROXY_DETECT_MORE || before == result || (cut == 0 && wanted == 0));
        }
    }
    return 0;
}
