/* A table that is taken prints canonically: the print reads back to the same bytes; each probe has its path. */
#include "common/mesh/appprobe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_path(const struct fl_appprobes *table, const struct fl_appprobe *probe)
{
    char path[FL_APPPROBE_PATH_MAX];
    struct fl_span container;
    enum fl_appprobe_kind kind;
    check(fl_appprobe_path_print(probe->container, probe->kind, path) > 0);
    check(fl_appprobe_path_parse(fl_span_str(path), &container, &kind));
    check(fl_appprobes_find(table, container, kind) == probe);
}

static void check_any_path(struct fl_span path)
{
    char again[FL_APPPROBE_PATH_MAX];
    struct fl_span container;
    enum fl_appprobe_kind kind;
    if (!fl_appprobe_path_parse(path, &container, &kind))
        return;
    check(fl_appprobe_path_print(container, kind, again) == path.len && fl_span_eq_str(path, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_appprobes table, again;
    struct fl_err err = {0};
    struct fl_buf text, second;
    check_any_path(fl_span_make(data, size));
    if (fl_appprobes_parse(fl_span_make(data, size), &table, &err) < 0) {
        check(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < table.count; i++)
        check_path(&table, &table.probes[i]);
    fl_buf_init(&text, 8 * FL_APPPROBE_TEXT_MAX);
    fl_buf_init(&second, FL_APPPROBE_TEXT_MAX);
    if (fl_appprobes_print(&table, &text) == 0) { /* escapes may have made it longer */
        check(fl_appprobes_parse(fl_buf_span(&text), &again, NULL) == 0);
        check(fl_appprobes_print(&again, &second) == 0 && fl_span_eq(fl_buf_span(&text), fl_buf_span(&second)));
        fl_appprobes_done(&again);
    }
    fl_buf_done(&text);
    fl_buf_done(&second);
    fl_appprobes_done(&table);
    return 0;
}
