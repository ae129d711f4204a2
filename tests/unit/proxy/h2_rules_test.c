/* proxy/http/h2.h: what a peer must not send, by tables: every rule of RFC 9113 that h2spec tests, and those beside it.
 * Each row is fed whole and byte by byte, and the answer must be the same. */
#include "tests/unit/proxy/h2_frames.h"
#include "tests/unit/proxy/h2_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct pair pair;

enum verdict { FINE, STREAM, SESSION }; /* no error; a stream's, told by RST_STREAM; the session's, told by GOAWAY */

struct row {
    const char *what, *frames;
    enum verdict verdict;
    enum proxy_h2_error error;
};

#define E(name) PROXY_H2_ERROR_##name

/* The server answers nothing by itself; so a stream stays half-closed. */
static const struct row server_rows[] = {
    /* 3.4, 3.5 */
    {"the preface", "PREFACE; SETTINGS", FINE, E(NONE)},
    {"another preface", "RAW - 0 'INVALID CONNECTION PREFACE'", SESSION, E(PREFACE)},
    {"HTTP/1", "RAW - 0 'GET / HTTP/1.1' 0d0a0d0a", SESSION, E(PREFACE)},
    {"no SETTINGS first", "PREFACE; HEADERS es,eh 1 GET", SESSION, E(PREFACE)},
    {"an ACK first", "PREFACE; SETTINGS ack 0", SESSION, E(PREFACE)},
    /* 4.1, 4.2 */
    {"an unknown type", "PREFACE; SETTINGS; 22 - 0 00000000; PING - 0 8*00", FINE, E(NONE)},
    {"undefined flags", "PREFACE; SETTINGS; PING pri,pad,eh 0 8*00", FINE, E(NONE)},
    {"the greatest frame", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA - 1 16384*61", FINE, E(NONE)},
    {"DATA too large", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA - 1 16385*61", SESSION, E(FRAME_SIZE)},
    {"HEADERS too large", "PREFACE; SETTINGS; HEADERS/16385 eh 1 GET", SESSION, E(FRAME_SIZE)},
    {"an unknown frame too large", "PREFACE; SETTINGS; 22/16385 - 0", SESSION, E(FRAME_SIZE)},
    /* 4.3 */
    {"a block that is none", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 40", SESSION, E(COMPRESSION)},
    {"an index beyond the table", "PREFACE; SETTINGS; HEADERS es,eh 1 GET c6", SESSION, E(COMPRESSION)},
    {"index 0", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 80", SESSION, E(COMPRESSION)},
    {"a table larger than allowed", "PREFACE; SETTINGS; HEADERS es,eh 1 3fe21f GET", SESSION, E(COMPRESSION)},
    {"a table's size behind a field", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 20", SESSION, E(COMPRESSION)},
    {"Huffman padding of more than 7 bits", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 0085f2b24a84ff8449509fff", SESSION,
     E(COMPRESSION)},
    {"Huffman padding of zeros", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 0085f2b24a84ff83495090", SESSION,
     E(COMPRESSION)},
    {"Huffman EOS", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 008aaaffffffff", SESSION, E(COMPRESSION)},
    {"PRIORITY within a block", "PREFACE; SETTINGS; HEADERS es 1 GET; PRIORITY - 1 0000000010", SESSION,
     E(CONTINUATION)},
    {"another stream within a block", "PREFACE; SETTINGS; HEADERS es 1 GET; HEADERS es,eh 3 GET", SESSION,
     E(CONTINUATION)},
    {"an unknown frame within a block", "PREFACE; SETTINGS; HEADERS es 1 GET; 22 - 0 00", SESSION, E(CONTINUATION)},
    /* 5.1 */
    {"idle: DATA", "PREFACE; SETTINGS; DATA es 1 'x'", SESSION, E(STREAM_ID)},
    {"idle: RST_STREAM", "PREFACE; SETTINGS; RST - 1 00000008", SESSION, E(STREAM_ID)},
    {"idle: WINDOW_UPDATE", "PREFACE; SETTINGS; WINDOW - 1 00000064", SESSION, E(STREAM_ID)},
    {"idle: CONTINUATION", "PREFACE; SETTINGS; CONTINUATION eh 1 GET", SESSION, E(CONTINUATION)},
    {"idle: PRIORITY", "PREFACE; SETTINGS; PRIORITY - 1 0000000010; HEADERS es,eh 1 GET", FINE, E(NONE)},
    {"half closed: DATA", "PREFACE; SETTINGS; HEADERS es,eh 1 GET; DATA es 1 'x'", STREAM, E(STREAM_CLOSED)},
    {"half closed: HEADERS", "PREFACE; SETTINGS; HEADERS es,eh 1 GET; HEADERS es,eh 1 GET", STREAM, E(STREAM_CLOSED)},
    {"half closed: CONTINUATION", "PREFACE; SETTINGS; HEADERS es,eh 1 GET; CONTINUATION eh 1 GET", SESSION,
     E(CONTINUATION)},
    {"half closed: WINDOW_UPDATE", "PREFACE; SETTINGS; HEADERS es,eh 1 GET; WINDOW - 1 00000064", FINE, E(NONE)},
    {"half closed: PRIORITY", "PREFACE; SETTINGS; HEADERS es,eh 1 GET; PRIORITY - 1 0000000010", FINE, E(NONE)},
    {"half closed: RST_STREAM", "PREFACE; SETTINGS; HEADERS es,eh 1 GET; RST - 1 00000008", FINE, E(NONE)},
    {"reset: DATA", "PREFACE; SETTINGS; HEADERS eh 1 POST; RST - 1 00000008; DATA es 1 'x'", SESSION, E(STREAM_CLOSED)},
    {"reset: HEADERS", "PREFACE; SETTINGS; HEADERS eh 1 POST; RST - 1 00000008; HEADERS es,eh 1 GET", SESSION,
     E(STREAM_CLOSED)},
    {"reset: PRIORITY, WINDOW_UPDATE, RST_STREAM",
     "PREFACE; SETTINGS; HEADERS eh 1 POST; RST - 1 00000008; PRIORITY - 1 0000000010; WINDOW - 1 00000001; RST - 1 "
     "00000008",
     FINE, E(NONE)},
    /* 5.1.1 */
    {"an even stream", "PREFACE; SETTINGS; HEADERS es,eh 2 GET", SESSION, E(STREAM_ID)},
    {"a smaller number, of a stream that was skipped", "PREFACE; SETTINGS; HEADERS es,eh 5 GET; HEADERS es,eh 3 GET",
     SESSION, E(STREAM_CLOSED)},
    {"the reserved bit is ignored", "PREFACE; SETTINGS; RAW - 0 000006010580000001 828684410161", FINE, E(NONE)},
    /* 5.3.1 */
    {"HEADERS that depend on themselves", "PREFACE; SETTINGS; HEADERS es,eh,pri 1 0000000110 GET", STREAM, E(FRAME)},
    {"PRIORITY that depends on itself", "PREFACE; SETTINGS; PRIORITY - 1 0000000110", SESSION, E(FRAME)},
    {"the same, open", "PREFACE; SETTINGS; HEADERS eh 1 POST; PRIORITY - 1 0000000110", STREAM, E(FRAME)},
    /* 6.1 */
    {"DATA on the connection", "PREFACE; SETTINGS; DATA es 0 'x'", SESSION, E(STREAM_ID)},
    {"DATA, padded", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA es,pad 1 03 'abc' 3*00", FINE, E(NONE)},
    {"DATA, all padding", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA es,pad 1 03 3*00", FINE, E(NONE)},
    {"DATA, padding too long", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA es,pad 1 04 3*00", SESSION, E(FRAME)},
    {"DATA, padded and empty", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA es,pad 1", SESSION, E(FRAME_SIZE)},
    /* 6.2 */
    {"HEADERS on the connection", "PREFACE; SETTINGS; HEADERS es,eh 0 GET", SESSION, E(STREAM_ID)},
    {"HEADERS, padded, with priority", "PREFACE; SETTINGS; HEADERS es,eh,pad,pri 1 05 0000000010 GET 5*00", FINE,
     E(NONE)},
    {"HEADERS, padding too long", "PREFACE; SETTINGS; HEADERS es,eh,pad 1 ff GET", SESSION, E(FRAME)},
    {"HEADERS, no room for priority", "PREFACE; SETTINGS; HEADERS es,eh,pri 1 0000", SESSION, E(FRAME_SIZE)},
    {"HEADERS, padded and empty", "PREFACE; SETTINGS; HEADERS es,eh,pad 1", SESSION, E(FRAME_SIZE)},
    /* 6.3 */
    {"PRIORITY on the connection", "PREFACE; SETTINGS; PRIORITY - 0 0000000010", SESSION, E(STREAM_ID)},
    {"PRIORITY of 4 bytes", "PREFACE; SETTINGS; HEADERS eh 1 POST; PRIORITY - 1 00000000", STREAM, E(FRAME_SIZE)},
    /* 6.4 */
    {"RST_STREAM on the connection", "PREFACE; SETTINGS; RST - 0 00000008", SESSION, E(STREAM_ID)},
    {"RST_STREAM of 3 bytes", "PREFACE; SETTINGS; HEADERS eh 1 POST; RST - 1 000000", SESSION, E(FRAME_SIZE)},
    /* 6.5 */
    {"SETTINGS, ACK with a payload", "PREFACE; SETTINGS; SETTINGS ack 0 6*00", SESSION, E(FRAME_SIZE)},
    {"SETTINGS on a stream", "PREFACE; SETTINGS; SETTINGS - 1 000300000064", SESSION, E(STREAM_ID)},
    {"SETTINGS of 3 bytes", "PREFACE; SETTINGS; SETTINGS - 0 000300", SESSION, E(FRAME_SIZE)},
    {"ENABLE_PUSH 2", "PREFACE; SETTINGS; SETTINGS - 0 000200000002", SESSION, E(SETTINGS)},
    {"INITIAL_WINDOW_SIZE too large", "PREFACE; SETTINGS; SETTINGS - 0 000480000000", SESSION, E(FLOW_CONTROL)},
    {"MAX_FRAME_SIZE too small", "PREFACE; SETTINGS; SETTINGS - 0 000500003fff", SESSION, E(SETTINGS)},
    {"MAX_FRAME_SIZE too large", "PREFACE; SETTINGS; SETTINGS - 0 000501000000", SESSION, E(SETTINGS)},
    {"ENABLE_CONNECT_PROTOCOL 2", "PREFACE; SETTINGS; SETTINGS - 0 000800000002", SESSION, E(SETTINGS)},
    {"ENABLE_CONNECT_PROTOCOL taken back", "PREFACE; SETTINGS; SETTINGS - 0 000800000001; SETTINGS - 0 000800000000",
     SESSION, E(SETTINGS)},
    {"an unknown setting", "PREFACE; SETTINGS; SETTINGS - 0 00ff00000001", FINE, E(NONE)},
    /* 6.6 */
    {"PUSH_PROMISE", "PREFACE; SETTINGS; HEADERS eh 1 POST; PUSH_PROMISE eh 1 00000002 GET", SESSION, E(FRAME)},
    /* 6.7 */
    {"PING", "PREFACE; SETTINGS; PING - 0 'h2spec' 0000", FINE, E(NONE)},
    {"PING, an ACK nobody waits for", "PREFACE; SETTINGS; PING ack 0 8*00", FINE, E(NONE)},
    {"PING on a stream", "PREFACE; SETTINGS; PING - 1 8*00", SESSION, E(STREAM_ID)},
    {"PING of 6 bytes", "PREFACE; SETTINGS; PING - 0 6*00", SESSION, E(FRAME_SIZE)},
    /* 6.8 */
    {"GOAWAY on a stream", "PREFACE; SETTINGS; GOAWAY - 1 8*00", SESSION, E(STREAM_ID)},
    {"GOAWAY of 7 bytes", "PREFACE; SETTINGS; GOAWAY - 0 7*00", SESSION, E(FRAME_SIZE)},
    /* 6.9 */
    {"WINDOW_UPDATE of 0", "PREFACE; SETTINGS; WINDOW - 0 00000000", SESSION, E(FRAME)},
    {"WINDOW_UPDATE of 0, a stream's", "PREFACE; SETTINGS; HEADERS eh 1 POST; WINDOW - 1 00000000", STREAM, E(FRAME)},
    {"WINDOW_UPDATE of 3 bytes", "PREFACE; SETTINGS; WINDOW - 0 000001", SESSION, E(FRAME_SIZE)},
    {"the connection's window too large", "PREFACE; SETTINGS; WINDOW - 0 7fffffff; WINDOW - 0 7fffffff", SESSION,
     E(FLOW_CONTROL)},
    {"a stream's window too large", "PREFACE; SETTINGS; HEADERS eh 1 POST; WINDOW - 1 7fffffff", STREAM,
     E(FLOW_CONTROL)},
    {"a stream's window too large by SETTINGS",
     "PREFACE; SETTINGS; HEADERS eh 1 POST; WINDOW - 1 7fff0000; SETTINGS - 0 00047fffffff", SESSION, E(FLOW_CONTROL)},
    /* 6.10 */
    {"CONTINUATION, several", "PREFACE; SETTINGS; HEADERS es 1 GET; CONTINUATION - 1 {a: b}; CONTINUATION eh 1 {c: d}",
     FINE, E(NONE)},
    {"CONTINUATION, within a field",
     "PREFACE; SETTINGS; HEADERS es 1 GET 0001; CONTINUATION - 1; CONTINUATION - 1 6101; CONTINUATION eh 1 62", FINE,
     E(NONE)},
    {"CONTINUATION on the connection", "PREFACE; SETTINGS; HEADERS es 1 GET; CONTINUATION eh 0 {a: b}", SESSION,
     E(CONTINUATION)},
    {"CONTINUATION behind the end", "PREFACE; SETTINGS; HEADERS eh 1 GET; CONTINUATION eh 1 {a: b}", SESSION,
     E(CONTINUATION)},
    {"CONTINUATION behind DATA", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA - 1 'x'; CONTINUATION eh 1 {a: b}",
     SESSION, E(CONTINUATION)},
    /* 8.1 */
    {"trailers", "PREFACE; SETTINGS; HEADERS eh 1 POST; DATA - 1 'x'; HEADERS es,eh 1 {a: b}", FINE, E(NONE)},
    {"trailers without an end", "PREFACE; SETTINGS; HEADERS eh 1 POST; HEADERS eh 1 {a: b}", STREAM, E(MESSAGE)},
    {"trailers with a pseudo-header", "PREFACE; SETTINGS; HEADERS eh 1 POST; HEADERS es,eh 1 {:method: GET}", STREAM,
     E(MESSAGE)},
    {"trailers with capital letters", "PREFACE; SETTINGS; HEADERS eh 1 POST; HEADERS es,eh 1 {A: b}", STREAM,
     E(MESSAGE)},
    {"trailers with a connection field", "PREFACE; SETTINGS; HEADERS eh 1 POST; HEADERS es,eh 1 {connection: close}",
     STREAM, E(MESSAGE)},
    /* 8.1.1 */
    {"content-length, more", "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 1}; DATA es 1 'ab'", STREAM,
     E(CONTENT_LENGTH)},
    {"content-length, more in two",
     "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 1}; DATA - 1 'a'; DATA es 1 'b'", STREAM,
     E(CONTENT_LENGTH)},
    {"content-length, less", "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 3}; DATA es 1 'ab'", STREAM,
     E(CONTENT_LENGTH)},
    {"content-length, less and trailers",
     "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 3}; DATA - 1 'ab'; HEADERS es,eh 1 {a: b}", STREAM,
     E(CONTENT_LENGTH)},
    {"content-length, nothing", "PREFACE; SETTINGS; HEADERS es,eh 1 POST {content-length: 1}", STREAM, E(MESSAGE)},
    {"content-length, right",
     "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 2|content-length: 2}; DATA es,pad 1 02 'ab' 0000", FINE,
     E(NONE)},
    {"content-length, twice", "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 2|content-length: 3}", STREAM,
     E(MESSAGE)},
    {"content-length, a sign", "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: +2}", STREAM, E(MESSAGE)},
    {"content-length, a list", "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 2,2}", STREAM, E(MESSAGE)},
    {"content-length, empty", "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: }", STREAM, E(MESSAGE)},
    {"content-length, 2^63", "PREFACE; SETTINGS; HEADERS eh 1 POST {content-length: 9223372036854775808}", STREAM,
     E(MESSAGE)},
    /* 8.2 */
    {"a capital letter", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {X-TEST: ok}", STREAM, E(MESSAGE)},
    {"an empty name", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {(): ok}", STREAM, E(MESSAGE)},
    {"a space in a name", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {a b: ok}", STREAM, E(MESSAGE)},
    {"CR in a value", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {a: b`c}", STREAM, E(MESSAGE)},
    {"LF in a value", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 00 0161 03 610a62", STREAM, E(MESSAGE)},
    {"NUL in a value", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {a: b~c}", STREAM, E(MESSAGE)},
    {"a space before a value", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {a: ^b}", STREAM, E(MESSAGE)},
    {"a space behind a value", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {a: b^}", STREAM, E(MESSAGE)},
    {"a tab behind a value", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 00 0161 02 6209", STREAM, E(MESSAGE)},
    {"an empty value", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {a: }", FINE, E(NONE)},
    {"bytes from 0x80", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 00 0161 02 c3a4", FINE, E(NONE)},
    /* 8.2.2 */
    {"connection", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {connection: keep-alive}", STREAM, E(MESSAGE)},
    {"keep-alive", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {keep-alive: timeout=5}", STREAM, E(MESSAGE)},
    {"proxy-connection", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {proxy-connection: keep-alive}", STREAM, E(MESSAGE)},
    {"transfer-encoding", "PREFACE; SETTINGS; HEADERS eh 1 POST {transfer-encoding: chunked}", STREAM, E(MESSAGE)},
    {"upgrade", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {upgrade: websocket}", STREAM, E(MESSAGE)},
    {"te: trailers, deflate", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {te: trailers, deflate}", STREAM, E(MESSAGE)},
    {"te: trailers", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {te: trailers}", FINE, E(NONE)},
    /* 8.3 */
    {"an unknown pseudo-header", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {:test: ok}", STREAM, E(MESSAGE)},
    {"an answer's pseudo-header", "PREFACE; SETTINGS; HEADERS es,eh 1 {:status: 200} GET", STREAM, E(MESSAGE)},
    {"a pseudo-header behind a field",
     "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|a: b|:path: /|:authority: a}", STREAM, E(MESSAGE)},
    {"a lone colon", "PREFACE; SETTINGS; HEADERS es,eh 1 GET 00 013a 0161", STREAM, E(MESSAGE)},
    {":path empty", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: |:authority: a}", STREAM,
     E(MESSAGE)},
    {"no :method", "PREFACE; SETTINGS; HEADERS es,eh 1 {:scheme: http|:path: /|:authority: a}", STREAM, E(MESSAGE)},
    {"no :scheme", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:path: /|:authority: a}", STREAM, E(MESSAGE)},
    {"no :path", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:authority: a}", STREAM, E(MESSAGE)},
    {"two :method", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET} GET", STREAM, E(MESSAGE)},
    {"two :scheme", "PREFACE; SETTINGS; HEADERS es,eh 1 {:scheme: http} GET", STREAM, E(MESSAGE)},
    {"two :path", "PREFACE; SETTINGS; HEADERS es,eh 1 {:path: /} GET", STREAM, E(MESSAGE)},
    {"two :authority", "PREFACE; SETTINGS; HEADERS es,eh 1 {:authority: a} GET", STREAM, E(MESSAGE)},
    {"two :authority, the first empty", "PREFACE; SETTINGS; HEADERS es,eh 1 {:authority: } GET", STREAM, E(MESSAGE)},
    {"a method that is no token",
     "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: G^T|:scheme: http|:path: /|:authority: a}", STREAM, E(MESSAGE)},
    {"a scheme that is none", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: ht^tp|:path: /|:authority: a}",
     STREAM, E(MESSAGE)},
    {"a path that is none", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: a|:authority: a}",
     STREAM, E(MESSAGE)},
    {"a path with a space", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: /a^b|:authority: a}",
     STREAM, E(MESSAGE)},
    {"a path with a fragment",
     "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: /a#b|:authority: a}", STREAM, E(MESSAGE)},
    {"* without OPTIONS", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: *|:authority: a}",
     STREAM, E(MESSAGE)},
    {"OPTIONS *", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: OPTIONS|:scheme: http|:path: *|:authority: a}", FINE,
     E(NONE)},
    {"userinfo", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: /|:authority: u@a}", STREAM,
     E(MESSAGE)},
    {"an authority with a path",
     "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: /|:authority: a/b}", STREAM, E(MESSAGE)},
    {"no authority at all", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: /}", STREAM,
     E(MESSAGE)},
    {"Host alone", "PREFACE; SETTINGS; HEADERS es,eh 1 {:method: GET|:scheme: http|:path: /|host: a}", FINE, E(NONE)},
    {"Host and authority, equal", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {host: A}", FINE, E(NONE)},
    {"Host and authority, different", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {host: b}", STREAM, E(MESSAGE)},
    {"two Hosts", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {host: a|host: a}", STREAM, E(MESSAGE)},
    /* 8.5, RFC 8441 */
    {"CONNECT", "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:authority: a:1}", FINE, E(NONE)},
    {"CONNECT with a path", "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:authority: a:1|:path: /}", STREAM,
     E(MESSAGE)},
    {"CONNECT with a scheme", "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:authority: a:1|:scheme: http}",
     STREAM, E(MESSAGE)},
    {"CONNECT without an authority", "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|host: a:1}", STREAM,
     E(MESSAGE)},
    {"CONNECT without a port", "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:authority: a}", STREAM, E(MESSAGE)},
    {"CONNECT with a body", "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:authority: a:1|content-length: 3}",
     STREAM, E(MESSAGE)},
    {"extended CONNECT",
     "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:protocol: websocket|:scheme: http|:path: /|:authority: a}",
     FINE, E(NONE)},
    {"extended CONNECT without a path",
     "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:protocol: websocket|:scheme: http|:authority: a}", STREAM,
     E(MESSAGE)},
    {"extended CONNECT without an authority",
     "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:protocol: websocket|:scheme: http|:path: /}", STREAM,
     E(MESSAGE)},
    {"a protocol without CONNECT", "PREFACE; SETTINGS; HEADERS es,eh 1 GET {:protocol: websocket}", STREAM, E(MESSAGE)},
    {"GET with a protocol", "PREFACE; SETTINGS; HEADERS es,eh 1 {:protocol: websocket} GET", STREAM, E(MESSAGE)},
    {"the protocol h2c",
     "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:protocol: h2c|:scheme: http|:path: /|:authority: a}", STREAM,
     E(MESSAGE)},
    {"a protocol that is no token",
     "PREFACE; SETTINGS; HEADERS eh 1 {:method: CONNECT|:protocol: a,b|:scheme: http|:path: /|:authority: a}", STREAM,
     E(MESSAGE)},
};

/* A request is under way on stream 1. */
static const struct row client_rows[] = {
    {"an answer", "SETTINGS; HEADERS es,eh 1 {:status: 200}", FINE, E(NONE)},
    {"an answer in parts",
     "SETTINGS; HEADERS eh 1 {:status: 100}; HEADERS - 1; CONTINUATION eh 1 {:status: 200}; DATA - 1 'ab'; HEADERS "
     "es,eh 1 {a: b}",
     FINE, E(NONE)},
    {"no SETTINGS first", "HEADERS es,eh 1 {:status: 200}", SESSION, E(PREFACE)},
    {"DATA before the head", "SETTINGS; DATA - 1 'x'", STREAM, E(MESSAGE)},
    {"an answer to nothing", "SETTINGS; HEADERS es,eh 3 {:status: 200}", SESSION, E(STREAM_ID)},
    {"a stream of the server's", "SETTINGS; HEADERS es,eh 2 {:status: 200}", SESSION, E(STREAM_ID)},
    {"PUSH_PROMISE", "SETTINGS; PUSH_PROMISE eh 1 00000002 GET", SESSION, E(FRAME)},
    {"ENABLE_PUSH 1", "SETTINGS; SETTINGS - 0 000200000001", SESSION, E(SETTINGS)},
    {"no :status", "SETTINGS; HEADERS es,eh 1 {a: b}", STREAM, E(MESSAGE)},
    {"two :status", "SETTINGS; HEADERS es,eh 1 {:status: 200|:status: 200}", STREAM, E(MESSAGE)},
    {"a request's pseudo-header", "SETTINGS; HEADERS es,eh 1 {:status: 200|:path: /}", STREAM, E(MESSAGE)},
    {":status 99", "SETTINGS; HEADERS es,eh 1 {:status: 099}", STREAM, E(MESSAGE)},
    {":status 2000", "SETTINGS; HEADERS es,eh 1 {:status: 2000}", STREAM, E(MESSAGE)},
    {":status of letters", "SETTINGS; HEADERS es,eh 1 {:status: 2xx}", STREAM, E(MESSAGE)},
    {"101", "SETTINGS; HEADERS eh 1 {:status: 101}", STREAM, E(MESSAGE)},
    {"1xx that ends", "SETTINGS; HEADERS es,eh 1 {:status: 100}", STREAM, E(MESSAGE)},
    {"1xx with a length", "SETTINGS; HEADERS eh 1 {:status: 100|content-length: 1}", STREAM, E(MESSAGE)},
    {"connection fields", "SETTINGS; HEADERS es,eh 1 {:status: 200|connection: close}", STREAM, E(MESSAGE)},
    {"content-length, nothing", "SETTINGS; HEADERS es,eh 1 {:status: 200|content-length: 1}", STREAM, E(MESSAGE)},
    {"content-length, 304", "SETTINGS; HEADERS es,eh 1 {:status: 304|content-length: 1}", FINE, E(NONE)},
    {"204 with DATA", "SETTINGS; HEADERS eh 1 {:status: 204}; DATA es 1 'x'", STREAM, E(CONTENT_LENGTH)},
    {"204 that ends later", "SETTINGS; HEADERS eh 1 {:status: 204}; DATA es 1", FINE, E(NONE)},
    {"content-length, less", "SETTINGS; HEADERS eh 1 {:status: 200|content-length: 3}; DATA es 1 'ab'", STREAM,
     E(CONTENT_LENGTH)},
    {"content-length, more", "SETTINGS; HEADERS eh 1 {:status: 200|content-length: 1}; DATA - 1 'ab'", STREAM,
     E(CONTENT_LENGTH)},
    {"closed: HEADERS", "SETTINGS; HEADERS es,eh 1 {:status: 200}; HEADERS es,eh 1 {:status: 200}", SESSION,
     E(STREAM_CLOSED)},
    {"closed: DATA", "SETTINGS; HEADERS es,eh 1 {:status: 200}; DATA es 1 'x'", SESSION, E(STREAM_CLOSED)},
    {"17 heads of 1xx",
     "SETTINGS; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 "
     "{:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS "
     "eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; "
     "HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: "
     "103}; HEADERS eh 1 {:status: 103}; HEADERS eh 1 {:status: 103}",
     STREAM, E(INTERIM_FLOOD)},
    {"a SETTINGS that forbids", "SETTINGS; SETTINGS - 0 000800000001; HEADERS es,eh 1 {:status: 200}", FINE, E(NONE)},
};

static uint32_t u32(struct fl_span bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* What the session under test has told by frames: -1, or the code of the first GOAWAY, of the first RST_STREAM. */
static void look(struct fl_span sent, int64_t *goaway, int64_t *rst)
{
    struct frame_seen frame;
    *goaway = *rst = -1;
    while (frames_next(&sent, &frame)) {
        if (frame.type == 7 && *goaway < 0)
            *goaway = u32(fl_span_from(frame.payload, 4));
        if (frame.type == 3 && *rst < 0)
            *rst = u32(frame.payload);
    }
    assert_int_equal(sent.len, 0);
}

static const unsigned codes[] = {
#define X(id, code, word) code,
    PROXY_H2_ERROR_LIST(X)
#undef X
};

static bool judge(const struct row *row, const struct pair_side *side, struct fl_span sent)
{
    int64_t goaway, rst;
    look(sent, &goaway, &rst);
    switch (row->verdict) {
    case FINE:
        return !side->over && side->faults == 0 && goaway < 0 && rst < 0;
    case STREAM:
        return !side->over && side->faults == 1 && side->fault == row->error && goaway < 0 && rst == codes[row->error];
    case SESSION:
    default:
        return side->over && side->error == row->error && goaway == codes[row->error];
    }
}

static void feed(struct pair_side *side, struct fl_span bytes, size_t split)
{
    for (size_t at = 0; at < bytes.len; at += split) {
        size_t part = bytes.len - at < split ? bytes.len - at : split;
        char *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, bytes.data + at, part);
        proxy_h2_feed(side->h2, fl_span_make(copy, part), pair.now_ms);
        free(copy);
    }
}

static unsigned run(const struct row *row, bool server, size_t split)
{
    struct fl_buf bytes;
    fl_buf_init(&bytes, 1u << 20);
    frames_write(&bytes, row->frames);
    assert_int_equal(server ? pair_init_server(&pair, NULL) : pair_init_client(&pair, NULL), 0);
    struct pair_side *side = server ? &pair.server : &pair.client;
    struct fl_buf *pipe = server ? &pair.client.pipe : &pair.server.pipe;
    if (!server) {
        assert_non_null(pair_request(&pair, "GET", "/", NULL, true));
        fl_buf_clear(pipe);
    }
    feed(side, fl_buf_span(&bytes), split != 0 ? split : bytes.len);
    bool right = judge(row, side, fl_buf_span(pipe));
    if (!right)
        print_message("%s, split %zu: over %d (%s), %u faults (%s)\n", row->what, split, side->over,
                      proxy_h2_error_word(side->error), side->faults, proxy_h2_error_word(side->fault));
    fl_buf_done(&bytes);
    pair_done(&pair);
    return !right;
}

static void run_all(const struct row *rows, size_t count, bool server)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < count; i++) {
        static const size_t splits[] = {0, 1, 2, 7, 13};
        for (size_t k = 0; k < FL_COUNT(splits); k++)
            wrong += run(&rows[i], server, splits[k]);
    }
    assert_int_equal(wrong, 0);
}

static void test_server(void **state)
{
    (void)state;
    run_all(server_rows, FL_COUNT(server_rows), true);
}

static void test_client(void **state)
{
    (void)state;
    run_all(client_rows, FL_COUNT(client_rows), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_server), cmocka_unit_test(test_client)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
