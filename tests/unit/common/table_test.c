#include "common/doc/path.h"
#include "common/doc/table.h"
#include "common/doc/yaml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct inner {
    uint16_t port;
    int mode;
};

struct outer {
    bool on;
    uint16_t small;
    uint32_t medium;
    int64_t large;
    struct fl_span text, name;
    struct inner inner;
    const struct fl_json *any, *list, *map;
};

static const char *const modes[] = {"STRICT", "PERMISSIVE", NULL};
static const struct fl_row inner_rows[] = {
    {"port", fl_read_u16, offsetof(struct inner, port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {"mode", fl_read_enum, offsetof(struct inner, mode), FL_ROW_NULL_OK, 0, 0, modes},
    {0},
};
static const struct fl_table inner_table = {inner_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row rows[] = {
    {"on", fl_read_bool, offsetof(struct outer, on), 0, 0, 0, NULL},
    {"small", fl_read_u16, offsetof(struct outer, small), 0, 0, 0, NULL},
    {"medium", fl_read_u32, offsetof(struct outer, medium), FL_ROW_NULL_OK, 0, 0, NULL},
    {"large", fl_read_i64, offsetof(struct outer, large), 0, -5, 1LL << 60, NULL},
    {"text", fl_read_string, offsetof(struct outer, text), 0, 0, 0, NULL},
    {"name", fl_read_string, offsetof(struct outer, name), FL_ROW_REQUIRED | FL_ROW_NULL_OK, 1, 4, NULL},
    {"inner", fl_read_object, offsetof(struct outer, inner), 0, 0, 0, &inner_table},
    {"any", fl_read_json, offsetof(struct outer, any), 0, 0, 0, NULL},
    {"list", fl_read_array, offsetof(struct outer, list), 0, 0, 0, NULL},
    {"map", fl_read_map, offsetof(struct outer, map), 0, 0, 0, NULL},
    {0},
};
static const struct fl_table strict = {rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_table lenient = {rows, FL_TABLE_IGNORE_UNKNOWN};

static struct fl_json *parse(const char *text)
{
    struct fl_json *root = NULL;
    assert_int_equal(fl_json_parse(fl_span_str(text), NULL, &root, NULL), 0);
    return root;
}

static void fields_are_filled_and_defaults_stay(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *root =
        parse("{\"name\":\"abcd\",\"on\":true,\"small\":65535,\"medium\":null,\"large\":-5,\"text\":\"\","
              "\"inner\":{\"port\":1,\"mode\":\"PERMISSIVE\"},\"any\":[1],\"list\":[],\"map\":{}}");
    struct outer outer = {.medium = 7, .inner.mode = 9};
    struct fl_reader reader;
    fl_reader_init(&reader, NULL, NULL);
    assert_int_equal(fl_table_read(&reader, root, &strict, &outer), 0);
    assert_true(outer.on);
    assert_int_equal(outer.small, 65535);
    assert_int_equal(outer.medium, 7);
    assert_int_equal(outer.large, -5);
    assert_int_equal(outer.text.len, 0);
    assert_true(fl_span_eq_str(outer.name, "abcd"));
    assert_int_equal(outer.inner.port, 1);
    assert_int_equal(outer.inner.mode, 1);
    assert_ptr_equal(outer.any, fl_json_get(root, "any"));
    assert_int_equal(fl_json_kind(outer.list), FL_JSON_ARRAY);
    assert_int_equal(fl_json_kind(outer.map), FL_JSON_OBJECT);
    assert_string_equal(reader.path, "$");
}

static void unknown_members_are_as_the_table_says(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = parse("{\"name\":\"a\",\"Small\":\"x\"}");
    struct outer outer = {.small = 3};
    struct fl_reader reader;
    struct fl_err err = {0};
    fl_reader_init(&reader, NULL, &err);
    assert_int_equal(fl_table_read(&reader, root, &lenient, &outer), 0);
    assert_int_equal(outer.small, 3);
    assert_int_equal(fl_table_read(&reader, root, &strict, &outer), -EINVAL);
    assert_string_equal(err.text,
                        "$.Small: unknown member; known are on, small, medium, large, text, name, inner, any, "
                        "list, map");
    assert_string_equal(reader.path, "$");
}

static void errors_tell_the_path_and_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "$: expected an object, got an array"},
        {"{}", "$.name: required, but missing"},
        {"{\"name\":null}", "$.name: required, but null"},
        {"{\"name\":7}", "$.name: expected a string, got 7"},
        {"{\"name\":\"\"}", "$.name: expected a string of 1 to 4 bytes, got 0 bytes"},
        {"{\"name\":\"abcde\"}", "$.name: expected a string of 1 to 4 bytes, got 5 bytes"},
        {"{\"name\":\"a\",\"on\":\"true\"}", "$.on: expected true or false, got \"true\""},
        {"{\"name\":\"a\",\"on\":null}", "$.on: null is not allowed here: leave the member out"},
        {"{\"name\":\"a\",\"any\":null}", "$.any: null is not allowed here: leave the member out"},
        {"{\"name\":\"a\",\"small\":65536}", "$.small: expected a whole number from 0 to 65535, got 65536"},
        {"{\"name\":\"a\",\"small\":-1}", "$.small: expected a whole number from 0 to 65535, got -1"},
        {"{\"name\":\"a\",\"small\":1.5}", "$.small: expected a whole number from 0 to 65535, got 1.5"},
        {"{\"name\":\"a\",\"medium\":4294967296}",
         "$.medium: expected a whole number from 0 to 4294967295, got 4294967296"},
        {"{\"name\":\"a\",\"large\":-6}", "$.large: expected a whole number from -5 to 9007199254740992, got -6"},
        {"{\"name\":\"a\",\"large\":[]}", "$.large: expected a whole number from -5 to 9007199254740992, got an array"},
        {"{\"name\":\"a\",\"inner\":[]}", "$.inner: expected an object, got an array"},
        {"{\"name\":\"a\",\"inner\":{}}", "$.inner.port: required, but missing"},
        {"{\"name\":\"a\",\"inner\":{\"port\":0}}", "$.inner.port: expected a whole number from 1 to 65535, got 0"},
        {"{\"name\":\"a\",\"inner\":{\"port\":1,\"mode\":\"strict\"}}",
         "$.inner.mode: expected one of \"STRICT\", \"PERMISSIVE\", got \"strict\""},
        {"{\"name\":\"a\",\"inner\":{\"port\":1,\"mode\":true}}",
         "$.inner.mode: expected one of \"STRICT\", \"PERMISSIVE\", got a boolean"},
        {"{\"name\":\"a\",\"inner\":{\"port\":1,\"x/y\":true}}",
         "$.inner[\"x/y\"]: unknown member; known are port, mode"},
        {"{\"name\":\"a\",\"list\":{}}", "$.list: expected an array, got an object"},
        {"{\"name\":\"a\",\"map\":[]}", "$.map: expected an object, got an array"},
        {"{\"name\":\"a\",\"on\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}",
         "$.on: expected true or false, got \"0123456789012345678901234567890123456789012345678901234567890123…"},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *root = parse(cases[i].text);
        struct outer outer = {0};
        struct fl_reader reader;
        struct fl_err err = {0};
        fl_reader_init(&reader, NULL, &err);
        assert_int_equal(fl_table_read(&reader, root, &strict, &outer), -EINVAL);
        assert_string_equal(err.text, cases[i].message);
        fl_reader_init(&reader, NULL, NULL);
        assert_int_equal(fl_table_read(&reader, root, &strict, &outer), -EINVAL);
    }
}

static void errors_in_yaml_name_file_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"name: a\ninner:\n  port: x\n",
         "mesh.yaml:3:9: $.inner.port: expected a whole number from 1 to 65535, got \"x\""},
        {"name: a\ninner:\n  mode: STRICT\n", "mesh.yaml:3:3: $.inner.port: required, but missing"},
        {"name: a\nnmae: b\n", "mesh.yaml:2:7: $.nmae: unknown member; known are on, small, medium, large, text, name, "
                               "inner, any, list, map"},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
        struct outer outer = {0};
        struct fl_reader reader;
        struct fl_err err = {0};
        assert_int_equal(fl_yaml_parse(fl_span_str(cases[i].text), "mesh.yaml", NULL, &yaml, &err), 0);
        fl_reader_init(&reader, fl_yaml_positions(yaml), &err);
        assert_int_equal(fl_table_read(&reader, fl_yaml_document(yaml, 0), &strict, &outer), -EINVAL);
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(fl_reader_fail(&reader, NULL, "no place"), -EINVAL);
        assert_string_equal(err.text, "mesh.yaml: $: no place");
    }
}

