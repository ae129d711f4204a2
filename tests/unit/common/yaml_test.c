#include "common/doc/yaml.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_prints(const struct fl_json *value, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_int_equal(fl_json_print(value, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static struct fl_yaml *parse(struct fl_span text)
{
    struct fl_yaml *yaml = NULL;
    struct fl_err err = {0};
    if (fl_yaml_parse(text, "f.yaml", NULL, &yaml, &err) < 0)
        fail_msg("%.*s: %s", FL_SPAN_ARG(text), err.text);
    return yaml;
}

static void yaml_becomes_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"a: 1\nb:\n  - x\n  - y: [1, 2]\n", "{\"a\":1,\"b\":[\"x\",{\"y\":[1,2]}]}"},
        {"- yes\n- no\n- on\n- off\n- y\n", "[\"yes\",\"no\",\"on\",\"off\",\"y\"]"}, /* 1.2: no booleans */
        {"[true, True, TRUE, tRUE, false, False, FALSE]", "[true,true,true,\"tRUE\",false,false,false]"},
        {"[null, Null, NULL, ~, nULL]", "[null,null,null,null,\"nULL\"]"},
        {"a:\nb: ''\n", "{\"a\":null,\"b\":\"\"}"},
        {"['1', \"true\", 'null']", "[\"1\",\"true\",\"null\"]"},
        {"[!!str 1, ! 2, !!int 3, !!float 1.5, !!bool true, !!null ~]", "[\"1\",\"2\",3,1.5,true,null]"},
        {"!!map {a: !!seq [1]}", "{\"a\":[1]}"},
        {"[0, -1, +2, 007, -007, 12345678901234567890]", "[0,-1,2,7,-7,12345678901234567890]"},
        {"[0o14, 0xFf, 0o8, 0x, 0b1]", "[12,255,\"0o8\",\"0x\",\"0b1\"]"},
        {"[1.5, -.5, 1., 1.e3, 1e3, 1E-3, +.5e+1, 00.10]", "[1.5,-0.5,1,1e3,1e3,1e-3,0.5e+1,0.10]"},
        {"[., +, -, 1.2.3, 1e, 1_000, '.', 10.0.0.0/8, 1:30, 2026-01-02, e5]",
         "[\".\",\"+\",\"-\",\"1.2.3\",\"1e\",\"1_000\",\".\",\"10.0.0.0/8\",\"1:30\",\"2026-01-02\",\"e5\"]"},
        {"a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\\n\"}"},
        {"a: |\n  1\n", "{\"a\":\"1\\n\"}"}, /* a block scalar is a string */
        {"\"\\u00e9\\x41\\U0001F600\"", "\"éA😀\""},
        {"'1': a\n\"true\": b\n'<<': c\n", "{\"1\":\"a\",\"true\":\"b\",\"<<\":\"c\"}"},
        {"# nothing but a comment\na: 1 # and one behind\n", "{\"a\":1}"},
        {"%YAML 1.2\n---\na: 1\n...\n", "{\"a\":1}"},
        {"\xef\xbb\xbf"
         "a: 1",
         "{\"a\":1}"}, /* a byte order mark */
        {"{\"a\":[1,2.50,\"x\\/y\\n\",true,null,{}]}", "{\"a\":[1,2.50,\"x/y\\n\",true,null,{}]}"},
        {"{\n\t\"a\": 1,\n\t\"b\": []\n}\n", "{\"a\":1,\"b\":[]}"},
        {" [\"\\ud83d\\ude00\"]", "[\"😀\"]"},                 /* JSON that libyaml does not take */
        {"{\"a\":\"x\xc2\x85y\"}", "{\"a\":\"x\xc2\x85y\"}"}, /* JSON that libyaml reads otherwise */
        {"\"\xef\xbf\xbe\"", "\"\xef\xbf\xbe\""},
        {"--- \"text\"\n", "\"text\""},
        {"null\n", "null"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = parse(fl_span_str(rows[i].text));
        assert_int_equal(fl_yaml_count(yaml), 1);
        assert_prints(fl_yaml_document(yaml, 0), rows[i].json);
    }
}

