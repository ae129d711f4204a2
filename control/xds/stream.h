/* One proxy's stream, as server.c drives it and debug.c tells of it. Private to control/xds. */
#ifndef CONTROL_XDS_STREAM_H
#define CONTROL_XDS_STREAM_H

#include "common/base/log_limit.h"
#include "common/grpc/server.h"
#include "common/loop/timer.h"
#include "common/mesh/identity.h"
#include "control/ca/authenticate.h"
#include "control/ca/quota.h"
#include "control/xds/budget.h"
#include "control/xds/message.h"
#include "control/xds/server.h"
#include "control/xds/stats.h"
#include "control/xds/view.h"

#include <sys/queue.h>
#include <time.h>

struct waiting { /* a message that came before the authentication was done */
    STAILQ_ENTRY(waiting) link;
    size_t len;
    char bytes[];
};

struct stream {
    TAILQ_ENTRY(stream) link, due_link;
    struct control_proxies *proxies;
    struct fl_grpc_stream *grpc;
    struct control_session *session;
    enum control_session_form form;
    struct control_authentication authentication;
    STAILQ_HEAD(, waiting) waiting;
    size_t waiting_count, waiting_bytes;
    struct fl_buf stalled; /* a response that the network did not take */
    struct control_node node;
    char *identity; /* owned; NULL: nobody */
    bool known;     /* authenticated, or taken at its word */
    bool has_node, due, finished;
    struct control_budget_share share; /* from when it is known who it is */
    struct fl_timer expiry;            /* while `expires` is not 0 */
    int64_t expires;                   /* of what let it in, seconds since the epoch; 0: never */
    time_t since;
    uint64_t behind_since_ns; /* the first change that it has not acknowledged; 0: none */
};

TAILQ_HEAD(streams, stream);

static inline struct fl_span stream_identity(const struct stream *stream)
{
    return stream->identity != NULL ? fl_span_str(stream->identity) : (struct fl_span){NULL, 0};
}

struct control_proxies {
    struct fl_loop *loop;
    struct control_model *model; /* a reference */
    struct control_cache *cache;
    struct control_authenticator *authenticator;
    struct control_xds_stats stats;
    struct streams streams, due;
    size_t count;
    struct fl_hook push;
    struct control_budget budget;
    struct control_quota *tokens;                       /* by address: a look at one costs a verification */
    struct fl_log_limit refusals, arrivals, complaints; /* their lines: of streams refused, begun or ended, NACKs */
    struct fl_arena view_arena, arena;
    struct control_response response;
    char identifier[64];
};

/* The proxy's view and what it needs to ask the cache. Valid until the next one is made. */
struct control_asking {
    struct control_proxies *proxies;
    struct control_view view;
    uint64_t settings;
};
int stream_view(struct stream *stream, struct control_asking *ret_asking, struct fl_err *err) FL_MUST_CHECK;
struct control_session_source stream_source(struct control_asking *asking);

#endif
