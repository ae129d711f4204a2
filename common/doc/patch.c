/* Making and applying patches. Applying works on a copy of the document, which takes its place when every operation
 * went through: "all or nothing" needs no undoing. The copy operation alone can multiply what is there (sixty of them
 * double a document sixty times), so what it takes is counted. */
#include "common/doc/patch.h"

#include <errno.h>

#define SHOWN_MAX  128 /* bytes of an operation and a path in a message */
#define ITEM_BYTES 128 /* of memory for one value, about */

/* Making. */

static int append_operation(struct fl_json *patch, const char *op, const struct fl_pointer *path, struct fl_json *value)
{
    struct fl_json *operation = fl_json_new_object();
    if (operation == NULL) {
        fl_json_free(value);
        return -ENOMEM;
    }
    int result = fl_json_set(operation, "op", fl_json_new_string(fl_span_str(op)));
    if (result == 0)
        result = fl_json_set(operation, "path", fl_json_new_string(fl_span_make(path->text, path->len)));
    if (result == 0 && value != NULL)
        result = fl_json_set(operation, "value", fl_take(value));
    fl_json_free(value);
    if (result == 0)
        return fl_json_append(patch, operation);
    fl_json_free(operation);
    return result;
}

static int append_with_value(struct fl_json *patch, const char *op, const struct fl_pointer *path,
                             struct fl_json *value)
{
    if (value == NULL)
        return -ENOMEM;
    if (path->overflow) {
        fl_json_free(value);
        return -EMSGSIZE;
    }
    return append_operation(patch, op, path, value);
}

int fl_patch_add(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value)
{
    return append_with_value(patch, "add", path, value);
}

int fl_patch_replace(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value)
{
    return append_with_value(patch, "replace", path, value);
}

int fl_patch_test(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value)
{
    return append_with_value(patch, "test", path, value);
}

int fl_patch_remove(struct fl_json *patch, const struct fl_pointer *path)
{
    return path->overflow ? -EMSGSIZE : append_operation(patch, "remove", path, NULL);
}

/* Applying. */

struct patching {
    struct fl_json *document; /* the copy; owned */
    bool shares;              /* with the patch: what comes from it is not copied */
    size_t copied;            /* bytes that copy operations took */
    struct fl_err *err;
};

struct operation {
    struct fl_span op, path, from;
    const struct fl_json *value; /* borrowed from the patch */
};

static int fail(struct patching *patching, int code, const char *what)
{
    return fl_err_set(patching->err, code, "%s", what);
}

/* Puts an owned value where `path` says, shifting elements of an array or replacing a member. */
static int put(struct patching *patching, struct fl_span path, struct fl_json *owned)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *value = owned;
    if (value == NULL)
        return fail(patching, -ENOMEM, "out of memory");
    if (path.len == 0) {
        fl_json_free(patching->document);
        patching->document = fl_take(value);
        return 0;
    }
    struct fl_place place;
    int result = fl_pointer_place(patching->document, path, &place, patching->err);
    if (result < 0)
        return result;
    if (fl_json_is(place.parent, FL_JSON_OBJECT))
        result = fl_json_set_span(place.parent, place.name, fl_take(value));
    else if (place.end)
        result = fl_json_append(place.parent, fl_take(value));
    else
        result = fl_json_insert(place.parent, place.index, fl_take(value));
    return result < 0 ? fail(patching, result, "out of memory") : 0;
}

/* Takes out what is at `path`; the caller owns it. */
static int take_out(struct patching *patching, struct fl_span path, struct fl_json **ret_value)
{
    struct fl_place place;
    int result = fl_pointer_place(patching->document, path, &place, patching->err);
    if (result < 0)
        return result;
    struct fl_json *value = fl_json_is(place.parent, FL_JSON_OBJECT) ? fl_json_detach(place.parent, place.name)
                                                                     : fl_json_detach_at(place.parent, place.index);
    if (value == NULL)
        return fail(patching, -ENOENT, "nothing is there");
    *ret_value = value;
    return 0;
}

