/* What the main thread counts about the app that it asks: probes in the kubelet's stead, and scrapes. docs/metrics.md
 * says what each word means. Closed lists: nobody can grow them.
 */
#ifndef PROXY_ADMIN_APPSTATS_H
#define PROXY_ADMIN_APPSTATS_H

#include "common/mesh/appprobe.h"
#include "common/metrics/registry.h"

#define PROXY_APPSTATS_PROBES(X)                                                                                       \
    X(SUCCEEDED, "succeeded")                                                                                          \
    X(FAILED, "failed")   /* the app answered, and not with success */                                                 \
    X(CONNECT, "connect") /* no connection */                                                                          \
    X(TLS, "tls")                                                                                                      \
    X(PROTOCOL, "protocol")   /* neither HTTP/1.x nor what was asked for */                                            \
    X(REDIRECTS, "redirects") /* too many, or to what is no URL */                                                     \
    X(TIMEOUT, "timeout")                                                                                              \
    X(GONE, "gone") /* everybody who asked went away before */                                                         \
    X(BUSY, "busy") /* too many at a time */                                                                           \
    X(MEMORY, "memory")
enum proxy_appstats_probe {
#define PROXY_APPSTATS_(name, word) PROXY_APPSTATS_PROBE_##name,
    PROXY_APPSTATS_PROBES(PROXY_APPSTATS_)
#undef PROXY_APPSTATS_
};

#define PROXY_APPSTATS_SCRAPES(X)                                                                                      \
    X(MERGED, "merged")                                                                                                \
    X(STATUS, "status") /* the app answered another status than 200 */                                                 \
    X(CONNECT, "connect")                                                                                              \
    X(TLS, "tls")                                                                                                      \
    X(PROTOCOL, "protocol") /* no HTTP/1.x, or a compressed answer */                                                  \
    X(TOO_LARGE, "too_large")                                                                                          \
    X(TIMEOUT, "timeout")                                                                                              \
    X(GONE, "gone")                                                                                                    \
    X(MEMORY, "memory")
enum proxy_appstats_scrape {
#define PROXY_APPSTATS_(name, word) PROXY_APPSTATS_SCRAPE_##name,
    PROXY_APPSTATS_SCRAPES(PROXY_APPSTATS_)
#undef PROXY_APPSTATS_
};

/* `metrics` may be NULL: then nothing is counted. On the thread that owns it. */
void proxy_appstats_probe(struct fl_metrics *metrics, enum fl_appprobe_kind kind, enum proxy_appstats_probe result);
void proxy_appstats_scrape(struct fl_metrics *metrics, enum proxy_appstats_scrape result);
/* Lines of the app's exposition that were left out. */
void proxy_appstats_left_out(struct fl_metrics *metrics, size_t collisions, size_t malformed);

#endif
