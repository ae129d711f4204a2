#include "common/doc/json.h"

#include "common/base/utf8.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static struct fl_json *parse(const char *text)
{
    struct fl_json *root = NULL;
    struct fl_err err = {0};
    if (fl_json_parse(fl_span_str(text), NULL, &root, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static void assert_prints(const struct fl_json *value, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_int_equal(fl_json_print(value, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static void what_is_json_is_read_and_printed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed; /* NULL: as the text */
    } rows[] = {
        {"null", NULL},
        {" \t\r\n true \n", "true"},
        {"[]", NULL},
        {"{}", NULL},
        {"[[],{},[{}]]", NULL},
        {"{ \"b\" : 1 , \"a\" : [ 2 , 3 ] }", "{\"b\":1,\"a\":[2,3]}"},
        {"{\"\":{\"\":0}}", NULL}, /* an empty name */
        {"{\"Name\":1,\"name\":2}", NULL},
        {"\"\\u0041\\u00e9\\ud83d\\ude00\"", "\"Aé😀\""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\""},
        {"{\"a\\nb\":1}", NULL},
        {"\"\xef\xbf\xbf\"", NULL}, /* a noncharacter is UTF-8 */
        {"0", NULL},
        {"-0", NULL},
        {"-1", NULL},
        {"999999999999999", NULL},
        {"1000000000000000", NULL},
        {"9007199254740992", NULL},
        {"9007199254740993", NULL}, /* 2^53 + 1: no double */
        {"12345678901234567890", NULL},
        {"-12345678901234567890123456789", NULL},
        {"0.1", NULL},
        {"1.0", NULL},
        {"3.14159265358979323846264338327950288", NULL},
        {"1E+2", NULL},
        {"1e400", NULL}, /* past every double */
        {"-1e-400", NULL},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *root = parse(rows[i].text);
        assert_prints(root, rows[i].printed != NULL ? rows[i].printed : rows[i].text);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *copy = fl_json_copy(root);
        assert_true(fl_json_equal(root, copy));
        assert_prints(copy, rows[i].printed != NULL ? rows[i].printed : rows[i].text);
    }
}

static void what_is_not_json_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "byte 0 ($): the text ends where a value is expected"},
        {"  ", "byte 2 ($): the text ends where a value is expected"},
        {"tru", "byte 0 ($): expected a value"},
        {"truex", "byte 4 ($): bytes after the value"},
        {"1 2", "byte 2 ($): bytes after the value"},
        {"{}{}", "byte 2 ($): bytes after the value"},
        {"\xef\xbb\xbf{}", "byte 0 ($): expected a value"}, /* a byte order mark */
        {"[1,]", "byte 3 ($[1]): expected a value"},
        {"[,1]", "byte 1 ($[0]): expected a value"},
        {"[1 2]", "byte 3 ($[1]): expected ',' or ']'"},
        {"[1", "byte 2 ($[1]): expected ',' or ']'"},
        {"[1}", "byte 2 ($[1]): expected ',' or ']'"},
        {"{\"a\":1,}", "byte 7 ($): expected a member name in quotes"},
        {"{a:1}", "byte 1 ($): expected a member name in quotes"},
        {"{\"a\" 1}", "byte 5 ($.a): expected ':' after the member name"},
        {"{\"a\":}", "byte 5 ($.a): expected a value"},
        {"{\"a\":1", "byte 6 ($): expected ',' or '}'"},
        {"{\"spec\":{\"containers\":[{},{\"name\":nil}]}}", "byte 34 ($.spec.containers[1].name): expected a value"},
        {"{\"x.y/z\":?}", "byte 9 ($[\"x.y/z\"]): expected a value"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "byte 19 ($.a): the name stands twice in its object"},
        {"{\"a\":{\"b\":1,\"\\u0062\":2}}", "byte 23 ($.a.b): the name stands twice in its object"},
        {"\"", "byte 1 ($): the text ends inside a string"},
        {"\"a\\", "byte 3 ($): unknown escape in a string"},
        {"\"\\x\"", "byte 2 ($): unknown escape in a string"},
        {"\"\\u12\"", "byte 3 ($): expected four hex digits after \\u"},
        {"\"\\u12g4\"", "byte 3 ($): expected four hex digits after \\u"},
        {"\"a\\u0000b\"", "byte 8 ($): U+0000 is refused"},
        {"{\"a\\u0000\":1}", "byte 9 ($): U+0000 is refused"},
        {"\"\\ud800\"", "byte 7 ($): half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "byte 13 ($): half of a surrogate pair"},
        {"\"\\ud800\\n\"", "byte 8 ($): half of a surrogate pair"},
        {"\"\\udc00\"", "byte 7 ($): half of a surrogate pair"},
        {"\"a\nb\"", "byte 2 ($): control character in a string; it must be escaped"},
        {"\"\x80\"", "byte 1 ($): invalid UTF-8 in a string"},
        {"\"\xc0\x80\"", "byte 1 ($): invalid UTF-8 in a string"},     /* overlong */
        {"\"\xed\xa0\x80\"", "byte 1 ($): invalid UTF-8 in a string"}, /* a raw surrogate */
        {"\"\xf4\x90\x80\x80\"", "byte 1 ($): invalid UTF-8 in a string"},
        {"\"\xe2\x82", "byte 1 ($): invalid UTF-8 in a string"}, /* cut */
        {"'a'", "byte 0 ($): expected a value"},
        {"01", "byte 0 ($): not a number that JSON knows"},
        {"-", "byte 0 ($): not a number that JSON knows"},
        {"+1", "byte 0 ($): expected a value"},
        {"1.", "byte 0 ($): not a number that JSON knows"},
        {".5", "byte 0 ($): expected a value"},
        {"1e", "byte 0 ($): not a number that JSON knows"},
        {"1e1234567890", "byte 0 ($): not a number that JSON knows"},
        {"0x10", "byte 1 ($): bytes after the value"},
        {"NaN", "byte 0 ($): expected a value"},
        {"-Infinity", "byte 0 ($): not a number that JSON knows"},
        {"[1,/* c */2]", "byte 3 ($[1]): expected a value"},
        {"\v1", "byte 0 ($): expected a value"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_json *root = NULL;
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_json_parse(guard.span, NULL, &root, &err), -EINVAL);
        assert_null(root);
        assert_string_equal(err.text, rows[i].message);
        assert_int_equal(fl_json_parse(guard.span, NULL, &root, NULL), -EINVAL);
        guard_done(&guard);
    }
}

static void an_escaped_nul_is_replaced_where_asked_for(void **state)
{
    (void)state;
    const struct fl_json_limits limits = {.nul_replaced = true};
    struct fl_json *root = NULL;
    assert_int_equal(fl_json_parse(FL_SPAN("{\"a\\u0000\":\"b\\u0000c\"}"), &limits, &root, NULL), 0);
    assert_string_equal(fl_json_string(fl_json_get(root, "a" FL_UTF8_REPLACEMENT)).data, "b" FL_UTF8_REPLACEMENT "c");
    fl_json_free(root);
    /* two names that are one now; a raw NUL; half of a surrogate pair */
    assert_int_equal(fl_json_parse(FL_SPAN("{\"\\u0000\":1,\"" FL_UTF8_REPLACEMENT "\":2}"), &limits, &root, NULL),
                     -EINVAL);
    assert_int_equal(fl_json_parse(FL_SPAN("\"a\0b\""), &limits, &root, NULL), -EINVAL);
    assert_int_equal(fl_json_parse(FL_SPAN("\"\\ud800\\u0000\""), &limits, &root, NULL), -EINVAL);
}

static void a_raw_nul_is_refused_everywhere(void **state)
{
    (void)state;
    static const struct fl_span rows[] = {FL_SPAN("{}\0"),  FL_SPAN("\0{}"),        FL_SPAN("\"a\0b\""),
                                          FL_SPAN("[1\0]"), FL_SPAN("{\"a\0\":1}"), FL_SPAN("1\0")};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_json *root = NULL;
        assert_int_equal(fl_json_parse(rows[i], NULL, &root, NULL), -EINVAL);
    }
}

static int parse_within(const char *text, struct fl_json_limits limits, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    return fl_json_parse(fl_span_str(text), &limits, &root, err);
}

static void limits_hold_to_the_value(void **state)
{
    (void)state;
    struct fl_err err;
    assert_int_equal(parse_within("[1]", (struct fl_json_limits){.bytes_max = 3}, &err), 0);
    assert_int_equal(parse_within("[1] ", (struct fl_json_limits){.bytes_max = 3}, &err), -EMSGSIZE);
    assert_string_equal(err.text, "the text has 4 bytes, more than 3");
    assert_int_equal(parse_within("[[{}]]", (struct fl_json_limits){.depth_max = 3}, &err), 0);
    assert_int_equal(parse_within("[[{\"a\":[]}]]", (struct fl_json_limits){.depth_max = 3}, &err), -EMSGSIZE);
    assert_string_equal(err.text, "byte 7 ($[0][0].a): arrays and objects are nested too deeply");
    assert_int_equal(parse_within("[1,{\"a\":2}]", (struct fl_json_limits){.values_max = 4}, &err), 0);
    assert_int_equal(parse_within("[1,{\"a\":2}]", (struct fl_json_limits){.values_max = 3}, &err), -EMSGSIZE);
    assert_string_equal(err.text, "byte 8 ($[1].a): too many values");
}

static void depth_is_capped_whatever_the_caller_asks(void **state)
{
    (void)state;
    char text[100000];
    memset(text, '[', sizeof(text));
    struct fl_json *root = NULL;
    struct fl_json_limits limits = {.depth_max = 1u << 30};
    assert_int_equal(fl_json_parse(fl_span_make(text, sizeof(text)), &limits, &root, NULL), -EMSGSIZE);
    memset(text + FL_JSON_DEPTH_MAX, ']', FL_JSON_DEPTH_MAX);
    struct fl_span fits = fl_span_make(text, 2 * FL_JSON_DEPTH_MAX);
    assert_int_equal(fl_json_parse(fits, &limits, &root, NULL), 0);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *copy = fl_json_copy(root);
    assert_true(fl_json_equal(root, copy));
    assert_int_equal(fl_json_depth(root), FL_JSON_DEPTH_MAX);
    fl_json_free(root);
}

/* A program can build deeper than it may read: that tree can be freed, and everything else declines. */
static struct fl_json *new_deep(void)
{
    struct fl_json *root = fl_json_new_null();
    for (unsigned i = 0; i < 200000; i++) {
        struct fl_json *outer = fl_json_new_array();
        assert_int_equal(fl_json_append(outer, root), 0);
        root = outer;
    }
    return root;
}

static void a_tree_that_is_too_deep_can_only_be_freed(void **state)
{
    (void)state;
    struct fl_json *root = new_deep(), *other = new_deep();
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_null(fl_json_copy(root));
    assert_false(fl_json_equal(root, other));
    fl_json_free(other);
    assert_int_equal(fl_json_depth(root), FL_JSON_DEPTH_MAX + 1);
    assert_int_equal(fl_json_print(root, &out), -EMSGSIZE);
    assert_int_equal(out.len, 0);
    fl_buf_done(&out);
    struct fl_json *object = fl_json_new_object();
    assert_int_equal(fl_json_set(object, "deep", root), 0);
    assert_int_equal(fl_json_set(object, "deep", fl_json_new_null()), 0); /* replaces, frees the deep one */
    assert_prints(object, "{\"deep\":null}");
    fl_json_free(object);
}

static void look_ups_are_exact_and_chain(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *root = parse("{\"Spec\":{\"list\":[1,\"two\",true,null]},\"\":7,\"n\":1.5}");
    assert_null(fl_json_get(root, "spec"));
    assert_null(fl_json_get(root, "Spe"));
    assert_null(fl_json_get(root, "Specs"));
    assert_non_null(fl_json_get(root, ""));
    assert_null(fl_json_get_span(root, FL_SPAN("Spec\0x")));
    assert_int_equal(fl_json_count(root), 3);
    const struct fl_json *list = fl_json_get(fl_json_get(root, "Spec"), "list");
    assert_int_equal(fl_json_count(list), 4);
    assert_true(fl_span_eq_str(fl_json_string(fl_json_at(list, 1)), "two"));
    assert_true(fl_json_bool(fl_json_at(list, 2)));
    assert_int_equal(fl_json_kind(fl_json_at(list, 3)), FL_JSON_NULL);
    assert_null(fl_json_at(list, 4));
    assert_null(fl_json_at(root, 0)); /* an object has no elements */
    assert_null(fl_json_get(fl_json_get(fl_json_get(NULL, "a"), "b"), "c"));
    assert_null(fl_json_get(list, "list"));
    assert_null(fl_json_first(fl_json_at(list, 0)));
    assert_int_equal(fl_json_string(fl_json_at(list, 0)).len, 0);
    assert_true(fl_json_number(fl_json_get(root, "n")) == 1.5);
    assert_true(fl_json_number(list) == 0);
    assert_false(fl_json_bool(NULL));
    assert_int_equal(fl_json_name(root).len, 0);
    assert_true(fl_span_eq_str(fl_json_name(fl_json_first(root)), "Spec"));
}

static void whole_numbers_are_exact_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool whole;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"1.0", true, 1},
        {"1e3", true, 1000},
        {"100e-2", true, 1},
        {"9007199254740992", true, 9007199254740992},
        {"-9007199254740992", true, -9007199254740992},
        {"9007199254740993", false, 0}, /* rounds to 2^53 */
        {"9007199254740994", false, 0},
        {"1.5", false, 0},
        {"1.00000000000000000000001", false, 0}, /* rounds to 1 */
        {"1e400", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *root = parse(rows[i].text);
        int64_t value = 42;
        assert_int_equal(fl_json_int(root, INT64_MIN, INT64_MAX, &value), rows[i].whole);
        assert_int_equal(value, rows[i].whole ? rows[i].value : 42);
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *port = parse("65536");
    int64_t value;
    assert_false(fl_json_int(port, 1, 65535, &value));
    assert_true(fl_json_int(port, 1, 65536, &value));
    assert_false(fl_json_int(port, 65537, 65538, &value));
}

