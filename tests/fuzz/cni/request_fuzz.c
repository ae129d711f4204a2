/* Heads of requests: what is complete stays so with anything behind it, and its parts lie in the input. */
#include "cni/agent/request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool lies_in(struct fl_span part, struct fl_span whole)
{
    return part.data >= whole.data && part.data + part.len <= whole.data + whole.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span bytes = fl_span_make(data, size);
    struct cni_request request, again;
    if (cni_request_parse(bytes, &request) != CNI_REQUEST_COMPLETE)
        return 0;
    check(lies_in(request.method, bytes) && lies_in(request.path, bytes));
    check(request.method.len > 0 && request.path.len > 0 && request.path.data[0] == '/');
    size_t end = size;
    while (end > 0 && cni_request_parse(fl_span_make(data, end - 1), &again) == CNI_REQUEST_COMPLETE)
        end--;
    check(cni_request_parse(fl_span_make(data, end), &again) == CNI_REQUEST_COMPLETE);
    check(fl_span_eq(again.path, request.path) && fl_span_eq(again.method, request.method));
    for (size_t len = 0; len < end; len++)
        check(cni_request_parse(fl_span_make(data, len), &again) == CNI_REQUEST_PARTIAL);
    return 0;
}
