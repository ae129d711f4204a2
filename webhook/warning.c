#include "webhook/warning.h"

#include <stdarg.h>
#include <stdio.h>

void webhook_warn(struct webhook_warnings *warnings, const char *format, ...)
{
    if (warnings->count == WEBHOOK_WARNINGS_MAX)
        return;
    char *line = warnings->text[warnings->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, WEBHOOK_WARNING_MAX + 1, format, arguments);
    va_end(arguments);
    for (char *byte = line; *byte != '\0'; byte++) {
        if ((unsigned char)*byte < 0x20 || *byte == 0x7f)
            *byte = '?';
    }
}
