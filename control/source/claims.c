#include "control/source/claims.h"

#include <errno.h>
#include <stdio.h>

static const struct control_document_object *object_of(const struct control_claim *claim)
{
    return &claim->file->documents.objects[claim->index];
}

static int compare(const struct control_claim *a, const struct control_object *object_a, const struct control_claim *b,
                   const struct control_object *object_b)
{
    struct control_key key_a = control_object_key(object_a), key_b = control_object_key(object_b);
    int order = control_key_compare(&key_a, &key_b);
    if (order == 0 && a->file != b->file)
        order = strcmp(a->file->path, b->file->path);
    return order != 0 ? order : a->index < b->index ? -1 : a->index > b->index;
}

static int compare_claims(const void *a, const void *b)
{
    return compare(a, object_of(a)->object, b, object_of(b)->object);
}

static bool same_key(const struct control_claim *a, const struct control_claim *b)
{
    struct control_key key_a = control_object_key(object_of(a)->object);
    struct control_key key_b = control_object_key(object_of(b)->object);
    return control_key_compare(&key_a, &key_b) == 0;
}

void control_claims_done(struct control_claims *claims)
{
    free(claims->items);
    *claims = (struct control_claims){0};
}

/* -- merging ---------------------------------------------------------------------------------------------------------
 */

/* The new claims of changed files, sorted. */
static int collect(struct control_file *const *files, size_t count, struct control_claims *ret_claims)
{
    size_t room = 0, used = 0;
    for (size_t i = 0; i < count; i++)
        room += files[i]->changed ? files[i]->documents.object_count : 0;
    struct control_claim *items = calloc(room + 1, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; files[i]->changed && k < files[i]->documents.object_count; k++)
            items[used++] = (struct control_claim){files[i], k};
    if (used > 1)
        qsort(items, used, sizeof(*items), compare_claims);
    *ret_claims = (struct control_claims){items, used};
    return 0;
}

/* Old claims of unchanged files with the new ones. */
static int merge(const struct control_claims *old, const struct control_claims *added,
                 struct control_claims *ret_claims)
{
    struct control_claim *items = calloc(old->count + added->count + 1, sizeof(*items));
    size_t used = 0, next = 0;
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < old->count; i++) {
        if (old->items[i].file->changed)
            continue;
        while (next < added->count && compare_claims(&added->items[next], &old->items[i]) < 0)
            items[used++] = added->items[next++];
        items[used++] = old->items[i];
    }
    while (next < added->count)
        items[used++] = added->items[next++];
    *ret_claims = (struct control_claims){items, used};
    return 0;
}

/* -- telling the store -----------------------------------------------------------------------------------------------
 */

/* The first of every key is in force. */
static int put_winners(struct control_claims *claims, struct control_store *store)
{
    for (size_t i = 0; i < claims->count; i++) {
        struct control_document_object *object = &claims->items[i].file->documents.objects[claims->items[i].index];
        bool wins = i == 0 || !same_key(&claims->items[i - 1], &claims->items[i]);
        if (wins && !object->in_force && control_store_put(store, object->object) < 0)
            return -ENOMEM;
        object->in_force = wins;
    }
    return 0;
}

static int compare_key(const void *key, const void *claim)
{
    struct control_key there = control_object_key(object_of(claim)->object);
    return control_key_compare(key, &there);
}

static bool has_key(const struct control_claims *claims, const struct control_key *key)
{
    return claims->count > 0 && bsearch(key, claims->items, claims->count, sizeof(*claims->items), compare_key) != NULL;
}

