/* The program behind main.c: HTTPS on one address, one thread, one loop.
 *
 *   POST /inject    an AdmissionReview (application/json) → an AdmissionReview
 *   GET  /healthz   200 as long as the loop turns
 *   GET  /readyz    200 when admissions are answered; 503 until the API server's namespaces are known, and while
 * draining GET  /metrics   Prometheus text
 *
 * SIGHUP reads configuration, namespaces and certificate again (they are also looked at every second). SIGTERM and
 * SIGINT drain: for drain_delay seconds connections are still accepted and every answer closes its own, then the
 * listener closes, requests under way are finished, and the program ends with 0.
 */
#ifndef WEBHOOK_SERVER_H
#define WEBHOOK_SERVER_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "webhook/caller.h"

struct webhook_options {
    const char *listen;                   /* "0.0.0.0:8443", "[::]:8443", "127.0.0.1:0" */
    const char *cert, *key;               /* PEM files */
    const char *config;                   /* NULL: the defaults */
    const char *namespaces;               /* a file; NULL: they are the API server's */
    const char *kubeconfig;               /* where that is; NULL: as the pod's own files say */
    const char *context;                  /* of the kubeconfig; NULL: its current one */
    struct webhook_caller_options caller; /* zeroed: anybody may call */
    unsigned drain_delay;                 /* seconds */
};

/* Returns when the program is to end: 0 after a drain; a negative errno with the reason where it could not start. */
int webhook_server_run(const struct webhook_options *options, struct fl_err *err) FL_MUST_CHECK;

#endif
