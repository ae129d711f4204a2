#include "common/mesh/capture.h"

#include "common/doc/table.h"
#include "common/mesh/lists.h"
#include "common/mesh/port.h"

#include <errno.h>

#define DEPTH_MAX  4
#define VALUES_MAX (32 + 4 * FL_CAPTURE_RANGES + 2 * FL_CAPTURE_CIDRS) /* more than a spec can need */
#define ID_MAX     4294967294LL                                        /* the last one means "no id" to the kernel */

void fl_capture_defaults(struct fl_capture *capture)
{
    *capture = (struct fl_capture){
        .uid = FL_PROXY_UID,
        .gid = FL_PROXY_GID,
        .inbound_port = FL_PORT_INBOUND,
        .outbound_port = FL_PORT_OUTBOUND,
        .inbound_include = {.all = true},
        .outbound_include_cidrs = {.all = true},
    };
}

/* Items are strings, each handed to `merge` with the list. */
static int read_items(struct fl_reader *reader, const struct fl_json *array, void *list,
                      int (*merge)(void *list, struct fl_span item, struct fl_err *err))
{
    size_t index = 0;
    if (!fl_json_is(array, FL_JSON_ARRAY))
        return fl_reader_expected(reader, array, "an array");
    for (const struct fl_json *item = fl_json_first(array); item != NULL; item = fl_json_next(item), index++) {
        struct fl_err reason;
        int result = 0;
        size_t mark = fl_reader_enter_at(reader, index);
        if (!fl_json_is(item, FL_JSON_STRING))
            result = fl_reader_expected(reader, item, "a string");
        else if (merge(list, fl_json_string(item), &reason) < 0)
            result = fl_reader_fail(reader, item, "%s", reason.text);
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
    }
    return 0;
}

static int merge_ports(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_port_list_merge(list, item, err);
}

static int merge_cidrs(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_cidr_list_merge(list, item, err);
}

static int read_ports(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    int result = read_items(reader, value, field, merge_ports);
    fl_port_list_settle(field);
    return result;
}

static int read_cidrs(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    int result = read_items(reader, value, field, merge_cidrs);
    fl_cidr_list_settle(field);
    return result;
}

#define OFFSET(member) offsetof(struct fl_capture, member)