static void errors_name_file_line_and_column(void **state)
{
    (void)state;
    static const struct {
        struct fl_span text;
        const char *message;
    } rows[] = {
        {FL_SPAN("a: 1\nb: {c: 1, c: 2}\n"), "f.yaml:2:14: the key \"c\" stands twice in its mapping"},
        {FL_SPAN("a: 1\na: 2\n"), "f.yaml:2:4: the key \"a\" stands twice in its mapping"},
        {FL_SPAN("{\"a\":1,\"\\u0061\":2}"), "f.yaml:1:17: the key \"a\" stands twice in its mapping"},
        {FL_SPAN("x:\n  1: a\n"), "f.yaml:2:3: expected a string as a key, got a number; put it in quotes"},
        {FL_SPAN("true: a\n"), "f.yaml:1:1: expected a string as a key, got a boolean; put it in quotes"},
        {FL_SPAN("~: a\n"), "f.yaml:1:1: expected a string as a key, got null; put it in quotes"},
        {FL_SPAN("? [a]\n: b\n"), "f.yaml:1:3: expected a string as a key"},
        {FL_SPAN("? {a: b}\n: b\n"), "f.yaml:1:3: expected a string as a key"},
        {FL_SPAN("a: {x: 1}\nb:\n  <<: {y: 2}\n"), "f.yaml:3:3: merge keys are refused; write the members out"},
        {FL_SPAN("a: &x 1\n"), "f.yaml:1:4: anchors and aliases are refused; write the value out"},
        {FL_SPAN("a: &x {}\n"), "f.yaml:1:4: anchors and aliases are refused; write the value out"},
        {FL_SPAN("- &x []\n"), "f.yaml:1:3: anchors and aliases are refused; write the value out"},
        {FL_SPAN("- *x\n"), "f.yaml:1:3: anchors and aliases are refused; write the value out"},
        {FL_SPAN("a: !secret x\n"), "f.yaml:1:4: unknown tag, or one that does not fit the value"},
        {FL_SPAN("a: !!int x\n"), "f.yaml:1:4: unknown tag, or one that does not fit the value"},
        {FL_SPAN("a: !!binary eA==\n"), "f.yaml:1:4: unknown tag, or one that does not fit the value"},
        {FL_SPAN("a: !!set {x}\n"), "f.yaml:1:4: unknown tag"},
        {FL_SPAN("a: .inf\n"), "f.yaml:1:4: not a number that JSON can hold"},
        {FL_SPAN("a: -.INF\n"), "f.yaml:1:4: not a number that JSON can hold"},
        {FL_SPAN("a: .nan\n"), "f.yaml:1:4: not a number that JSON can hold"},
        {FL_SPAN("a: 1e1234567890\n"), "f.yaml:1:4: not a number that JSON can hold"},
        {FL_SPAN("a: 0xffffffffffffffff\n"), "f.yaml:1:4: not a number that JSON can hold"},
        {FL_SPAN("a: \"x\\0y\"\n"), "f.yaml:1:4: U+0000 is refused"},
        {FL_SPAN("a: \"x\\u0000y\"\n"), "f.yaml:1:4: U+0000 is refused"},
        {FL_SPAN("\"x\\0y\": 1\n"), "f.yaml:1:1: U+0000 is refused"},
        {FL_SPAN("a: x\0y\n"), "f.yaml:1:5: control characters are not allowed"},
        {FL_SPAN("a: é\nb: \xff\n"), "f.yaml:2:4: invalid leading UTF-8 octet"},
        {FL_SPAN("a: [1, 2\nb: 3\n"), "f.yaml:2:2: did not find expected ',' or ']'"},
        {FL_SPAN("a:\n\t- 1\n"), "f.yaml:2:1: found character that cannot start any token"},
        {FL_SPAN("a: \"x\n"), "f.yaml:2:1: found unexpected end of stream"},
        {FL_SPAN("\xff\xfe"
                 "a\0"),
         "f.yaml:1:1: invalid leading UTF-8 octet"}, /* UTF-16 */
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_yaml *yaml = NULL;
        guard_init(&guard, rows[i].text);
        assert_int_equal(fl_yaml_parse(guard.span, "f.yaml", NULL, &yaml, &err), -EINVAL);
        assert_null(yaml);
        assert_string_equal(err.text, rows[i].message);
        assert_int_equal(fl_yaml_parse(guard.span, "f.yaml", NULL, &yaml, NULL), -EINVAL);
        guard_done(&guard);
    }
}

static void empty_documents_are_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
    } rows[] = {{"", 0},        {"# only this\n", 0},          {"---\n", 0},         {"---\n---\na: 1\n---\n", 1},
                {"--- ~\n", 1}, {"a: 1\n---\nb: 2\n...\n", 2}, {"--- a\n--- b\n", 2}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = parse(fl_span_str(rows[i].text));
        assert_int_equal(fl_yaml_count(yaml), rows[i].count);
        assert_null(fl_yaml_document(yaml, rows[i].count));
    }
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *none = parse((struct fl_span){NULL, 0});
    assert_int_equal(fl_yaml_count(none), 0);
}

static void assert_position(const struct fl_yaml *yaml, const struct fl_json *value, unsigned line, unsigned column)
{
    struct fl_position position = fl_positions_find(fl_yaml_positions(yaml), value);
    assert_int_equal(position.line, line);
    assert_int_equal(position.column, column);
}

