#include "proxy/http/message.h"

#include "proxy/http/octet.h"

#include <errno.h>

static const struct fl_span names[PROXY_HEADER_IDS] = {
#define X(id, name, kind) [PROXY_HEADER_##id] = {name, sizeof(name) - 1},
    PROXY_HEADER_LIST(X)
#undef X
};

static const uint8_t kinds[PROXY_HEADER_IDS] = {
#define X(id, name, kind) [PROXY_HEADER_##id] = PROXY_HEADER_KIND_##kind,
    PROXY_HEADER_LIST(X)
#undef X
};

/* The ids of the list by the length of their names, zero-terminated: a look-up compares with a handful at most. The
 * test goes through the whole list, so a forgotten row shows. */
#define ID(name) PROXY_HEADER_##name
static const uint8_t by_length[][6] = {
    [2] = {ID(TE), ID(B3)},
    [3] = {ID(VIA)},
    [4] = {ID(HOST), ID(DATE)},
    [6] = {ID(ACCEPT), ID(COOKIE), ID(SERVER), ID(EXPECT)},
    [7] = {ID(UPGRADE), ID(TRAILER)},
    [8] = {ID(LOCATION)},
    [9] = {ID(FORWARDED)},
    [10] = {ID(CONNECTION), ID(USER_AGENT), ID(KEEP_ALIVE), ID(SET_COOKIE), ID(TRACESTATE)},
    [11] = {ID(TRACEPARENT), ID(GRPC_STATUS)},
    [12] = {ID(CONTENT_TYPE), ID(X_REQUEST_ID), ID(GRPC_MESSAGE)},
    [13] = {ID(CACHE_CONTROL), ID(AUTHORIZATION), ID(CONTENT_RANGE), ID(FAIRLEAD_HTTP)},
    [14] = {ID(CONTENT_LENGTH), ID(HTTP2_SETTINGS)},
    [15] = {ID(X_FORWARDED_FOR)},
    [16] = {ID(CONTENT_ENCODING), ID(X_FORWARDED_HOST), ID(PROXY_CONNECTION)},
    [17] = {ID(TRANSFER_ENCODING), ID(X_FORWARDED_PROTO)},
    [18] = {ID(PROXY_AUTHENTICATE)},
    [19] = {ID(PROXY_AUTHORIZATION)},
    [23] = {ID(X_FORWARDED_CLIENT_CERT)},
};

/* Case folded by one bit: right for tokens against names of [a-z0-9-], whose other octets have that bit already,
 * because no token octet becomes one of them by it but their capital letters. */
static bool same_eight(const char *token, const char *name)
{
    uint64_t a, b;
    memcpy(&a, token, sizeof(a));
    memcpy(&b, name, sizeof(b));
    return (a | UINT64_C(0x2020202020202020)) == b;
}

static bool same_name(const char *token, const char *name, size_t len)
{
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            if (!same_eight(token + i, name + i))
                return false;
        }
        return same_eight(token + len - 8, name + len - 8);
    }
    for (size_t i = 0; i < len; i++) {
        if ((token[i] | 0x20) != name[i])
            return false;
    }
    return true;
}

enum proxy_header_id proxy_header_id(struct fl_span name)
{
    if (name.len >= FL_COUNT(by_length))
        return PROXY_HEADER_OTHER;
    for (const uint8_t *id = by_length[name.len]; *id != 0; id++) {
        if (same_name(name.data, names[*id].data, name.len))
            return (enum proxy_header_id) * id;
    }
    return PROXY_HEADER_OTHER;
}

struct fl_span proxy_header_name(enum proxy_header_id id)
{
    return names[id];
}

enum proxy_header_kind proxy_header_kind(enum proxy_header_id id)
{
    return (enum proxy_header_kind)kinds[id];
}

bool proxy_header_name_valid(struct fl_span name)
{
    return name.len > 0 && proxy_octets_are(name, PROXY_OCTET_TOKEN);
}

bool proxy_header_value_valid(struct fl_span value)
{
    return proxy_octets_are(value, PROXY_OCTET_VALUE) && fl_span_trim(value).len == value.len;
}

void proxy_headers_init(struct proxy_headers *headers)
{
    headers->count = 0;
    memset(headers->first, 0, sizeof(headers->first));
}

static bool is_named(const struct proxy_header *header, enum proxy_header_id id, struct fl_span name)
{
    return !header->removed && header->id == id && (id != PROXY_HEADER_OTHER || fl_span_eq_nocase(header->name, name));
}

/* The index of the first field of that name from `at` on, or count. */
static size_t find_from(const struct proxy_headers *headers, enum proxy_header_id id, struct fl_span name, size_t at)
{
    while (at < headers->count && !is_named(&headers->list[at], id, name))
        at++;
    return at;
}