static const struct fl_row inbound_rows[] = {
    {"port", fl_read_u16, OFFSET(inbound_port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {"includePorts", read_ports, OFFSET(inbound_include), FL_ROW_REQUIRED, 0, 0, NULL},
    {"excludePorts", read_ports, OFFSET(inbound_exclude), FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_row outbound_rows[] = {
    {"port", fl_read_u16, OFFSET(outbound_port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {"includeCIDRs", read_cidrs, OFFSET(outbound_include_cidrs), FL_ROW_REQUIRED, 0, 0, NULL},
    {"excludeCIDRs", read_cidrs, OFFSET(outbound_exclude_cidrs), FL_ROW_REQUIRED, 0, 0, NULL},
    {"includePorts", read_ports, OFFSET(outbound_include_ports), FL_ROW_REQUIRED, 0, 0, NULL},
    {"excludePorts", read_ports, OFFSET(outbound_exclude_ports), FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_table inbound_table = {inbound_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_table outbound_table = {outbound_rows, FL_TABLE_REFUSE_UNKNOWN};

/* It was looked at before the table: a later version may have members that this one refuses. */
static int skip_version(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)reader;
    (void)value;
    (void)field;
    (void)row;
    return 0;
}

/* The nested tables fill the same struct: offset 0. */
static const struct fl_row spec_rows[] = {
    {"version", skip_version, 0, FL_ROW_REQUIRED, 0, 0, NULL},
    {"uid", fl_read_u32, OFFSET(uid), FL_ROW_REQUIRED, 1, ID_MAX, NULL},
    {"gid", fl_read_u32, OFFSET(gid), FL_ROW_REQUIRED, 1, ID_MAX, NULL},
    {"inbound", fl_read_object, 0, FL_ROW_REQUIRED, 0, 0, &inbound_table},
    {"outbound", fl_read_object, 0, FL_ROW_REQUIRED, 0, 0, &outbound_table},
    {0},
};
static const struct fl_table spec_table = {spec_rows, FL_TABLE_REFUSE_UNKNOWN};

static int check_version(struct fl_reader *reader, const struct fl_json *root)
{
    int64_t version = 0;
    const struct fl_json *value = fl_json_get(root, "version");
    if (!fl_json_is(root, FL_JSON_OBJECT))
        return fl_reader_expected(reader, root, "an object");
    size_t mark = fl_reader_enter(reader, FL_SPAN("version"));
    if (!fl_json_int(value, 1, 1000000, &version))
        return fl_reader_expected(reader, value, "the version of a capture spec");
    fl_reader_leave(reader, mark);
    if (version != FL_CAPTURE_VERSION)
        return fl_err_set(reader->err, -ENOTSUP, "$.version: the capture spec is of version %d; known is %d",
                          (int)version, FL_CAPTURE_VERSION);
    return 0;
}

static int read_spec(const struct fl_json *root, struct fl_capture *capture, struct fl_err *err)
{
    struct fl_reader reader;
    fl_reader_init(&reader, NULL, err);
    int result = check_version(&reader, root);
    if (result == 0)
        result = fl_table_read(&reader, root, &spec_table, capture);
    if (result == 0 && capture->inbound_port == capture->outbound_port)
        return fl_err_set(err, -EINVAL, "$.outbound.port: expected another port than inbound's, got %u",
                          capture->outbound_port);
    return result;
}

int fl_capture_parse(struct fl_span text, struct fl_capture *ret_capture, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = FL_CAPTURE_TEXT_MAX, .depth_max = DEPTH_MAX, .values_max = VALUES_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    struct fl_capture capture = {0};
    int result = fl_json_parse(text, &limits, &root, err);
    if (result == 0)
        result = read_spec(root, &capture, err);
    if (result == 0)
        *ret_capture = capture;
    return result;
}

/* Items need no escaping: digits, hex digits, '.', ':', '/', '-'. */
static int print_item(struct fl_buf *out, bool first, const char *item)
{
    return fl_buf_printf(out, "%s\"%s\"", first ? "" : ",", item);
}

static int print_ports(struct fl_buf *out, const char *name, const struct fl_port_list *list)
{
    int result = fl_buf_printf(out, ",\"%s\":[%s", name, list->all ? "\"*\"" : "");
    for (size_t i = 0; result == 0 && i < list->count; i++) {
        char text[FL_RANGE_PRINT_MAX];
        fl_port_range_print(&list->ranges[i], text);
        result = print_item(out, i == 0, text);
    }
    return result < 0 ? result : fl_buf_append_byte(out, ']');
}

static int print_cidrs(struct fl_buf *out, const char *name, const struct fl_cidr_list *list)
{
    int result = fl_buf_printf(out, ",\"%s\":[%s", name, list->all ? "\"*\"" : "");
    for (size_t i = 0; result == 0 && i < list->count; i++) {
        char text[FL_CIDR_PRINT_MAX];
        fl_cidr_print(&list->cidrs[i], text);
        result = print_item(out, i == 0, text);
    }
    return result < 0 ? result : fl_buf_append_byte(out, ']');
}

static int print_spec(const struct fl_capture *capture, struct fl_buf *out)
{
    int result = fl_buf_printf(out, "{\"version\":%d,\"uid\":%u,\"gid\":%u,\"inbound\":{\"port\":%u",
                               FL_CAPTURE_VERSION, capture->uid, capture->gid, capture->inbound_port);
    if (result == 0)
        result = print_ports(out, "includePorts", &capture->inbound_include);
    if (result == 0)
        result = print_ports(out, "excludePorts", &capture->inbound_exclude);
    if (result == 0)
        result = fl_buf_printf(out, "},\"outbound\":{\"port\":%u", capture->outbound_port);
    if (result == 0)
        result = print_cidrs(out, "includeCIDRs", &capture->outbound_include_cidrs);
    if (result == 0)
        result = print_cidrs(out, "excludeCIDRs", &capture->outbound_exclude_cidrs);
    if (result == 0)
        result = print_ports(out, "includePorts", &capture->outbound_include_ports);
    if (result == 0)
        result = print_ports(out, "excludePorts", &capture->outbound_exclude_ports);
    return result < 0 ? result : fl_buf_append_str(out, "}}");
}

int fl_capture_print(const struct fl_capture *capture, struct fl_buf *out)
{
    size_t before = out->len;
    int result = print_spec(capture, out);
    if (result < 0)
        out->len = before;
    return result;
}
