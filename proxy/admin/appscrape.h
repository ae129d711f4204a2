/* The merged page: 15020 /stats/prometheus is ours, and then the app's own metrics (FAIRLEAD_METRICS), so that one
 * scrape of the pod sees both, also where the app's port takes mTLS alone.
 *
 * Whatever the app does, ours are there: an app that cannot be reached, answers another status than 200, is late, sends
 * too much or compressed bytes is left out whole, and counted; lines that would spoil the page are left out
 * (exposition.h). The app is asked once at a time, for everybody who scrapes meanwhile; and not sooner than
 * PROXY_APPSCRAPE_SPACING_MS after the last time. A scraper says in X-Prometheus-Scrape-Timeout-Seconds how long it
 * waits: a tenth of that, half a second at most, is left for the way back.
 */
#ifndef PROXY_ADMIN_APPSCRAPE_H
#define PROXY_ADMIN_APPSCRAPE_H

#include "common/loop/loop.h"
#include "common/mesh/appmetrics.h"
#include "common/metrics/registry.h"
#include "proxy/admin/serving.h"

#define PROXY_APPSCRAPE_BODY_MAX   (8u << 20)
#define PROXY_APPSCRAPE_SPACING_MS 100
#define PROXY_APPSCRAPE_WAIT_MS    10000 /* where the scraper says nothing */
#define PROXY_APPSCRAPE_WAIT_MAX   60000

struct proxy_appscrape;

struct proxy_appscrape_options {
    struct fl_loop *loop;
    const struct fl_appmetrics *app;                   /* outlives it */
    struct proxy_address address;                      /* of the pod; its port is not looked at */
    struct fl_metrics *metrics;                        /* of the main thread; may be NULL */
    int (*print_own)(void *owner, struct fl_buf *out); /* appends our own page. 0, -ENOMEM, -EMSGSIZE */
    void *owner;
};

int proxy_appscrape_new(const struct proxy_appscrape_options *options, struct proxy_appscrape **ret_scrape,
                        struct fl_err *err) FL_MUST_CHECK;
struct proxy_appscrape *proxy_appscrape_free(struct proxy_appscrape *scrape); /* who waits gets no answer */

/* A GET or HEAD for the page. 0 or -ENOMEM. */
int proxy_appscrape_handle(struct proxy_appscrape *scrape, const struct proxy_message *request,
                           struct proxy_answer *answer) FL_MUST_CHECK;

/* Pure: what a scraper's header means, in ms to wait for the app. */
uint64_t proxy_appscrape_wait_ms(struct fl_span seconds);

#endif
