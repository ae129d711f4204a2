/* HTTP/1.x heads from bytes: strict, pure, one pass. RFC 9112 and RFC 9110; where those leave a choice, the strict
 * side, because a sidecar sits between two parsers that may read a lenient message differently (request smuggling).
 *
 * Refused, each with its own word (PROXY_H1_ERROR_LIST) and the status to answer a client with; a response that is
 * refused is a 502 to the client:
 *   - Content-Length together with Transfer-Encoding; Content-Length with sign, space, list, overflow, or twice with
 *     different values; Transfer-Encoding that is not exactly one field "chunked" (other codings: 501), or in HTTP/1.0;
 *   - bare CR, bare LF, obs-fold, space before the colon, empty or non-token names, NUL and control bytes in values;
 *   - HTTP/0.9, any major version but 1 (505); missing, duplicate or malformed Host; authority form without CONNECT and
 *     the reverse; "*" without OPTIONS; a fragment or userinfo in the target; CONNECT with a body;
 *   - Transfer-Encoding, or a Content-Length that is not 0, in a 1xx or 204; more than PROXY_H1_INTERIM_MAX 1xx in a
 * row; a 101 that nobody asked for;
 *   - a head, a target or a number of fields beyond the limits (431, 414).
 * Tolerated, as the RFCs say or real programs need: one empty line before a request line (RFC 9112 §2.2); a status line
 * without reason or without the space before it; bytes from 0x80 in values and targets; an absolute target whose Host
 * differs (the target wins, Host is rewritten); Transfer-Encoding in the answer to HEAD and in a 304 (legal by RFC 9112
 * §6.1: there is no body, and the field is not passed on); identical Content-Length fields (passed on once).
 * Expect other than 100-continue is passed on: that is for the application to answer.
 *
 * Lenient (struct proxy_h1_limits), for old programs, where RFC 9112 lets a recipient mend what it gets; a message that
 * was mended is the last one on its connection (keep_alive is false), so that nothing can be hidden behind it:
 *   - a line of a head or trailer section may end with LF alone (§2.2), and several empty lines may come before a
 *     request line (§2.2);
 *   - obs-fold becomes spaces (§5.2), but not in Host, Connection, Content-Length and Transfer-Encoding;
 *   - in responses, white space before the colon is taken away (§5.1, which asks for it);
 *   - space and tab may stand behind a chunk size (RFC 9110 §5.6.3).
 * What is sent on is always in the strict form. Everything else stays refused: bare CR, LF alone in chunk lines, white
 * space before a request's colon, two ways to tell a length, other codings, octets that no field may hold.
 */
#ifndef PROXY_HTTP_H1_H
#define PROXY_HTTP_H1_H

#include "proxy/http/message.h"

#define PROXY_H1_HEAD_MAX         (60 * 1024) /* default and greatest max_request_headers_kb here: 60 (Envoy's default) */
#define PROXY_H1_HEADERS_MAX      100         /* default max_headers_count; at most PROXY_HEADERS_WIRE_MAX */
#define PROXY_H1_INTERIM_MAX      16          /* 1xx heads before a final one */
#define PROXY_H1_TRAILERS_MAX     8192        /* bytes of a trailer section */
#define PROXY_H1_CHUNK_LINE_MAX   256         /* bytes of a chunk-size line, extensions included */
#define PROXY_H1_CHUNK_DIGITS_MAX 15          /* hex digits of a chunk size */
#define PROXY_H1_OPTIONS_MAX      32          /* Connection options of a message */

