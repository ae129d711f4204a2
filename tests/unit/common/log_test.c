/* The log writes into a pipe here; each line is read back and parsed by cJSON, which did not make it. */
#include "common/base/log.h"

#include "common/base/cleanup.h"
#include "common/base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

static int reader;
static int writer;

static int open_pipe(void **state)
{
    (void)state;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[1], F_SETPIPE_SZ, 65536) < 0)
        return -1;
    reader = ends[0];
    writer = ends[1];
    fl_log_open("log_test", writer, FL_LOG_JSON, FL_LOG_TRACE);
    return 0;
}

static int close_pipe(void **state)
{
    (void)state;
    if (reader >= 0)
        close(reader);
    close(writer);
    return 0;
}

/* What one write put there, NUL-terminated. */
static void read_line(char line[FL_LOG_LINE_MAX + 1])
{
    ssize_t len = read(reader, line, FL_LOG_LINE_MAX);
    assert_true(len > 0);
    line[len] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    for (struct fl_span rest = fl_span_str(line); rest.len > 0;) {
        size_t length = fl_utf8_length(rest);
        if (length == 0)
            fail_msg("not UTF-8: %s", line);
        rest = fl_span_from(rest, length);
    }
}

static cJSON *read_json(void)
{
    char line[FL_LOG_LINE_MAX + 1];
    read_line(line);
    cJSON *json = cJSON_ParseWithOpts(line, NULL, true);
    if (json == NULL)
        fail_msg("not JSON: %s", line);
    return json;
}

static const char *text_of(const cJSON *json, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
}

static double number_of(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return item != NULL ? cJSON_GetNumberValue(item) : -1;
}

static bool is_cut(const cJSON *json)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "cut"));
}

static void test_members(void **state)
{
    (void)state;
    fl_log(FL_LOG_INFO, "listening", FL_LOG_STR("address", "127.0.0.1"), FL_LOG_NUM("port", 15001),
           FL_LOG_SPAN("nothing", ((struct fl_span){NULL, 0})));
    cJSON *json = read_json();
    const char *time = text_of(json, "time");
    assert_non_null(time);
    assert_int_equal(strlen(time), strlen("2026-01-02T03:04:05.678Z"));
    assert_string_equal(text_of(json, "level"), "info");
    assert_string_equal(text_of(json, "program"), "log_test");
    assert_string_equal(text_of(json, "message"), "listening");
    assert_string_equal(text_of(json, "address"), "127.0.0.1");
    assert_string_equal(text_of(json, "nothing"), "");
    assert_true(number_of(json, "port") == 15001);
    assert_false(is_cut(json));
    cJSON_Delete(json);
}

static void test_levels(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int level; /* -1: refused */
    } rows[] = {
        {"error", FL_LOG_ERROR},
        {"warning", FL_LOG_WARNING},
        {"warn", FL_LOG_WARNING},
        {"info", FL_LOG_INFO},
        {"debug", FL_LOG_DEBUG},
        {"trace", FL_LOG_TRACE},
        {"critical", FL_LOG_ERROR},
        {"off", FL_LOG_ERROR},
        {"Info", -1},
        {"", -1},
        {"infos", -1},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        enum fl_log_level level = FL_LOG_TRACE;
        assert_int_equal(fl_log_level_parse(fl_span_str(rows[i].text), &level), rows[i].level >= 0);
        assert_int_equal(level, rows[i].level >= 0 ? rows[i].level : FL_LOG_TRACE);
    }
    enum fl_log_format format = FL_LOG_JSON;
    assert_true(fl_log_format_parse(FL_SPAN("text"), &format));
    assert_int_equal(format, FL_LOG_TEXT);
    assert_true(fl_log_format_parse(FL_SPAN("json"), &format));
    assert_int_equal(format, FL_LOG_JSON);
    assert_false(fl_log_format_parse(FL_SPAN("xml"), &format));
}