/* The operation's value; NULL when memory is out. */
static struct fl_json *value_of(const struct patching *patching, const struct operation *operation)
{
    return patching->shares ? fl_json_share(operation->value) : fl_json_copy(operation->value);
}

static int apply_add(struct patching *patching, const struct operation *operation)
{
    return put(patching, operation->path, value_of(patching, operation));
}

static int apply_remove(struct patching *patching, const struct operation *operation)
{
    if (operation->path.len == 0)
        return fail(patching, -EINVAL, "the whole document cannot be removed");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *removed = NULL;
    return take_out(patching, operation->path, &removed);
}

static int apply_replace(struct patching *patching, const struct operation *operation)
{
    if (operation->path.len == 0)
        return apply_add(patching, operation);
    struct fl_place place;
    int result = fl_pointer_place(patching->document, operation->path, &place, patching->err);
    if (result < 0)
        return result;
    if (fl_json_is(place.parent, FL_JSON_OBJECT)) {
        if (fl_json_get_span(place.parent, place.name) == NULL)
            return fail(patching, -ENOENT, "nothing is there");
        result = fl_json_set_span(place.parent, place.name, value_of(patching, operation));
    } else {
        result = fl_json_remove_at(place.parent, place.index);
        if (result < 0)
            return fail(patching, -ENOENT, "nothing is there");
        result = fl_json_insert(place.parent, place.index, value_of(patching, operation));
    }
    return result < 0 ? fail(patching, result, "out of memory") : 0;
}

/* Whether `outer` is what lies around `path`. A place has one spelling only, so the texts can be compared. */
static bool contains(struct fl_span outer, struct fl_span path)
{
    return path.len > outer.len && fl_span_starts_with(path, outer) && path.data[outer.len] == '/';
}

static int apply_move(struct patching *patching, const struct operation *operation)
{
    struct fl_json *value = NULL;
    if (contains(operation->from, operation->path))
        return fail(patching, -EINVAL, "a value cannot be moved into itself");
    int result = fl_pointer_resolve(patching->document, operation->from, &value, patching->err);
    if (result < 0 || fl_span_eq(operation->from, operation->path))
        return result;
    result = take_out(patching, operation->from, &value);
    return result < 0 ? result : put(patching, operation->path, value);
}

/* About what a value takes in memory; counts no further than `max`, nor deeper than FL_JSON_DEPTH_MAX. */
static size_t measure(const struct fl_json *value, size_t max, unsigned depth)
{
    size_t bytes = ITEM_BYTES + fl_json_name(value).len + fl_json_string(value).len;
    if (depth > FL_JSON_DEPTH_MAX)
        return max + 1;
    for (value = fl_json_first(value); value != NULL && bytes <= max; value = fl_json_next(value))
        bytes += measure(value, max - bytes, depth + 1);
    return bytes;
}

static int apply_copy(struct patching *patching, const struct operation *operation)
{
    struct fl_json *value = NULL;
    int result = fl_pointer_resolve(patching->document, operation->from, &value, patching->err);
    if (result < 0)
        return result;
    size_t bytes = measure(value, FL_PATCH_COPY_MAX, 0);
    if (bytes > FL_PATCH_COPY_MAX - patching->copied)
        return fail(patching, -EMSGSIZE, "the copies take too much memory");
    patching->copied += bytes;
    return put(patching, operation->path, fl_json_copy(value));
}

static int apply_test(struct patching *patching, const struct operation *operation)
{
    struct fl_json *value = NULL;
    int result = fl_pointer_resolve(patching->document, operation->path, &value, patching->err);
    if (result < 0)
        return result;
    return fl_json_equal(value, operation->value) ? 0 : fail(patching, -ENOENT, "the value is another one");
}

static const struct {
    const char *op;
    bool value, from; /* members that it needs */
    int (*apply)(struct patching *patching, const struct operation *operation);
} kinds[] = {
    {"add", true, false, apply_add},   {"remove", false, false, apply_remove}, {"replace", true, false, apply_replace},
    {"move", false, true, apply_move}, {"copy", false, true, apply_copy},      {"test", true, false, apply_test},
};

