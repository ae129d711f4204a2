/* What session.c, exchange.c and head.c share; for them alone. */
#ifndef FL_GRPC_INNER_H
#define FL_GRPC_INNER_H

#include "common/grpc/frame.h"
#include "common/grpc/session.h"

#define FL_GRPC_DATA_MAX 4000 /* bytes of a DATA frame that we send: with its head, one page */

struct nghttp2_session;

struct fl_grpc_session {
    struct nghttp2_session *h2;
    const struct fl_grpc_session_ops *ops;
    void *owner;
    const struct fl_grpc_exchange_ops *exchange_ops;
    struct fl_grpc_session_options options;
    struct fl_grpc_exchange *exchanges; /* dead ones too, until no call runs */
    size_t count;                       /* live ones */
    size_t inbound;                     /* bytes held, see the options */
    unsigned calls;                     /* nested calls that run now: memory stays */
    unsigned credits;                   /* frames without content that the peer may still send */
    uint64_t credits_ms;                /* when they were last filled up */
    size_t sent;                        /* bytes of output that have not become credits */
    int fault;                          /* negative errno: the session is of no use */
    bool ready, aborted, going, flooded;
    bool notify;           /* an exchange has become writable */
    uint32_t goaway_error; /* of a GOAWAY that came or went */
    bool goaway_seen, goaway_sent;
    void *frame; /* nghttp2's buffer for a frame; NULL: not there */
    size_t frame_size;
    char detail[128]; /* what nghttp2 says of an error */
};

struct fl_grpc_exchange {
    struct fl_grpc_session *session;
    struct fl_grpc_exchange *next, **link;
    void *user;
    int32_t id;
    struct fl_grpc_reader reader;
    struct fl_buf queue; /* framed messages; sent up to queue_at */
    size_t queue_at;
    uint64_t progress_ms; /* when the queue became filled, or something of it was sent */
    /* Headers of the peer: "name\0value\0…"; on the client the trailers replace the response's. */
    struct fl_buf head;
    size_t held;                /* of session->inbound */
    char *text;                 /* of the status to send; NULL: none */
    enum fl_grpc_status status; /* to send */
    bool opened;                /* server: the response's headers are submitted; client: they came */
    bool deferred;              /* nghttp2 waits for fl_grpc_session to have data */
    bool finishing;             /* nothing is queued any more */
    bool half_closed;           /* the peer sends no more */
    bool wants_room, has_room;
    bool dead;
};

/* head.c: what the peer's headers mean. */
int fl_grpc_head_add(struct fl_grpc_exchange *exchange, struct fl_span name, struct fl_span value) FL_MUST_CHECK;
struct fl_span fl_grpc_head_find(const struct fl_grpc_exchange *exchange, const char *name);
/* 0 where the request is gRPC's, or the HTTP status to answer with. */
unsigned fl_grpc_head_check_request(const struct fl_grpc_exchange *exchange);
/* True where the response is gRPC's; otherwise the status and text (one line, FL_ERR_TEXT_MAX) that it means. */
bool fl_grpc_head_check_response(const struct fl_grpc_exchange *exchange, enum fl_grpc_status *ret_status, char *text);
bool fl_grpc_is_content_type(struct fl_span value);

/* exchange.c: what nghttp2's callbacks tell. */
int fl_grpc_exchange_new(struct fl_grpc_session *session, struct fl_grpc_exchange **ret_exchange) FL_MUST_CHECK;
struct fl_grpc_exchange *fl_grpc_exchange_free(struct fl_grpc_exchange *exchange);
void fl_grpc_exchange_on_head(struct fl_grpc_exchange *exchange, bool last);
void fl_grpc_exchange_on_data(struct fl_grpc_exchange *exchange, struct fl_span bytes);
void fl_grpc_exchange_on_last(struct fl_grpc_exchange *exchange); /* the peer sends no more */
/* Gone, with on_end; the peer is told by a reset with this HTTP/2 error. */
void fl_grpc_exchange_end(struct fl_grpc_exchange *exchange, enum fl_grpc_status status, struct fl_span text,
                          uint32_t error);
/* Counts what the exchange holds of the peer's bytes. False: that is too much. */
bool fl_grpc_exchange_account(struct fl_grpc_exchange *exchange);

/* session.c */
void fl_grpc_session_fail(struct fl_grpc_session *session, int code);
void fl_grpc_session_wake(struct fl_grpc_session *session);

#endif
