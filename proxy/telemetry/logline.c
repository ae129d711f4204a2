#include "proxy/telemetry/logline.h"

#include "common/base/escape.h"
#include "common/base/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

void proxy_line_put(struct proxy_line *line, struct fl_span text)
{
    if (text.len > proxy_line_room(line) || text.len == 0)
        return;
    memcpy(line->at, text.data, text.len);
    line->at += text.len;
}

/* How much of the text's front stands for itself inside of a JSON string and is ASCII: usually all of it. */
static size_t plain_length(struct fl_span text)
{
    size_t at = 0;
#ifdef __SSE2__
    const __m128i low = _mm_set1_epi8(0x20), quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i del = _mm_set1_epi8(0x7f);
    for (; text.len - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text.data + at));
        /* Signed: what is from 0x80 on is below 0x20 too. */
        __m128i bad = _mm_or_si128(_mm_cmplt_epi8(bytes, low), _mm_cmpeq_epi8(bytes, quote));
        bad = _mm_or_si128(bad, _mm_or_si128(_mm_cmpeq_epi8(bytes, slash), _mm_cmpeq_epi8(bytes, del)));
        int mask = _mm_movemask_epi8(bad);
        if (mask != 0)
            return at + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (at < text.len && text.data[at] >= 0x20 && text.data[at] < 0x7f && text.data[at] != '"' &&
           text.data[at] != '\\')
        at++;
    return at;
}

static __attribute__((noinline)) void escape_rest(struct proxy_line *line, struct fl_span text, size_t room)
{
    while (text.len > 0) {
        struct fl_span window = fl_utf8_cut(text, room);
        size_t offered = window.len;
        struct fl_span piece = fl_json_escape_next(&window);
        if (piece.len == 0 || piece.len > room)
            return;
        proxy_line_put(line, piece);
        room -= piece.len;
        text = fl_span_from(text, offered - window.len);
    }
}

void proxy_line_escaped(struct proxy_line *line, struct fl_span text, size_t max)
{
    size_t room = proxy_line_room(line) < max ? proxy_line_room(line) : max;
    size_t plain = plain_length(fl_span_make(text.data, text.len < room ? text.len : room));
    proxy_line_put(line, fl_span_make(text.data, plain));
    if (plain < text.len && plain < room)
        escape_rest(line, fl_span_from(text, plain), room - plain);
}

/* Decimal digits at the end of `to` + 20; returns their beginning. */
static char *digits(char *to, uint64_t number)
{
    char *at = to + 20;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return at;
}

void proxy_line_number(struct proxy_line *line, uint64_t number)
{
    char text[20];
    char *begin = digits(text, number);
    proxy_line_put(line, fl_span_make(begin, (size_t)(text + sizeof(text) - begin)));
}

/* `count` digits with zeros before them. */
static char *fixed_digits(char *to, unsigned number, int count)
{
    for (int i = count; i-- > 0; number /= 10)
        to[i] = (char)('0' + number % 10);
    return to + count;
}

void proxy_line_milliseconds(struct proxy_line *line, uint64_t microseconds)
{
    char text[24];
    char *begin = digits(text, microseconds / 1000);
    text[20] = '.';
    fixed_digits(text + 21, (unsigned)(microseconds % 1000), 3);
    proxy_line_put(line, fl_span_make(begin, (size_t)(text + sizeof(text) - begin)));
}

struct date {
    unsigned year, month, day;
};

/* Days since 1970-01-01 as a date of the Gregorian calendar: years begin in March, so that the leap day is the last,
 * and 400 of them have 146097 days. */
static struct date date_of(unsigned days)
{
    unsigned shifted = days + 719468; /* since 0000-03-01 */
    unsigned era = shifted / 146097, day_of_era = shifted % 146097;
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day_of_year + 2) / 153; /* 0: March */
    struct date date = {.year = era * 400 + year_of_era + (month >= 10 ? 1 : 0),
                        .month = month < 10 ? month + 3 : month - 9,
                        .day = day_of_year - (153 * month + 2) / 5 + 1};
    return date;
}

#define TIME_MAX 253402300799999999u /* the year 9999 ends */

void proxy_line_time(struct proxy_line *line, uint64_t microseconds)
{
    char text[] = "0000-00-00T00:00:00.000Z";
    if (microseconds > TIME_MAX)
        microseconds = TIME_MAX;
    unsigned milliseconds = (unsigned)(microseconds / 1000 % 1000);
    uint64_t seconds = microseconds / 1000000;
    unsigned of_day = (unsigned)(seconds % 86400);
    struct date date = date_of((unsigned)(seconds / 86400));
    fixed_digits(text, date.year, 4);
    fixed_digits(text + 5, date.month, 2);
    fixed_digits(text + 8, date.day, 2);
    fixed_digits(text + 11, of_day / 3600, 2);
    fixed_digits(text + 14, of_day / 60 % 60, 2);
    fixed_digits(text + 17, of_day % 60, 2);
    fixed_digits(text + 20, milliseconds, 3);
    proxy_line_put(line, fl_span_make(text, sizeof(text) - 1));
}