/* X(id, status, word): the word goes to the access log's details and the metric's label. */
#define PROXY_H1_ERROR_LIST(X)                                                                                         \
    X(NONE, 0, "")                                                                                                     \
    X(REQUEST_LINE, 400, "http1.request_line")                                                                         \
    X(STATUS_LINE, 502, "http1.status_line")                                                                           \
    X(METHOD, 400, "http1.method")                                                                                     \
    X(TARGET, 400, "http1.target")                                                                                     \
    X(TARGET_FORM, 400, "http1.target_form")                                                                           \
    X(VERSION_SYNTAX, 400, "http1.version_syntax")                                                                     \
    X(VERSION, 505, "http1.version")                                                                                   \
    X(LINE_END, 400, "http1.line_end")                                                                                 \
    X(FOLDED, 400, "http1.folded_line")                                                                                \
    X(FIELD_NAME, 400, "http1.field_name")                                                                             \
    X(FIELD_NAME_SPACE, 400, "http1.space_before_colon")                                                               \
    X(FIELD_VALUE, 400, "http1.field_value")                                                                           \
    X(HOST_MISSING, 400, "http1.host_missing")                                                                         \
    X(HOST_DUPLICATE, 400, "http1.host_duplicate")                                                                     \
    X(HOST_INVALID, 400, "http1.host_invalid")                                                                         \
    X(CONTENT_LENGTH, 400, "http1.content_length")                                                                     \
    X(CONTENT_LENGTH_DIFFERS, 400, "http1.content_length_differs")                                                     \
    X(LENGTH_AND_CODING, 400, "http1.content_length_and_transfer_encoding")                                            \
    X(CODING, 400, "http1.transfer_encoding")                                                                          \
    X(CODING_UNKNOWN, 501, "http1.transfer_encoding_unknown")                                                          \
    X(CODING_HTTP10, 400, "http1.transfer_encoding_http10")                                                            \
    X(CODING_FORBIDDEN, 502, "http1.transfer_encoding_forbidden")                                                      \
    X(LENGTH_FORBIDDEN, 502, "http1.content_length_forbidden")                                                         \
    X(CONNECTION, 400, "http1.connection_options")                                                                     \
    X(CONNECT_BODY, 400, "http1.connect_with_body")                                                                    \
    X(UPGRADE_UNASKED, 502, "http1.upgrade_unasked")                                                                   \
    X(INTERIM_FLOOD, 502, "http1.interim_flood")                                                                       \
    X(TARGET_TOO_LONG, 414, "http1.target_too_long")                                                                   \
    X(HEAD_TOO_LARGE, 431, "http1.head_too_large")                                                                     \
    X(TOO_MANY_FIELDS, 431, "http1.too_many_fields")                                                                   \
    X(CHUNK_SIZE, 400, "http1.chunk_size")                                                                             \
    X(CHUNK_EXTENSION, 400, "http1.chunk_extension")                                                                   \
    X(CHUNK_END, 400, "http1.chunk_end")                                                                               \
    X(TRAILER, 400, "http1.trailer")                                                                                   \
    X(TRAILER_TOO_LARGE, 431, "http1.trailer_too_large")                                                               \
    X(BODY_TRUNCATED, 400, "http1.body_truncated")

enum proxy_h1_error {
#define X(id, status, word) PROXY_H1_ERROR_##id,
    PROXY_H1_ERROR_LIST(X)
#undef X
        PROXY_H1_ERRORS
};

/* The status to answer a client's bad request with (a bad response is always 502), and the word. */
unsigned proxy_h1_error_status(enum proxy_h1_error error);
const char *proxy_h1_error_word(enum proxy_h1_error error);

struct proxy_h1_limits {  /* NULL wherever limits are taken: the defaults */
    uint32_t head_max;    /* bytes of a head, its empty line included; 0: PROXY_H1_HEAD_MAX; never above it */
    uint32_t target_max;  /* bytes of a request target; 0: whatever fits in the head */
    uint32_t headers_max; /* fields; 0: PROXY_H1_HEADERS_MAX; never above PROXY_HEADERS_WIRE_MAX */
    bool lenient;         /* as above; then the bytes that are parsed must be writable: folds are mended in place */
};

/* One per connection and direction of heads; zeroed to begin with. 8 bytes. */
struct proxy_h1_parser {
    uint32_t scanned; /* bytes of the present head that were looked at: a trickled head is not read again and again */
    uint8_t interim;  /* 1xx heads seen for the present response */
    uint8_t error;    /* enum proxy_h1_error, where a parse returned -EPROTO */
    bool mended;      /* the present head (or a 1xx before it) needed leniency */
};

enum proxy_h1_result {
    PROXY_H1_DONE = 1, /* head: *ret_size bytes were the head; body: the message is complete */
    PROXY_H1_MORE = 2, /* more bytes are needed */
    PROXY_H1_DATA = 3, /* body alone: here are some */
};

/* A request head at the start of `bytes`. PROXY_H1_DONE: *message is set, *ret_size bytes (≤ head_max) were it, the
 * body or the next request follows. PROXY_H1_MORE: call again with the same bytes and more behind them (they may have
 * moved); while bytes.len is 0 or 2 or fewer bytes of CR LF, nothing has begun. -EPROTO: parser->error tells what is
 * wrong; answer and close. Never asks for more than head_max bytes. *message is written in every case, and means
 * something after DONE. */
int proxy_h1_parse_request(struct proxy_h1_parser *parser, struct fl_span bytes, const struct proxy_h1_limits *limits,
                           struct proxy_message *message, size_t *ret_size) FL_MUST_CHECK;

/* What the answer to a request depends on: kept per request by whoever waits for the response (a few bytes). */
struct proxy_exchange {
    uint8_t method_id; /* enum proxy_method */
    uint8_t minor;     /* the client's version */
    bool keep_alive;   /* the client would keep its connection */
    bool upgrade;      /* the client asked for an upgrade, and it was passed on */
    bool te_trailers;
};

struct proxy_exchange proxy_exchange_of(const struct proxy_message *request);

/* A response head. Where message->status is 1xx other than 101 another head follows: call again. Each final head resets
 * the parser. message->upgrade: after this head both directions are opaque (101, or 2xx to CONNECT). */
int proxy_h1_parse_response(struct proxy_h1_parser *parser, struct fl_span bytes, const struct proxy_h1_limits *limits,
                            const struct proxy_exchange *exchange, struct proxy_message *message,
                            size_t *ret_size) FL_MUST_CHECK;

static inline bool proxy_message_is_interim(const struct proxy_message *response)
{
    return response->status >= 100 && response->status < 200 && response->status != 101;
}

#endif
