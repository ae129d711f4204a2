#include "control/model/store.h"

#include "control/model/model_private.h"

#include <errno.h>
#include <stdio.h>

#define PENDING_KEPT 1024

struct pending {
    struct control_key key;
    struct control_object *object; /* counted; NULL: to be removed */
    char *text;                    /* owned: what the key of a removal points into */
};

struct control_store {
    struct control_model *model;
    struct control_problems *problems;
    struct pending *pending; /* in the order of the calls; the last of a key counts */
    size_t count, room;
};

/* -- life ---------------------------------------------------------------------------------------------------------- */

static int make_indexes(struct control_model *model, const struct control_model *before,
                        const struct control_index_change *changes, size_t count)
{
    for (size_t i = 0; i < CONTROL_INDEX_COUNT; i++) {
        struct control_index *old = before != NULL ? before->indexes[i] : NULL;
        int result = control_index_update(old, (enum control_index_kind)i, changes, count, &model->indexes[i]);
        if (result < 0)
            return result;
    }
    control_model_hold(model);
    return 0;
}

int control_store_new(struct control_store **ret_store)
{
    struct control_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return -ENOMEM;
    store->model = control_model_new();
    if (store->model == NULL || make_indexes(store->model, NULL, NULL, 0) < 0) {
        control_store_free(store);
        return -ENOMEM;
    }
    control_store_set_root(store, FL_SPAN(CONTROL_ROOT_DEFAULT));
    *ret_store = store;
    return 0;
}

static void forget(struct pending *pending)
{
    control_object_unref(pending->object);
    free(pending->text);
}

struct control_store *control_store_free(struct control_store *store)
{
    if (store == NULL)
        return NULL;
    for (size_t i = 0; i < store->count; i++)
        forget(&store->pending[i]);
    free(store->pending);
    control_model_unref(store->model);
    control_problems_unref(store->problems);
    free(store);
    return NULL;
}

/* -- what is to come ----------------------------------------------------------------------------------------------- */

