#include "control/source/guess.h"

static const char blanks[] = " \t\"'";

static struct fl_span skip(struct fl_span text, const char *bytes)
{
    while (text.len > 0 && text.data[0] != '\0' && strchr(bytes, text.data[0]) != NULL)
        text = fl_span_from(text, 1);
    return text;
}

static bool is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == '.' || byte == '_';
}

/* The next `key: value` in *rest; *rest is what stands behind it. A key that is part of a longer word is none. */
static bool next_value(struct fl_span *rest, struct fl_span key, struct fl_span *ret_value)
{
    bool inside = false; /* a word that has begun before */
    while (rest->len > 0) {
        bool starts = !inside && fl_span_starts_with(*rest, key);
        inside = is_name_byte(rest->data[0]);
        *rest = fl_span_from(*rest, 1);
        struct fl_span after = starts ? skip(fl_span_from(*rest, key.len - 1), blanks) : (struct fl_span){NULL, 0};
        if (after.len == 0 || after.data[0] != ':')
            continue;
        after = skip(fl_span_from(after, 1), blanks);
        size_t len = 0;
        while (len < after.len && is_name_byte(after.data[len]))
            len++;
        *ret_value = fl_span_make(after.data, len);
        *rest = fl_span_from(after, len);
        return true;
    }
    return false;
}

static bool names_kind(struct fl_span text, const char *kind)
{
    struct fl_span value;
    while (next_value(&text, FL_SPAN("kind"), &value))
        if (fl_span_eq_str(value, kind))
            return true;
    return false;
}

bool control_guess_policy(struct fl_span text, enum control_kind kind, struct control_key *ret_key)
{
    struct fl_span rest = text, value;
    if (!names_kind(text, control_kind_name(kind)))
        return false;
    *ret_key = (struct control_key){kind, FL_SPAN(""), FL_SPAN("")};
    if (next_value(&rest, FL_SPAN("name"), &value))
        ret_key->name = value;
    rest = text;
    if (next_value(&rest, FL_SPAN("namespace"), &value))
        ret_key->name_space = value;
    while (next_value(&rest, FL_SPAN("namespace"), &value))
        if (!fl_span_eq(value, ret_key->name_space))
            ret_key->name_space = FL_SPAN("");
    return true;
}