static void made_numbers_print_without_exponent(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0, "0"},
                {1e15, "1000000000000000"},
                {9007199254740992.0, "9007199254740992"},
                {-9007199254740991.0, "-9007199254740991"},
                {0.1, "0.1"},
                {0.1 + 0.2, "0.30000000000000004"},
                {1e21, "1e+21"},
                {5e-324, "4.94065645841247e-324"}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *number = fl_json_new_number(rows[i].value);
        assert_prints(number, rows[i].text);
        assert_true(fl_json_number(number) == rows[i].value);
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *least = fl_json_new_int(INT64_MIN);
    assert_prints(least, "-9223372036854775808");
    assert_null(fl_json_new_number(HUGE_VAL));
    assert_null(fl_json_new_number((double)NAN));
    assert_null(fl_json_new_decimal(FL_SPAN("1x")));
    assert_null(fl_json_new_decimal(FL_SPAN("")));
    FL_CLEANUP(fl_cleanup_json) struct fl_json *huge = parse("1e400");
    assert_true(isinf(fl_json_number(huge)));
}

static void equality_is_by_meaning(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } rows[] = {
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1}", true},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"{\"a\":1,\"c\":2}", "{\"a\":1,\"b\":2}", false},
        {"{\"a\":1}", "{\"A\":1}", false},
        {"[1,2]", "[2,1]", false},
        {"[1,2]", "[1]", false},
        {"[]", "{}", false},
        {"null", "false", false},
        {"true", "false", false},
        {"0", "-0", true},
        {"0", "0e5", true},
        {"1", "1.0", true},
        {"1", "10e-1", true},
        {"1500", "1.5e3", true},
        {"0.001", "1e-3", true},
        {"1", "-1", false},
        {"1", "10", false},
        {"12345678901234567890", "12345678901234567891", false}, /* one double */
        {"12345678901234567890", "1234567890123456789e1", true},
        {"\"1\"", "1", false},
        {"\"a\"", "\"ab\"", false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *a = parse(rows[i].a);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *b = parse(rows[i].b);
        assert_int_equal(fl_json_equal(a, b), rows[i].equal);
        assert_int_equal(fl_json_equal(b, a), rows[i].equal);
    }
}

