#include "control/model/gatewayapi.h"

#include "control/model/field.h"
#include "control/model/kinds.h"

#include <errno.h>
#include <stdio.h>

#define OPT FL_ROW_NULL_OK
#define REQ FL_ROW_REQUIRED

#define GROUP       "gateway.networking.k8s.io"
#define GROUP_MAX   FL_KUBE_NAME_MAX
#define SECTION_MAX FL_KUBE_NAME_MAX

#define LIST_OF(type, items, count, least, most, reader_function, start, table_or_null)                                \
    {                                                                                                                  \
        .size = sizeof(*((type *)NULL)->items), .count_delta = CONTROL_COUNT_DELTA(type, items, count),                \
        .min = (least), .max = (most), .initial = (start),                                                             \
        .item = {.read = (reader_function), .detail = (table_or_null)},                                                \
    }

static struct control_object *owner_of(struct fl_reader *reader)
{
    return FL_CONTAINER_OF(reader->context, struct control_object, arena);
}

/* "spec", which is required, through a table into the kind's struct. */
static int read_spec(struct fl_reader *reader, const struct fl_json *document, const struct fl_table *table,
                     void *target)
{
    const struct fl_json *spec = fl_json_get(document, "spec");
    size_t mark = fl_reader_enter(reader, FL_SPAN("spec"));
    int result = spec == NULL ? fl_reader_fail(reader, document, "required, but missing")
                              : fl_table_read(reader, spec, table, target);
    fl_reader_leave(reader, mark);
    return result;
}

