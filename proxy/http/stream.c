#include "proxy/http/stream.h"

const char *proxy_reset_text(enum proxy_reset reset)
{
    static const char *const texts[] = {
#define X(id, text) [PROXY_RESET_##id] = text,
        PROXY_RESETS(X)
#undef X
    };
    return texts[reset];
}
