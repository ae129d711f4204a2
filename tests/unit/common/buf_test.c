#include "common/base/buf.h"

#include "common/base/escape.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>

#include <cmocka.h>

static void assert_text(struct fl_buf *buf, const char *expected)
{
    const char *text = fl_buf_str(buf);
    assert_non_null(text);
    assert_string_equal(text, expected);
}

static void test_appends(void **state)
{
    (void)state;
    struct fl_buf buf;
    fl_buf_init(&buf, 1000);
    assert_text(&buf, "");
    assert_int_equal(fl_buf_append(&buf, FL_SPAN("ab")), 0);
    assert_int_equal(fl_buf_append(&buf, (struct fl_span){NULL, 0}), 0);
    assert_int_equal(fl_buf_append_str(&buf, "cd"), 0);
    assert_int_equal(fl_buf_append_byte(&buf, 'e'), 0);
    assert_int_equal(fl_buf_printf(&buf, "-%d-", 42), 0);
    assert_text(&buf, "abcde-42-");
    assert_int_equal(buf.len, 9);
    fl_buf_consume(&buf, 6);
    assert_text(&buf, "42-");
    fl_buf_consume(&buf, 3);
    assert_int_equal(buf.len, 0);
    fl_buf_clear(&buf);
    fl_buf_done(&buf);
    fl_buf_done(&buf);
}

static void test_zeroed_may_be_read_and_done(void **state)
{
    (void)state;
    struct fl_buf buf = {0};
    assert_int_equal(fl_buf_span(&buf).len, 0);
    assert_int_equal(fl_buf_append(&buf, FL_SPAN("a")), -EMSGSIZE);
    fl_buf_done(&buf);
}

/* At exactly max everything fits; one byte more leaves the content as it was. */
static void test_limit(void **state)
{
    (void)state;
    for (size_t max = 1; max < 600; max += 37) {
        struct fl_buf buf;
        fl_buf_init(&buf, max);
        while (buf.len < max)
            assert_int_equal(fl_buf_append_byte(&buf, 'x'), 0);
        assert_int_equal(fl_buf_append_byte(&buf, 'y'), -EMSGSIZE);
        assert_int_equal(fl_buf_append_str(&buf, "yy"), -EMSGSIZE);
        assert_int_equal(fl_buf_printf(&buf, "%d", 1), -EMSGSIZE);
        assert_int_equal(fl_buf_append_json_string(&buf, FL_SPAN("")), -EMSGSIZE);
        assert_int_equal(fl_buf_reserve(&buf, 1), -EMSGSIZE);
        assert_int_equal(fl_buf_reserve(&buf, SIZE_MAX), -EMSGSIZE);
        assert_int_equal(fl_buf_reserve(&buf, 0), 0);
        assert_int_equal(buf.len, max);
        assert_int_equal(strlen(fl_buf_str(&buf)), max);
        fl_buf_done(&buf);
    }
}

static void test_memory_is_bounded_by_max(void **state)
{
    (void)state;
    struct fl_buf buf;
    fl_buf_init(&buf, 5000);
    while (buf.len < 5000)
        assert_int_equal(fl_buf_append_byte(&buf, 'x'), 0);
    assert_true(buf.cap <= 5001);
    fl_buf_done(&buf);
}

static void test_printf_fits_exactly(void **state)
{
    (void)state;
    struct fl_buf buf;
    fl_buf_init(&buf, 5);
    assert_int_equal(fl_buf_printf(&buf, "%s", "12345"), 0);
    assert_text(&buf, "12345");
    fl_buf_clear(&buf);
    assert_int_equal(fl_buf_printf(&buf, "%s", "123456"), -EMSGSIZE);
    assert_text(&buf, "");
    fl_buf_done(&buf);
}

static int fill_all(struct fl_buf *buf)
{
    int result = fl_buf_append_str(buf, "start ");
    for (int i = 0; result == 0 && i < 200; i++)
        result = fl_buf_printf(buf, "%d,", i);
    if (result == 0)
        result = fl_buf_append_json_string(buf, FL_SPAN("a\"b\n\xff"));
    return result;
}

static void test_each_allocation_failing(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf buf;
        fl_buf_init(&buf, 100000);
        int result = fill_all(&buf);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        /* It goes on from where it was. */
        size_t before = buf.len;
        assert_int_equal(fl_buf_append_byte(&buf, 'x'), 0);
        assert_int_equal(buf.len, before + 1);
        fl_buf_done(&buf);
    }
}

static void test_str_without_memory(void **state)
{
    (void)state;
    struct fl_buf buf;
    fl_buf_init(&buf, 10);
    fail_at(1);
    assert_null(fl_buf_str(&buf));
    fail_stop();
    assert_text(&buf, "");
    fl_buf_done(&buf);
}

