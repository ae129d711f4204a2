/* Asks the servers of resolv.conf one question, until one of them answers.
 *
 * Every attempt has a socket of its own, connected to its server, so that the kernel takes answers from that address
 * and port alone, on a port that the kernel draws, with a random id; the question has to match besides (RFC 5452).
 * Eight foreign answers end an attempt: the next has another port and id. With `timeout` of resolv.conf (5 s): the next
 * server (or the same anew) is asked after 1 s and after 2.5 s while the ones before may still answer, and after 4.5 s
 * it is given up, so that the client hears of it before it runs out of patience itself. A server that says SERVFAIL,
 * NOTIMP or REFUSED is believed when all have been asked, as a libc does. A query goes out as it came in but for its
 * id; one that came by TCP is asked by TCP.
 *
 * The file is looked at again with the first question after a second.
 */
#ifndef PROXY_DNS_CLIENT_H
#define PROXY_DNS_CLIENT_H

#include "common/base/buf.h"
#include "common/base/reread.h"
#include "common/loop/timer.h"
#include "proxy/dns/packet.h"
#include "proxy/dns/servers.h"
#include "proxy/dns/stats.h"

#define PROXY_DNS_ATTEMPTS_MAX 6
#define PROXY_DNS_FOREIGN_MAX  8
#define PROXY_DNS_LOOK_MS      1000u

struct proxy_dns_client { /* embedded */
    struct fl_loop *loop;
    struct proxy_dns_stats *stats;
    struct fl_reread file;
    uint64_t looked_ms;
    struct proxy_dns_servers servers;
    char *scratch;    /* 2 + PROXY_DNS_MESSAGE_MAX bytes */
    uint64_t told_ms; /* that nobody answers */
};

struct proxy_dns_attempt {
    struct fl_source source;
    struct proxy_dns_ask *ask; /* NULL: over */
    int fd;
    uint16_t id;
    uint8_t server, foreign;
    bool late; /* timed out already, and counted */
    uint64_t begun_ms;
    size_t sent;      /* TCP */
    struct fl_buf in; /* TCP */
};

struct proxy_dns_ask {                  /* embedded in the owner, whose memory is released by fl_loop_defer */
    struct fl_span packet;              /* the owner's, until the end */
    struct proxy_dns_question question; /* in it */
    bool tcp;
    /* Once; the ask is over then. `packet` (its id is no matter) holds during the call; NULL: nobody answered. */
    void (*on_answer)(struct proxy_dns_ask *ask, const char *packet, size_t len, const struct proxy_dns_answer *answer);
    /* The module's. */
    struct proxy_dns_client *client;
    struct fl_timer timer;
    uint64_t begun_ms, end_ms, gap_ms;
    unsigned begin, tried, rounds, attempt_count;
    struct fl_buf rejection; /* the first one */
    struct proxy_dns_attempt attempts[PROXY_DNS_ATTEMPTS_MAX];
};

/* `resolv_conf` is borrowed. 0 or -ENOMEM. */
int proxy_dns_client_init(struct proxy_dns_client *client, struct fl_loop *loop, struct proxy_dns_stats *stats,
                          const char *resolv_conf) FL_MUST_CHECK;
void proxy_dns_client_done(struct proxy_dns_client *client);

/* Before a question: true where the servers are others than before. */
bool proxy_dns_client_look(struct proxy_dns_client *client);

/* packet, question, tcp and on_answer are set, the rest zero. on_answer never comes during the call. */
void proxy_dns_client_ask(struct proxy_dns_client *client, struct proxy_dns_ask *ask);
void proxy_dns_client_cancel(struct proxy_dns_ask *ask); /* on_answer does not come; idempotent */

#endif
