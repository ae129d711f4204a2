/* What is written about the tables is what the tables say: the decisions and reasons in webhook/README.md, the settings
 * in docs/annotations.md, the configuration file in docs/configuration.md and webhook/config.schema.json. Each is
 * printed here and compared; FL_GOLDEN_UPDATE=1 writes it anew. */
#include "tests/unit/webhook/test.h"

#include "webhook/config.h"
#include "webhook/decide.h"
#include "webhook/value.h"

#include <ctype.h>
#include <stdlib.h>

#define TEXT_MAX (1u << 20)

static void add(struct fl_buf *out, const char *text)
{
    assert_int_equal(fl_buf_append_str(out, text), 0);
}

static void read_page(const char *path, struct fl_buf *text)
{
    fl_buf_init(text, TEXT_MAX);
    if (fl_buf_read_file(text, path) < 0)
        fail_msg("%s cannot be read", path);
}

static void write_page(const char *path, struct fl_span text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
}

static bool updating(void)
{
    return getenv("FL_GOLDEN_UPDATE") != NULL;
}

/* Holds what stands between <!-- name --> and <!-- /name --> to `wanted`. */
static void hold_part(const char *path, const char *name, struct fl_span wanted)
{
    struct fl_buf page, whole;
    char begin[64], end[64];
    snprintf(begin, sizeof(begin), "<!-- %s -->\n", name);
    snprintf(end, sizeof(end), "<!-- /%s -->", name);
    read_page(path, &page);
    const char *first = strstr(fl_buf_str(&page), begin);
    const char *last = first != NULL ? strstr(first, end) : NULL;
    if (last == NULL)
        fail_msg("%s has no part %s", path, name);
    first += strlen(begin);
    if (updating()) {
        fl_buf_init(&whole, TEXT_MAX);
        assert_int_equal(fl_buf_append(&whole, fl_span_make(page.data, (size_t)(first - page.data))), 0);
        assert_int_equal(fl_buf_append(&whole, wanted), 0);
        add(&whole, last);
        write_page(path, fl_buf_span(&whole));
        fl_buf_done(&whole);
    } else if (!fl_span_eq(fl_span_make(first, (size_t)(last - first)), wanted)) {
        fail_msg("%s: the part %s is not what the table says; FL_GOLDEN_UPDATE=1 writes it:\n%.*s", path, name,
                 FL_SPAN_ARG(wanted));
    }
    fl_buf_done(&page);
}

static const char *verdict_word(const struct webhook_decision_row *row)
{
    static const char *const words[] = {
        [WEBHOOK_IN] = "in", [WEBHOOK_OUT] = "out", [WEBHOOK_DENY] = "denied", [WEBHOOK_LOOK] = "looked at"};
    return words[row->verdict];
}

static const char *tell_word(const struct webhook_decision_row *row)
{
    return row->tell == WEBHOOK_TELL_ALWAYS ? "yes" : row->tell == WEBHOOK_TELL_ASKED ? "where it was asked for" : "";
}

static void test_decisions(void **state)
{
    (void)state;
    struct fl_buf out;
    size_t count;
    const struct webhook_decision_row *rows = webhook_decide_rows(&count);
    fl_buf_init(&out, TEXT_MAX);
    add(&out, "| | verdict | reason | told to the pod's maker |\n|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fl_buf_printf(&out, "| %s | %s | `%s` | %s |\n", rows[i].when, verdict_word(&rows[i]),
                                       webhook_reason_word(rows[i].reason), tell_word(&rows[i])),
                         0);
    hold_part("webhook/README.md", "decisions", fl_buf_span(&out));
    fl_buf_done(&out);
}

static void test_reasons(void **state)
{
    (void)state;
    struct fl_buf out;
    fl_buf_init(&out, TEXT_MAX);
    add(&out, "| reason | | HTTP or status code |\n|---|---|---|\n");
    for (int i = 0; i < WEBHOOK_REASON_COUNT; i++) {
        enum webhook_reason reason = (enum webhook_reason)i;
        char code[16] = "";
        if (webhook_reason_code(reason) != 0)
            snprintf(code, sizeof(code), "%u", webhook_reason_code(reason));
        assert_int_equal(
            fl_buf_printf(&out, "| `%s` | %s | %s |\n", webhook_reason_word(reason), webhook_reason_text(reason), code),
            0);
    }
    hold_part("docs/metrics.md", "webhook-reasons", fl_buf_span(&out));
    fl_buf_done(&out);
}

