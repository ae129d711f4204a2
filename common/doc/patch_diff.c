/* From two documents to a patch.
 *
 * Lists of named objects are what Kubernetes is made of (containers, volumes, env): there an inserted element must not
 * show as "everything behind it changed". Such a list is patched by names where the elements that stay keep their
 * order: removals first, from the end, so that the indices before them hold; then along `after`, where position i is
 * right because everything before it already is. */
#include "common/doc/patch.h"

#include "common/doc/index.h"

#include <errno.h>

struct differ {
    struct fl_json *patch; /* owned until the end */
    size_t operations;
    struct fl_pointer path;
};

static int diff(struct differ *differ, const struct fl_json *before, const struct fl_json *after);

static int count_operation(struct differ *differ, int result)
{
    return result == 0 && ++differ->operations > FL_PATCH_OPERATIONS_MAX ? -EMSGSIZE : result;
}

static int emit_add(struct differ *differ, const struct fl_json *value)
{
    return count_operation(differ, fl_patch_add(differ->patch, &differ->path, fl_json_copy(value)));
}

static int emit_remove(struct differ *differ)
{
    return count_operation(differ, fl_patch_remove(differ->patch, &differ->path));
}

static int emit_replace(struct differ *differ, const struct fl_json *value)
{
    return count_operation(differ, fl_patch_replace(differ->patch, &differ->path, fl_json_copy(value)));
}

/* Members that `after` has no more, and those that it has otherwise. */
static int diff_old_members(struct differ *differ, const struct fl_json *before, const struct fl_index *after)
{
    int result = 0;
    for (const struct fl_json *old = fl_json_first(before); result == 0 && old != NULL; old = fl_json_next(old)) {
        size_t mark = differ->path.len;
        const struct fl_index_entry *entry = fl_index_find(after, fl_json_name(old));
        fl_pointer_push(&differ->path, fl_json_name(old));
        result = entry == NULL ? emit_remove(differ) : diff(differ, old, entry->value);
        fl_pointer_cut(&differ->path, mark);
    }
    return result;
}

static int diff_new_members(struct differ *differ, const struct fl_index *before, const struct fl_json *after)
{
    int result = 0;
    for (const struct fl_json *new = fl_json_first(after); result == 0 && new != NULL; new = fl_json_next(new)) {
        size_t mark = differ->path.len;
        fl_pointer_push(&differ->path, fl_json_name(new));
        if (fl_index_find(before, fl_json_name(new)) == NULL)
            result = emit_add(differ, new);
        fl_pointer_cut(&differ->path, mark);
    }
    return result;
}

static int diff_objects(struct differ *differ, const struct fl_json *before, const struct fl_json *after)
{
    struct fl_index old = {0}, new = {0};
    int result = fl_index_init(&old, before, NULL);
    if (result == 0)
        result = fl_index_init(&new, after, NULL);
    if (result == 0)
        result = diff_old_members(differ, before, &new);
    if (result == 0)
        result = diff_new_members(differ, &old, after);
    fl_index_done(&old);
    fl_index_done(&new);
    return result;
}

/* Whether the two lists share an element and have what they share in the same order. */
static bool keeps_order(const struct fl_json *before, const struct fl_index *new)
{
    size_t next = 0, shared = 0;
    for (const struct fl_json *element = fl_json_first(before); element != NULL; element = fl_json_next(element)) {
        const struct fl_index_entry *entry = fl_index_find(new, fl_json_string(fl_json_get(element, "name")));
        if (entry == NULL)
            continue;
        if (entry->position < next)
            return false;
        next = entry->position + 1;
        shared++;
    }
    return shared > 0;
}