static int read_member(struct patching *patching, const struct fl_json *object, const char *name,
                       struct fl_span *ret_text)
{
    const struct fl_json *member = fl_json_get(object, name);
    if (!fl_json_is(member, FL_JSON_STRING))
        return fl_err_set(patching->err, -EINVAL, "expected a string \"%s\"", name);
    *ret_text = fl_json_string(member);
    return 0;
}

/* Reads and applies; members that RFC 6902 does not know are ignored, as it asks (§4). */
static int apply_operation(struct patching *patching, const struct fl_json *object, struct operation *operation)
{
    if (!fl_json_is(object, FL_JSON_OBJECT))
        return fail(patching, -EINVAL, "expected an object");
    int result = read_member(patching, object, "op", &operation->op);
    size_t kind = 0;
    while (result == 0 && kind < FL_COUNT(kinds) && !fl_span_eq_str(operation->op, kinds[kind].op))
        kind++;
    if (result == 0 && kind == FL_COUNT(kinds))
        return fail(patching, -EINVAL, "expected one of add, remove, replace, move, copy, test as \"op\"");
    if (result == 0)
        result = read_member(patching, object, "path", &operation->path);
    if (result == 0 && kinds[kind].from)
        result = read_member(patching, object, "from", &operation->from);
    operation->value = fl_json_get(object, "value");
    if (result == 0 && kinds[kind].value && operation->value == NULL)
        return fail(patching, -EINVAL, "expected a member \"value\"");
    return result < 0 ? result : kinds[kind].apply(patching, operation);
}

/* A long path must not push the reason out of the message. */
static struct fl_span shown(struct fl_span text)
{
    return fl_span_make(text.data, text.len < SHOWN_MAX ? text.len : SHOWN_MAX);
}

static int apply_all(struct patching *patching, const struct fl_json *patch)
{
    size_t index = 0;
    for (const struct fl_json *at = fl_json_first(patch); at != NULL; at = fl_json_next(at), index++) {
        struct operation operation = {.op = FL_SPAN(""), .path = FL_SPAN("")};
        int result = apply_operation(patching, at, &operation);
        if (result < 0) {
            fl_err_prefix(patching->err, "operation %zu (%.*s %.*s)", index, FL_SPAN_ARG(shown(operation.op)),
                          FL_SPAN_ARG(shown(operation.path)));
            return result;
        }
    }
    if (fl_json_depth(patching->document) > FL_JSON_DEPTH_MAX)
        return fail(patching, -EMSGSIZE, "the result is nested too deeply");
    return 0;
}

/* `document` is the copy, taken over; NULL: memory was out. */
static int apply_to(struct fl_json *document, bool shares, const struct fl_json *patch, struct fl_json **ret_document,
                    struct fl_err *err)
{
    struct patching patching = {.document = document, .shares = shares, .err = err};
    if (document == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    int result = apply_all(&patching, patch);
    if (result < 0)
        fl_json_free(patching.document);
    else
        *ret_document = patching.document;
    return result;
}

static int check_patch(const struct fl_json *patch, struct fl_err *err)
{
    if (!fl_json_is(patch, FL_JSON_ARRAY))
        return fl_err_set(err, -EINVAL, "a patch is an array of operations");
    if (fl_json_count(patch) > FL_PATCH_OPERATIONS_MAX)
        return fl_err_set(err, -EMSGSIZE, "the patch has more than %d operations", FL_PATCH_OPERATIONS_MAX);
    return 0;
}

int fl_patch_applied(const struct fl_json *document, const struct fl_json *patch, struct fl_json **ret_document,
                     struct fl_err *err)
{
    int result = check_patch(patch, err);
    return result < 0 ? result : apply_to(fl_json_share(document), true, patch, ret_document, err);
}

int fl_patch_apply(struct fl_json **document, const struct fl_json *patch, struct fl_err *err)
{
    struct fl_json *patched;
    int result = check_patch(patch, err);
    if (result == 0)
        result = apply_to(fl_json_copy(*document), false, patch, &patched, err);
    if (result < 0)
        return result;
    fl_json_free(*document);
    *document = patched;
    return 0;
}
