#include "common/base/base64.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void both_ways(void **state)
{
    (void)state;
    static const struct {
        struct fl_span bytes;
        const char *text;
    } rows[] = {
        {FL_SPAN(""), ""},
        {FL_SPAN("f"), "Zg"},
        {FL_SPAN("fo"), "Zm8"},
        {FL_SPAN("foo"), "Zm9v"},
        {FL_SPAN("foob"), "Zm9vYg"},
        {FL_SPAN("fooba"), "Zm9vYmE"},
        {FL_SPAN("foobar"), "Zm9vYmFy"},
        {FL_SPAN("\xff\xef\xbe"), "_---"},
        {FL_SPAN("\0\0"), "AAA"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf text, bytes;
        struct guard guard;
        fl_buf_init(&text, 100);
        fl_buf_init(&bytes, 100);
        guard_init(&guard, rows[i].bytes);
        assert_int_equal(fl_base64url_encode(guard.span, &text), 0);
        guard_done(&guard);
        assert_string_equal(fl_buf_str(&text), rows[i].text);
        guard_init(&guard, fl_buf_span(&text));
        assert_int_equal(fl_base64url_decode(guard.span, &bytes), 0);
        guard_done(&guard);
        assert_true(fl_span_eq(fl_buf_span(&bytes), rows[i].bytes));
        fl_buf_done(&text);
        fl_buf_done(&bytes);
    }
}

static void other_spellings_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"Z",    "Zg==", "Zg=",   "Zh", "Zm9",   "Zm8 ",
                                        "Zm+v", "Zm/v", "Zm9vY", "\n", "Zm9v\n"};
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        struct fl_buf bytes;
        fl_buf_init(&bytes, 100);
        assert_int_equal(fl_buf_append_str(&bytes, "x"), 0);
        if (fl_base64url_decode(fl_span_str(texts[i]), &bytes) != -EINVAL || bytes.len != 1)
            fail_msg("%s", texts[i]);
        fl_buf_done(&bytes);
    }
}

static void padded_both_ways(void **state)
{
    (void)state;
    static const struct {
        struct fl_span bytes;
        const char *text;
    } rows[] = {
        {FL_SPAN(""), ""},        {FL_SPAN("f"), "Zg=="},        {FL_SPAN("fo"), "Zm8="},
        {FL_SPAN("foo"), "Zm9v"}, {FL_SPAN("foob"), "Zm9vYg=="}, {FL_SPAN("\xff\xef\xbe"), "/+++"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf text, bytes;
        struct guard guard;
        fl_buf_init(&text, 100);
        fl_buf_init(&bytes, 100);
        guard_init(&guard, rows[i].bytes);
        assert_int_equal(fl_base64_encode(guard.span, &text), 0);
        guard_done(&guard);
        assert_string_equal(fl_buf_str(&text), rows[i].text);
        guard_init(&guard, fl_buf_span(&text));
        assert_int_equal(fl_base64_decode(guard.span, &bytes), 0);
        guard_done(&guard);
        assert_true(fl_span_eq(fl_buf_span(&bytes), rows[i].bytes));
        fl_buf_done(&text);
        fl_buf_done(&bytes);
    }
}

static void other_padded_spellings_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "Z", "Zg", "Zg=", "Zh==", "Zm9", "Z===", "====", "Zg==Zg==", "Zm-v", "Zm_v", "Zm9v\n", "Zm8 ", "=m9v"};
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        struct fl_buf bytes;
        fl_buf_init(&bytes, 100);
        assert_int_equal(fl_buf_append_str(&bytes, "x"), 0);
        if (fl_base64_decode(fl_span_str(texts[i]), &bytes) != -EINVAL || bytes.len != 1)
            fail_msg("%s", texts[i]);
        fl_buf_done(&bytes);
    }
}

static void bounds_and_memory(void **state)
{
    (void)state;
    struct fl_buf tiny = {0};
    fl_buf_init(&tiny, 3);
    assert_int_equal(fl_base64url_encode(FL_SPAN("foo"), &tiny), -EMSGSIZE);
    assert_int_equal(fl_base64_encode(FL_SPAN("f"), &tiny), -EMSGSIZE);
    assert_int_equal(tiny.len, 0);
    fl_buf_done(&tiny);
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 100);
        int result = fl_base64url_encode(FL_SPAN("foo"), &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),         cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(padded_both_ways),  cmocka_unit_test(other_padded_spellings_are_refused),
        cmocka_unit_test(bounds_and_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
