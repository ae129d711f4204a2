#include "common/pki/bundle.h"
#include "control/ca/root.h"
#include "control/ca/signer.h"
#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/control/ca_folder.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define DAY 86400
#define WEB "spiffe://cluster.local/ns/default/sa/web"

static time_t now;
static struct folder folder;

static int set_up(void **state)
{
    (void)state;
    now = time(NULL);
    folder_init(&folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_done(&folder);
    return 0;
}

static size_t roots_in(const struct control_root *root)
{
    struct fl_bundle *bundle;
    assert_int_equal(fl_bundle_parse(fl_buf_span(&root->bundle), &bundle, NULL), 0);
    size_t count = fl_bundle_count(bundle);
    fl_bundle_unref(bundle);
    return count;
}

static void serial_of(const struct control_root *root, char text[FL_CERT_SERIAL_MAX])
{
    fl_cert_serial(root->cert, text);
}

static void a_root_is_made_once(void **state)
{
    (void)state;
    struct control_root first, second;
    char one[FL_CERT_SERIAL_MAX], two[FL_CERT_SERIAL_MAX];
    struct stat status;
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &first, NULL), 0);
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &second, NULL), 0);
    serial_of(&first, one);
    serial_of(&second, two);
    assert_string_equal(one, two);
    assert_int_equal(roots_in(&first), 1);
    assert_int_equal(first.changes, 0);
    assert_int_equal(stat(folder_path(&folder, "root-1.pem"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    time_t from, to;
    fl_cert_validity(first.cert, &from, &to);
    assert_true(to - from > 3652 * (time_t)DAY && to - from < 3653 * (time_t)DAY);
    control_root_done(&first);
    control_root_done(&second);
}

static void the_folder_itself_is_made(void **state)
{
    (void)state;
    struct control_root root;
    struct folder below = {0};
    struct stat status;
    snprintf(below.path, sizeof(below.path), "%.200s/ca", folder.path);
    assert_int_equal(control_root_load(below.path, false, DAY, now, &root, NULL), 0);
    assert_int_equal(stat(below.path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    control_root_done(&root);
    folder_done(&below);
    struct fl_err err = {0};
    assert_int_equal(control_root_load("/nonexistent/folder", false, DAY, now, &root, &err), -ENOENT);
}

static void a_rotation_overlaps(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        time_t at; /* after the second root was made */
        bool second_issues;
        bool planned;
    } rows[] = {
        {"at once", 0, false, true},
        {"a second before", DAY - 1, false, true},
        {"the overlap is over", DAY, true, false},
    };
    struct control_root root;
    char first[FL_CERT_SERIAL_MAX], serial[FL_CERT_SERIAL_MAX];
    struct fl_err err = {0};
    assert_int_equal(control_root_rotate(folder.path, now, &err), -ENOENT);
    assert_int_equal(control_root_load(folder.path, false, DAY, now - 10 * DAY, &root, NULL), 0);
    serial_of(&root, first);
    control_root_done(&root);
    assert_int_equal(control_root_rotate(folder.path, now, NULL), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(control_root_load(folder.path, false, DAY, now + rows[i].at, &root, NULL), 0);
        serial_of(&root, serial);
        if (roots_in(&root) != 2 || (strcmp(first, serial) != 0) != rows[i].second_issues ||
            root.changes != (rows[i].planned ? now + DAY : 0))
            fail_msg("%s", rows[i].what);
        control_root_done(&root);
    }
    /* A new root that is alone has nobody to wait for; so has one whose elder has expired. */
    folder_remove(&folder, "root-1.pem");
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &root, NULL), 0);
    assert_int_equal(roots_in(&root), 1);
    control_root_done(&root);
}

static void every_root_has_expired(void **state)
{
    (void)state;
    struct control_root root;
    struct fl_err err = {0};
    assert_int_equal(control_root_load(folder.path, false, DAY, now - 3650 * (time_t)DAY, &root, NULL), 0);
    control_root_done(&root);
    assert_int_equal(control_root_load(folder.path, false, DAY, now + 30 * DAY, &root, &err), -EINVAL);
    assert_non_null(strstr(err.text, "every root has expired"));
    assert_int_equal(control_root_rotate(folder.path, now + 30 * DAY, NULL), 0);
    assert_int_equal(control_root_load(folder.path, false, DAY, now + 30 * DAY, &root, NULL), 0);
    assert_int_equal(roots_in(&root), 1);
    control_root_done(&root);
}

static void numbers_run_out(void **state)
{
    (void)state;
    struct control_root root;
    struct fl_err err = {0};
    assert_int_equal(control_root_load(folder.path, false, 0, now, &root, NULL), 0);
    control_root_done(&root);
    for (int i = 2; i <= CONTROL_ROOTS_MAX; i++)
        assert_int_equal(control_root_rotate(folder.path, now, NULL), 0);
    assert_int_equal(control_root_rotate(folder.path, now, &err), -ENOSPC);
    assert_int_equal(control_root_load(folder.path, false, 0, now, &root, NULL), 0);
    assert_int_equal(roots_in(&root), CONTROL_ROOTS_MAX);
    control_root_done(&root);
}

/* A folder of the given kind, and what is wrong with it. */
struct given {
    struct authority root;
    struct identity middle;
    struct fl_buf key, cert, chain, bundle;
};

static void given_init(struct given *given, time_t from, time_t to)
{
    const struct fl_cert_request request = {
        .common_name = FL_SPAN("middle"), .not_before = from, .not_after = to, .authority = true};
    authority_init(&given->root, "given root");
    authority_issue_request(&given->root, &request, &given->middle);
    pem_of_key(given->middle.key, &given->key);
    pem_of_cert(given->middle.cert, &given->cert);
    pem_of_cert(given->middle.cert, &given->chain);
    assert_int_equal(fl_cert_print(given->root.root, &given->chain), 0);
    pem_of_cert(given->root.root, &given->bundle);
}

static void given_done(struct given *given)
{
    fl_buf_done(&given->key);
    fl_buf_done(&given->cert);
    fl_buf_done(&given->chain);
    fl_buf_done(&given->bundle);
    identity_done(&given->middle);
    authority_done(&given->root);
}

static void given_write(const struct given *given)
{
    folder_write(&folder, "ca-key.pem", fl_buf_span(&given->key), 0600);
    folder_write(&folder, "ca-cert.pem", fl_buf_span(&given->cert), 0644);
    folder_write(&folder, "cert-chain.pem", fl_buf_span(&given->chain), 0644);
    folder_write(&folder, "root-cert.pem", fl_buf_span(&given->bundle), 0644);
}

static void a_given_intermediate(void **state)
{
    (void)state;
    struct given given;
    struct control_root root;
    given_init(&given, now - 60, now + DAY);
    given_write(&given);
    assert_int_equal(control_root_load(folder.path, true, DAY, now, &root, NULL), 0);
    assert_true(fl_cert_matches(root.cert, given.middle.key));
    assert_int_equal(roots_in(&root), 1);
    control_root_done(&root);
    folder_remove(&folder, "cert-chain.pem");
    assert_int_equal(control_root_load(folder.path, true, DAY, now, &root, NULL), 0);
    control_root_done(&root);
    folder_write(&folder, "ca-key.pem", fl_buf_span(&given.key), 0440); /* as a Secret is mounted for a group */
    assert_int_equal(control_root_load(folder.path, true, DAY, now, &root, NULL), 0);
    control_root_done(&root);
    given_done(&given);
}

static void given_folders_that_are_refused(void **state)
{
    (void)state;
    struct given good, other, expired;
    struct identity leaf;
    struct fl_buf leaf_pem, leaf_key;
    given_init(&good, now - 60, now + DAY);
    given_init(&other, now - 60, now + DAY);
    given_init(&expired, now - DAY, now - 60);
    authority_issue(&good.root, WEB, NULL, &leaf);
    pem_of_cert(leaf.cert, &leaf_pem);
    pem_of_key(leaf.key, &leaf_key);
    const struct {
        const char *file;
        struct fl_span content;
        mode_t mode;
        const char *reason;
    } rows[] = {
        {"ca-key.pem", fl_buf_span(&good.key), 0644, "others may read or write it (mode 0644)"},
        {"ca-key.pem", fl_buf_span(&good.key), 0620, "others may read or write it (mode 0620)"},
        {"ca-key.pem", fl_buf_span(&other.key), 0600, "does not begin with the certificate"},
        {"ca-key.pem", FL_SPAN("nonsense"), 0600, "private key"},
        {"ca-key.pem", FL_SPAN(""), 0600, "private key"},
        {"ca-cert.pem", FL_SPAN("nonsense"), 0644, "certificate: none in the text"},
        {"cert-chain.pem", fl_buf_span(&other.chain), 0644, "does not begin with the certificate"},
        {"cert-chain.pem", FL_SPAN(""), 0644, "none in the text"},
        {"root-cert.pem", fl_buf_span(&other.bundle), 0644, "certificate chain"},
        {"root-cert.pem", fl_buf_span(&leaf_pem), 0644, "is not a CA's"},
        {"root-cert.pem", FL_SPAN(""), 0644, "no certificate in it"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct control_root root;
        struct fl_err err = {0};
        given_write(&good);
        folder_write(&folder, rows[i].file, rows[i].content, rows[i].mode);
        int result = control_root_load(folder.path, true, DAY, now, &root, &err);
        if (result >= 0 || strstr(err.text, rows[i].reason) == NULL)
            fail_msg("row %zu (%s): %d %s", i, rows[i].file, result, err.text);
    }
    struct control_root root;
    struct fl_err err = {0};
    given_write(&expired);
    assert_int_equal(control_root_load(folder.path, true, DAY, now, &root, &err), -EINVAL);
    assert_non_null(strstr(err.text, "expired"));
    given_write(&good); /* a leaf does not issue */
    folder_remove(&folder, "cert-chain.pem");
    folder_write(&folder, "ca-key.pem", fl_buf_span(&leaf_key), 0600);
    folder_write(&folder, "ca-cert.pem", fl_buf_span(&leaf_pem), 0644);
    assert_int_equal(control_root_load(folder.path, true, DAY, now, &root, &err), -EINVAL);
    assert_non_null(strstr(err.text, "not a CA's certificate"));
    folder_remove(&folder, "ca-key.pem");
    assert_int_equal(control_root_load(folder.path, true, DAY, now, &root, &err), -ENOENT);
    fl_buf_done(&leaf_pem);
    fl_buf_done(&leaf_key);
    identity_done(&leaf);
    given_done(&good);
    given_done(&other);
    given_done(&expired);
}

static void self_made_files_that_are_refused(void **state)
{
    (void)state;
    struct control_root root;
    struct fl_err err = {0};
    folder_write(&folder, "root-1.pem", FL_SPAN("nonsense"), 0600);
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &root, &err), -EINVAL);
    folder_remove(&folder, "root-1.pem");
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &root, NULL), 0);
    control_root_done(&root);
    assert_int_equal(chmod(folder_path(&folder, "root-1.pem"), 0640), 0);
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &root, &err), -EACCES);
}