static void test_level_decides(void **state)
{
    (void)state;
    fl_log_set_level(FL_LOG_WARNING);
    fl_log_message(FL_LOG_INFO, "not written");
    fl_log_write(FL_LOG_DEBUG, "not written either", NULL, 0);
    fl_log_message(FL_LOG_WARNING, "written");
    cJSON *json = read_json();
    assert_string_equal(text_of(json, "message"), "written");
    cJSON_Delete(json);
}

static void test_every_byte_as_value(void **state)
{
    (void)state;
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    fl_log(FL_LOG_INFO, "bytes", FL_LOG_SPAN("value", fl_span_make(all, sizeof(all))), FL_LOG_NUM("after", 1));
    cJSON *json = read_json();
    assert_true(number_of(json, "after") == 1);
    cJSON_Delete(json);
}

static void test_hostile_values_forge_nothing(void **state)
{
    (void)state;
    static const char *const values[] = {"\"}\n{\"level\":\"error\"", "\\", "\\\"", "\n", "\xc3\"", "\xf0\x9f\x92"};
    for (size_t i = 0; i < FL_COUNT(values); i++) {
        fl_log(FL_LOG_INFO, values[i], FL_LOG_STR("value", values[i]));
        cJSON *json = read_json();
        assert_string_equal(text_of(json, "level"), "info");
        assert_string_equal(text_of(json, "message"), text_of(json, "value"));
        cJSON_Delete(json);
    }
}

/* Each length lets the cut fall on another byte of the escapes and of the characters. */
static void test_long_values_are_shortened(void **state)
{
    (void)state;
    static const char *const units[] = {"x", "\xc3\xa9", "\xf0\x9f\xa7\xad", "\x01", "\"", "\xff"};
    for (size_t unit = 0; unit < FL_COUNT(units); unit++) {
        for (size_t before = 0; before < 8; before++) {
            char value[6000] = "";
            memset(value, 'y', before);
            while (strlen(value) < 5000)
                snprintf(value + strlen(value), sizeof(value) - strlen(value), "%s", units[unit]);
            fl_log(FL_LOG_INFO, value, FL_LOG_STR("long", value), FL_LOG_NUM("after", 7));
            cJSON *json = read_json();
            assert_true(is_cut(json));
            assert_true(number_of(json, "after") == 7);
            assert_true(strlen(text_of(json, "long")) >= FL_LOG_VALUE_MAX / 6 - 1);
            assert_true(strlen(text_of(json, "message")) >= FL_LOG_VALUE_MAX / 6 - 1);
            cJSON_Delete(json);
        }
    }
}

/* Values that just fit are whole, one byte more is cut. */
static void test_the_border_of_a_value(void **state)
{
    (void)state;
    for (size_t len = FL_LOG_VALUE_MAX - 1; len <= FL_LOG_VALUE_MAX + 1; len++) {
        char value[FL_LOG_VALUE_MAX + 2];
        memset(value, 'v', len);
        value[len] = '\0';
        fl_log(FL_LOG_INFO, "m", FL_LOG_STR("value", value));
        cJSON *json = read_json();
        assert_int_equal(is_cut(json), len > FL_LOG_VALUE_MAX);
        assert_int_equal(strlen(text_of(json, "value")), len > FL_LOG_VALUE_MAX ? FL_LOG_VALUE_MAX : len);
        cJSON_Delete(json);
    }
}

/* Fields of every size up to and past the end of the line: valid JSON each time, never more than a line. */
static void test_many_fields(void **state)
{
    (void)state;
    char value[400];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (size_t len = 0; len < sizeof(value); len++) {
        struct fl_log_field fields[16];
        for (size_t i = 0; i < FL_COUNT(fields); i++)
            fields[i] = FL_LOG_SPAN("key_of_some_length", fl_span_make(value, len));
        fields[15] = FL_LOG_NUM("n", INT64_MIN);
        fl_log_write(FL_LOG_INFO, "many", fields, FL_COUNT(fields));
        cJSON_Delete(read_json());
    }
}

