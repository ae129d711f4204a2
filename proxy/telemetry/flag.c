#include "proxy/telemetry/flag.h"

struct fl_span proxy_flags_print(uint32_t flags, char *to)
{
    static const struct fl_span words[PROXY_FLAGS] = {
#define X(id, word) [PROXY_FLAG_BIT_##id] = {word, sizeof(word) - 1},
        PROXY_FLAG_LIST(X)
#undef X
    };
    if (flags == 0)
        return FL_SPAN("-");
    size_t len = 0;
    for (unsigned bit = 0; bit < PROXY_FLAGS; bit++) {
        if ((flags >> bit & 1) == 0)
            continue;
        if (len > 0)
            to[len++] = ',';
        memcpy(to + len, words[bit].data, words[bit].len);
        len += words[bit].len;
    }
    return fl_span_make(to, len);
}
