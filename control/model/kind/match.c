#include "control/model/kind/match.h"

#include "common/regex/pattern.h"
#include "control/model/kind/row.h"

#include <errno.h>

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
    struct fl_span unsupported; /* the rule is dropped, and why */
};

/* What is no regular expression costs the rule, not the route. 0, -ENOMEM. */
static int check_regex(struct fl_reader *reader, const char *what, struct fl_span text, struct match_reading *reading)
{
    struct fl_pattern *pattern = NULL;
    struct fl_err err = {0};
    int result = fl_pattern_new(text, &pattern, &err);
    fl_pattern_free(pattern);
    if (result != -EINVAL || reading->unsupported.len > 0)
        return result == -EINVAL ? 0 : result;
    fl_err_prefix(&err, "%s \"%.*s\"", what, (int)(text.len < 128 ? text.len : 128), text.data);
    return control_copy(reader, fl_span_str(err.text), &reading->unsupported);
}

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
    if (fl_span_eq_str(texts.type, "RegularExpression")) {
        reading->match.path_match = CONTROL_PATH_REGEX;
        result = check_regex(reader, "path", texts.value, reading);
        return result < 0 ? result : control_copy(reader, texts.value, &reading->match.path);
    }
    if (!exact && !is_prefix_type(texts.type))
        return fl_reader_expected(reader, fl_json_get(value, "type"), "Exact, PathPrefix or RegularExpression");
    if (texts.value.len == 0 || texts.value.data[0] != '/')
        return fl_reader_expected(reader, fl_json_get(value, "value"), "a path that begins with '/'");
    if (fl_span_find(texts.value, '?') < texts.value.len || fl_span_find(texts.value, '#') < texts.value.len)
        return fl_reader_fail(reader, fl_json_get(value, "value"), "a path has neither '?' nor '#'");
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
    ret_item->regex = fl_span_eq_str(item.type, "RegularExpression");
    if (!ret_item->regex && item.type.len > 0 && !fl_span_eq_str(item.type, "Exact"))
        return fl_reader_expected(reader, fl_json_get(value, "type"), "Exact or RegularExpression");
    if (ret_item->regex)
        result = check_regex(reader, header ? "header" : "query parameter", item.value, reading);
    if (result < 0)
        return result;
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

const struct control_http_match control_match_all = {.path_match = CONTROL_PATH_PREFIX, .path = {"/", 1}};
const struct control_http_match control_match_grpc = {
    .grpc = true, .path_match = CONTROL_PATH_PREFIX, .path = {"/", 1}};

