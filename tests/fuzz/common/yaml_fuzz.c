/* Every document is a tree that JSON can print and read, and that JSON text read as YAML is the same document; so is
 * what is printed as YAML. */
#include "common/doc/yaml.h"
#include "common/doc/yaml_print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_printed(const struct fl_json *document)
{
    const struct fl_json_limits limits = {.bytes_max = 64 << 20};
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    struct fl_buf text;
    fl_buf_init(&text, 64 << 20);
    check(fl_yaml_print(document, &text) == 0);
    check(fl_yaml_parse(fl_buf_span(&text), "printed", &limits, &yaml, NULL) == 0);
    check(fl_yaml_count(yaml) == 1 && fl_json_equal(document, fl_yaml_document(yaml, 0)));
    fl_buf_done(&text);
}

static void check_document(const struct fl_json *document)
{
    const struct fl_json_limits limits = {.bytes_max = 16 << 20};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *json = NULL;
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    struct fl_buf text;
    fl_buf_init(&text, 16 << 20);
    check(fl_json_print(document, &text) == 0);
    check(fl_json_parse(fl_buf_span(&text), &limits, &json, NULL) == 0);
    check(fl_json_equal(document, json));
    check(fl_yaml_parse(fl_buf_span(&text), "json", &limits, &yaml, NULL) == 0);
    check(fl_yaml_count(yaml) == 1 && fl_json_equal(document, fl_yaml_document(yaml, 0)));
    fl_buf_done(&text);
    check_printed(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    struct fl_err err = {0};
    if (fl_yaml_parse(fl_span_make(data, size), "fuzz", NULL, &yaml, &err) < 0) {
        check(err.code < 0 && strncmp(err.text, "fuzz:", 5) == 0);
        return 0;
    }
    for (size_t i = 0; i < fl_yaml_count(yaml); i++)
        check_document(fl_yaml_document(yaml, i));
    return 0;
}
