/* Between the files of the HTTP/2 session; nobody else includes it.
 *
 *     h2.c        life: new, free, end, drain, ticks; failing
 *     h2_feed.c   bytes → frames: preface, frame heads, payloads that come in parts
 *     h2_control.c  SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY as they come in
 *     h2_head.c   HEADERS, CONTINUATION → fields → a stream's user
 *     h2_data.c   DATA in, windows given
 *     h2_stream.c streams: table, states, the calls of stream.h
 *     h2_send.c   heads, data and ends out; windows of the peer, fairness
 *     h2_write.c  frames to bytes
 *     h2_guard.c  budgets of what a peer may do without cause
 *     h2_incoming.c, h2_outgoing.c, h2_arena.c   fields ↔ message (pure)
 *
 * Reentrancy. Every entrance (a call of the owner or of a stream's user) is bracketed by proxy_h2_enter and
 * proxy_h2_leave. Within, streams that go are only unlinked, and freed at the outermost leave, which also tells the
 * owner that there is room and that the session is over. So a stream that was looked at before a call of its user can
 * be looked at after it: its `events` are NULL then where the user is gone.
 */
#ifndef PROXY_HTTP_H2_INNER_H
#define PROXY_HTTP_H2_INNER_H

#include "common/base/buf.h"
#include "proxy/http/h2.h"
#include "proxy/http/hpack.h"

#define H2_FRAME_HEAD       9u
#define H2_PREFACE          FL_SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
#define H2_WINDOW_MAX       0x7fffffff
#define H2_WINDOW_DEFAULT   65535
#define H2_HEAD_MAX         (60u * 1024)
#define H2_HEADERS_MAX      100u
#define H2_CONTINUATION_MAX 8u   /* CONTINUATION frames of one block */
#define H2_CONTROL_MAX      100u /* control frames that wait while the connection is held */
#define H2_INTERIM_MAX      16u  /* 1xx heads of one answer */
#define H2_FEW              4u   /* buckets of the table of streams, inside the session */
#define H2_RESETS           512u /* ids, the newest, of which it is known whether we reset them */
#define H2_SETTINGS_MS      10000u
#define H2_PING_TIMEOUT_MS  20000u
#define H2_FLUSH_MS         300000u
#define H2_PEER_STREAMS     100u /* that a client opens before the server has said how many */

/* X(type, name) by RFC 9113 §6. */
enum h2_type {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION,
    H2_TYPES
};

#define H2_END_STREAM     0x1u
#define H2_ACK            0x1u
#define H2_END_HEADERS    0x4u
#define H2_PADDED         0x8u
#define H2_PRIORITY_FIELD 0x20u

enum h2_code { /* RFC 9113 §7 */
               H2_NO_ERROR,
               H2_PROTOCOL_ERROR,
               H2_INTERNAL_ERROR,
               H2_FLOW_CONTROL_ERROR,
               H2_SETTINGS_TIMEOUT,
               H2_STREAM_CLOSED,
               H2_FRAME_SIZE_ERROR,
               H2_REFUSED_STREAM,
               H2_CANCEL,
               H2_COMPRESSION_ERROR,
               H2_CONNECT_ERROR,
               H2_ENHANCE_YOUR_CALM,
               H2_INADEQUATE_SECURITY,
               H2_HTTP_1_1_REQUIRED
};

enum h2_setting { /* RFC 9113 §6.5.2, RFC 8441 §3 */
                  H2_HEADER_TABLE_SIZE = 1,
                  H2_ENABLE_PUSH,
                  H2_MAX_CONCURRENT_STREAMS,
                  H2_INITIAL_WINDOW_SIZE,
                  H2_MAX_FRAME_SIZE,
                  H2_MAX_HEADER_LIST_SIZE,
                  H2_ENABLE_CONNECT_PROTOCOL = 8
};

struct h2_frame {
    uint32_t len, stream;
    uint8_t type, flags;
};

/* What is read next. */
#define H2_READINGS(X)                                                                                                 \
    X(PREFACE, "preface") /* server: the client's 24 bytes */                                                          \
    X(HEAD, "frame head") /* 9 bytes */                                                                                \
    X(PAYLOAD, "payload") /* of a frame that is handled whole */                                                       \
    X(PAD, "pad length")  /* of DATA */                                                                                \
    X(DATA, "data")       /* told as it comes */                                                                       \
    X(SKIP, "skipped")    /* padding, frames that mean nothing here */

enum h2_reading {
#define X(id, text) H2_READING_##id,
    H2_READINGS(X)
#undef X
};

