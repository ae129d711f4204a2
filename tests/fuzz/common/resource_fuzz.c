/* A resource's name has one spelling: what is read prints to the same bytes. The first byte chooses the type. */
#include "common/mesh/resource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum fl_resource_type type = data[0] % FL_RESOURCE_TYPES;
    struct fl_span text = fl_span_make(data + 1, size - 1);
    struct fl_resource_name name;
    struct fl_buf out;
    if (fl_resource_parse(type, text, &name) == FL_RESOURCE_NONE)
        return 0;
    fl_buf_init(&out, FL_RESOURCE_NAME_MAX);
    check(fl_resource_print(type, &name, &out) == 0 && fl_span_eq(fl_buf_span(&out), text));
    fl_buf_done(&out);
    return 0;
}
