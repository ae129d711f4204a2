/* A file of the last good configuration: no crash; what is taken is the same when it is written again. The check sum is
 * put right first, or nothing would get past it. */
#include "proxy/config/lastgood.h"

#include <stdlib.h>

#define HEAD 13 /* magic, version, check sum */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_buf file, again;
    struct fl_span rest;
    struct fl_err err;
    struct proxy_lastgood_record record;
    fl_buf_init(&file, PROXY_LASTGOOD_BYTES_MAX);
    fl_buf_init(&again, PROXY_LASTGOOD_BYTES_MAX);
    (void)!proxy_lastgood_open(fl_span_make(data, size), FL_SPAN("n"), &rest, &err);
    if (fl_buf_append(&file, fl_span_make(data, size)) == 0 && size >= HEAD && proxy_lastgood_end(&file) == 0 &&
        proxy_lastgood_open(fl_buf_span(&file), FL_SPAN("n"), &rest, &err) == 0) {
        int result = proxy_lastgood_begin(&again, FL_SPAN("n"));
        while (result == 0 && proxy_lastgood_next(&rest, &record))
            result = proxy_lastgood_add(&again, &record);
        if (result == 0)
            result = proxy_lastgood_end(&again);
        if (result == 0 && !fl_span_eq(fl_buf_span(&file), fl_buf_span(&again)))
            abort();
    }
    fl_buf_done(&file);
    fl_buf_done(&again);
    return 0;
}
