#include "common/pki/signature.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/common/authority.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WEB "spiffe://cluster.local/ns/default/sa/web"

static struct fl_span span_of(const unsigned char *signature)
{
    return fl_span_make(signature, FL_SIGNATURE_SIZE);
}

static void signatures_are_of_one_key_and_one_text(void **state)
{
    (void)state;
    struct fl_key *key, *other;
    unsigned char signature[FL_SIGNATURE_SIZE];
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_key_generate(&other, NULL), 0);
    for (int i = 0; i < 50; i++) { /* small numbers have leading zeros */
        assert_int_equal(fl_signature_make(key, FL_SPAN("text"), signature, NULL), 0);
        assert_int_equal(fl_signature_check(key, FL_SPAN("text"), span_of(signature)), 0);
    }
    assert_int_equal(fl_signature_check(key, FL_SPAN("texT"), span_of(signature)), -EACCES);
    assert_int_equal(fl_signature_check(other, FL_SPAN("text"), span_of(signature)), -EACCES);
    assert_int_equal(fl_signature_check(key, FL_SPAN("text"), fl_span_make(signature, 63)), -EACCES);
    assert_int_equal(fl_signature_check(key, FL_SPAN("text"), (struct fl_span){NULL, 0}), -EACCES);
    for (size_t i = 0; i < FL_SIGNATURE_SIZE; i++) {
        signature[i] ^= 1;
        assert_int_equal(fl_signature_check(key, FL_SPAN("text"), span_of(signature)), -EACCES);
        signature[i] ^= 1;
    }
    memset(signature, 0, sizeof(signature)); /* r = s = 0, as in CVE-2022-21449 */
    assert_int_equal(fl_signature_check(key, FL_SPAN("text"), span_of(signature)), -EACCES);
    fl_key_unref(key);
    fl_key_unref(other);
}

static void keys_of_another_kind_do_not_sign(void **state)
{
    (void)state;
    EVP_PKEY *keys[] = {EVP_EC_gen("P-384"), EVP_RSA_gen(2048)};
    for (size_t i = 0; i < FL_COUNT(keys); i++) {
        BIO *bio = BIO_new(BIO_s_mem());
        char *text;
        struct fl_key *key;
        struct fl_err err = {0};
        unsigned char signature[FL_SIGNATURE_SIZE] = {0};
        assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, keys[i], NULL, NULL, 0, NULL, NULL), 1);
        long size = BIO_get_mem_data(bio, &text);
        assert_int_equal(fl_key_parse(fl_span_make(text, (size_t)size), &key, NULL), 0);
        assert_int_equal(fl_signature_make(key, FL_SPAN("text"), signature, &err), -EINVAL);
        assert_string_equal(err.text, "cannot sign: the key is not EC on P-256");
        assert_int_equal(fl_signature_check(key, FL_SPAN("text"), span_of(signature)), -EINVAL);
        fl_key_unref(key);
        BIO_free(bio);
        EVP_PKEY_free(keys[i]);
    }
}

static void public_keys_come_back_without_the_private_part(void **state)
{
    (void)state;
    struct fl_key *key, *half;
    struct fl_buf der, pem;
    struct fl_err err = {0};
    struct guard guard;
    unsigned char signature[FL_SIGNATURE_SIZE];
    fl_buf_init(&der, FL_KEY_PUBLIC_MAX + 2);
    fl_buf_init(&pem, FL_KEY_PEM_MAX);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_key_print_public(key, &der), 0);
    guard_init(&guard, fl_buf_span(&der));
    assert_int_equal(fl_key_parse_public(guard.span, &half, &err), 0);
    for (size_t len = 0; len < guard.span.len; len++) {
        struct fl_key *none;
        assert_int_equal(fl_key_parse_public(fl_span_make(guard.span.data, len), &none, &err), -EINVAL);
    }
    guard_done(&guard);
    assert_int_equal(fl_key_print(half, &pem), -EINVAL);
    assert_int_equal(fl_signature_make(key, FL_SPAN("text"), signature, NULL), 0);
    assert_int_equal(fl_signature_check(half, FL_SPAN("text"), span_of(signature)), 0);
    assert_true(fl_signature_make(half, FL_SPAN("text"), signature, &err) < 0);
    assert_int_equal(fl_buf_append_byte(&der, 'x'), 0);
    struct fl_key *none;
    assert_int_equal(fl_key_parse_public(fl_buf_span(&der), &none, &err), -EINVAL);
    assert_string_equal(err.text, "public key: bytes follow it");
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    unsigned char *bytes = NULL;
    int len = i2d_PUBKEY(weak, &bytes);
    assert_int_equal(fl_key_parse_public(fl_span_make(bytes, (size_t)len), &none, &err), -EINVAL);
    OPENSSL_free(bytes);
    EVP_PKEY_free(weak);
    fl_key_unref(half);
    fl_key_unref(key);
    fl_buf_done(&der);
    fl_buf_done(&pem);
}

static void chains_are_verified(void **state)
{
    (void)state;
    struct authority ours, theirs;
    struct identity middle, leaf;
    struct fl_err err = {0};
    const time_t now = time(NULL);
    const struct fl_cert_request for_middle = {
        .common_name = FL_SPAN("middle"), .not_before = now - 60, .not_after = now + 600, .authority = true};
    const struct fl_cert_request for_leaf = {.uri = FL_SPAN(WEB), .not_before = now, .not_after = now + 60};
    authority_init(&ours, "ours");
    authority_init(&theirs, "theirs");
    authority_issue_request(&ours, &for_middle, &middle);
    assert_int_equal(fl_key_generate(&leaf.key, NULL), 0);
    assert_int_equal(fl_cert_issue(&for_leaf, leaf.key, middle.cert, middle.key, &leaf.cert, NULL), 0);
    struct fl_bundle *both = authority_bundle_of(&theirs, &ours);
    assert_int_equal(fl_cert_verify(leaf.cert, ours.bundle, now, &err), 0);
    assert_int_equal(fl_cert_verify(leaf.cert, both, now, &err), 0);
    assert_int_equal(fl_cert_verify(leaf.cert, theirs.bundle, now, &err), -EACCES);
    assert_int_equal(fl_cert_verify(leaf.cert, ours.bundle, now + 61, &err), -EACCES);
    assert_string_equal(err.text, "certificate chain: certificate has expired");
    assert_int_equal(fl_cert_verify(leaf.cert, ours.bundle, now - 1, &err), -EACCES);
    char serial[FL_CERT_SERIAL_MAX];
    fl_cert_serial(leaf.cert, serial);
    assert_true(strlen(serial) > 20 && strspn(serial, "0123456789abcdef") == strlen(serial));
    fl_bundle_unref(both);
    identity_done(&leaf);
    identity_done(&middle);
    authority_done(&ours);
    authority_done(&theirs);
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    struct fl_key *key;
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf der;
        fl_buf_init(&der, FL_KEY_PUBLIC_MAX);
        int result = fl_key_print_public(key, &der);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&der);
    }
    fl_key_unref(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_of_one_key_and_one_text),
        cmocka_unit_test(keys_of_another_kind_do_not_sign),
        cmocka_unit_test(public_keys_come_back_without_the_private_part),
        cmocka_unit_test(chains_are_verified),
        cmocka_unit_test(when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