static void building_replaces_in_place_and_takes_apart(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = parse("{\"a\":1,\"b\":{\"c\":[]},\"d\":[1,2,3]}");
    assert_int_equal(fl_json_set(root, "b", fl_json_new_string(FL_SPAN("x"))), 0);
    assert_int_equal(fl_json_set(root, "e", fl_json_new_bool(false)), 0);
    assert_prints(root, "{\"a\":1,\"b\":\"x\",\"d\":[1,2,3],\"e\":false}");
    struct fl_json *list = fl_json_get(root, "d");
    assert_int_equal(fl_json_insert(list, 0, fl_json_new_int(0)), 0);
    assert_int_equal(fl_json_insert(list, 4, fl_json_new_int(4)), 0);
    assert_int_equal(fl_json_insert(list, 2, fl_json_new_null()), 0);
    assert_int_equal(fl_json_insert(list, 7, fl_json_new_null()), -ENOENT);
    assert_prints(list, "[0,1,null,2,3,4]");
    assert_int_equal(fl_json_remove_at(list, 5), 0);
    assert_int_equal(fl_json_remove_at(list, 5), -ENOENT);
    assert_int_equal(fl_json_remove_at(root, 0), -EINVAL);
    assert_int_equal(fl_json_append(list, fl_json_new_int(9)), 0); /* the last one's end was moved */
    assert_prints(list, "[0,1,null,2,3,9]");
    struct fl_json *moved = fl_json_detach(root, FL_SPAN("a"));
    assert_int_equal(fl_json_name(moved).len, 0);
    assert_int_equal(fl_json_append(list, moved), 0);
    moved = fl_json_detach_at(list, 0);
    assert_int_equal(fl_json_set(root, "z", moved), 0);
    assert_int_equal(fl_json_remove(root, FL_SPAN("b")), 0);
    assert_int_equal(fl_json_remove(root, FL_SPAN("b")), -ENOENT);
    assert_int_equal(fl_json_remove(list, FL_SPAN("b")), -EINVAL);
    assert_null(fl_json_detach(root, FL_SPAN("b")));
    assert_prints(root, "{\"d\":[1,null,2,3,9,1],\"e\":false,\"z\":0}");
}

