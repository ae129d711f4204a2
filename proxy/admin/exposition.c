#include "proxy/admin/exposition.h"

#include "common/base/utf8.h"

#include <errno.h>
#include <math.h>

#define NUMBER_MAX 64 /* bytes of a value */
#define TIME_MAX   18 /* digits of a time: an int64 */

/* What is known of a family: the map's values. */
enum { OURS = 1, HAS_HELP = 2, HAS_TYPE = 4 };

struct family {
    unsigned known;
};

void proxy_exposition_init(struct proxy_exposition *exposition, size_t max)
{
    *exposition = (struct proxy_exposition){.openmetrics = false};
    fl_buf_init(&exposition->out, max);
    fl_buf_init(&exposition->line, PROXY_EXPOSITION_LINE_MAX);
    fl_map_init(&exposition->families, PROXY_EXPOSITION_FAMILIES_MAX);
    fl_arena_init(&exposition->names, PROXY_EXPOSITION_NAMES_MAX);
}

void proxy_exposition_done(struct proxy_exposition *exposition)
{
    fl_buf_done(&exposition->out);
    fl_buf_done(&exposition->line);
    fl_map_done(&exposition->families);
    fl_arena_done(&exposition->names);
}

/* -- scanning -- */

static bool is_alpha(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static void skip_blanks(struct fl_span *rest)
{
    while (rest->len > 0 && is_blank(rest->data[0]))
        *rest = fl_span_from(*rest, 1);
}

/* A metric's name, or with colons == false a label's; empty where there is none. */
static struct fl_span take_name(struct fl_span *rest, bool colons)
{
    size_t size = 0;
    while (size < rest->len && (is_alpha(rest->data[size]) || (colons && rest->data[size] == ':') ||
                                (size > 0 && is_digit(rest->data[size]))))
        size++;
    struct fl_span name = {rest->data, size};
    *rest = fl_span_from(*rest, size);
    return name;
}

/* Up to the next blank. */
static struct fl_span take_word(struct fl_span *rest)
{
    size_t size = 0;
    while (size < rest->len && !is_blank(rest->data[size]))
        size++;
    struct fl_span word = {rest->data, size};
    *rest = fl_span_from(*rest, size);
    return word;
}

static bool is_utf8(struct fl_span text)
{
    for (size_t i = 0; i < text.len;) {
        size_t length = fl_utf8_length(fl_span_from(text, i));
        if (length == 0 || text.data[i] == '\0')
            return false;
        i += length;
    }
    return true;
}

static bool take_byte(struct fl_span *rest, char byte)
{
    skip_blanks(rest);
    if (rest->len == 0 || rest->data[0] != byte)
        return false;
    *rest = fl_span_from(*rest, 1);
    return true;
}

/* "value", with its escapes. */
static bool take_quoted(struct fl_span *rest)
{
    if (!take_byte(rest, '"'))
        return false;
    for (size_t i = 0; i < rest->len; i++) {
        if (rest->data[i] == '\\') {
            if (++i == rest->len || strchr("\\\"n", rest->data[i]) == NULL || rest->data[i] == '\0')
                return false;
        } else if (rest->data[i] == '"') {
            bool good = is_utf8((struct fl_span){rest->data, i});
            *rest = fl_span_from(*rest, i + 1);
            return good;
        }
    }
    return false;
}

static bool is_new(const struct fl_span *names, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        if (fl_span_eq(names[i], names[count - 1]))
            return false;
    return true;
}

/* {a="b",c="d",} where there is one. */
static bool take_labels(struct fl_span *rest)
{
    struct fl_span names[PROXY_EXPOSITION_LABELS_MAX];
    size_t count = 0;
    if (!take_byte(rest, '{'))
        return true;
    while (!take_byte(rest, '}')) {
        if (count == FL_COUNT(names))
            return false;
        names[count] = take_name(rest, false);
        if (names[count].len == 0 || fl_span_eq_str(names[count], "__name__") || !is_new(names, ++count) ||
            !take_byte(rest, '=') || !take_quoted(rest))
            return false;
        if (take_byte(rest, ','))
            skip_blanks(rest);
        else if (rest->len == 0 || rest->data[0] != '}')
            return false;
    }
    return true;
}

static size_t digits(struct fl_span text, size_t at)
{
    size_t count = 0;
    while (at + count < text.len && is_digit(text.data[at + count]))
        count++;
    return count;
}

static bool is_decimal(struct fl_span text)
{
    size_t at = digits(text, 0), count = at;
    if (at < text.len && text.data[at] == '.') {
        size_t fraction = digits(text, at + 1);
        count += fraction;
        at += 1 + fraction;
    }
    if (count > 0 && at < text.len && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        if (at < text.len && (text.data[at] == '+' || text.data[at] == '-'))
            at++;
        size_t exponent = digits(text, at);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return count > 0 && at == text.len;
}

/* A float64 as scrapers read it: one that is too large for it is no number to them. */
static bool is_number(struct fl_span text)
{
    char copy[NUMBER_MAX + 1];
    struct fl_span bare = text;
    if (text.len == 0 || text.len > NUMBER_MAX)
        return false;
    if (fl_span_eq_nocase(text, FL_SPAN("nan")))
        return true;
    if (text.data[0] == '+' || text.data[0] == '-')
        bare = fl_span_from(text, 1);
    if (fl_span_eq_nocase(bare, FL_SPAN("inf")) || fl_span_eq_nocase(bare, FL_SPAN("infinity")))
        return true;
    if (!is_decimal(bare))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return isfinite(strtod(copy, NULL));
}

static bool is_time(struct fl_span text)
{
    struct fl_span bare = text.len > 0 && text.data[0] == '-' ? fl_span_from(text, 1) : text;
    return bare.len > 0 && bare.len <= TIME_MAX && digits(bare, 0) == bare.len;
}

/* -- families -- */

/* NULL: it is not known, and there is no room, or no memory, to know it. */
static struct family *family_of(struct proxy_exposition *exposition, struct fl_span name)
{
    struct family *family = fl_map_get(&exposition->families, name);
    if (family != NULL)
        return family;
    family = fl_arena_alloc(&exposition->names, sizeof(*family));
    struct fl_span copy = family != NULL ? fl_arena_copy(&exposition->names, name) : (struct fl_span){NULL, 0};
    return copy.data != NULL && fl_map_put(&exposition->families, copy, family) == 0 ? family : NULL;
}

static bool is_ours(const struct proxy_exposition *exposition, struct fl_span name)
{
    const struct family *family = fl_map_get(&exposition->families, name);
    return family != NULL && (family->known & OURS) != 0;
}

/* A sample belongs to a family by its name, or by what stands before the suffix of a histogram or summary. */
static bool collides(const struct proxy_exposition *exposition, struct fl_span name)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    if (is_ours(exposition, name))
        return true;
    for (size_t i = 0; i < FL_COUNT(suffixes); i++) {
        struct fl_span suffix = fl_span_str(suffixes[i]);
        if (fl_span_ends_with(name, suffix) && is_ours(exposition, (struct fl_span){name.data, name.len - suffix.len}))
            return true;
    }
    return false;
}

/* "# HELP name text", "# TYPE name type" behind its '#'; false: another comment. */
static bool take_meta(struct fl_span *rest, bool *ret_help, struct fl_span *ret_name)
{
    skip_blanks(rest);
    struct fl_span word = take_word(rest);
    *ret_help = fl_span_eq_str(word, "HELP");
    if (!*ret_help && !fl_span_eq_str(word, "TYPE"))
        return false;
    skip_blanks(rest);
    *ret_name = take_name(rest, true);
    return true;
}

int proxy_exposition_reserve(struct proxy_exposition *exposition, struct fl_span page)
{
    struct fl_span line, name;
    while (fl_span_split(&page, '\n', &line)) {
        bool help;
        if (line.len == 0 || line.data[0] != '#')
            continue;
        struct fl_span rest = fl_span_from(line, 1);
        if (!take_meta(&rest, &help, &name) || help)
            continue;
        struct family *family = family_of(exposition, name);
        if (family == NULL)
            return -ENOMEM;
        family->known |= OURS;
    }
    return 0;
}

/* -- lines -- */

static int append_line(struct proxy_exposition *exposition, struct fl_span text, struct fl_span time)
{
    struct fl_buf *out = &exposition->out;
    int result = fl_buf_append(out, text);
    if (result == 0 && time.len > 0)
        result = fl_buf_append_byte(out, ' ');
    if (result == 0)
        result = fl_buf_append(out, time);
    return result < 0 ? result : fl_buf_append_byte(out, '\n');
}

static int malformed(struct proxy_exposition *exposition)
{
    exposition->malformed++;
    return 0;
}

static bool is_type(struct fl_span text)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "summary", "untyped"};
    for (size_t i = 0; i < FL_COUNT(types); i++)
        if (fl_span_eq_str(text, types[i]))
            return true;
    return false;
}

