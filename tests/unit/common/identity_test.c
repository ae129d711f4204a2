#include "common/mesh/identity.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LABEL_63   "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123"
#define FORM_ERROR "expected a SPIFFE ID of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>"

static void identities_are_read_and_printed_back(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *trust_domain, *name_space, *service_account;
    } rows[] = {
        {"spiffe://cluster.local/ns/default/sa/web", "cluster.local", "default", "web"},
        {"spiffe://td_1/ns/0/sa/1", "td_1", "0", "1"},
        {"spiffe://td/ns/" LABEL_63 "/sa/a.b-c.d", "td", LABEL_63, "a.b-c.d"},
        {"spiffe://td/ns/ns/sa/sa", "td", "ns", "sa"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_identity identity;
        struct fl_buf out;
        fl_buf_init(&out, FL_IDENTITY_MAX);
        guard_init(&guard, fl_span_str(rows[i].uri));
        assert_int_equal(fl_identity_parse(guard.span, &identity, NULL), 0);
        assert_true(fl_span_eq_str(identity.trust_domain, rows[i].trust_domain));
        assert_true(fl_span_eq_str(identity.name_space, rows[i].name_space));
        assert_true(fl_span_eq_str(identity.service_account, rows[i].service_account));
        assert_int_equal(fl_identity_print(&identity, &out, NULL), 0);
        assert_string_equal(fl_buf_str(&out), rows[i].uri);
        fl_buf_done(&out);
        guard_done(&guard);
    }
}

static void other_forms_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *message;
    } rows[] = {
        {"", "not a SPIFFE ID: it does not start with spiffe://"},
        {"https://td/ns/a/sa/b", "not a SPIFFE ID: it does not start with spiffe://"},
        {"spiffe://TD/ns/a/sa/b", "trust domain holds a byte (0x54) that is not one of a-z 0-9 . - _"},
        {"spiffe://td", FORM_ERROR},
        {"spiffe://td/ns/a", FORM_ERROR},
        {"spiffe://td/ns/a/sa", FORM_ERROR},
        {"spiffe://td/ns/a/sa/b/c", FORM_ERROR},
        {"spiffe://td/x/ns/a/sa/b", FORM_ERROR},
        {"spiffe://td/sa/a/ns/b", FORM_ERROR},
        {"spiffe://td/NS/a/sa/b", FORM_ERROR},
        {"spiffe://td/ns/a/sa/", "SPIFFE ID with an empty path segment"},
        {"spiffe://td/ns/A/sa/b", "expected a namespace's name (a DNS-1123 label), got \"A\""},
        {"spiffe://td/ns/a.b/sa/b", "expected a namespace's name (a DNS-1123 label), got \"a.b\""},
        {"spiffe://td/ns/-a/sa/b", "expected a namespace's name (a DNS-1123 label), got \"-a\""},
        {"spiffe://td/ns/a-/sa/b", "expected a namespace's name (a DNS-1123 label), got \"a-\""},
        {"spiffe://td/ns/" LABEL_63 "4/sa/b", "expected a namespace's name (a DNS-1123 label), got \"" LABEL_63 "\""},
        {"spiffe://td/ns/a/sa/b..c", "expected a service account's name (a DNS-1123 subdomain), got \"b..c\""},
        {"spiffe://td/ns/a/sa/b_c", "expected a service account's name (a DNS-1123 subdomain), got \"b_c\""},
        {"spiffe://td/ns/a/sa/.b", "expected a service account's name (a DNS-1123 subdomain), got \".b\""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_identity identity;
        guard_init(&guard, fl_span_str(rows[i].uri));
        assert_int_equal(fl_identity_parse(guard.span, &identity, &err), -EINVAL);
        assert_string_equal(err.text, rows[i].message);
        guard_done(&guard);
    }
}

static void wrong_parts_are_not_printed(void **state)
{
    (void)state;
    static const struct fl_identity rows[] = {
        {FL_SPAN(""), FL_SPAN("a"), FL_SPAN("b")},        {FL_SPAN("td/ns/x"), FL_SPAN("a"), FL_SPAN("b")},
        {FL_SPAN("td/"), FL_SPAN("a"), FL_SPAN("b")},     {FL_SPAN("Td"), FL_SPAN("a"), FL_SPAN("b")},
        {FL_SPAN("td"), FL_SPAN(""), FL_SPAN("b")},       {FL_SPAN("td"), FL_SPAN("a/sa/c"), FL_SPAN("b")},
        {FL_SPAN("td"), FL_SPAN("a"), FL_SPAN("b/../c")}, {FL_SPAN("td"), FL_SPAN("a"), FL_SPAN("")},
        {FL_SPAN("td"), FL_SPAN("a\0"), FL_SPAN("b")},
    };
    struct fl_buf out;
    fl_buf_init(&out, FL_IDENTITY_MAX);
    assert_int_equal(fl_buf_append_str(&out, "before"), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        assert_int_equal(fl_identity_print(&rows[i], &out, &err), -EINVAL);
        assert_int_not_equal(err.text[0], '\0');
        assert_string_equal(fl_buf_str(&out), "before");
    }
    fl_buf_done(&out);
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    const struct fl_identity identity = {FL_SPAN("cluster.local"), FL_SPAN("default"), FL_SPAN("web")};
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, FL_IDENTITY_MAX);
        int result = fl_identity_print(&identity, &out, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
    struct fl_buf out;
    fl_buf_init(&out, 20);
    assert_int_equal(fl_identity_print(&identity, &out, NULL), -EMSGSIZE);
    assert_int_equal(out.len, 0);
    fl_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_are_read_and_printed_back),
        cmocka_unit_test(other_forms_are_refused),
        cmocka_unit_test(wrong_parts_are_not_printed),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
