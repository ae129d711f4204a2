#include "common/doc/pointer.h"

#include <errno.h>
#include <stdio.h>

static void push_bytes(struct fl_pointer *pointer, const char *bytes, size_t length)
{
    if (pointer->overflow || length > sizeof(pointer->text) - pointer->len) {
        pointer->overflow = true;
        return;
    }
    memcpy(pointer->text + pointer->len, bytes, length);
    pointer->len += length;
}

void fl_pointer_push(struct fl_pointer *pointer, struct fl_span name)
{
    push_bytes(pointer, "/", 1);
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '~')
            push_bytes(pointer, "~0", 2);
        else if (name.data[i] == '/')
            push_bytes(pointer, "~1", 2);
        else
            push_bytes(pointer, &name.data[i], 1);
    }
}

void fl_pointer_push_index(struct fl_pointer *pointer, size_t index)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "/%zu", index);
    push_bytes(pointer, text, (size_t)length);
}

void fl_pointer_push_end(struct fl_pointer *pointer)
{
    push_bytes(pointer, "/-", 2);
}

void fl_pointer_cut(struct fl_pointer *pointer, size_t mark)
{
    pointer->len = mark;
    pointer->overflow = false;
}

/* The token after the slash at the start of *rest, unescaped into `room`, which holds any token of a pointer. */
static bool next_token(struct fl_span *rest, char room[FL_POINTER_MAX], struct fl_span *ret_token)
{
    size_t length = 0, at = 1;
    for (; at < rest->len && rest->data[at] != '/'; at++) {
        char byte = rest->data[at];
        if (byte == '~') {
            at++;
            if (at == rest->len || (rest->data[at] != '0' && rest->data[at] != '1'))
                return false;
            byte = rest->data[at] == '0' ? '~' : '/';
        }
        room[length++] = byte;
    }
    *ret_token = fl_span_make(room, length);
    *rest = fl_span_from(*rest, at);
    return true;
}

/* RFC 6901 §4: digits, no leading zero. */
static bool read_index(struct fl_span token, size_t *ret_index)
{
    uint64_t index;
    if (!fl_span_to_u64(token, SIZE_MAX, &index) || (token.len > 1 && token.data[0] == '0'))
        return false;
    *ret_index = (size_t)index;
    return true;
}

static int fail_token(struct fl_err *err, int code, const char *what, struct fl_span token)
{
    return fl_err_set(err, code, "%s: \"%.*s\"", what, FL_SPAN_ARG(token));
}

static int step(const struct fl_json *value, struct fl_span token, struct fl_json **ret_value, struct fl_err *err)
{
    struct fl_json *found = NULL;
    size_t index;
    if (fl_json_is(value, FL_JSON_ARRAY) && !fl_span_eq_str(token, "-")) {
        if (!read_index(token, &index))
            return fail_token(err, -EINVAL, "not the index of an element", token);
        found = fl_json_at(value, index);
    } else {
        found = fl_json_get_span(value, token);
    }
    if (found == NULL)
        return fail_token(err, -ENOENT, "nothing is there", token);
    *ret_value = found;
    return 0;
}

static int check(struct fl_span pointer, struct fl_err *err)
{
    if (pointer.len > FL_POINTER_MAX)
        return fl_err_set(err, -EMSGSIZE, "the pointer is longer than %d bytes", FL_POINTER_MAX);
    if (pointer.len > 0 && pointer.data[0] != '/')
        return fl_err_set(err, -EINVAL, "a pointer starts with '/' or is empty");
    return 0;
}

static int own(struct fl_json *value, struct fl_err *err)
{
    int result = fl_json_unshare(value);
    return result < 0 ? fl_err_set(err, result, "out of memory") : 0;
}

/* `owned`: what is on the way, the end included, is to become the document's own. */
static int resolve(struct fl_json *document, struct fl_span pointer, bool owned, struct fl_json **ret_value,
                   struct fl_err *err)
{
    struct fl_json *at = document;
    int result = check(pointer, err);
    if (result == 0 && owned)
        result = own(at, err);
    while (result == 0 && pointer.len > 0) {
        char room[FL_POINTER_MAX];
        struct fl_span token;
        if (!next_token(&pointer, room, &token))
            return fl_err_set(err, -EINVAL, "'~' in a pointer is followed by 0 or 1");
        result = step(at, token, &at, err);
        if (result == 0 && owned)
            result = own(at, err);
    }
    if (result == 0)
        *ret_value = at;
    return result;
}

int fl_pointer_resolve(const struct fl_json *document, struct fl_span pointer, struct fl_json **ret_value,
                       struct fl_err *err)
{
    union {
        const struct fl_json *borrowed;
        struct fl_json *value;
    } cast = {.borrowed = document};
    return resolve(cast.value, pointer, false, ret_value, err);
}

struct fl_json *fl_pointer_find(const struct fl_json *document, struct fl_span pointer)
{
    struct fl_json *value = NULL;
    return fl_pointer_resolve(document, pointer, &value, NULL) == 0 ? value : NULL;
}

static int place_in_array(struct fl_place *place, struct fl_err *err)
{
    size_t count = fl_json_count(place->parent);
    if (fl_span_eq_str(place->name, "-")) {
        place->end = true;
        place->index = count;
        return 0;
    }
    if (!read_index(place->name, &place->index))
        return fail_token(err, -EINVAL, "not the index of an element", place->name);
    return place->index <= count ? 0 : fail_token(err, -ENOENT, "the index lies behind the array's end", place->name);
}

int fl_pointer_place(struct fl_json *document, struct fl_span pointer, struct fl_place *ret_place, struct fl_err *err)
{
    size_t slash = pointer.len;
    while (slash > 0 && pointer.data[slash - 1] != '/')
        slash--;
    int result = check(pointer, err);
    if (result < 0)
        return result;
    if (slash == 0)
        return fl_err_set(err, -EINVAL, "the whole document has no place in another");
    result = resolve(document, fl_span_make(pointer.data, slash - 1), true, &ret_place->parent, err);
    if (result < 0)
        return result;
    struct fl_span last = fl_span_from(pointer, slash - 1);
    if (!next_token(&last, ret_place->room, &ret_place->name))
        return fl_err_set(err, -EINVAL, "'~' in a pointer is followed by 0 or 1");
    ret_place->end = false;
    ret_place->index = 0;
    if (fl_json_is(ret_place->parent, FL_JSON_ARRAY))
        return place_in_array(ret_place, err);
    return fl_json_is(ret_place->parent, FL_JSON_OBJECT)
               ? 0
               : fail_token(err, -ENOENT, "no object or array is there to hold", ret_place->name);
}