static int read_matches(struct fl_reader *reader, const struct fl_json *value, const struct fl_table *table,
                        const struct control_http_match *start, struct control_http_rule *rule)
{
    size_t count = fl_json_count(value), i = 0;
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    if (count > CONTROL_MATCHES_MAX)
        return fl_reader_fail(reader, value, "more than %d matches", CONTROL_MATCHES_MAX);
    struct control_http_match *matches = fl_arena_array(reader->context, count, sizeof(*matches));
    if (matches == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        struct match_reading reading = {.match = *start};
        size_t mark = fl_reader_enter_at(reader, i);
        int result = fl_table_read(reader, item, table, &reading);
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

int control_read_matches(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return read_matches(reader, value, &match_table, &control_match_all, field);
}

/* -- GRPCRoute ----------------------------------------------------------------------------------------------------- */

struct method_texts {
    struct fl_span type, service, method;
};

/* What stands in a path between two slashes: no slash, nothing that a path cannot hold. */
static int check_part(struct fl_reader *reader, const struct fl_json *value, const char *name, struct fl_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '/' || text.data[i] == '?' || text.data[i] == '#' || (unsigned char)text.data[i] <= ' ')
            return fl_reader_fail(reader, fl_json_get(value, name), "a character that a %s cannot hold", name);
    return 0;
}

static int check_method(struct fl_reader *reader, const struct fl_json *value, const struct method_texts *texts)
{
    int result = check_part(reader, value, "service", texts->service);
    return result < 0 ? result : check_part(reader, value, "method", texts->method);
}

#define AT(member) offsetof(struct method_texts, member)
static const struct fl_row method_rows[] = {
    {"type", fl_read_string, AT(type), OPT, 0, 0, NULL},
    {"service", fl_read_string, AT(service), OPT, 0, 1024, NULL},
    {"method", fl_read_string, AT(method), OPT, 0, 1024, NULL},
    {0},
};
static const struct fl_table method_table = {method_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* A part that is not given is any. */
static int set_regex(struct fl_reader *reader, const struct method_texts *texts, struct match_reading *reading)
{
    struct fl_span any = FL_SPAN("[^/]+"), service = texts->service.len > 0 ? texts->service : any;
    struct fl_span method = texts->method.len > 0 ? texts->method : any;
    struct fl_buf path;
    fl_buf_init(&path, FL_PATTERN_MAX);
    int result = check_regex(reader, "service", service, reading);
    if (result == 0)
        result = check_regex(reader, "method", method, reading);
    if (result == 0)
        result = fl_buf_printf(&path, "/(?:%.*s)/(?:%.*s)", FL_SPAN_ARG(service), FL_SPAN_ARG(method));
    if (result == 0)
        result = control_copy(reader, fl_buf_span(&path), &reading->match.path);
    if (result == 0)
        result = check_regex(reader, "service and method", reading->match.path, reading);
    fl_buf_done(&path);
    reading->match.path_match = CONTROL_PATH_REGEX;
    return result;
}

static int set_path(struct fl_reader *reader, const struct method_texts *texts, struct control_http_match *match)
{
    bool service = texts->service.len > 0, method = texts->method.len > 0;
    size_t len = texts->service.len + service + texts->method.len + method;
    char *path = fl_arena_alloc(reader->context, len);
    if (path == NULL)
        return -ENOMEM;
    char *at = path;
    if (service) {
        *at++ = '/';
        memcpy(at, texts->service.data, texts->service.len);
        at += texts->service.len;
    }
    if (method) {
        *at++ = '/';
        memcpy(at, texts->method.data, texts->method.len);
    }
    match->path = fl_span_make(path, len);
    match->path_match = !method ? CONTROL_PATH_PREFIX : service ? CONTROL_PATH_EXACT : CONTROL_PATH_SUFFIX;
    return 0;
}

static int read_grpc_method(struct fl_reader *reader, const struct fl_json *value, void *field,
                            const struct fl_row *row)
{
    struct match_reading *reading = field;
    struct method_texts texts = {FL_SPAN(""), FL_SPAN(""), FL_SPAN("")};
    (void)row;
    int result = fl_table_read(reader, value, &method_table, &texts);
    if (result < 0)
        return result;
    if (texts.service.len == 0 && texts.method.len == 0)
        return fl_reader_fail(reader, value, "service or method: one of them is required");
    if (fl_span_eq_str(texts.type, "RegularExpression"))
        return set_regex(reader, &texts, reading);
    if (texts.type.len > 0 && !fl_span_eq_str(texts.type, "Exact"))
        return fl_reader_expected(reader, fl_json_get(value, "type"), "Exact or RegularExpression");
    result = check_method(reader, value, &texts);
    if (result < 0)
        return result;
    return set_path(reader, &texts, &reading->match);
}

static const struct fl_row grpc_match_rows[] = {
    {"method", read_grpc_method, 0, OPT, 0, 0, NULL},
    {"headers", read_match_headers, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table grpc_match_table = {grpc_match_rows, FL_TABLE_IGNORE_UNKNOWN};

int control_read_grpc_matches(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row)
{
    (void)row;
    return read_matches(reader, value, &grpc_match_table, &control_match_grpc, field);
}