const struct proxy_header *proxy_headers_next(const struct proxy_headers *headers, enum proxy_header_id id,
                                              struct fl_span name, const struct proxy_header *after)
{
    if (id != PROXY_HEADER_OTHER && headers->first[id] == 0)
        return NULL;
    size_t at = find_from(headers, id, name, after == NULL ? 0 : (size_t)(after - headers->list) + 1);
    return at < headers->count ? &headers->list[at] : NULL;
}

int proxy_headers_add(struct proxy_headers *headers, struct fl_span name, struct fl_span value)
{
    if (headers->count == PROXY_HEADERS_MAX)
        return -E2BIG;
    enum proxy_header_id id = proxy_header_id(name);
    headers->list[headers->count++] = (struct proxy_header){.name = name, .value = value, .id = (uint8_t)id};
    if (id != PROXY_HEADER_OTHER && headers->first[id] == 0)
        headers->first[id] = (uint8_t)headers->count;
    return 0;
}

int proxy_headers_insert(struct proxy_headers *headers, size_t at, struct fl_span name, struct fl_span value)
{
    if (headers->count == PROXY_HEADERS_MAX)
        return -E2BIG;
    enum proxy_header_id id = proxy_header_id(name);
    memmove(&headers->list[at + 1], &headers->list[at], (headers->count - at) * sizeof(headers->list[0]));
    headers->list[at] = (struct proxy_header){.name = name, .value = value, .id = (uint8_t)id};
    headers->count++;
    for (size_t i = 0; i < PROXY_HEADER_IDS; i++)
        headers->first[i] = (uint8_t)(headers->first[i] + (headers->first[i] > at));
    if (id != PROXY_HEADER_OTHER && (headers->first[id] == 0 || headers->first[id] > at))
        headers->first[id] = (uint8_t)(at + 1);
    return 0;
}

/* Removes every field of that name from index `at` on. */
static size_t remove_from(struct proxy_headers *headers, enum proxy_header_id id, struct fl_span name, size_t at)
{
    size_t removed = 0;
    for (at = find_from(headers, id, name, at); at < headers->count; at = find_from(headers, id, name, at + 1)) {
        headers->list[at].removed = true;
        removed++;
    }
    return removed;
}

size_t proxy_headers_remove(struct proxy_headers *headers, struct fl_span name)
{
    enum proxy_header_id id = proxy_header_id(name);
    headers->first[id] = 0;
    return remove_from(headers, id, name, 0);
}

int proxy_headers_set(struct proxy_headers *headers, struct fl_span name, struct fl_span value)
{
    enum proxy_header_id id = proxy_header_id(name);
    size_t at = find_from(headers, id, name, 0);
    if (at == headers->count)
        return proxy_headers_add(headers, name, value);
    headers->list[at].value = value;
    remove_from(headers, id, name, at + 1);
    return 0;
}

void proxy_message_init(struct proxy_message *message)
{
    memset(message, 0, offsetof(struct proxy_message, headers));
    message->major = 1;
    proxy_headers_init(&message->headers);
}

void proxy_message_set_path(struct proxy_message *message, struct fl_span path)
{
    message->path = path;
    message->rewritten = true;
}

int proxy_message_set_authority(struct proxy_message *message, struct fl_span authority)
{
    int result = proxy_headers_set(&message->headers, FL_SPAN("Host"), authority);
    if (result < 0)
        return result;
    message->authority = authority;
    message->rewritten = true;
    return 0;
}

enum proxy_method proxy_method_id(struct fl_span method)
{
    static const struct fl_span methods[] = {
#define X(name) [PROXY_METHOD_##name] = {#name, sizeof(#name) - 1},
        PROXY_METHOD_LIST(X)
#undef X
    };
    for (size_t id = 1; id < FL_COUNT(methods); id++) {
        if (fl_span_eq(method, methods[id]))
            return (enum proxy_method)id;
    }
    return PROXY_METHOD_OTHER;
}

struct fl_span proxy_message_path_only(const struct proxy_message *message)
{
    return (struct fl_span){message->path.data, fl_span_find(message->path, '?')};
}

struct fl_span proxy_message_query(const struct proxy_message *message)
{
    size_t mark = fl_span_find(message->path, '?');
    return mark < message->path.len ? fl_span_from(message->path, mark + 1) : (struct fl_span){NULL, 0};
}

