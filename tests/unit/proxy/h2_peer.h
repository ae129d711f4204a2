/* The test as a client or a server of HTTP/2, on a real socket of the fixture's: our own session at the other end, with
 * recorders as the users of its streams. Everything asserts. */
#ifndef TESTS_UNIT_PROXY_H2_PEER_H
#define TESTS_UNIT_PROXY_H2_PEER_H

#include "proxy/http/h2.h"
#include "tests/unit/proxy/filter_fixture.h"

#define PEER_STREAMS 256u

struct h2_peer;

struct peer_stream { /* the user of one stream */
    struct h2_peer *peer;
    struct proxy_stream *stream; /* NULL once it is dead */
    char head[4096],
        trailers[1024]; /* "GET /path\nname: value\n", "200\nname: value\n": of all heads, one after the other */
    struct fl_buf body;
    uint16_t status;
    bool upgrade, ended, reset, writable;
    enum proxy_reset why;
};

struct h2_peer {
    struct fixture *f;
    struct side side;
    struct proxy_h2 *h2;
    struct proxy_pool pool;
    struct proxy_message message;
    struct proxy_headers trailers;
    struct fl_buf out; /* has not gone to the socket yet */
    struct peer_stream *streams[PEER_STREAMS];
    size_t count;
    bool over, is_deaf; /* deaf: what comes stays in the socket */
    unsigned goaways, refuse;
    enum proxy_h2_error error;
};

/* A client that has connected and was accepted by the data path; settings may be NULL. */
void peer_connect(struct h2_peer *peer, struct fixture *f, const struct proxy_h2_settings *settings);
/* The next connection at the origin, with HTTP/2 spoken on it. */
void peer_accept(struct h2_peer *peer, struct fixture *f, const struct proxy_h2_settings *settings);
void peer_done(struct h2_peer *peer);

/* Until nothing moves any more. */
void peer_run(struct h2_peer *peer);
#define PEER_UNTIL(peer, condition) FIXTURE_UNTIL((peer)->f, (peer_run(peer), (condition)))

/* A new client's stream with a request's head. fields: "name: value\n" lines, or "". */
struct peer_stream *peer_request(struct h2_peer *peer, const char *method, const char *path, const char *fields,
                                 bool end);
/* A server's stream that a request has opened: the nth (0: the first) of the connection; waits for it. */
struct peer_stream *peer_asked(struct h2_peer *peer, size_t nth);
void peer_answer(struct peer_stream *stream, unsigned status, const char *fields, bool end);
void peer_send(struct peer_stream *stream, const char *text);
void peer_send_bytes(struct peer_stream *stream, struct fl_span bytes);
void peer_end(struct peer_stream *stream, const char *trailers); /* NULL: none */
void peer_reset(struct peer_stream *stream, enum proxy_reset why);

/* Waits for the end of what comes, and asserts what it was; a text of NULL is not looked at. */
void peer_expect(struct peer_stream *stream, const char *head_start, const char *body);
void peer_expect_reset(struct peer_stream *stream);

#endif
