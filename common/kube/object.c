#include "common/kube/object.h"

#include <errno.h>

static int compare_labels(const void *a, const void *b)
{
    return fl_span_compare(((const struct fl_label *)a)->key, ((const struct fl_label *)b)->key);
}

static int copy(struct fl_arena *arena, struct fl_span text, struct fl_span *ret_text)
{
    if (text.len == 0) { /* there, but empty: no NULL, and no memory */
        *ret_text = FL_SPAN("");
        return 0;
    }
    struct fl_span copied = fl_arena_copy(arena, text);
    if (copied.data == NULL)
        return -ENOMEM;
    *ret_text = copied;
    return 0;
}

static int read_label(struct fl_reader *reader, const struct fl_json *member, struct fl_arena *arena,
                      struct fl_label *label)
{
    size_t mark = fl_reader_enter(reader, fl_json_name(member));
    struct fl_span text = fl_json_string(member);
    int result = 0;
    if (!fl_json_is(member, FL_JSON_STRING))
        result = fl_reader_expected(reader, member, "a string");
    else if (text.len > FL_KUBE_VALUE_MAX)
        result = fl_reader_fail(reader, member, "longer than %u bytes", FL_KUBE_VALUE_MAX);
    if (result == 0)
        result = copy(arena, fl_json_name(member), &label->key);
    if (result == 0)
        result = copy(arena, text, &label->value);
    fl_reader_leave(reader, mark);
    return result;
}

int fl_labels_read(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                   struct fl_labels *ret_labels)
{
    size_t count = fl_json_count(value), i = 0;
    *ret_labels = (struct fl_labels){NULL, 0};
    if (value == NULL || fl_json_is(value, FL_JSON_NULL))
        return 0;
    if (!fl_json_is(value, FL_JSON_OBJECT))
        return fl_reader_expected(reader, value, "an object of strings");
    if (count > FL_KUBE_LABELS_MAX)
        return fl_reader_fail(reader, value, "more than %d members", FL_KUBE_LABELS_MAX);
    if (count == 0)
        return 0;
    struct fl_label *items = fl_arena_array(arena, count, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (const struct fl_json *member = fl_json_first(value); member != NULL; member = fl_json_next(member)) {
        int result = read_label(reader, member, arena, &items[i++]);
        if (result < 0)
            return result;
    }
    qsort(items, count, sizeof(*items), compare_labels);
    *ret_labels = (struct fl_labels){items, count};
    return 0;
}

struct owner_texts {
    struct fl_span kind, name;
    bool controller;
};

static int read_owners(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                       struct fl_metadata *metadata)
{
    static const struct fl_row rows[] = {
        {"kind", fl_read_string, offsetof(struct owner_texts, kind), FL_ROW_REQUIRED, 1, FL_KUBE_NAME_MAX, NULL},
        {"name", fl_read_string, offsetof(struct owner_texts, name), FL_ROW_REQUIRED, 1, FL_KUBE_NAME_MAX, NULL},
        {"controller", fl_read_bool, offsetof(struct owner_texts, controller), FL_ROW_NULL_OK, 0, 0, NULL},
        {0},
    };
    static const struct fl_table table = {rows, FL_TABLE_IGNORE_UNKNOWN};
    size_t count = fl_json_count(value), i = 0;
    if (count == 0)
        return 0;
    if (count > FL_KUBE_OWNERS_MAX)
        return fl_reader_fail(reader, value, "more than %d owners", FL_KUBE_OWNERS_MAX);
    struct fl_owner *owners = fl_arena_array(arena, count, sizeof(*owners));
    if (owners == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item), i++) {
        struct owner_texts texts = {0};
        size_t mark = fl_reader_enter_at(reader, i);
        int result = fl_table_read(reader, item, &table, &texts);
        fl_reader_leave(reader, mark);
        if (result == 0)
            result = copy(arena, texts.kind, &owners[i].kind);
        if (result == 0)
            result = copy(arena, texts.name, &owners[i].name);
        if (result < 0)
            return result;
        owners[i].controller = texts.controller;
    }
    metadata->owners = owners;
    metadata->owner_count = count;
    return 0;
}

