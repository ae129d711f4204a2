/* What the files of the HTTP server share; for this folder alone.
 *
 *   server      its life, and when libmicrohttpd is run
 *   acceptor    who gets in
 *   connection  one client: the time it has, its certificate, its way to the socket
 *   peer        who it is by its own certificate
 *   request     from the head to the answer
 *   deferred    the answers that come later
 */
#ifndef FL_HTTP_INNER_H
#define FL_HTTP_INNER_H

#include "common/http/linger.h"
#include "common/http/server.h"
#include "common/http/share.h"
#include "common/loop/timer.h"

#include <gnutls/abstract.h>
#include <microhttpd.h>

struct fl_http_certificate;
struct fl_http_judgement; /* peer.c */

enum fl_http_step {
    FL_HTTP_STEP_WAITING,    /* handshake, idle, request line */
    FL_HTTP_STEP_RECEIVING,  /* head and body */
    FL_HTTP_STEP_COLLECTING, /* the body alone: the head was accepted */
    FL_HTTP_STEP_DEFERRED,   /* the request is here, its answer is owed; libmicrohttpd does not see the connection */
    FL_HTTP_STEP_ANSWERING
};

struct fl_http_connection {
    struct fl_http_server *server;
    struct fl_http_connection *next, **link;
    struct fl_http_share *share;             /* of its address; counted there */
    struct fl_http_certificate *certificate; /* what its handshake uses; counted */
    struct fl_http_judgement *judgement;     /* of the client's certificate; NULL: nobody asked. Owned */
    uint64_t deadline_ms;
    char *uri; /* as it came; NULL between requests */
    struct fl_buf body;
    size_t dropped;                    /* bytes of the body beyond body_max */
    struct fl_http_deferred *deferred; /* NULL: no answer is owed */
    struct MHD_Connection *suspended;  /* to be resumed when it is here; NULL: it is not suspended (yet) */
    struct fl_http_response answer;    /* what came later, once `answered`; owned */
    bool answered;
    int fd; /* libmicrohttpd's */
    enum fl_http_step step;
    bool late;    /* shut down by us: out of time, or cut off for others */
    bool lingers; /* answered while its client sends */
    bool passed;  /* its head */
    bool known;   /* vouched for */
    bool open;    /* the handshake is over */
};

struct fl_http_server {
    struct fl_loop *loop;
    struct fl_source source; /* libmicrohttpd's epoll */
    struct fl_source door;   /* the listening socket; owned: -1 once closed */
    struct fl_hook hook;
    struct fl_timer timer;
    struct fl_linger linger;
    struct MHD_Daemon *daemon;
    struct fl_http_connection *connections;
    struct fl_http_shares shares;
    struct fl_http_certificate *certificate; /* NULL: plain HTTP */
    gnutls_x509_trust_list_t client_roots;   /* NULL: no client is asked for a certificate */
    uint64_t client_generation;              /* grows when they change */
    bool (*head)(void *owner, const struct fl_http_request *request, struct fl_http_response *response);
    void (*handle)(void *owner, const struct fl_http_request *request, struct fl_http_response *response);
    void (*refused)(void *owner, unsigned status, const char *reason);
    void *owner;
    unsigned connections_max, connections_per_address;
    unsigned connection_count; /* the late ones, which are about to go, too */
    uint64_t turn;             /* of shares: grows with each run of libmicrohttpd and each look at the door */
    unsigned handshakes;       /* reads of them in this turn */
    unsigned deferred_max, deferred_count;
    size_t body_max, response_max;
    size_t bodies; /* bytes of bodies held now, all connections together */
    uint64_t idle_ms;
    uint64_t moved;     /* grows with everything that a run gets done */
    unsigned fruitless; /* runs in a row that moved nothing although there was work left, they say */
    uint16_t port;
    bool again; /* a connection has gone in this MHD_run */
    bool draining;
    bool handling;
    bool door_shut; /* for want of places */
};

/* The door */
int fl_http_door_open(struct fl_http_server *server, int fd) FL_MUST_CHECK; /* takes the fd, also on failure */
void fl_http_door_close(struct fl_http_server *server);                     /* idempotent */
void fl_http_door_look(struct fl_http_server *server);                      /* whether it is shut for want of places */
void fl_http_server_begin_turn(struct fl_http_server *server);
/* A connection is about to come: where places are short, another is shut down for it. */
void fl_http_connections_make_place(struct fl_http_server *server);

/* The client's certificate */
int fl_http_roots_new(struct fl_span pem, gnutls_x509_trust_list_t *ret_roots, struct fl_err *err) FL_MUST_CHECK;
void fl_http_peer_ask(gnutls_session_t session);

/* libmicrohttpd's callbacks */
void fl_http_on_connection(void *owner, struct MHD_Connection *handle, void **context,
                           enum MHD_ConnectionNotificationCode code);
int fl_http_on_certificate(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
                           const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **ret_chain,
                           unsigned *ret_count, gnutls_privkey_t *ret_key);
void *fl_http_on_line(void *owner, const char *uri, struct MHD_Connection *handle);
enum MHD_Result fl_http_on_request(void *owner, struct MHD_Connection *handle, const char *url, const char *method,
                                   const char *version, const char *upload, size_t *upload_size, void **context);
void fl_http_on_completed(void *owner, struct MHD_Connection *handle, void **context,
                          enum MHD_RequestTerminationCode code);

/* A struct fl_http_connection is each connection's socket context; NULL where memory was out. */
struct fl_http_connection *fl_http_connection_of(struct MHD_Connection *handle);
/* The next step begins, with a time of its own. */
void fl_http_connection_enter(struct fl_http_connection *connection, enum fl_http_step step);
struct fl_http_response fl_http_response_make(const struct fl_http_server *server);
/* NULL where memory was out for it. */
struct fl_http_connection *fl_http_request_connection(const struct fl_http_request *request);
struct MHD_Connection *fl_http_request_handle(const struct fl_http_request *request);
/* The owner of the answer that is owed, if any, is told that nobody waits for it. */
void fl_http_deferred_abandon(struct fl_http_connection *connection);
/* Frees what belongs to the request. */
void fl_http_connection_forget(struct fl_http_connection *connection);
/* Room for `more` bytes of this connection's body: others' bodies are cut off for it, the longest in its step first. */
void fl_http_connection_claim(struct fl_http_connection *connection, size_t more);
/* Shuts down what is late, and has the server woken for the rest. */
void fl_http_connections_check(struct fl_http_server *server);

/* The timer comes at this time at the latest. */
void fl_http_server_wake(struct fl_http_server *server, uint64_t deadline_ms);

#endif