/* -- references ---------------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct control_parent, member)
static const struct fl_row parent_rows[] = {
    {"group", control_read_text, AT(reference.group), OPT, 0, GROUP_MAX, NULL},
    {"kind", control_read_text, AT(reference.kind), OPT, 1, 63, NULL},
    {"namespace", control_read_name, AT(reference.name_space), OPT, 0, 0, NULL},
    {"name", control_read_text, AT(reference.name), REQ, 1, FL_KUBE_NAME_MAX, NULL},
    {"sectionName", control_read_text, AT(section), OPT, 1, SECTION_MAX, NULL},
    {"port", control_read_port, AT(port), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table parent_table = {parent_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_parent(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_parent *parent = field;
    (void)row;
    parent->reference.group = FL_SPAN(GROUP);
    parent->reference.kind = FL_SPAN("Gateway");
    parent->reference.name_space = owner_of(reader)->metadata.name_space;
    int result = fl_table_read(reader, value, &parent_table, parent);
    if (fl_span_eq(parent->reference.group, FL_SPAN("core")))
        parent->reference.group = FL_SPAN("");
    return result;
}

static int read_reference(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_parent parent = {.reference = {FL_SPAN(""), FL_SPAN("Secret"), {NULL, 0}, {NULL, 0}}};
    (void)row;
    parent.reference.name_space = owner_of(reader)->metadata.name_space;
    int result = fl_table_read(reader, value, &parent_table, &parent);
    if (result == 0)
        *(struct control_reference *)field = parent.reference;
    return result;
}

/* -- filters ------------------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct control_name_value, member)
static const struct fl_row header_rows[] = {
    {"name", control_read_header_name, AT(name), REQ, 0, 0, NULL},
    {"value", control_read_header_value, AT(value), REQ, 1, 4096, NULL},
    {0},
};
static const struct fl_table header_table = {header_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static const struct control_list set_list =
    LIST_OF(struct control_header_changes, set, set_count, 0, CONTROL_HEADERS_MAX, fl_read_object, NULL, &header_table);
static const struct control_list add_list =
    LIST_OF(struct control_header_changes, add, add_count, 0, CONTROL_HEADERS_MAX, fl_read_object, NULL, &header_table);
static const struct control_list remove_list = LIST_OF(struct control_header_changes, remove, remove_count, 0,
                                                       CONTROL_HEADERS_MAX, control_read_header_name, NULL, NULL);
#define AT(member) offsetof(struct control_header_changes, member)
static const struct fl_row changes_rows[] = {
    {"set", control_read_list, AT(set), OPT, 0, 0, &set_list},
    {"add", control_read_list, AT(add), OPT, 0, 0, &add_list},
    {"remove", control_read_list, AT(remove), OPT, 0, 0, &remove_list},
    {0},
};
static const struct fl_table changes_table = {changes_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

struct path_change {
    struct fl_span type, full, prefix;
};

static int read_path_text(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] <= ' ' || text.data[i] == 0x7f || text.data[i] == '?' || text.data[i] == '#')
            return fl_reader_fail(reader, value, "a character that a path cannot hold");
    return control_read_text(reader, value, field, row);
}

#define AT(member) offsetof(struct path_change, member)
static const struct fl_row path_change_rows[] = {
    {"type", fl_read_string, AT(type), REQ, 0, 0, NULL},
    {"replaceFullPath", read_path_text, AT(full), OPT, 0, 1024, NULL},
    {"replacePrefixMatch", read_path_text, AT(prefix), OPT, 0, 1024, NULL},
    {0},
};
static const struct fl_table path_change_table = {path_change_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_path_change(struct fl_reader *reader, const struct fl_json *value, enum control_path_change *ret_change,
                            struct fl_span *ret_path)
{
    struct path_change change = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    int result = fl_table_read(reader, value, &path_change_table, &change);
    if (result < 0)
        return result;
    if (fl_span_eq_str(change.type, "ReplaceFullPath") && change.full.data != NULL) {
        *ret_change = CONTROL_PATH_REPLACE_FULL;
        *ret_path = change.full.len > 0 ? change.full : FL_SPAN("/");
        return 0;
    }
    if (!fl_span_eq_str(change.type, "ReplacePrefixMatch") || change.prefix.data == NULL)
        return fl_reader_fail(reader, value,
                              "expected type ReplaceFullPath with replaceFullPath, or ReplacePrefixMatch with "
                              "replacePrefixMatch");
    *ret_change = CONTROL_PATH_REPLACE_PREFIX;
    *ret_path = change.prefix;
    return 0;
}

static int read_redirect_path(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row)
{
    struct control_redirect *redirect = field;
    (void)row;
    return read_path_change(reader, value, &redirect->path_change, &redirect->path);
}

static int read_rewrite_path(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    struct control_rewrite *rewrite = field;
    (void)row;
    return read_path_change(reader, value, &rewrite->path_change, &rewrite->path);
}

static int read_redirect_status(struct fl_reader *reader, const struct fl_json *value, void *field,
                                const struct fl_row *row)
{
    static const int64_t known[] = {301, 302, 303, 307, 308};
    int64_t status = 0;
    (void)row;
    for (size_t i = 0; i < FL_COUNT(known); i++)
        if (fl_json_int(value, known[i], known[i], &status))
            *(uint16_t *)field = (uint16_t)status;
    return status != 0 ? 0 : fl_reader_expected(reader, value, "301, 302, 303, 307 or 308");
}

static int read_scheme(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    if (!fl_span_eq_str(text, "http") && !fl_span_eq_str(text, "https"))
        return fl_reader_expected(reader, value, "http or https");
    return control_read_text(reader, value, field, row);
}

#define AT(member) offsetof(struct control_redirect, member)
static const struct fl_row redirect_rows[] = {
    {"scheme", read_scheme, AT(scheme), OPT, 0, 0, NULL},
    {"hostname", control_read_hostname, AT(hostname), OPT, 0, 0, NULL},
    {"path", read_redirect_path, 0, OPT, 0, 0, NULL},
    {"port", control_read_port, AT(port), OPT, 0, 0, NULL},
    {"statusCode", read_redirect_status, AT(status), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table redirect_table = {redirect_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT
#define AT(member) offsetof(struct control_rewrite, member)
static const struct fl_row rewrite_rows[] = {
    {"hostname", control_read_hostname, AT(hostname), OPT, 0, 0, NULL},
    {"path", read_rewrite_path, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table rewrite_table = {rewrite_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static const struct control_redirect redirect_start = {.status = 302};
static const struct control_part changes_part = {sizeof(struct control_header_changes), NULL, &changes_table};
static const struct control_part redirect_part = {sizeof(struct control_redirect), &redirect_start, &redirect_table};
static const struct control_part rewrite_part = {sizeof(struct control_rewrite), NULL, &rewrite_table};

/* One filter's kinds: the member that holds its settings, where it goes. */
static const struct {
    const char *type, *member;
    size_t offset;
    const struct control_part *part;
} filter_kinds[] = {
    {"RequestHeaderModifier", "requestHeaderModifier", offsetof(struct control_http_filters, request), &changes_part},
    {"ResponseHeaderModifier", "responseHeaderModifier", offsetof(struct control_http_filters, response),
     &changes_part},
    {"RequestRedirect", "requestRedirect", offsetof(struct control_http_filters, redirect), &redirect_part},
    {"URLRewrite", "urlRewrite", offsetof(struct control_http_filters, rewrite), &rewrite_part},
};

