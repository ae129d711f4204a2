/* HTTP/1.1 and 1.0 from a client, over one connection: each request is a stream of stream.h. One at a time is under
 * way; what the client sends beyond it waits unread (pipelining), bounded by one read. Bodies pass as they come.
 *
 * All that is HTTP/1's alone is in here: framing, keep-alive, Connection: close, Expect and 1xx, HEAD and 204, answers
 * to HTTP/1.0, tunnels after a 101 or a 2xx to CONNECT, and how the connection ends:
 *   - behind a complete answer, where it was the last one: flushed and closed; where the request has not come to its
 * end
 *     ("Connection: close" was sent for that) with a lingering close;
 *   - where an answer breaks off, or there is none, with a reset: never a truncated success;
 *   - a client's FIN behind a whole request means "no more requests" where it has said that it would close (HTTP/1.0,
 *     Connection: close), else it went away: PROXY_RESET_EOF.
 *
 * The connection is its owner's, who closes it when on_over tells how; its callbacks are the codec's. Timers between
 * requests are the owner's, too (on_idle, on_head_begun).
 */
#ifndef PROXY_HTTP_H1_SERVER_H
#define PROXY_HTTP_H1_SERVER_H

#include "common/loop/timer.h"
#include "proxy/http/h1_body.h"
#include "proxy/http/stream.h"
#include "proxy/net/conn.h"

#define PROXY_H1_SERVER_BURST 8u /* requests that one delivery may start; the rest waits for the next turn */

struct proxy_h1_server_owner { /* all must be given */
    /* A request has begun: gives the stream its user, whose on_head comes next. False: it cannot be served, the
     * connection ends. */
    bool (*on_stream)(void *owner, struct proxy_stream *stream);
    /* Some bytes of a head are here, and not all of them; told once a head. */
    void (*on_head_begun)(void *owner);
    /* No request is under way, and nothing of one has come. So it is at the beginning, too, without being told. */
    void (*on_idle)(void *owner);
    /* What the client sends is no HTTP: `stream` is there for an answer of the owner's, sent whole and closed within
     * this call. Where this is a body, the stream has its user, who may have answered already: then it hears on_reset
     * (PROXY_RESET_PROTOCOL) afterwards; a head's stream has none. The connection ends. */
    void (*on_refused)(void *owner, struct proxy_stream *stream, enum proxy_h1_error error);
    /* There is no further use for the connection: it is to be closed so. The last event. */
    void (*on_over)(void *owner, enum proxy_close how);
};

struct proxy_h1_server_options {
    struct proxy_conn *conn;
    struct proxy_h1_limits limits;
    struct proxy_message *message;  /* scratch for heads that come in */
    struct proxy_headers *trailers; /* … and trailers */
    const struct proxy_h1_server_owner *ops;
    void *owner;
};

struct proxy_h1_server {        /* embedded; private but for `options.limits`, which may be changed at any time */
    struct proxy_stream stream; /* the one under way */
    struct proxy_h1_server_options options;
    struct proxy_h1_parser parser;
    struct proxy_h1_body body;
    struct proxy_exchange kept;
    struct fl_timer breath; /* a burst goes on, or an end is told, in the next turn */
    const char *error;      /* of the stream that is reset */
    uint8_t framing;        /* of the answer, as written */
    bool active;            /* a request is under way: `stream` is somebody's */
    bool head_begun;
    bool request_done, answer_done;
    bool keep; /* after this answer the connection goes on */
    bool tunnel;
    bool eof; /* … behind a whole request, from a client that has said that it would close */
    bool out_of_memory;
    bool over;
};

/* Takes the connection's callbacks. Nothing can fail. */
void proxy_h1_server_init(struct proxy_h1_server *server, const struct proxy_h1_server_options *options);
/* The owner closes the connection for reasons of its own, or on_over was told: no event comes any more. A stream under
 * way must have been closed. */
void proxy_h1_server_done(struct proxy_h1_server *server);

/* Bytes that another owner of the connection had looked at first. Returns how many it took: as on_data of conn.h. */
size_t proxy_h1_server_data(struct proxy_h1_server *server, struct fl_span bytes);
/* A head does not come to its end in time: on_refused with PROXY_H1_ERROR_NONE. */
void proxy_h1_server_late(struct proxy_h1_server *server);

#endif
