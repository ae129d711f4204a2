#include "common/doc/index.h"

#include <errno.h>

static int compare_names(struct fl_span a, struct fl_span b)
{
    size_t length = a.len < b.len ? a.len : b.len;
    int order = length > 0 ? memcmp(a.data, b.data, length) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_entries(const void *left, const void *right)
{
    const struct fl_index_entry *a = left, *b = right;
    int order = compare_names(a->name, b->name);
    return order != 0 ? order : (a->position > b->position) - (a->position < b->position);
}

static int fill(struct fl_index *index, const struct fl_json *container, const char *key)
{
    for (struct fl_json *value = fl_json_first(container); value != NULL; value = fl_json_next(value)) {
        const struct fl_json *named = key != NULL ? fl_json_get(value, key) : NULL;
        if (key != NULL && !fl_json_is(named, FL_JSON_STRING))
            return -EINVAL;
        index->entries[index->count] =
            (struct fl_index_entry){key != NULL ? fl_json_string(named) : fl_json_name(value), value, index->count};
        index->count++;
    }
    return 0;
}

int fl_index_init(struct fl_index *index, const struct fl_json *container, const char *key)
{
    *index = (struct fl_index){0};
    size_t count = fl_json_count(container);
    if (count == 0)
        return 0;
    index->entries = calloc(count, sizeof(*index->entries));
    if (index->entries == NULL)
        return -ENOMEM;
    int result = fill(index, container, key);
    if (result < 0)
        fl_index_done(index);
    else
        qsort(index->entries, index->count, sizeof(*index->entries), compare_entries);
    return result;
}

void fl_index_done(struct fl_index *index)
{
    free(index->entries);
    *index = (struct fl_index){0};
}

const struct fl_index_entry *fl_index_find(const struct fl_index *index, struct fl_span name)
{
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(index->entries[middle].name, name);
        if (order == 0)
            return &index->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct fl_index_entry *fl_index_duplicate(const struct fl_index *index)
{
    for (size_t i = 1; i < index->count; i++) {
        if (fl_span_eq(index->entries[i - 1].name, index->entries[i].name))
            return &index->entries[i];
    }
    return NULL;
}