static int note_unsupported(struct fl_reader *reader, struct control_http_filters *filters, const char *what,
                            struct fl_span type)
{
    char text[160];
    snprintf(text, sizeof(text), "%s: %.*s", what, (int)(type.len < 64 ? type.len : 64), type.data);
    return filters->unsupported.len > 0 ? 0 : control_copy(reader, fl_span_str(text), &filters->unsupported);
}

static int read_filter(struct fl_reader *reader, const struct fl_json *value, struct control_http_filters *filters)
{
    const struct fl_json *type_value = fl_json_get(value, "type");
    struct fl_span type = fl_json_string(type_value);
    if (!fl_json_is(type_value, FL_JSON_STRING))
        return fl_reader_fail(reader, value, "type: required, but missing");
    for (size_t i = 0; i < FL_COUNT(filter_kinds); i++) {
        if (!fl_span_eq_str(type, filter_kinds[i].type))
            continue;
        const struct fl_json *settings = fl_json_get(value, filter_kinds[i].member);
        void **part = (void **)(void *)((char *)filters + filter_kinds[i].offset);
        if (*part != NULL)
            return note_unsupported(reader, filters, "a filter twice", type);
        if (settings == NULL)
            return fl_reader_fail(reader, value, "%s: required, but missing", filter_kinds[i].member);
        const struct fl_row row = {.detail = filter_kinds[i].part};
        size_t mark = fl_reader_enter(reader, fl_span_str(filter_kinds[i].member));
        int result = control_read_part(reader, settings, part, &row);
        fl_reader_leave(reader, mark);
        return result;
    }
    return note_unsupported(reader, filters, "a filter that is not supported", type);
}

static int read_filters(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_http_filters *filters = field;
    int result = 0;
    size_t i = 0;
    (void)row;
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    if (fl_json_count(value) > CONTROL_FILTERS_MAX)
        return fl_reader_fail(reader, value, "more than %d filters", CONTROL_FILTERS_MAX);
    for (const struct fl_json *item = fl_json_first(value); item != NULL && result == 0; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter_at(reader, i++);
        result = read_filter(reader, item, filters);
        fl_reader_leave(reader, mark);
    }
    if (result == 0 && filters->redirect != NULL && filters->rewrite != NULL)
        return fl_reader_fail(reader, value, "RequestRedirect and URLRewrite exclude each other");
    return result;
}

/* A backend's own filters: a struct in the arena. */
static int read_filters_part(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    struct control_http_filters *filters = fl_arena_alloc(reader->context, sizeof(*filters));
    if (filters == NULL)
        return -ENOMEM;
    int result = read_filters(reader, value, filters, row);
    if (result < 0 || fl_json_count(value) == 0)
        return result;
    if (filters->redirect != NULL || filters->rewrite != NULL)
        result = note_unsupported(reader, filters, "not supported at a backend",
                                  filters->redirect != NULL ? FL_SPAN("RequestRedirect") : FL_SPAN("URLRewrite"));
    *(struct control_http_filters **)field = filters;
    return result;
}

/* -- backends ------------------------------------------------------------------------------------------------------ */

