#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "webhook/keeper/secret.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char text[] = "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"41\"},\"data\":{\"tls.crt\":"
                           "\"Zm9v\",\"tls.key\":\"Zg==\","
                           "\"ca.crt\":\"not base64\",\"old.crt\":7,\"TLS.CRT\":\"AAAA\",\"keystore\":\"AAAA\"}}";

static void what_is_read(void **state)
{
    (void)state;
    struct keeper_secret secret;
    struct guard guard;
    guard_init(&guard, fl_span_str(text));
    assert_int_equal(keeper_secret_read(guard.span, &secret, NULL), 0);
    guard_done(&guard);
    assert_true(secret.there);
    assert_false(secret.foreign);
    assert_string_equal(secret.version, "41");
    assert_true(fl_span_eq_str(fl_buf_span(&secret.values[KEEPER_SECRET_TLS_CERT]), "foo"));
    assert_true(fl_span_eq_str(fl_buf_span(&secret.values[KEEPER_SECRET_TLS_KEY]), "f"));
    assert_int_equal(secret.values[KEEPER_SECRET_CA_CERT].len, 0);
    assert_int_equal(secret.values[KEEPER_SECRET_OLD_CERTS].len, 0);
    keeper_secret_done(&secret);
    assert_int_equal(keeper_secret_read(FL_SPAN("{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"1\","
                                                "\"annotations\":{\"cert-manager.io/certificate-name\":\"x\"}}}"),
                                        &secret, NULL),
                     0);
    assert_true(secret.foreign);
    keeper_secret_done(&secret);
}

static void what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "null",
        "{\"kind\":\"Secret\",\"metadata\":{}}",
        "{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"1234567890123456789012345678901234567890123456789012"
        "34567890123\"}}0",
        "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"1234567890123456789012345678901234567890123456789012"
        "345678901234\"}}",
    };
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        struct keeper_secret secret = {.there = false};
        struct fl_err err = {0};
        assert_int_equal(keeper_secret_read(fl_span_str(bad[i]), &secret, &err), -EINVAL);
        assert_false(secret.there);
        assert_true(err.text[0] != '\0');
    }
}

static const struct keeper_secret_change changes[] = {
    {KEEPER_SECRET_CA_CERT, {"foo", 3}},
    {KEEPER_SECRET_NEXT_CERT, {NULL, 0}},
};

static void check_printed(const char *version, bool tls, const char *wanted)
{
    struct fl_buf out;
    const struct keeper_secret_write write = {
        .name = "s",
        .name_space = "n",
        .version = version,
        .tls = tls,
        .changes = changes,
        .change_count = FL_COUNT(changes),
        .annotations = {{"ca-not-after", "2027"}},
    };
    fl_buf_init(&out, 4096);
    assert_int_equal(keeper_secret_print(&write, &out), 0);
    assert_string_equal(fl_buf_str(&out), wanted);
    fl_buf_done(&out);
}

#define METADATA                                                                                                       \
    ",\"labels\":{\"app.kubernetes.io/managed-by\":\"fairlead-keeper\"},\"annotations\":{\"fairlead.io/"               \
    "ca-not-after\":"                                                                                                  \
    "\"2027\"}}"

static void what_is_written(void **state)
{
    (void)state;
    check_printed(
        "", true,
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"kubernetes.io/tls\",\"metadata\":{\"name\":\"s\","
        "\"namespace\":\"n\"" METADATA ",\"data\":{\"ca.crt\":\"Zm9v\"}}");
    check_printed(NULL, false,
                  "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\",\"metadata\":{\"name\":\"s\","
                  "\"namespace\":\"n\"" METADATA ",\"data\":{\"ca.crt\":\"Zm9v\"}}");
    check_printed("41", true,
                  "{\"metadata\":{\"resourceVersion\":\"41\"" METADATA
                  ",\"data\":{\"ca.crt\":\"Zm9v\",\"next.crt\":null}}");
}

static void bounds_and_memory(void **state)
{
    (void)state;
    const struct keeper_secret_write write = {
        .name = "s", .name_space = "n", .changes = changes, .change_count = FL_COUNT(changes)};
    struct fl_buf tiny;
    fl_buf_init(&tiny, 100);
    assert_int_equal(keeper_secret_print(&write, &tiny), -EMSGSIZE);
    fl_buf_done(&tiny);
    FAIL_EACH_ALLOCATION
    {
        struct keeper_secret secret = {.there = false};
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        int result = keeper_secret_read(fl_span_str(text), &secret, NULL);
        if (result == 0)
            result = keeper_secret_print(&write, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        keeper_secret_done(&secret);
        fl_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(what_is_written),
        cmocka_unit_test(bounds_and_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
