/* Two HTTP/2 sessions back to back, in memory: a client's and a server's, with recorders as the users of their streams.
 * What one sends waits in the other's `pipe` until pair_run delivers it, in parts of `split` bytes (0: all at once). */
#ifndef TESTS_UNIT_PROXY_H2_PAIR_H
#define TESTS_UNIT_PROXY_H2_PAIR_H

#include "common/base/buf.h"
#include "proxy/http/h2.h"

#define PAIR_STREAMS 256

struct pair_side;

struct pair_stream { /* the user of one stream */
    struct pair_side *side;
    struct proxy_stream *stream;     /* NULL once it is dead */
    char head[8192], trailers[2048]; /* "GET http a:1 /path\nname: value\n", "200\n…" */
    struct fl_buf body;
    unsigned heads, writable;
    uint16_t status;
    bool upgrade, end, ended, reset; /* end: with the head */
    uint8_t framing;
    enum proxy_reset why;
    char error[64];
};

struct pair_side {
    struct pair *pair;
    struct proxy_h2 *h2;
    struct fl_buf pipe; /* towards this side */
    struct pair_stream streams[PAIR_STREAMS];
    size_t count;
    bool is_server, echo, refuse, close_at_head, close_at_end, hold, over;
    enum proxy_h2_error error, fault;
    unsigned goaways, rooms, faults;
};

struct pair {
    struct pair_side client, server;
    struct proxy_pool pool;
    struct proxy_message message;
    struct proxy_headers trailers;
    uint64_t now_ms;
    size_t split;
};

/* NULL settings: the defaults. 0 or -ENOMEM (then there is nothing to be done away with). */
int pair_init(struct pair *pair, const struct proxy_h2_settings *client, const struct proxy_h2_settings *server);
/* One side alone: the other's bytes are the test's. */
int pair_init_server(struct pair *pair, const struct proxy_h2_settings *settings);
int pair_init_client(struct pair *pair, const struct proxy_h2_settings *settings);
void pair_done(struct pair *pair);
/* Until neither has anything for the other. */
void pair_run(struct pair *pair);
/* A new client's stream with a request's head. fields: "name: value\n" lines, or NULL. NULL: there is no room, or
 * memory is out. */
struct pair_stream *pair_request(struct pair *pair, const char *method, const char *path, const char *fields, bool end);
/* Fills a message: "name: value\n" lines. The spans point into `fields`. */
void pair_fields(struct proxy_headers *headers, const char *fields);
void pair_answer(struct pair_stream *stream, unsigned status, const char *fields, bool end);
void pair_send(struct pair_stream *stream, struct fl_span data);
void pair_close(struct pair_stream *stream, enum proxy_reset why);
extern const struct proxy_stream_events pair_events;

#endif
