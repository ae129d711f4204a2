#include "common/base/print.h"

void fl_print(struct fl_print *print, const char *format, ...)
{
    if (print->result != 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    print->result = fl_buf_vprintf(print->out, format, arguments);
    va_end(arguments);
}

void fl_print_json(struct fl_print *print, struct fl_span text)
{
    if (print->result == 0)
        print->result = fl_buf_append_json_string(print->out, text);
}
