/* A line of the access log under construction: bounded, escaped, always complete. For proxy/telemetry alone. */
#ifndef PROXY_TELEMETRY_LOGLINE_H
#define PROXY_TELEMETRY_LOGLINE_H

#include "proxy/telemetry/accesslog.h"

struct proxy_line {
    char *at;
    char *end; /* room for what ends the line lies behind it */
};

#define PROXY_LINE_RESERVE 4 /* '"', '}', newline */

static inline size_t proxy_line_room(const struct proxy_line *line)
{
    return (size_t)(line->end - line->at);
}

/* As it is, or nothing where there is no room. */
void proxy_line_put(struct proxy_line *line, struct fl_span text);
/* As inside of a JSON string: at most `max` bytes of it. */
void proxy_line_escaped(struct proxy_line *line, struct fl_span text, size_t max);
void proxy_line_number(struct proxy_line *line, uint64_t number);
/* Microseconds as milliseconds: "12.345". */
void proxy_line_milliseconds(struct proxy_line *line, uint64_t microseconds);
/* RFC 3339 in UTC: "2026-01-02T03:04:05.678Z". */
void proxy_line_time(struct proxy_line *line, uint64_t microseconds);
void proxy_line_address(struct proxy_line *line, const struct proxy_address *address, bool port);
void proxy_line_protocol(struct proxy_line *line, const struct proxy_log_record *record);

/* The default format without the newline. */
void proxy_line_default(struct proxy_line *line, const struct proxy_log_record *record);
/* A compiled one. */
void proxy_line_format(struct proxy_line *line, const struct proxy_log_format *format,
                       const struct proxy_log_record *record);

#endif
