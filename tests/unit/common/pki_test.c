#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/common/authority.h"

#include "common/pki/csr.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define WEB "spiffe://cluster.local/ns/default/sa/web"

static struct authority ours;

static int set_up(void **state)
{
    (void)state;
    authority_init(&ours, "root");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    authority_done(&ours);
    return 0;
}

/* A key that OpenSSL makes, as PEM in the given form. */
static struct fl_span pem_of(EVP_PKEY *key, bool traditional, const EVP_CIPHER *cipher, struct fl_buf *buf)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    int good = traditional
                   ? PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL)
                   : PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, "pass", cipher != NULL ? 4 : 0, NULL, NULL);
    assert_int_equal(good, 1);
    long size = BIO_get_mem_data(bio, &text);
    fl_buf_init(buf, FL_KEY_PEM_MAX);
    assert_int_equal(fl_buf_append(buf, fl_span_make(text, (size_t)size)), 0);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return fl_buf_span(buf);
}

static void keys_come_back_as_they_were(void **state)
{
    (void)state;
    struct fl_key *key, *again;
    struct fl_buf pem, second;
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    struct guard guard;
    guard_init(&guard, pem_of_key(key, &pem));
    assert_int_equal(fl_key_parse(guard.span, &again, NULL), 0);
    guard_done(&guard);
    assert_true(fl_span_eq(pem_of_key(again, &second), fl_buf_span(&pem)));
    assert_true(fl_span_starts_with(fl_buf_span(&pem), FL_SPAN("-----BEGIN PRIVATE KEY-----\n")));
    struct fl_buf tiny;
    fl_buf_init(&tiny, 10);
    assert_int_equal(fl_key_print(key, &tiny), -EMSGSIZE);
    fl_buf_done(&pem);
    fl_buf_done(&second);
    fl_key_unref(again);
    fl_key_unref(key);
}

static void kinds_of_keys(void **state)
{
    (void)state;
    struct {
        const char *what;
        EVP_PKEY *key;
        bool traditional;
        const EVP_CIPHER *cipher;
        int result;
    } rows[] = {
        {"P-256", EVP_EC_gen("P-256"), false, NULL, 0},
        {"P-256, traditional", EVP_EC_gen("P-256"), true, NULL, 0},
        {"P-384", EVP_EC_gen("P-384"), false, NULL, 0},
        {"P-521", EVP_EC_gen("P-521"), false, NULL, 0},
        {"P-224", EVP_EC_gen("P-224"), false, NULL, -EINVAL},
        {"a curve that TLS has not", EVP_EC_gen("secp256k1"), false, NULL, -EINVAL},
        {"RSA 2048", EVP_RSA_gen(2048), false, NULL, 0},
        {"RSA 2048, traditional", EVP_RSA_gen(2048), true, NULL, 0},
        {"RSA 1024", EVP_RSA_gen(1024), false, NULL, -EINVAL},
        {"Ed25519", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), false, NULL, -EINVAL},
        {"encrypted", EVP_EC_gen("P-256"), false, EVP_aes_128_cbc(), -EINVAL},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_key *key = NULL;
        struct fl_err err = {0};
        struct fl_buf pem;
        assert_non_null(rows[i].key);
        int result = fl_key_parse(pem_of(rows[i].key, rows[i].traditional, rows[i].cipher, &pem), &key, &err);
        if (result == 0 && !rows[i].traditional) {
            struct fl_buf printed;
            assert_true(fl_span_eq(pem_of_key(key, &printed), fl_buf_span(&pem))); /* as OpenSSL prints it */
            fl_buf_done(&printed);
        }
        if (result != rows[i].result || (result < 0) != (err.text[0] != '\0'))
            fail_msg("%s: %d %s", rows[i].what, result, err.text);
        if (rows[i].cipher != NULL)
            assert_string_equal(err.text, "private key: it is encrypted");
        fl_key_unref(key);
        fl_buf_done(&pem);
    }
}

