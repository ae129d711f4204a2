/* One HTTP message head, whatever version it came by: start line and header fields as spans, plus what they mean.
 *
 * A message borrows everything: its spans point into the bytes that were parsed, into the configuration or into the
 * caller's scratch, and hold as long as those do. It is big (some 6 KB), so a worker keeps one of each kind as scratch:
 * a head is parsed, changed and written within one turn, and only what must outlive that is copied (see struct
 * proxy_exchange in h1.h). Fields keep their order, their case and their duplicates; a removed field stays in the list
 * and is skipped. Well-known names carry a small id, so that a look-up by id costs one load.
 *
 * Limits: PROXY_HEADERS_WIRE_MAX fields from a peer; the rest of PROXY_HEADERS_MAX is room for fields that routes add.
 */
#ifndef PROXY_HTTP_MESSAGE_H
#define PROXY_HTTP_MESSAGE_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <time.h>

#define PROXY_HEADERS_MAX      160
#define PROXY_HEADERS_WIRE_MAX 128

/* How a field is treated where a message is passed on:
 *   END  end to end: passed on; a Connection option that names it is ignored, so that a peer cannot strip it
 *   HOP  of one connection alone: never passed on as it is (the writer makes its own where one is due)
 *   FREE passed on, unless a Connection option names it (so are all unknown names)
 * Connection, TE, Upgrade, Transfer-Encoding and Content-Length are the writer's: see h1_write.h. */
#define PROXY_HEADER_LIST(X)                                                                                           \
    X(HOST, "host", END)                                                                                               \
    X(CONTENT_LENGTH, "content-length", END)                                                                           \
    X(TRANSFER_ENCODING, "transfer-encoding", END)                                                                     \
    X(CONNECTION, "connection", HOP)                                                                                   \
    X(KEEP_ALIVE, "keep-alive", HOP)                                                                                   \
    X(PROXY_CONNECTION, "proxy-connection", HOP)                                                                       \
    X(HTTP2_SETTINGS, "http2-settings", HOP)                                                                           \
    X(TE, "te", HOP)                                                                                                   \
    X(UPGRADE, "upgrade", HOP)                                                                                         \
    X(TRAILER, "trailer", END)                                                                                         \
    X(EXPECT, "expect", END)                                                                                           \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", END)                                                                   \
    X(PROXY_AUTHORIZATION, "proxy-authorization", END)                                                                 \
    X(ACCEPT, "accept", FREE)                                                                                          \
    X(AUTHORIZATION, "authorization", END)                                                                             \
    X(CACHE_CONTROL, "cache-control", END)                                                                             \
    X(CONTENT_ENCODING, "content-encoding", END)                                                                       \
    X(CONTENT_RANGE, "content-range", END)                                                                             \
    X(CONTENT_TYPE, "content-type", END)                                                                               \
    X(COOKIE, "cookie", END)                                                                                           \
    X(SET_COOKIE, "set-cookie", END)                                                                                   \
    X(DATE, "date", END)                                                                                               \
    X(SERVER, "server", END)                                                                                           \
    X(LOCATION, "location", END)                                                                                       \
    X(VIA, "via", END)                                                                                                 \
    X(FORWARDED, "forwarded", END)                                                                                     \
    X(USER_AGENT, "user-agent", END)                                                                                   \
    X(GRPC_STATUS, "grpc-status", END)                                                                                 \
    X(GRPC_MESSAGE, "grpc-message", END)                                                                               \
    X(TRACEPARENT, "traceparent", END)                                                                                 \
    X(TRACESTATE, "tracestate", END)                                                                                   \
    X(B3, "b3", END)                                                                                                   \
    X(X_REQUEST_ID, "x-request-id", END)                                                                               \
    X(X_FORWARDED_FOR, "x-forwarded-for", END)                                                                         \
    X(X_FORWARDED_HOST, "x-forwarded-host", END)                                                                       \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", END)                                                                     \
    X(X_FORWARDED_CLIENT_CERT, "x-forwarded-client-cert", END)                                                         \
    X(FAIRLEAD_HTTP, "fairlead-http", END)

enum proxy_header_id {
    PROXY_HEADER_OTHER,
#define X(id, name, kind) PROXY_HEADER_##id,
    PROXY_HEADER_LIST(X)
#undef X
        PROXY_HEADER_IDS
};

