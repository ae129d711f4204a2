#include "common/mesh/alpn.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct row {
    const char *token;
    enum fl_alpn_kind kind;
    bool http, http1, bytes, preface;
} rows[] = {
    {"fairlead-http/1", FL_ALPN_KIND_SHARED, true, false, false, true},
    {"fairlead-tcp/1", FL_ALPN_KIND_BYTES, false, false, true, true},
    {"h2", FL_ALPN_KIND_HTTP2, true, false, false, false},
    {"istio-h2", FL_ALPN_KIND_HTTP2, true, false, false, false},
    {"http/1.1", FL_ALPN_KIND_HTTP1, true, true, false, false},
    {"istio-http/1.1", FL_ALPN_KIND_HTTP1, true, true, false, false},
    {"istio", FL_ALPN_KIND_BYTES, false, false, true, false},
    {"istio-peer-exchange", FL_ALPN_KIND_BYTES, false, false, true, false},
    {"postgresql", FL_ALPN_KIND_UNKNOWN, true, false, true, false},
    {"", FL_ALPN_KIND_UNKNOWN, true, false, true, false},
};

static void tokens_have_their_uses(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_span token = fl_span_str(rows[i].token);
        assert_int_equal(fl_alpn_kind(token), rows[i].kind);
        assert_int_equal(fl_alpn_is_offered(token, FL_ALPN_USE_HTTP), rows[i].http);
        assert_int_equal(fl_alpn_is_offered(token, FL_ALPN_USE_HTTP1), rows[i].http1);
        assert_int_equal(fl_alpn_is_offered(token, FL_ALPN_USE_BYTES), rows[i].bytes);
        assert_true(fl_alpn_is_offered(token, FL_ALPN_USE_ANY));
        assert_int_equal(fl_alpn_has_preface(token), rows[i].preface);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tokens_have_their_uses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
