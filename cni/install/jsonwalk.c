#include "cni/install/jsonwalk.h"

#include "common/doc/number.h"

#include <errno.h>

struct walker {
    struct cni_json *json;
    struct fl_err *err;
    size_t at;
    uint32_t open[CNI_JSON_DEPTH_MAX]; /* containers, innermost last */
    unsigned depth;
};

struct cni_json_place cni_json_place(struct fl_span text, size_t offset)
{
    struct cni_json_place place = {1, 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        place.column++;
        if (text.data[i] == '\n')
            place = (struct cni_json_place){place.line + 1, 1};
    }
    return place;
}

static int fail(const struct walker *walker, const char *what)
{
    struct cni_json_place place = cni_json_place(walker->json->text, walker->at);
    return fl_err_set(walker->err, -EINVAL, "line %u, column %u: %s", place.line, place.column, what);
}

/* The byte at the cursor, -1 at the end. */
static int peek(const struct walker *walker)
{
    struct fl_span text = walker->json->text;
    return walker->at < text.len ? (unsigned char)text.data[walker->at] : -1;
}

static bool take(struct walker *walker, char byte)
{
    if (peek(walker) != byte)
        return false;
    walker->at++;
    return true;
}

static void skip_space(struct walker *walker)
{
    for (int byte = peek(walker); byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; byte = peek(walker))
        walker->at++;
}

