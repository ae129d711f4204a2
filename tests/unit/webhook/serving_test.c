#include "tests/unit/webhook/test.h"

#include "common/pki/cert.h"
#include "webhook/serving.h"

static char folder[64], cert_path[96], key_path[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fl-webhook-serving-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(cert_path, sizeof(cert_path), "%s/tls.crt", folder);
    snprintf(key_path, sizeof(key_path), "%s/tls.key", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(cert_path);
    unlink(key_path);
    return rmdir(folder);
}

static void write_file(const char *path, const struct fl_buf *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->len, file), text->len);
    fclose(file);
}

/* A self-signed certificate until `not_after`, and its key, as PEM. */
static void make_pair(time_t not_after, struct fl_buf *cert_pem, struct fl_buf *key_pem)
{
    static const char *const names[] = {"localhost", NULL};
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
    const struct fl_cert_request request = {
        .common_name = FL_SPAN("webhook"), .dns_names = names, .not_before = 1000, .not_after = not_after};
    fl_buf_init(cert_pem, FL_CERT_PEM_MAX);
    fl_buf_init(key_pem, FL_CERT_PEM_MAX);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_cert_issue(&request, key, NULL, key, &cert, NULL), 0);
    assert_int_equal(fl_cert_print(cert, cert_pem), 0);
    assert_int_equal(fl_key_print(key, key_pem), 0);
}

static void test_a_swap_in_progress(void **state)
{
    (void)state;
    struct fl_buf cert1, key1, cert2, key2;
    struct webhook_serving serving;
    struct fl_err err = {0};
    make_pair(2000000000, &cert1, &key1);
    make_pair(2100000000, &cert2, &key2);
    write_file(cert_path, &cert1);
    write_file(key_path, &key1);
    webhook_serving_init(&serving, cert_path, key_path);
    assert_int_equal(webhook_serving_look(&serving, false, &err), 1);
    webhook_serving_taken(&serving);
    assert_int_equal(serving.not_after, 2000000000);
    assert_int_equal(webhook_serving_look(&serving, false, &err), 0);
    write_file(cert_path, &cert2); /* half of it */
    assert_int_equal(webhook_serving_look(&serving, false, &err), -EINVAL);
    assert_contains(err.text, "do not belong together");
    assert_int_equal(webhook_serving_look(&serving, false, &err), -EINVAL);
    assert_int_equal(serving.not_after, 2000000000);
    write_file(key_path, &key2);
    assert_int_equal(webhook_serving_look(&serving, false, &err), 1);
    assert_int_equal(webhook_serving_look(&serving, false, &err), 1); /* not taken yet */
    webhook_serving_taken(&serving);
    assert_int_equal(serving.not_after, 2100000000);
    assert_int_equal(webhook_serving_look(&serving, false, &err), 0);
    webhook_serving_done(&serving);
    fl_buf_done(&cert1);
    fl_buf_done(&key1);
    fl_buf_done(&cert2);
    fl_buf_done(&key2);
}

static void test_garbage(void **state)
{
    (void)state;
    struct fl_buf cert, key, garbage;
    struct webhook_serving serving;
    struct fl_err err = {0};
    make_pair(2000000000, &cert, &key);
    fl_buf_init(&garbage, 100);
    assert_int_equal(fl_buf_append_str(&garbage, "nothing"), 0);
    webhook_serving_init(&serving, cert_path, key_path);
    assert_int_equal(webhook_serving_look(&serving, false, &err), -ENOENT);
    write_file(cert_path, &garbage);
    write_file(key_path, &key);
    assert_int_equal(webhook_serving_look(&serving, false, &err), -EINVAL);
    assert_contains(err.text, cert_path);
    write_file(cert_path, &cert);
    write_file(key_path, &garbage);
    assert_int_equal(webhook_serving_look(&serving, false, &err), -EINVAL);
    assert_contains(err.text, key_path);
    webhook_serving_done(&serving);
    fl_buf_done(&cert);
    fl_buf_done(&key);
    fl_buf_done(&garbage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_swap_in_progress, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_garbage, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
