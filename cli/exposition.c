#include "cli/exposition.h"

#include <math.h>
#include <stdlib.h>

#define VALUE_MAX 64 /* bytes of a number */

/* Past the value of a label, which begins behind its quote: the index of the closing quote, or text.len. */
static size_t find_quote(struct fl_span text)
{
    size_t i = 0;
    while (i < text.len && text.data[i] != '"')
        i += text.data[i] == '\\' ? 2 : 1;
    return i < text.len ? i : text.len;
}

/* The index of the brace that closes the labels, or text.len. */
static size_t find_end(struct fl_span text)
{
    size_t i = 0;
    while (i < text.len && text.data[i] != '}')
        if (text.data[i++] == '"')
            i += find_quote(fl_span_from(text, i)) + (i + find_quote(fl_span_from(text, i)) < text.len);
    return i;
}

static bool read_value(struct fl_span text, double *ret_value)
{
    char copy[VALUE_MAX], *end;
    text = fl_span_trim(text);
    text.len = fl_span_find(text, ' '); /* a timestamp may follow */
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *ret_value = strtod(copy, &end);
    return end == copy + text.len && isfinite(*ret_value) && *ret_value >= 0;
}

static bool read_line(struct fl_span line, struct cli_sample *sample)
{
    size_t brace = fl_span_find(line, '{'), space = fl_span_find(line, ' ');
    sample->labels = (struct fl_span){NULL, 0};
    if (line.len == 0 || line.data[0] == '#')
        return false;
    if (brace < space) {
        struct fl_span rest = fl_span_from(line, brace + 1);
        size_t end = find_end(rest);
        if (end == rest.len)
            return false;
        sample->labels = fl_span_make(rest.data, end);
        line.len = brace;
        return sample->name = line, line.len > 0 && read_value(fl_span_from(rest, end + 1), &sample->value);
    }
    sample->name = fl_span_make(line.data, space);
    return space > 0 && space < line.len && read_value(fl_span_from(line, space), &sample->value);
}

bool cli_exposition_next(struct fl_span *text, struct cli_sample *ret_sample)
{
    struct fl_span line;
    while (text->data != NULL && fl_span_split(text, '\n', &line))
        if (read_line(line, ret_sample))
            return true;
    return false;
}

struct fl_span cli_sample_label(const struct cli_sample *sample, const char *name)
{
    struct fl_span rest = sample->labels;
    while (rest.len > 0) {
        size_t equals = fl_span_find(rest, '=');
        struct fl_span own = fl_span_trim(fl_span_make(rest.data, equals));
        if (equals + 1 >= rest.len || rest.data[equals + 1] != '"')
            break;
        struct fl_span value = fl_span_from(rest, equals + 2);
        size_t quote = find_quote(value);
        if (quote == value.len)
            break;
        if (fl_span_eq_str(own, name))
            return fl_span_make(value.data, quote);
        rest = fl_span_from(value, quote + 1);
        if (rest.len > 0 && rest.data[0] == ',')
            rest = fl_span_from(rest, 1);
    }
    return (struct fl_span){NULL, 0};
}