static int hex_digit(int byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    int lower = byte | 0x20;
    return byte > 0 && lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Behind the backslash. */
static int skip_escape(struct walker *walker)
{
    int byte = peek(walker);
    if (byte <= 0 || strchr("\"\\/bfnrtu", byte) == NULL)
        return fail(walker, byte < 0 ? "the text ends inside a string" : "unknown escape in a string");
    walker->at++;
    for (int digits = byte == 'u' ? 4 : 0; digits > 0; digits--, walker->at++) {
        if (hex_digit(peek(walker)) < 0)
            return fail(walker, "expected four hex digits after \\u");
    }
    return 0;
}

static int skip_string(struct walker *walker)
{
    walker->at++;
    while (!take(walker, '"')) {
        int byte = peek(walker);
        if (byte < 0)
            return fail(walker, "the text ends inside a string");
        if (byte < 0x20)
            return fail(walker, "control character in a string");
        walker->at++;
        int result = byte == '\\' ? skip_escape(walker) : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

static int skip_number(struct walker *walker)
{
    size_t length = fl_number_length(fl_span_from(walker->json->text, walker->at));
    if (length == 0)
        return fail(walker, "not a number that JSON knows");
    walker->at += length;
    return 0;
}

static int skip_word(struct walker *walker, const char *word)
{
    if (!fl_span_starts_with(fl_span_from(walker->json->text, walker->at), fl_span_str(word)))
        return fail(walker, "expected a value");
    walker->at += strlen(word);
    return 0;
}

static int add(struct walker *walker, char kind, uint32_t *ret_index)
{
    struct cni_json *json = walker->json;
    if (json->count == CNI_JSON_VALUES_MAX)
        return fl_err_set(walker->err, -EMSGSIZE, "more than %d values", CNI_JSON_VALUES_MAX);
    if (json->count == json->room) {
        uint32_t room = json->room > 0 ? 2 * json->room : 64;
        struct cni_json_value *values = realloc(json->values, room * sizeof(*values));
        if (values == NULL)
            return fl_err_set(walker->err, -ENOMEM, "out of memory");
        json->values = values;
        json->room = room;
    }
    json->values[json->count] = (struct cni_json_value){.start = (uint32_t)walker->at, .kind = kind};
    *ret_index = json->count++;
    return 0;
}

static void close_value(struct walker *walker, uint32_t index)
{
    walker->json->values[index].end = (uint32_t)walker->at;
    walker->json->values[index].next = walker->json->count;
}

static int open_container(struct walker *walker, uint32_t index)
{
    if (walker->depth == CNI_JSON_DEPTH_MAX)
        return fl_err_set(walker->err, -EMSGSIZE, "arrays and objects are nested deeper than %d", CNI_JSON_DEPTH_MAX);
    walker->at++;
    walker->open[walker->depth++] = index;
    return 0;
}

static int read_scalar(struct walker *walker, char kind)
{
    switch (kind) {
    case '"':
        return skip_string(walker);
    case 't':
        return skip_word(walker, "true");
    case 'f':
        return skip_word(walker, "false");
    case 'n':
        return skip_word(walker, "null");
    default:
        return skip_number(walker);
    }
}

/* One value; of a container its opening bracket alone. */
static int read_value(struct walker *walker)
{
    int byte = peek(walker);
    char kind = byte == '-' || (byte >= '0' && byte <= '9') ? '0' : (char)byte;
    if (byte < 0)
        return fail(walker, "the text ends where a value is expected");
    if (byte == 0 || strchr("{[\"0tfn", kind) == NULL)
        return fail(walker,
                    byte == 0xef && walker->at == 0 ? "a byte order mark, which runtimes refuse" : "expected a value");
    uint32_t index;
    int result = add(walker, kind, &index);
    if (result < 0)
        return result;
    if (kind == '{' || kind == '[')
        return open_container(walker, index);
    result = read_scalar(walker, kind);
    close_value(walker, index);
    return result;
}

static int read_name(struct walker *walker)
{
    uint32_t index;
    if (peek(walker) != '"')
        return fail(walker, peek(walker) < 0 ? "the text ends inside an object" : "expected a member name in quotes");
    int result = add(walker, '"', &index);
    if (result == 0)
        result = skip_string(walker);
    if (result < 0)
        return result;
    close_value(walker, index);
    skip_space(walker);
    if (!take(walker, ':'))
        return fail(walker, "expected ':' after the member name");
    skip_space(walker);
    return 0;
}

/* Behind a value or an opening bracket: closes what ends here. *ret_more: another value follows. */
static int read_between(struct walker *walker, bool *ret_more)
{
    while (walker->depth > 0) {
        uint32_t index = walker->open[walker->depth - 1];
        bool object = walker->json->values[index].kind == '{';
        bool empty = walker->json->count == index + 1;
        skip_space(walker);
        if (take(walker, object ? '}' : ']')) {
            walker->depth--;
            close_value(walker, index);
            continue;
        }
        if (peek(walker) < 0)
            return fail(walker, object ? "the text ends inside an object" : "the text ends inside an array");
        if (!empty && !take(walker, ','))
            return fail(walker, object ? "expected ',' or '}'" : "expected ',' or ']'");
        skip_space(walker);
        *ret_more = true;
        return object ? read_name(walker) : 0;
    }
    *ret_more = false;
    return 0;
}

static int read_document(struct walker *walker)
{
    int result = 0;
    skip_space(walker);
    for (bool more = true; result == 0 && more;) {
        result = read_value(walker);
        if (result == 0)
            result = read_between(walker, &more);
    }
    if (result < 0)
        return result;
    skip_space(walker);
    return peek(walker) < 0 ? 0 : fail(walker, "bytes after the value");
}

int cni_json_read(struct fl_span text, struct cni_json *ret_json, struct fl_err *err)
{
    struct cni_json json = {.text = text};
    struct walker walker = {.json = &json, .err = err};
    if (text.len >= UINT32_MAX)
        return fl_err_set(err, -EMSGSIZE, "the text has %zu bytes", text.len);
    int result = read_document(&walker);
    if (result < 0)
        cni_json_done(&json);
    else
        *ret_json = json;
    return result;
}

void cni_json_done(struct cni_json *json)
{
    free(json->values);
    *json = (struct cni_json){0};
}

char cni_json_kind(const struct cni_json *json, uint32_t index)
{
    return index < json->count ? json->values[index].kind : '\0';
}

struct fl_span cni_json_text(const struct cni_json *json, uint32_t index)
{
    if (index >= json->count)
        return (struct fl_span){0};
    const struct cni_json_value *value = &json->values[index];
    return fl_span_make(json->text.data + value->start, value->end - value->start);
}

uint32_t cni_json_first(const struct cni_json *json, uint32_t container)
{
    char kind = cni_json_kind(json, container);
    if (kind != '{' && kind != '[')
        return CNI_JSON_NONE;
    return json->values[container].next > container + 1 ? container + 1 : CNI_JSON_NONE;
}

uint32_t cni_json_after(const struct cni_json *json, uint32_t container, uint32_t child)
{
    uint32_t value = cni_json_kind(json, container) == '{' ? child + 1 : child;
    uint32_t after = json->values[value].next;
    return after < json->values[container].next ? after : CNI_JSON_NONE;
}

uint32_t cni_json_count(const struct cni_json *json, uint32_t container)
{
    uint32_t count = 0;
    for (uint32_t child = cni_json_first(json, container); child != CNI_JSON_NONE;
         child = cni_json_after(json, container, child))
        count++;
    return count;
}

uint32_t cni_json_get(const struct cni_json *json, uint32_t object, const char *name)
{
    uint32_t found = CNI_JSON_NONE;
    if (cni_json_kind(json, object) != '{')
        return found;
    for (uint32_t member = cni_json_first(json, object); member != CNI_JSON_NONE;
         member = cni_json_after(json, object, member)) {
        if (cni_json_is(json, member, name))
            found = member + 1;
    }
    return found;
}

/* The next character of a string's inside, escapes resolved; 0x100 for anything past ASCII. */
static int next_character(struct fl_span *inside)
{
    int byte = (unsigned char)inside->data[0];
    size_t length = 1;
    if (byte == '\\') {
        static const char escaped[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        int escape = inside->data[1];
        length = escape == 'u' ? 6 : 2;
        byte = 0;
        for (size_t i = 2; i < length; i++)
            byte = byte * 16 + hex_digit((unsigned char)inside->data[i]);
        if (escape != 'u')
            byte = meant[strchr(escaped, escape) - escaped];
    }
    *inside = fl_span_from(*inside, length);
    return byte < 0x80 ? byte : 0x100;
}

static struct fl_span inside_of(const struct cni_json *json, uint32_t string)
{
    struct fl_span text = cni_json_text(json, string);
    return fl_span_make(text.data + 1, text.len - 2);
}

bool cni_json_is(const struct cni_json *json, uint32_t string, const char *text)
{
    if (cni_json_kind(json, string) != '"')
        return false;
    struct fl_span inside = inside_of(json, string);
    while (inside.len > 0 && *text != '\0') {
        if (next_character(&inside) != *text++)
            return false;
    }
    return inside.len == 0 && *text == '\0';
}

bool cni_json_string(const struct cni_json *json, uint32_t string, char *text, size_t size)
{
    size_t length = 0;
    if (cni_json_kind(json, string) != '"')
        return false;
    for (struct fl_span inside = inside_of(json, string); inside.len > 0;) {
        int character = next_character(&inside);
        if (character < 0x20 || character > 0x7e || length + 1 >= size)
            return false;
        text[length++] = (char)character;
    }
    text[length] = '\0';
    return true;
}

uint32_t cni_json_get_field(const struct cni_json *json, uint32_t object, const char *name)
{
    uint32_t found = CNI_JSON_NONE;
    char text[32], best[32] = "";
    if (cni_json_kind(json, object) != '{')
        return found;
    for (uint32_t member = cni_json_first(json, object); member != CNI_JSON_NONE;
         member = cni_json_after(json, object, member)) {
        if (!cni_json_string(json, member, text, sizeof(text)) || strcasecmp(text, name) != 0)
            continue;
        if (strcmp(text, best) < 0)
            continue;
        memcpy(best, text, sizeof(best));
        found = member + 1;
    }
    return cni_json_kind(json, found) == 'n' ? CNI_JSON_NONE : found;
}
