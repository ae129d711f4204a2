#include "control/model/kind/filter.h"

#include "control/model/kind/reference.h"
#include "control/model/kind/row.h"

#include <errno.h>
#include <stdio.h>

/* Fields of the connection and the framing are the proxies' own: they refuse a route that changes one. */
static int read_changed_name(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    static const char *const names[] = {"host", "content-length", "transfer-encoding", "upgrade", "connection",
                                        "te",   "trailer"};
    int result = control_read_header_name(reader, value, field, row);
    for (size_t i = 0; result == 0 && i < FL_COUNT(names); i++)
        if (fl_span_eq_str(*(const struct fl_span *)field, names[i]))
            return fl_reader_fail(reader, value, "\"%s\" cannot be changed%s", names[i],
                                  i == 0 ? "; a filter URLRewrite with a hostname changes the host" : "");
    return result;
}

#define AT(member) offsetof(struct control_name_value, member)
static const struct fl_row header_rows[] = {
    {"name", read_changed_name, AT(name), REQ, 0, 0, NULL},
    {"value", control_read_header_value, AT(value), REQ, 1, 4096, NULL},
    {0},
};
static const struct fl_table header_table = {header_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static const struct control_list set_list =
    LIST_OF(struct control_header_changes, set, set_count, 0, CONTROL_HEADERS_MAX, fl_read_object, NULL, &header_table);
static const struct control_list add_list =
    LIST_OF(struct control_header_changes, add, add_count, 0, CONTROL_HEADERS_MAX, fl_read_object, NULL, &header_table);
static const struct control_list remove_list =
    LIST_OF(struct control_header_changes, remove, remove_count, 0, CONTROL_HEADERS_MAX, read_changed_name, NULL, NULL);
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
    {"hostname", control_read_name, AT(hostname), OPT, 0, 0, NULL},
    {"path", read_redirect_path, 0, OPT, 0, 0, NULL},
    {"port", control_read_port, AT(port), OPT, 0, 0, NULL},
    {"statusCode", read_redirect_status, AT(status), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table redirect_table = {redirect_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT
#define AT(member) offsetof(struct control_rewrite, member)
static const struct fl_row rewrite_rows[] = {
    {"hostname", control_read_name, AT(hostname), OPT, 0, 0, NULL},
    {"path", read_rewrite_path, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table rewrite_table = {rewrite_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* -- CORS -- */

/* scheme://host[:port]; a browser never says the port that is the scheme's own. */
static int read_origin(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    bool https = fl_span_starts_with(text, FL_SPAN("https://"));
    (void)row;
    if (fl_span_eq_str(text, "*"))
        return control_copy(reader, text, field);
    if (!https && !fl_span_starts_with(text, FL_SPAN("http://")))
        return fl_reader_expected(reader, value, "*, or http:// or https:// with a host");
    size_t scheme = https ? 8 : 7;
    struct fl_span authority = fl_span_from(text, scheme);
    size_t colon = fl_span_find(authority, ':');
    struct fl_span host = fl_span_make(authority.data, colon), port = fl_span_from(authority, colon);
    uint64_t number = 0;
    bool good = host.len > 0 && text.len <= 253;
    if (port.len > 0)
        good = good && fl_span_to_u64(fl_span_from(port, 1), UINT16_MAX, &number) && number > 0;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i];
        bool star = c == '*' && i == 0 && (host.len == 1 || host.data[1] == '.');
        good = good && (star || c == '.' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                        (c >= 'A' && c <= 'Z'));
    }
    if (!good)
        return fl_reader_fail(reader, value,
                              "expected scheme://host[:port], in which the host may begin with \"*.\" or be \"*\"");
    if (number == (https ? 443 : 80))
        text.len = scheme + host.len;
    return control_copy_lower(reader, text, field);
}

static int read_token(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING) || !control_is_header_name(fl_json_string(value)))
        return fl_reader_expected(reader, value, "the name of a method");
    return control_copy(reader, fl_json_string(value), field);
}

static const struct control_list origin_list =
    LIST_OF(struct control_cors, origins, origin_count, 0, CONTROL_CORS_MAX, read_origin, NULL, NULL);
static const struct control_list method_list =
    LIST_OF(struct control_cors, methods, method_count, 0, CONTROL_CORS_MAX, read_token, NULL, NULL);
static const struct control_list allowed_list =
    LIST_OF(struct control_cors, headers, header_count, 0, CONTROL_CORS_MAX, control_read_header_name, NULL, NULL);
static const struct control_list expose_list =
    LIST_OF(struct control_cors, expose, expose_count, 0, CONTROL_CORS_MAX, control_read_header_name, NULL, NULL);
#define AT(member) offsetof(struct control_cors, member)
static const struct fl_row cors_rows[] = {
    {"allowOrigins", control_read_list, AT(origins), OPT, 0, 0, &origin_list},
    {"allowMethods", control_read_list, AT(methods), OPT, 0, 0, &method_list},
    {"allowHeaders", control_read_list, AT(headers), OPT, 0, 0, &allowed_list},
    {"exposeHeaders", control_read_list, AT(expose), OPT, 0, 0, &expose_list},
    {"allowCredentials", fl_read_bool, AT(credentials), OPT, 0, 0, NULL},
    {"maxAge", fl_read_u32, AT(max_age), OPT, 1, INT32_MAX, NULL},
    {0},
};
static const struct fl_table cors_table = {cors_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static const struct control_cors cors_start = {.max_age = 5};
static const struct control_part cors_part = {sizeof(struct control_cors), &cors_start, &cors_table};
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
    {"CORS", "cors", offsetof(struct control_http_filters, cors), &cors_part},
};

static int note_unsupported(struct fl_reader *reader, struct control_http_filters *filters, const char *what,
                            struct fl_span type)
{
    char text[160];
    snprintf(text, sizeof(text), "%s: %.*s", what, (int)(type.len < 64 ? type.len : 64), type.data);
    return filters->unsupported.len > 0 ? 0 : control_copy(reader, fl_span_str(text), &filters->unsupported);
}

struct fraction {
    uint32_t numerator, denominator;
};

struct mirror {
    struct control_backend backend;
    uint32_t percent;
    struct fraction fraction;
};

#define AT(member) offsetof(struct fraction, member)
static const struct fl_row fraction_rows[] = {
    {"numerator", fl_read_u32, AT(numerator), REQ, 0, INT32_MAX, NULL},
    {"denominator", fl_read_u32, AT(denominator), OPT, 1, INT32_MAX, NULL},
    {0},
};
static const struct fl_table fraction_table = {fraction_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT
#define AT(member) offsetof(struct mirror, member)
static const struct fl_row mirror_rows[] = {
    {"backendRef", control_read_backend, AT(backend), REQ, 0, 0, NULL},
    {"percent", fl_read_u32, AT(percent), OPT, 0, 100, NULL},
    {"fraction", fl_read_object, AT(fraction), OPT, 0, 0, &fraction_table},
    {0},
};
static const struct fl_table mirror_table = {mirror_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* The share of a million stands in the backend's weight. */
static int read_mirror(struct fl_reader *reader, const struct fl_json *value, struct control_http_filters *filters)
{
    struct mirror mirror = {.percent = 100, .fraction = {0, 100}};
    struct control_backend *mirrors =
        (struct control_backend *)(uintptr_t)filters->mirrors; /* ours, until it is read */
    int result = fl_table_read(reader, value, &mirror_table, &mirror);
    if (result < 0)
        return result;
    if (mirror.fraction.numerator > mirror.fraction.denominator)
        return fl_reader_fail(reader, value, "fraction: numerator is more than denominator");
    if (mirrors == NULL)
        mirrors = fl_arena_array(reader->context, CONTROL_FILTERS_MAX, sizeof(*mirrors));
    if (mirrors == NULL)
        return -ENOMEM;
    bool fraction = fl_json_is(fl_json_get(value, "fraction"), FL_JSON_OBJECT);
    mirror.backend.weight =
        fraction ? (uint32_t)((uint64_t)mirror.fraction.numerator * 1000000 / mirror.fraction.denominator)
                 : mirror.percent * 10000;
    mirrors[filters->mirror_count++] = mirror.backend;
    filters->mirrors = mirrors;
    return 0;
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
    if (!fl_span_eq_str(type, "RequestMirror"))
        return note_unsupported(reader, filters, "a filter that is not supported", type);
    const struct fl_json *settings = fl_json_get(value, "requestMirror");
    if (settings == NULL)
        return fl_reader_fail(reader, value, "requestMirror: required, but missing");
    size_t mark = fl_reader_enter(reader, FL_SPAN("requestMirror"));
    int result = read_mirror(reader, settings, filters);
    fl_reader_leave(reader, mark);
    return result;
}

int control_read_filters(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
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

int control_read_grpc_filters(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row)
{
    struct control_http_filters *filters = field;
    int result = control_read_filters(reader, value, field, row);
    if (result == 0 && (filters->redirect != NULL || filters->rewrite != NULL || filters->cors != NULL))
        return fl_reader_fail(reader, value, "a GRPCRoute has no filter %s",
                              filters->redirect != NULL  ? "RequestRedirect"
                              : filters->rewrite != NULL ? "URLRewrite"
                                                         : "CORS");
    return result;
}

/* A backend's own filters: a struct in the arena. */
int control_read_filters_part(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row)
{
    struct control_http_filters *filters = fl_arena_alloc(reader->context, sizeof(*filters));
    if (filters == NULL)
        return -ENOMEM;
    int result = control_read_filters(reader, value, filters, row);
    if (result < 0 || fl_json_count(value) == 0)
        return result;
    if (filters->redirect != NULL || filters->rewrite != NULL || filters->cors != NULL || filters->mirror_count > 0)
        result = note_unsupported(reader, filters, "not supported at a backend",
                                  filters->redirect != NULL  ? FL_SPAN("RequestRedirect")
                                  : filters->rewrite != NULL ? FL_SPAN("URLRewrite")
                                  : filters->cors != NULL    ? FL_SPAN("CORS")
                                                             : FL_SPAN("RequestMirror"));
    *(struct control_http_filters **)field = filters;
    return result;
}
