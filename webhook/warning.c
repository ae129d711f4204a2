#include "webhook/warning.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void clean(char *line)
{
    for (char *byte = line; *byte != '\0'; byte++) {
        if ((unsigned char)*byte < 0x20 || *byte == 0x7f)
            *byte = '?';
    }
}

void webhook_warn(struct webhook_warnings *warnings, const char *format, ...)
{
    if (warnings->count == WEBHOOK_WARNINGS_MAX)
        return;
    char *line = warnings->text[warnings->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, WEBHOOK_WARNING_MAX + 1, format, arguments);
    va_end(arguments);
    clean(line);
}

void webhook_warn_reason(struct webhook_warnings *warnings, enum webhook_reason reason, const char *format, ...)
{
    char text[WEBHOOK_WARNING_MAX + 1];
    const char *word = webhook_reason_word(reason);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text) - strlen(word) - strlen(" []"), format, arguments);
    va_end(arguments);
    webhook_warn(warnings, "%s [%s]", text, word);
}