static char *ipv4_text(char *to, const unsigned char *bytes)
{
    for (int i = 0; i < 4; i++) {
        char number[20];
        char *begin = digits(number, bytes[i]);
        size_t len = (size_t)(number + sizeof(number) - begin);
        memcpy(to, begin, len);
        to += len;
        *to++ = i < 3 ? '.' : ':';
    }
    return to;
}

void proxy_line_address(struct proxy_line *line, const struct proxy_address *address, bool port)
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    size_t len;
    if (address->any.sa_family == AF_INET) { /* nearly always: without inet_ntop */
        char *colon = ipv4_text(text, (const unsigned char *)proxy_address_bytes(address).data) - 1;
        char number[20];
        char *begin = digits(number, proxy_address_port(address));
        size_t count = (size_t)(number + sizeof(number) - begin);
        memcpy(colon + 1, begin, count);
        len = (size_t)(colon - text) + (port ? 1 + count : 0);
    } else {
        len = proxy_address_print(address, text);
        if (!port) { /* what stands between the brackets */
            struct fl_span inner = fl_span_make(text + 1, fl_span_find(fl_span_make(text, len), ']') - 1);
            proxy_line_put(line, inner);
            return;
        }
    }
    proxy_line_put(line, fl_span_make(text, len));
}

void proxy_line_protocol(struct proxy_line *line, const struct proxy_log_record *record)
{
    if (record->protocol == PROXY_PROTOCOL_TCP)
        proxy_line_put(line, FL_SPAN("TCP"));
    else
        proxy_line_put(line, record->major == 2   ? FL_SPAN("HTTP/2")
                             : record->minor == 0 ? FL_SPAN("HTTP/1.0")
                                                  : FL_SPAN("HTTP/1.1"));
}

/* The default format: rows in the order they are written. */

enum kind { KIND_TEXT, KIND_ADDRESS, KIND_SPECIAL };

enum special { DIRECTION, PROTOCOL, CODE, GRPC, FLAGS, RECEIVED, SENT, DURATION, FIRST_BYTE, CONNECTION, ATTEMPTS };

struct row {
    struct fl_span key; /* with its quotes and separators */
    enum kind kind;
    uint16_t offset; /* in the record; SPECIAL: which */
    uint16_t max;    /* TEXT: bytes at most */
};

#define KEY(text)                                                                                                      \
    {                                                                                                                  \
        ",\"" text "\":", sizeof(",\"" text "\":") - 1                                                                 \
    }
#define TEXT(key, member, max)                                                                                         \
    {                                                                                                                  \
        KEY(key), KIND_TEXT, offsetof(struct proxy_log_record, member), max                                            \
    }
#define ADDRESS(key, member)                                                                                           \
    {                                                                                                                  \
        KEY(key), KIND_ADDRESS, offsetof(struct proxy_log_record, member), 0                                           \
    }
#define SPECIAL(key, which)                                                                                            \
    {                                                                                                                  \
        KEY(key), KIND_SPECIAL, which, 0                                                                               \
    }

/* What peers choose is bounded so that all of it fits: the sum of the bounds and keys is below PROXY_LOG_LINE_MAX. */
static const struct row rows[] = {
    SPECIAL("direction", DIRECTION),
    SPECIAL("protocol", PROTOCOL),
    TEXT("method", method, 32),
    TEXT("authority", authority, 256),
    TEXT("path", path, 768),
    SPECIAL("response_code", CODE),
    SPECIAL("grpc_status", GRPC),
    SPECIAL("response_flags", FLAGS),
    TEXT("response_code_details", details, 64),
    TEXT("upstream_transport_failure_reason", transport_failure, 128),
    SPECIAL("bytes_received", RECEIVED),
    SPECIAL("bytes_sent", SENT),
    SPECIAL("duration", DURATION),
    SPECIAL("upstream_service_time", FIRST_BYTE),
    ADDRESS("downstream_remote_address", downstream_remote),
    ADDRESS("downstream_local_address", downstream_local),
    ADDRESS("upstream_host", upstream_host),
    ADDRESS("upstream_local_address", upstream_local),
    TEXT("upstream_cluster", upstream_cluster, 160),
    TEXT("route_name", route_name, 64),
    TEXT("listener", listener, 64),
    TEXT("source_principal", source_principal, 192),
    TEXT("destination_principal", destination_principal, 192),
    TEXT("source_workload", source_workload, 64),
    TEXT("source_workload_namespace", source_namespace, 64),
    TEXT("destination_workload", destination_workload, 64),
    TEXT("destination_workload_namespace", destination_namespace, 64),
    TEXT("requested_server_name", server_name, 128),
    TEXT("tls_version", tls_version, 16),
    TEXT("alpn", alpn, 32),
    TEXT("user_agent", user_agent, 128),
    TEXT("x_forwarded_for", forwarded_for, 96),
    TEXT("request_id", request_id, 64),
    TEXT("traceparent", traceparent, 64),
    TEXT("trace_id", trace_id, 32),
    TEXT("span_id", span_id, 16),
    SPECIAL("upstream_request_attempt_count", ATTEMPTS),
    SPECIAL("connection_id", CONNECTION),
};

