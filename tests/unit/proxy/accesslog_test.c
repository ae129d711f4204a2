/* proxy/telemetry/accesslog.h: lines are complete, escaped and bounded; writing never waits; drops are counted. */
#include "proxy/telemetry/accesslog.h"

#include "common/doc/json.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static struct proxy_address address(const char *text, uint16_t port)
{
    struct proxy_address parsed;
    assert_int_equal(proxy_address_parse(fl_span_str(text), port, &parsed), 0);
    return parsed;
}

static struct proxy_log_record base(void)
{
    return (struct proxy_log_record){.start_us = 1767323045678901,
                                     .duration_us = -1,
                                     .upstream_first_byte_us = -1,
                                     .protocol = PROXY_PROTOCOL_HTTP,
                                     .minor = 1,
                                     .grpc_status = -1};
}

static const char *print(const struct proxy_log_format *format, const struct proxy_log_record *record)
{
    static char line[PROXY_LOG_LINE_MAX + 1];
    size_t len = proxy_log_print(format, record, line);
    assert_true(len <= PROXY_LOG_LINE_MAX);
    assert_int_equal(line[len - 1], '\n');
    assert_ptr_equal(memchr(line, '\n', len), line + len - 1);
    line[len] = '\0';
    return line;
}

static void a_request_is_one_json_object(void **state)
{
    (void)state;
    struct proxy_address client = address("10.88.0.2", 41234), server = address("10.88.0.3", 8080),
                         local = address("::6", 5);
    struct proxy_log_record record = base();
    record.duration_us = 12345;
    record.upstream_first_byte_us = 999;
    record.direction = PROXY_LOG_INBOUND;
    record.method = FL_SPAN("GET");
    record.path = FL_SPAN("/a?b=\"c\"");
    record.authority = FL_SPAN("server.demo:8080");
    record.status = 503;
    record.flags = PROXY_FLAG_UPSTREAM_CONNECT_FAILURE;
    record.bytes_received = 1;
    record.bytes_sent = 18446744073709551615u;
    record.downstream_remote = &client;
    record.upstream_host = &server;
    record.upstream_local = &local;
    record.upstream_cluster = FL_SPAN("inbound");
    record.source_principal = FL_SPAN("spiffe://cluster.local/ns/demo/sa/client");
    record.tls_version = FL_SPAN("TLSv1.3");
    record.connection_id = 7;
    assert_string_equal(
        print(NULL, &record),
        "{\"start_time\":\"2026-01-02T03:04:05.678Z\",\"direction\":\"inbound\",\"protocol\":\"HTTP/"
        "1.1\",\"method\":\"GET\","
        "\"authority\":\"server.demo:8080\",\"path\":\"/"
        "a?b=\\\"c\\\"\",\"response_code\":503,\"response_flags\":\"UF\","
        "\"bytes_received\":1,\"bytes_sent\":18446744073709551615,\"duration\":12.345,\"upstream_service_time\":0.999,"
        "\"downstream_remote_address\":\"10.88.0.2:41234\",\"upstream_host\":\"10.88.0.3:8080\","
        "\"upstream_local_address\":\"[::6]:5\",\"upstream_cluster\":\"inbound\","
        "\"source_principal\":\"spiffe://cluster.local/ns/demo/sa/"
        "client\",\"tls_version\":\"TLSv1.3\",\"connection_id\":7}\n");
}

static void a_connection_has_no_http_in_its_line(void **state)
{
    (void)state;
    struct proxy_log_record record = base();
    record.protocol = PROXY_PROTOCOL_TCP;
    assert_string_equal(print(NULL, &record), "{\"start_time\":\"2026-01-02T03:04:05.678Z\",\"protocol\":\"TCP\","
                                              "\"response_flags\":\"-\",\"bytes_received\":0,\"bytes_sent\":0}\n");
}

static void times_are_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        uint64_t us;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782400000000, "2000-02-29T00:00:00.000Z"},
        {951868799999999, "2000-02-29T23:59:59.999Z"},
        {4107542400000000, "2100-03-01T00:00:00.000Z"},
        {1735689599000000, "2024-12-31T23:59:59.000Z"},
        {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_log_record record = base();
        record.start_us = rows[i].us;
        char want[64];
        snprintf(want, sizeof(want), "{\"start_time\":\"%s\"", rows[i].text);
        if (strncmp(print(NULL, &record), want, strlen(want)) != 0)
            fail_msg("%s", rows[i].text);
    }
}

static struct fl_json *parse(const char *line)
{
    struct fl_json *json = NULL;
    struct fl_err err;
    if (fl_json_parse(fl_span_str(line), NULL, &json, &err) < 0)
        fail_msg("%s: %s", err.text, line);
    return json;
}

