/* What looks at a tree as a whole: depth, equality, print. By recursion, never deeper than FL_JSON_DEPTH_MAX. */
#include "common/doc/json.h"

#include "common/doc/index.h"
#include "common/doc/number.h"

#include <errno.h>

#define FEW_MEMBERS 16 /* up to here a look-up by walking beats an index */

static unsigned depth_of(const struct fl_json *value, unsigned above)
{
    if (!fl_json_is(value, FL_JSON_ARRAY) && !fl_json_is(value, FL_JSON_OBJECT))
        return above;
    unsigned deepest = above + 1;
    if (deepest > FL_JSON_DEPTH_MAX)
        return deepest;
    for (const struct fl_json *inner = fl_json_first(value); inner != NULL; inner = fl_json_next(inner)) {
        unsigned depth = depth_of(inner, above + 1);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

unsigned fl_json_depth(const struct fl_json *value)
{
    return depth_of(value, 0);
}

static bool equal(const struct fl_json *a, const struct fl_json *b, unsigned depth);

static bool equal_numbers(const struct fl_json *a, const struct fl_json *b)
{
    char room_a[FL_JSON_NUMBER_ROOM], room_b[FL_JSON_NUMBER_ROOM];
    struct fl_span left = fl_json_number_text(a, room_a), right = fl_json_number_text(b, room_b);
    return fl_span_eq(left, right) || fl_number_equal(left, right);
}

/* Both have the same number of members, and no name twice. Without memory for an index the look-ups walk. */
static bool equal_members(const struct fl_json *a, const struct fl_json *b, unsigned depth)
{
    struct fl_index index = {0};
    bool indexed = fl_json_count(b) > FEW_MEMBERS && fl_index_init(&index, b, NULL) == 0;
    bool same = true;
    for (const struct fl_json *member = fl_json_first(a); same && member != NULL; member = fl_json_next(member)) {
        const struct fl_index_entry *entry = indexed ? fl_index_find(&index, fl_json_name(member)) : NULL;
        const struct fl_json *other =
            indexed ? (entry != NULL ? entry->value : NULL) : fl_json_get_span(b, fl_json_name(member));
        same = other != NULL && equal(member, other, depth);
    }
    fl_index_done(&index);
    return same;
}

static bool same_names(const struct fl_json *a, const struct fl_json *b)
{
    for (a = fl_json_first(a), b = fl_json_first(b); a != NULL; a = fl_json_next(a), b = fl_json_next(b)) {
        if (!fl_json_same_name(a, b))
            return false;
    }
    return true;
}

static bool equal_containers(const struct fl_json *a, const struct fl_json *b, unsigned depth)
{
    if (depth > FL_JSON_DEPTH_MAX || fl_json_count(a) != fl_json_count(b))
        return false;
    if (!same_names(a, b))
        return equal_members(a, b, depth);
    for (a = fl_json_first(a), b = fl_json_first(b); a != NULL; a = fl_json_next(a), b = fl_json_next(b)) {
        if (!equal(a, b, depth))
            return false;
    }
    return true;
}

/* `depth`: containers around the two. */
static bool equal(const struct fl_json *a, const struct fl_json *b, unsigned depth)
{
    if (a == NULL || b == NULL || fl_json_kind(a) != fl_json_kind(b))
        return a == b;
    if (fl_json_identical(a, b))
        return depth <= FL_JSON_DEPTH_MAX;
    switch (fl_json_kind(a)) {
    case FL_JSON_NUMBER:
        return equal_numbers(a, b);
    case FL_JSON_STRING:
        return fl_span_eq(fl_json_string(a), fl_json_string(b));
    case FL_JSON_ARRAY:
    case FL_JSON_OBJECT:
        return equal_containers(a, b, depth + 1);
    case FL_JSON_BOOL:
        return fl_json_bool(a) == fl_json_bool(b);
    case FL_JSON_NULL:
    default:
        return true;
    }
}

bool fl_json_equal(const struct fl_json *a, const struct fl_json *b)
{
    return equal(a, b, 0);
}

static int print(const struct fl_json *value, struct fl_buf *out, unsigned depth);

static int print_container(const struct fl_json *value, struct fl_buf *out, unsigned depth)
{
    if (depth > FL_JSON_DEPTH_MAX)
        return -EMSGSIZE;
    bool object = fl_json_is(value, FL_JSON_OBJECT);
    int result = fl_buf_append_byte(out, object ? '{' : '[');
    const struct fl_json *first = fl_json_first(value);
    for (const struct fl_json *inner = first; result == 0 && inner != NULL; inner = fl_json_next(inner)) {
        if (inner != first)
            result = fl_buf_append_byte(out, ',');
        if (result == 0 && object)
            result = fl_buf_append_json_string(out, fl_json_name(inner));
        if (result == 0 && object)
            result = fl_buf_append_byte(out, ':');
        if (result == 0)
            result = print(inner, out, depth);
    }
    return result < 0 ? result : fl_buf_append_byte(out, object ? '}' : ']');
}

/* `depth`: containers around the value. */
static int print(const struct fl_json *value, struct fl_buf *out, unsigned depth)
{
    char room[FL_JSON_NUMBER_ROOM];
    switch (fl_json_kind(value)) {
    case FL_JSON_BOOL:
        return fl_buf_append(out, fl_json_bool(value) ? FL_SPAN("true") : FL_SPAN("false"));
    case FL_JSON_NUMBER:
        return fl_buf_append(out, fl_json_number_text(value, room));
    case FL_JSON_STRING:
        return fl_buf_append_json_string(out, fl_json_string(value));
    case FL_JSON_ARRAY:
    case FL_JSON_OBJECT:
        return print_container(value, out, depth + 1);
    case FL_JSON_NULL:
    default:
        return fl_buf_append(out, FL_SPAN("null"));
    }
}

int fl_json_print(const struct fl_json *value, struct fl_buf *out)
{
    size_t before = out->len;
    int result = print(value, out, 0);
    if (result < 0)
        out->len = before;
    return result;
}
