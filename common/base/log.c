#include "common/base/log.h"

#include "common/base/cleanup.h"
#include "common/base/escape.h"
#include "common/base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* A pipe whose reader is slow: a write of ≤ PIPE_BUF bytes is atomic, and poll says beforehand whether it would
 * block. Between the two another process may fill the pipe; that rare wait is accepted, because setting O_NONBLOCK on
 * a shared stderr would change it for everybody who holds it. */

static struct {
    const char *program;
    int fd;
    enum fl_log_format format;
    _Atomic int level;
    _Atomic uint64_t dropped;
    _Atomic uint64_t told;
} sink = {.program = "fairlead", .fd = STDERR_FILENO, .format = FL_LOG_JSON, .level = FL_LOG_INFO};

static const char *const level_names[] = {"error", "warning", "info", "debug", "trace"};

/* A line under construction on the caller's stack. A value that is too long is shortened, a field that does not fit is
 * left out whole; either sets `cut`, and the line stays valid JSON. */
struct line {
    char text[FL_LOG_LINE_MAX];
    size_t len;
    bool cut;
};

/* For what always comes last: the count of dropped lines, the mark, the closing brace and the newline. */
#define LINE_RESERVE 64
#define LINE_ROOM    (FL_LOG_LINE_MAX - LINE_RESERVE)

static bool put(struct line *line, struct fl_span bytes)
{
    if (bytes.len > LINE_ROOM - line->len)
        return false;
    if (bytes.len > 0)
        memcpy(line->text + line->len, bytes.data, bytes.len);
    line->len += bytes.len;
    return true;
}

static bool put_number(struct line *line, int64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRId64, number);
    return put(line, fl_span_make(text, (size_t)len));
}

/* As inside of a JSON string, in both formats: no value can end its line. At most `room` bytes. */
static void put_escaped(struct line *line, struct fl_span text, size_t room)
{
    while (text.len > 0) {
        struct fl_span window = fl_utf8_cut(text, room);
        size_t offered = window.len;
        struct fl_span piece = fl_json_escape_next(&window);
        if (piece.len == 0 || piece.len > room) {
            line->cut = true;
            return;
        }
        put(line, piece);
        room -= piece.len;
        text = fl_span_from(text, offered - window.len);
    }
}

static bool put_string(struct line *line, struct fl_span text)
{
    size_t left = LINE_ROOM - line->len;
    if (left < 2)
        return false;
    put(line, FL_SPAN("\""));
    put_escaped(line, text, left - 2 < FL_LOG_VALUE_MAX ? left - 2 : FL_LOG_VALUE_MAX);
    return put(line, FL_SPAN("\""));
}

static void put_field(struct line *line, const struct fl_log_field *field)
{
    bool json = sink.format == FL_LOG_JSON;
    size_t before = line->len;
    bool fits = put(line, json ? FL_SPAN(",\"") : FL_SPAN(" ")) && put(line, fl_span_str(field->key)) &&
                put(line, json ? FL_SPAN("\":") : FL_SPAN("=")) &&
                (field->kind == FL_LOG_FIELD_NUMBER ? put_number(line, field->number) : put_string(line, field->text));
    if (!fits) {
        line->len = before;
        line->cut = true;
    }
}
static void put_time(struct line *line)
{
    struct timespec now;
    struct tm parts;
    char text[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    len += (size_t)snprintf(text + len, sizeof(text) - len, ".%03ldZ", now.tv_nsec / 1000000);
    put(line, fl_span_make(text, len));
}

/* Always fits: two literals, the time and a message of bounded length. */
static void put_head(struct line *line, enum fl_log_level level, const char *message)
{
    bool json = sink.format == FL_LOG_JSON;
    put(line, json ? FL_SPAN("{\"time\":\"") : FL_SPAN(""));
    put_time(line);
    put(line, json ? FL_SPAN("\",\"level\":\"") : FL_SPAN(" "));
    put(line, fl_span_str(level_names[level]));
    put(line, json ? FL_SPAN("\",\"program\":\"") : FL_SPAN(" "));
    put_escaped(line, fl_span_str(sink.program), 64);
    put(line, json ? FL_SPAN("\",\"message\":\"") : FL_SPAN(": "));
    put_escaped(line, fl_span_str(message), FL_LOG_VALUE_MAX);
    put(line, json ? FL_SPAN("\"") : FL_SPAN(""));
}

/* Into the reserve, where it always fits. */
static void put_tail(struct line *line, uint64_t dropped)
{
    bool json = sink.format == FL_LOG_JSON;
    char *end = line->text + line->len;
    int len = 0;
    if (dropped > 0)
        len = snprintf(end, LINE_RESERVE, json ? ",\"dropped\":%" PRIu64 : " dropped=%" PRIu64, dropped);
    const char *last = line->cut ? (json ? ",\"cut\":true}\n" : " …\n") : (json ? "}\n" : "\n");
    len += snprintf(end + len, (size_t)(LINE_RESERVE - len), "%s", last);
    line->len += (size_t)len;
}

static bool deliver(const struct line *line)
{
    struct pollfd ready = {.fd = sink.fd, .events = POLLOUT};
    if (poll(&ready, 1, 0) != 1 || ready.revents != POLLOUT) /* POLLERR: no reader, a write would raise SIGPIPE */
        return false;
    ssize_t written;
    do
        written = write(sink.fd, line->text, line->len);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)line->len;
}

static void keep_standard_places(void)
{
    int fd = 0;
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd > STDERR_FILENO)
        close(fd);
}

void fl_log_open(const char *program, int fd, enum fl_log_format format, enum fl_log_level level)
{
    keep_standard_places();
    sink.program = program;
    sink.fd = fd;
    sink.format = format;
    fl_log_set_level(level);
}

void fl_log_set_level(enum fl_log_level level)
{
    atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed);
}

enum fl_log_level fl_log_get_level(void)
{
    return (enum fl_log_level)atomic_load_explicit(&sink.level, memory_order_relaxed);
}

bool fl_log_level_parse(struct fl_span text, enum fl_log_level *ret_level)
{
    for (size_t i = 0; i < FL_COUNT(level_names); i++) {
        if (fl_span_eq_str(text, level_names[i])) {
            *ret_level = (enum fl_log_level)i;
            return true;
        }
    }
    if (fl_span_eq_str(text, "warn"))
        *ret_level = FL_LOG_WARNING;
    else if (fl_span_eq_str(text, "critical") || fl_span_eq_str(text, "off"))
        *ret_level = FL_LOG_ERROR;
    else
        return false;
    return true;
}

bool fl_log_format_parse(struct fl_span text, enum fl_log_format *ret_format)
{
    if (fl_span_eq_str(text, "json"))
        *ret_format = FL_LOG_JSON;
    else if (fl_span_eq_str(text, "text"))
        *ret_format = FL_LOG_TEXT;
    else
        return false;
    return true;
}

uint64_t fl_log_dropped(void)
{
    return atomic_load_explicit(&sink.dropped, memory_order_relaxed);
}

void fl_log_write(enum fl_log_level level, const char *message, const struct fl_log_field *fields, size_t count)
{
    if (level > fl_log_get_level())
        return;
    int saved = errno;
    struct line line;
    line.len = 0;
    line.cut = false;
    put_head(&line, level, message);
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    uint64_t dropped = fl_log_dropped();
    put_tail(&line, dropped - atomic_load_explicit(&sink.told, memory_order_relaxed));
    if (deliver(&line))
        atomic_store_explicit(&sink.told, dropped, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&sink.dropped, 1, memory_order_relaxed);
    errno = saved;
}
