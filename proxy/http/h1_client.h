/* An HTTP/1.x client over a connection: one request and its answer at a time, as a stream of stream.h.
 *
 *     begin ─► send_head, data …, end           (h1_write.h)
 *              on_head (1xx …, answer), data …, end   (h1.h, h1_body.h)
 *     then     the answer is told whole: is_clean says whether the connection may carry another request
 *
 * The struct is its owner's (one for each connection); the connection stays the owner's too: the client becomes its
 * owner in proxy_conn_set_owner's sense from begin until somebody else does, and never closes it. After
 * proxy_stream_close, and after on_reset, what comes on the connection is dropped.
 *
 * Framing of the request: a length stays one, all else that has a body is chunked. An upgrade and CONNECT have no body:
 * what is sent before the answer goes out as it is; after a 101 or a 2xx to CONNECT both directions are opaque, and
 * send_end is a FIN.
 *
 * Of the answer: until-close bodies end cleanly with the connection, whatever else ends early is PROXY_RESET_EOF. Why a
 * stream was reset: CONNECT before the connection was open, PROTOCOL with the parser's word (proxy_h1_client_error has
 * its number), EOF, CONNECTION, MEMORY; `end` says more where the connection itself broke.
 *
 * For the keep-alive race (RFC 9112 §9.3.1): stream.received is 0 until a byte of an answer came, and
 * proxy_stream_unsent equals stream.sent as long as nothing has left us.
 */
#ifndef PROXY_HTTP_H1_CLIENT_H
#define PROXY_HTTP_H1_CLIENT_H

#include "common/loop/loop.h"
#include "proxy/http/h1_body.h"
#include "proxy/http/stream.h"
#include "proxy/net/conn.h"

struct proxy_h1_scratch { /* a worker's, for heads and trailers that come in */
    struct proxy_message *message;
    struct proxy_headers *trailers;
};

struct proxy_h1_client {
    struct proxy_stream stream;
    struct proxy_conn *conn; /* the owner's; in on_reset it may be looked at, even where it is gone */
    struct proxy_h1_scratch scratch;
    void (*on_open)(struct proxy_h1_client *client); /* before the stream's; NULL allowed */
    void *owner;                                     /* for it */
    int end; /* enum proxy_end that the connection came to; -1: it lives, or ended in order */
    uint64_t sent_before, received_before; /* of the connection */
    uint32_t generation;                   /* of its streams */
    struct proxy_h1_parser parser;
    struct proxy_h1_body body;
    struct proxy_exchange request;
    uint8_t framing; /* of the request, as written */
    bool closed;     /* nothing is told any more */
    bool opened, head_sent, request_done;
    bool answered, answer_done, keep, tunnel;
    bool surplus; /* bytes came behind the answer */
    bool gone;    /* the connection has ended */
    const char *error;
    struct fl_deferred late; /* out of memory within a send: told at the turn's end */
    bool is_late;
};

/* A new stream on `conn`, which is open already or will tell. The struct is zeroed before its first use. */
void proxy_h1_client_begin(struct proxy_h1_client *client, struct proxy_conn *conn, bool open,
                           const struct proxy_stream_events *events, void *user);
/* Request and answer are whole, nothing came behind them, and the peer keeps its connection. */
bool proxy_h1_client_is_clean(const struct proxy_h1_client *client);
/* enum proxy_h1_error of an answer that could not be read; NONE. */
enum proxy_h1_error proxy_h1_client_error(const struct proxy_h1_client *client);

#endif