/* As `openssl ecparam -genkey` writes it: a block of parameters stands before the key. */
static void blocks_before_the_key_are_skipped(void **state)
{
    (void)state;
    struct fl_buf pem, whole;
    struct fl_key *key;
    struct fl_span plain = pem_of(EVP_EC_gen("P-256"), true, NULL, &pem);
    fl_buf_init(&whole, FL_KEY_PEM_MAX);
    assert_int_equal(fl_buf_append_str(&whole, "a remark\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                                               "-----END EC PARAMETERS-----\n"),
                     0);
    assert_int_equal(fl_buf_append(&whole, plain), 0);
    assert_int_equal(fl_key_parse(fl_buf_span(&whole), &key, NULL), 0);
    fl_key_unref(key);
    fl_buf_done(&whole);
    fl_buf_done(&pem);
}

static void texts_that_are_no_pem(void **state)
{
    (void)state;
    static char large[FL_BUNDLE_PEM_MAX + 1];
    const struct fl_span rows[] = {
        {NULL, 0},
        FL_SPAN("nonsense"),
        FL_SPAN("-----BEGIN CERTIFICATE-----"),
        FL_SPAN("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        FL_SPAN("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        FL_SPAN("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        FL_SPAN("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
        FL_SPAN("-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        FL_SPAN("\0\0\0"),
        fl_span_make(large, sizeof(large)),
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_key *key;
        struct fl_cert *cert;
        struct fl_bundle *bundle;
        struct fl_err err = {0};
        struct guard guard;
        guard_init(&guard, rows[i]);
        assert_int_equal(fl_key_parse(guard.span, &key, &err), -EINVAL);
        assert_int_equal(fl_cert_parse(guard.span, &cert, &err), -EINVAL);
        assert_int_equal(fl_csr_parse(guard.span, &key, &err), -EINVAL);
        assert_int_equal(fl_bundle_parse(guard.span, &bundle, &err), -EINVAL);
        assert_int_equal(fl_bundle_parse(guard.span, &bundle, NULL), -EINVAL);
        guard_done(&guard);
    }
}

static X509 *x509_of(const struct fl_cert *cert)
{
    struct fl_buf pem;
    struct fl_span text = pem_of_cert(cert, &pem);
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_non_null(certificate);
    BIO_free(bio);
    fl_buf_done(&pem);
    return certificate;
}

static bool critical(X509 *certificate, int nid)
{
    int index = X509_get_ext_by_NID(certificate, nid, -1);
    return index >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, index)) == 1;
}

static void a_leaf_is_as_an_svid_should_be(void **state)
{
    (void)state;
    struct identity leaf;
    struct fl_span uri;
    time_t before, after, now = time(NULL);
    authority_issue(&ours, WEB, NULL, &leaf);
    assert_int_equal(fl_cert_spiffe(leaf.cert, &uri, NULL), 0);
    assert_true(fl_span_eq_str(uri, WEB));
    fl_cert_validity(leaf.cert, &before, &after);
    assert_in_range(now - before, 3599, 3700);
    assert_in_range(after - now, 3500, 3600);
    assert_true(fl_cert_matches(leaf.cert, leaf.key));
    assert_false(fl_cert_matches(leaf.cert, ours.key));

    X509 *x509 = x509_of(leaf.cert), *root = x509_of(ours.root);
    assert_int_equal(X509_get_version(x509), X509_VERSION_3);
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), NULL);
    assert_in_range(BN_num_bits(serial), 90, 128);
    assert_false(BN_is_negative(serial));
    BN_free(serial);
    assert_int_equal(X509_check_ca(x509), 0);
    assert_true(critical(x509, NID_basic_constraints));
    assert_true(critical(x509, NID_key_usage));
    assert_true(critical(x509, NID_subject_alt_name)); /* the subject is empty */
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(x509)), 0);
    assert_int_equal(X509_get_key_usage(x509), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(x509), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(x509), X509_get0_subject_key_id(root)), 0);
    assert_int_equal(X509_check_issued(root, x509), X509_V_OK);
    assert_int_equal(X509_verify(x509, X509_get0_pubkey(root)), 1);
    assert_int_equal(X509_check_ca(root), 1);
    assert_int_equal(X509_get_pathlen(root), -1);
    assert_int_equal(X509_get_key_usage(root), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    X509_free(x509);
    X509_free(root);
    identity_done(&leaf);
}