/* --- the signer --- */

static struct fl_span public_of(const struct fl_key *key, struct fl_buf *buf)
{
    fl_buf_init(buf, FL_KEY_PUBLIC_MAX);
    assert_int_equal(fl_key_print_public(key, buf), 0);
    return fl_buf_span(buf);
}

static void sign(const struct control_signer *signer, const struct control_channel_message *request, time_t at,
                 struct fl_buf *out, struct control_channel_message *ret_answer)
{
    fl_buf_init(out, CONTROL_CHANNEL_ANSWER_MAX);
    assert_int_equal(control_signer_answer(signer, request, at, out), 0);
    struct fl_span rest = fl_buf_span(out);
    assert_int_equal(control_channel_read(&rest, true, ret_answer), CONTROL_CHANNEL_MESSAGE);
    assert_int_equal(ret_answer->id, request->id);
}

static void what_the_signer_refuses(void **state)
{
    (void)state;
    struct control_root root;
    struct fl_key *key;
    struct fl_buf der, weak_der;
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &root, NULL), 0);
    const struct control_signer signer = {.root = &root, .trust_domain = "cluster.local", .validity_s = DAY};
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    struct fl_span good = public_of(key, &der);
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    unsigned char *bytes = NULL;
    int len = i2d_PUBKEY(weak, &bytes);
    fl_buf_init(&weak_der, FL_KEY_PUBLIC_MAX);
    assert_int_equal(fl_buf_append(&weak_der, fl_span_make(bytes, (size_t)len)), 0);
    const struct {
        const char *identity;
        struct fl_span key;
        const char *reason;
    } rows[] = {
        {"spiffe://other/ns/default/sa/web", good, "the trust domain is not cluster.local"},
        {"spiffe://cluster.local/ns/default", good, "expected a SPIFFE ID of the form"},
        {"spiffe://cluster.local", good, "expected a SPIFFE ID of the form"},
        {"spiffe://cluster.local/ns/default/sa/web/x", good, "expected a SPIFFE ID of the form"},
        {"spiffe://cluster.local/ns/default/sa/..", good, "SPIFFE ID"},
        {"https://cluster.local/", good, "not a SPIFFE ID"},
        {"", good, "not a SPIFFE ID"},
        {WEB, FL_SPAN(""), "public key"},
        {WEB, FL_SPAN("garbage"), "public key"},
        {WEB, fl_buf_span(&weak_der), "an RSA key of 1024 bits"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct control_channel_message request = {.kind = CONTROL_CHANNEL_SIGN,
                                                        .id = (uint32_t)i,
                                                        .identity = fl_span_str(rows[i].identity),
                                                        .key = rows[i].key};
        struct control_channel_message answer;
        struct fl_buf out;
        sign(&signer, &request, now, &out, &answer);
        char text[CONTROL_CHANNEL_TEXT_MAX + 1];
        snprintf(text, sizeof(text), "%.*s", FL_SPAN_ARG(answer.text));
        if (answer.kind != CONTROL_CHANNEL_REFUSED || strstr(text, rows[i].reason) == NULL)
            fail_msg("row %zu: %s", i, text);
        fl_buf_done(&out);
    }
    const struct control_channel_message no_names = {.kind = CONTROL_CHANNEL_SERVER, .key = good};
    struct control_channel_message answer;
    struct fl_buf out;
    sign(&signer, &no_names, now, &out, &answer);
    assert_int_equal(answer.kind, CONTROL_CHANNEL_REFUSED);
    fl_buf_done(&out);
    OPENSSL_free(bytes);
    EVP_PKEY_free(weak);
    fl_buf_done(&weak_der);
    fl_buf_done(&der);
    fl_key_unref(key);
    control_root_done(&root);
}