#define AT(member) offsetof(struct control_backend, member)
static const struct fl_row backend_rows[] = {
    {"group", control_read_text, AT(reference.group), OPT, 0, GROUP_MAX, NULL},
    {"kind", control_read_text, AT(reference.kind), OPT, 1, 63, NULL},
    {"namespace", control_read_name, AT(reference.name_space), OPT, 0, 0, NULL},
    {"name", control_read_text, AT(reference.name), REQ, 1, FL_KUBE_NAME_MAX, NULL},
    {"port", control_read_port, AT(port), OPT, 0, 0, NULL},
    {"weight", fl_read_u32, AT(weight), OPT, 0, CONTROL_WEIGHT_MAX, NULL},
    {"filters", read_filters_part, AT(filters), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table backend_table = {backend_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_backend(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_backend *backend = field;
    (void)row;
    *backend = (struct control_backend){
        .reference = {FL_SPAN(""), FL_SPAN("Service"), owner_of(reader)->metadata.name_space, {NULL, 0}},
        .weight = 1,
        .position = fl_positions_find(reader->positions, value),
    };
    int result = fl_table_read(reader, value, &backend_table, backend);
    if (fl_span_eq(backend->reference.group, FL_SPAN("core")))
        backend->reference.group = FL_SPAN("");
    return result;
}

/* -- matches ------------------------------------------------------------------------------------------------------- */

struct path_texts {
    struct fl_span type, value;
};

struct match_item { /* one of headers or queryParams */
    struct fl_span type, name, value;
};

#define AT(member) offsetof(struct path_texts, member)
static const struct fl_row path_rows[] = {
    {"type", fl_read_string, AT(type), OPT, 0, 0, NULL},
    {"value", fl_read_string, AT(value), OPT, 0, 1024, NULL},
    {0},
};
static const struct fl_table path_table = {path_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* What the reader of one match notes beside the match. */
struct match_reading {
    struct control_http_match match;
    struct fl_span unsupported; /* static text: the rule is dropped */
};

static bool is_prefix_type(struct fl_span type)
{
    return type.len == 0 || fl_span_eq_str(type, "PathPrefix");
}

static int read_match_path(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct match_reading *reading = field;
    struct path_texts texts = {FL_SPAN(""), FL_SPAN("/")};
    (void)row;
    int result = fl_table_read(reader, value, &path_table, &texts);
    if (result < 0)
        return result;
    bool exact = fl_span_eq_str(texts.type, "Exact");
    if (!exact && !is_prefix_type(texts.type)) {
        reading->unsupported = FL_SPAN("a path match of type RegularExpression is not supported");
        return fl_span_eq_str(texts.type, "RegularExpression")
                   ? 0
                   : fl_reader_expected(reader, fl_json_get(value, "type"), "Exact or PathPrefix");
    }
    if (texts.value.len == 0 || texts.value.data[0] != '/')
        return fl_reader_expected(reader, fl_json_get(value, "value"), "a path that begins with '/'");
    while (!exact && texts.value.len > 1 && texts.value.data[texts.value.len - 1] == '/')
        texts.value.len--;
    reading->match.path_match = exact ? CONTROL_PATH_EXACT : CONTROL_PATH_PREFIX;
    return control_copy(reader, texts.value, &reading->match.path);
}

static int read_method(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    bool good = text.len > 0 && text.len <= 32;
    for (size_t i = 0; i < text.len && good; i++)
        good = text.data[i] >= 'A' && text.data[i] <= 'Z';
    return good ? control_read_text(reader, value, field, row)
                : fl_reader_expected(reader, value, "a method in capital letters");
}

#define AT(member) offsetof(struct match_item, member)
static const struct fl_row item_rows[] = {
    {"type", fl_read_string, AT(type), OPT, 0, 0, NULL},
    {"name", fl_read_string, AT(name), REQ, 1, 256, NULL},
    {"value", fl_read_string, AT(value), REQ, 0, 4096, NULL},
    {0},
};
static const struct fl_table item_table = {item_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_match_item(struct fl_reader *reader, const struct fl_json *value, bool header,
                           struct match_reading *reading, struct control_name_value *ret_item)
{
    struct match_item item = {FL_SPAN(""), FL_SPAN(""), FL_SPAN("")};
    int result = fl_table_read(reader, value, &item_table, &item);
    if (result < 0)
        return result;
    if (fl_span_eq_str(item.type, "RegularExpression"))
        reading->unsupported = header ? FL_SPAN("a header match of type RegularExpression is not supported")
                                      : FL_SPAN("a query match of type RegularExpression is not supported");
    else if (item.type.len > 0 && !fl_span_eq_str(item.type, "Exact"))
        return fl_reader_expected(reader, fl_json_get(value, "type"), "Exact");
    result = header ? control_read_header_name(reader, fl_json_get(value, "name"), &ret_item->name, NULL)
                    : control_copy(reader, item.name, &ret_item->name);
    return result < 0 ? result : control_copy(reader, item.value, &ret_item->value);
}

static int read_match_items(struct fl_reader *reader, const struct fl_json *value, bool header,
                            struct match_reading *reading, const struct control_name_value **ret_items,
                            size_t *ret_count)
{
    size_t count = fl_json_count(value), used = 0, i = 0;
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    if (count > CONTROL_HEADERS_MAX)
        return fl_reader_fail(reader, value, "more than %d", CONTROL_HEADERS_MAX);
    struct control_name_value *items = fl_arena_array(reader->context, count, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter_at(reader, i++);
        int result = read_match_item(reader, item, header, reading, &items[used]);
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
        bool twice = false; /* of one name the first counts, as Gateway API says */
        for (size_t k = 0; k < used && !twice; k++)
            twice = fl_span_eq(items[k].name, items[used].name);
        used += !twice;
    }
    *ret_items = items;
    *ret_count = used;
    return 0;
}

static int read_match_headers(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row)
{
    struct match_reading *reading = field;
    (void)row;
    return read_match_items(reader, value, true, reading, &reading->match.headers, &reading->match.header_count);
}

static int read_match_queries(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row)
{
    struct match_reading *reading = field;
    (void)row;
    return read_match_items(reader, value, false, reading, &reading->match.queries, &reading->match.query_count);
}

static const struct fl_row match_rows[] = {
    {"path", read_match_path, 0, OPT, 0, 0, NULL},
    {"headers", read_match_headers, 0, OPT, 0, 0, NULL},
    {"queryParams", read_match_queries, 0, OPT, 0, 0, NULL},
    {"method", read_method, offsetof(struct match_reading, match.method), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table match_table = {match_rows, FL_TABLE_IGNORE_UNKNOWN};

static const struct control_http_match match_all = {.path_match = CONTROL_PATH_PREFIX, .path = {"/", 1}};

static int read_matches(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_http_rule *rule = field;
    size_t count = fl_json_count(value), i = 0;
    (void)row;
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    if (count > CONTROL_MATCHES_MAX)
        return fl_reader_fail(reader, value, "more than %d matches", CONTROL_MATCHES_MAX);
    struct control_http_match *matches = fl_arena_array(reader->context, count, sizeof(*matches));
    if (matches == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        struct match_reading reading = {.match = match_all};
        size_t mark = fl_reader_enter_at(reader, i);
        int result = fl_table_read(reader, item, &match_table, &reading);
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
        matches[i++] = reading.match;
        if (reading.unsupported.len > 0)
            rule->dropped = reading.unsupported;
    }
    if (count > 0) {
        rule->matches = matches;
        rule->match_count = count;
    }
    return 0;
}

/* -- rules --------------------------------------------------------------------------------------------------------- */

static int read_retry_code(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const struct fl_row range = {.min = 400, .max = 599};
    (void)row;
    return fl_read_u16(reader, value, field, &range);
}

static const struct control_list code_list =
    LIST_OF(struct control_retry, codes, code_count, 0, CONTROL_RETRY_CODES_MAX, read_retry_code, NULL, NULL);
#define AT(member) offsetof(struct control_retry, member)
static const struct fl_row retry_rows[] = {
    {"codes", control_read_list, AT(codes), OPT, 0, 0, &code_list},
    {"attempts", fl_read_u32, AT(attempts), OPT, 0, 100, NULL},
    {"backoff", control_read_duration, AT(backoff_ms), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table retry_table = {retry_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct control_part retry_part = {sizeof(struct control_retry), NULL, &retry_table};
#undef AT

#define AT(member) offsetof(struct control_http_rule, member)
static const struct fl_row timeout_rows[] = {
    {"request", control_read_duration, AT(request_timeout_ms), OPT, 0, 0, NULL},
    {"backendRequest", control_read_duration, AT(backend_timeout_ms), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table timeout_table = {timeout_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_timeouts(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_http_rule *rule = field;
    (void)row;
    int result = fl_table_read(reader, value, &timeout_table, rule);
    if (result == 0 && rule->request_timeout_ms > 0 && rule->backend_timeout_ms > rule->request_timeout_ms)
        return fl_reader_fail(reader, value, "backendRequest is longer than request");
    return result;
}

static const struct control_list backend_list =
    LIST_OF(struct control_http_rule, backends, backend_count, 0, CONTROL_BACKENDS_MAX, read_backend, NULL, NULL);
static const struct fl_row rule_rows[] = {
    {"name", control_read_text, AT(name), OPT, 0, SECTION_MAX, NULL},
    {"matches", read_matches, 0, OPT, 0, 0, NULL},
    {"filters", read_filters, AT(filters), OPT, 0, 0, NULL},
    {"backendRefs", control_read_list, AT(backends), OPT, 0, 0, &backend_list},
    {"timeouts", read_timeouts, 0, OPT, 0, 0, NULL},
    {"retry", control_read_part, AT(retry), OPT, 0, 0, &retry_part},
    {0},
};
static const struct fl_table rule_table = {rule_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* "replacePrefixMatch" makes sense only where every match is one prefix: Gateway API's own schema asks for that. */
static int check_prefix_change(struct fl_reader *reader, const struct fl_json *value,
                               const struct control_http_rule *rule)
{
    bool changes =
        (rule->filters.redirect != NULL && rule->filters.redirect->path_change == CONTROL_PATH_REPLACE_PREFIX) ||
        (rule->filters.rewrite != NULL && rule->filters.rewrite->path_change == CONTROL_PATH_REPLACE_PREFIX);
    for (size_t i = 0; changes && i < rule->match_count; i++)
        if (rule->matches[i].path_match != CONTROL_PATH_PREFIX)
            return fl_reader_fail(reader, value, "ReplacePrefixMatch needs matches of type PathPrefix alone");
    return 0;
}

static int read_rule(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_http_rule *rule = field;
    (void)row;
    *rule = (struct control_http_rule){
        .matches = &match_all,
        .match_count = 1,
        .position = fl_positions_find(reader->positions, value),
    };
    int result = fl_table_read(reader, value, &rule_table, rule);
    if (result == 0 && rule->filters.redirect != NULL && rule->backend_count > 0)
        return fl_reader_fail(reader, value, "RequestRedirect and backendRefs exclude each other");
    return result < 0 ? result : check_prefix_change(reader, value, rule);
}

static const struct control_list http_parents =
    LIST_OF(struct control_http_route, parents, parent_count, 0, CONTROL_PARENTS_MAX, read_parent, NULL, NULL);
static const struct control_list http_hostnames = LIST_OF(struct control_http_route, hostnames, hostname_count, 0,
                                                          CONTROL_HOSTNAMES_MAX, control_read_hostname, NULL, NULL);
static const struct control_list http_rules =
    LIST_OF(struct control_http_route, rules, rule_count, 1, CONTROL_RULES_MAX, read_rule, NULL, NULL);
#define AT(member) offsetof(struct control_http_route, member)
static const struct fl_row http_route_rows[] = {
    {"parentRefs", control_read_list, AT(parents), OPT, 0, 0, &http_parents},
    {"hostnames", control_read_list, AT(hostnames), OPT, 0, 0, &http_hostnames},
    {"rules", control_read_list, AT(rules), OPT, 0, 0, &http_rules},
    {0},
};
static const struct fl_table http_route_table = {http_route_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static const struct control_http_rule rule_default = {.matches = &match_all, .match_count = 1};

static int read_http_route(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_http_route *route = FL_CONTAINER_OF(object, struct control_http_route, object);
    route->rules = &rule_default;
    route->rule_count = 1;
    return read_spec(reader, document, &http_route_table, route);
}

const struct control_kind_reader control_read_http_route = {sizeof(struct control_http_route), read_http_route, NULL};

/* -- TCPRoute ------------------------------------------------------------------------------------------------------ */

static const struct control_list tcp_backends =
    LIST_OF(struct control_tcp_route, backends, backend_count, 1, CONTROL_BACKENDS_MAX, read_backend, NULL, NULL);
static const struct fl_row tcp_rule_rows[] = {
    {"backendRefs", control_read_list, offsetof(struct control_tcp_route, backends), REQ, 0, 0, &tcp_backends},
    {0},
};
static const struct fl_table tcp_rule_table = {tcp_rule_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_tcp_rules(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (fl_json_count(value) != 1)
        return fl_reader_expected(reader, value, "an array of one rule");
    size_t mark = fl_reader_enter_at(reader, 0);
    int result = fl_table_read(reader, fl_json_first(value), &tcp_rule_table, field);
    fl_reader_leave(reader, mark);
    return result;
}

static const struct control_list tcp_parents =
    LIST_OF(struct control_tcp_route, parents, parent_count, 0, CONTROL_PARENTS_MAX, read_parent, NULL, NULL);
static const struct fl_row tcp_route_rows[] = {
    {"parentRefs", control_read_list, offsetof(struct control_tcp_route, parents), OPT, 0, 0, &tcp_parents},
    {"rules", read_tcp_rules, 0, REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table tcp_route_table = {tcp_route_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_tcp_route(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    return read_spec(reader, document, &tcp_route_table, FL_CONTAINER_OF(object, struct control_tcp_route, object));
}

const struct control_kind_reader control_read_tcp_route = {sizeof(struct control_tcp_route), read_tcp_route, NULL};

/* -- Gateway ------------------------------------------------------------------------------------------------------- */

static const char *const froms[] = {"Same", "All", "Selector", "None", NULL};

struct listener_tls {
    struct fl_span mode;
    const struct control_reference *certificates;
    size_t certificate_count;
};

struct listener_texts {
    struct control_listener listener;
    struct listener_tls tls;
};

static const struct control_list certificate_list =
    LIST_OF(struct listener_tls, certificates, certificate_count, 0, CONTROL_LISTENERS_MAX, read_reference, NULL, NULL);
#define AT(member) offsetof(struct listener_tls, member)
static const struct fl_row tls_rows[] = {
    {"mode", fl_read_string, AT(mode), OPT, 0, 0, NULL},
    {"certificateRefs", control_read_list, AT(certificates), OPT, 0, 0, &certificate_list},
    {0},
};
static const struct fl_table tls_table = {tls_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

#define AT(member) offsetof(struct control_listener, member)
static const struct fl_row from_rows[] = {
    {"from", fl_read_enum, AT(allowed), OPT, 0, 0, froms},
    {"selector", control_read_selector, AT(allowed_selector), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table from_table = {from_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_from(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_listener *listener = field;
    (void)row;
    int result = fl_table_read(reader, value, &from_table, listener);
    bool selects = fl_json_is(fl_json_get(value, "selector"), FL_JSON_OBJECT);
    if (result == 0 && listener->allowed == CONTROL_ALLOWED_SELECTOR && !selects)
        return fl_reader_fail(reader, value, "from: Selector needs a selector");
    return result;
}

static const struct fl_row kind_rows[] = {
    {"group", control_read_text, offsetof(struct control_reference, group), OPT, 0, GROUP_MAX, NULL},
    {"kind", control_read_text, offsetof(struct control_reference, kind), REQ, 1, 63, NULL},
    {0},
};
static const struct fl_table kind_table = {kind_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct control_reference kind_start = {.group = {GROUP, sizeof(GROUP) - 1}};
static const struct control_list kind_list =
    LIST_OF(struct control_listener, kinds, kind_count, 0, 8, fl_read_object, &kind_start, &kind_table);

/* Both write into the listener itself: they get it by the list's offset, so the table's offsets are the listener's. */
static int read_kinds(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_listener *listener = field;
    const struct fl_row list = {.detail = &kind_list};
    (void)row;
    return control_read_list(reader, value, &listener->kinds, &list);
}

static const struct fl_row allowed_rows[] = {
    {"namespaces", read_from, 0, OPT, 0, 0, NULL},
    {"kinds", read_kinds, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table allowed_table = {allowed_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

#define AT(member) offsetof(struct listener_texts, member)
static const struct fl_row listener_rows[] = {
    {"name", control_read_text, AT(listener.name), REQ, 1, SECTION_MAX, NULL},
    {"hostname", control_read_hostname, AT(listener.hostname), OPT, 0, 0, NULL},
    {"port", control_read_port, AT(listener.port), REQ, 0, 0, NULL},
    {"protocol", control_read_text, AT(listener.protocol_text), REQ, 1, 255, NULL},
    {"tls", fl_read_object, AT(tls), OPT, 0, 0, &tls_table},
    {"allowedRoutes", fl_read_object, AT(listener), OPT, 0, 0, &allowed_table},
    {0},
};
static const struct fl_table listener_table = {listener_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static enum control_listener_protocol protocol_of(struct fl_span text)
{
    static const char *const names[] = {"HTTP", "HTTPS", "TCP", "TLS"};
    for (size_t i = 0; i < FL_COUNT(names); i++)
        if (fl_span_eq_str(text, names[i]))
            return (enum control_listener_protocol)i;
    return CONTROL_LISTENER_UNSUPPORTED;
}

static int read_listener(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct listener_texts texts = {.listener = {.allowed = CONTROL_ALLOWED_SAME}};
    (void)row;
    int result = fl_table_read(reader, value, &listener_table, &texts);
    if (result < 0)
        return result;
    texts.listener.protocol = protocol_of(texts.listener.protocol_text);
    texts.listener.tls_passthrough = fl_span_eq_str(texts.tls.mode, "Passthrough");
    texts.listener.certificates = texts.tls.certificates;
    texts.listener.certificate_count = texts.tls.certificate_count;
    texts.listener.position = fl_positions_find(reader->positions, value);
    *(struct control_listener *)field = texts.listener;
    return 0;
}

static const struct control_list listener_list =
    LIST_OF(struct control_gateway, listeners, listener_count, 0, CONTROL_LISTENERS_MAX, read_listener, NULL, NULL);
#define AT(member) offsetof(struct control_gateway, member)
static const struct fl_row gateway_rows[] = {
    {"gatewayClassName", control_read_text, AT(class_name), REQ, 1, FL_KUBE_NAME_MAX, NULL},
    {"listeners", control_read_list, AT(listeners), REQ, 0, 0, &listener_list},
    {0},
};
static const struct fl_table gateway_table = {gateway_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_gateway(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_gateway *gateway = FL_CONTAINER_OF(object, struct control_gateway, object);
    int result = read_spec(reader, document, &gateway_table, gateway);
    for (size_t i = 0; result == 0 && i < gateway->listener_count; i++)
        for (size_t k = 0; k < i; k++)
            if (fl_span_eq(gateway->listeners[i].name, gateway->listeners[k].name))
                return fl_reader_fail(reader, fl_json_get(document, "spec"), "spec.listeners: two of the name %.*s",
                                      FL_SPAN_ARG(gateway->listeners[i].name));
    return result;
}

const struct control_kind_reader control_read_gateway = {sizeof(struct control_gateway), read_gateway, NULL};

/* -- GatewayClass, ReferenceGrant -----------------------------------------------------------------------------------
 */

static const struct fl_row class_rows[] = {
    {"controllerName", control_read_text, offsetof(struct control_gateway_class, controller), REQ, 1, FL_KUBE_NAME_MAX,
     NULL},
    {0},
};
static const struct fl_table class_table = {class_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_gateway_class(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    return read_spec(reader, document, &class_table, FL_CONTAINER_OF(object, struct control_gateway_class, object));
}

const struct control_kind_reader control_read_gateway_class = {sizeof(struct control_gateway_class), read_gateway_class,
                                                               NULL};

static const struct fl_row grant_from_rows[] = {
    {"group", control_read_text, offsetof(struct control_grant_from, group), REQ, 0, GROUP_MAX, NULL},
    {"kind", control_read_text, offsetof(struct control_grant_from, kind), REQ, 1, 63, NULL},
    {"namespace", control_read_name, offsetof(struct control_grant_from, name_space), REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table grant_from_table = {grant_from_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct fl_row grant_to_rows[] = {
    {"group", control_read_text, offsetof(struct control_grant_to, group), REQ, 0, GROUP_MAX, NULL},
    {"kind", control_read_text, offsetof(struct control_grant_to, kind), REQ, 1, 63, NULL},
    {"name", control_read_text, offsetof(struct control_grant_to, name), OPT, 1, FL_KUBE_NAME_MAX, NULL},
    {0},
};
static const struct fl_table grant_to_table = {grant_to_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct control_list grant_froms =
    LIST_OF(struct control_reference_grant, from, from_count, 1, 16, fl_read_object, NULL, &grant_from_table);
static const struct control_list grant_tos =
    LIST_OF(struct control_reference_grant, to, to_count, 1, 16, fl_read_object, NULL, &grant_to_table);
static const struct fl_row grant_rows[] = {
    {"from", control_read_list, offsetof(struct control_reference_grant, from), REQ, 0, 0, &grant_froms},
    {"to", control_read_list, offsetof(struct control_reference_grant, to), REQ, 0, 0, &grant_tos},
    {0},
};
static const struct fl_table grant_table = {grant_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_grant(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    return read_spec(reader, document, &grant_table, FL_CONTAINER_OF(object, struct control_reference_grant, object));
}

const struct control_kind_reader control_read_reference_grant = {sizeof(struct control_reference_grant), read_grant,
                                                                 NULL};