static void test_json_strings(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct fl_span text;
        const char *json;
    } rows[] = {
        {"plain", FL_SPAN("abc"), "\"abc\""},
        {"empty", FL_SPAN(""), "\"\""},
        {"no bytes", {NULL, 0}, "\"\""},
        {"quote and backslash", FL_SPAN("a\"b\\c"), "\"a\\\"b\\\\c\""},
        {"the short escapes", FL_SPAN("\n\r\t"), "\"\\n\\r\\t\""},
        {"other controls", FL_SPAN("\x01\x08\x0c\x10\x1f\x7f"), "\"\\u0001\\u0008\\u000c\\u0010\\u001f\\u007f\""},
        {"a NUL does not shorten", FL_SPAN("a\0b"), "\"a\\u0000b\""},
        {"two, three and four bytes", FL_SPAN("\xc3\xa9\xe2\x82\xac\xf0\x9f\xa7\xad"),
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\xa7\xad\""},
        {"U+10FFFF, the last", FL_SPAN("\xf4\x8f\xbf\xbf"), "\"\xf4\x8f\xbf\xbf\""},
        {"past U+10FFFF", FL_SPAN("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"a stray continuation", FL_SPAN("a\x80z"), "\"a\xef\xbf\xbdz\""},
        {"never a first byte", FL_SPAN("\xff\xfe"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"overlong slash, two bytes", FL_SPAN("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"overlong, three bytes", FL_SPAN("\xe0\x80\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"overlong, four bytes", FL_SPAN("\xf0\x80\x80\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"a surrogate", FL_SPAN("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"the last before the surrogates", FL_SPAN("\xed\x9f\xbf"), "\"\xed\x9f\xbf\""},
        {"torn by the end", FL_SPAN("a\xe2\x82"), "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
        {"torn by a quote", FL_SPAN("\xe2\""), "\"\xef\xbf\xbd\\\"\""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf buf;
        struct guard guard;
        fl_buf_init(&buf, 1000);
        guard_init(&guard, rows[i].text);
        assert_int_equal(fl_buf_append_json_string(&buf, guard.span), 0);
        if (!fl_span_eq_str(fl_buf_span(&buf), rows[i].json))
            fail_msg("%s: %s", rows[i].name, fl_buf_str(&buf));
        guard_done(&guard);
        fl_buf_done(&buf);
    }
}

/* Every byte at every place of a text that is looked at by words; the text ends at a page that cannot be read. */
static void test_plain_length(void **state)
{
    (void)state;
    static const char room[24];
    struct guard guard;
    guard_init(&guard, fl_span_make(room, sizeof(room)));
    char *end = (char *)(uintptr_t)guard.span.data + sizeof(room);
    for (size_t size = 0; size <= sizeof(room); size++) {
        char text[sizeof(room)];
        memset(text, '~', sizeof(text));
        for (size_t at = 0; at <= size; at++) {
            for (unsigned byte = 0; byte < 256 && at < size; byte++) {
                bool plain = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
                text[at] = (char)byte;
                memcpy(end - size, text, size);
                assert_int_equal(fl_json_plain_length(fl_span_make(end - size, size)), plain ? size : at);
            }
            text[at < size ? at : 0] = '~';
        }
    }
    guard_done(&guard);
}

static void test_json_string_past_max_leaves_nothing(void **state)
{
    (void)state;
    for (size_t max = 1; max < 12; max++) {
        struct fl_buf buf;
        fl_buf_init(&buf, max);
        assert_int_equal(fl_buf_append_byte(&buf, '['), 0);
        assert_int_equal(fl_buf_append_json_string(&buf, FL_SPAN("abcd\x01")), -EMSGSIZE);
        assert_text(&buf, "[");
        fl_buf_done(&buf);
    }
}

static int memory_file(size_t size)
{
    int fd = memfd_create("buf_test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(write(fd, &(char){(char)('a' + i % 26)}, 1), 1);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Around max, and around the size of one read. */
static void test_read_fd_limits(void **state)
{
    (void)state;
    static const size_t maxima[] = {0, 1, 255, 256, 257, 16383, 16384, 16385, 40000};
    for (size_t i = 0; i < FL_COUNT(maxima); i++) {
        size_t max = maxima[i];
        for (size_t size = max > 0 ? max - 1 : 0; size <= max + 1; size++) {
            FL_CLEANUP(fl_cleanup_close) int fd = memory_file(size);
            struct fl_buf buf;
            fl_buf_init(&buf, max + 2);
            assert_int_equal(fl_buf_append_str(&buf, "::"), 0);
            assert_int_equal(fl_buf_read_fd(&buf, fd), size <= max ? 0 : -EMSGSIZE);
            assert_int_equal(buf.len, size <= max ? size + 2 : 2);
            if (size > 0 && size <= max)
                assert_int_equal(buf.data[buf.len - 1], 'a' + (char)((size - 1) % 26));
            fl_buf_done(&buf);
        }
    }
}

static void test_read_fd_each_allocation_failing(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        fail_stop();
        FL_CLEANUP(fl_cleanup_close) int fd = memory_file(40000);
        struct fl_buf buf;
        fl_buf_init(&buf, 50000);
        fail_at(fail_round_);
        int result = fl_buf_read_fd(&buf, fd);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_int_equal(buf.len, fail_happened() ? 0 : 40000);
        fl_buf_done(&buf);
    }
}

static void test_read_errors(void **state)
{
    (void)state;
    struct fl_buf buf;
    fl_buf_init(&buf, 100);
    assert_int_equal(fl_buf_append_str(&buf, "kept"), 0);
    assert_int_equal(fl_buf_read_file(&buf, "/proc/self/no-such-file"), -ENOENT);
    assert_int_equal(fl_buf_read_file(&buf, "/proc/self"), -EISDIR);
    assert_int_equal(fl_buf_read_fd(&buf, -1), -EBADF);
    assert_text(&buf, "kept");
    fl_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_zeroed_may_be_read_and_done),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_memory_is_bounded_by_max),
        cmocka_unit_test(test_printf_fits_exactly),
        cmocka_unit_test(test_each_allocation_failing),
        cmocka_unit_test(test_str_without_memory),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_plain_length),
        cmocka_unit_test(test_json_string_past_max_leaves_nothing),
        cmocka_unit_test(test_read_fd_limits),
        cmocka_unit_test(test_read_fd_each_allocation_failing),
        cmocka_unit_test(test_read_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