/* One direction of a stream. `in`: HEAD → BODY → ENDED; `out` may wait in CLOSING: its user has ended it, bytes of it
 * or its end have not gone. 1xx heads leave HEAD as it is. */
#define H2_WAYS(X)                                                                                                     \
    X(HEAD, "head")                                                                                                    \
    X(BODY, "body")                                                                                                    \
    X(CLOSING, "closing")                                                                                              \
    X(ENDED, "ended")

enum h2_way {
#define X(id, text) H2_WAY_##id,
    H2_WAYS(X)
#undef X
};

struct h2_text; /* h2_outgoing.c: fields that outlive the call that sent them */

struct h2_upgrade { /* of an extended CONNECT */
    bool made_key;  /* server: the key is ours */
    uint32_t key_len, protocol_len;
    char text[]; /* key, protocol */
};

struct h2_stream {
    struct proxy_stream base; /* events NULL: its user is gone */
    struct proxy_h2 *h2;
    struct h2_stream *chain;           /* in its bucket; once it is unlinked: in `dead` */
    struct h2_stream *prev, *next;     /* in `all` */
    struct h2_stream *before, *behind; /* in `ready`, a ring */
    struct proxy_queue queue;          /* data that waits for window or room */
    struct h2_text *trailers;          /* … and what comes behind it */
    struct h2_upgrade *upgrade;
    uint64_t in_left, out_left;  /* of a content-length; UINT64_MAX: none was said */
    int32_t send_window, window; /* that the peer, that we have given and is not used */
    uint32_t used;               /* bytes told and not given back yet */
    uint32_t id;                 /* 0: a client's that has not sent its head */
    uint8_t in, out;             /* enum h2_way */
    uint8_t method_id;           /* enum proxy_method of the request */
    uint8_t error;               /* enum proxy_h2_error */
    uint8_t why;                 /* enum proxy_reset, in on_reset */
    uint8_t interim;
    bool open;                                  /* counts, and stands in the table */
    bool buried;                                /* waits in `dead` to be freed */
    bool stuck;                                 /* nothing of it has gone since the last look */
    bool paused, backlogged, tunnel, abandoned; /* abandoned: RST_STREAM(NO_ERROR) follows our end */
};

enum h2_kind {
    H2_KIND_RESET,
    H2_KIND_SETTINGS,
    H2_KIND_PING,
    H2_KIND_PRIORITY,
    H2_KIND_EMPTY,
    H2_KIND_WINDOW,
    H2_KINDS
};

struct h2_budget {
    uint32_t left;
    uint32_t at_ms; /* when it was last filled */
    uint32_t work;  /* up to where it was made use of */
};

struct proxy_h2 {
    const struct proxy_h2_owner *ops;
    void *owner;
    struct proxy_pool *pool;
    struct proxy_message *message;
    struct proxy_headers *trailers;
    struct proxy_hpack hpack;

    /* What comes in. */
    struct fl_buf gathered, block; /* of a payload, of a header block that is not whole yet */
    struct h2_frame frame;         /* under way */
    uint32_t left, pad;            /* bytes of its payload to come; of them at the end padding */
    uint32_t block_stream;         /* not 0: CONTINUATION must follow */
    char head[H2_FRAME_HEAD];
    uint8_t have;    /* bytes of head, or of the preface */
    uint8_t reading; /* enum h2_reading */
    uint8_t block_flags, continuations;
    bool block_dependent; /* the stream depends on itself */

    /* Streams. */
    struct h2_stream **buckets, *few[H2_FEW];
    struct h2_stream *all, *ready, *dead;
    uint32_t bucket_mask, ready_count;
    uint32_t open;      /* streams in the table */
    uint32_t opening;   /* client: made, without a head yet */
    uint32_t last_id;   /* greatest id that the client used */
    uint32_t goaway_id; /* server, drained: greatest that is taken */
    uint64_t resets[H2_RESETS / 64];

    /* Windows and limits. */
    int64_t send_window, window;
    uint32_t used;
    int32_t peer_window; /* a stream's, initially */
    uint32_t peer_streams, peer_frame;
    uint32_t max_streams, head_max, headers_max, high;
    int32_t stream_window, connection_window;
    size_t queued;
    const char *text; /* the transport's error, once it has ended */

