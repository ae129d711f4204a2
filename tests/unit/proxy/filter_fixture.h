/* A worker's data path in one loop, with the test as client and as origin server: real sockets on loopback, a
 * configuration made by hand. Everything asserts. */
#ifndef TESTS_UNIT_PROXY_FILTER_FIXTURE_H
#define TESTS_UNIT_PROXY_FILTER_FIXTURE_H

#include "proxy/filter/downstream.h"
#include "proxy/route/table.h"
#include "tests/support/emulation.h"

#define FIXTURE_TEXT_MAX (1u << 20)

struct side { /* one of the test's own sockets */
    int fd;   /* -1: not there */
    char *text;
    size_t len;
    bool ended; /* a FIN came */
    bool reset;
};

struct fixture {
    struct fl_loop *loop;
    struct proxy_stats *stats;
    struct proxy_data data;
    struct proxy_snapshot *snapshot;
    struct proxy_hcm_config *hcm; /* may be changed before the first connection */
    struct proxy_tcp_config *tcp;
    struct proxy_cluster *cluster;
    struct proxy_listener *listener;
    struct proxy_slot cluster_slot, listener_slot;
    struct proxy_route_table *routes;
    struct fl_tls_context *server_tls;
    int origin;                       /* the origin's listening socket */
    int accept;                       /* the listening socket of clients */
    struct proxy_retry_policy *retry; /* of the routes /retry and /retry-slow */
    unsigned drained;
};

/* An HTTP (or else TCP) chain to a static cluster whose one endpoint is the origin. */
void fixture_init(struct fixture *f, bool http);
/* The same, after `change` has had its way with what is configured. NULL: nothing is changed. */
void fixture_init_with(struct fixture *f, bool http, void (*change)(struct fixture *f));
/* A listening socket on loopback, and its address. */
int fixture_listen(struct proxy_address *ret_address);
struct side fixture_side(int fd);
void fixture_done(struct fixture *f);
/* Another snapshot, not applied yet: listener, its default chain, configurations and cluster are copies of those
 * before, which may be changed. */
void fixture_next(struct fixture *f);

/* A client that has connected and was accepted by the data path. */
struct side fixture_client(struct fixture *f);
/* The next connection at the origin; waits for it, and asserts that it came. */
struct side fixture_origin(struct fixture *f);
bool fixture_origin_waits(struct fixture *f); /* whether another one has come */
void side_done(struct side *side);

/* Turns of the loop until nothing moves any more. */
void fixture_run(struct fixture *f);
/* Turns for a time: where nothing may happen. */
void fixture_wait(struct fixture *f, unsigned ms);
/* Runs until it is so; asserts that it comes so within FIXTURE_PATIENCE_US. What is waited for is an event, so that a
 * busy machine only takes longer. */
#define FIXTURE_PATIENCE_US (20000000ull * emulation_patience())
#define FIXTURE_UNTIL(f, condition)                                                                                    \
    do {                                                                                                               \
        uint64_t until_us = proxy_data_now_us() + FIXTURE_PATIENCE_US;                                                 \
        while (!(condition)) {                                                                                         \
            assert_true(proxy_data_now_us() < until_us);                                                               \
            fixture_run(f);                                                                                            \
        }                                                                                                              \
    } while (0)

void side_say(struct fixture *f, struct side *side, const char *text); /* and runs */
void side_say_bytes(struct fixture *f, struct side *side, const char *bytes, size_t len);
void side_hear(struct fixture *f, struct side *side); /* runs and reads what is there */
/* Hears as much as that, asserts that all of it is this text, and forgets it. */
void side_expect(struct fixture *f, struct side *side, const char *text);
/* Hears as much as that, asserts that it begins so, and forgets it. */
void side_expect_start(struct fixture *f, struct side *side, const char *text);
void side_hear_end(struct fixture *f, struct side *side); /* hears until the other side ends or resets it */
void side_end(struct side *side);                         /* FIN */
void side_abort(struct side *side);                       /* RST */

double fixture_metric(const struct fixture *f, const char *name); /* sum over all series */
/* … over those whose labels have this text, as response_flags="UO" */
double fixture_metric_of(const struct fixture *f, const char *name, const char *label);

#endif