/* Every text as long as can be, each byte of the worst kind: the object is whole, and no field is left out. */
static void the_worst_record_fits(void **state)
{
    (void)state;
    static const char *const kinds[] = {"\x01", "\xff", "\xe2\x82\xac", "a", "\"", "\n"};
    struct proxy_address v6 = address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535);
    for (size_t kind = 0; kind < FL_COUNT(kinds); kind++) {
        static char text[30000];
        size_t unit = strlen(kinds[kind]);
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = kinds[kind][i % unit];
        struct fl_span all = fl_span_make(text, sizeof(text));
        struct proxy_log_record record = base();
        record.direction = PROXY_LOG_OUTBOUND;
        record.status = 999;
        record.grpc_status = INT32_MAX;
        record.flags = (1u << PROXY_FLAGS) - 1;
        record.duration_us = record.upstream_first_byte_us = INT64_MAX;
        record.bytes_received = record.bytes_sent = record.connection_id = UINT64_MAX;
        record.downstream_remote = record.downstream_local = record.upstream_host = record.upstream_local = &v6;
        record.method = record.path = record.authority = record.user_agent = record.request_id = all;
        record.forwarded_for = record.traceparent = record.details = record.transport_failure = all;
        record.upstream_cluster = record.route_name = record.listener = record.server_name = all;
        record.source_principal = record.destination_principal = record.source_workload = all;
        record.source_namespace = record.destination_workload = record.destination_namespace = all;
        record.tls_version = record.alpn = all;
        const char *line = print(NULL, &record);
        struct fl_json *json = parse(line);
        assert_int_equal(fl_json_count(json), 36);
        fl_json_free(json);
        assert_non_null(strstr(line, ",\"connection_id\":18446744073709551615}\n"));
    }
}

static struct proxy_log_format *compile(const char *text)
{
    struct proxy_log_format *format = NULL;
    struct fl_err err = {0};
    if (proxy_log_format_text(fl_span_str(text), &format, &err) < 0)
        fail_msg("%s", err.text);
    return format;
}

static void text_formats(void **state)
{
    (void)state;
    struct proxy_address client = address("10.0.0.1", 5), v6 = address("fd00::1", 80);
    static struct proxy_message message;
    proxy_message_init(&message);
    assert_int_equal(proxy_headers_add(&message.headers, FL_SPAN("X-Forwarded-For"), FL_SPAN("1.2.3.4\"")), 0);
    assert_int_equal(proxy_headers_add(&message.headers, FL_SPAN("x-b"), FL_SPAN("0123456789")), 0);
    struct proxy_log_record record = base();
    record.request = &message;
    record.method = FL_SPAN("GET");
    record.path = FL_SPAN("/p\n\xff");
    record.status = 200;
    record.duration_us = 4999;
    record.downstream_remote = &client;
    record.downstream_local = &v6;
    static const struct {
        const char *format, *line;
    } rows[] = {
        {"[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE%\n",
         "[2026-01-02T03:04:05.678Z] \"GET /p\\n\xef\xbf\xbd HTTP/1.1\" 200\n"},
        {"%REQ(x-b):4%|%REQ(x-a?x-b):2%|%REQ(x-none)%|%RESP(x-b)%", "0123|01|-|-\n"},
        {"%REQ(x-forwarded-for)%", "1.2.3.4\\\"\n"},
        {"100%% %DURATION% %BYTES_SENT% %RESPONSE_FLAGS%", "100% 4 0 -\n"},
        {"%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1:5 10.0.0.1\n"},
        {"%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_HOST%",
         "[fd00::1]:80 fd00::1 -\n"},
        {"%UPSTREAM_CLUSTER% %ROUTE_NAME% %GRPC_STATUS(NUMBER)% %CONNECTION_ID%", "- - - -\n"},
        {"", "\n"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_log_format *format = compile(rows[i].format);
        assert_string_equal(print(format, &record), rows[i].line);
        proxy_log_format_free(format);
    }
}

static void formats_that_are_not_understood_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"%",         "a %REQ(x",         "%REQ%",           "%REQ()%",
                                       "%NOPE%",    "%DURATION(x)%",    "%REQ(x):y%",      "%REQ(x):99999%",
                                       "%REQ(x)y%", "%START_TIME(%s)%", "%RESPONSE_CODE:%"};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_log_format *format = NULL;
        struct fl_err err = {0};
        if (proxy_log_format_text(fl_span_str(rows[i]), &format, &err) != -EINVAL || err.text[0] == '\0')
            fail_msg("%s", rows[i]);
    }
}

