#include "common/base/base64.h"
#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"
#include "webhook/keeper/cabundle.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct fl_json *parse(const char *text)
{
    struct fl_json *root;
    assert_int_equal(fl_json_parse(fl_span_str(text), NULL, &root, NULL), 0);
    return root;
}

/* A configuration of these webhooks; gone with the root. */
static struct fl_json *of_webhooks(const char *webhooks)
{
    struct fl_buf text;
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(
        fl_buf_printf(&text, "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"5\"},\"webhooks\":%s}", webhooks), 0);
    struct fl_json *root = parse(fl_buf_str(&text));
    fl_buf_done(&text);
    return root;
}

#define OURS "\"service\":{\"name\":\"fairlead-webhook\",\"namespace\":\"fairlead-system\"}"

static int read_it(const struct fl_json *root, struct fl_roots *roots, struct keeper_configuration *configuration)
{
    return keeper_configuration_read(root, "fairlead-webhook", "fairlead-system", roots, configuration, NULL);
}

static void whose_webhooks_are_read(void **state)
{
    (void)state;
    struct fl_roots roots = {.count = 0};
    struct keeper_configuration configuration;
    struct fl_json *root = of_webhooks(
        "[{\"name\":\"a\",\"clientConfig\":{" OURS "}},"
        "{\"name\":\"b\",\"clientConfig\":{\"service\":{\"name\":\"other\",\"namespace\":\"fairlead-system\"}}},"
        "{\"name\":\"c\",\"clientConfig\":{\"service\":{\"name\":\"fairlead-webhook\",\"namespace\":\"other\"}}},"
        "{\"name\":\"d\",\"clientConfig\":{\"url\":\"https://x\",\"caBundle\":\"!\"}},"
        "{\"name\":\"e\"},{\"name\":\"f\",\"clientConfig\":{\"url\":\"https://x\",\"caBundle\":\"Zm9v\"}}]");
    assert_int_equal(read_it(root, &roots, &configuration), 0);
    assert_string_equal(configuration.name, "c");
    assert_string_equal(configuration.version, "5");
    assert_int_equal(configuration.webhook_count, 3);
    assert_string_equal(configuration.webhooks[0].name, "a");
    assert_true(configuration.webhooks[0].empty);
    assert_string_equal(configuration.webhooks[1].name, "d");
    assert_false(configuration.webhooks[1].empty);
    assert_int_equal(configuration.webhooks[1].roots | configuration.webhooks[2].roots, 0);
    assert_int_equal(roots.count, 0);
    keeper_configuration_done(&configuration);
    fl_json_free(root);
}

static void what_is_no_configuration(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"metadata\":{\"name\":\"c\"}}",
        "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"5\"},\"webhooks\":{}}",
        "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"5\"},\"webhooks\":[{\"clientConfig\":{\"url\":\"x\"}}]}",
    };
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        struct fl_roots roots = {.count = 0};
        struct keeper_configuration configuration;
        struct fl_json *root = parse(bad[i]);
        assert_int_equal(read_it(root, &roots, &configuration), -EINVAL);
        fl_json_free(root);
    }
}

static void more_webhooks_than_the_limit(void **state)
{
    (void)state;
    struct fl_roots roots = {.count = 0};
    struct keeper_configuration configuration;
    struct fl_json *root = of_webhooks("[]"), *list = fl_json_get(root, "webhooks");
    for (int i = 0; i <= KEEPER_WEBHOOKS_MAX; i++) {
        assert_int_equal(read_it(root, &roots, &configuration), 0);
        keeper_configuration_done(&configuration);
        assert_int_equal(fl_json_append(list, fl_json_new_object()), 0);
    }
    assert_int_equal(read_it(root, &roots, &configuration), -EINVAL);
    fl_json_free(root);
}

