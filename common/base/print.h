/* A chain of appends to a buffer: the first failure stays, and what follows it does nothing, so that a page is written
 * without a check a line. `result` is looked at once, at the end. */
#ifndef FL_BASE_PRINT_H
#define FL_BASE_PRINT_H

#include "common/base/buf.h"

struct fl_print {
    struct fl_buf *out;
    int result; /* 0, -ENOMEM, -EMSGSIZE */
};

void fl_print(struct fl_print *print, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fl_print_json(struct fl_print *print, struct fl_span text); /* as a JSON string, with its quotes */

#endif