#define FIELD(key, text)                                                                                               \
    {                                                                                                                  \
        {key, sizeof(key) - 1},                                                                                        \
        {                                                                                                              \
            text, sizeof(text) - 1                                                                                     \
        }                                                                                                              \
    }
static const struct proxy_log_json_field json_fields[] = {
    FIELD("code", "%RESPONSE_CODE%"), FIELD("who\"", "%ROUTE_NAME%"),     FIELD("path", "p=%REQ(:PATH)%"),
    FIELD("none", "%UPSTREAM_HOST%"), FIELD("mixed", "%UPSTREAM_HOST%!"), FIELD("grpc", "%GRPC_STATUS(NUMBER)%"),
    FIELD("quote", "\"%%\""),
};

static void json_formats(void **state)
{
    (void)state;
    struct proxy_log_format *format = NULL;
    struct proxy_log_record record = base();
    record.status = 404;
    record.route_name = FL_SPAN("a\"b");
    record.path = FL_SPAN("/x");
    assert_int_equal(proxy_log_format_json(json_fields, FL_COUNT(json_fields), &format, NULL), 0);
    assert_string_equal(print(format, &record), "{\"code\":404,\"who\\\"\":\"a\\\"b\",\"path\":\"p=/x\",\"none\":null,"
                                                "\"mixed\":\"-!\",\"grpc\":null,\"quote\":\"\\\"%\\\"\"}\n");
    proxy_log_format_free(format);
    assert_int_equal(proxy_log_format_json(NULL, 0, &format, NULL), 0);
    assert_string_equal(print(format, &record), "{}\n");
    proxy_log_format_free(format);
}

static void a_full_line_of_json_stays_valid(void **state)
{
    (void)state;
    static char text[60000];
    memset(text, '\\', sizeof(text));
    struct proxy_log_json_field fields[12];
    for (size_t i = 0; i < FL_COUNT(fields); i++)
        fields[i] = (struct proxy_log_json_field)FIELD("key", "%REQ(:PATH)%");
    static char keys[FL_COUNT(fields)][8];
    for (size_t i = 0; i < FL_COUNT(fields); i++)
        fields[i].key = fl_span_make(keys[i], (size_t)snprintf(keys[i], sizeof(keys[i]), "k%zu", i));
    struct proxy_log_format *format = NULL;
    assert_int_equal(proxy_log_format_json(fields, FL_COUNT(fields), &format, NULL), 0);
    for (size_t len = 0; len < 1200; len += 7) {
        struct proxy_log_record record = base();
        record.path = fl_span_make(text, len);
        fl_json_free(parse(print(format, &record)));
    }
    proxy_log_format_free(format);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_log_format *format = NULL;
        int result = proxy_log_format_json(json_fields, FL_COUNT(json_fields), &format, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_log_format_free(format);
    }
    struct proxy_log log;
    struct proxy_log_record record = base();
    proxy_log_init(&log, open("/dev/null", O_WRONLY | O_CLOEXEC));
    fail_at(1);
    proxy_log_write(&log, NULL, &record);
    fail_stop();
    assert_int_equal(log.dropped, 1);
    assert_int_equal(proxy_log_flush(&log), 0);
    close(log.fd);
    proxy_log_done(&log);
}

static size_t count_lines(int fd, struct fl_buf *text)
{
    fl_buf_init(text, 8 << 20);
    assert_int_equal(fl_buf_read_fd(text, fd), 0);
    size_t lines = 0;
    for (size_t i = 0; i < text->len; i++)
        lines += text->data[i] == '\n';
    return lines;
}

/* A reader that does not read: lines pile up to the bound, then are dropped; what came through is whole lines. */
static void a_slow_reader_costs_lines_and_nothing_else(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    for (int blocking = 0; blocking < 2; blocking++) {
        struct proxy_log log;
        struct proxy_log_record record = base();
        static char path[700];
        memset(path, 'p', sizeof(path));
        record.path = fl_span_make(path, sizeof(path));
        if (blocking == 0)
            assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
        proxy_log_init(&log, ends[1]);
        int result = 0;
        for (int i = 0; i < 1000; i++) {
            proxy_log_write(&log, NULL, &record);
            result = proxy_log_flush(&log);
        }
        assert_int_equal(result, 1);
        assert_true(log.dropped > 0 && log.cap <= PROXY_LOG_BUFFER_MAX);
        assert_int_equal(log.lines + log.dropped, 1000);
        int queued = log.len > 0;
        assert_true(queued);
        uint64_t lines = log.lines, waiting = 0;
        for (size_t i = 0; i < log.len; i++)
            waiting += log.buffer[i] == '\n';
        proxy_log_done(&log);
        close(ends[1]);
        struct fl_buf text;
        assert_int_equal(count_lines(ends[0], &text), lines - waiting);
        fl_buf_done(&text);
        close(ends[0]);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    }
    close(ends[0]);
    close(ends[1]);
}

