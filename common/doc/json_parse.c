/* The JSON reader: one pass, no recursion, the tree built through json.h as it goes.
 *
 * It does not use cJSON's own parser. That one takes texts that are not JSON (01, raw control characters, any byte
 * below 0x20 as space), shortens strings at an escaped U+0000, rounds every number to a double, recurses before
 * anybody could look at the depth, and keeps its error position in a global that threads would share. Whatever checks
 * for all of that is a complete reader already, and two readers that may disagree about one text are worse than one.
 *
 * State: the containers that are open, innermost last, and the name of the member whose value comes next. A container
 * is linked into the tree when it opens, so a failure frees the root and nothing else.
 */
#include "common/doc/json.h"

#include "common/base/escape.h"
#include "common/base/utf8.h"
#include "common/doc/index.h"
#include "common/doc/number.h"
#include "common/doc/path.h"

#include <errno.h>
#include <stdio.h>

#define FEW_MEMBERS 16 /* up to here comparing all names with each other beats sorting */
#define PATH_MAX_   256

struct parser {
    struct fl_span text;
    size_t at;
    unsigned depth_max;
    size_t values_left;
    bool nul_replaced;
    struct fl_err *err;

    struct fl_json *root;                    /* owned until the end */
    struct fl_json *open[FL_JSON_DEPTH_MAX]; /* borrowed from root */
    unsigned depth;
    bool named;          /* `name` is of the member that is being read */
    struct fl_span name; /* into text or name_scratch */
    struct fl_buf name_scratch, text_scratch;
};

static size_t push_level(const struct parser *parser, unsigned level, char *path, size_t size, size_t length)
{
    const struct fl_json *container = parser->open[level];
    const struct fl_json *inner = level + 1 < parser->depth ? parser->open[level + 1] : NULL;
    if (fl_json_is(container, FL_JSON_ARRAY))
        return fl_path_push_index(path, size, length, fl_json_count(container) - (inner != NULL));
    if (inner != NULL)
        return fl_path_push_name(path, size, length, fl_json_name(inner));
    return parser->named ? fl_path_push_name(path, size, length, parser->name) : length;
}

/* "byte 12 ($.spec.containers[0]): <what>"; returns `code`. */
static int fail(struct parser *parser, int code, const char *what)
{
    char path[PATH_MAX_];
    size_t length = fl_path_start(path, sizeof(path));
    for (unsigned level = 0; level < parser->depth; level++)
        length = push_level(parser, level, path, sizeof(path), length);
    return fl_err_set(parser->err, code, "byte %zu (%s): %s", parser->at, path, what);
}

static int fail_memory(struct parser *parser)
{
    return fl_err_set(parser->err, -ENOMEM, "out of memory");
}

/* The byte at the cursor, -1 at the end. */
static int peek(const struct parser *parser)
{
    return parser->at < parser->text.len ? (unsigned char)parser->text.data[parser->at] : -1;
}

static bool take(struct parser *parser, char byte)
{
    if (peek(parser) != byte)
        return false;
    parser->at++;
    return true;
}

static void skip_space(struct parser *parser)
{
    for (int byte = peek(parser); byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; byte = peek(parser))
        parser->at++;
}

/* Four hex digits at the cursor, which is moved behind them; -1 where there are fewer. */
static int32_t read_hex(struct parser *parser)
{
    int32_t value = 0;
    if (parser->text.len - parser->at < 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        char byte = parser->text.data[parser->at + i];
        int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    parser->at += 4;
    return value;
}

/* Behind "\u". */
static int read_code_point(struct parser *parser, struct fl_buf *out)
{
    int32_t unit = read_hex(parser);
    if (unit < 0)
        return fail(parser, -EINVAL, "expected four hex digits after \\u");
    if (unit == 0 && !parser->nul_replaced)
        return fail(parser, -EINVAL, "U+0000 is refused");
    if (unit == 0)
        return fl_buf_append_str(out, FL_UTF8_REPLACEMENT) < 0 ? fail_memory(parser) : 0;
    uint32_t code_point = (uint32_t)unit;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        int32_t low = take(parser, '\\') && take(parser, 'u') ? read_hex(parser) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(parser, -EINVAL, "half of a surrogate pair");
        code_point = 0x10000 + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    }
    char bytes[4];
    size_t length = fl_utf8_encode(code_point, bytes);
    if (length == 0)
        return fail(parser, -EINVAL, "half of a surrogate pair");
    return fl_buf_append(out, fl_span_make(bytes, length)) < 0 ? fail_memory(parser) : 0;
}

