#include "common/doc/path.h"

#include "common/base/utf8.h"

#include <stdio.h>

#define CUT_MARK "…"
#define CUT_LEN  (sizeof(CUT_MARK) - 1)

size_t fl_path_start(char *path, size_t size)
{
    (void)size;
    memcpy(path, "$", 2);
    return 1;
}

static bool is_cut(const char *path, size_t length)
{
    return fl_span_ends_with(fl_span_make(path, length), FL_SPAN(CUT_MARK));
}

/* The mark replaces the end of what is there, from the start of a character. */
static size_t cut(char *path, size_t size, size_t length)
{
    size_t room = size - 1 - CUT_LEN;
    if (length > room)
        length = room;
    while (length > 0 && ((unsigned char)path[length] & 0xc0) == 0x80)
        length--;
    memcpy(path + length, CUT_MARK, CUT_LEN + 1);
    return length + CUT_LEN;
}

static size_t push(char *path, size_t size, size_t length, struct fl_span text)
{
    if (is_cut(path, length))
        return length;
    size_t room = size - 1 - length;
    size_t count = text.len < room ? text.len : room;
    if (count > 0)
        memcpy(path + length, text.data, count);
    path[length + count] = '\0';
    return count == text.len ? length + count : cut(path, size, length + count);
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
