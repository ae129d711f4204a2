/* What parses prints to a text that parses to the same, and prints to the same bytes again. */
#include "common/doc/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *again = NULL;
    struct fl_err err = {0};
    struct fl_buf text, second;
    if (fl_json_parse(fl_span_make(data, size), NULL, &root, &err) < 0) {
        check(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *copy = fl_json_copy(root);
    check(fl_json_equal(root, copy) && fl_json_depth(root) <= FL_JSON_DEPTH_DEFAULT);
    fl_buf_init(&text, 16 << 20);
    fl_buf_init(&second, 16 << 20);
    const struct fl_json_limits limits = {.bytes_max = 16 << 20};
    check(fl_json_print(root, &text) == 0);
    check(fl_json_parse(fl_buf_span(&text), &limits, &again, NULL) == 0);
    check(fl_json_equal(root, again));
    check(fl_json_print(again, &second) == 0 && fl_span_eq(fl_buf_span(&text), fl_buf_span(&second)));
    fl_buf_done(&text);
    fl_buf_done(&second);
    return 0;
}