static void what_waited_goes_out_when_there_is_room_again(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    struct proxy_log log;
    struct proxy_log_record record = base();
    proxy_log_init(&log, ends[1]);
    do
        proxy_log_write(&log, NULL, &record);
    while (proxy_log_flush(&log) == 0);
    assert_true(log.len > 0);
    static char sink[1 << 20];
    assert_true(read(ends[0], sink, sizeof(sink)) > 0);
    assert_int_equal(proxy_log_flush(&log), 0);
    assert_int_equal(log.cap, PROXY_LOG_BUFFER_MIN);
    assert_int_equal(log.dropped, 0);
    proxy_log_done(&log);
    close(ends[0]);
    close(ends[1]);
}

static void a_broken_file_is_told_and_counted(void **state)
{
    (void)state;
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    struct proxy_log log;
    struct proxy_log_record record = base();
    proxy_log_init(&log, ends[1]);
    proxy_log_write(&log, NULL, &record);
    proxy_log_write(&log, NULL, &record);
    assert_int_equal(proxy_log_flush(&log), -EPIPE);
    assert_int_equal(log.dropped, 2);
    assert_int_equal(proxy_log_flush(&log), 0);
    proxy_log_done(&log);
    close(ends[1]);
}

static void files_are_appended_to(void **state)
{
    (void)state;
    char path[] = "/tmp/fairlead-accesslog-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct proxy_log_record record = base();
    for (int i = 0; i < 2; i++) {
        struct proxy_log log;
        assert_int_equal(proxy_log_open(&log, path, NULL), 0);
        proxy_log_write(&log, NULL, &record);
        proxy_log_done(&log); /* flushes */
    }
    struct fl_buf text;
    assert_int_equal(count_lines(fd, &text), 2);
    fl_buf_done(&text);
    close(fd);
    unlink(path);
    struct proxy_log log;
    struct fl_err err = {0};
    assert_int_equal(proxy_log_open(&log, "/nowhere/at/all", &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

static void a_renamed_file_is_left_for_a_new_one(void **state)
{
    (void)state;
    char path[] = "/tmp/fairlead-accesslog-XXXXXX", old[sizeof(path) + 2];
    int fd = mkstemp(path), second;
    assert_true(fd >= 0);
    snprintf(old, sizeof(old), "%s.1", path);
    struct proxy_log_record record = base();
    struct proxy_log log;
    struct fl_err err = {0};
    struct fl_buf text;
    assert_int_equal(proxy_log_open(&log, path, NULL), 0);
    proxy_log_write(&log, NULL, &record); /* waits: it belongs into the old file */
    assert_int_equal(rename(path, old), 0);
    assert_int_equal(proxy_log_reopen(&log, path, &err), 0);
    proxy_log_write(&log, NULL, &record);
    assert_int_equal(proxy_log_reopen(&log, "/nowhere/at/all", &err), -ENOENT); /* goes on with what it has */
    proxy_log_write(&log, NULL, &record);
    proxy_log_done(&log);
    assert_int_equal(count_lines(fd, &text), 1);
    fl_buf_done(&text);
    second = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(count_lines(second, &text), 2);
    fl_buf_done(&text);
    close(fd);
    close(second);
    unlink(path);
    unlink(old);
}

static void the_standard_descriptors_keep_their_flags(void **state)
{
    (void)state;
    int before = fcntl(STDOUT_FILENO, F_GETFL);
    struct proxy_log log;
    assert_int_equal(proxy_log_open(&log, "/dev/stdout", NULL), 0);
    assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL), before);
    proxy_log_done(&log);
    assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_one_json_object),
        cmocka_unit_test(a_connection_has_no_http_in_its_line),
        cmocka_unit_test(times_are_rfc_3339),
        cmocka_unit_test(the_worst_record_fits),
        cmocka_unit_test(text_formats),
        cmocka_unit_test(formats_that_are_not_understood_are_refused),
        cmocka_unit_test(json_formats),
        cmocka_unit_test(a_full_line_of_json_stays_valid),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(a_slow_reader_costs_lines_and_nothing_else),
        cmocka_unit_test(what_waited_goes_out_when_there_is_room_again),
        cmocka_unit_test(a_broken_file_is_told_and_counted),
        cmocka_unit_test(files_are_appended_to),
        cmocka_unit_test(a_renamed_file_is_left_for_a_new_one),
        cmocka_unit_test(the_standard_descriptors_keep_their_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
