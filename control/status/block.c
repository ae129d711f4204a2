#include "control/status/block.h"

#include "common/doc/json.h"

#include <errno.h>

static int indent(unsigned depth, struct fl_buf *out)
{
    return fl_buf_printf(out, "%*s", (int)(2 * depth), "");
}

/* Letters, digits and what never means anything in YAML; and no word or number that is one. */
static bool is_plain(struct fl_span text)
{
    static const char *const words[] = {"true", "false", "null", "True", "False", "yes", "no", "on", "off"};
    bool letters = false;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        bool digit = byte >= '0' && byte <= '9';
        if (!letter && !digit && (i == 0 || strchr("-._/", byte) == NULL || byte == '\0'))
            return false;
        letters |= letter && i == 0;
    }
    for (size_t i = 0; i < FL_COUNT(words); i++)
        if (fl_span_eq_str(text, words[i]))
            return false;
    return letters;
}

static int print_scalar(const struct fl_json *value, struct fl_buf *out)
{
    struct fl_span text = fl_json_string(value);
    bool plain = fl_json_is(value, FL_JSON_STRING) && is_plain(text);
    return plain ? fl_buf_append(out, text) : fl_json_print(value, out);
}

static int print_line(const struct fl_json *value, struct fl_buf *out)
{
    int result = print_scalar(value, out);
    return result < 0 ? result : fl_buf_append_byte(out, '\n');
}

static int print(const struct fl_json *value, unsigned depth, bool in_line, struct fl_buf *out);

/* `in_line`: the first line's indent is there already. */
static int print_members(const struct fl_json *object, unsigned depth, bool in_line, struct fl_buf *out)
{
    int result = 0;
    for (const struct fl_json *member = fl_json_first(object); member != NULL && result == 0;
         member = fl_json_next(member)) {
        bool nested = fl_json_count(member) > 0;
        result = in_line ? 0 : indent(depth, out);
        in_line = false;
        if (result == 0)
            result = fl_buf_append(out, fl_json_name(member));
        if (result == 0)
            result = fl_buf_append_str(out, nested ? ":\n" : ": ");
        if (result == 0)
            result = nested ? print(member, depth + fl_json_is(member, FL_JSON_OBJECT), false, out)
                            : print_scalar(member, out);
        if (result == 0 && !nested)
            result = fl_buf_append_byte(out, '\n');
    }
    return result;
}

static int print_elements(const struct fl_json *array, unsigned depth, struct fl_buf *out)
{
    int result = 0;
    for (const struct fl_json *item = fl_json_first(array); item != NULL && result == 0; item = fl_json_next(item)) {
        result = indent(depth, out);
        if (result == 0)
            result = fl_buf_append_str(out, "- ");
        if (result == 0)
            result = fl_json_is(item, FL_JSON_ARRAY) ? print_line(item, out) : print(item, depth + 1, true, out);
    }
    return result;
}

static int print(const struct fl_json *value, unsigned depth, bool in_line, struct fl_buf *out)
{
    if (fl_json_is(value, FL_JSON_OBJECT) && fl_json_count(value) > 0)
        return print_members(value, depth, in_line, out);
    if (fl_json_is(value, FL_JSON_ARRAY) && fl_json_count(value) > 0)
        return print_elements(value, depth, out);
    return print_line(value, out);
}

int control_status_block(struct fl_span json, struct fl_buf *out)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    size_t before = out->len;
    int result = fl_json_parse(json, NULL, &root, NULL);
    if (result == 0)
        result = print(root, 0, false, out);
    if (result < 0)
        out->len = before;
    return result;
}
