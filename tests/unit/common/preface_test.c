#include "common/mesh/preface.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct fl_preface typical = {
    .fields = {[FL_PREFACE_WORKLOAD] = FL_SPAN("web"), [FL_PREFACE_NAMESPACE] = FL_SPAN("default")}};

#define TYPICAL                                                                                                        \
    "FLP\x01\x00\x10\x01\x00\x03web\x02\x00\x07"                                                                       \
    "default"

static void the_form_on_the_wire(void **state)
{
    (void)state;
    struct fl_buf out;
    fl_buf_init(&out, 2048);
    assert_int_equal(fl_preface_print(&typical, &out), 0);
    assert_true(fl_span_eq(fl_buf_span(&out), FL_SPAN(TYPICAL)));
    fl_buf_clear(&out);
    assert_int_equal(fl_preface_print(&(struct fl_preface){0}, &out), 0);
    assert_true(fl_span_eq(fl_buf_span(&out), FL_SPAN("FLP\x01\x00\x00")));
    fl_buf_done(&out);
}

/* Byte by byte: more is asked for until all is there; what follows is left alone. */
static void a_preface_may_come_in_pieces(void **state)
{
    (void)state;
    const struct fl_span bytes = FL_SPAN(TYPICAL "GET /");
    const size_t whole = sizeof(TYPICAL) - 1;
    for (size_t length = 0; length <= bytes.len; length++) {
        struct guard guard;
        struct fl_preface preface = {0};
        size_t size = 77;
        guard_init(&guard, fl_span_make(bytes.data, length));
        int result = fl_preface_parse(guard.span, &preface, &size, NULL);
        assert_int_equal(result, length < whole ? FL_PREFACE_MORE : FL_PREFACE_DONE);
        assert_int_equal(size, length < whole ? 77 : whole);
        if (result == FL_PREFACE_DONE) {
            assert_true(fl_span_eq_str(preface.fields[FL_PREFACE_WORKLOAD], "web"));
            assert_true(fl_span_eq_str(preface.fields[FL_PREFACE_NAMESPACE], "default"));
            assert_int_equal(preface.fields[FL_PREFACE_APP].len, 0);
        }
        guard_done(&guard);
    }
}

static void what_breaks_the_protocol_is_told_at_once(void **state)
{
    (void)state;
    static const struct {
        struct fl_span bytes;
        const char *message;
    } rows[] = {
        {FL_SPAN("G"), "preface: wrong magic or version"},
        {FL_SPAN("FLX"), "preface: wrong magic or version"},
        {FL_SPAN("FLP\x02"), "preface: wrong magic or version"},
        {FL_SPAN("FLP\x01\x04\x01"), "preface: 1025 bytes, more than 1024"},
        {FL_SPAN("FLP\x01\x00\x01\x01"), "preface: a field is cut off"},
        {FL_SPAN("FLP\x01\x00\x02\x01\x00"), "preface: a field is cut off"},
        {FL_SPAN("FLP\x01\x00\x04\x01\x00\x02x"), "preface: a field of 2 bytes where 1 are left"},
        {FL_SPAN("FLP\x01\x00\x08\x01\x00\x01x\x01\x00\x01y"), "preface: field 1 stands twice"},
        {FL_SPAN("FLP\x01\x00\x06\x01\x00\x00\x01\x00\x00"), "preface: field 1 stands twice"},
        {FL_SPAN("FLP\x01\x00\x06\xc8\x00\x00\xc8\x00\x00"), "preface: field 200 stands twice"},
        {FL_SPAN("FLP\x01\x00\x04\x01\x00\x01\n"), "preface: field 1 is not text"},
        {FL_SPAN("FLP\x01\x00\x04\x01\x00\x01\x00"), "preface: field 1 is not text"},
        {FL_SPAN("FLP\x01\x00\x04\x01\x00\x01\x7f"), "preface: field 1 is not text"},
        {FL_SPAN("FLP\x01\x00\x04\x01\x00\x01\xff"), "preface: field 1 is not text"},
        {FL_SPAN("FLP\x01\x00\x05\x01\x00\x02\xc2\x85"), "preface: field 1 is not text"}, /* U+0085 */
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_preface preface;
        size_t size;
        guard_init(&guard, rows[i].bytes);
        assert_int_equal(fl_preface_parse(guard.span, &preface, &size, &err), -EPROTO);
        assert_string_equal(err.text, rows[i].message);
        guard_done(&guard);
    }
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    struct fl_preface preface;
    size_t size;
    assert_int_equal(
        fl_preface_parse(FL_SPAN("FLP\x01\x00\x09\xc8\x00\x02\xff\x00\x03\x00\x01x"), &preface, &size, NULL),
        FL_PREFACE_DONE);
    assert_true(fl_span_eq_str(preface.fields[FL_PREFACE_APP], "x"));
}

static void a_value_has_a_most(void **state)
{
    (void)state;
    char bytes[FL_PREFACE_HEAD + 3 + FL_PREFACE_VALUE_MAX + 1] = "FLP\x01\x01\x00\x01\x00\xfd";
    memset(bytes + 9, 'x', FL_PREFACE_VALUE_MAX + 1);
    struct fl_preface preface;
    size_t size;
    assert_int_equal(fl_preface_parse(fl_span_make(bytes, sizeof(bytes) - 1), &preface, &size, NULL), FL_PREFACE_DONE);
    bytes[5] = 1;
    bytes[8] = (char)0xfe;
    assert_int_equal(fl_preface_parse(fl_span_make(bytes, sizeof(bytes)), &preface, &size, NULL), -EPROTO);
}

/* Whatever the program hands in, what is sent is a preface: cut where it must be, in whole characters. */
static void what_is_printed_can_be_read(void **state)
{
    (void)state;
    char large[1000];
    struct fl_preface preface = {0}, again;
    memset(large, 'x', sizeof(large));
    memcpy(large + FL_PREFACE_VALUE_MAX - 1, "é", 2);
    for (size_t type = 1; type < FL_PREFACE_FIELDS; type++)
        preface.fields[type] = fl_span_make(large, sizeof(large));
    preface.fields[FL_PREFACE_APP] = FL_SPAN("a\nb");
    preface.fields[FL_PREFACE_VERSION] = FL_SPAN("\xff");
    struct fl_buf out;
    size_t size;
    fl_buf_init(&out, 4096);
    assert_int_equal(fl_preface_print(&preface, &out), 0);
    assert_int_equal(fl_preface_parse(fl_buf_span(&out), &again, &size, NULL), FL_PREFACE_DONE);
    assert_int_equal(size, out.len);
    assert_in_range(size, 0, FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX);
    assert_int_equal(again.fields[FL_PREFACE_WORKLOAD].len, FL_PREFACE_VALUE_MAX - 1);
    assert_true(fl_span_eq_str(again.fields[FL_PREFACE_APP], "a"));
    assert_int_equal(again.fields[FL_PREFACE_VERSION].len, 0);
    fl_buf_done(&out);
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 2048);
        int result = fl_preface_print(&typical, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
    struct fl_buf out;
    fl_buf_init(&out, 12);
    assert_int_equal(fl_preface_print(&typical, &out), -EMSGSIZE);
    assert_int_equal(out.len, 0);
    fl_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_on_the_wire),
        cmocka_unit_test(a_preface_may_come_in_pieces),
        cmocka_unit_test(what_breaks_the_protocol_is_told_at_once),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(a_value_has_a_most),
        cmocka_unit_test(what_is_printed_can_be_read),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
