/* PROXY protocol headers: any bytes; what is decided about a beginning stays decided, and what is read can be written.
 */
#include "proxy/net/proxyproto.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_proto header, half, again;
    enum proxy_proto_result result = proxy_proto_parse(fl_span_make(data, size), &header);
    check(result != PROXY_PROTO_MORE || size < PROXY_PROTO_MAX);
    enum proxy_proto_result before = proxy_proto_parse(fl_span_make(data, size / 2), &half);
    check(before == PROXY_PROTO_MORE || before == result);
    if (result != PROXY_PROTO_DONE)
        return 0;
    check(header.size > 0 && header.size <= size);
    check(proxy_address_is_set(&header.source) == proxy_address_is_set(&header.destination));
    for (unsigned version = 1; version <= 2; version++) {
        char text[PROXY_PROTO_WRITE_MAX];
        size_t written = proxy_proto_write(version, &header.source, &header.destination, text);
        check(proxy_proto_parse(fl_span_make(text, written), &again) == PROXY_PROTO_DONE && again.size == written);
        check(proxy_address_eq(&again.source, &header.source) &&
              proxy_address_eq(&again.destination, &header.destination));
    }
    return 0;
}
