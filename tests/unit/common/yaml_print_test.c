#include "common/doc/yaml_print.h"

#include "common/doc/yaml.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct fl_json *json(const char *text)
{
    struct fl_json *value = NULL;
    assert_int_equal(fl_json_parse(fl_span_str(text), NULL, &value, NULL), 0);
    return value;
}

static void trees_become_blocks(void **state)
{
    (void)state;
    static const struct {
        const char *json, *yaml;
    } rows[] = {
        {"{\"a\":1,\"b\":{\"c\":[\"x\",{\"d\":true,\"e\":null}]}}",
         "a: 1\nb:\n  c:\n  - x\n  - d: true\n    e: null\n"},
        {"{\"a\":{},\"b\":[],\"c\":\"\"}", "a: {}\nb: []\nc: \"\"\n"},
        {"[1.50,-2,1e3]", "- 1.50\n- -2\n- 1e3\n"},
        {"\"x\"", "x\n"},
        {"{\"cpu\":\"10m\",\"memory\":\"16Mi\",\"image\":\"a/b:1.2\"}", "cpu: 10m\nmemory: 16Mi\nimage: a/b:1.2\n"},
        {"[\"true\",\"null\",\"~\",\"1\",\"0x1f\",\"1e3\",\".5\"]",
         "- \"true\"\n- \"null\"\n- \"~\"\n- \"1\"\n- \"0x1f\"\n- \"1e3\"\n- \".5\"\n"},
        {"[\"yes\",\"No\",\"on\",\"y\",\"1:30\",\"1_000\",\"0b1\",\"2026-01-02\",\"<<\",\"=\"]", /* of YAML 1.1 */
         "- \"yes\"\n- \"No\"\n- \"on\"\n- \"y\"\n- \"1:30\"\n- \"1_000\"\n- \"0b1\"\n- \"2026-01-02\"\n- \"<<\"\n- "
         "\"=\"\n"},
        {"{\"on\":\"a: b\",\"#\":\"- x\"}", "\"on\": 'a: b'\n'#': \"- x\"\n"},
        {"{\"script\":\"set -e\\nexec x\\n\"}", "script: |\n  set -e\n  exec x\n"},
        {"{\"script\":\"a\\nb\"}", "script: |-\n  a\n  b\n"},
        {"[\"\\ttab\",\"é\"]", "- \"\\ttab\"\n- é\n"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf out;
        fl_buf_init(&out, 1 << 16);
        struct fl_json *value = json(rows[i].json);
        assert_int_equal(fl_yaml_print(value, &out), 0);
        assert_string_equal(fl_buf_str(&out), rows[i].yaml);
        fl_json_free(value);
        fl_buf_done(&out);
    }
}

/* Strings that are hard on an emitter, each as a value, as a name and inside of a list. */
static void what_is_printed_is_read_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\"\"",
        "\" \"",
        "\"a \"",
        "\" a\"",
        "\"\\n\"",
        "\"a\\n\\n\"",
        "\"\\na\"",
        "\"a\\n b\\n\"",
        "\" a\\nb\"",
        "\"a \\nb\"",
        "\"---\"",
        "\"...\\nx\"",
        "\"a\\n---\"",
        "\"# no\"",
        "\"a #no\"",
        "\"a # no\"",
        "\"a:\"",
        "\":a\"",
        "\"- \"",
        "\"?\"",
        "\"? x\"",
        "\"!tag\"",
        "\"&a\"",
        "\"*a\"",
        "\"%x\"",
        "\"@x\"",
        "\"`x\"",
        "\"{}\"",
        "\"[a\"",
        "\"'\"",
        "\"\\\"\"",
        "\"\\\\n\"",
        "\"\\u0001\"",
        "\"\\u007f\"",
        "\"\\u0085\"",
        "\"a\\u2028b\"",
        "\"\\ufeff\"",
        "\"\\ud7ff\"",
        "\"\\ue000\"",
        "\"\\ufffd\"",
        "\"\\u00a0\"",
        "\"\\r\\n\"",
        "\"a\\tb\"",
        "\"a\\n\\tb\\n\"",
        "\"\\n\\n\\n\"",
        "\"a\\nb\\n\\n\"",
        "\"{\\\"a\\\":1}\"",
        "\"\\ud83d\\ude00\"",
        "\"0o17\"",
        "\"+1\"",
        "\"-\"",
        "\".inf\"",
        "\".nan\"",
        "\"1.\"",
    };
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        char text[512];
        struct fl_buf out;
        struct fl_yaml *yaml = NULL;
        struct fl_err err = {0};
        snprintf(text, sizeof(text), "{\"a\":%s,%s:[%s,{\"b\":%s}],\"c\":\"end\"}", texts[i], texts[i], texts[i],
                 texts[i]);
        struct fl_json *value = json(text);
        fl_buf_init(&out, 1 << 16);
        assert_int_equal(fl_yaml_print(value, &out), 0);
        if (fl_yaml_parse(fl_buf_span(&out), "printed", NULL, &yaml, &err) < 0)
            fail_msg("%s: %s\n%s", texts[i], err.text, fl_buf_str(&out));
        assert_int_equal(fl_yaml_count(yaml), 1);
        if (!fl_json_equal(fl_yaml_document(yaml, 0), value))
            fail_msg("%s became\n%s", texts[i], fl_buf_str(&out));
        fl_yaml_free(yaml);
        fl_json_free(value);
        fl_buf_done(&out);
    }
}

static void limits_hold_and_nothing_stays_half_printed(void **state)
{
    (void)state;
    struct fl_buf out;
    struct fl_json *value = json("{\"a\":\"0123456789012345678901234567890123456789\"}");
    fl_buf_init(&out, 32);
    assert_int_equal(fl_buf_append_str(&out, "before"), 0);
    assert_int_equal(fl_yaml_print(value, &out), -EMSGSIZE);
    assert_string_equal(fl_buf_str(&out), "before");
    fl_buf_done(&out);
    fl_json_free(value);
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    struct fl_json *value = json("{\"a\":[\"x\",{\"b\":\"yes\"}]}");
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 1 << 16);
        int result = fl_yaml_print(value, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_true(result == 0 || out.len == 0);
        fl_buf_done(&out);
    }
    fl_json_free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_become_blocks),
        cmocka_unit_test(what_is_printed_is_read_back),
        cmocka_unit_test(limits_hold_and_nothing_stays_half_printed),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