    /* Time and abuse. */
    uint64_t now_ms, heard_ms, settings_ms, ping_ms; /* ping_ms: when one went out that is not answered; 0 */
    uint64_t looked_ms;                              /* for stuck streams */
    uint32_t ping_interval_ms, ping_timeout_ms, flush_ms;
    uint32_t reset_burst, reset_rate;
    struct h2_budget budgets[H2_KINDS];
    uint32_t work;    /* frames that carried something, both ways */
    uint16_t control; /* control frames written since the connection is held */

    uint8_t depth;
    uint8_t error; /* enum proxy_h2_error */
    bool server, tls, no_connect, bare_authority;
    bool got_settings, settings_acked, peer_connect;
    bool held, pumping, room, owed; /* owed: windows that were not given while it was held */
    bool draining, drained;         /* the first and the second GOAWAY are out */
    bool goaway;                    /* the peer's came */
    bool over, told;                /* no frame is read or written any more; on_over was called */
    bool dead_ends;                 /* ended by the owner: nothing is told or sent */
};

/* h2.c */
static inline void proxy_h2_enter(struct proxy_h2 *h2)
{
    h2->depth++;
}
void proxy_h2_leave(struct proxy_h2 *h2);
bool proxy_h2_is_done(const struct proxy_h2 *h2); /* GOAWAY was said or heard, and no stream is left */
void proxy_h2_fail(struct proxy_h2 *h2, enum proxy_h2_error error);
uint32_t proxy_h2_error_code(enum proxy_h2_error error);
void proxy_h2_send_goaway(struct proxy_h2 *h2, uint32_t last_id, uint32_t code, const char *text);

/* h2_write.c */
static inline uint32_t proxy_h2_get_u32(const char *from)
{
    const unsigned char *octet = (const unsigned char *)from;
    return (uint32_t)octet[0] << 24 | (uint32_t)octet[1] << 16 | (uint32_t)octet[2] << 8 | octet[3];
}
char *proxy_h2_put_head(char *to, uint32_t len, enum h2_type type, unsigned flags, uint32_t stream);
char *proxy_h2_put_u32(char *to, uint32_t value);
struct h2_frame proxy_h2_get_head(const char *from);
/* A frame of at most 64 bytes of payload that the peer's behaviour called for: counted while the connection is held. */
void proxy_h2_send_control(struct proxy_h2 *h2, enum h2_type type, unsigned flags, uint32_t stream,
                           struct fl_span payload);
void proxy_h2_send_rst(struct proxy_h2 *h2, uint32_t stream, uint32_t code);
void proxy_h2_send_window(struct proxy_h2 *h2, uint32_t stream, uint32_t increment);

void proxy_h2_send(struct proxy_h2 *h2, struct fl_span bytes);

/* h2_control.c, h2_head.c, h2_data.c: a frame whose head is right; payload whole (DATA: in parts). */
void proxy_h2_on_control(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload);
void proxy_h2_on_headers(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload);
void proxy_h2_on_continuation(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload);
/* After the frame's head; when `left` and `pad` are known; for each part; at its end. */
void proxy_h2_on_data_head(struct proxy_h2 *h2, const struct h2_frame *frame);
void proxy_h2_on_data_begin(struct proxy_h2 *h2);
void proxy_h2_on_data_part(struct proxy_h2 *h2, struct fl_span part);
void proxy_h2_on_data_end(struct proxy_h2 *h2);
void proxy_h2_give_window(struct proxy_h2 *h2, struct h2_stream *stream);
void proxy_h2_give_connection(struct proxy_h2 *h2, uint32_t bytes);
void proxy_h2_give_owed(struct proxy_h2 *h2);

/* h2_stream.c */
extern const struct proxy_stream_ops proxy_h2_stream_ops;
struct h2_stream *proxy_h2_stream_new(struct proxy_h2 *h2);
void proxy_h2_stream_insert(struct h2_stream *stream, uint32_t id);
struct h2_stream *proxy_h2_stream_find(const struct proxy_h2 *h2, uint32_t id);
bool proxy_h2_stream_is_idle(const struct proxy_h2 *h2, uint32_t id);
bool proxy_h2_was_reset(const struct proxy_h2 *h2, uint32_t id);
void proxy_h2_forget_resets(struct proxy_h2 *h2, uint32_t from, uint32_t to);
void proxy_h2_note_reset(struct proxy_h2 *h2, uint32_t id);
/* Where both directions have ended it leaves the table; where its user is gone too it is freed. */
void proxy_h2_stream_settle(struct h2_stream *stream);
/* Its user hears why; the stream is no more. Nothing is sent. */
void proxy_h2_stream_kill(struct h2_stream *stream, enum proxy_reset why, enum proxy_h2_error error);
/* The same after a RST_STREAM: for the peer's fault (counted), for ours. */
void proxy_h2_stream_fault(struct proxy_h2 *h2, uint32_t id, enum proxy_h2_error error);
void proxy_h2_stream_abort(struct h2_stream *stream, uint32_t code, enum proxy_reset why);

