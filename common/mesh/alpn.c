#include "common/mesh/alpn.h"

#include "common/base/cleanup.h"

static const struct {
    struct fl_span token;
    enum fl_alpn_kind kind;
} tokens[] = {
#define TOKEN(text)                                                                                                    \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }
    {TOKEN(FL_ALPN_HTTP), FL_ALPN_KIND_SHARED},
    {TOKEN(FL_ALPN_TCP), FL_ALPN_KIND_BYTES},
    {TOKEN("h2"), FL_ALPN_KIND_HTTP2},
    {TOKEN("istio-h2"), FL_ALPN_KIND_HTTP2},
    {TOKEN("http/1.1"), FL_ALPN_KIND_HTTP1},
    {TOKEN("http/1.0"), FL_ALPN_KIND_HTTP1},
    {TOKEN("istio-http/1.1"), FL_ALPN_KIND_HTTP1},
    {TOKEN("istio-http/1.0"), FL_ALPN_KIND_HTTP1},
    {TOKEN("istio"), FL_ALPN_KIND_BYTES},
    {TOKEN("istio-peer-exchange"), FL_ALPN_KIND_BYTES},
#undef TOKEN
};

enum fl_alpn_kind fl_alpn_kind(struct fl_span token)
{
    for (size_t i = 0; i < FL_COUNT(tokens); i++) {
        if (fl_span_eq(tokens[i].token, token))
            return tokens[i].kind;
    }
    return FL_ALPN_KIND_UNKNOWN;
}

bool fl_alpn_has_preface(struct fl_span token)
{
    return fl_span_eq(token, FL_SPAN(FL_ALPN_HTTP)) || fl_span_eq(token, FL_SPAN(FL_ALPN_TCP));
}

bool fl_alpn_is_offered(struct fl_span token, enum fl_alpn_use use)
{
    enum fl_alpn_kind kind = fl_alpn_kind(token);
    switch (use) {
    case FL_ALPN_USE_HTTP:
        return kind != FL_ALPN_KIND_BYTES;
    case FL_ALPN_USE_HTTP1:
        return kind == FL_ALPN_KIND_HTTP1;
    case FL_ALPN_USE_BYTES:
        return kind == FL_ALPN_KIND_BYTES || kind == FL_ALPN_KIND_UNKNOWN;
    case FL_ALPN_USE_ANY:
        break;
    }
    return true;
}