static void a_value_is_freed_where_it_cannot_be_placed(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *array = fl_json_new_array();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = fl_json_new_object();
    assert_int_equal(fl_json_set(array, "a", fl_json_new_null()), -EINVAL);
    assert_int_equal(fl_json_append(object, fl_json_new_null()), -EINVAL);
    assert_int_equal(fl_json_insert(object, 0, fl_json_new_null()), -EINVAL);
    assert_int_equal(fl_json_set_span(object, FL_SPAN("a\0b"), fl_json_new_null()), -EINVAL);
    assert_int_equal(fl_json_set(object, "a", NULL), -ENOMEM);
    assert_int_equal(fl_json_append(NULL, fl_json_new_null()), -EINVAL);
    assert_null(fl_json_new_string(FL_SPAN("a\0b")));
    assert_null(fl_json_copy(NULL));
    assert_null(fl_json_free(NULL));
}

static void print_stops_at_the_buffers_end(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = parse("{\"a\":[1,\"xyz\",null]}");
    struct fl_buf out;
    fl_buf_init(&out, 21);
    assert_int_equal(fl_buf_append_str(&out, "-"), 0);
    assert_int_equal(fl_json_print(root, &out), 0);
    assert_int_equal(out.len, 21);
    fl_buf_clear(&out);
    assert_int_equal(fl_buf_append_str(&out, "--"), 0);
    assert_int_equal(fl_json_print(root, &out), -EMSGSIZE);
    assert_string_equal(fl_buf_str(&out), "--");
    fl_buf_done(&out);
}

