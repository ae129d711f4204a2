/* The ADS server: streams over gRPC, who is behind each, and what a new model means for them. Both forms of the
 * protocol (session.h).
 *
 * Who is it? The client's certificate, else a bearer token (which is asked about while its first messages wait), else,
 * on a plaintext listener, nobody: then the node is taken at its word. What it may see, view.h decides, again at every
 * push: a proxy whose Pod has become another's is ended.
 *
 * A new model touches the resources that impact.h names; streams that have them are pushed one after the other, some at
 * each turn of the loop, so that 1,000 of them stall nobody. A response that the network does not take waits; there is
 * one of each type at most.
 *
 * Ended by us: PERMISSION_DENIED (identity and node do not fit), UNAUTHENTICATED, INVALID_ARGUMENT (a message that is
 * none), RESOURCE_EXHAUSTED (memory, more waiting messages than CONTROL_PROXY_WAITING_MAX, or the budget of its client
 * or of all: budget.h). A stream ends with what let it in: UNAUTHENTICATED, some moments after its certificate or token
 * has expired; who has another one by then has come back with it.
 */
#ifndef CONTROL_XDS_SERVER_H
#define CONTROL_XDS_SERVER_H

#include "common/loop/loop.h"
#include "control/model/store.h"
#include "control/status/report.h"

struct control_authenticator;
struct control_proxies;
struct fl_buf;
struct fl_grpc_method;
struct fl_metrics;

#define CONTROL_PROXY_METHODS       2
#define CONTROL_PROXY_WAITING_MAX   64          /* messages that wait for the authentication */
#define CONTROL_PROXY_WAITING_BYTES 1048576u    /* of those */
#define CONTROL_PROXY_MESSAGE_MAX   (16u << 20) /* what the gRPC server should be set to: a response may be large */

/* Streams that show a token, by address. */
#define CONTROL_PROXY_TOKEN_RATE  50u /* a second */
#define CONTROL_PROXY_TOKEN_BURST 2000u

#define CONTROL_PROXY_REFUSALS_MAX 100 /* that status tells */

#define CONTROL_PROXY_EXPIRY_SPREAD_MS 3000u /* streams whose credentials expired together end apart */

struct control_proxies_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    const char *identifier;                      /* of this control plane, told to proxies; copied */
    struct control_authenticator *authenticator; /* borrowed, outlives this; NULL: no tokens */
    uint32_t budget_mib;                         /* budget.h; 0: the default */
};

int control_proxies_new(const struct control_proxies_options *options, struct control_model *model,
                        struct control_proxies **ret_proxies) FL_MUST_CHECK;
/* After the gRPC server is freed (its streams are gone then). */
struct control_proxies *control_proxies_free(struct control_proxies *proxies);

/* CONTROL_PROXY_METHODS rows for the gRPC server's table; `proxies` must outlive it. */
void control_proxies_methods(struct control_proxies *proxies, struct fl_grpc_method *ret_methods);

/* Another model is in force. */
void control_proxies_update(struct control_proxies *proxies, const struct control_diff *diff);
/* Every stream is told UNAVAILABLE: the program ends, and they may go elsewhere. */
void control_proxies_finish(struct control_proxies *proxies);

/* Brings the metrics that are not counted as they happen up to date, before a scrape. */
void control_proxies_tell(struct control_proxies *proxies);
size_t control_proxies_count(const struct control_proxies *proxies);
/* JSON: {"proxies": [{id, role, identity, address, since, in_sync, types: {"CDS": {…}}}]}. 0, -ENOMEM, -EMSGSIZE. */
int control_proxies_print(struct control_proxies *proxies, struct fl_buf *out) FL_MUST_CHECK;
/* What proxies refuse now, each reason once, CONTROL_PROXY_REFUSALS_MAX at most; array and texts are in the arena. 0,
 * -ENOMEM. */
int control_proxies_refusals(const struct control_proxies *proxies, struct fl_arena *arena,
                             struct control_refusals *ret_refusals) FL_MUST_CHECK;
/* What one proxy is given, in full: {"id", "resources": {"CDS": [{name, version, sent, resource}]}}; keys are never
 * shown. `id` is its node.id, or its name as "namespace/name". 0; -ENOENT; -ENOMEM, -EMSGSIZE. */
int control_proxies_print_config(struct control_proxies *proxies, struct fl_span id, struct fl_buf *out) FL_MUST_CHECK;

#endif