static struct pending *append(struct control_store *store)
{
    if (store->count == store->room) {
        size_t room = store->room > 0 ? store->room * 2 : 64;
        struct pending *grown = realloc(store->pending, room * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        store->pending = grown;
        store->room = room;
    }
    return &store->pending[store->count];
}

int control_store_put(struct control_store *store, const struct control_object *object)
{
    if (store->count >= CONTROL_OBJECTS_MAX)
        return -ENOSPC;
    struct pending *pending = append(store);
    if (pending == NULL)
        return -ENOMEM;
    *pending = (struct pending){control_object_key(object), control_object_ref(object), NULL};
    store->count++;
    return 0;
}

int control_store_remove(struct control_store *store, struct control_key key)
{
    struct pending *pending = append(store);
    char *text = pending != NULL ? malloc(key.name_space.len + key.name.len + 1) : NULL;
    if (text == NULL)
        return -ENOMEM;
    if (key.name_space.len > 0)
        memcpy(text, key.name_space.data, key.name_space.len);
    if (key.name.len > 0)
        memcpy(text + key.name_space.len, key.name.data, key.name.len);
    *pending = (struct pending){
        {key.kind, fl_span_make(text, key.name_space.len), fl_span_make(text + key.name_space.len, key.name.len)},
        NULL,
        text};
    store->count++;
    return 0;
}

const struct control_object *control_store_find(const struct control_store *store, struct control_key key)
{
    for (size_t i = store->count; i > 0; i--)
        if (control_key_compare(&store->pending[i - 1].key, &key) == 0)
            return store->pending[i - 1].object;
    return control_model_get(store->model, key);
}

bool control_store_is_pending(const struct control_store *store)
{
    return store->count > 0 || store->problems != store->model->problems;
}

void control_store_set_problems(struct control_store *store, const struct control_problems *problems)
{
    struct control_problems *held = control_problems_ref(problems);
    control_problems_unref(store->problems);
    store->problems = held;
}

void control_store_set_issuer(struct control_store *store, struct fl_span trust_domain)
{
    store->model->issuer = trust_domain;
}

void control_store_set_root(struct control_store *store, struct fl_span name_space)
{
    snprintf(store->model->root, sizeof(store->model->root), "%.*s", FL_SPAN_ARG(name_space));
}

/* -- commit -------------------------------------------------------------------------------------------------------- */

/* By key, the later call first. */
static int compare_pending(const void *a, const void *b)
{
    const struct pending *const *one = a, *const *other = b;
    int order = control_key_compare(&(*one)->key, &(*other)->key);
    return order != 0 ? order : *one > *other ? -1 : 1;
}

static bool same_origin(const struct control_object *a, const struct control_object *b)
{
    return a->origin.document == b->origin.document && a->origin.line == b->origin.line &&
           a->origin.column == b->origin.column && fl_span_eq(a->origin.source, b->origin.source);
}

struct collected {
    struct control_index_change *index; /* what the indexes are told: also objects that only moved in their file */
    size_t index_count;
    struct control_change *changes;
    size_t count;
};

static void collect_one(const struct control_model *model, const struct pending *pending, struct collected *collected)
{
    const struct control_object *before = control_model_get(model, pending->key), *after = pending->object;
    bool same = before != NULL && after != NULL && before->version == after->version;
    if (before == after || (same && same_origin(before, after)))
        return;
    collected->index[collected->index_count++] = (struct control_index_change){before, after};
    if (same)
        return;
    enum control_change_kind kind = before == NULL ? CONTROL_CAME : after == NULL ? CONTROL_WENT : CONTROL_CHANGED;
    collected->changes[collected->count++] = (struct control_change){kind, before, after};
}

/* Into arrays of store->count each. */
static int collect(const struct control_store *store, struct collected *collected)
{
    FL_CLEANUP(fl_cleanup_free) const struct pending **sorted = calloc(store->count, sizeof(struct pending *));
    if (sorted == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < store->count; i++)
        sorted[i] = &store->pending[i];
    qsort(sorted, store->count, sizeof(struct pending *), compare_pending);
    for (size_t i = 0; i < store->count; i++)
        if (i == 0 || control_key_compare(&sorted[i - 1]->key, &sorted[i]->key) != 0)
            collect_one(store->model, sorted[i], collected);
    return 0;
}

static int make_model(struct control_store *store, const struct control_index_change *changes, size_t count,
                      struct control_model **ret_model)
{
    FL_CLEANUP(control_cleanup_model) struct control_model *model = control_model_new();
    if (model == NULL)
        return -ENOMEM;
    int result = make_indexes(model, store->model, changes, count);
    if (result < 0)
        return result;
    if (model->indexes[CONTROL_INDEX_ALL]->count > CONTROL_OBJECTS_MAX)
        return -ENOSPC;
    model->version = store->model->version + 1;
    model->problems = control_problems_ref(store->problems);
    model->issuer = store->model->issuer;
    memcpy(model->root, store->model->root, sizeof(model->root));
    *ret_model = fl_take(model);
    return 0;
}

/* The changes are at hand, nothing fails any more: takes the model over. */
static void take_over(struct control_store *store, struct control_model *model, struct control_diff *diff)
{
    diff->before = store->model;
    diff->after = control_model_ref(model);
    store->model = model;
    for (size_t i = 0; i < store->count; i++)
        forget(&store->pending[i]);
    store->count = 0;
    if (store->room > PENDING_KEPT) { /* the first load is much larger than what follows */
        free(fl_take(store->pending));
        store->room = 0;
    }
}

static int commit(struct control_store *store, struct control_diff *diff)
{
    size_t room = store->count > 0 ? store->count : 1;
    struct control_model *model = NULL;
    FL_CLEANUP(fl_cleanup_free) struct control_index_change *index = calloc(room, sizeof(*index));
    FL_CLEANUP(fl_cleanup_free) struct control_change *changes = calloc(room, sizeof(*changes));
    struct collected collected = {index, 0, changes, 0};
    if (index == NULL || changes == NULL)
        return -ENOMEM;
    int result = store->count > 0 ? collect(store, &collected) : 0;
    if (result < 0)
        return result;
    if (collected.index_count == 0 && store->problems == store->model->problems)
        model = control_model_ref(store->model);
    else
        result = make_model(store, index, collected.index_count, &model);
    if (result < 0)
        return result;
    diff->changes = fl_take(changes);
    diff->count = collected.count;
    take_over(store, model, diff);
    return 0;
}

int control_store_commit(struct control_store *store, struct control_diff **ret_diff)
{
    struct control_diff *diff = calloc(1, sizeof(*diff));
    if (diff == NULL)
        return -ENOMEM;
    int result = commit(store, diff);
    if (result < 0) {
        free(diff);
        return result;
    }
    *ret_diff = diff;
    return 0;
}

/* The objects of the changes are held by the two models. */
struct control_diff *control_diff_free(struct control_diff *diff)
{
    if (diff == NULL)
        return NULL;
    control_model_unref(diff->before);
    control_model_unref(diff->after);
    free((void *)(uintptr_t)diff->changes);
    free(diff);
    return NULL;
}

struct control_model *control_store_model(const struct control_store *store)
{
    return store->model;
}