static int take_comment(struct proxy_exposition *exposition, struct fl_span line)
{
    struct fl_span rest = fl_span_from(line, 1), name;
    bool help;
    if (!take_meta(&rest, &help, &name))
        return 0;
    if (name.len == 0 || (rest.len > 0 && !is_blank(rest.data[0])) || !is_utf8(rest))
        return malformed(exposition);
    if (!help && !is_type(fl_span_trim(rest)))
        return 0; /* a type of OpenMetrics: the samples are good without it */
    struct family *family = family_of(exposition, name);
    unsigned mark = help ? HAS_HELP : HAS_TYPE;
    if (collides(exposition, name) || (family != NULL && (family->known & mark) != 0)) {
        exposition->collisions++;
        return 0;
    }
    if (family != NULL)
        family->known |= mark;
    return append_line(exposition, line, (struct fl_span){NULL, 0});
}

static int take_sample(struct proxy_exposition *exposition, struct fl_span line)
{
    struct fl_span rest = line, time;
    struct fl_span name = take_name(&rest, true);
    if (name.len == 0 || !take_labels(&rest))
        return malformed(exposition);
    skip_blanks(&rest);
    struct fl_span value = take_word(&rest);
    if (!is_number(value) || value.data == name.data + name.len)
        return malformed(exposition);
    struct fl_span text = {line.data, (size_t)(value.data + value.len - line.data)};
    skip_blanks(&rest);
    time = rest.len > 0 && rest.data[0] == '#' ? (struct fl_span){NULL, 0} : take_word(&rest);
    skip_blanks(&rest);
    bool exemplar = rest.len > 0 && rest.data[0] == '#';
    if ((time.len > 0 && !is_time(time) && !is_number(time)) || (rest.len > 0 && !exemplar))
        return malformed(exposition);
    if (exposition->openmetrics || !is_time(time))
        time.len = 0;
    if (collides(exposition, name)) {
        exposition->collisions++;
        return 0;
    }
    return append_line(exposition, text, time);
}

