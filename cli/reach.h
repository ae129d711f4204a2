/* Pods of the cluster that are asked for their pages: the control plane's replicas, and a pod's sidecar.
 */
#ifndef CLI_REACH_H
#define CLI_REACH_H

#include "cli/cluster.h"
#include "cli/forward.h"

#define CLI_CONTROLS_MAX 16 /* replicas that are asked */

/* One replica of the control plane and what it said. */
struct cli_control_page {
    char pod[256];
    struct fl_json *page; /* owned; NULL: it could not be had, and `err` says why */
    struct fl_err err;
};
struct cli_control_pages {
    struct cli_control_page items[CLI_CONTROLS_MAX];
    size_t count; /* 0: there is none that runs */
};

/* Asks each running replica of the revision's control plane for a page of its HTTP port ("/debug/proxies"). 0, also
 * where some or all could not be asked; negative where the replicas themselves cannot be listed. */
int cli_reach_controls(struct cli_cluster *cluster, const struct cli_access *access, const char *mesh,
                       const char *revision, const char *path, struct cli_control_pages *ret_pages,
                       struct fl_err *err) FL_MUST_CHECK;
void cli_control_pages_done(struct cli_control_pages *pages);

/* {"proxies":[…]} of all that answered, one proxy once; owned. NULL where memory is out. */
struct fl_json *cli_control_pages_proxies(struct cli_control_pages *pages);

/* A page of a port of a pod as it is ("/config_dump" of 15000). */
int cli_reach_text(const struct cli_access *access, struct fl_span name_space, struct fl_span pod, uint16_t port,
                   const char *path, struct fl_buf *ret_text, struct fl_err *err) FL_MUST_CHECK;
/* The same as JSON. */
int cli_reach_json(const struct cli_access *access, struct fl_span name_space, struct fl_span pod, uint16_t port,
                   const char *path, struct fl_json **ret_json, struct fl_err *err) FL_MUST_CHECK;

/* "POD", "NAMESPACE/POD", "POD.NAMESPACE": `name_space` where the text names none. "deployment/NAME" and its like, with
 * ".NAMESPACE" or without, stay whole: one pod of it is meant. False: none of these. */
bool cli_reach_read(const char *text, const char *name_space, struct fl_span *ret_space, struct fl_span *ret_pod);

#endif