/* 6 MiB of members, in order and the other way round: sorting, not comparing each with each. */
static void large_objects_take_no_square_of_time(void **state)
{
    (void)state;
    struct fl_buf up, down;
    fl_buf_init(&up, 6 << 20);
    fl_buf_init(&down, 6 << 20);
    const unsigned count = 400000;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(fl_buf_printf(&up, "%c\"k%u\":1", i == 0 ? '{' : ',', i), 0);
        assert_int_equal(fl_buf_printf(&down, "%c\"k%u\":1", i == 0 ? '{' : ',', count - 1 - i), 0);
    }
    assert_int_equal(fl_buf_append_byte(&up, '}'), 0);
    assert_int_equal(fl_buf_append_byte(&down, '}'), 0);
    struct fl_json_limits limits = {.bytes_max = 6 << 20, .values_max = 1 << 20};
    struct fl_json *a = NULL, *b = NULL;
    assert_int_equal(fl_json_parse(fl_buf_span(&up), &limits, &a, NULL), 0);
    assert_int_equal(fl_json_parse(fl_buf_span(&down), &limits, &b, NULL), 0);
    assert_true(fl_json_equal(a, b));
    fl_json_free(a);
    fl_json_free(b);
    up.len--;
    assert_int_equal(fl_buf_append_str(&up, ",\"k17\":2}"), 0);
    struct fl_err err;
    assert_int_equal(fl_json_parse(fl_buf_span(&up), &limits, &a, &err), -EINVAL);
    assert_non_null(strstr(err.text, "($.k17): the name stands twice in its object"));
    fl_buf_done(&up);
    fl_buf_done(&down);
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    static const char text[] = "{\"a\\t\":[1,2.50,\"t\\u00e9xt\",true,{}],\"b\":12345678901234567890,\"1\":1,\"2\":2,"
                               "\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,\"9\":9,\"10\":10,\"11\":11,\"12\":12,"
                               "\"13\":13,\"14\":14,\"15\":15,\"16\":16}";
    FAIL_EACH_ALLOCATION
    {
        struct fl_json *root = NULL, *copy = NULL;
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        int result = fl_json_parse(fl_span_str(text), NULL, &root, NULL);
        if (result == 0 && (copy = fl_json_copy(root)) == NULL)
            result = -ENOMEM;
        if (result == 0)
            result = fl_json_set(copy, "b", fl_json_new_number(0.5));
        if (result == 0)
            result = fl_json_set(copy, "c", fl_json_new_int(INT64_MAX));
        if (result == 0)
            result = fl_json_print(copy, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
        fl_json_free(root);
        fl_json_free(copy);
    }
}

