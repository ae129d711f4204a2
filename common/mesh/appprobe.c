#include "common/mesh/appprobe.h"

#include "common/base/utf8.h"
#include "common/doc/table.h"
#include "common/mesh/dnsname.h"
#include "common/mesh/port.h"

#include <errno.h>
#include <stdio.h>

#define DEPTH_MAX   6
#define VALUES_MAX  16384                /* more than a text of FL_APPPROBE_TEXT_MAX with its needed names can hold */
#define MEMORY_MAX  (4u << 20)           /* a table's, with room for replacements */
#define SECONDS_MAX ((int64_t)INT32_MAX) /* of timeoutSeconds, an int32 in Kubernetes */

static const char *const kind_names[] = {
#define KIND_NAME(name, text, member) [FL_APPPROBE_##name] = text,
    FL_APPPROBE_KINDS(KIND_NAME)
#undef KIND_NAME
        [FL_APPPROBE_KIND_COUNT] = NULL};

static const char *const kind_members[] = {
#define KIND_MEMBER(name, text, member) [FL_APPPROBE_##name] = member,
    FL_APPPROBE_KINDS(KIND_MEMBER)
#undef KIND_MEMBER
};

const char *fl_appprobe_kind_name(enum fl_appprobe_kind kind)
{
    return kind_names[kind];
}

const char *fl_appprobe_kind_member(enum fl_appprobe_kind kind)
{
    return kind_members[kind];
}

/* -- what a probe may be -- */

/* UTF-8, as what is not could not be printed. */
static bool is_text(struct fl_span text)
{
    for (size_t i = 0, length; i < text.len; i += length) {
        unsigned char byte = (unsigned char)text.data[i];
        length = fl_utf8_length(fl_span_from(text, i));
        if (length == 0 || (byte < 0x20 && byte != '\t') || byte == 0x7f)
            return false;
    }
    return true;
}

static bool is_token(struct fl_span text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        bool alphanumeric =
            (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        if (!alphanumeric && (byte == '\0' || strchr(others, byte) == NULL))
            return false;
    }
    return text.len > 0;
}

/* NULL, or what would be right. */
static const char *check_header(const struct fl_appprobe_header *header)
{
    if (!is_token(header->name) || header->name.len > FL_APPPROBE_NAME_MAX)
        return "a header's name (a token of at most 256 bytes)";
    if (!is_text(header->value) || header->value.len > FL_APPPROBE_VALUE_MAX)
        return "header values without control characters, of at most 8192 bytes";
    return NULL;
}

static const char *check_handler(const struct fl_appprobe *probe)
{
    if (probe->handler == FL_APPPROBE_GRPC) {
        if (fl_appprobe_kind_is_lifecycle(probe->kind))
            return "httpGet or tcpSocket for a lifecycle handler";
        return is_text(probe->service) && probe->service.len <= FL_APPPROBE_NAME_MAX
                   ? NULL
                   : "a service without control characters, of at most 256 bytes";
    }
    if (probe->handler != FL_APPPROBE_HTTP_GET)
        return NULL;
    if (!is_text(probe->path) || probe->path.len > FL_APPPROBE_VALUE_MAX)
        return "a path without control characters, of at most 8192 bytes";
    if (probe->header_count > FL_APPPROBE_HEADERS_MAX)
        return "at most 64 headers";
    const char *wanted = NULL;
    for (size_t i = 0; i < probe->header_count && wanted == NULL; i++)
        wanted = check_header(&probe->headers[i]);
    return wanted;
}

static const char *check_probe(const struct fl_appprobe *probe)
{
    bool lifecycle = fl_appprobe_kind_is_lifecycle(probe->kind);
    if (!fl_dns_is_label(probe->container))
        return "a container's name (a DNS-1123 label)";
    if (probe->port == 0 || fl_port_is_ours(probe->port))
        return "a port of the app, none of the sidecar's own";
    if (lifecycle && probe->timeout_s != 0)
        return "no timeoutSeconds for a lifecycle handler";
    if (!lifecycle && (probe->timeout_s == 0 || probe->timeout_s > SECONDS_MAX))
        return "timeoutSeconds of 1 to 2147483647";
    return check_handler(probe);
}