/* h2_send.c */
void proxy_h2_stream_send_head(struct proxy_stream *base, struct proxy_message *message, bool end);
void proxy_h2_stream_send_data(struct proxy_stream *base, struct fl_span data);
void proxy_h2_stream_send_end(struct proxy_stream *base, const struct proxy_headers *trailers);
void proxy_h2_ready(struct h2_stream *stream);
void proxy_h2_unready(struct h2_stream *stream);
void proxy_h2_drop_output(struct h2_stream *stream);
void proxy_h2_pump(struct proxy_h2 *h2);

/* h2_guard.c: false: the session has failed. */
bool proxy_h2_spend(struct proxy_h2 *h2, enum h2_kind kind);
void proxy_h2_guard_init(struct proxy_h2 *h2);

/* h2_arena.c */
struct h2_arena { /* text of one head; on the stack */
    struct h2_block *blocks;
    size_t used, size;
    char *at;
    char first[2048];
};
void proxy_h2_arena_init(struct h2_arena *arena);
void proxy_h2_arena_done(struct h2_arena *arena);
char *proxy_h2_arena_take(struct h2_arena *arena, size_t size); /* NULL: out of memory */

/* h2_incoming.c. The fields of one block as they come in. */
struct h2_incoming {
    struct proxy_headers *headers; /* where they go */
    struct h2_arena *arena;
    struct fl_span method, scheme, authority, path, protocol, status;
    size_t bytes; /* of the list, RFC 9113 §6.5.2 */
    uint32_t fields;
    uint8_t cookies;
    bool regular; /* one that is no pseudo-header was there */
    bool malformed, large, memory;
};
void proxy_h2_incoming_init(struct h2_incoming *incoming, struct proxy_headers *headers, struct h2_arena *arena);
void proxy_h2_incoming_add(struct h2_incoming *incoming, const struct proxy_h2 *h2,
                           const struct proxy_hpack_field *field);
/* Whole: the fields as a message. False: it is malformed (or memory is out: incoming->memory). *message has its headers
 * already. */
bool proxy_h2_incoming_request(struct h2_incoming *incoming, const struct proxy_h2 *h2, struct proxy_message *message,
                               bool end);
bool proxy_h2_incoming_answer(struct h2_incoming *incoming, const struct h2_stream *stream,
                              struct proxy_message *message, bool end);
bool proxy_h2_incoming_trailers(const struct h2_incoming *incoming);

/* h2_upgrade.c. False: memory (or randomness) is out.
 * Client: what an upgrade's request says is kept; its 2xx becomes a 101 as HTTP/1 has it.
 * Server: an extended CONNECT came, which gets a key for WebSocket where it has none; whether its 101 is right by that
 * key, which is taken out. */
bool proxy_h2_upgrade_sent(struct h2_stream *stream, const struct proxy_message *request);
bool proxy_h2_upgrade_answered(const struct h2_upgrade *upgrade, struct h2_arena *arena, struct proxy_message *answer);
bool proxy_h2_upgrade_came(struct h2_stream *stream, struct proxy_message *request);
bool proxy_h2_upgrade_answers(const struct h2_upgrade *upgrade, struct proxy_message *answer);

/* h2_outgoing.c. A message as the fields of a block. False: memory is out. */
struct h2_outgoing {
    struct h2_arena arena;
    struct proxy_hpack_field fields[PROXY_HPACK_FIELDS_MAX];
    size_t count;
    char status[4];
};
bool proxy_h2_outgoing_request(struct h2_outgoing *outgoing, const struct proxy_h2 *h2,
                               const struct proxy_message *message);
bool proxy_h2_outgoing_answer(struct h2_outgoing *outgoing, const struct h2_stream *stream,
                              const struct proxy_message *message);
bool proxy_h2_outgoing_trailers(struct h2_outgoing *outgoing, const struct proxy_headers *trailers);
void proxy_h2_outgoing_done(struct h2_outgoing *outgoing);
/* Trailers kept: one allocation. NULL: memory is out. */
struct h2_text *proxy_h2_text_new(const struct h2_outgoing *outgoing);
void proxy_h2_text_restore(const struct h2_text *text, struct h2_outgoing *outgoing);

#endif