/* The default as a reader of Markdown wants it: bare, "" and {} as nothing. */
static void add_default(enum webhook_setting setting, const struct webhook_settings *defaults, struct fl_buf *out)
{
    struct fl_buf value;
    fl_buf_init(&value, TEXT_MAX);
    assert_int_equal(webhook_setting_print(setting, defaults, &value), 0);
    struct fl_span text = fl_buf_span(&value);
    if (fl_span_eq_str(text, "true") || fl_span_eq_str(text, "false")) {
        add(out, text.data[0] == 't' ? "`enabled`" : "`disabled`");
    } else if (setting == WEBHOOK_SET_PROXY_IMAGE) {
        add(out, "the webhook's own version");
    } else if (!fl_span_eq_str(text, "\"\"") && !fl_span_eq_str(text, "{}") && !fl_span_eq_str(text, "[]")) {
        bool quoted = text.data[0] == '"';
        text = quoted ? fl_span_make(text.data + 1, text.len - 2) : text;
        assert_int_equal(fl_buf_printf(out, "`%.*s`", FL_SPAN_ARG(text)), 0);
    }
    fl_buf_done(&value);
}

static void test_annotations(void **state)
{
    (void)state;
    struct fl_buf out;
    struct webhook_settings defaults;
    webhook_settings_defaults(&defaults);
    fl_buf_init(&out, TEXT_MAX);
    add(&out, "| annotation | | value | default | down to |\n|---|---|---|---|---|\n");
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++) {
        enum webhook_setting setting = (enum webhook_setting)i;
        const struct webhook_setting_row *row = webhook_setting_row(setting);
        assert_int_equal(fl_buf_printf(&out, "| `%s` | %s | %s | ", row->annotation, row->text,
                                       webhook_setting_form(setting)->wanted),
                         0);
        add_default(setting, &defaults, &out);
        assert_int_equal(fl_buf_printf(&out, " | %s |\n", webhook_level_word(row->down)), 0);
    }
    hold_part("docs/annotations.md", "settings", fl_buf_span(&out));
    fl_buf_done(&out);
}

static void test_configuration(void **state)
{
    (void)state;
    struct fl_buf out;
    fl_buf_init(&out, TEXT_MAX);
    add(&out, "| member | | default |\n|---|---|---|\n");
    for (const struct webhook_config_member *member = webhook_config_members; member->name != NULL; member++)
        assert_int_equal(fl_buf_printf(&out, "| `%s` | %s | %s%s%s |\n", member->name, member->text,
                                       member->fallback != NULL ? "`" : "",
                                       member->fallback != NULL ? member->fallback : "",
                                       member->fallback != NULL ? "`" : ""),
                         0);
    hold_part("docs/configuration.md", "webhook-members", fl_buf_span(&out));
    fl_buf_done(&out);
}

/* The member's name is the annotation's in camelCase, so that who knows one knows the other. */
static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++) {
        const struct webhook_setting_row *row = webhook_setting_row((enum webhook_setting)i);
        const char *dashed = row->annotation + strlen("fairlead.io/");
        char camel[64];
        size_t len = 0;
        for (const char *byte = dashed; *byte != '\0' && len < sizeof(camel) - 1; byte++)
            camel[len++] = *byte == '-' ? (char)toupper((unsigned char)*++byte) : *byte;
        camel[len] = '\0';
        assert_string_equal(row->member, camel);
        assert_int_equal(webhook_setting_find(fl_span_str(row->annotation)), i);
        assert_int_equal(webhook_setting_find_member(fl_span_str(row->member)), i);
    }
}

/* ---- The schema ---- */

static void add_plain(struct fl_buf *out, const char *text)
{
    assert_int_equal(fl_buf_append_json_string(out, fl_span_str(text)), 0);
}

static void add_setting(struct fl_buf *out, enum webhook_setting setting, const struct webhook_settings *defaults)
{
    const struct webhook_setting_row *row = webhook_setting_row(setting);
    const char *schema = webhook_setting_form(setting)->schema;
    assert_int_equal(fl_buf_printf(out, "    \"%s\": {\"description\":", row->member), 0);
    add_plain(out, row->text);
    add(out, ",\"default\":");
    assert_int_equal(webhook_setting_print(setting, defaults, out), 0);
    assert_int_equal(fl_buf_printf(out, ",%s,\n", schema + 1), 0); /* its braces were ours */
}

static void add_levels(struct fl_buf *out)
{
    add(out, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\n");
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++) {
        const struct webhook_setting_row *row = webhook_setting_row((enum webhook_setting)i);
        assert_int_equal(
            fl_buf_printf(out, "      \"%s\": {\"enum\":[\"mesh\",\"namespace\",\"pod\"],\"default\":\"%s\"}%s\n",
                          row->member, webhook_level_word(row->down), i + 1 < WEBHOOK_SETTING_COUNT ? "," : ""),
            0);
    }
    add(out, "    }");
}

