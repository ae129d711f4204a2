#include "common/doc/path.h"

#include <stdio.h>

#define CUT_MARK "…"
#define CUT_LEN  (sizeof(CUT_MARK) - 1)

size_t fl_path_start(char *path, size_t size)
{
    (void)size;
    memcpy(path, "$", 2);
    return 1;
}

/* Room for the mark is kept free until it is needed, so that cutting overwrites nothing: a caller may step back. */
static size_t push(char *path, size_t size, size_t length, struct fl_span text)
{
    size_t usable = size - 1 - CUT_LEN;
    if (length > usable || (length == usable && fl_span_ends_with(fl_span_make(path, length), FL_SPAN(CUT_MARK))))
        return length;
    size_t count = text.len < usable - length ? text.len : usable - length;
    bool cut = count < text.len;
    while (cut && count > 0 && ((unsigned char)text.data[count] & 0xc0) == 0x80)
        count--;
    if (count > 0)
        memcpy(path + length, text.data, count);
    length += count;
    if (cut) {
        memcpy(path + length, CUT_MARK, CUT_LEN);
        length += CUT_LEN;
    }
    path[length] = '\0';
    return length;
}

static bool is_word(struct fl_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.data[i];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
              byte == '_' || byte == '-'))
            return false;
    }
    return name.len > 0;
}

size_t fl_path_push_name(char *path, size_t size, size_t length, struct fl_span name)
{
    bool word = is_word(name);
    length = push(path, size, length, word ? FL_SPAN(".") : FL_SPAN("[\""));
    length = push(path, size, length, name);
    return word ? length : push(path, size, length, FL_SPAN("\"]"));
}

size_t fl_path_push_index(char *path, size_t size, size_t length, size_t index)
{
    char text[32];
    snprintf(text, sizeof(text), "[%zu]", index);
    return push(path, size, length, fl_span_str(text));
}