static void names_of_other_kinds(void **state)
{
    (void)state;
    const char *const dns[] = {"web.default.svc", "*.web.default.svc", NULL};
    const char *const ips[] = {"127.0.0.1", "::1", NULL};
    struct identity leaf;
    const struct fl_cert_request request = {.common_name = FL_SPAN("web"),
                                            .dns_names = dns,
                                            .ip_addresses = ips,
                                            .not_before = time(NULL),
                                            .not_after = time(NULL) + 60};
    authority_issue_request(&ours, &request, &leaf);
    X509 *x509 = x509_of(leaf.cert);
    assert_false(critical(x509, NID_subject_alt_name));
    assert_int_equal(X509_check_host(x509, "web.default.svc", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(x509, "a.web.default.svc", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(x509, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x509, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x509, "127.0.0.2", 0), 0);
    struct fl_span uri;
    struct fl_err err = {0};
    assert_int_equal(fl_cert_spiffe(leaf.cert, &uri, &err), -EINVAL);
    assert_string_equal(err.text, "no URI name");
    X509_free(x509);
    identity_done(&leaf);
}

static void requests_that_make_no_certificate(void **state)
{
    (void)state;
    const char *const bad_dns[] = {"a b", NULL}, *const empty_label[] = {"a..b", NULL},
                      *const bad_ip[] = {"1.2.3", NULL};
    const time_t now = time(NULL);
    const struct {
        const char *what;
        struct fl_cert_request request;
    } rows[] = {
        {"no name", {.not_before = now, .not_after = now + 1}},
        {"a bad URI", {.uri = FL_SPAN("https://a/b"), .not_before = now, .not_after = now + 1}},
        {"a bad DNS name", {.dns_names = bad_dns, .not_before = now, .not_after = now + 1}},
        {"an empty label", {.dns_names = empty_label, .not_before = now, .not_after = now + 1}},
        {"a bad address", {.ip_addresses = bad_ip, .not_before = now, .not_after = now + 1}},
        {"over before it begins", {.uri = FL_SPAN(WEB), .not_before = now, .not_after = now}},
        {"before the epoch", {.uri = FL_SPAN(WEB), .not_before = -1, .not_after = now}},
        {"beyond the year 9999", {.uri = FL_SPAN(WEB), .not_before = now, .not_after = 253402300800}},
        {"a long common name",
         {.common_name = FL_SPAN("0123456789012345678901234567890123456789012345678901234567890123x"),
          .not_before = now,
          .not_after = now + 1}},
    };
    struct fl_cert *cert = NULL;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        if (fl_cert_issue(&rows[i].request, ours.key, ours.root, ours.key, &cert, &err) != -EINVAL)
            fail_msg("%s", rows[i].what);
        assert_true(err.text[0] != '\0');
    }
    const struct fl_cert_request good = {.uri = FL_SPAN(WEB), .not_before = now, .not_after = 253402300799};
    struct identity leaf;
    authority_issue_request(&ours, &good, &leaf);
    assert_int_equal(fl_cert_issue(&good, ours.key, leaf.cert, leaf.key, &cert, NULL), -EINVAL); /* no CA */
    assert_int_equal(fl_cert_issue(&good, leaf.key, ours.root, leaf.key, &cert, NULL), -EINVAL); /* not its key */
    assert_int_equal(fl_cert_issue(&good, leaf.key, NULL, ours.key, &cert, NULL), -EINVAL);
    identity_done(&leaf);
}

static size_t blocks_in(struct fl_span pem)
{
    size_t count = 0;
    for (size_t i = 0; i + 5 < pem.len; i++)
        count += memcmp(pem.data + i, "BEGIN", 5) == 0;
    return count;
}

static void the_chain_follows_the_leaf(void **state)
{
    (void)state;
    struct identity middle, leaf;
    struct fl_buf pem;
    const time_t now = time(NULL);
    const struct fl_cert_request for_middle = {
        .common_name = FL_SPAN("middle"), .not_before = now, .not_after = now + 60, .authority = true};
    const struct fl_cert_request for_leaf = {.uri = FL_SPAN(WEB), .not_before = now, .not_after = now + 60};
    authority_issue_request(&ours, &for_middle, &middle);
    X509 *x509 = x509_of(middle.cert);
    assert_int_equal(X509_get_pathlen(x509), 0);
    X509_free(x509);
    assert_int_equal(blocks_in(pem_of_cert(middle.cert, &pem)), 1); /* the root is not sent along */
    fl_buf_done(&pem);
    assert_int_equal(fl_key_generate(&leaf.key, NULL), 0);
    assert_int_equal(fl_cert_issue(&for_leaf, leaf.key, middle.cert, middle.key, &leaf.cert, NULL), 0);
    assert_int_equal(blocks_in(pem_of_cert(leaf.cert, &pem)), 2);
    struct fl_cert *again;
    assert_int_equal(fl_cert_parse(fl_buf_span(&pem), &again, NULL), 0);
    assert_true(fl_cert_matches(again, leaf.key));
    fl_cert_unref(again);
    fl_buf_done(&pem);
    identity_done(&leaf);
    identity_done(&middle);
}

static void chains_and_bundles_are_bounded(void **state)
{
    (void)state;
    struct fl_buf pem, many;
    struct fl_cert *cert;
    struct fl_bundle *bundle;
    struct fl_span one = pem_of_cert(ours.root, &pem);
    fl_buf_init(&many, FL_BUNDLE_PEM_MAX);
    for (size_t count = 1; count <= FL_BUNDLE_ROOTS_MAX + 1; count++) {
        assert_int_equal(fl_buf_append(&many, one), 0);
        int result = fl_cert_parse(fl_buf_span(&many), &cert, NULL);
        assert_int_equal(result, count <= FL_CERT_CHAIN_MAX ? 0 : -EINVAL);
        if (result == 0)
            fl_cert_unref(cert);
    }
    assert_int_equal(fl_bundle_parse(fl_buf_span(&many), &bundle, NULL), -EINVAL);
    many.len -= one.len;
    assert_int_equal(fl_bundle_parse(fl_buf_span(&many), &bundle, NULL), 0);
    assert_int_equal(fl_bundle_count(bundle), FL_BUNDLE_ROOTS_MAX);
    fl_bundle_unref(bundle);
    fl_buf_done(&many);
    fl_buf_done(&pem);
}

static void a_bundle_takes_authorities_alone(void **state)
{
    (void)state;
    struct identity leaf;
    struct fl_buf pem;
    struct fl_bundle *bundle;
    struct fl_err err = {0};
    authority_issue(&ours, WEB, NULL, &leaf);
    pem_of_cert(ours.root, &pem);
    assert_int_equal(fl_cert_print(leaf.cert, &pem), 0);
    assert_int_equal(fl_bundle_parse(fl_buf_span(&pem), &bundle, &err), -EINVAL);
    assert_string_equal(err.text, "trust bundle: certificate 2 is not a CA's");
    fl_buf_done(&pem);
    identity_done(&leaf);
}

static void requests_carry_the_key_and_no_more(void **state)
{
    (void)state;
    struct fl_key *key, *public_key = NULL;
    struct fl_buf csr, pem;
    struct fl_err err = {0};
    struct fl_cert *cert;
    fl_buf_init(&csr, FL_CSR_PEM_MAX);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_csr_make(key, FL_SPAN("not a name"), &csr, &err), -EINVAL);
    assert_int_equal(fl_csr_make(key, FL_SPAN(WEB), &csr, &err), 0);
    struct guard guard;
    guard_init(&guard, fl_buf_span(&csr));
    assert_int_equal(fl_csr_parse(guard.span, &public_key, &err), 0);
    guard_done(&guard);
    const struct fl_cert_request request = {
        .uri = FL_SPAN(WEB), .not_before = time(NULL), .not_after = time(NULL) + 60};
    assert_int_equal(fl_cert_issue(&request, public_key, ours.root, ours.key, &cert, &err), 0);
    assert_true(fl_cert_matches(cert, key));
    fl_buf_init(&pem, FL_KEY_PEM_MAX);
    assert_int_equal(fl_key_print(public_key, &pem), -EINVAL); /* it has no private part */
    fl_buf_done(&pem);

    BIO *bio = BIO_new_mem_buf(csr.data, (int)csr.len);
    X509_REQ *parsed = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(parsed);
    assert_int_equal(sk_X509_EXTENSION_num(extensions), 1);
    assert_int_equal(X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(extensions, 0)), 1);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_REQ_free(parsed);
    BIO_free(bio);

    assert_int_equal(fl_csr_make(key, FL_SPAN(WEB), &csr, &err), 0); /* two in one text */
    fl_key_unref(public_key);
    assert_int_equal(fl_csr_parse(fl_buf_span(&csr), &public_key, &err), -EINVAL);
    fl_cert_unref(cert);
    fl_buf_done(&csr);
    fl_key_unref(key);
}

