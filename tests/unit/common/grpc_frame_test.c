/* The pure parts of common/grpc: frames, statuses, addresses, back-off. */
#include "common/grpc/frame.h"

#include "common/base/backoff.h"
#include "common/grpc/address.h"
#include "common/grpc/status.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* Reads all of `input` in pieces of at most `piece` bytes; appends each message and a '|' to `into`. */
static int read_pieces(struct fl_grpc_reader *reader, struct fl_span input, size_t piece, struct fl_buf *into)
{
    while (input.len > 0) {
        struct guard guard;
        guard_init(&guard, fl_span_make(input.data, piece < input.len ? piece : input.len));
        input = fl_span_from(input, guard.span.len);
        int result = FL_GRPC_READ_MESSAGE;
        while (guard.span.len > 0 && result == FL_GRPC_READ_MESSAGE) {
            struct fl_span message;
            result = fl_grpc_reader_next(reader, &guard.span, &message);
            if (result == FL_GRPC_READ_MESSAGE) {
                assert_int_equal(fl_buf_append(into, message), 0);
                assert_int_equal(fl_buf_append_byte(into, '|'), 0);
            }
        }
        guard_done(&guard);
        if (result < 0)
            return result;
    }
    return 0;
}

static void test_frames(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct fl_span input;
        int result;
        const char *messages;
        bool between;
    } rows[] = {
        {"nothing", {"", 0}, 0, "", true},
        {"an empty message", {"\0\0\0\0\0", 5}, 0, "|", true},
        {"one", {"\0\0\0\0\3abc", 8}, 0, "abc|", true},
        {"three, one empty", {"\0\0\0\0\1a\0\0\0\0\0\0\0\0\0\2bc", 18}, 0, "a||bc|", true},
        {"cut in the head", {"\0\0\0\0\1a\0\0", 8}, 0, "a|", false},
        {"cut in the message", {"\0\0\0\0\3ab", 7}, 0, "", false},
        {"as long as allowed", {"\0\0\0\0\10abcdefgh", 13}, 0, "abcdefgh|", true},
        {"one longer", {"\0\0\0\0\11abcdefghi", 14}, -EMSGSIZE, "", true},
        {"four gigabytes", {"\0\377\377\377\377", 5}, -EMSGSIZE, "", true},
        {"compressed", {"\1\0\0\0\1a", 6}, -ENOTSUP, "", true},
        {"flags that do not exist", {"\2\0\0\0\1a", 6}, -EBADMSG, "", true},
        {"compressed, after a good one", {"\0\0\0\0\1a\1\0\0\0\1a", 12}, -ENOTSUP, "a|", true},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (size_t piece = 1; piece <= rows[i].input.len + 1; piece++) {
            struct fl_grpc_reader reader;
            struct fl_buf messages;
            fl_grpc_reader_init(&reader, 8);
            fl_buf_init(&messages, 1024);
            if (read_pieces(&reader, rows[i].input, piece, &messages) != rows[i].result ||
                !fl_span_eq_str(fl_buf_span(&messages), rows[i].messages))
                fail_msg("%s, by %zu: %.*s", rows[i].name, piece, FL_SPAN_ARG(fl_buf_span(&messages)));
            if (rows[i].result == 0)
                assert_int_equal(fl_grpc_reader_is_between(&reader), rows[i].between);
            fl_buf_done(&messages);
            fl_grpc_reader_done(&reader);
        }
    }
}

/* A head that announces much costs nothing until bytes come. */
static void test_memory_follows_bytes(void **state)
{
    (void)state;
    struct fl_grpc_reader reader;
    struct fl_span bytes = {"\0\0\100\0\0a", 6}, message;
    fl_grpc_reader_init(&reader, 4u << 20);
    assert_int_equal(fl_grpc_reader_next(&reader, &bytes, &message), FL_GRPC_READ_MORE);
    assert_true(reader.message.cap <= 256);
    fl_grpc_reader_done(&reader);
}

static void test_frame_append(void **state)
{
    (void)state;
    struct fl_buf buf;
    fl_buf_init(&buf, 10);
    assert_int_equal(fl_grpc_frame_append(&buf, FL_SPAN("abc")), 0);
    assert_int_equal(fl_grpc_frame_append(&buf, FL_SPAN("d")), -EMSGSIZE);
    assert_true(fl_span_eq(fl_buf_span(&buf), fl_span_make("\0\0\0\0\3abc", 8)));
    fl_buf_done(&buf);
}

static void test_frame_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_grpc_reader reader;
        struct fl_span bytes = {"\0\0\0\0\3a", 6}, message;
        fl_grpc_reader_init(&reader, 8);
        int result = fl_grpc_reader_next(&reader, &bytes, &message);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : FL_GRPC_READ_MORE);
        fl_grpc_reader_done(&reader);
    }
}

