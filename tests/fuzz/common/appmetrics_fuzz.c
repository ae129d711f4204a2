/* A value that is taken prints canonically: the print reads back to the same bytes. */
#include "common/mesh/appmetrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_appmetrics metrics, again;
    struct fl_err err = {0};
    struct fl_buf text, second;
    if (fl_appmetrics_parse(fl_span_make(data, size), &metrics, &err) < 0) {
        check(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    check(metrics.port > 0 && metrics.path[0] == '/' && metrics.path[metrics.path_len] == '\0');
    fl_buf_init(&text, FL_APPMETRICS_TEXT_MAX);
    fl_buf_init(&second, FL_APPMETRICS_TEXT_MAX);
    check(fl_appmetrics_print(&metrics, &text) == 0);
    check(fl_appmetrics_parse(fl_buf_span(&text), &again, NULL) == 0);
    check(fl_appmetrics_print(&again, &second) == 0 && fl_span_eq(fl_buf_span(&text), fl_buf_span(&second)));
    fl_buf_done(&text);
    fl_buf_done(&second);
    return 0;
}