static void a_request_with_a_wrong_signature(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *weak = EVP_RSA_gen(1024);
    const struct {
        EVP_PKEY *carried, *signer;
        const char *reason;
    } rows[] = {
        {key, other, "certificate request: its signature is wrong"},
        {weak, weak, "certificate request: an RSA key of 1024 bits (2048 to 8192 are accepted)"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        X509_REQ *request = X509_REQ_new();
        BIO *bio = BIO_new(BIO_s_mem());
        char *text;
        struct fl_key *public_key;
        struct fl_err err = {0};
        X509_REQ_set_pubkey(request, rows[i].carried);
        assert_true(X509_REQ_sign(request, rows[i].signer, EVP_sha256()) > 0);
        PEM_write_bio_X509_REQ(bio, request);
        long size = BIO_get_mem_data(bio, &text);
        assert_int_equal(fl_csr_parse(fl_span_make(text, (size_t)size), &public_key, &err), -EINVAL);
        if (strncmp(err.text, rows[i].reason, strlen(rows[i].reason)) != 0)
            fail_msg("%s", err.text);
        BIO_free(bio);
        X509_REQ_free(request);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    EVP_PKEY_free(weak);
}

/* Names as no issuer of ours makes them: each certificate carries the given subjectAltName, in OpenSSL's notation. */
static void names_that_are_no_svid(void **state)
{
    (void)state;
    static const struct {
        const char *names, *usage, *reason; /* reason NULL: good */
    } rows[] = {
        {"URI:" WEB, NULL, NULL},
        {"DNS:a,URI:" WEB ",email:a@b", NULL, NULL},
        {"URI:" WEB ",URI:" WEB, NULL, "more than one URI name"},
        {"DNS:a", NULL, "no URI name"},
        {NULL, NULL, "no URI name"},
        {"URI:https://a/b", NULL, "not a SPIFFE ID: it does not start with spiffe://"},
        {"URI:spiffe://a", NULL, "a SPIFFE ID without a path is no workload's"},
        {"URI:" WEB, "keyCertSign", "its key may sign certificates or CRLs"},
        {"URI:" WEB, "digitalSignature,cRLSign", "its key may sign certificates or CRLs"},
        {"URI:" WEB, "digitalSignature", NULL},
    };
    EVP_PKEY *key = EVP_EC_gen("P-256");
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        X509 *x509 = X509_new();
        X509_set_version(x509, X509_VERSION_3);
        X509_set_pubkey(x509, key);
        X509_gmtime_adj(X509_getm_notBefore(x509), 0);
        X509_gmtime_adj(X509_getm_notAfter(x509), 60);
        const struct {
            int nid;
            const char *value;
        } extensions[] = {{NID_subject_alt_name, rows[i].names}, {NID_key_usage, rows[i].usage}};
        for (size_t j = 0; j < 2; j++) {
            if (extensions[j].value == NULL)
                continue;
            X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, extensions[j].nid, extensions[j].value);
            assert_non_null(extension);
            X509_add_ext(x509, extension, -1);
            X509_EXTENSION_free(extension);
        }
        assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
        BIO *bio = BIO_new(BIO_s_mem());
        char *text;
        struct fl_cert *cert;
        struct fl_span uri;
        struct fl_err err = {0};
        PEM_write_bio_X509(bio, x509);
        long size = BIO_get_mem_data(bio, &text);
        assert_int_equal(fl_cert_parse(fl_span_make(text, (size_t)size), &cert, NULL), 0);
        int result = fl_cert_spiffe(cert, &uri, &err);
        if (rows[i].reason == NULL ? result != 0 : strcmp(err.text, rows[i].reason) != 0)
            fail_msg("%s: %s", rows[i].names, err.text);
        fl_cert_unref(cert);
        BIO_free(bio);
        X509_free(x509);
    }
    EVP_PKEY_free(key);
}