static void put_quoted(struct proxy_line *line, struct fl_span key, struct fl_span text, size_t max)
{
    if (proxy_line_room(line) < key.len + max + 2)
        return;
    proxy_line_put(line, key);
    *line->at++ = '"';
    proxy_line_escaped(line, text, max);
    *line->at++ = '"';
}

static void put_key_number(struct proxy_line *line, struct fl_span key, uint64_t number)
{
    if (proxy_line_room(line) < key.len + 20)
        return;
    proxy_line_put(line, key);
    proxy_line_number(line, number);
}

static void put_key_milliseconds(struct proxy_line *line, struct fl_span key, int64_t microseconds)
{
    if (microseconds < 0 || proxy_line_room(line) < key.len + 24)
        return;
    proxy_line_put(line, key);
    proxy_line_milliseconds(line, (uint64_t)microseconds);
}

static void put_direction(struct proxy_line *line, struct fl_span key, const struct proxy_log_record *record)
{
    static const struct fl_span words[] = {{NULL, 0}, {"inbound", 7}, {"outbound", 8}};
    if (record->direction != PROXY_LOG_UNKNOWN)
        put_quoted(line, key, words[record->direction], 8);
}

static void put_protocol(struct proxy_line *line, struct fl_span key, const struct proxy_log_record *record)
{
    proxy_line_put(line, key);
    proxy_line_put(line, FL_SPAN("\""));
    proxy_line_protocol(line, record);
    proxy_line_put(line, FL_SPAN("\""));
}

static void put_special(struct proxy_line *line, const struct row *row, const struct proxy_log_record *record)
{
    char flags[PROXY_FLAGS_TEXT_MAX];
    switch ((enum special)row->offset) {
    case DIRECTION:
        put_direction(line, row->key, record);
        break;
    case PROTOCOL:
        put_protocol(line, row->key, record);
        break;
    case CODE:
        if (record->protocol != PROXY_PROTOCOL_TCP)
            put_key_number(line, row->key, record->status);
        break;
    case GRPC:
        if (record->grpc_status >= 0)
            put_key_number(line, row->key, (uint64_t)record->grpc_status);
        break;
    case FLAGS:
        put_quoted(line, row->key, proxy_flags_print(record->flags, flags), sizeof(flags));
        break;
    case RECEIVED:
        put_key_number(line, row->key, record->bytes_received);
        break;
    case SENT:
        put_key_number(line, row->key, record->bytes_sent);
        break;
    case DURATION:
        put_key_milliseconds(line, row->key, record->duration_us);
        break;
    case FIRST_BYTE:
        put_key_milliseconds(line, row->key, record->upstream_first_byte_us);
        break;
    case ATTEMPTS: /* one is what everybody expects */
        if (record->attempts > 1)
            put_key_number(line, row->key, record->attempts);
        break;
    case CONNECTION:
        if (record->connection_id != 0)
            put_key_number(line, row->key, record->connection_id);
        break;
    }
}

static void put_address(struct proxy_line *line, struct fl_span key, const struct proxy_address *address)
{
    if (address == NULL || !proxy_address_is_set(address) ||
        proxy_line_room(line) < key.len + PROXY_ADDRESS_TEXT_MAX + 2)
        return;
    proxy_line_put(line, key);
    *line->at++ = '"';
    proxy_line_address(line, address, true);
    *line->at++ = '"';
}

void proxy_line_default(struct proxy_line *line, const struct proxy_log_record *record)
{
    proxy_line_put(line, FL_SPAN("{\"start_time\":\""));
    proxy_line_time(line, record->start_us);
    proxy_line_put(line, FL_SPAN("\""));
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        const void *member = (const char *)record + row->offset;
        if (row->kind == KIND_TEXT) {
            const struct fl_span *text = member;
            if (text->len > 0)
                put_quoted(line, row->key, *text, row->max);
        } else if (row->kind == KIND_ADDRESS) {
            put_address(line, row->key, *(const struct proxy_address *const *)member);
        } else {
            put_special(line, row, record);
        }
    }
    proxy_line_put(line, FL_SPAN("}"));
}

size_t proxy_log_print(const struct proxy_log_format *format, const struct proxy_log_record *record, char *to)
{
    struct proxy_line line = {to, to + PROXY_LOG_LINE_MAX - PROXY_LINE_RESERVE};
    if (format != NULL)
        proxy_line_format(&line, format, record);
    else
        proxy_line_default(&line, record);
    *line.at++ = '\n';
    return (size_t)(line.at - to);
}
