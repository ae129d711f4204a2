#include "common/base/err.h"

#include "common/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

/* Control characters, C1's among them (U+0080 to U+009F: a terminal may obey them too). */
static void neutralize(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        unsigned char next = (unsigned char)text[1];
        if (byte < 0x20 || byte == 0x7f)
            *text = '?';
        else if (byte == 0xc2 && next >= 0x80 && next <= 0x9f)
            text[0] = text[1] = '?';
    }
}

/* Appends to `text`, of FL_ERR_TEXT_MAX bytes, with ": " between; never ends inside of a UTF-8 sequence. */
static void append(char *text, const char *more)
{
    struct fl_span head = fl_span_str(text);
    struct fl_span separator = head.len > 0 && more[0] != '\0' ? FL_SPAN(": ") : FL_SPAN("");
    if (separator.len >= FL_ERR_TEXT_MAX - head.len)
        return;
    char *end = text + head.len;
    memcpy(end, separator.data, separator.len);
    end += separator.len;
    struct fl_span tail = fl_utf8_cut(fl_span_str(more), FL_ERR_TEXT_MAX - 1 - head.len - separator.len);
    memcpy(end, tail.data, tail.len);
    end[tail.len] = '\0';
}

/* A text under construction, beside the error and not in it: an argument may be err->text itself. The spare bytes show
 * whether the cut would split a UTF-8 sequence. */
#define SPARE 4

__attribute__((format(printf, 2, 0))) static void format_text(char text[FL_ERR_TEXT_MAX + SPARE], const char *format,
                                                              va_list arguments)
{
    if (vsnprintf(text, FL_ERR_TEXT_MAX + SPARE, format, arguments) < 0)
        text[0] = '\0';
    text[fl_utf8_cut(fl_span_str(text), FL_ERR_TEXT_MAX - 1).len] = '\0';
    neutralize(text);
}

int fl_err_set(struct fl_err *err, int code, const char *format, ...)
{
    if (err != NULL) {
        char text[FL_ERR_TEXT_MAX + SPARE];
        va_list arguments;
        va_start(arguments, format);
        format_text(text, format, arguments);
        va_end(arguments);
        memcpy(err->text, text, FL_ERR_TEXT_MAX);
        err->code = code;
    }
    return code;
}

int fl_err_errno(struct fl_err *err, int code, const char *format, ...)
{
    if (err != NULL) {
        char text[FL_ERR_TEXT_MAX + SPARE];
        char reason[128];
        va_list arguments;
        va_start(arguments, format);
        format_text(text, format, arguments);
        va_end(arguments);
        append(text, strerror_r(-code, reason, sizeof(reason)));
        memcpy(err->text, text, FL_ERR_TEXT_MAX);
        err->code = code;
    }
    return code;
}

int fl_err_prefix(struct fl_err *err, const char *format, ...)
{
    if (err == NULL)
        return 0;
    char text[FL_ERR_TEXT_MAX + SPARE];
    va_list arguments;
    va_start(arguments, format);
    format_text(text, format, arguments);
    va_end(arguments);
    append(text, err->text);
    memcpy(err->text, text, FL_ERR_TEXT_MAX);
    return err->code;
}