static void test_status(void **state)
{
    (void)state;
    assert_int_equal(fl_grpc_status_parse(FL_SPAN("0")), FL_GRPC_OK);
    assert_int_equal(fl_grpc_status_parse(FL_SPAN("16")), FL_GRPC_UNAUTHENTICATED);
    static const char *const bad[] = {"", "17", "-1", "+1", " 1", "001", "x", "99999999999999999999"};
    for (size_t i = 0; i < FL_COUNT(bad); i++)
        assert_int_equal(fl_grpc_status_parse(fl_span_str(bad[i])), FL_GRPC_UNKNOWN);
    assert_string_equal(fl_grpc_status_text(FL_GRPC_DATA_LOSS), "DATA_LOSS");
    assert_string_equal(fl_grpc_status_text((enum fl_grpc_status)99), "UNKNOWN");
    assert_int_equal(fl_grpc_status_of_http(503), FL_GRPC_UNAVAILABLE);
    assert_int_equal(fl_grpc_status_of_http(404), FL_GRPC_UNIMPLEMENTED);
    assert_int_equal(fl_grpc_status_of_http(200), FL_GRPC_UNKNOWN);
    assert_int_equal(fl_grpc_status_of_reset(8), FL_GRPC_CANCELLED);
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *value, *back;
    } rows[] = {
        {"plain", "not here", "not here", "not here"},
        {"percent", "100%", "100%25", "100%"},
        {"line break", "a\nb", "a%0Ab", "a?b"},
        {"UTF-8", "\xc3\xa4", "%C3%A4", "\xc3\xa4"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf value, back;
        fl_buf_init(&value, 4096);
        fl_buf_init(&back, FL_GRPC_TEXT_MAX);
        assert_int_equal(fl_grpc_text_print(&value, fl_span_str(rows[i].text)), 0);
        assert_true(fl_span_eq_str(fl_buf_span(&value), rows[i].value));
        assert_int_equal(fl_grpc_text_parse(&back, fl_buf_span(&value)), 0);
        assert_true(fl_span_eq_str(fl_buf_span(&back), rows[i].back));
        fl_buf_done(&value);
        fl_buf_done(&back);
    }
}

static void test_text_of_peers(void **state)
{
    (void)state;
    struct fl_buf back;
    fl_buf_init(&back, FL_GRPC_TEXT_MAX);
    assert_int_equal(fl_grpc_text_parse(&back, FL_SPAN("%")), 0);
    assert_int_equal(fl_grpc_text_parse(&back, FL_SPAN("%4")), 0);
    assert_int_equal(fl_grpc_text_parse(&back, FL_SPAN("%zz%41")), 0);
    assert_true(fl_span_eq_str(fl_buf_span(&back), "%%4%zzA"));
    fl_buf_done(&back);
    char many[3 * FL_GRPC_TEXT_MAX];
    memset(many, 'x', sizeof(many));
    fl_buf_init(&back, FL_GRPC_TEXT_MAX);
    assert_int_equal(fl_grpc_text_parse(&back, fl_span_make(many, sizeof(many))), 0);
    assert_int_equal(back.len, FL_GRPC_TEXT_MAX);
    fl_buf_done(&back);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed; /* NULL: refused */
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1:80"},
        {"[::1]:15012", "[::1]:15012"},
        {"[fd00:0::1]:1", "[fd00::1]:1"},
        {"127.0.0.1", NULL},
        {"127.0.0.1:", NULL},
        {":80", NULL},
        {"::1:80", NULL},
        {"[::1]", NULL},
        {"[]:80", NULL},
        {"[127.0.0.1]:80", NULL},
        {"127.0.0.1:65536", NULL},
        {"localhost:80", NULL},
        {"", NULL},
        {"[fe80::1%lo]:80", NULL},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_grpc_address address;
        char printed[FL_GRPC_ADDRESS_TEXT_MAX];
        int result = fl_grpc_address_parse(fl_span_str(rows[i].text), &address);
        if ((result == 0) != (rows[i].printed != NULL))
            fail_msg("%s", rows[i].text);
        if (result == 0) {
            assert_int_equal(fl_grpc_address_print(&address, printed), strlen(rows[i].printed));
            assert_string_equal(printed, rows[i].printed);
        }
    }
}

static void test_sources(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
        bool same;
    } rows[] = {
        {"10.0.0.1:1", "10.0.0.1:2", true},   {"10.0.0.1:1", "10.0.0.2:1", false},
        {"[fd00::1]:1", "[fd00::2]:1", true}, {"[fd00:0:0:1::1]:1", "[fd00:0:0:2::1]:1", false},
        {"10.0.0.1:1", "[fd00::1]:1", false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_grpc_address one, other;
        assert_int_equal(fl_grpc_address_parse(fl_span_str(rows[i].one), &one), 0);
        assert_int_equal(fl_grpc_address_parse(fl_span_str(rows[i].other), &other), 0);
        assert_int_equal(fl_grpc_address_same_source(&one, &other), rows[i].same);
    }
}

static void test_backoff(void **state)
{
    (void)state;
    struct fl_backoff backoff;
    uint32_t highest = 0;
    for (int i = 0; i < 200; i++) {
        fl_backoff_init(&backoff, 100, 1000);
        assert_true(fl_backoff_next(&backoff) <= 100);
        assert_true(fl_backoff_next(&backoff) <= 200);
        for (int k = 0; k < 100; k++) {
            uint32_t delay = fl_backoff_next(&backoff);
            assert_true(delay <= 1000);
            highest = delay > highest ? delay : highest;
        }
        fl_backoff_reset(&backoff);
        assert_true(fl_backoff_next(&backoff) <= 100);
    }
    assert_true(highest > 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),        cmocka_unit_test(test_memory_follows_bytes),
        cmocka_unit_test(test_frame_append),  cmocka_unit_test(test_frame_memory),
        cmocka_unit_test(test_status),        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_of_peers), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_sources),       cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
