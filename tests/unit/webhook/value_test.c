#include "tests/unit/webhook/test.h"

#include "webhook/value.h"

static const struct {
    const char *text;
    bool right;
    const char *edge;
} images[] = {
    {"proxy", true, "a name alone"},
    {"fairlead/fairlead-proxy:0.1.0", true, "path and tag"},
    {"host.example:5000/a/b_c/d__e/f-g--h:1.0_x", true, "port, separators"},
    {"localhost/a", true, "localhost is a host"},
    {"HOST.example/a", true, "capitals in the host alone"},
    {"a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true, "digest"},
    {"a:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true, "tag and digest"},
    {"", false, "empty"},
    {"A/b", false, "capitals in a path"},
    {"a b", false, "a blank"},
    {"a:", false, "an empty tag"},
    {"a@sha256:12", false, "a short digest"},
    {"a@sha256:zz23456789abcdef0123456789abcdef", false, "no hex"},
    {"a//b", false, "an empty part"},
    {"/a", false, "an empty host"},
    {"a/", false, "ends with a slash"},
    {"a.", false, "ends with a separator"},
    {"a..b", false, "two dots"},
    {"a___b", false, "three underscores"},
    {"host.example:99999/a", false, "port too large"},
    {"host.example:/a", false, "empty port"},
    {"a\nb", false, "a line break"},
    {"a:1\"", false, "a quote"},
    {"-a", false, "starts with a dash"},
};

static void test_images(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(images); i++) {
        struct fl_err err = {0};
        int result = webhook_image_check(fl_span_str(images[i].text), &err);
        if ((result == 0) != images[i].right)
            fail_msg("%s: \"%s\" gave %d", images[i].edge, images[i].text, result);
        if (result < 0)
            assert_contains(err.text, "is not an image reference");
    }
    char longest[600];
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(webhook_image_check(fl_span_make(longest, 512), NULL), 0);
    assert_int_equal(webhook_image_check(fl_span_make(longest, 513), NULL), -EINVAL);
    assert_int_equal(webhook_image_check(FL_SPAN("a\0b"), NULL), -EINVAL);
}

static const struct {
    const char *text;
    double nano; /* -1: wrong */
} quantities[] = {
    {"1", 1e9},
    {"0", 0},
    {"100m", 1e8},
    {"0.1", 1e8},
    {".5", 5e8},
    {"5.", 5e9},
    {"1n", 1},
    {"0.1n", 1},
    {"1u", 1e3},
    {"1k", 1e12},
    {"1Ki", 1024e9},
    {"64Mi", 67108864e9},
    {"1.5Gi", 1610612736e9},
    {"1e3", 1e12},
    {"1E3", 1e12},
    {"1e-3", 1e6},
    {"1e+2", 1e11},
    {"1E", 1e27},
    {"2E", -1},
    {"1Ei", -1},
    {"", -1},
    {".", -1},
    {"m", -1},
    {"-1", -1},
    {"+1", -1},
    {"1 m", -1},
    {"1mm", -1},
    {"1Kb", -1},
    {"1.2.3", -1},
    {"1e", -1},
    {"1e99", -1},
    {"1e-10", -1},
    {"0x10", -1},
    {"NaN", -1},
    {"1K", -1},
    {"99999999999999999999999999999999999999999999999999", -1},
    {"11111111111111111111111111111111111111111111111111111111111111111", -1},
};

static void test_quantities(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(quantities); i++) {
        __int128 nano = 0;
        int result = webhook_quantity_parse(fl_span_str(quantities[i].text), &nano, NULL);
        bool right = quantities[i].nano >= 0;
        if ((result == 0) != right || (right && (double)nano != quantities[i].nano))
            fail_msg("\"%s\" gave %d and %g", quantities[i].text, result, (double)nano);
    }
}

static void test_words(void **state)
{
    (void)state;
    struct fl_err err = {0};
    assert_int_equal(webhook_log_level_check(FL_SPAN("debug"), NULL), 0);
    assert_int_equal(webhook_log_level_check(FL_SPAN("loud"), &err), -EINVAL);
    assert_contains(err.text, "\"loud\" is not a log level; expected trace, debug");
    assert_int_equal(webhook_pull_policy_check(FL_SPAN("Always"), NULL), 0);
    assert_int_equal(webhook_pull_policy_check(FL_SPAN(""), NULL), 0);
    assert_int_equal(webhook_pull_policy_check(FL_SPAN("always"), NULL), -EINVAL);
    assert_true(webhook_is_label(FL_SPAN("a-1")));
    assert_false(webhook_is_label(FL_SPAN("-a")));
    assert_false(webhook_is_label(FL_SPAN("a.b")));
    assert_false(webhook_is_label(FL_SPAN("")));
    assert_true(webhook_is_dns_name(FL_SPAN("control.mesh.svc")));
    assert_false(webhook_is_dns_name(FL_SPAN("control..svc")));
    assert_false(webhook_is_dns_name(FL_SPAN("")));
    assert_false(webhook_is_dns_name(FL_SPAN("Control")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