static int remove_elements(struct differ *differ, const struct fl_index *old, const struct fl_index *new)
{
    bool *gone = calloc(old->count, sizeof(*gone));
    if (gone == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < old->count; i++)
        gone[old->entries[i].position] = fl_index_find(new, old->entries[i].name) == NULL;
    int result = 0;
    for (size_t i = old->count; result == 0 && i-- > 0;) {
        size_t mark = differ->path.len;
        if (!gone[i])
            continue;
        fl_pointer_push_index(&differ->path, i);
        result = emit_remove(differ);
        fl_pointer_cut(&differ->path, mark);
    }
    free(gone);
    return result;
}

/* `left`: elements that the removals left over. */
static int place_elements(struct differ *differ, const struct fl_index *old, const struct fl_json *after, size_t left)
{
    int result = 0;
    size_t index = 0;
    for (const struct fl_json *new = fl_json_first(after); result == 0 && new != NULL;
         new = fl_json_next(new), index++) {
        size_t mark = differ->path.len;
        const struct fl_index_entry *entry = fl_index_find(old, fl_json_string(fl_json_get(new, "name")));
        if (entry == NULL && index == left)
            fl_pointer_push_end(&differ->path);
        else
            fl_pointer_push_index(&differ->path, index);
        result = entry == NULL ? emit_add(differ, new) : diff(differ, entry->value, new);
        left += entry == NULL;
        fl_pointer_cut(&differ->path, mark);
    }
    return result;
}

static size_t count_shared(const struct fl_index *old, const struct fl_index *new)
{
    size_t count = 0;
    for (size_t i = 0; i < old->count; i++)
        count += fl_index_find(new, old->entries[i].name) != NULL;
    return count;
}

/* 0 and *ret_named: a list of objects with unique names. */
static int index_list(struct fl_index *index, const struct fl_json *list, bool *ret_named)
{
    int result = fl_index_init(index, list, "name");
    *ret_named = result == 0 && fl_index_duplicate(index) == NULL;
    return result == -EINVAL ? 0 : result;
}

static int diff_lists(struct differ *differ, const struct fl_json *before, const struct fl_json *after)
{
    struct fl_index old = {0}, new = {0};
    bool old_named = false, new_named = false;
    int result = index_list(&old, before, &old_named);
    if (result == 0)
        result = index_list(&new, after, &new_named);
    if (result == 0 && old_named && new_named && keeps_order(before, &new)) {
        result = remove_elements(differ, &old, &new);
        if (result == 0)
            result = place_elements(differ, &old, after, count_shared(&old, &new));
    } else if (result == 0 && !fl_json_equal(before, after)) {
        result = emit_replace(differ, after);
    }
    fl_index_done(&old);
    fl_index_done(&new);
    return result;
}

/* The recursion is bounded by the pointer's length. */
static int diff(struct differ *differ, const struct fl_json *before, const struct fl_json *after)
{
    if (differ->path.overflow)
        return -EMSGSIZE;
    if (fl_json_is(before, FL_JSON_OBJECT) && fl_json_is(after, FL_JSON_OBJECT))
        return diff_objects(differ, before, after);
    if (fl_json_is(before, FL_JSON_ARRAY) && fl_json_is(after, FL_JSON_ARRAY))
        return diff_lists(differ, before, after);
    return fl_json_equal(before, after) ? 0 : emit_replace(differ, after);
}

int fl_patch_diff(const struct fl_json *before, const struct fl_json *after, struct fl_json **ret_patch,
                  struct fl_err *err)
{
    if (fl_json_depth(after) > FL_JSON_DEPTH_MAX)
        return fl_err_set(err, -EMSGSIZE, "the document is nested too deeply");
    struct differ differ = {.patch = fl_json_new_array()};
    int result = differ.patch == NULL ? -ENOMEM : diff(&differ, before, after);
    if (result == -EMSGSIZE) {
        fl_json_free(differ.patch);
        differ = (struct differ){.patch = fl_json_new_array()};
        result = differ.patch == NULL ? -ENOMEM : emit_replace(&differ, after);
    }
    if (result < 0) {
        fl_json_free(differ.patch);
        return fl_err_set(err, result, "out of memory");
    }
    *ret_patch = differ.patch;
    return 0;
}