static void test_text_is_one_line(void **state)
{
    (void)state;
    char line[FL_LOG_LINE_MAX + 1];
    fl_log_open("log_test", writer, FL_LOG_TEXT, FL_LOG_INFO);
    fl_log(FL_LOG_WARNING, "two\nlines", FL_LOG_STR("key", "a\"b\n"), FL_LOG_NUM("n", -5));
    read_line(line);
    assert_string_equal(line + strlen("2026-01-02T03:04:05.678Z"),
                        " warning log_test: two\\nlines key=\"a\\\"b\\n\" n=-5\n");
}

static unsigned drain(void)
{
    unsigned lines = 0;
    char bytes[8192];
    assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
    for (ssize_t len; (len = read(reader, bytes, sizeof(bytes))) > 0;) {
        for (ssize_t i = 0; i < len; i++)
            lines += bytes[i] == '\n';
    }
    assert_int_equal(fcntl(reader, F_SETFL, 0), 0);
    return lines;
}

static void test_full_pipe_drops_and_counts(void **state)
{
    (void)state;
    uint64_t before = fl_log_dropped();
    unsigned written = 0;
    while (fl_log_dropped() < before + 3) {
        fl_log_message(FL_LOG_INFO, "nobody reads");
        written++;
    }
    assert_int_equal(drain(), written - 3);
    fl_log_message(FL_LOG_INFO, "read again");
    cJSON *json = read_json();
    assert_true(number_of(json, "dropped") == 3);
    cJSON_Delete(json);
    fl_log_message(FL_LOG_INFO, "told once");
    json = read_json();
    assert_true(number_of(json, "dropped") == -1);
    cJSON_Delete(json);
}

/* SIGPIPE would end this test. */
static void test_no_reader(void **state)
{
    (void)state;
    uint64_t before = fl_log_dropped();
    close(reader);
    reader = -1;
    fl_log_message(FL_LOG_INFO, "into nothing");
    assert_int_equal(fl_log_dropped(), before + 1);
}

static void test_errno_is_kept(void **state)
{
    (void)state;
    fl_log_open("log_test", 987654, FL_LOG_JSON, FL_LOG_INFO);
    errno = EXDEV;
    fl_log_message(FL_LOG_INFO, "no such descriptor");
    assert_int_equal(errno, EXDEV);
}

/* A program whose parent closed its stderr must not log into the next socket that it opens. */
static void test_closed_stderr_is_no_socket(void **state)
{
    (void)state;
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_true(saved > STDERR_FILENO);
    close(STDERR_FILENO);
    fl_log_open("log_test", STDERR_FILENO, FL_LOG_JSON, FL_LOG_INFO);
    int next = open("/dev/zero", O_RDWR | O_CLOEXEC);
    fl_log_message(FL_LOG_INFO, "to nobody");
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_true(next > STDERR_FILENO);
    close(saved);
    close(next);
}

int main(void)
{
#define WITH_PIPE(test) cmocka_unit_test_setup_teardown(test, open_pipe, close_pipe)
    const struct CMUnitTest tests[] = {
        WITH_PIPE(test_members),
        WITH_PIPE(test_levels),
        WITH_PIPE(test_level_decides),
        WITH_PIPE(test_every_byte_as_value),
        WITH_PIPE(test_hostile_values_forge_nothing),
        WITH_PIPE(test_long_values_are_shortened),
        WITH_PIPE(test_the_border_of_a_value),
        WITH_PIPE(test_many_fields),
        WITH_PIPE(test_text_is_one_line),
        WITH_PIPE(test_full_pipe_drops_and_counts),
        WITH_PIPE(test_no_reader),
        WITH_PIPE(test_errno_is_kept),
        WITH_PIPE(test_closed_stderr_is_no_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
