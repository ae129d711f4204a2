#include "common/mesh/appmetrics.h"

#include "common/doc/table.h"
#include "common/mesh/port.h"

#include <errno.h>

#define DEPTH_MAX  2
#define VALUES_MAX 16

static const char *const schemes[] = {"http", "https", NULL};

static bool is_path(struct fl_span path)
{
    if (path.len == 0 || path.len > FL_APPMETRICS_PATH_MAX || path.data[0] != '/')
        return false;
    for (size_t i = 0; i < path.len; i++) {
        unsigned char byte = (unsigned char)path.data[i];
        if (byte <= 0x20 || byte >= 0x7f || byte == '#')
            return false;
    }
    return true;
}

static int fill(struct fl_appmetrics *metrics, struct fl_span path, struct fl_err *err)
{
    if (metrics->port == 0 || fl_port_is_ours(metrics->port))
        return fl_err_set(err, -EINVAL, "expected a port of the app, none of the sidecar's own, got %u", metrics->port);
    if (!is_path(path))
        return fl_err_set(err, -EINVAL,
                          "expected a path of at most %d bytes that begins with '/', without blanks, '#', control "
                          "characters and what is not ASCII",
                          FL_APPMETRICS_PATH_MAX);
    memcpy(metrics->path, path.data, path.len);
    metrics->path[path.len] = '\0';
    metrics->path_len = path.len;
    return 0;
}

int fl_appmetrics_set(struct fl_span scheme, struct fl_span port, struct fl_span path, uint16_t default_port,
                      struct fl_appmetrics *ret_metrics, struct fl_err *err)
{
    struct fl_appmetrics metrics = {.port = default_port};
    uint64_t number;
    if (scheme.len > 0 && !fl_span_eq_str(scheme, "http") && !fl_span_eq_str(scheme, "https"))
        return fl_err_set(err, -EINVAL, "expected the scheme http or https");
    metrics.https = fl_span_eq_str(scheme, "https");
    if (port.len > 0) {
        if (!fl_span_to_u64(port, 65535, &number) || number == 0)
            return fl_err_set(err, -EINVAL, "expected a port from 1 to 65535");
        metrics.port = (uint16_t)number;
    }
    int result = fill(&metrics, path.len > 0 ? path : FL_SPAN("/metrics"), err);
    if (result == 0)
        *ret_metrics = metrics;
    return result;
}

struct reading {
    struct fl_span path;
    int scheme;
    uint16_t port;
};

/* It was looked at before the table: a later version may have members that this one refuses. */
static int read_version(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)field;
    (void)row;
    int64_t version = 0;
    if (!fl_json_int(value, 1, 1000000, &version))
        return fl_reader_expected(reader, value, "the version of the app's metrics");
    if (version != FL_APPMETRICS_VERSION)
        return fl_err_set(reader->err, -ENOTSUP, "$.version: the app's metrics are of version %d; known is %d",
                          (int)version, FL_APPMETRICS_VERSION);
    return 0;
}

static const struct fl_row version_rows[] = {
    {"version", read_version, 0, FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_row spec_rows[] = {
    {"version", read_version, 0, FL_ROW_REQUIRED, 0, 0, NULL},
    {"scheme", fl_read_enum, offsetof(struct reading, scheme), FL_ROW_REQUIRED, 0, 0, schemes},
    {"port", fl_read_u16, offsetof(struct reading, port), FL_ROW_REQUIRED, 1, 65535, NULL},
    {"path", fl_read_string, offsetof(struct reading, path), FL_ROW_REQUIRED, 0, 0, NULL},
    {0},
};
static const struct fl_table version_table = {version_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct fl_table spec_table = {spec_rows, FL_TABLE_REFUSE_UNKNOWN};

int fl_appmetrics_parse(struct fl_span text, struct fl_appmetrics *ret_metrics, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = FL_APPMETRICS_TEXT_MAX, .depth_max = DEPTH_MAX, .values_max = VALUES_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    struct reading reading = {.scheme = 0};
    struct fl_reader reader;
    int result = fl_json_parse(text, &limits, &root, err);
    if (result < 0)
        return result;
    fl_reader_init(&reader, NULL, err);
    result = fl_table_read(&reader, root, &version_table, &reading);
    if (result == 0)
        result = fl_table_read(&reader, root, &spec_table, &reading);
    if (result < 0)
        return result;
    struct fl_appmetrics metrics = {.https = reading.scheme == 1, .port = reading.port};
    result = fill(&metrics, reading.path, err);
    if (result == 0)
        *ret_metrics = metrics;
    return result < 0 && err != NULL ? fl_err_prefix(err, "$") : result;
}

int fl_appmetrics_print(const struct fl_appmetrics *metrics, struct fl_buf *out)
{
    size_t before = out->len;
    int result = fl_buf_printf(out, "{\"version\":%d,\"scheme\":\"%s\",\"port\":%u,\"path\":", FL_APPMETRICS_VERSION,
                               schemes[metrics->https], metrics->port);
    if (result == 0)
        result = fl_buf_append_json_string(out, fl_span_make(metrics->path, metrics->path_len));
    if (result == 0)
        result = fl_buf_append_byte(out, '}');
    if (result < 0)
        out->len = before;
    return result;
}