/* Behind the backslash. */
static int read_escape(struct parser *parser, struct fl_buf *out)
{
    static const char escaped[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (take(parser, 'u'))
        return read_code_point(parser, out);
    int byte = peek(parser);
    const char *found = byte > 0 ? strchr(escaped, byte) : NULL;
    if (found == NULL)
        return fail(parser, -EINVAL, "unknown escape in a string");
    parser->at++;
    return fl_buf_append_byte(out, meant[found - escaped]) < 0 ? fail_memory(parser) : 0;
}

/* Moves over characters that stand for themselves. */
static int skip_plain(struct parser *parser)
{
    for (;;) {
        parser->at += fl_json_plain_length(fl_span_from(parser->text, parser->at));
        int byte = peek(parser);
        if (byte == '"' || byte == '\\')
            return 0;
        if (byte < 0)
            return fail(parser, -EINVAL, "the text ends inside a string");
        if (byte < 0x20)
            return fail(parser, -EINVAL, "control character in a string; it must be escaped");
        size_t length = byte < 0x80 ? 1 : fl_utf8_length(fl_span_from(parser->text, parser->at));
        if (length == 0)
            return fail(parser, -EINVAL, "invalid UTF-8 in a string");
        parser->at += length;
    }
}

/* At the opening quote. *ret_text points into the text, or into `scratch` where there are escapes. */
static int read_string(struct parser *parser, struct fl_buf *scratch, struct fl_span *ret_text)
{
    bool escapes = false;
    fl_buf_clear(scratch);
    parser->at++;
    for (;;) {
        size_t start = parser->at;
        int result = skip_plain(parser);
        if (result < 0)
            return result;
        struct fl_span run = fl_span_make(parser->text.data + start, parser->at - start);
        bool last = take(parser, '"');
        if (last && !escapes) {
            *ret_text = run;
            return 0;
        }
        if (fl_buf_append(scratch, run) < 0)
            return fail_memory(parser);
        if (last) {
            *ret_text = fl_buf_span(scratch);
            return 0;
        }
        escapes = true;
        parser->at++;
        result = read_escape(parser, scratch);
        if (result < 0)
            return result;
    }
}

/* Hands `value` (NULL: out of memory) to the innermost open container, or makes it the root. */
static int place(struct parser *parser, struct fl_json *value)
{
    if (value == NULL)
        return fail_memory(parser);
    int result = 0;
    if (parser->depth == 0)
        parser->root = value;
    else if (parser->named)
        result = fl_json_add(parser->open[parser->depth - 1], parser->name, value);
    else
        result = fl_json_append(parser->open[parser->depth - 1], value);
    return result < 0 ? fail_memory(parser) : 0;
}

static int read_container(struct parser *parser, struct fl_json *container)
{
    int result = place(parser, container);
    if (result < 0)
        return result;
    parser->at++;
    parser->open[parser->depth++] = container;
    parser->named = false;
    return 0;
}

static int open_container(struct parser *parser)
{
    if (parser->depth == parser->depth_max)
        return fail(parser, -EMSGSIZE, "arrays and objects are nested too deeply");
    return read_container(parser, peek(parser) == '{' ? fl_json_new_object() : fl_json_new_array());
}

static int read_number(struct parser *parser)
{
    struct fl_span rest = fl_span_from(parser->text, parser->at);
    size_t length = fl_number_length(rest);
    if (length == 0)
        return fail(parser, -EINVAL, "not a number that JSON knows");
    int result = place(parser, fl_json_new_decimal(fl_span_make(rest.data, length)));
    parser->at += length;
    return result;
}

static int read_word(struct parser *parser, struct fl_span word, struct fl_json *(*make)(void))
{
    if (!fl_span_starts_with(fl_span_from(parser->text, parser->at), word))
        return fail(parser, -EINVAL, "expected a value");
    parser->at += word.len;
    return place(parser, make());
}

static struct fl_json *new_true(void)
{
    return fl_json_new_bool(true);
}

static struct fl_json *new_false(void)
{
    return fl_json_new_bool(false);
}

static int read_text(struct parser *parser)
{
    struct fl_span text;
    int result = read_string(parser, &parser->text_scratch, &text);
    return result < 0 ? result : place(parser, fl_json_new_string(text));
}

static int read_value(struct parser *parser)
{
    if (parser->values_left-- == 0)
        return fail(parser, -EMSGSIZE, "too many values");
    switch (peek(parser)) {
    case '{':
    case '[':
        return open_container(parser);
    case '"':
        return read_text(parser);
    case 't':
        return read_word(parser, FL_SPAN("true"), new_true);
    case 'f':
        return read_word(parser, FL_SPAN("false"), new_false);
    case 'n':
        return read_word(parser, FL_SPAN("null"), fl_json_new_null);
    case '-':
    case '0' ... '9':
        return read_number(parser);
    case -1:
        return fail(parser, -EINVAL, "the text ends where a value is expected");
    default:
        return fail(parser, -EINVAL, "expected a value");
    }
}

static int read_name(struct parser *parser)
{
    parser->named = false;
    if (peek(parser) != '"')
        return fail(parser, -EINVAL, "expected a member name in quotes");
    int result = read_string(parser, &parser->name_scratch, &parser->name);
    if (result < 0)
        return result;
    parser->named = true;
    skip_space(parser);
    if (!take(parser, ':'))
        return fail(parser, -EINVAL, "expected ':' after the member name");
    skip_space(parser);
    return 0;
}

static int refuse_duplicate(struct parser *parser, struct fl_span name)
{
    parser->named = true;
    parser->name = name;
    return fail(parser, -EINVAL, "the name stands twice in its object");
}

static int check_few_names(struct parser *parser, const struct fl_json *object)
{
    struct fl_span names[FEW_MEMBERS];
    size_t count = 0;
    for (const struct fl_json *member = fl_json_first(object); member != NULL; member = fl_json_next(member)) {
        names[count] = fl_json_name(member);
        for (size_t i = 0; i < count; i++) {
            if (fl_span_eq(names[i], names[count]))
                return refuse_duplicate(parser, names[i]);
        }
        count++;
    }
    return 0;
}

static int check_names(struct parser *parser, const struct fl_json *object)
{
    if (fl_json_count(object) <= FEW_MEMBERS)
        return check_few_names(parser, object);
    struct fl_index index;
    if (fl_index_init(&index, object, NULL) < 0)
        return fail_memory(parser);
    const struct fl_index_entry *twice = fl_index_duplicate(&index);
    int result = twice != NULL ? refuse_duplicate(parser, twice->name) : 0;
    fl_index_done(&index);
    return result;
}

/* Behind a value, or behind an opening bracket: closes what ends here. *ret_more: another value follows. */
static int read_between(struct parser *parser, bool *ret_more)
{
    while (parser->depth > 0) {
        const struct fl_json *innermost = parser->open[parser->depth - 1];
        bool object = fl_json_is(innermost, FL_JSON_OBJECT);
        skip_space(parser);
        if (take(parser, object ? '}' : ']')) {
            int result = object ? check_names(parser, innermost) : 0;
            if (result < 0)
                return result;
            parser->depth--;
            continue;
        }
        parser->named = false;
        if (fl_json_first(innermost) != NULL && !take(parser, ','))
            return fail(parser, -EINVAL, object ? "expected ',' or '}'" : "expected ',' or ']'");
        skip_space(parser);
        *ret_more = true;
        return object ? read_name(parser) : 0;
    }
    *ret_more = false;
    return 0;
}

static int read_document(struct parser *parser)
{
    int result = 0;
    skip_space(parser);
    for (bool more = true; result == 0 && more;) {
        result = read_value(parser);
        if (result == 0)
            result = read_between(parser, &more);
    }
    if (result < 0)
        return result;
    skip_space(parser);
    return peek(parser) < 0 ? 0 : fail(parser, -EINVAL, "bytes after the value");
}

int fl_json_parse(struct fl_span text, const struct fl_json_limits *limits, struct fl_json **ret_root,
                  struct fl_err *err)
{
    struct fl_json_limits of = limits != NULL ? *limits : (struct fl_json_limits){0};
    size_t bytes_max = of.bytes_max > 0 ? of.bytes_max : FL_JSON_BYTES_DEFAULT;
    if (text.len > bytes_max)
        return fl_err_set(err, -EMSGSIZE, "the text has %zu bytes, more than %zu", text.len, bytes_max);
    struct parser parser = {.text = text, .err = err, .nul_replaced = of.nul_replaced};
    parser.depth_max = of.depth_max == 0 ? FL_JSON_DEPTH_DEFAULT : of.depth_max;
    if (parser.depth_max > FL_JSON_DEPTH_MAX)
        parser.depth_max = FL_JSON_DEPTH_MAX;
    parser.values_left = of.values_max > 0 ? of.values_max : FL_JSON_VALUES_DEFAULT;
    fl_buf_init(&parser.name_scratch, text.len);
    fl_buf_init(&parser.text_scratch, text.len);
    int result = read_document(&parser);
    fl_buf_done(&parser.name_scratch);
    fl_buf_done(&parser.text_scratch);
    if (result < 0)
        fl_json_free(parser.root);
    else
        *ret_root = parser.root;
    return result;
}