/* A path that is too long is cut at a character, and stepping back finds it whole again. */
static void long_paths_are_cut_and_come_back(void **state)
{
    (void)state;
    struct fl_reader reader;
    fl_reader_init(&reader, NULL, NULL);
    size_t marks[64], lengths[64];
    char before[64][FL_TABLE_PATH_MAX];
    for (size_t i = 0; i < 64; i++) {
        memcpy(before[i], reader.path, sizeof(before[i]));
        lengths[i] = reader.path_len;
        marks[i] = i % 3 == 0 ? fl_reader_enter_at(&reader, i) : fl_reader_enter(&reader, FL_SPAN("ééé"));
        assert_int_equal(strlen(reader.path), reader.path_len);
        assert_in_range(reader.path_len, 1, FL_TABLE_PATH_MAX - 1);
    }
    assert_true(fl_span_ends_with(fl_span_str(reader.path), FL_SPAN("…")));
    for (size_t i = 64; i-- > 0;) {
        fl_reader_leave(&reader, marks[i]);
        assert_int_equal(reader.path_len, lengths[i]);
        assert_string_equal(reader.path, before[i]);
    }
    assert_string_equal(reader.path, "$");
}

static void steps_of_a_path(void **state)
{
    (void)state;
    char path[64];
    size_t length = fl_path_start(path, sizeof(path));
    length = fl_path_push_name(path, sizeof(path), length, FL_SPAN("a-b_1"));
    length = fl_path_push_index(path, sizeof(path), length, 12);
    length = fl_path_push_name(path, sizeof(path), length, FL_SPAN("fairlead.io/x"));
    length = fl_path_push_name(path, sizeof(path), length, FL_SPAN(""));
    assert_string_equal(path, "$.a-b_1[12][\"fairlead.io/x\"][\"\"]");
    assert_int_equal(length, strlen(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_filled_and_defaults_stay),
        cmocka_unit_test(unknown_members_are_as_the_table_says),
        cmocka_unit_test(errors_tell_the_path_and_what_would_be_right),
        cmocka_unit_test(errors_in_yaml_name_file_line_and_column),
        cmocka_unit_test(long_paths_are_cut_and_come_back),
        cmocka_unit_test(steps_of_a_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
