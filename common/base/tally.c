#include "common/base/tally.h"

#include <errno.h>
#include <stdlib.h>

struct count {
    size_t count, len;
    char name[];
};

void fl_tally_init(struct fl_tally *tally)
{
    fl_map_init(&tally->counts, FL_MAP_MAX);
}

void fl_tally_done(struct fl_tally *tally)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&tally->counts, &cursor, NULL, &value);)
        free(value);
    fl_map_done(&tally->counts);
}

size_t fl_tally_get(const struct fl_tally *tally, struct fl_span name)
{
    const struct count *count = fl_map_get(&tally->counts, name);
    return count != NULL ? count->count : 0;
}

int fl_tally_add(struct fl_tally *tally, struct fl_span name)
{
    struct count *count = fl_map_get(&tally->counts, name);
    if (count != NULL) {
        count->count++;
        return 0;
    }
    count = calloc(1, sizeof(*count) + name.len);
    if (count == NULL)
        return -ENOMEM;
    count->count = 1;
    count->len = name.len;
    if (name.len > 0)
        memcpy(count->name, name.data, name.len);
    int result = fl_map_put(&tally->counts, fl_span_make(count->name, count->len), count);
    if (result < 0)
        free(count);
    return result;
}

void fl_tally_drop(struct fl_tally *tally, struct fl_span name)
{
    struct count *count = fl_map_get(&tally->counts, name);
    if (count == NULL || --count->count > 0)
        return;
    fl_map_remove(&tally->counts, name);
    free(count);
}
