#include "webhook/namespace.h"

#include "webhook/limit.h"
#include "webhook/value.h"

#include <errno.h>

struct webhook_namespaces {
    struct fl_yaml *document;          /* owns what the entries point into */
    struct webhook_namespace *entries; /* sorted by name */
    size_t count, capacity;
};

static int compare_names(struct fl_span a, struct fl_span b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_names(((const struct webhook_namespace *)a)->name, ((const struct webhook_namespace *)b)->name);
}

static int read_name(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span *name = field;
    int result = fl_read_string(reader, value, name, row);
    if (result == 0 && !webhook_is_label(*name))
        result = fl_reader_fail(reader, value, "\"%.*s\" is not the name of a namespace", WEBHOOK_SHOW(*name));
    return result;
}

static int read_strings(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    const struct fl_json **map = field;
    int result = fl_read_map(reader, value, map, row);
    if (result < 0)
        return result;
    for (const struct fl_json *member = fl_json_first(*map); member != NULL; member = fl_json_next(member)) {
        if (!fl_json_is(member, FL_JSON_STRING)) {
            size_t mark = fl_reader_enter(reader, fl_json_name(member));
            result = fl_reader_fail(reader, member, "expected a string, got %s (quote it)",
                                    fl_json_kind_name(fl_json_kind(member)));
            fl_reader_leave(reader, mark);
            return result;
        }
    }
    return 0;
}

