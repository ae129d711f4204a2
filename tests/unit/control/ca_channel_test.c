#include "control/ca/channel.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    bool answer;
    struct control_channel_message message;
} rows[] = {
    {false,
     {.kind = CONTROL_CHANNEL_SIGN,
      .id = 7,
      .validity_s = 3600,
      .identity = FL_SPAN("spiffe://a/ns/b/sa/c"),
      .key = FL_SPAN("\x30\0\x01")}},
    {false, {.kind = CONTROL_CHANNEL_SERVER, .id = UINT32_MAX, .key = FL_SPAN("k")}},
    {true,
     {.kind = CONTROL_CHANNEL_READY,
      .not_after = UINT64_C(1) << 40,
      .changes = 5,
      .isolated = 1,
      .bundle = FL_SPAN("-----BEGIN")}},
    {true, {.kind = CONTROL_CHANNEL_FAILED, .text = FL_SPAN("no")}},
    {true,
     {.kind = CONTROL_CHANNEL_SIGNED, .id = 8, .not_after = 9, .serial = FL_SPAN("0aff"), .chain = FL_SPAN("pem")}},
    {true, {.kind = CONTROL_CHANNEL_REFUSED, .id = 9, .text = FL_SPAN("")}},
};

static void assert_same(const struct control_channel_message *a, const struct control_channel_message *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->validity_s, b->validity_s);
    assert_int_equal(a->not_after, b->not_after);
    assert_int_equal(a->changes, b->changes);
    assert_int_equal(a->isolated, b->isolated);
    assert_true(fl_span_eq(a->identity, b->identity) && fl_span_eq(a->key, b->key) &&
                fl_span_eq(a->bundle, b->bundle) && fl_span_eq(a->serial, b->serial) &&
                fl_span_eq(a->chain, b->chain) && fl_span_eq(a->text, b->text));
}

static void messages_come_back_cut_at_any_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf out;
        struct control_channel_message read;
        fl_buf_init(&out, 4096);
        assert_int_equal(control_channel_write(&rows[i].message, &out), 0);
        for (size_t len = 0; len < out.len; len++) {
            struct guard guard;
            guard_init(&guard, fl_span_make(out.data, len));
            struct fl_span rest = guard.span;
            assert_int_equal(control_channel_read(&rest, rows[i].answer, &read), CONTROL_CHANNEL_MORE);
            assert_int_equal(rest.len, len);
            guard_done(&guard);
        }
        struct fl_span rest = fl_buf_span(&out);
        assert_int_equal(control_channel_read(&rest, rows[i].answer, &read), CONTROL_CHANNEL_MESSAGE);
        assert_int_equal(rest.len, 0);
        assert_same(&read, &rows[i].message);
        rest = fl_buf_span(&out);
        assert_int_equal(control_channel_read(&rest, !rows[i].answer, &read), -EBADMSG);
        fl_buf_done(&out);
    }
}

static void what_is_no_message(void **state)
{
    (void)state;
    static const struct fl_span bad[] = {
        FL_SPAN("\xff\xff\xff\xff"),                           /* length */
        FL_SPAN("\0\0\x20\0"),                                 /* a byte too many */
        FL_SPAN("\0\0\0\x04\x02\0\0\0"),                       /* no room for an id */
        FL_SPAN("\0\0\0\0"),                                   /* nothing */
        FL_SPAN("\0\0\0\x05\x00\0\0\0\0"),                     /* kind */
        FL_SPAN("\0\0\0\x05\xff\0\0\0\0"),                     /* kind */
        FL_SPAN("\0\0\0\x05\x10\0\0\0\0"),                     /* an answer */
        FL_SPAN("\0\0\0\x05\x02\0\0\0\0"),                     /* fields missing */
        FL_SPAN("\0\0\0\x0a\x02\0\0\0\0\0\0\0\x02k"),          /* a field that is cut */
        FL_SPAN("\0\0\0\x0a\x02\0\0\0\0\0\0\0\0k"),            /* a byte behind */
        FL_SPAN("\0\0\0\x0a\x02\0\0\0\0\xff\xff\xff\xffk"),    /* length of a field */
        FL_SPAN("\0\0\0\x0d\x01\0\0\0\0\0\0\0\0\0\0\x08\x01"), /* past its maximum */
    };
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        struct guard guard;
        struct control_channel_message read;
        guard_init(&guard, bad[i]);
        struct fl_span rest = guard.span;
        if (control_channel_read(&rest, false, &read) != -EBADMSG)
            fail_msg("row %zu", i);
        guard_done(&guard);
    }
}

static void what_is_too_long_is_not_written(void **state)
{
    (void)state;
    static char large[CONTROL_CHANNEL_ANSWER_MAX];
    struct fl_span many = fl_span_make(large, sizeof(large));
    struct fl_buf out;
    fl_buf_init(&out, 2 * CONTROL_CHANNEL_ANSWER_MAX);
    assert_int_equal(fl_buf_append_str(&out, "x"), 0);
    const struct control_channel_message messages[] = {
        {.kind = CONTROL_CHANNEL_SIGN, .identity = many},
        {.kind = CONTROL_CHANNEL_SERVER, .key = many},
        {.kind = CONTROL_CHANNEL_READY, .bundle = many},
        {.kind = CONTROL_CHANNEL_SIGNED, .chain = many},
    };
    for (size_t i = 0; i < FL_COUNT(messages); i++) {
        assert_int_equal(control_channel_write(&messages[i], &out), -EMSGSIZE);
        assert_int_equal(out.len, 1);
    }
    const struct control_channel_message reason = {.kind = CONTROL_CHANNEL_REFUSED, .text = many};
    struct control_channel_message read;
    assert_int_equal(control_channel_write(&reason, &out), 0); /* a reason is cut */
    struct fl_span rest = fl_span_from(fl_buf_span(&out), 1);
    assert_int_equal(control_channel_read(&rest, true, &read), CONTROL_CHANNEL_MESSAGE);
    assert_int_equal(read.text.len, CONTROL_CHANNEL_TEXT_MAX);
    fl_buf_done(&out);
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        int result = control_channel_write(&rows[0].message, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_true(result == 0 || out.len == 0);
        fl_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back_cut_at_any_byte),
        cmocka_unit_test(what_is_no_message),
        cmocka_unit_test(what_is_too_long_is_not_written),
        cmocka_unit_test(when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