static void bundles_are_told_apart(void **state)
{
    (void)state;
    struct authority one, two;
    struct fl_buf pem, text;
    struct fl_roots roots = {.count = 0};
    struct keeper_configuration configuration;
    authority_init(&one, "one");
    authority_init(&two, "two");
    pem_of_cert(one.root, &pem);
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_buf_append_str(&text, "[{\"name\":\"a\",\"clientConfig\":{" OURS ",\"caBundle\":\""), 0);
    assert_int_equal(fl_base64_encode(fl_buf_span(&pem), &text), 0);
    assert_int_equal(fl_cert_print(two.root, &pem), 0);
    assert_int_equal(fl_buf_append_str(&text, "\"}},{\"name\":\"b\",\"clientConfig\":{" OURS ",\"caBundle\":\""), 0);
    assert_int_equal(fl_base64_encode(fl_buf_span(&pem), &text), 0);
    assert_int_equal(fl_buf_append_str(&text, "\"}}]"), 0);
    struct fl_json *root = of_webhooks(fl_buf_str(&text));
    assert_int_equal(read_it(root, &roots, &configuration), 0);
    assert_int_equal(configuration.webhooks[0].roots, 1);
    assert_int_equal(configuration.webhooks[1].roots, 3);
    keeper_configuration_done(&configuration);
    fl_roots_done(&roots);
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 1 << 20);
        roots.count = 0;
        int result = read_it(root, &roots, &configuration);
        bool read = result == 0;
        if (result == 0)
            result = keeper_configuration_print(&configuration, fl_buf_span(&pem), &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (read)
            keeper_configuration_done(&configuration);
        fl_roots_done(&roots);
        fl_buf_done(&out);
    }
    fl_json_free(root);
    fl_buf_done(&pem);
    fl_buf_done(&text);
    authority_done(&one);
    authority_done(&two);
}

static void one_field_is_applied(void **state)
{
    (void)state;
    struct keeper_webhook webhooks[] = {{.name = "a"}, {.name = "b\"x"}};
    const struct keeper_configuration configuration = {
        .name = "c", .version = "5", .webhooks = webhooks, .webhook_count = FL_COUNT(webhooks)};
    struct fl_buf out;
    fl_buf_init(&out, 4096);
    assert_int_equal(keeper_configuration_print(&configuration, FL_SPAN("foo"), &out), 0);
    assert_string_equal(fl_buf_str(&out),
                        "{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"MutatingWebhookConfiguration\","
                        "\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"5\"},\"webhooks\":[{\"name\":\"a\","
                        "\"clientConfig\":{\"caBundle\":\"Zm9v\"}},{\"name\":\"b\\\"x\",\"clientConfig\":{\"caBundle\":"
                        "\"Zm9v\"}}]}");
    fl_buf_done(&out);
}

static void conflicts_are_of_managers_or_of_versions(void **state)
{
    (void)state;
    char manager[KEEPER_MANAGER_MAX] = "";
    assert_true(keeper_is_conflict(
        FL_SPAN(
            "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"details\":{\"causes\":[{\"reason\":\"Other\"},{\"reason\":"
            "\"FieldManagerConflict\",\"message\":\"conflict with \\\"kubectl-edit\\\" using "
            "admissionregistration.k8s.io/v1\",\"field\":\".webhooks\"}]}}"),
        manager));
    assert_string_equal(manager, "kubectl-edit");
    assert_true(
        keeper_is_conflict(FL_SPAN("{\"details\":{\"causes\":[{\"reason\":\"FieldManagerConflict\"}]}}"), manager));
    assert_string_equal(manager, "");
    assert_false(keeper_is_conflict(FL_SPAN("{\"kind\":\"Status\",\"reason\":\"Conflict\",\"details\":{}}"), manager));
    assert_false(keeper_is_conflict(FL_SPAN("no JSON"), manager));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_webhooks_are_read),      cmocka_unit_test(what_is_no_configuration),
        cmocka_unit_test(more_webhooks_than_the_limit), cmocka_unit_test(bundles_are_told_apart),
        cmocka_unit_test(one_field_is_applied),         cmocka_unit_test(conflicts_are_of_managers_or_of_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
