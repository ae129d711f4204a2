/* The webhook's metrics (Prometheus; webhook/README.md lists them). Label values come from fixed lists alone, so no
 * request can add a series. */
#ifndef WEBHOOK_STATS_H
#define WEBHOOK_STATS_H

#include "common/base/buf.h"
#include "common/metrics/registry.h"
#include "webhook/caller.h"
#include "webhook/reason.h"

#include <time.h>

#define WEBHOOK_RELOADS(X)                                                                                             \
    X(CONFIG, "config")                                                                                                \
    X(NAMESPACES, "namespaces") X(CERTIFICATE, "certificate") X(CLIENT_CA, "client_ca") X(TOKEN_KEYS, "token_keys")

/* How asking the API server for one namespace ended. */
#define WEBHOOK_GETS(X) X(FOUND, "found") X(ABSENT, "absent") X(REFUSED, "refused") X(FAILED, "failed")

enum webhook_get {
#define X(symbol, word) WEBHOOK_GET_##symbol,
    WEBHOOK_GETS(X)
#undef X
        WEBHOOK_GET_COUNT
};

enum webhook_reload {
#define X(symbol, word) WEBHOOK_RELOAD_##symbol,
    WEBHOOK_RELOADS(X)
#undef X
        WEBHOOK_RELOAD_COUNT
};

struct webhook_stats {
    struct fl_metrics *metrics;
    struct fl_counter *requests[WEBHOOK_OUTCOME_COUNT][WEBHOOK_REASON_COUNT]; /* made on first use */
    struct fl_histogram *duration;
    struct fl_gauge *not_after, *namespaces;
    struct fl_counter *reloads[WEBHOOK_RELOAD_COUNT][2]; /* [what][success] */
    struct fl_counter *gets[WEBHOOK_GET_COUNT], *watch_troubles;
    struct fl_counter *callers[WEBHOOK_CHECK_COUNT][WEBHOOK_CALLER_COUNT]; /* made on first use */
    struct fl_counter *dropped;
};

int webhook_stats_init(struct webhook_stats *stats) FL_MUST_CHECK; /* 0 or -ENOMEM */
void webhook_stats_done(struct webhook_stats *stats);

const char *webhook_reload_word(enum webhook_reload what);

void webhook_stats_request(struct webhook_stats *stats, enum webhook_outcome outcome, enum webhook_reason reason,
                           double seconds);
void webhook_stats_caller(struct webhook_stats *stats, enum webhook_caller_check check,
                          enum webhook_caller_result result);
void webhook_stats_reload(struct webhook_stats *stats, enum webhook_reload what, bool success);
/* Appends the text. 0, -ENOMEM, -EMSGSIZE. */
int webhook_stats_expose(struct webhook_stats *stats, struct fl_buf *out) FL_MUST_CHECK;

#endif
