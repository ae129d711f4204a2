/* A gRPC server with a few methods and a client of it, on one loop over loopback, for tests. Everything asserts. */
#ifndef TESTS_UNIT_COMMON_GRPC_WORLD_H
#define TESTS_UNIT_COMMON_GRPC_WORLD_H

#include "common/grpc/client.h"
#include "common/grpc/server.h"
#include "common/loop/loop.h"

/* The methods:
 *   /t.S/Echo    each message comes back; OK after the half-close
 *   /t.S/Unary   unary; the message comes back
 *   /t.S/Later   unary; is answered by grpc_world_answer
 *   /t.S/Guard   UNAUTHENTICATED "who are you?" without authorization, else as Echo
 *   /t.S/Source  sends `source_count` messages of `source_size` bytes as room allows, then OK
 *   /t.S/Silent  accepts, and says nothing
 *   /t.S/Nobody  neither accepts nor refuses
 */
struct grpc_world {
    struct fl_loop *loop;
    struct fl_grpc_server *server;
    struct fl_grpc_client *client;
    struct fl_grpc_address address; /* the server's */
    struct fl_tls_context *client_tls, *server_tls;
    /* What happened. */
    unsigned connected, lost;
    struct fl_err reason;    /* of the last loss */
    unsigned opened, closed; /* streams that were accepted; that had on_closed */
    unsigned refused[32];    /* by enum fl_grpc_refusal */
    char refusal[256];       /* the last one's text */
    bool drained;
    struct fl_grpc_stream *last; /* the stream accepted last; NULL once closed */
    size_t source_count, source_size;
    char identity[128]; /* of the last request's client */
    bool plaintext;
    void (*on_closed)(void *owner); /* NULL, or: called once more in the next on_closed; owner is NULL */
};

/* What a test hears of a call. */
struct grpc_ear {
    struct fl_buf messages; /* each followed by '|' */
    unsigned count, ends, writables;
    size_t bytes;
    enum fl_grpc_status status;
    char text[256];
    bool quiet; /* count, and keep nothing */
};

extern const struct fl_grpc_call_ops grpc_ear_ops;
void grpc_ear_init(struct grpc_ear *ear);
void grpc_ear_done(struct grpc_ear *ear);
void grpc_ear_reply(void *owner, enum fl_grpc_status status, struct fl_span text, struct fl_span message);

/* Options of server and client; methods, callbacks, addresses and TLS are filled in here. NULL: defaults. TLS where
 * both contexts are set before. The loop is new, nothing is connected yet. */
void grpc_world_init(struct grpc_world *world, const struct fl_grpc_server_options *server,
                     const struct fl_grpc_client_options *client);
void grpc_world_done(struct grpc_world *world);
void grpc_world_connect(struct grpc_world *world); /* and waits until it is */
void grpc_world_answer(struct grpc_world *world, struct fl_span message);
int grpc_world_start(struct grpc_world *world, const char *path, struct grpc_ear *ear, struct fl_grpc_call **ret_call);

/* Turns the loop until `counter` reaches `value`; fails after ten seconds. */
void grpc_world_until(struct grpc_world *world, const unsigned *counter, unsigned value);
void grpc_world_pass(struct grpc_world *world, unsigned ms); /* where time itself is what is tested */
void grpc_world_turns(struct grpc_world *world, unsigned count);

#endif
