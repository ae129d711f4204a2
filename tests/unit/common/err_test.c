#include "common/base/err.h"

#include "common/base/utf8.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_set_returns_the_code(void **state)
{
    (void)state;
    struct fl_err err = {0};
    assert_int_equal(fl_err_set(&err, -EINVAL, "port %d is taken", 15001), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "port 15001 is taken");
}

static void test_null_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(fl_err_set(NULL, -EINVAL, "x"), -EINVAL);
    assert_int_equal(fl_err_errno(NULL, -EIO, "x"), -EIO);
    assert_int_equal(fl_err_prefix(NULL, "x"), 0);
}

static void test_errno_stands_behind(void **state)
{
    (void)state;
    struct fl_err err = {0};
    assert_int_equal(fl_err_errno(&err, -ENOENT, "open %s", "x.yaml"), -ENOENT);
    assert_string_equal(err.text, "open x.yaml: No such file or directory");
}

static void test_prefix_stands_in_front(void **state)
{
    (void)state;
    struct fl_err err = {0};
    fl_err_set(&err, -EINVAL, "not a number");
    assert_int_equal(fl_err_prefix(&err, "listeners[%d].port", 3), -EINVAL);
    assert_string_equal(err.text, "listeners[3].port: not a number");
}

static void test_prefix_of_nothing(void **state)
{
    (void)state;
    struct fl_err err = {0};
    fl_err_prefix(&err, "context");
    assert_string_equal(err.text, "context");
}

static void test_control_characters_are_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *name, *in, *out;
    } rows[] = {
        {"a second line", "a\nlevel=error", "a?level=error"},
        {"a carriage return", "a\rb", "a?b"},
        {"an escape sequence", "\x1b[31mred", "?[31mred"},
        {"delete", "a\x7f", "a?"},
        {"C1, the control sequence introducer",
         "a\xc2\x9b"
         "31m",
         "a??31m"},
        {"a letter of Latin-1 stays", "\xc3\xa9", "\xc3\xa9"},
        {"a no-break space stays", "\xc2\xa0", "\xc2\xa0"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fl_err err = {0};
        fl_err_set(&err, -EINVAL, "%s", rows[i].in);
        if (strcmp(err.text, rows[i].out) != 0)
            fail_msg("%s: %s", rows[i].name, err.text);
    }
}

static void test_own_text_as_argument(void **state)
{
    (void)state;
    struct fl_err err = {0};
    fl_err_set(&err, -EINVAL, "inner");
    fl_err_set(&err, -EINVAL, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
    fl_err_prefix(&err, "%s again", err.text);
    assert_string_equal(err.text, "outer (inner) again: outer (inner)");
}

static void fill(char *text, size_t len)
{
    memset(text, 'x', len);
    text[len] = '\0';
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    char text[2 * FL_ERR_TEXT_MAX];
    struct fl_err err = {0};
    for (size_t len = FL_ERR_TEXT_MAX - 6; len < FL_ERR_TEXT_MAX + 6; len++) {
        fill(text, len);
        fl_err_set(&err, -EINVAL, "%s", text);
        assert_int_equal(strlen(err.text), len < FL_ERR_TEXT_MAX ? len : FL_ERR_TEXT_MAX - 1);
        fl_err_errno(&err, -ENOENT, "%s", text);
        assert_true(strlen(err.text) < FL_ERR_TEXT_MAX);
        fl_err_prefix(&err, "%s", text);
        assert_true(strlen(err.text) < FL_ERR_TEXT_MAX);
    }
}

/* Each length of the text before it lets the cut fall on another byte of the four-byte characters. */
static void test_cut_never_splits_a_character(void **state)
{
    (void)state;
    for (size_t before = 0; before < 8; before++) {
        char text[2 * FL_ERR_TEXT_MAX];
        struct fl_err err = {0};
        fill(text, before);
        while (strlen(text) < FL_ERR_TEXT_MAX + 16)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "\xf0\x9f\xa7\xad");
        fl_err_set(&err, -EINVAL, "%s", text);
        for (struct fl_span rest = fl_span_str(err.text); rest.len > 0;) {
            size_t length = fl_utf8_length(rest);
            assert_true(length > 0);
            rest = fl_span_from(rest, length);
        }
        assert_true(strlen(err.text) > FL_ERR_TEXT_MAX - 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_returns_the_code),
        cmocka_unit_test(test_null_is_allowed),
        cmocka_unit_test(test_errno_stands_behind),
        cmocka_unit_test(test_prefix_stands_in_front),
        cmocka_unit_test(test_prefix_of_nothing),
        cmocka_unit_test(test_control_characters_are_replaced),
        cmocka_unit_test(test_own_text_as_argument),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_cut_never_splits_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