static void validity_is_bounded(void **state)
{
    (void)state;
    struct given given;
    struct control_root root;
    struct fl_key *key;
    struct fl_buf der;
    given_init(&given, now - 30, now + 2 * DAY);
    given_write(&given);
    assert_int_equal(control_root_load(folder.path, true, DAY, now, &root, NULL), 0);
    const struct control_signer signer = {.root = &root, .trust_domain = "cluster.local", .validity_s = DAY};
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    struct fl_span public_key = public_of(key, &der);
    const struct {
        uint32_t asked;
        time_t at, from, to; /* from now */
    } rows[] = {
        {0, 0, -30, DAY},
        {60, 0, -30, 60},
        {UINT32_MAX, 0, -30, DAY},
        {60, 100, 40, 160},
        {0, DAY + 100, DAY + 40, 2 * DAY}, /* never behind its issuer */
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct control_channel_message request = {
            .kind = CONTROL_CHANNEL_SIGN, .validity_s = rows[i].asked, .identity = FL_SPAN(WEB), .key = public_key};
        struct control_channel_message answer;
        struct fl_buf out;
        struct fl_cert *cert;
        time_t from, to;
        struct fl_span uri;
        sign(&signer, &request, now + rows[i].at, &out, &answer);
        assert_int_equal(answer.kind, CONTROL_CHANNEL_SIGNED);
        assert_int_equal(fl_cert_parse(answer.chain, &cert, NULL), 0);
        fl_cert_validity(cert, &from, &to);
        if (from != now + rows[i].from || to != now + rows[i].to || answer.not_after != (uint64_t)to)
            fail_msg("row %zu: %ld to %ld", i, from - now, to - now);
        assert_int_equal(fl_cert_spiffe(cert, &uri, NULL), 0);
        assert_true(fl_span_eq_str(uri, WEB));
        assert_true(fl_cert_matches(cert, key));
        if (rows[i].at < 3600) /* the test's root does not live longer */
            assert_int_equal(fl_cert_verify(cert, given.root.bundle, now + rows[i].at, NULL), 0);
        fl_cert_unref(cert);
        fl_buf_done(&out);
    }
    const struct control_channel_message late = {
        .kind = CONTROL_CHANNEL_SIGN, .identity = FL_SPAN(WEB), .key = public_key};
    struct control_channel_message answer;
    struct fl_buf out;
    sign(&signer, &late, now + 2 * DAY, &out, &answer);
    assert_int_equal(answer.kind, CONTROL_CHANNEL_REFUSED);
    fl_buf_done(&out);
    fl_buf_done(&der);
    fl_key_unref(key);
    control_root_done(&root);
    given_done(&given);
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    struct control_root root;
    struct fl_key *key;
    struct fl_buf der;
    FAIL_EACH_ALLOCATION
    {
        int result = control_root_load(folder.path, false, DAY, now, &root, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            control_root_done(&root);
    }
    assert_int_equal(control_root_load(folder.path, false, DAY, now, &root, NULL), 0);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    const struct control_signer signer = {
        .root = &root, .trust_domain = "cluster.local", .validity_s = DAY, .server_names = {"a.example", "::1"}};
    const struct control_channel_message request = {.kind = CONTROL_CHANNEL_SERVER, .key = public_of(key, &der)};
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, CONTROL_CHANNEL_ANSWER_MAX);
        int result = control_signer_answer(&signer, &request, now, &out);
        fail_stop();
        assert_true(result == 0 || (fail_happened() && result == -ENOMEM));
        fl_buf_done(&out);
    }
    fl_buf_done(&der);
    fl_key_unref(key);
    control_root_done(&root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_root_is_made_once),
        TEST(the_folder_itself_is_made),
        TEST(a_rotation_overlaps),
        TEST(every_root_has_expired),
        TEST(numbers_run_out),
        TEST(a_given_intermediate),
        TEST(given_folders_that_are_refused),
        TEST(self_made_files_that_are_refused),
        TEST(what_the_signer_refuses),
        TEST(validity_is_bounded),
        TEST(when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