struct metadata_texts {
    struct fl_span name, name_space, uid, created;
    int64_t generation;
    const struct fl_json *labels, *annotations, *owners;
};

#define AT(member) offsetof(struct metadata_texts, member)
static const struct fl_row metadata_rows[] = {
    {"name", fl_read_string, AT(name), FL_ROW_REQUIRED, 0, 0, NULL},
    {"namespace", fl_read_string, AT(name_space), FL_ROW_NULL_OK, 0, 0, NULL},
    {"uid", fl_read_string, AT(uid), FL_ROW_NULL_OK, 0, FL_KUBE_NAME_MAX, NULL},
    {"creationTimestamp", fl_read_string, AT(created), FL_ROW_NULL_OK, 0, 0, NULL},
    {"generation", fl_read_i64, AT(generation), FL_ROW_NULL_OK, 0, 0, NULL},
    {"labels", fl_read_json, AT(labels), FL_ROW_NULL_OK, 0, 0, NULL},
    {"annotations", fl_read_json, AT(annotations), FL_ROW_NULL_OK, 0, 0, NULL},
    {"ownerReferences", fl_read_array, AT(owners), FL_ROW_NULL_OK, 0, 0, NULL},
    {0},
};
static const struct fl_table metadata_table = {metadata_rows, FL_TABLE_IGNORE_UNKNOWN};

static int fail_at(struct fl_reader *reader, const struct fl_json *object, const char *name, const char *what)
{
    size_t mark = fl_reader_enter(reader, fl_span_str(name));
    int result = fl_reader_expected(reader, fl_json_get(object, name), what);
    fl_reader_leave(reader, mark);
    return result;
}

static int check_texts(struct fl_reader *reader, const struct fl_json *object, const struct metadata_texts *texts,
                       int64_t *ret_created)
{
    *ret_created = INT64_MAX;
    if (!fl_is_dns_subdomain(texts->name))
        return fail_at(reader, object, "name", "a DNS name (lower-case letters, digits, '-', '.')");
    if (texts->name_space.len > 0 && !fl_is_dns_label(texts->name_space))
        return fail_at(reader, object, "namespace", "a DNS label (lower-case letters, digits, '-')");
    if (texts->created.len > 0 && fl_time_parse(texts->created, ret_created) < 0)
        return fail_at(reader, object, "creationTimestamp", "a time as in RFC 3339");
    return 0;
}

static int read_map(struct fl_reader *reader, const char *name, const struct fl_json *value, struct fl_arena *arena,
                    struct fl_labels *ret_labels)
{
    size_t mark = fl_reader_enter(reader, fl_span_str(name));
    int result = fl_labels_read(reader, value, arena, ret_labels);
    fl_reader_leave(reader, mark);
    return result;
}

static int read_parts(struct fl_reader *reader, const struct metadata_texts *texts, struct fl_arena *arena,
                      struct fl_metadata *metadata)
{
    int result = copy(arena, texts->name, &metadata->name);
    if (result == 0)
        result = copy(arena, texts->name_space, &metadata->name_space);
    if (result == 0)
        result = copy(arena, texts->uid, &metadata->uid);
    if (result == 0)
        result = read_map(reader, "labels", texts->labels, arena, &metadata->labels);
    if (result == 0)
        result = read_map(reader, "annotations", texts->annotations, arena, &metadata->annotations);
    if (result < 0)
        return result;
    size_t mark = fl_reader_enter(reader, FL_SPAN("ownerReferences"));
    result = read_owners(reader, texts->owners, arena, metadata);
    fl_reader_leave(reader, mark);
    return result;
}

int fl_metadata_read(struct fl_reader *reader, const struct fl_json *object, struct fl_arena *arena,
                     struct fl_metadata *ret_metadata)
{
    const struct fl_json *value = fl_json_get(object, "metadata");
    struct metadata_texts texts = {0};
    struct fl_metadata metadata = {0};
    size_t mark = fl_reader_enter(reader, FL_SPAN("metadata"));
    int result = value == NULL ? fl_reader_fail(reader, object, "required, but missing")
                               : fl_table_read(reader, value, &metadata_table, &texts);
    if (result == 0)
        result = check_texts(reader, value, &texts, &metadata.created);
    if (result == 0)
        result = read_parts(reader, &texts, arena, &metadata);
    fl_reader_leave(reader, mark);
    metadata.generation = texts.generation;
    if (result == 0)
        *ret_metadata = metadata;
    return result;
}

