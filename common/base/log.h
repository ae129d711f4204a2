/* Logging: one line an event on stderr, JSON for machines or text for people.
 *
 * Library code does not log; programs do, once, where they give up or something happened. A line is written by one
 * write(2) without blocking on a slow reader: what cannot be written at once is dropped and counted, and the count is
 * told by the next line that goes through ("dropped":N). The sink is the one global that the house allows beside
 * parsed options. Thread-safe: each line is formatted on the caller's stack. A line has at most FL_LOG_LINE_MAX bytes,
 * a value in it at most FL_LOG_VALUE_MAX: a longer value is shortened, a field for which no room is left is left out,
 * and "cut":true says so. Bytes that are not UTF-8 become U+FFFD; whatever the values are, the line is valid JSON.
 */
#ifndef FL_BASE_LOG_H
#define FL_BASE_LOG_H

#include "common/base/span.h"

#include <stdint.h>

#define FL_LOG_LINE_MAX  4096 /* PIPE_BUF: a write to a pipe is whole or not at all */
#define FL_LOG_VALUE_MAX 1024 /* as written, escapes included */

enum fl_log_level { FL_LOG_ERROR, FL_LOG_WARNING, FL_LOG_INFO, FL_LOG_DEBUG, FL_LOG_TRACE };
enum fl_log_format { FL_LOG_JSON, FL_LOG_TEXT };

struct fl_log_field {
    const char *key; /* a literal of [a-z0-9_] */
    enum { FL_LOG_FIELD_TEXT, FL_LOG_FIELD_NUMBER } kind;
    struct fl_span text; /* escaped on the way out, so a hostile value cannot forge a line */
    int64_t number;
};

#define FL_LOG_STR(key, c_string) ((struct fl_log_field){key, FL_LOG_FIELD_TEXT, fl_span_str(c_string), 0})
#define FL_LOG_SPAN(key, span)    ((struct fl_log_field){key, FL_LOG_FIELD_TEXT, span, 0})
#define FL_LOG_NUM(key, number)   ((struct fl_log_field){key, FL_LOG_FIELD_NUMBER, {NULL, 0}, (int64_t)(number)})

/* `program` is a literal: the "program" member of every line. fd is kept as it is (usually 2). Before threads start,
 * and before anything else is opened: those of the descriptors 0 to 2 that the parent closed are opened on /dev/null,
 * or the next socket would be given the number that lines are written to. */
void fl_log_open(const char *program, int fd, enum fl_log_format format, enum fl_log_level level);
void fl_log_set_level(enum fl_log_level level);
enum fl_log_level fl_log_get_level(void);

/* "error", "warning" (or "warn"), "info", "debug", "trace", "critical" and "off" (as error): Envoy's -l words.
 * False (nothing set) for anything else. */
bool fl_log_level_parse(struct fl_span text, enum fl_log_level *ret_level);
bool fl_log_format_parse(struct fl_span text, enum fl_log_format *ret_format);

/* Lines dropped since the start, because the reader was slow. */
uint64_t fl_log_dropped(void);

/* {"time":"2026-01-02T03:04:05.678Z","level":"info","program":"…","message":"…", fields…} */
void fl_log_write(enum fl_log_level level, const char *message, const struct fl_log_field *fields, size_t count);

/* fl_log(FL_LOG_INFO, "listening", FL_LOG_STR("address", text), FL_LOG_NUM("port", port)); at least one field. */
#define fl_log(level, message, ...)                                                                                    \
    do {                                                                                                               \
        if ((level) <= fl_log_get_level()) {                                                                           \
            const struct fl_log_field fl_fields_[] = {__VA_ARGS__};                                                    \
            fl_log_write(level, message, fl_fields_, sizeof(fl_fields_) / sizeof(fl_fields_[0]));                      \
        }                                                                                                              \
    } while (0)

/* A line without fields. */
static inline void fl_log_message(enum fl_log_level level, const char *message)
{
    if (level <= fl_log_get_level())
        fl_log_write(level, message, NULL, 0);
}

#endif