enum proxy_header_kind { PROXY_HEADER_KIND_FREE, PROXY_HEADER_KIND_END, PROXY_HEADER_KIND_HOP };

/* The id of a field name, case folded; PROXY_HEADER_OTHER for names that are not in the list. `name` is a token. */
enum proxy_header_id proxy_header_id(struct fl_span name);
/* The lower-case name; empty for PROXY_HEADER_OTHER. */
struct fl_span proxy_header_name(enum proxy_header_id id);
enum proxy_header_kind proxy_header_kind(enum proxy_header_id id);

/* A field name is a token (RFC 9110 §5.1); a value is visible ASCII, space, tab and bytes from 0x80, without space or
 * tab at its ends. For what comes from configuration. */
bool proxy_header_name_valid(struct fl_span name);
bool proxy_header_value_valid(struct fl_span value);
/* A protocol of Upgrade, or of an extended CONNECT (RFC 9110 §16.7: token [ "/" token ]), that may be passed on: one
 * that the proxy would have to speak itself (HTTP/2 in clear text, TLS) may not. */
bool proxy_upgrade_may_pass(struct fl_span protocol);
/* host [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2), without userinfo; an empty one too. */
bool proxy_authority_valid(struct fl_span authority);
/* With a host and a port, as CONNECT needs it. */
bool proxy_authority_has_port(struct fl_span authority);
/* The host's length: where the colon of a port stands, else all of it. */
size_t proxy_authority_host_len(struct fl_span authority);
/* Without its port, if that is `port` (0: whatever it is). */
struct fl_span proxy_authority_strip_port(struct fl_span authority, uint16_t port);

struct proxy_header {
    struct fl_span name;  /* as it was written: case kept */
    struct fl_span value; /* without the space around it */
    uint8_t id;           /* enum proxy_header_id */
    bool removed;         /* skipped by every look-up and by the writer */
};

struct proxy_headers {
    uint16_t count;                  /* entries of list in use, removed ones included */
    uint8_t first[PROXY_HEADER_IDS]; /* by id: 1 + index of the first field that is not removed, 0 where there is none;
                                        [PROXY_HEADER_OTHER] is unused */
    struct proxy_header list[PROXY_HEADERS_MAX];
};

void proxy_headers_init(struct proxy_headers *headers); /* empty; the list is not cleared */

/* The first field with this id, or NULL. O(1). */
static inline const struct proxy_header *proxy_headers_get(const struct proxy_headers *headers, enum proxy_header_id id)
{
    return headers->first[id] == 0 ? NULL : &headers->list[headers->first[id] - 1];
}

/* The value of that field; empty where it is absent. */
static inline struct fl_span proxy_headers_value(const struct proxy_headers *headers, enum proxy_header_id id)
{
    return headers->first[id] == 0 ? (struct fl_span){NULL, 0} : headers->list[headers->first[id] - 1].value;
}

/* The next field of that name (case folded) after `after` (NULL: the first), or NULL. For names with an id give the id
 * and any spelling. */
const struct proxy_header *proxy_headers_next(const struct proxy_headers *headers, enum proxy_header_id id,
                                              struct fl_span name, const struct proxy_header *after);

/* Appends a field. 0, or -E2BIG where the list is full. The spans must outlive the message. */
int proxy_headers_add(struct proxy_headers *headers, struct fl_span name, struct fl_span value) FL_MUST_CHECK;
/* The same, before the field at `at` (≤ count). */
int proxy_headers_insert(struct proxy_headers *headers, size_t at, struct fl_span name,
                         struct fl_span value) FL_MUST_CHECK;
/* Removes every field of that name; returns how many. */
size_t proxy_headers_remove(struct proxy_headers *headers, struct fl_span name);
/* One field of that name with that value: the first one's value is changed in place (its spelling and position stay),
 * others are removed; appended where there was none. 0 or -E2BIG. */
int proxy_headers_set(struct proxy_headers *headers, struct fl_span name, struct fl_span value) FL_MUST_CHECK;