/* -- selectors ----------------------------------------------------------------------------------------------------- */

struct expression_texts {
    struct fl_span key;
    int operator;
    const struct fl_json *values;
};

static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};

static int read_values(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                       struct fl_selector_expression *expression)
{
    size_t count = fl_json_count(value), i = 0;
    bool wanted = expression->operator== FL_SELECT_IN || expression->operator== FL_SELECT_NOT_IN;
    if ((count > 0) != wanted)
        return fl_reader_fail(reader, value,
                              wanted ? "values are required for this operator"
                                     : "values are not allowed for this operator");
    if (count > FL_KUBE_EXPRESSIONS_MAX)
        return fl_reader_fail(reader, value, "more than %d values", FL_KUBE_EXPRESSIONS_MAX);
    struct fl_span *values = fl_arena_array(arena, count, sizeof(*values));
    if (values == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item), i++) {
        if (!fl_json_is(item, FL_JSON_STRING))
            return fl_reader_expected(reader, item, "a string");
        if (copy(arena, fl_json_string(item), &values[i]) < 0)
            return -ENOMEM;
    }
    expression->values = values;
    expression->value_count = count;
    return 0;
}

static int read_expression(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                           struct fl_selector_expression *expression)
{
    static const struct fl_row rows[] = {
        {"key", fl_read_string, offsetof(struct expression_texts, key), FL_ROW_REQUIRED, 1, 317, NULL},
        {"operator", fl_read_enum, offsetof(struct expression_texts, operator), FL_ROW_REQUIRED, 0, 0, operators},
        {"values", fl_read_array, offsetof(struct expression_texts, values), FL_ROW_NULL_OK, 0, 0, NULL},
        {0},
    };
    static const struct fl_table table = {rows, FL_TABLE_REFUSE_UNKNOWN};
    struct expression_texts texts = {0};
    int result = fl_table_read(reader, value, &table, &texts);
    if (result == 0)
        result = copy(arena, texts.key, &expression->key);
    if (result < 0)
        return result;
    expression->operator=(enum fl_selector_operator) texts.operator;
    size_t mark = fl_reader_enter(reader, FL_SPAN("values"));
    result = read_values(reader, texts.values, arena, expression);
    fl_reader_leave(reader, mark);
    return result;
}

static int read_expressions(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                            struct fl_selector *selector)
{
    size_t count = fl_json_count(value), i = 0;
    if (count == 0)
        return 0;
    if (count > FL_KUBE_EXPRESSIONS_MAX)
        return fl_reader_fail(reader, value, "more than %d expressions", FL_KUBE_EXPRESSIONS_MAX);
    struct fl_selector_expression *expressions = fl_arena_array(arena, count, sizeof(*expressions));
    if (expressions == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter_at(reader, i);
        int result = read_expression(reader, item, arena, &expressions[i++]);
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
    }
    selector->expressions = expressions;
    selector->expression_count = count;
    return 0;
}

int fl_selector_read(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                     struct fl_selector *ret_selector)
{
    struct members {
        const struct fl_json *labels, *expressions;
    } members = {0};
    static const struct fl_row rows[] = {
        {"matchLabels", fl_read_json, offsetof(struct members, labels), FL_ROW_NULL_OK, 0, 0, NULL},
        {"matchExpressions", fl_read_array, offsetof(struct members, expressions), FL_ROW_NULL_OK, 0, 0, NULL},
        {0},
    };
    static const struct fl_table table = {rows, FL_TABLE_REFUSE_UNKNOWN};
    struct fl_selector selector = {0};
    int result = fl_table_read(reader, value, &table, &members);
    if (result == 0)
        result = read_map(reader, "matchLabels", members.labels, arena, &selector.labels);
    if (result < 0)
        return result;
    size_t mark = fl_reader_enter(reader, FL_SPAN("matchExpressions"));
    result = read_expressions(reader, members.expressions, arena, &selector);
    fl_reader_leave(reader, mark);
    if (result == 0)
        *ret_selector = selector;
    return result;
}