static int remove_gone(const struct control_claims *claims, const struct control_file *file,
                       struct control_store *store)
{
    for (size_t i = 0; i < file->before.object_count; i++) {
        struct control_key key = control_object_key(file->before.objects[i].object);
        if (!has_key(claims, &key) && control_store_remove(store, key) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int tell(struct control_claims *claims, struct control_file *const *files, size_t count,
                struct control_store *store)
{
    int result = put_winners(claims, store);
    for (size_t i = 0; i < count && result == 0; i++)
        if (files[i]->changed)
            result = remove_gone(claims, files[i], store);
    return result;
}

/* A put or removal that is told twice does no harm: after -ENOMEM the old claims stay, and the next round tells all
 * again. For that, what was marked as in force must not stay so. */
static void untell(struct control_claims *claims)
{
    for (size_t i = 0; i < claims->count; i++)
        claims->items[i].file->documents.objects[claims->items[i].index].in_force = false;
}

int control_claims_update(struct control_claims *claims, struct control_file *const *files, size_t count,
                          struct control_store *store)
{
    struct control_claims added = {0}, merged = {0};
    int result = collect(files, count, &added);
    if (result == 0)
        result = merge(claims, &added, &merged);
    control_claims_done(&added);
    if (result < 0)
        return result;
    result = tell(&merged, files, count, store);
    if (result < 0) {
        untell(&merged);
        control_claims_done(&merged);
        return result;
    }
    for (size_t i = 0; i < count; i++) {
        files[i]->changed = false;
        control_documents_done(&files[i]->before);
    }
    control_claims_done(claims);
    *claims = merged;
    return 0;
}

/* -- problems --------------------------------------------------------------------------------------------------------
 */

struct listing {
    struct control_problems *problems;
    struct control_problem *items;
    size_t max;
    uint64_t more;
    int result;
};

static struct fl_span copy(struct listing *listing, struct fl_span text)
{
    struct fl_span copied = fl_arena_copy(&listing->problems->arena, text);
    if (copied.data == NULL)
        listing->result = -ENOMEM;
    return copied;
}

static void add(struct listing *listing, struct control_problem problem)
{
    if (listing->problems->count == listing->max) {
        listing->more++;
        return;
    }
    problem.text = copy(listing, problem.text);
    problem.origin.source = copy(listing, problem.origin.source);
    problem.name_space = copy(listing, problem.name_space);
    problem.name = copy(listing, problem.name);
    listing->items[listing->problems->count++] = problem;
}

static void add_file(struct listing *listing, const struct control_file *file)
{
    const struct control_documents *documents = &file->documents;
    for (size_t i = 0; i < documents->problem_count; i++) {
        const struct control_document_problem *from = &documents->problems[i];
        add(listing, (struct control_problem){
                         .origin = {fl_span_str(file->path), from->document, from->line, from->column},
                         .known = from->known,
                         .kind = from->kind,
                         .name_space = fl_span_str(from->name_space),
                         .name = fl_span_str(from->name),
                         .text = fl_span_str(from->text),
                         .kept = from->kept,
                         .reason = from->reason,
                     });
    }
    listing->more += documents->more_problems;
}

static void add_duplicate(struct listing *listing, const struct control_claim *winner,
                          const struct control_claim *claim)
{
    const struct control_object *object = object_of(claim)->object, *first = object_of(winner)->object;
    char text[FL_ERR_TEXT_MAX];
    snprintf(text, sizeof(text), "%s:%u:%u: a second %s %.*s/%.*s; the one in %.*s:%u is in force", claim->file->path,
             object->origin.line, object->origin.column, control_kind_name(object->kind),
             FL_SPAN_ARG(object->metadata.name_space), FL_SPAN_ARG(object->metadata.name),
             FL_SPAN_ARG(first->origin.source), first->origin.line);
    add(listing, (struct control_problem){
                     .origin = object->origin,
                     .known = true,
                     .kind = object->kind,
                     .name_space = object->metadata.name_space,
                     .name = object->metadata.name,
                     .text = fl_span_str(text),
                     .kept = true,
                     .reason = CONTROL_PROBLEM_DUPLICATE,
                 });
}

static void add_all(struct listing *listing, const struct control_claims *claims, struct control_file *const *files,
                    size_t count)
{
    size_t winner = 0;
    for (size_t i = 0; i < count; i++)
        add_file(listing, files[i]);
    for (size_t i = 1; i < claims->count; i++) {
        if (same_key(&claims->items[winner], &claims->items[i]))
            add_duplicate(listing, &claims->items[winner], &claims->items[i]);
        else
            winner = i;
    }
    if (listing->more == 0)
        return;
    char text[64];
    snprintf(text, sizeof(text), "and %llu more", (unsigned long long)listing->more);
    listing->max++;
    add(listing, (struct control_problem){.text = fl_span_str(text)});
}

int control_claims_problems(const struct control_claims *claims, struct control_file *const *files, size_t count,
                            const char *extra, size_t max, struct control_problems **ret_problems)
{
    struct listing listing = {.problems = calloc(1, sizeof(struct control_problems)), .max = max};
    if (listing.problems == NULL)
        return -ENOMEM;
    atomic_init(&listing.problems->references, 1);
    fl_arena_init(&listing.problems->arena, 64u << 20);
    listing.items = fl_arena_array(&listing.problems->arena, max + 1, sizeof(*listing.items));
    listing.problems->items = listing.items;
    if (listing.items == NULL)
        listing.result = -ENOMEM;
    else if (extra != NULL)
        add(&listing, (struct control_problem){.text = fl_span_str(extra)});
    if (listing.items != NULL)
        add_all(&listing, claims, files, count);
    if (listing.result == 0 && listing.problems->count > 0) {
        *ret_problems = listing.problems;
        return 0;
    }
    control_problems_unref(listing.problems);
    if (listing.result == 0)
        *ret_problems = NULL;
    return listing.result;
}
