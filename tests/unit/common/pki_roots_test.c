#include "common/pki/openssl.h"
#include "common/pki/roots.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/common/authority.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const names[] = {"web.shop.svc", "web.shop.svc.cluster.local", NULL};

static struct fl_cert_request serving(void)
{
    time_t now = time(NULL);
    return (struct fl_cert_request){.dns_names = names, .not_before = now, .not_after = now + 60, .server_only = true};
}

static void serving_leaves_have_exactly_their_names(void **state)
{
    (void)state;
    static const char *const turned[] = {"WEB.shop.svc.cluster.local", "web.shop.svc", NULL};
    static const char *const fewer[] = {"web.shop.svc", NULL};
    static const char *const more[] = {"web.shop.svc", "web.shop.svc.cluster.local", "x.y.svc", NULL};
    static const char *const other[] = {"web.shop.svc", "web.shop.svc.cluster.locaI", NULL};
    struct authority authority;
    struct identity identity;
    authority_init(&authority, "root");
    struct fl_cert_request request = serving();
    authority_issue_request(&authority, &request, &identity);
    assert_true(fl_cert_serves(identity.cert, names));
    assert_true(fl_cert_serves(identity.cert, turned));
    assert_false(fl_cert_serves(identity.cert, fewer));
    assert_false(fl_cert_serves(identity.cert, more));
    assert_false(fl_cert_serves(identity.cert, other));
    assert_false(fl_cert_serves(authority.root, names));
    identity_done(&identity);

    static const char *const addresses[] = {"10.0.0.1", NULL};
    request.ip_addresses = addresses;
    authority_issue_request(&authority, &request, &identity);
    assert_false(fl_cert_serves(identity.cert, names));
    identity_done(&identity);
    authority_done(&authority);
}

static void a_server_leaf_is_for_servers_alone(void **state)
{
    (void)state;
    struct authority authority;
    struct identity identity;
    authority_init(&authority, "root");
    struct fl_cert_request request = serving();
    for (int both = 0; both < 2; both++) {
        request.server_only = both == 0;
        authority_issue_request(&authority, &request, &identity);
        X509 *leaf = fl_cert_x509(identity.cert, 0);
        assert_int_equal(X509_check_purpose(leaf, X509_PURPOSE_SSL_SERVER, 0), 1);
        assert_int_equal(X509_check_purpose(leaf, X509_PURPOSE_SSL_CLIENT, 0), both);
        assert_int_equal(fl_cert_verify(identity.cert, authority.bundle, request.not_before, NULL), 0);
        identity_done(&identity);
    }
    authority_done(&authority);
}

static void issuers_are_told_by_signature(void **state)
{
    (void)state;
    struct authority one, same_name;
    struct identity identity;
    authority_init(&one, "root");
    authority_init(&same_name, "root");
    struct fl_cert_request request = serving();
    authority_issue_request(&one, &request, &identity);
    assert_true(fl_cert_issued_by(identity.cert, one.root));
    assert_false(fl_cert_issued_by(identity.cert, same_name.root));
    assert_false(fl_cert_issued_by(one.root, identity.cert));
    assert_true(fl_cert_issued_by(one.root, one.root));
    identity_done(&identity);
    authority_done(&one);
    authority_done(&same_name);
}

static void a_root_for_leaves_alone_has_no_authority_below_it(void **state)
{
    (void)state;
    time_t now = time(NULL);
    struct fl_key *key, *middle_key, *leaf_key;
    struct fl_cert *root, *middle, *leaf;
    struct fl_bundle *bundle;
    struct fl_buf pem;
    struct fl_cert_request for_root = {.common_name = FL_SPAN("root"),
                                       .not_before = now,
                                       .not_after = now + 60,
                                       .authority = true,
                                       .leaves_only = true};
    struct fl_cert_request for_leaf = serving();
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_key_generate(&middle_key, NULL), 0);
    assert_int_equal(fl_key_generate(&leaf_key, NULL), 0);
    assert_int_equal(fl_cert_issue(&for_root, key, NULL, key, &root, NULL), 0);
    for_root.common_name = FL_SPAN("middle");
    assert_int_equal(fl_cert_issue(&for_root, middle_key, root, key, &middle, NULL), 0);
    fl_buf_init(&pem, FL_CERT_PEM_MAX);
    assert_int_equal(fl_cert_print(root, &pem), 0);
    assert_int_equal(fl_bundle_parse(fl_buf_span(&pem), &bundle, NULL), 0);

    assert_int_equal(fl_cert_issue(&for_leaf, leaf_key, root, key, &leaf, NULL), 0);
    assert_int_equal(fl_cert_verify(leaf, bundle, now, NULL), 0);
    fl_cert_unref(leaf);
    assert_int_equal(fl_cert_issue(&for_leaf, leaf_key, middle, middle_key, &leaf, NULL), 0);
    assert_int_equal(fl_cert_verify(leaf, bundle, now, NULL), -EACCES);
    fl_cert_unref(leaf);

    fl_buf_done(&pem);
    fl_bundle_unref(bundle);
    fl_cert_unref(root);
    fl_cert_unref(middle);
    fl_key_unref(key);
    fl_key_unref(middle_key);
    fl_key_unref(leaf_key);
}

