#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void neutralize(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
    }
}

static void format_text(struct fl_err *err, const char *format, va_list arguments)
{
    if (vsnprintf(err->text, sizeof(err->text), format, arguments) < 0)
        err->text[0] = '\0';
    neutralize(err->text);
}

int fl_err_set(struct fl_err *err, int code, const char *format, ...)
{
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        format_text(err, format, arguments);
        va_end(arguments);
        err->code = code;
    }
    return code;
}

int fl_err_errno(struct fl_err *err, int code, const char *format, ...)
{
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        format_text(err, format, arguments);
        va_end(arguments);
        size_t length = strlen(err->text);
        snprintf(err->text + length, sizeof(err->text) - length, ": %s", strerror(-code));
        err->code = code;
    }
    return code;
}

int fl_err_prefix(struct fl_err *err, const char *format, ...)
{
    if (err == NULL)
        return 0;
    char old[FL_ERR_TEXT_MAX];
    memcpy(old, err->text, sizeof(old));
    va_list arguments;
    va_start(arguments, format);
    format_text(err, format, arguments);
    va_end(arguments);
    size_t length = strlen(err->text);
    snprintf(err->text + length, sizeof(err->text) - length, ": %s", old);
    return err->code;
}
