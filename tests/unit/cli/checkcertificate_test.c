#include "cli/check/certificate.h"

#include "common/pki/cert.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW 2000000000

static void issue(const char *name, time_t from, time_t until, struct fl_buf *out)
{
    struct fl_key *key = NULL;
    struct fl_cert *cert = NULL;
    const struct fl_cert_request request = {
        .common_name = fl_span_str(name), .not_before = from, .not_after = until, .authority = true};
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_cert_issue(&request, key, NULL, key, &cert, NULL), 0);
    assert_int_equal(fl_cert_print(cert, out), 0);
    fl_cert_unref(cert);
    fl_key_unref(key);
}

static void lives(void **state)
{
    struct cli_life life;
    struct fl_err err;
    struct fl_buf pem;
    (void)state;
    fl_buf_init(&pem, FL_CERT_PEM_MAX);
    assert_int_equal(cli_life_read(FL_SPAN("nothing"), NOW, &life, &err), -EINVAL);
    assert_int_equal(
        cli_life_read(FL_SPAN("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), NOW, &life, &err),
        -EINVAL);
    issue("old", NOW - 100, NOW - 10, &pem);
    issue("now", NOW - 100, NOW + 1000, &pem);
    issue("new", NOW + 10, NOW + 2000, &pem);
    assert_int_equal(cli_life_read(fl_buf_span(&pem), NOW, &life, &err), 0);
    assert_int_equal(life.count, 3);
    assert_int_equal(life.expired, 1);
    assert_int_equal(life.early, 1);
    assert_int_equal(life.first, NOW - 10);
    assert_int_equal(life.last, NOW + 2000);
    fl_buf_done(&pem);
}

static void equal_bundles(void **state)
{
    struct fl_buf one, other, both, swapped;
    struct fl_buf *all[] = {&one, &other, &both, &swapped};
    (void)state;
    for (size_t i = 0; i < FL_COUNT(all); i++)
        fl_buf_init(all[i], FL_CERT_PEM_MAX);
    issue("one", NOW, NOW + 1, &one);
    issue("other", NOW, NOW + 1, &other);
    assert_int_equal(fl_buf_append(&both, fl_buf_span(&one)) | fl_buf_append(&both, fl_buf_span(&other)), 0);
    assert_int_equal(fl_buf_append(&swapped, fl_buf_span(&other)) | fl_buf_append_str(&swapped, "# a note\n") |
                         fl_buf_append(&swapped, fl_buf_span(&one)),
                     0);
    assert_true(cli_bundles_equal(fl_buf_span(&both), fl_buf_span(&swapped)));
    assert_false(cli_bundles_equal(fl_buf_span(&both), fl_buf_span(&one)));
    assert_false(cli_bundles_equal(fl_buf_span(&one), fl_buf_span(&both)));
    assert_false(cli_bundles_equal(fl_buf_span(&one), fl_buf_span(&other)));
    assert_false(cli_bundles_equal(FL_SPAN(""), FL_SPAN("")));
    for (size_t i = 0; i < FL_COUNT(all); i++)
        fl_buf_done(all[i]);
}

static void in_words(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {{0, "0m"},
                {119, "1m"},
                {7199, "119m"},
                {7200, "2h"},
                {86400, "24h"},
                {172800, "2d"},
                {10 * 365 * (int64_t)86400, "10y"},
                {-3700, "61m ago"}};
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char text[CLI_LIFE_MAX];
        cli_life_print(rows[i].seconds, text);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives),
        cmocka_unit_test(equal_bundles),
        cmocka_unit_test(in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
