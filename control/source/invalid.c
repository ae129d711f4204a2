#include "control/source/invalid.h"

#include <errno.h>
#include <stdio.h>

#define LIST_BYTES_MAX (16u << 20)
#define KEY_ROOM       (FL_KUBE_NAME_MAX + FL_KUBE_NAMESPACE_MAX + 16)

struct entry {
    enum control_problem_reason reason;
    enum control_kind kind;
    char *text;                 /* owned; NULL: past a maximum */
    size_t key_len, space, len; /* of the whole key; where the namespace begins, and how long it is */
    char key[];
};

static int print_key(const struct control_key *key, char *text, size_t room)
{
    return snprintf(text, room, "%d %.*s/%.*s", (int)key->kind, FL_SPAN_ARG(key->name_space), FL_SPAN_ARG(key->name));
}

static struct control_key key_of(const struct entry *entry)
{
    const struct fl_span key = fl_span_make(entry->key, entry->key_len);
    return (struct control_key){entry->kind, fl_span_make(key.data + entry->space, entry->len),
                                fl_span_from(key, entry->space + entry->len + 1)};
}

static struct entry *free_entry(struct control_invalid *invalid, struct entry *entry)
{
    if (entry->text != NULL) {
        fl_tally_drop(&invalid->of_namespaces, key_of(entry).name_space);
        invalid->texts--;
    }
    free(entry->text);
    free(entry);
    return NULL;
}

void control_invalid_init(struct control_invalid *invalid, size_t max, size_t of_namespace)
{
    *invalid = (struct control_invalid){.max = max, .of_namespace = of_namespace};
    fl_tally_init(&invalid->of_namespaces);
    fl_map_init(&invalid->entries, FL_MAP_MAX);
}

void control_invalid_done(struct control_invalid *invalid)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&invalid->entries, &cursor, NULL, &value);)
        free_entry(invalid, value);
    fl_map_done(&invalid->entries);
    fl_tally_done(&invalid->of_namespaces);
}

size_t control_invalid_count(const struct control_invalid *invalid)
{
    return invalid->entries.count;
}

bool control_invalid_drop(struct control_invalid *invalid, const struct control_key *key)
{
    char text[KEY_ROOM];
    int length = print_key(key, text, sizeof(text));
    if (invalid->entries.count == 0 || length < 0 || (size_t)length >= sizeof(text))
        return false;
    struct entry *entry = fl_map_remove(&invalid->entries, fl_span_make(text, (size_t)length));
    if (entry == NULL)
        return false;
    free_entry(invalid, entry);
    return true;
}

bool control_invalid_has(const struct control_invalid *invalid, const struct control_key *key)
{
    char text[KEY_ROOM];
    int length = print_key(key, text, sizeof(text));
    return length >= 0 && (size_t)length < sizeof(text) &&
           fl_map_get(&invalid->entries, fl_span_make(text, (size_t)length)) != NULL;
}

bool control_invalid_next(const struct control_invalid *invalid, size_t *cursor, struct control_key *ret_key)
{
    void *value;
    if (!fl_map_next(&invalid->entries, cursor, NULL, &value))
        return false;
    *ret_key = key_of(value);
    return true;
}

static struct entry *make_entry(struct control_invalid *invalid, const struct control_key *key, const char *text)
{
    char name[KEY_ROOM];
    int length = print_key(key, name, sizeof(name));
    if (length < 0 || (size_t)length >= sizeof(name))
        return NULL; /* the API server has no such names */
    struct entry *entry = calloc(1, sizeof(*entry) + (size_t)length);
    if (entry == NULL)
        return NULL;
    memcpy(entry->key, name, (size_t)length);
    entry->kind = key->kind;
    entry->key_len = (size_t)length;
    entry->space = (size_t)length - key->name.len - 1 - key->name_space.len;
    entry->len = key->name_space.len;
    if (invalid->texts >= invalid->max ||
        fl_tally_get(&invalid->of_namespaces, key->name_space) >= invalid->of_namespace)
        return entry;
    entry->text = strdup(text);
    if (entry->text == NULL || fl_tally_add(&invalid->of_namespaces, key->name_space) < 0) {
        free(entry->text);
        free(entry);
        return NULL;
    }
    invalid->texts++;
    return entry;
}

int control_invalid_put(struct control_invalid *invalid, const struct control_key *key,
                        enum control_problem_reason reason, const char *text)
{
    control_invalid_drop(invalid, key);
    struct entry *entry = make_entry(invalid, key, text);
    if (entry == NULL)
        return -ENOMEM;
    entry->reason = reason;
    int result = fl_map_put(&invalid->entries, fl_span_make(entry->key, entry->key_len), entry);
    if (result < 0)
        free_entry(invalid, entry);
    return result;
}

/* -- the list ------------------------------------------------------------------------------------------------------ */

static int add(struct control_problems *problems, struct control_problem *items, const struct entry *entry)
{
    const struct control_key key = key_of(entry);
    struct control_problem *problem = &items[problems->count];
    *problem = (struct control_problem){
        .reason = entry->reason,
        .known = true,
        .kind = entry->kind,
        .origin = {.source = FL_SPAN("")},
        .name_space = fl_arena_copy(&problems->arena, key.name_space),
        .name = fl_arena_copy(&problems->arena, key.name),
        .text = fl_arena_copy(&problems->arena, fl_span_str(entry->text)),
        .kept = entry->reason == CONTROL_PROBLEM_INVALID_KEPT,
    };
    if (problem->name_space.data == NULL || problem->name.data == NULL || problem->text.data == NULL)
        return -ENOMEM;
    problems->count++;
    return 0;
}

static int add_rest(struct control_problems *problems, struct control_problem *items, size_t more)
{
    char text[64];
    snprintf(text, sizeof(text), "and %zu more", more);
    struct fl_span copy = fl_arena_copy(&problems->arena, fl_span_str(text));
    items[problems->count++] = (struct control_problem){.origin = {.source = FL_SPAN("")}, .text = copy};
    return copy.data != NULL ? 0 : -ENOMEM;
}

static int fill(const struct control_invalid *invalid, struct control_problems *problems)
{
    struct control_problem *items = fl_arena_array(&problems->arena, invalid->texts + 1, sizeof(*items));
    void *value;
    int result = items != NULL ? 0 : -ENOMEM;
    problems->items = items;
    for (size_t cursor = 0; result == 0 && fl_map_next(&invalid->entries, &cursor, NULL, &value);)
        if (((const struct entry *)value)->text != NULL)
            result = add(problems, items, value);
    if (result == 0 && invalid->entries.count > problems->count)
        result = add_rest(problems, items, invalid->entries.count - problems->count);
    return result;
}

int control_invalid_list(const struct control_invalid *invalid, struct control_problems **ret_problems)
{
    if (invalid->entries.count == 0) {
        *ret_problems = NULL;
        return 0;
    }
    struct control_problems *problems = calloc(1, sizeof(*problems));
    if (problems == NULL)
        return -ENOMEM;
    atomic_init(&problems->references, 1);
    fl_arena_init(&problems->arena, LIST_BYTES_MAX);
    int result = fill(invalid, problems);
    if (result < 0)
        control_problems_unref(problems);
    else
        *ret_problems = problems;
    return result;
}
