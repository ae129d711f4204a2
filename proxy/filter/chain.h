/* The HTTP filters before the router: judges of a request's head, in the order of the configuration (cors, rbac, jwt).
 * Each is a const table of functions over its own compiled configuration, which the snapshot holds.
 *
 * They run when the head is here and in its one form (filter/head.h), before a route is looked for. One that refuses
 * ends the run: the client gets its answer, nothing has gone upstream. What was asked is kept (http/keep.h), so that a
 * request under way, a stream or a tunnel, can be judged again under a new configuration: a refusal then cuts it.
 */
#ifndef PROXY_FILTER_CHAIN_H
#define PROXY_FILTER_CHAIN_H

#include "proxy/filter/exchange.h"
#include "proxy/policy/fact.h"

struct proxy_refusal {
    unsigned status;
    uint32_t flag;              /* enum proxy_flag */
    const char *details;        /* for the access log; lives as long as the configuration */
    const char *text;           /* the body */
    struct proxy_header header; /* one field more; an empty name: none. Its value may lie in the scratch */
};

/* One request before the filters. */
struct proxy_judgement {
    struct proxy_exchange_run *exchange;
    struct proxy_message *request; /* filters may change it */
    struct proxy_facts facts;      /* of it; claims are exchange->claims */
    struct fl_span *scratch;       /* room for new texts: take from the front */
    int64_t now_s;                 /* of the request's beginning: judged again, a token has not become old by that */
    bool again;                    /* under way: the message is a copy that goes nowhere */
    struct proxy_refusal refusal;  /* set by who refuses */
};

struct proxy_http_filter_ops {
    const char *name;
    bool once; /* says nothing of a request under way: a new configuration does not ask it again */
    /* True: goes on. False: judgement->refusal says how it ends. */
    bool (*judge)(const void *config, struct proxy_judgement *judgement);
};

/* snapshot.h: struct proxy_http_filter { ops, config }. */

/* Runs the filters of hcm->config. False: answered, the exchange is over. */
bool proxy_chain_request(struct proxy_exchange_run *exchange, struct fl_span *scratch) FL_MUST_CHECK;
/* Judges a request under way by the filters of `config` (the connection manager's new one). False: it was denied, and
 * is cut: exchange and connection are gone. */
bool proxy_chain_again(struct proxy_exchange_run *exchange, const struct proxy_hcm_config *config) FL_MUST_CHECK;

#endif