static void fingerprints_differ(void **state)
{
    (void)state;
    unsigned char digests[3][FL_CERT_FINGERPRINT_SIZE];
    struct authority one, two;
    authority_init(&one, "root");
    authority_init(&two, "root");
    assert_int_equal(fl_cert_fingerprint(one.root, digests[0]), 0);
    assert_int_equal(fl_cert_fingerprint(two.root, digests[1]), 0);
    assert_int_equal(fl_cert_fingerprint(one.root, digests[2]), 0);
    assert_memory_equal(digests[0], digests[2], sizeof(digests[0]));
    assert_memory_not_equal(digests[0], digests[1], sizeof(digests[0]));
    assert_true(fl_cert_equal(one.root, one.root));
    assert_false(fl_cert_equal(one.root, two.root));
    authority_done(&one);
    authority_done(&two);
}

static void roots_are_told_apart_and_printed(void **state)
{
    (void)state;
    struct authority one, two;
    struct fl_roots roots = {.count = 0};
    struct fl_buf both, again;
    struct guard guard;
    uint32_t mask;
    fl_buf_init(&both, FL_ROOTS_PEM_MAX);
    fl_buf_init(&again, FL_ROOTS_PEM_MAX);
    authority_init(&one, "one");
    authority_init(&two, "two");
    assert_int_equal(fl_roots_add(&roots, two.root), 0);
    assert_int_equal(fl_cert_print(one.root, &both), 0);
    assert_int_equal(fl_cert_print(two.root, &both), 0);
    assert_int_equal(fl_cert_print(one.root, &both), 0);
    guard_init(&guard, fl_buf_span(&both));
    assert_int_equal(fl_roots_parse(&roots, guard.span, &mask, NULL), 0);
    guard_done(&guard);
    assert_int_equal(mask, 3);
    assert_int_equal(roots.count, 2);
    assert_int_equal(fl_roots_add(&roots, one.root), 1);
    assert_int_equal(fl_roots_print(&roots, 2, &again), 0);
    assert_true(fl_span_starts_with(fl_buf_span(&both), fl_buf_span(&again)));
    assert_int_equal(fl_roots_parse(&roots, fl_buf_span(&again), &mask, NULL), 0);
    assert_int_equal(mask, 2);
    fl_roots_done(&roots);
    fl_buf_done(&both);
    fl_buf_done(&again);
    authority_done(&one);
    authority_done(&two);
}

static void what_is_no_certificate_adds_none(void **state)
{
    (void)state;
    struct authority one, two;
    struct fl_roots roots = {.count = 0};
    struct fl_buf text;
    uint32_t mask = 77;
    fl_buf_init(&text, FL_ROOTS_PEM_MAX + 1);
    authority_init(&one, "one");
    authority_init(&two, "two");
    assert_int_equal(fl_roots_add(&roots, one.root), 0);
    assert_int_equal(fl_roots_parse(&roots, FL_SPAN(""), &mask, NULL), -EINVAL);
    assert_int_equal(fl_roots_parse(&roots, FL_SPAN("\n"), &mask, NULL), -EINVAL);
    assert_int_equal(fl_cert_print(two.root, &text), 0);
    assert_int_equal(fl_buf_append_str(&text, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0);
    assert_int_equal(fl_roots_parse(&roots, fl_buf_span(&text), &mask, NULL), -EINVAL);
    while (text.len <= FL_ROOTS_PEM_MAX)
        assert_int_equal(fl_buf_append_byte(&text, '\n'), 0);
    assert_int_equal(fl_roots_parse(&roots, fl_buf_span(&text), &mask, NULL), -EINVAL);
    assert_int_equal(roots.count, 1);
    assert_int_equal(mask, 77);
    fl_roots_done(&roots);
    fl_buf_done(&text);
    authority_done(&one);
    authority_done(&two);
}

static void no_more_than_the_limit(void **state)
{
    (void)state;
    struct fl_roots roots = {.count = 0};
    struct fl_err err = {0};
    uint32_t mask = 0;
    for (int i = 0; i <= FL_ROOTS_MAX; i++) {
        struct authority authority;
        struct fl_buf pem;
        authority_init(&authority, "root");
        int result = fl_roots_parse(&roots, pem_of_cert(authority.root, &pem), &mask, &err);
        assert_int_equal(result, i < FL_ROOTS_MAX ? 0 : -ENOSPC);
        if (result == 0)
            assert_true(mask == UINT32_C(1) << i);
        fl_buf_done(&pem);
        authority_done(&authority);
    }
    assert_int_equal(roots.count, FL_ROOTS_MAX);
    fl_roots_done(&roots);
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct authority authority;
    struct fl_buf pem;
    authority_init(&authority, "one");
    pem_of_cert(authority.root, &pem);
    FAIL_EACH_ALLOCATION
    {
        struct fl_roots roots = {.count = 0};
        uint32_t mask;
        int result = fl_roots_parse(&roots, fl_buf_span(&pem), &mask, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_int_equal(roots.count, result == 0);
        fl_roots_done(&roots);
    }
    fl_buf_done(&pem);
    authority_done(&authority);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serving_leaves_have_exactly_their_names),
        cmocka_unit_test(a_server_leaf_is_for_servers_alone),
        cmocka_unit_test(issuers_are_told_by_signature),
        cmocka_unit_test(a_root_for_leaves_alone_has_no_authority_below_it),
        cmocka_unit_test(fingerprints_differ),
        cmocka_unit_test(roots_are_told_apart_and_printed),
        cmocka_unit_test(what_is_no_certificate_adds_none),
        cmocka_unit_test(no_more_than_the_limit),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