static void our_allocations_may_fail(void **state)
{
    (void)state;
    struct fl_buf root_pem;
    pem_of_cert(ours.root, &root_pem);
    FAIL_EACH_ALLOCATION
    {
        const struct fl_cert_request request = {
            .uri = FL_SPAN(WEB), .not_before = time(NULL), .not_after = time(NULL) + 60};
        struct fl_cert *cert = NULL, *again = NULL;
        struct fl_bundle *bundle = NULL;
        struct fl_key *key = NULL, *same = NULL;
        struct fl_buf pem, key_pem, csr;
        fl_buf_init(&pem, FL_CERT_PEM_MAX);
        fl_buf_init(&key_pem, FL_KEY_PEM_MAX);
        fl_buf_init(&csr, FL_CSR_PEM_MAX);
        int result = fl_bundle_parse(fl_buf_span(&root_pem), &bundle, NULL);
        result = result < 0 ? result : fl_key_generate(&key, NULL);
        result = result < 0 ? result : fl_cert_issue(&request, key, ours.root, ours.key, &cert, NULL);
        result = result < 0 ? result : fl_cert_print(cert, &pem);
        result = result < 0 ? result : fl_cert_parse(fl_buf_span(&pem), &again, NULL);
        result = result < 0 ? result : fl_key_print(key, &key_pem);
        result = result < 0 ? result : fl_key_parse(fl_buf_span(&key_pem), &same, NULL);
        result = result < 0 ? result : fl_csr_make(key, FL_SPAN(WEB), &csr, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_bundle_unref(bundle);
        fl_cert_unref(cert);
        fl_cert_unref(again);
        fl_key_unref(key);
        fl_key_unref(same);
        fl_buf_done(&pem);
        fl_buf_done(&key_pem);
        fl_buf_done(&csr);
    }
    fl_buf_done(&root_pem);
}

static void null_is_allowed(void **state)
{
    (void)state;
    assert_null(fl_key_unref(NULL));
    assert_null(fl_key_ref(NULL));
    assert_null(fl_cert_unref(NULL));
    assert_null(fl_cert_ref(NULL));
    assert_null(fl_bundle_unref(NULL));
    assert_null(fl_bundle_ref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_back_as_they_were),
        cmocka_unit_test(kinds_of_keys),
        cmocka_unit_test(blocks_before_the_key_are_skipped),
        cmocka_unit_test(texts_that_are_no_pem),
        cmocka_unit_test(a_leaf_is_as_an_svid_should_be),
        cmocka_unit_test(names_of_other_kinds),
        cmocka_unit_test(requests_that_make_no_certificate),
        cmocka_unit_test(the_chain_follows_the_leaf),
        cmocka_unit_test(chains_and_bundles_are_bounded),
        cmocka_unit_test(a_bundle_takes_authorities_alone),
        cmocka_unit_test(requests_carry_the_key_and_no_more),
        cmocka_unit_test(a_request_with_a_wrong_signature),
        cmocka_unit_test(names_that_are_no_svid),
        cmocka_unit_test(our_allocations_may_fail),
        cmocka_unit_test(null_is_allowed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