/* Methods by RFC 9110 §9 and RFC 5789; names are case-sensitive. */
#define PROXY_METHOD_LIST(X)                                                                                           \
    X(GET)                                                                                                             \
    X(HEAD)                                                                                                            \
    X(POST)                                                                                                            \
    X(PUT)                                                                                                             \
    X(DELETE)                                                                                                          \
    X(PATCH)                                                                                                           \
    X(OPTIONS)                                                                                                         \
    X(CONNECT)                                                                                                         \
    X(TRACE)

enum proxy_method {
    PROXY_METHOD_OTHER,
#define X(name) PROXY_METHOD_##name,
    PROXY_METHOD_LIST(X)
#undef X
};

enum proxy_target_form {
    PROXY_TARGET_ORIGIN,    /* /path?query */
    PROXY_TARGET_ABSOLUTE,  /* http://authority/path?query */
    PROXY_TARGET_AUTHORITY, /* host:port, CONNECT alone */
    PROXY_TARGET_ASTERISK,  /* *, OPTIONS alone */
};

/* How long the body is (RFC 9112 §6.3). */
enum proxy_framing {
    PROXY_FRAMING_NONE,    /* no body */
    PROXY_FRAMING_LENGTH,  /* content_length bytes (may be 0) */
    PROXY_FRAMING_CHUNKED, /* until the last chunk and its trailers */
    PROXY_FRAMING_CLOSE,   /* response: until the connection ends */
};

struct proxy_message {
    /* Request. */
    struct fl_span method; /* as written */
    struct fl_span target; /* as written */
    struct fl_span
        authority;       /* of the target where it has one, else Host's value; empty where there is none (HTTP/1.0) */
    struct fl_span path; /* path and query: "/a?b=c"; "/" for an absolute target without one; "*"; empty for CONNECT */
    struct fl_span scheme; /* of an absolute target, as written; else empty */
    /* Response. */
    struct fl_span reason; /* as written, may be empty */
    uint16_t status;       /* 100 to 999; 0 in a request */

    uint8_t method_id;   /* enum proxy_method; of a response: of its request */
    uint8_t target_form; /* enum proxy_target_form */
    uint8_t major;       /* version it came by: 1 or 2 */
    uint8_t minor;   /* version 1.<minor>: 0 or 1 (1.2 and above count as 1); of HTTP/2: 1, what it can be told as */
    uint8_t framing; /* enum proxy_framing */
    bool rewritten;  /* path or authority were set by proxy_message_set_*: the writer makes a new target and Host */
    bool keep_alive; /* the sender keeps its connection open after this message (RFC 9112 §9.3) */
    bool upgrade;    /* request: asks to change the protocol, in a way that may be passed on; response: 101, and after
                        this head both directions are opaque bytes (so after a 2xx to CONNECT) */
    bool expect_continue;    /* request: waits for 100 before it sends its body */
    bool te_trailers;        /* request: TE lists trailers */
    bool lenient;            /* HTTP/1: it was read leniently, and so is its body (h1.h) */
    bool connection_options; /* Connection lists more than close, keep-alive, upgrade and te: the writer strips those */
    uint64_t
        content_length; /* where framing is LENGTH, and in the answer to HEAD or in a 304 where the field is there */
    bool has_content_length;

    struct proxy_headers headers;
};

/* New values for what is sent on (prefix_rewrite, host_rewrite). An absolute target keeps its form. set_authority sets
 * Host too: 0, or -E2BIG where that was absent and the list is full. */
void proxy_message_set_path(struct proxy_message *message, struct fl_span path);
int proxy_message_set_authority(struct proxy_message *message, struct fl_span authority) FL_MUST_CHECK;

/* Everything cleared but the list of headers, which is empty. */
void proxy_message_init(struct proxy_message *message);

enum proxy_method proxy_method_id(struct fl_span method);

/* path up to '?', and what follows the first '?' (empty where there is none). */
struct fl_span proxy_message_path_only(const struct proxy_message *message);
struct fl_span proxy_message_query(const struct proxy_message *message);

/* "Not Found"; "Unknown" for a status that no RFC names. */
const char *proxy_status_reason(unsigned status);

/* IMF-fixdate (RFC 9110 §5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT", always PROXY_DATE_SIZE bytes, no NUL. */
#define PROXY_DATE_SIZE 29
void proxy_date_print(time_t now, char *to);

#endif