static const struct fl_row metadata_rows[] = {
    {.name = "name", .read = read_name, .offset = offsetof(struct webhook_namespace, name), .flags = FL_ROW_REQUIRED},
    {.name = "labels",
     .read = read_strings,
     .offset = offsetof(struct webhook_namespace, labels),
     .flags = FL_ROW_NULL_OK},
    {.name = "annotations",
     .read = read_strings,
     .offset = offsetof(struct webhook_namespace, annotations),
     .flags = FL_ROW_NULL_OK},
    {0},
};
static const struct fl_table metadata_table = {metadata_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct fl_row namespace_rows[] = {
    {.name = "metadata", .read = fl_read_object, .flags = FL_ROW_REQUIRED, .detail = &metadata_table},
    {0},
};
static const struct fl_table namespace_table = {namespace_rows, FL_TABLE_IGNORE_UNKNOWN};

struct head {
    struct fl_span api_version, kind;
    const struct fl_json *items;
};

static const struct fl_row head_rows[] = {
    {.name = "apiVersion",
     .read = fl_read_string,
     .offset = offsetof(struct head, api_version),
     .flags = FL_ROW_REQUIRED},
    {.name = "kind", .read = fl_read_string, .offset = offsetof(struct head, kind), .flags = FL_ROW_REQUIRED},
    {.name = "items", .read = fl_read_array, .offset = offsetof(struct head, items), .flags = FL_ROW_NULL_OK},
    {0},
};
static const struct fl_table head_table = {head_rows, FL_TABLE_IGNORE_UNKNOWN};

static int append(struct webhook_namespaces *set, const struct webhook_namespace *entry)
{
    if (set->count == set->capacity) {
        size_t capacity = set->capacity > 0 ? set->capacity * 2 : 16;
        struct webhook_namespace *entries = realloc(set->entries, capacity * sizeof(*entries));
        if (entries == NULL)
            return -ENOMEM;
        set->entries = entries;
        set->capacity = capacity;
    }
    set->entries[set->count++] = *entry;
    return 0;
}

/* Another value than expected in a member of the head. */
static int refuse(struct fl_reader *reader, const struct fl_json *object, const char *member, const char *expected)
{
    const struct fl_json *value = fl_json_get(object, member);
    size_t mark = fl_reader_enter(reader, fl_span_str(member));
    int result =
        fl_reader_fail(reader, value, "expected %s, got \"%.*s\"", expected, WEBHOOK_SHOW(fl_json_string(value)));
    fl_reader_leave(reader, mark);
    return result;
}

static int read_object(struct fl_reader *reader, const struct fl_json *object, bool in_list,
                       struct webhook_namespaces *set);

static int read_items(struct fl_reader *reader, const struct fl_json *items, struct webhook_namespaces *set)
{
    size_t index = 0;
    size_t inner = fl_reader_enter(reader, FL_SPAN("items"));
    int result = 0;
    for (const struct fl_json *item = fl_json_first(items); item != NULL && result == 0; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter_at(reader, index++);
        result = read_object(reader, item, true, set);
        fl_reader_leave(reader, mark);
    }
    fl_reader_leave(reader, inner);
    return result;
}

static int read_object(struct fl_reader *reader, const struct fl_json *object, bool in_list,
                       struct webhook_namespaces *set)
{
    struct head head = {0};
    struct webhook_namespace entry = {0};
    if (!fl_json_is(object, FL_JSON_OBJECT))
        return fl_reader_fail(reader, object, "expected a Namespace, got %s", fl_json_kind_name(fl_json_kind(object)));
    int result = fl_table_read(reader, object, &head_table, &head);
    if (result < 0)
        return result;
    if (!fl_span_eq_str(head.api_version, "v1"))
        return refuse(reader, object, "apiVersion", "v1");
    if (!in_list && (fl_span_eq_str(head.kind, "List") || fl_span_eq_str(head.kind, "NamespaceList")))
        return read_items(reader, head.items, set);
    if (!fl_span_eq_str(head.kind, "Namespace"))
        return refuse(reader, object, "kind", in_list ? "Namespace" : "Namespace, NamespaceList or List");
    result = fl_table_read(reader, object, &namespace_table, &entry);
    return result < 0 ? result : append(set, &entry);
}

/* Sorts, and refuses a name that is there twice (the later in the file is blamed only by its name). */
static int seal(struct webhook_namespaces *set, struct fl_reader *reader)
{
    if (set->count > 1)
        qsort(set->entries, set->count, sizeof(*set->entries), compare_entries);
    for (size_t i = 1; i < set->count; i++) {
        if (fl_span_eq(set->entries[i - 1].name, set->entries[i].name))
            return fl_err_set(reader->err, -EINVAL, "%s: namespace \"%.*s\" is there twice",
                              fl_positions_file(reader->positions), WEBHOOK_SHOW(set->entries[i].name));
    }
    return 0;
}

int webhook_namespaces_parse(struct fl_span text, const char *file, struct webhook_namespaces **ret_set,
                             struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = WEBHOOK_NAMESPACES_MAX, .depth_max = 32};
    FL_CLEANUP(webhook_cleanup_namespaces) struct webhook_namespaces *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return fl_err_errno(err, -ENOMEM, "%s", file);
    int result = fl_yaml_parse(text, file, &limits, &set->document, err);
    if (result < 0)
        return result;
    struct fl_reader reader;
    fl_reader_init(&reader, fl_yaml_positions(set->document), err);
    for (size_t i = 0; i < fl_yaml_count(set->document) && result == 0; i++)
        result = read_object(&reader, fl_yaml_document(set->document, i), false, set);
    if (result == 0)
        result = seal(set, &reader);
    if (result < 0)
        return result == -ENOMEM ? fl_err_errno(err, result, "%s", file) : result;
    *ret_set = fl_take(set);
    return 0;
}

struct webhook_namespaces *webhook_namespaces_free(struct webhook_namespaces *set)
{
    if (set == NULL)
        return NULL;
    fl_yaml_free(set->document);
    free(set->entries);
    free(set);
    return NULL;
}

void webhook_cleanup_namespaces(struct webhook_namespaces **set)
{
    webhook_namespaces_free(*set);
}

size_t webhook_namespaces_count(const struct webhook_namespaces *set)
{
    return set != NULL ? set->count : 0;
}

const struct webhook_namespace *webhook_namespaces_find(const struct webhook_namespaces *set, struct fl_span name)
{
    if (set == NULL || set->count == 0 || name.len == 0)
        return NULL;
    const struct webhook_namespace wanted = {.name = name};
    return bsearch(&wanted, set->entries, set->count, sizeof(*set->entries), compare_entries);
}