static int take_line(struct proxy_exposition *exposition, struct fl_span line)
{
    while (line.len > 0 && (line.data[line.len - 1] == '\r' || is_blank(line.data[line.len - 1])))
        line.len--;
    line = fl_span_trim(line);
    if (line.len == 0)
        return 0;
    return line.data[0] == '#' ? take_comment(exposition, line) : take_sample(exposition, line);
}

/* -- pieces -- */

static int keep_line(struct proxy_exposition *exposition, struct fl_span part)
{
    if (exposition->too_long)
        return 0;
    int result = fl_buf_append(&exposition->line, part);
    if (result != -EMSGSIZE)
        return result;
    exposition->too_long = true;
    fl_buf_clear(&exposition->line);
    return malformed(exposition);
}

static int end_line(struct proxy_exposition *exposition, struct fl_span part)
{
    if (exposition->line.len == 0 && !exposition->too_long && part.len <= PROXY_EXPOSITION_LINE_MAX)
        return take_line(exposition, part);
    int result = keep_line(exposition, part);
    if (result == 0 && !exposition->too_long)
        result = take_line(exposition, fl_buf_span(&exposition->line));
    fl_buf_clear(&exposition->line);
    exposition->too_long = false;
    return result;
}

int proxy_exposition_feed(struct proxy_exposition *exposition, struct fl_span piece)
{
    int result = 0;
    while (result == 0 && piece.len > 0) {
        size_t end = fl_span_find(piece, '\n');
        if (end == piece.len)
            return keep_line(exposition, piece);
        result = end_line(exposition, (struct fl_span){piece.data, end});
        piece = fl_span_from(piece, end + 1);
    }
    return result;
}

int proxy_exposition_end(struct proxy_exposition *exposition)
{
    return exposition->line.len > 0 || exposition->too_long ? end_line(exposition, (struct fl_span){"", 0}) : 0;
}
