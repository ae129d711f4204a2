/* Metrics: the pod's prometheus.io annotations are turned to the sidecar's port 15020, where the proxy gives its own
 * and the app's together (mesh/appmetrics.h). Pure.
 *
 * A pod that says prometheus.io/scrape "false" is left as it is; one that says nothing is scraped for the proxy's own
 * metrics from then on. The app is scraped where scrape is "true": at prometheus.io/port, else at the one port that its
 * containers declare. The app's own values go into the annotation fairlead.io/metrics, made anew at each review; values
 * that are not ours any more are new originals.
 */
#ifndef WEBHOOK_SCRAPE_H
#define WEBHOOK_SCRAPE_H

#include "common/doc/json.h"
#include "common/mesh/appmetrics.h"
#include "webhook/warning.h"

#define WEBHOOK_SCRAPE        "prometheus.io/scrape"
#define WEBHOOK_SCRAPE_PORT   "prometheus.io/port"
#define WEBHOOK_SCRAPE_PATH   "prometheus.io/path"
#define WEBHOOK_SCRAPE_SCHEME "prometheus.io/scheme"

#define WEBHOOK_SCRAPE_OURS        "true"
#define WEBHOOK_SCRAPE_PORT_OURS   "15020"
#define WEBHOOK_SCRAPE_PATH_OURS   "/stats/prometheus"
#define WEBHOOK_SCRAPE_SCHEME_OURS "http"

struct webhook_scrape {
    bool set;        /* the three below are to be written, as they stand here */
    bool set_scheme; /* and this: where the pod has one that would be wrong */
    struct fl_span scrape, port, path, scheme;
    struct fl_buf text; /* what fairlead.io/metrics must hold; empty: it must not be there */
    char room[8 + FL_APPMETRICS_PATH_MAX + 1];
};

/* `merge` false: what was turned to us is turned back. `pod` has passed webhook_pod_check. 0 or -ENOMEM. A pod whose
 * own annotations make no sense keeps them, and a warning tells. *ret_scrape is not copied (spans point into it). */
int webhook_scrape_plan(const struct fl_json *pod, bool merge, struct webhook_scrape *ret_scrape,
                        struct webhook_warnings *warnings) FL_MUST_CHECK;
void webhook_scrape_done(struct webhook_scrape *scrape); /* a zeroed one is fine */

#endif
