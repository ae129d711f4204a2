/* The inside of the connection manager, for its files and the exchange's:
 *
 *   hcm.c      life of a connection between requests: timers, drains, changed listeners, which codec
 *   hcm_h1.c   HTTP/1 under it (http/h1_server.h)
 *   hcm_h2.c   HTTP/2 (http/h2.h)
 */
#ifndef PROXY_FILTER_HCM_INNER_H
#define PROXY_FILTER_HCM_INNER_H

#include "proxy/filter/exchange.h"
#include "proxy/http/h1_server.h"
#include "proxy/http/h2.h"

#define PROXY_HCM_DRAIN_IDLE_MS 1000u /* a draining connection without a request ends after it */
#define PROXY_HCM_GOAWAY_MS     250u  /* between the two GOAWAYs of a drain: what is on its way may still come */
#define PROXY_HCM_STREAMS       32u   /* requests of a connection that a turn may start; the rest waits */
/* Resets of a connection of a sidecar's, at once; a tenth of it a second after that. */
#define PROXY_HCM_SHARED_RESETS 10000u

enum proxy_hcm_version { PROXY_HCM_UNDECIDED, PROXY_HCM_H1, PROXY_HCM_H2 };

struct proxy_hcm {
    struct proxy_downstream *downstream;
    const struct proxy_hcm_config *config;
    struct proxy_exchange_run *exchanges; /* under way */
    uint8_t version;                      /* enum proxy_hcm_version */
    bool closing;                         /* the present answer, or the next, is the last */
    bool head_begun;                      /* HTTP/1: bytes of a head are here: the timer is for it */
    bool ended;
    bool restored; /* ALPN fairlead-http/1: messages are those of HTTP/1 in HTTP/2's clothes (http/restore.h) */
    bool pinned;   /* NTLM, Negotiate: a client is known by its connection, and has one of its own upstream */
    uint32_t requests;
    struct fl_timer timer;   /* without requests: idle, head or drain */
    size_t unsent;           /* when it began to wait */
    struct proxy_edge *edge; /* inbound: the last one used, for the cluster below */
    uint32_t edge_cluster;
    uint64_t edge_version; /* of the snapshot that it was made under */
    bool edge_grpc;
    union {
        struct proxy_h1_server h1;
        struct {
            struct proxy_h2 *session;
            struct fl_timer tick;   /* of the session */
            struct fl_timer breath; /* what was not fed goes on in the next turn */
            struct fl_timer grace;  /* between two GOAWAYs */
            unsigned started;       /* requests that began in this delivery */
            bool drained, final;    /* GOAWAYs that were sent */
        } h2;
    };
    struct fl_deferred deferred;
};

/* -- hcm.c -- */

/* A request begins. False: memory is out. */
bool hcm_on_stream(struct proxy_hcm *hcm, struct proxy_stream *stream) FL_MUST_CHECK;
/* Whether a final head has to say that no further request is taken. A drain may be known only now; HTTP/2 has its own
 * word for it. */
bool hcm_is_last_answer(const struct proxy_hcm *hcm);
/* No request is under way: the idle time begins. */
void hcm_wait(struct proxy_hcm *hcm);
/* Closes the connection, and ends all that belongs to it. Its exchanges must be over. */
void hcm_end(struct proxy_hcm *hcm, enum proxy_close how);
struct fl_loop *hcm_loop(const struct proxy_hcm *hcm);

/* -- hcm_h1.c -- */

void hcm_h1_start(struct proxy_hcm *hcm);
struct proxy_h1_limits hcm_h1_limits(const struct proxy_hcm_config *config);

/* -- hcm_h2.c -- */

/* 0 or -ENOMEM. */
int hcm_h2_start(struct proxy_hcm *hcm) FL_MUST_CHECK;
/* Bytes that were looked at first: as on_data of net/conn.h. */
size_t hcm_h2_data(struct proxy_hcm *hcm, struct fl_span bytes);
/* New requests are asked to go elsewhere; those under way go on. */
void hcm_h2_drain(struct proxy_hcm *hcm);
/* The connection is about to be closed: the client is told (GOAWAY) where it was not yet, and everything that the
 * session has goes. */
void hcm_h2_done(struct proxy_hcm *hcm);
/* Its memory, at the end of the turn. */
void hcm_h2_free(struct proxy_hcm *hcm);

#endif