static void add_member(struct fl_buf *out, const struct webhook_config_member *member)
{
    assert_int_equal(fl_buf_printf(out, "    \"%s\": {\"description\":", member->name), 0);
    add_plain(out, member->text);
    if (member->fallback != NULL)
        assert_int_equal(fl_buf_printf(out, ",\"default\":%s", member->fallback), 0);
    add(out, ",");
    if (member->schema != NULL)
        add(out, member->schema);
    else
        add_levels(out);
    add(out, member[1].name != NULL ? "},\n" : "}\n");
}

static void make_schema(struct fl_buf *out)
{
    struct webhook_settings defaults;
    webhook_settings_defaults(&defaults);
    fl_buf_init(out, TEXT_MAX);
    add(out, "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
             "  \"title\": \"The configuration file of fairlead-webhook\",\n  \"type\": \"object\",\n"
             "  \"additionalProperties\": false,\n  \"properties\": {\n");
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++)
        add_setting(out, (enum webhook_setting)i, &defaults);
    for (const struct webhook_config_member *member = webhook_config_members; member->name != NULL; member++)
        add_member(out, member);
    add(out, "  }\n}\n");
}

static void test_schema(void **state)
{
    (void)state;
    struct fl_buf wanted, page;
    make_schema(&wanted);
    if (updating())
        write_page("webhook/config.schema.json", fl_buf_span(&wanted));
    read_page("webhook/config.schema.json", &page);
    if (!fl_span_eq(fl_buf_span(&page), fl_buf_span(&wanted)))
        fail_msg("webhook/config.schema.json is not what the table says; FL_GOLDEN_UPDATE=1 writes it");
    fl_buf_done(&page);
    fl_buf_done(&wanted);
}

static void compare(const struct webhook_config *a, const struct webhook_config *b)
{
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++) {
        struct fl_buf left, right;
        fl_buf_init(&left, TEXT_MAX);
        fl_buf_init(&right, TEXT_MAX);
        assert_int_equal(webhook_setting_print((enum webhook_setting)i, &a->defaults, &left), 0);
        assert_int_equal(webhook_setting_print((enum webhook_setting)i, &b->defaults, &right), 0);
        assert_string_equal(fl_buf_str(&left), fl_buf_str(&right));
        assert_int_equal(a->levels[i], b->levels[i]);
        fl_buf_done(&left);
        fl_buf_done(&right);
    }
    assert_true(a->uid == b->uid && a->gid == b->gid && a->pod_overrides == b->pod_overrides);
    assert_true(a->allow_host_path == b->allow_host_path && a->ignored_count == b->ignored_count);
    for (size_t i = 0; i < a->ignored_count; i++)
        assert_true(fl_span_eq(a->ignored[i], b->ignored[i]));
    assert_true(fl_span_eq(a->token_audience, b->token_audience) && fl_span_eq(a->trust_domain, b->trust_domain));
    assert_true(fl_span_eq(a->own_namespace, b->own_namespace) && fl_span_eq(a->revision, b->revision));
}

/* A file that says every default of the schema is the file that says nothing: no default lies, no member is unknown. */
static void test_schema_defaults(void **state)
{
    (void)state;
    struct fl_buf schema, text;
    struct webhook_config *silent = NULL, *spoken = NULL;
    struct fl_err err = {0};
    struct fl_json *root = NULL;
    const struct fl_json_limits limits = {.bytes_max = TEXT_MAX};
    make_schema(&schema);
    assert_int_equal(fl_json_parse(fl_buf_span(&schema), &limits, &root, &err), 0);
    fl_buf_init(&text, TEXT_MAX);
    add(&text, "{");
    const struct fl_json *properties = fl_json_get(root, "properties");
    for (const struct fl_json *item = fl_json_first(properties); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *value = fl_json_get(item, "default");
        if (value == NULL)
            continue;
        assert_int_equal(fl_buf_printf(&text, "%s\"%.*s\":", text.len > 1 ? "," : "", FL_SPAN_ARG(fl_json_name(item))),
                         0);
        assert_int_equal(fl_json_print(value, &text), 0);
    }
    add(&text, "}");
    assert_int_equal(webhook_config_default(&silent), 0);
    if (webhook_config_parse(fl_buf_span(&text), "defaults", &spoken, &err) < 0)
        fail_msg("%s", err.text);
    compare(silent, spoken);
    webhook_config_free(silent);
    webhook_config_free(spoken);
    fl_json_free(root);
    fl_buf_done(&schema);
    fl_buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),       cmocka_unit_test(test_reasons), cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_configuration),   cmocka_unit_test(test_names),   cmocka_unit_test(test_schema),
        cmocka_unit_test(test_schema_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