/* -- the table -- */

void fl_appprobes_init(struct fl_appprobes *table)
{
    *table = (struct fl_appprobes){0};
    fl_arena_init(&table->memory, MEMORY_MAX);
}

void fl_appprobes_done(struct fl_appprobes *table)
{
    free(table->probes);
    fl_arena_done(&table->memory);
    *table = (struct fl_appprobes){0};
}

static int compare(const struct fl_appprobe *probe, struct fl_span container, enum fl_appprobe_kind kind)
{
    int order = fl_span_compare(probe->container, container);
    return order != 0 ? order : (int)probe->kind - (int)kind;
}

/* Where it stands or would stand. */
static size_t place_of(const struct fl_appprobes *table, struct fl_span container, enum fl_appprobe_kind kind,
                       bool *ret_there)
{
    size_t low = 0, high = table->count;
    *ret_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(&table->probes[middle], container, kind);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct fl_appprobe *fl_appprobes_find(const struct fl_appprobes *table, struct fl_span container,
                                            enum fl_appprobe_kind kind)
{
    bool there;
    size_t place = place_of(table, container, kind, &there);
    return there ? &table->probes[place] : NULL;
}

static int grow(struct fl_appprobes *table)
{
    if (table->count < table->room)
        return 0;
    size_t room = table->room == 0 ? 8 : 2 * table->room;
    struct fl_appprobe *probes = reallocarray(table->probes, room, sizeof(*probes));
    if (probes == NULL)
        return -ENOMEM;
    table->probes = probes;
    table->room = room;
    return 0;
}

/* All three of these clear what the handler does not have, so that equal probes are equal bytes. */
static bool copy_headers(struct fl_arena *memory, const struct fl_appprobe *from, struct fl_appprobe *to)
{
    struct fl_appprobe_header *headers = fl_arena_array(memory, from->header_count, sizeof(*headers));
    if (headers == NULL)
        return false;
    for (size_t i = 0; i < from->header_count; i++) {
        headers[i].name = fl_arena_copy(memory, from->headers[i].name);
        headers[i].value = fl_arena_copy(memory, from->headers[i].value);
        if (headers[i].name.data == NULL || headers[i].value.data == NULL)
            return false;
    }
    to->headers = headers;
    to->header_count = from->header_count;
    return true;
}

static bool copy_probe(struct fl_arena *memory, const struct fl_appprobe *from, struct fl_appprobe *to)
{
    *to = (struct fl_appprobe){
        .kind = from->kind, .handler = from->handler, .port = from->port, .timeout_s = from->timeout_s};
    to->container = fl_arena_copy(memory, from->container);
    if (to->container.data == NULL)
        return false;
    if (from->handler == FL_APPPROBE_GRPC) {
        to->service = fl_arena_copy(memory, from->service);
        return to->service.data != NULL;
    }
    if (from->handler != FL_APPPROBE_HTTP_GET)
        return true;
    to->https = from->https;
    to->path = fl_arena_copy(memory, from->path);
    return to->path.data != NULL && copy_headers(memory, from, to);
}

static size_t memory_of(const struct fl_appprobe *probe)
{
    size_t size = probe->container.len + probe->path.len + probe->service.len + 128;
    for (size_t i = 0; i < probe->header_count; i++)
        size += probe->headers[i].name.len + probe->headers[i].value.len + 128;
    return size;
}

int fl_appprobes_put(struct fl_appprobes *table, const struct fl_appprobe *probe, struct fl_err *err)
{
    struct fl_appprobe copy;
    bool there;
    const char *wanted = check_probe(probe);
    if (wanted != NULL)
        return fl_err_set(err, -EINVAL, "expected %s", wanted);
    size_t place = place_of(table, probe->container, probe->kind, &there);
    if (!there && table->count == FL_APPPROBE_COUNT_MAX)
        return fl_err_set(err, -EMSGSIZE, "expected at most %d probes", FL_APPPROBE_COUNT_MAX);
    if (fl_arena_full(&table->memory, memory_of(probe)))
        return fl_err_set(err, -EMSGSIZE, "expected probes of less than %u bytes together", MEMORY_MAX);
    if ((!there && grow(table) != 0) || !copy_probe(&table->memory, probe, &copy))
        return fl_err_set(err, -ENOMEM, "out of memory");
    if (!there) {
        memmove(&table->probes[place + 1], &table->probes[place], (table->count - place) * sizeof(copy));
        table->count++;
    }
    table->probes[place] = copy;
    return 0;
}

/* -- reading -- */

struct reading {
    struct fl_appprobe probe;
    struct fl_appprobe_header headers[FL_APPPROBE_HEADERS_MAX];
    int kind, scheme;
    int handlers; /* how many were there */
};

#define OFFSET(member) offsetof(struct reading, member)

static const struct fl_row header_rows[] = {
    {"name", fl_read_string, offsetof(struct fl_appprobe_header, name), FL_ROW_REQUIRED, 0, 0, NULL},
    {"value", fl_read_string, offsetof(struct fl_appprobe_header, value), FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_table header_table = {header_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_headers(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    struct reading *reading = field;
    if (!fl_json_is(value, FL_JSON_ARRAY) || fl_json_count(value) > FL_APPPROBE_HEADERS_MAX)
        return fl_reader_expected(reader, value, "an array of at most 64 headers");
    size_t count = 0;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        size_t mark = fl_reader_enter_at(reader, count);
        int result = fl_table_read(reader, item, &header_table, &reading->headers[count++]);
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
    }
    reading->probe.headers = reading->headers;
    reading->probe.header_count = count;
    return 0;
}

static const char *const schemes[] = {"HTTP", "HTTPS", NULL};

static const struct fl_row http_rows[] = {
    {"scheme", fl_read_enum, OFFSET(scheme), FL_ROW_REQUIRED, 0, 0, schemes},
    {"port", fl_read_u16, OFFSET(probe.port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {"path", fl_read_string, OFFSET(probe.path), FL_ROW_REQUIRED, 0, 0, NULL},
    {"headers", read_headers, 0, FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_row tcp_rows[] = {
    {"port", fl_read_u16, OFFSET(probe.port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {0},
};
static const struct fl_row grpc_rows[] = {
    {"port", fl_read_u16, OFFSET(probe.port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {"service", fl_read_string, OFFSET(probe.service), FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_table handler_tables[] = {
    [FL_APPPROBE_HTTP_GET] = {http_rows, FL_TABLE_REFUSE_UNKNOWN},
    [FL_APPPROBE_TCP_SOCKET] = {tcp_rows, FL_TABLE_REFUSE_UNKNOWN},
    [FL_APPPROBE_GRPC] = {grpc_rows, FL_TABLE_REFUSE_UNKNOWN},
};

static int read_handler(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct reading *reading = field;
    const struct fl_table *table = row->detail;
    reading->probe.handler = (enum fl_appprobe_handler)(table - handler_tables);
    reading->handlers++;
    return fl_table_read(reader, value, table, reading);
}

static const struct fl_row probe_rows[] = {
    {"container", fl_read_string, OFFSET(probe.container), FL_ROW_REQUIRED, 0, 0, NULL},
    {"kind", fl_read_enum, OFFSET(kind), FL_ROW_REQUIRED, 0, 0, kind_names},
    {"httpGet", read_handler, 0, 0, 0, 0, &handler_tables[FL_APPPROBE_HTTP_GET]},
    {"tcpSocket", read_handler, 0, 0, 0, 0, &handler_tables[FL_APPPROBE_TCP_SOCKET]},
    {"grpc", read_handler, 0, 0, 0, 0, &handler_tables[FL_APPPROBE_GRPC]},
    {"timeoutSeconds", fl_read_u32, OFFSET(probe.timeout_s), 0, 1, SECONDS_MAX, NULL},
    {0},
};
static const struct fl_table probe_table = {probe_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_probe(struct fl_reader *reader, const struct fl_json *value, struct fl_appprobes *table)
{
    struct reading reading = {.handlers = 0};
    struct fl_err reason;
    int result = fl_table_read(reader, value, &probe_table, &reading);
    if (result < 0)
        return result;
    if (reading.handlers != 1)
        return fl_reader_fail(reader, value, "expected one of httpGet, tcpSocket and grpc");
    reading.probe.kind = (enum fl_appprobe_kind)reading.kind;
    reading.probe.https = reading.scheme == 1;
    if (fl_appprobes_find(table, reading.probe.container, reading.probe.kind) != NULL)
        return fl_reader_fail(reader, value, "a container's probe of one kind stands there twice");
    result = fl_appprobes_put(table, &reading.probe, &reason);
    if (result == -EINVAL)
        return fl_reader_fail(reader, value, "%s", reason.text);
    return result < 0 ? fl_err_set(reader->err, result, "%s: %s", reader->path, reason.text) : 0;
}

static int read_probes(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    size_t index = 0;
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item), index++) {
        size_t mark = fl_reader_enter_at(reader, index);
        int result = read_probe(reader, item, field);
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
    }
    return 0;
}

/* The version goes first: a later one may have members that this one would refuse. */
static int read_version(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)field;
    (void)row;
    int64_t version = 0;
    if (!fl_json_int(value, 1, 1000000, &version))
        return fl_reader_expected(reader, value, "the version of a table of probes");
    if (version != FL_APPPROBE_VERSION)
        return fl_err_set(reader->err, -ENOTSUP, "$.version: the table of probes is of version %d; known is %d",
                          (int)version, FL_APPPROBE_VERSION);
    return 0;
}

static const struct fl_row version_rows[] = {
    {"version", read_version, 0, FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_row spec_rows[] = {
    {"version", read_version, 0, FL_ROW_REQUIRED, 0, 0, NULL},
    {"probes", read_probes, 0, FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_table version_table = {version_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct fl_table spec_table = {spec_rows, FL_TABLE_REFUSE_UNKNOWN};

int fl_appprobes_parse(struct fl_span text, struct fl_appprobes *ret_table, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = FL_APPPROBE_TEXT_MAX, .depth_max = DEPTH_MAX, .values_max = VALUES_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    struct fl_appprobes table;
    struct fl_reader reader;
    int result = fl_json_parse(text, &limits, &root, err);
    if (result < 0)
        return result;
    fl_reader_init(&reader, NULL, err);
    fl_appprobes_init(&table);
    result = fl_table_read(&reader, root, &version_table, &table);
    if (result == 0)
        result = fl_table_read(&reader, root, &spec_table, &table);
    if (result == 0)
        *ret_table = table;
    else
        fl_appprobes_done(&table);
    return result;
}

/* -- printing -- */

static int print_text(struct fl_buf *out, const char *before, struct fl_span text)
{
    int result = fl_buf_append_str(out, before);
    return result < 0 ? result : fl_buf_append_json_string(out, text);
}

static int print_http(const struct fl_appprobe *probe, struct fl_buf *out)
{
    int result = fl_buf_printf(out, ",\"httpGet\":{\"scheme\":\"%s\",\"port\":%u", schemes[probe->https], probe->port);
    if (result == 0)
        result = print_text(out, ",\"path\":", probe->path);
    if (result == 0)
        result = fl_buf_append_str(out, ",\"headers\":[");
    for (size_t i = 0; i < probe->header_count && result == 0; i++) {
        result = print_text(out, i == 0 ? "{\"name\":" : ",{\"name\":", probe->headers[i].name);
        if (result == 0)
            result = print_text(out, ",\"value\":", probe->headers[i].value);
        if (result == 0)
            result = fl_buf_append_byte(out, '}');
    }
    return result < 0 ? result : fl_buf_append_str(out, "]}");
}

static int print_handler(const struct fl_appprobe *probe, struct fl_buf *out)
{
    if (probe->handler == FL_APPPROBE_HTTP_GET)
        return print_http(probe, out);
    if (probe->handler == FL_APPPROBE_TCP_SOCKET)
        return fl_buf_printf(out, ",\"tcpSocket\":{\"port\":%u}", probe->port);
    int result = fl_buf_printf(out, ",\"grpc\":{\"port\":%u", probe->port);
    if (result == 0)
        result = print_text(out, ",\"service\":", probe->service);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

static int print_probe(const struct fl_appprobe *probe, bool first, struct fl_buf *out)
{
    int result = print_text(out, first ? "{\"container\":" : ",{\"container\":", probe->container);
    if (result == 0)
        result = fl_buf_printf(out, ",\"kind\":\"%s\"", kind_names[probe->kind]);
    if (result == 0)
        result = print_handler(probe, out);
    if (result == 0 && probe->timeout_s != 0)
        result = fl_buf_printf(out, ",\"timeoutSeconds\":%u", probe->timeout_s);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

int fl_appprobes_print(const struct fl_appprobes *table, struct fl_buf *out)
{
    size_t before = out->len;
    int result = fl_buf_printf(out, "{\"version\":%d,\"probes\":[", FL_APPPROBE_VERSION);
    for (size_t i = 0; i < table->count && result == 0; i++)
        result = print_probe(&table->probes[i], i == 0, out);
    if (result == 0)
        result = fl_buf_append_str(out, "]}");
    if (result == 0 && out->len - before > FL_APPPROBE_TEXT_MAX)
        result = -EMSGSIZE;
    if (result < 0)
        out->len = before;
    return result;
}

/* -- the path on the sidecar's port -- */

size_t fl_appprobe_path_print(struct fl_span container, enum fl_appprobe_kind kind, char ret_path[FL_APPPROBE_PATH_MAX])
{
    ret_path[0] = '\0';
    if (!fl_dns_is_label(container))
        return 0;
    const char *prefix = fl_appprobe_kind_is_lifecycle(kind) ? FL_APPPROBE_LIFECYCLE_PREFIX : FL_APPPROBE_HEALTH_PREFIX;
    return (size_t)snprintf(ret_path, FL_APPPROBE_PATH_MAX, "%s%.*s/%s", prefix, FL_SPAN_ARG(container),
                            kind_names[kind]);
}

bool fl_appprobe_path_parse(struct fl_span path, struct fl_span *ret_container, enum fl_appprobe_kind *ret_kind)
{
    const struct fl_span health = FL_SPAN(FL_APPPROBE_HEALTH_PREFIX), lifecycle = FL_SPAN(FL_APPPROBE_LIFECYCLE_PREFIX);
    bool is_lifecycle = fl_span_starts_with(path, lifecycle);
    if (!is_lifecycle && !fl_span_starts_with(path, health))
        return false;
    struct fl_span rest = fl_span_from(path, is_lifecycle ? lifecycle.len : health.len);
    size_t slash = fl_span_find(rest, '/');
    struct fl_span container = {rest.data, slash};
    if (slash == rest.len || !fl_dns_is_label(container))
        return false;
    for (unsigned kind = 0; kind < FL_APPPROBE_KIND_COUNT; kind++) {
        if (fl_appprobe_kind_is_lifecycle((enum fl_appprobe_kind)kind) == is_lifecycle &&
            fl_span_eq_str(fl_span_from(rest, slash + 1), kind_names[kind])) {
            *ret_container = container;
            *ret_kind = (enum fl_appprobe_kind)kind;
            return true;
        }
    }
    return false;
}
