/* The answer does not depend on how the bytes arrive; what is read prints and reads back to the same fields. */
#include "common/mesh/preface.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_print(const struct fl_preface *preface)
{
    struct fl_preface again;
    struct fl_buf out;
    size_t size = 0;
    fl_buf_init(&out, FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX);
    check(fl_preface_print(preface, &out) == 0);
    check(fl_preface_parse(fl_buf_span(&out), &again, &size, NULL) == FL_PREFACE_DONE && size == out.len);
    for (size_t type = 0; type < FL_PREFACE_FIELDS; type++)
        check(fl_span_eq(preface->fields[type], again.fields[type]));
    fl_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_preface preface;
    size_t used = 0, length = 0;
    int result = fl_preface_parse(fl_span_make(data, size), &preface, &used, NULL);
    int early = FL_PREFACE_MORE;
    while (early == FL_PREFACE_MORE && length < size) {
        struct fl_preface partial;
        size_t ignored;
        length++;
        early = fl_preface_parse(fl_span_make(data, length), &partial, &ignored, NULL);
    }
    check(early == result);
    check(result != FL_PREFACE_MORE || size < FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX);
    if (result == FL_PREFACE_DONE) {
        check(used == length);
        check_print(&preface);
    }
    return 0;
}