static void each_value_has_its_position(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_yaml)
    struct fl_yaml *yaml = parse(FL_SPAN("a: 1\nb:\n  - x\n  -  y: [1,\n  2]\n---\né: z\n"));
    const struct fl_json *root = fl_yaml_document(yaml, 0);
    const struct fl_json *list = fl_json_get(root, "b");
    assert_position(yaml, root, 1, 1);
    assert_position(yaml, fl_json_get(root, "a"), 1, 4);
    assert_position(yaml, list, 3, 3);
    assert_position(yaml, fl_json_at(list, 0), 3, 5);
    assert_position(yaml, fl_json_at(list, 1), 4, 6);
    assert_position(yaml, fl_json_at(fl_json_get(fl_json_at(list, 1), "y"), 1), 5, 3);
    assert_position(yaml, fl_json_get(fl_yaml_document(yaml, 1), "é"), 7, 4);
    assert_position(yaml, NULL, 0, 0);
    struct fl_json *other = fl_json_new_null();
    assert_position(yaml, other, 0, 0);
    fl_json_free(other);
    assert_string_equal(fl_positions_file(fl_yaml_positions(yaml)), "f.yaml");
    assert_null(fl_positions_file(NULL));
}

static int parse_within(const char *text, struct fl_json_limits limits, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    return fl_yaml_parse(fl_span_str(text), "f", &limits, &yaml, err);
}

static void limits_hold(void **state)
{
    (void)state;
    struct fl_err err;
    assert_int_equal(parse_within("a: 1", (struct fl_json_limits){.bytes_max = 4}, &err), 0);
    assert_int_equal(parse_within("a: 12", (struct fl_json_limits){.bytes_max = 4}, &err), -EMSGSIZE);
    assert_string_equal(err.text, "f: the text has 5 bytes, more than 4");
    assert_int_equal(parse_within("a: [[]]", (struct fl_json_limits){.depth_max = 3}, &err), 0);
    assert_int_equal(parse_within("a: [[[]]]", (struct fl_json_limits){.depth_max = 3}, &err), -EMSGSIZE);
    assert_string_equal(err.text, "f:1:6: sequences and mappings are nested too deeply");
    assert_int_equal(parse_within("[1, 2]", (struct fl_json_limits){.values_max = 3}, &err), 0);
    assert_int_equal(parse_within("[1, 2]", (struct fl_json_limits){.values_max = 2}, &err), -EMSGSIZE);
    assert_string_equal(err.text, "f:1:5: too many values");
}

/* A mebibyte of what makes parsers slow, deep or large. It must end soon and well, whatever the answer. */
static void hostile_input_is_bounded(void **state)
{
    (void)state;
    static const char *const patterns[] = {"[",    "{",   "- ",    "? ",   "{a: ", "a: ",  "--- a\n", "---\n", "a\n\n",
                                           "[a],", "\"a", "- a\n", "!!a ", "[?",   "[a: ", "{\"a\":", "{?,",   "#\n"};
    const size_t size = 1 << 20;
    char *text = malloc(size);
    assert_non_null(text);
    for (size_t i = 0; i < FL_COUNT(patterns); i++) {
        size_t length = strlen(patterns[i]);
        for (size_t at = 0; at < size; at++)
            text[at] = patterns[i][at % length];
        struct fl_yaml *yaml = NULL;
        int result = fl_yaml_parse(fl_span_make(text, size), "f", NULL, &yaml, NULL);
        assert_true(result == 0 || result == -EINVAL || result == -EMSGSIZE);
        fl_yaml_free(yaml);
    }
    free(text);
}

static void files_are_loaded_by_their_names(void **state)
{
    (void)state;
    char path[] = "/tmp/yaml_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: [\n", 5), 5);
    close(fd);
    struct fl_yaml *yaml = NULL;
    struct fl_err err = {0};
    char expected[128];
    assert_int_equal(fl_yaml_load(path, NULL, &yaml, &err), -EINVAL);
    snprintf(expected, sizeof(expected), "%s:2:1: did not find expected node content", path);
    assert_string_equal(err.text, expected);
    struct fl_json_limits limits = {.bytes_max = 4};
    assert_int_equal(fl_yaml_load(path, &limits, &yaml, &err), -EMSGSIZE);
    unlink(path);
    assert_int_equal(fl_yaml_load(path, NULL, &yaml, &err), -ENOENT);
    snprintf(expected, sizeof(expected), "%s: No such file or directory", path);
    assert_string_equal(err.text, expected);
    assert_null(yaml);
    assert_null(fl_yaml_free(NULL));
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    static const char *const texts[] = {"a: [1, 0x10, 2.50, text, \"q\", true, ~]\nb: {c: d}\n---\ne\n",
                                        "{\"a\":\"\\ud83d\\ude00\"}"};
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        FAIL_EACH_ALLOCATION
        {
            struct fl_yaml *yaml = NULL;
            int result = fl_yaml_parse(fl_span_str(texts[i]), "f", NULL, &yaml, NULL);
            fail_stop();
            assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
            fl_yaml_free(yaml);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_becomes_json),
        cmocka_unit_test(errors_name_file_line_and_column),
        cmocka_unit_test(empty_documents_are_left_out),
        cmocka_unit_test(each_value_has_its_position),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(hostile_input_is_bounded),
        cmocka_unit_test(files_are_loaded_by_their_names),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
