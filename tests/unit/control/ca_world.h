/* A certificate authority on loopback, all in this process but its issuer: folders, tokens, service, server. The test
 * program's main gives "issuer" to control_issuer_main. Everything asserts.
 */
#ifndef TESTS_UNIT_CONTROL_CA_WORLD_H
#define TESTS_UNIT_CONTROL_CA_WORLD_H

#include "common/grpc/server.h"
#include "common/loop/loop.h"
#include "common/metrics/registry.h"
#include "common/pki/key.h"
#include "control/ca/service.h"
#include "tests/support/emulation.h"
#include "tests/unit/control/ca_folder.h"

#define WORLD_NAME     "control.example"
#define WORLD_AUDIENCE "fairlead-ca"
#define WORLD_PATIENCE (10000 * emulation_patience()) /* ms that anything may take */

struct world {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    struct folder ca, tokens;
    struct fl_key *token_key;
    struct control_authority *authority;
    struct control_authenticator *authenticator;
    struct control_certificates *certificates;
    struct fl_grpc_method methods[1];
    struct fl_grpc_server *server;
    struct fl_grpc_address address;
    char address_text[FL_GRPC_ADDRESS_TEXT_MAX];
    struct fl_key *key; /* of the server certificate in force; counted */
    unsigned served;    /* how often on_serving came */
};

struct world_options {
    uint32_t validity_s, overlap_s, peer_rate, peer_burst, identity_rate, identity_burst;
};

/* Ready to serve when it returns. */
void world_init(struct world *world, const struct world_options *options);
void world_done(struct world *world);

/* The control plane goes away with all connections, and comes back at the same address. */
void world_stop(struct world *world);
void world_start(struct world *world, const struct world_options *options);

/* A token's text; the caller is done with the buffer by fl_buf_done. `ttl_s` may be negative. */
struct fl_span world_token(struct world *world, const char *service_account, const char *audience, int ttl_s,
                           struct fl_buf *buf);
double world_metric(const struct world *world, const char *name, const char *label);

/* Turns the loop until `what` holds. */
#define WORLD_UNTIL(world, what)                                                                                       \
    do {                                                                                                               \
        uint64_t until_ = fl_loop_now_ms((world)->loop) + WORLD_PATIENCE;                                              \
        while (!(what)) {                                                                                              \
            assert_int_equal(fl_loop_turn((world)->loop, 100), 0);                                                     \
            if (fl_loop_now_ms((world)->loop) > until_)                                                                \
                fail_msg("not in time: %s", #what);                                                                    \
        }                                                                                                              \
    } while (0)

#endif
