#include "common/mesh/capture.h"

#include "common/doc/table.h"
#include "common/mesh/lists.h"
#include "common/mesh/port.h"

#include <errno.h>

#define DEPTH_MAX 4
/* More than a spec can need. */
#define VALUES_MAX (32 + 5 * FL_CAPTURE_RANGES + 2 * FL_CAPTURE_CIDRS + FL_CAPTURE_INTERFACES)

void fl_capture_defaults(struct fl_capture *capture)
{
    *capture = (struct fl_capture){
        .uid = FL_PROXY_UID,
        .gid = FL_PROXY_GID,
        .inbound_port = FL_PORT_INBOUND,
        .outbound_port = FL_PORT_OUTBOUND,
        .inbound_include = {.all = true},
        .outbound_include_cidrs = {.all = true},
        .dns_port = FL_PORT_DNS,
        .ipv6 = true,
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

static int merge_uids(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_uid_list_merge(list, item, err);
}

static int merge_interfaces(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_interface_list_merge(list, item, err);
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

static int read_uids(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return read_items(reader, value, field, merge_uids);
}

static int read_interfaces(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return read_items(reader, value, field, merge_interfaces);
}

#define OFFSET(member) offsetof(struct fl_capture, member)

static const struct fl_row inbound_rows[] = {
    {"port", fl_read_u16, OFFSET(inbound_port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {"includePorts", read_ports, OFFSET(inbound_include), FL_ROW_REQUIRED, 0, 0, NULL},
    {"excludePorts", read_ports, OFFSET(inbound_exclude), FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
#define OUTBOUND_ROWS                                                                                                  \
    {"port", fl_read_u16, OFFSET(outbound_port), FL_ROW_REQUIRED, 1, 65535, NULL},                                     \
        {"includeCIDRs", read_cidrs, OFFSET(outbound_include_cidrs), FL_ROW_REQUIRED, 0, 0, NULL},                     \
        {"excludeCIDRs", read_cidrs, OFFSET(outbound_exclude_cidrs), FL_ROW_REQUIRED, 0, 0, NULL},                     \
        {"includePorts", read_ports, OFFSET(outbound_include_ports), FL_ROW_REQUIRED, 0, 0, NULL},                     \
    {                                                                                                                  \
        "excludePorts", read_ports, OFFSET(outbound_exclude_ports), FL_ROW_REQUIRED, 0, 0, NULL                        \
    }

static const struct fl_row outbound_rows_1[] = {OUTBOUND_ROWS, {0}};
static const struct fl_row outbound_rows_2[] = {
    OUTBOUND_ROWS,
    {"excludeUIDs", read_uids, OFFSET(outbound_exclude_uids), FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_row dns_rows[] = {
    {"enabled", fl_read_bool, OFFSET(dns), FL_ROW_REQUIRED, 0, 0, NULL},
    {"port", fl_read_u16, OFFSET(dns_port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {0},
};
static const struct fl_table inbound_table = {inbound_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_table outbound_table_1 = {outbound_rows_1, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_table outbound_table_2 = {outbound_rows_2, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_table dns_table = {dns_rows, FL_TABLE_REFUSE_UNKNOWN};

/* It was looked at before the table: it says which table. */
static int skip_version(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)reader;
    (void)value;
    (void)field;
    (void)row;
    return 0;
}

/* The nested tables fill the same struct: offset 0. */
#define SPEC_HEAD_ROWS                                                                                                 \
    {"version", skip_version, 0, FL_ROW_REQUIRED, 0, 0, NULL},                                                         \
        {"uid", fl_read_u32, OFFSET(uid), FL_ROW_REQUIRED, 1, FL_UID_MAX, NULL},                                       \
    {                                                                                                                  \
        "gid", fl_read_u32, OFFSET(gid), FL_ROW_REQUIRED, 1, FL_UID_MAX, NULL                                          \
    }

static const struct fl_row spec_rows_1[] = {
    SPEC_HEAD_ROWS,
    {"inbound", fl_read_object, 0, FL_ROW_REQUIRED, 0, 0, &inbound_table},
    {"outbound", fl_read_object, 0, FL_ROW_REQUIRED, 0, 0, &outbound_table_1},
    {0},
};
static const struct fl_row spec_rows_2[] = {
    SPEC_HEAD_ROWS,
    {"ipv6", fl_read_bool, OFFSET(ipv6), FL_ROW_REQUIRED, 0, 0, NULL},
    {"dropInvalid", fl_read_bool, OFFSET(drop_invalid), FL_ROW_REQUIRED, 0, 0, NULL},
    {"excludeInterfaces", read_interfaces, OFFSET(exclude_interfaces), FL_ROW_REQUIRED, 0, 0, NULL},
    {"inbound", fl_read_object, 0, FL_ROW_REQUIRED, 0, 0, &inbound_table},
    {"outbound", fl_read_object, 0, FL_ROW_REQUIRED, 0, 0, &outbound_table_2},
    {"dns", fl_read_object, 0, FL_ROW_REQUIRED, 0, 0, &dns_table},
    {0},
};
static const struct fl_table spec_tables[] = {
    [1] = {spec_rows_1, FL_TABLE_REFUSE_UNKNOWN},
    [FL_CAPTURE_VERSION] = {spec_rows_2, FL_TABLE_REFUSE_UNKNOWN},
};

static int read_version(struct fl_reader *reader, const struct fl_json *root, int64_t *ret_version)
{
    int64_t version = 0;
    const struct fl_json *value = fl_json_get(root, "version");
    if (!fl_json_is(root, FL_JSON_OBJECT))
        return fl_reader_expected(reader, root, "an object");
    size_t mark = fl_reader_enter(reader, FL_SPAN("version"));
    if (!fl_json_int(value, 1, 1000000, &version))
        return fl_reader_expected(reader, value, "the version of a capture spec");
    fl_reader_leave(reader, mark);
    if (version > FL_CAPTURE_VERSION)
        return fl_err_set(reader->err, -ENOTSUP, "$.version: the capture spec is of version %d; known are 1 to %d",
                          (int)version, FL_CAPTURE_VERSION);
    *ret_version = version;
    return 0;
}

static int check_ports(const struct fl_capture *capture, struct fl_err *err)
{
    if (capture->inbound_port == capture->outbound_port)
        return fl_err_set(err, -EINVAL, "$.outbound.port: expected another port than inbound's, got %u",
                          capture->outbound_port);
    if (capture->dns && (capture->dns_port == capture->inbound_port || capture->dns_port == capture->outbound_port))
        return fl_err_set(err, -EINVAL, "$.dns.port: expected another port than inbound's and outbound's, got %u",
                          capture->dns_port);
    if (capture->dns && capture->dns_port == 53)
        return fl_err_set(err, -EINVAL, "$.dns.port: expected another port than 53, which is what is captured");
    return 0;
}

static int read_spec(const struct fl_json *root, struct fl_capture *capture, struct fl_err *err)
{
    struct fl_reader reader;
    int64_t version = 0;
    fl_reader_init(&reader, NULL, err);
    int result = read_version(&reader, root, &version);
    if (result == 0)
        result = fl_table_read(&reader, root, &spec_tables[version], capture);
    return result < 0 ? result : check_ports(capture, err);
}

int fl_capture_parse(struct fl_span text, struct fl_capture *ret_capture, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = FL_CAPTURE_TEXT_MAX, .depth_max = DEPTH_MAX, .values_max = VALUES_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    struct fl_capture capture = {.ipv6 = true, .dns_port = FL_PORT_DNS}; /* what version 1 leaves unsaid */
    int result = fl_json_parse(text, &limits, &root, err);
    if (result == 0)
        result = read_spec(root, &capture, err);
    if (result == 0)
        *ret_capture = capture;
    return result;
}

/* Items need no escaping: digits, hex digits, '.', ':', '/', '-', and what names of interfaces may have. */
static int print_item(struct fl_buf *out, bool first, const char *item)
{
    return fl_buf_printf(out, "%s\"%s\"", first ? "" : ",", item);
}

static int print_ranges(struct fl_buf *out, const char *name, bool all, const struct fl_range *ranges, size_t count)
{
    int result = fl_buf_printf(out, ",\"%s\":[%s", name, all ? "\"*\"" : "");
    for (size_t i = 0; result == 0 && i < count; i++) {
        char text[FL_RANGE_PRINT_MAX];
        fl_range_print(&ranges[i], text);
        result = print_item(out, i == 0, text);
    }
    return result < 0 ? result : fl_buf_append_byte(out, ']');
}

static int print_ports(struct fl_buf *out, const char *name, const struct fl_port_list *list)
{
    return print_ranges(out, name, list->all, list->ranges, list->count);
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

static int print_head(struct fl_buf *out, const struct fl_capture *capture, int version)
{
    const struct fl_interface_list *interfaces = &capture->exclude_interfaces;
    int result = fl_buf_printf(out, "{\"version\":%d,\"uid\":%u,\"gid\":%u", version, capture->uid, capture->gid);
    if (result < 0 || version == 1)
        return result;
    result = fl_buf_printf(out, ",\"ipv6\":%s,\"dropInvalid\":%s,\"excludeInterfaces\":[",
                           capture->ipv6 ? "true" : "false", capture->drop_invalid ? "true" : "false");
    for (size_t i = 0; result == 0 && i < interfaces->count; i++)
        result = print_item(out, i == 0, interfaces->names[i]);
    return result < 0 ? result : fl_buf_append_byte(out, ']');
}

static int print_inbound(struct fl_buf *out, const struct fl_capture *capture)
{
    int result = fl_buf_printf(out, ",\"inbound\":{\"port\":%u", capture->inbound_port);
    if (result == 0)
        result = print_ports(out, "includePorts", &capture->inbound_include);
    if (result == 0)
        result = print_ports(out, "excludePorts", &capture->inbound_exclude);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

static int print_outbound(struct fl_buf *out, const struct fl_capture *capture, int version)
{
    int result = fl_buf_printf(out, ",\"outbound\":{\"port\":%u", capture->outbound_port);
    if (result == 0)
        result = print_cidrs(out, "includeCIDRs", &capture->outbound_include_cidrs);
    if (result == 0)
        result = print_cidrs(out, "excludeCIDRs", &capture->outbound_exclude_cidrs);
    if (result == 0)
        result = print_ports(out, "includePorts", &capture->outbound_include_ports);
    if (result == 0)
        result = print_ports(out, "excludePorts", &capture->outbound_exclude_ports);
    if (result == 0 && version > 1)
        result = print_ranges(out, "excludeUIDs", false, capture->outbound_exclude_uids.ranges,
                              capture->outbound_exclude_uids.count);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

static int print_spec(const struct fl_capture *capture, struct fl_buf *out)
{
    int version = fl_capture_version(capture);
    int result = print_head(out, capture, version);
    if (result == 0)
        result = print_inbound(out, capture);
    if (result == 0)
        result = print_outbound(out, capture, version);
    if (result == 0 && version > 1)
        result = fl_buf_printf(out, ",\"dns\":{\"enabled\":%s,\"port\":%u}", capture->dns ? "true" : "false",
                               capture->dns_port);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

int fl_capture_version(const struct fl_capture *capture)
{
    bool plain = capture->ipv6 && !capture->drop_invalid && !capture->dns && capture->dns_port == FL_PORT_DNS &&
                 capture->exclude_interfaces.count == 0 && capture->outbound_exclude_uids.count == 0;
    return plain ? 1 : FL_CAPTURE_VERSION;
}

int fl_capture_print(const struct fl_capture *capture, struct fl_buf *out)
{
    size_t before = out->len;
    int result = print_spec(capture, out);
    if (result < 0)
        out->len = before;
    return result;
}
