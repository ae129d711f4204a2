/* Regular expressions: what matches, what is no pattern, what is put in its place, and that a costly one ends. */
#include "common/regex/pattern.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct fl_pattern *make(const char *text)
{
    struct fl_pattern *pattern = NULL;
    struct fl_err err = {0};
    if (fl_pattern_new(fl_span_str(text), &pattern, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return pattern;
}

static void a_whole_text_matches(void **state)
{
    static const struct {
        const char *name, *pattern, *text;
        bool matches;
    } rows[] = {
        {"itself", "/a", "/a", true},
        {"not a part at its end", "/a", "/ab", false},
        {"not a part at its beginning", "a", "/a", false},
        {"alternatives keep to both ends", "/a|/b", "/bc", false},
        {"classes", "/v[0-9]+/.*", "/v12/x?y", true},
        {"octets, no characters", "/.", "/\xc3\xa4", false},
        {"an empty text", ".*", "", true},
        {"the end is no line's end", "a$", "a\n", false},
        {"case counts", "/A", "/a", false},
        {"unless it says otherwise", "(?i)/A", "/a", true},
        {"anchors of its own", "^/a$", "/a", true},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_pattern *pattern = make(rows[i].pattern);
        if (fl_pattern_matches(pattern, fl_span_str(rows[i].text)) != rows[i].matches)
            fail_msg("%s", rows[i].name);
        assert_true(fl_pattern_size(pattern) > 0);
        fl_pattern_free(pattern);
    }
}

static void what_is_no_pattern_is_told(void **state)
{
    static const struct {
        const char *pattern, *why;
    } rows[] = {
        {"", "a regular expression has 1 to 4096 octets"},
        {"(a", "no regular expression, at its octet 2: missing closing parenthesis"},
        {"a**b", "no regular expression, at its octet 2"},
        {"\\C", "no regular expression, at its octet 2"},
        {"(*UTF)a", "no regular expression, at its octet 6"},
        {"((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))", "parentheses are too deeply nested"},
    };
    char text[FL_PATTERN_MAX + 2];
    struct fl_pattern *pattern = NULL;
    struct fl_err err = {0};
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(fl_pattern_new(fl_span_str(rows[i].pattern), &pattern, &err), -EINVAL);
        if (strstr(err.text, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].pattern, err.text);
    }
    memset(text, 'a', sizeof(text));
    assert_int_equal(fl_pattern_new(fl_span_make(text, FL_PATTERN_MAX + 1), &pattern, &err), -EINVAL);
    assert_null(pattern);
}

static void a_costly_one_ends_without_a_match(void **state)
{
    char text[4096];
    (void)state;
    memset(text, 'a', sizeof(text));
    struct fl_pattern *pattern = make("(a+)+b|(a|aa)+c");
    assert_false(fl_pattern_matches(pattern, fl_span_make(text, sizeof(text))));
    fl_pattern_free(pattern);
}

static void what_matches_is_replaced(void **state)
{
    static const struct {
        const char *name, *pattern, *substitution, *text, *expected;
    } rows[] = {
        {"the whole", "^/.*", "/new", "/old/x", "/new"},
        {"nothing", "/x", "/new", "/old", "/old"},
        {"every one", "a", "b", "/a/a", "/b/b"},
        {"groups", "^/([^/]+)/([^/]+)", "/\\2/\\1", "/a/b/c", "/b/a/c"},
        {"all of it", "b+", "<\\0>", "abbc", "a<bb>c"},
        {"a backslash, a dollar", "b", "\\\\$1", "abc", "a\\$1c"},
        {"a group without a part", "(x)?b", "\\1!", "abc", "a!c"},
        {"empty matches go on", "x*", "-", "ab", "-a-b-"},
        {"an empty text", "^", "/", "", "/"},
    };
    char to[64];
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_pattern *pattern = make(rows[i].pattern);
        struct fl_span result = {NULL, 0};
        assert_int_equal(fl_pattern_check(pattern, fl_span_str(rows[i].substitution), NULL), 0);
        assert_int_equal(fl_pattern_replace(pattern, fl_span_str(rows[i].text), fl_span_str(rows[i].substitution), to,
                                            sizeof(to), &result),
                         0);
        if (!fl_span_eq_str(result, rows[i].expected))
            fail_msg("%s: %.*s", rows[i].name, FL_SPAN_ARG(result));
        assert_int_equal(fl_pattern_replace(pattern, fl_span_str(rows[i].text), fl_span_str(rows[i].substitution), to,
                                            strlen(rows[i].expected) - 1, &result),
                         -EMSGSIZE);
        fl_pattern_free(pattern);
    }
}

static void a_wrong_substitution_is_told(void **state)
{
    static const char *const wrong[] = {"\\", "a\\n", "\\2", "\\"};
    struct fl_pattern *pattern = make("(a)");
    struct fl_err err = {0};
    (void)state;
    for (size_t i = 0; i < FL_COUNT(wrong); i++)
        assert_int_equal(fl_pattern_check(pattern, fl_span_str(wrong[i]), &err), -EINVAL);
    assert_int_equal(fl_pattern_check(pattern, FL_SPAN("\\1\\\\\\0"), &err), 0);
    fl_pattern_free(pattern);
}

static void our_own_memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_pattern *pattern = NULL;
        int result = fl_pattern_new(FL_SPAN("a"), &pattern, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_pattern_free(pattern);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_text_matches),
        cmocka_unit_test(what_is_no_pattern_is_told),
        cmocka_unit_test(a_costly_one_ends_without_a_match),
        cmocka_unit_test(what_matches_is_replaced),
        cmocka_unit_test(a_wrong_substitution_is_told),
        cmocka_unit_test(our_own_memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
