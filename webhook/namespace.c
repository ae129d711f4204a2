#include "webhook/namespace.h"

#include "common/base/map.h"
#include "webhook/limit.h"
#include "webhook/value.h"

#include <errno.h>

#define FILE_NAMESPACES_MAX 1000000 /* the bytes of the file end before */
#define OUR_PREFIX          "fairlead.io/"

struct entry {
    struct webhook_namespace seen;        /* what the outside sees */
    struct fl_json *labels, *annotations; /* owned; NULL where they are the document's */
    uint64_t version;                     /* resourceVersion; 0: of a file, or no number */
    char name[];
};

struct webhook_namespaces {
    struct fl_yaml *document; /* owns what the entries of a file point into; NULL: of an API server */
    struct fl_map entries;
};

static struct entry *free_entry(struct entry *entry)
{
    if (entry == NULL)
        return NULL;
    fl_json_free(entry->labels);
    fl_json_free(entry->annotations);
    free(entry);
    return NULL;
}

static void cleanup_entry(struct entry **entry)
{
    free_entry(*entry);
}

/* Labels and annotations are the caller's to set. NULL when memory is out. */
static struct entry *new_entry(struct fl_span name)
{
    struct entry *entry = calloc(1, sizeof(*entry) + name.len);
    if (entry == NULL)
        return NULL;
    memcpy(entry->name, name.data, name.len);
    entry->seen.name = fl_span_make(entry->name, name.len);
    return entry;
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

static int append(struct fl_reader *reader, struct webhook_namespaces *set, const struct webhook_namespace *seen)
{
    FL_CLEANUP(cleanup_entry) struct entry *entry = new_entry(seen->name);
    if (entry == NULL)
        return -ENOMEM;
    entry->seen.labels = seen->labels;
    entry->seen.annotations = seen->annotations;
    int result = fl_map_put(&set->entries, entry->seen.name, entry);
    if (result == -EEXIST)
        return fl_err_set(reader->err, -EINVAL, "%s: namespace \"%.*s\" is there twice",
                          fl_positions_file(reader->positions), WEBHOOK_SHOW(seen->name));
    if (result == 0)
        fl_take(entry);
    return result;
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
    return result < 0 ? result : append(reader, set, &entry);
}

int webhook_namespaces_new(size_t max, struct webhook_namespaces **ret_set)
{
    struct webhook_namespaces *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return -ENOMEM;
    fl_map_init(&set->entries, max);
    *ret_set = set;
    return 0;
}

int webhook_namespaces_parse(struct fl_span text, const char *file, struct webhook_namespaces **ret_set,
                             struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = WEBHOOK_NAMESPACES_MAX, .depth_max = 32};
    FL_CLEANUP(webhook_cleanup_namespaces) struct webhook_namespaces *set = NULL;
    int result = webhook_namespaces_new(FILE_NAMESPACES_MAX, &set);
    if (result < 0)
        return fl_err_errno(err, result, "%s", file);
    result = fl_yaml_parse(text, file, &limits, &set->document, err);
    if (result < 0)
        return result;
    struct fl_reader reader;
    fl_reader_init(&reader, fl_yaml_positions(set->document), err);
    for (size_t i = 0; i < fl_yaml_count(set->document) && result == 0; i++)
        result = read_object(&reader, fl_yaml_document(set->document, i), false, set);
    if (result < 0)
        return result == -ENOMEM ? fl_err_errno(err, result, "%s", file) : result;
    *ret_set = fl_take(set);
    return 0;
}

struct webhook_namespaces *webhook_namespaces_free(struct webhook_namespaces *set)
{
    if (set == NULL)
        return NULL;
    void *entry;
    for (size_t cursor = 0; fl_map_next(&set->entries, &cursor, NULL, &entry);)
        free_entry(entry);
    fl_map_done(&set->entries);
    fl_yaml_free(set->document);
    free(set);
    return NULL;
}

void webhook_cleanup_namespaces(struct webhook_namespaces **set)
{
    webhook_namespaces_free(*set);
}

size_t webhook_namespaces_count(const struct webhook_namespaces *set)
{
    return set != NULL ? set->entries.count : 0;
}

const struct webhook_namespace *webhook_namespaces_find(const struct webhook_namespaces *set, struct fl_span name)
{
    const struct entry *entry = set != NULL ? fl_map_get(&set->entries, name) : NULL;
    return entry != NULL ? &entry->seen : NULL;
}

/* ---- Of an API server ---- */

/* The members of `map` that are ours, as an object; *ret_ours stays NULL where there is none. 0 or -ENOMEM. */
static int keep_ours(const struct fl_json *map, struct fl_json **ret_ours)
{
    int result = 0;
    for (const struct fl_json *member = fl_json_first(map); member != NULL && result == 0;
         member = fl_json_next(member)) {
        if (!fl_json_is(member, FL_JSON_STRING) || !fl_span_starts_with(fl_json_name(member), FL_SPAN(OUR_PREFIX)))
            continue;
        if (*ret_ours == NULL && (*ret_ours = fl_json_new_object()) == NULL)
            return -ENOMEM;
        result = fl_json_add(*ret_ours, fl_json_name(member), fl_json_copy(member));
    }
    return result;
}

static uint64_t version_of(const struct fl_json *metadata)
{
    uint64_t version;
    return fl_span_to_u64(fl_json_string(fl_json_get(metadata, "resourceVersion")), UINT64_MAX, &version) ? version : 0;
}

int webhook_namespaces_put(struct webhook_namespaces *set, const struct fl_json *object)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span name = fl_json_string(fl_json_get(metadata, "name"));
    if (!webhook_is_label(name))
        return -EINVAL;
    FL_CLEANUP(cleanup_entry) struct entry *entry = new_entry(name);
    if (entry == NULL)
        return -ENOMEM;
    int result = keep_ours(fl_json_get(metadata, "labels"), &entry->labels);
    if (result == 0)
        result = keep_ours(fl_json_get(metadata, "annotations"), &entry->annotations);
    if (result < 0)
        return result;
    entry->seen.labels = entry->labels;
    entry->seen.annotations = entry->annotations;
    entry->version = version_of(metadata);
    struct entry *old = fl_map_remove(&set->entries, name);
    result = fl_map_put(&set->entries, entry->seen.name, entry);
    if (result == 0)
        fl_take(entry);
    free_entry(old);
    return result;
}

int webhook_namespaces_put_newer(struct webhook_namespaces *set, const struct fl_json *object)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    const struct entry *known = fl_map_get(&set->entries, fl_json_string(fl_json_get(metadata, "name")));
    uint64_t version = version_of(metadata);
    return known != NULL && version != 0 && version < known->version ? 0 : webhook_namespaces_put(set, object);
}

void webhook_namespaces_remove(struct webhook_namespaces *set, struct fl_span name)
{
    free_entry(fl_map_remove(&set->entries, name));
}
