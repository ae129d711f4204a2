/* What the client's files share; for this folder alone.
 *
 *   client     its life; libcurl's sockets and timer as sources and a timer of our loop
 *   exchange   one request: an easy handle with its options, and how it ends
 *   credential what is shown and trusted
 *
 * libcurl must not be called from within its own callbacks, and ours may do anything: so its callbacks only note what
 * came, and fl_kube_deliver tells the owners after libcurl has returned.
 */
#ifndef FL_KUBE_INNER_H
#define FL_KUBE_INNER_H

#include "common/kube/client.h"
#include "common/kube/credential.h"
#include "common/loop/timer.h"

#include <curl/curl.h>

#define FL_KUBE_TARGET_MAX 160 /* bytes of "GET /api/v1/…" in errors */

/* libcurl (7.88) closes a socket that is still connecting before it says that it is not watched any more, and may open
 * the next one under the same number without a word. So the loop watches a duplicate, which is ours to close, and new
 * sockets get numbers that are not in use here. */
struct fl_kube_socket {
    struct fl_source source;
    curl_socket_t number;        /* libcurl's */
    struct fl_deferred deferred; /* an event of this turn may still name the source */
    struct fl_kube_client *client;
    struct fl_kube_socket *next, **link;
};

struct fl_kube_exchange {
    struct fl_kube_client *client;
    struct fl_kube_exchange *next, **link;             /* of the client */
    struct fl_kube_exchange *ready_next, **ready_link; /* has bytes to hand over; link NULL: has not */
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct fl_buf body;
    int body_result; /* why the body was not taken */
    bool doomed;     /* its socket could not be watched */
    struct fl_timer silence;
    uint64_t heard_ms;
    unsigned silence_ms;
    void (*on_data)(void *owner, struct fl_span bytes);
    void (*on_done)(void *owner, const struct fl_kube_answer *answer);
    void *owner;
    char reason[CURL_ERROR_SIZE];
    char target[FL_KUBE_TARGET_MAX];
};

struct fl_kube_client {
    struct fl_loop *loop;
    struct fl_kube_access access;
    struct fl_kube_credential credential;
    char *agent;
    char *base;       /* what paths are put behind; its host is the name that the certificate must have */
    char *connect_to; /* "::host:port" where that is another than the server's; else NULL */
    char *host;       /* "Host: …" then */
    char *proxy;      /* as libcurl takes it; NULL: none */
    CURLM *multi;
    struct fl_timer timer;
    struct fl_deferred deferred;
    struct fl_kube_socket *sockets;
    struct fl_kube_exchange *exchanges;
    struct fl_kube_exchange *ready;
    size_t count;      /* exchanges */
    int64_t date;      /* of the last answer */
    bool unauthorized; /* a 401 came: the credentials are read anew before the next request */
    bool doomed;       /* one of the exchanges is */
    bool dead;         /* freed: the memory lives until the turn ends */
    bool global;       /* libcurl's own state is held */
};

/* Tells owners what libcurl noted. The client may be dead afterwards. */
void fl_kube_deliver(struct fl_kube_client *client);

/* A new socket, CLOEXEC, with a number that no struct fl_kube_socket bears. */
curl_socket_t fl_kube_on_open(void *owner, curlsocktype purpose, struct curl_sockaddr *address);

/* An easy handle that is ready to be added; the exchange is in no list. */
int fl_kube_exchange_new(struct fl_kube_client *client, const struct fl_kube_request *request,
                         struct fl_kube_exchange **ret_exchange, struct fl_err *err) FL_MUST_CHECK;
/* Takes it out of everything and frees it; nobody is told. */
void fl_kube_exchange_free(struct fl_kube_exchange *exchange);
void fl_kube_exchange_hand_over(struct fl_kube_exchange *exchange);
void fl_kube_exchange_finish(struct fl_kube_exchange *exchange, CURLcode code);
/* From now on silence counts. */
void fl_kube_exchange_listen(struct fl_kube_exchange *exchange);

#endif
