#include "common/base/spiffeid.h"

#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
    const char *what;
    const char *uri;
    const char *trust_domain; /* NULL: refused */
} rows[] = {
    {"the mesh's form", "spiffe://cluster.local/ns/default/sa/web", "cluster.local"},
    {"a trust domain alone", "spiffe://example.org", "example.org"},
    {"any path", "spiffe://a/B_c-9.x", "a"},
    {"dots inside a segment", "spiffe://a/..b/c..", "a"},
    {"three dots are a name", "spiffe://a/...", "a"},
    {"underscore in the trust domain", "spiffe://a_b-c.d/x", "a_b-c.d"},
    {"empty", "", NULL},
    {"scheme alone", "spiffe://", NULL},
    {"no trust domain", "spiffe:///ns/a", NULL},
    {"other scheme", "https://example.org/x", NULL},
    {"scheme in capitals", "SPIFFE://example.org/x", NULL},
    {"one slash", "spiffe:/example.org/x", NULL},
    {"capitals in the trust domain", "spiffe://Example.org/x", NULL},
    {"port", "spiffe://example.org:80/x", NULL},
    {"userinfo", "spiffe://me@example.org/x", NULL},
    {"slash at the end", "spiffe://example.org/", NULL},
    {"slash at the end of a path", "spiffe://example.org/x/", NULL},
    {"empty segment", "spiffe://example.org/x//y", NULL},
    {"dot segment", "spiffe://example.org/./y", NULL},
    {"dot dot segment", "spiffe://example.org/x/..", NULL},
    {"percent-encoding", "spiffe://example.org/%41", NULL},
    {"query", "spiffe://example.org/x?y", NULL},
    {"fragment", "spiffe://example.org/x#y", NULL},
    {"query without a path", "spiffe://example.org?y", NULL},
    {"space", "spiffe://example.org/x y", NULL},
    {"not ASCII", "spiffe://example.org/\xc3\xa9", NULL},
};

static void checks_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        guard_init(&guard, fl_span_str(rows[i].uri));
        struct fl_span domain = FL_SPAN("untouched");
        struct fl_err err = {0};
        int result = fl_spiffe_check(guard.span, &domain, &err);
        bool good = rows[i].trust_domain != NULL;
        if ((result == 0) != good || !fl_span_eq_str(domain, good ? rows[i].trust_domain : "untouched"))
            fail_msg("%s: %d %s", rows[i].what, result, err.text);
        if (!good)
            assert_int_equal(err.code, -EINVAL);
        guard_done(&guard);
    }
}

static void a_nul_is_refused(void **state)
{
    (void)state;
    assert_int_equal(fl_spiffe_check(FL_SPAN("spiffe://a/b\0c"), NULL, NULL), -EINVAL);
    assert_int_equal(fl_spiffe_check(FL_SPAN("spiffe://a\0b/c"), NULL, NULL), -EINVAL);
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    char text[FL_SPIFFE_ID_MAX + 1];
    memset(text, 'a', sizeof(text));
    memcpy(text, "spiffe://a/", 11);
    assert_int_equal(fl_spiffe_check(fl_span_make(text, FL_SPIFFE_ID_MAX), NULL, NULL), 0);
    assert_int_equal(fl_spiffe_check(fl_span_make(text, FL_SPIFFE_ID_MAX + 1), NULL, NULL), -EINVAL);
    text[10] = 'a';
    assert_int_equal(fl_spiffe_check(fl_span_make(text, 9 + FL_SPIFFE_TRUST_DOMAIN_MAX), NULL, NULL), 0);
    assert_int_equal(fl_spiffe_check(fl_span_make(text, 9 + FL_SPIFFE_TRUST_DOMAIN_MAX + 1), NULL, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_table),
        cmocka_unit_test(a_nul_is_refused),
        cmocka_unit_test(lengths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