/* Equality has no way to tell that memory was out: it must answer right without its index. */
static void equality_needs_no_memory(void **state)
{
    (void)state;
    struct fl_json *a = fl_json_new_object(), *b = fl_json_new_object();
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "k%d", i);
        assert_int_equal(fl_json_set(a, name, fl_json_new_int(i)), 0);
        snprintf(name, sizeof(name), "k%d", 39 - i);
        assert_int_equal(fl_json_set(b, name, fl_json_new_int(39 - i)), 0);
    }
    fail_at(1);
    assert_true(fl_json_equal(a, b));
    assert_true(fail_happened());
    fail_stop();
    fl_json_free(a);
    fl_json_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json_is_read_and_printed),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(an_escaped_nul_is_replaced_where_asked_for),
        cmocka_unit_test(a_raw_nul_is_refused_everywhere),
        cmocka_unit_test(limits_hold_to_the_value),
        cmocka_unit_test(depth_is_capped_whatever_the_caller_asks),
        cmocka_unit_test(a_tree_that_is_too_deep_can_only_be_freed),
        cmocka_unit_test(look_ups_are_exact_and_chain),
        cmocka_unit_test(whole_numbers_are_exact_or_refused),
        cmocka_unit_test(made_numbers_print_without_exponent),
        cmocka_unit_test(equality_is_by_meaning),
        cmocka_unit_test(building_replaces_in_place_and_takes_apart),
        cmocka_unit_test(a_value_is_freed_where_it_cannot_be_placed),
        cmocka_unit_test(print_stops_at_the_buffers_end),
        cmocka_unit_test(large_objects_take_no_square_of_time),
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test(equality_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