/* IANA's HTTP status code registry. */
#define REASON_LIST(X)                                                                                                 \
    X(100, "Continue")                                                                                                 \
    X(101, "Switching Protocols")                                                                                      \
    X(102, "Processing")                                                                                               \
    X(103, "Early Hints")                                                                                              \
    X(200, "OK")                                                                                                       \
    X(201, "Created")                                                                                                  \
    X(202, "Accepted")                                                                                                 \
    X(203, "Non-Authoritative Information")                                                                            \
    X(204, "No Content")                                                                                               \
    X(205, "Reset Content")                                                                                            \
    X(206, "Partial Content")                                                                                          \
    X(207, "Multi-Status")                                                                                             \
    X(208, "Already Reported")                                                                                         \
    X(226, "IM Used")                                                                                                  \
    X(300, "Multiple Choices")                                                                                         \
    X(301, "Moved Permanently")                                                                                        \
    X(302, "Found")                                                                                                    \
    X(303, "See Other")                                                                                                \
    X(304, "Not Modified")                                                                                             \
    X(305, "Use Proxy")                                                                                                \
    X(307, "Temporary Redirect")                                                                                       \
    X(308, "Permanent Redirect")                                                                                       \
    X(400, "Bad Request")                                                                                              \
    X(401, "Unauthorized")                                                                                             \
    X(402, "Payment Required")                                                                                         \
    X(403, "Forbidden")                                                                                                \
    X(404, "Not Found")                                                                                                \
    X(405, "Method Not Allowed")                                                                                       \
    X(406, "Not Acceptable")                                                                                           \
    X(407, "Proxy Authentication Required")                                                                            \
    X(408, "Request Timeout")                                                                                          \
    X(409, "Conflict")                                                                                                 \
    X(410, "Gone")                                                                                                     \
    X(411, "Length Required")                                                                                          \
    X(412, "Precondition Failed")                                                                                      \
    X(413, "Content Too Large")                                                                                        \
    X(414, "URI Too Long")                                                                                             \
    X(415, "Unsupported Media Type")                                                                                   \
    X(416, "Range Not Satisfiable")                                                                                    \
    X(417, "Expectation Failed")                                                                                       \
    X(421, "Misdirected Request")                                                                                      \
    X(422, "Unprocessable Content")                                                                                    \
    X(423, "Locked")                                                                                                   \
    X(424, "Failed Dependency")                                                                                        \
    X(425, "Too Early")                                                                                                \
    X(426, "Upgrade Required")                                                                                         \
    X(428, "Precondition Required")                                                                                    \
    X(429, "Too Many Requests")                                                                                        \
    X(431, "Request Header Fields Too Large")                                                                          \
    X(451, "Unavailable For Legal Reasons")                                                                            \
    X(500, "Internal Server Error")                                                                                    \
    X(501, "Not Implemented")                                                                                          \
    X(502, "Bad Gateway")                                                                                              \
    X(503, "Service Unavailable")                                                                                      \
    X(504, "Gateway Timeout")                                                                                          \
    X(505, "HTTP Version Not Supported")                                                                               \
    X(506, "Variant Also Negotiates")                                                                                  \
    X(507, "Insufficient Storage")                                                                                     \
    X(508, "Loop Detected")                                                                                            \
    X(510, "Not Extended")                                                                                             \
    X(511, "Network Authentication Required")

const char *proxy_status_reason(unsigned status)
{
    switch (status) {
#define X(code, reason)                                                                                                \
    case code:                                                                                                         \
        return reason;
        REASON_LIST(X)
#undef X
    default:
        return "Unknown";
    }
}

static char *two_digits(char *to, int number)
{
    to[0] = (char)('0' + number / 10 % 10);
    to[1] = (char)('0' + number % 10);
    return to + 2;
}

void proxy_date_print(time_t now, char *to)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm utc;
    if (gmtime_r(&now, &utc) == NULL || utc.tm_year + 1900 > 9999)
        utc = (struct tm){.tm_wday = 4, .tm_mday = 1, .tm_year = 70};
    memcpy(to, days + utc.tm_wday * 3, 3);
    memcpy(to + 3, ", ", 2);
    char *at = two_digits(to + 5, utc.tm_mday);
    *at++ = ' ';
    memcpy(at, months + utc.tm_mon * 3, 3);
    at[3] = ' ';
    at = two_digits(two_digits(at + 4, (utc.tm_year + 1900) / 100), (utc.tm_year + 1900) % 100);
    *at++ = ' ';
    at = two_digits(at, utc.tm_hour);
    *at++ = ':';
    at = two_digits(at, utc.tm_min);
    *at++ = ':';
    at = two_digits(at, utc.tm_sec);
    memcpy(at, " GMT", 4);
}

static bool starts_with_nocase(struct fl_span span, struct fl_span prefix)
{
    return span.len >= prefix.len && fl_span_eq_nocase(fl_span_make(span.data, prefix.len), prefix);
}

bool proxy_upgrade_may_pass(struct fl_span protocol)
{
    size_t slash = fl_span_find(protocol, '/');
    struct fl_span name = fl_span_make(protocol.data, slash);
    bool version = slash == protocol.len || proxy_octets_are(fl_span_from(protocol, slash + 1), PROXY_OCTET_TOKEN);
    return name.len > 0 && version && proxy_octets_are(name, PROXY_OCTET_TOKEN) &&
           !fl_span_eq_nocase(protocol, FL_SPAN("h2c")) && !starts_with_nocase(protocol, FL_SPAN("HTTP/")) &&
           !starts_with_nocase(protocol, FL_SPAN("TLS/"));
}
