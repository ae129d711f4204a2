/* What the mesh writes into a pod's labels and annotations, each with how: one list that patch and self-check share.
 * Pure.
 *
 * Annotations: capture, status; probes and metrics where there is something to keep, else they go; the prometheus.io
 * ones (scrape.h); opaque-ports where the pod has none of its own, so that the control plane, which sees pods alone,
 * knows them; default-container and default-logs-container, where absent; and the cluster autoscaler's list of volumes
 * that do not keep a node alive, to which our own are added. Labels, where absent: the canonical service,
 * service.istio.io/canonical-name (app.kubernetes.io/name, else app, else the workload's name) and canonical-revision
 * (app.kubernetes.io/version, else version, else "latest").
 */
#ifndef WEBHOOK_METADATA_H
#define WEBHOOK_METADATA_H

#include "webhook/probe.h"
#include "webhook/scrape.h"
#include "webhook/sidecar.h"

#define WEBHOOK_DEFAULT_CONTAINER      "kubectl.kubernetes.io/default-container"
#define WEBHOOK_DEFAULT_LOGS_CONTAINER "kubectl.kubernetes.io/default-logs-container"
#define WEBHOOK_SAFE_TO_EVICT          "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

enum webhook_entry_how { WEBHOOK_ENTRY_SET, WEBHOOK_ENTRY_DEFAULT, WEBHOOK_ENTRY_REMOVE };

struct webhook_entry {
    const char *key;
    struct fl_span value;
    enum webhook_entry_how how; /* DEFAULT: where it is absent */
};

#define WEBHOOK_LABELS_MAX      2
#define WEBHOOK_ANNOTATIONS_MAX 16
#define WEBHOOK_LABEL_VALUE_MAX 63

struct webhook_metadata { /* values point into what _make was given but the workload, and here: not to be copied */
    struct webhook_entry labels[WEBHOOK_LABELS_MAX], annotations[WEBHOOK_ANNOTATIONS_MAX];
    size_t label_count, annotation_count;
    struct fl_buf volumes, opaque; /* the merged lists */
    char service[WEBHOOK_LABEL_VALUE_MAX + 1];
};

/* 0, -EMSGSIZE (a list of the user's that is absurdly long), -ENOMEM. */
int webhook_metadata_make(const struct fl_json *pod, struct fl_span workload, const struct webhook_settings *settings,
                          const struct webhook_sidecar *sidecar, const struct webhook_probes *probes,
                          const struct webhook_scrape *scrape, struct webhook_metadata *ret_metadata) FL_MUST_CHECK;
/* The status is known when all else is (origin.h). Points to it. */
void webhook_metadata_set_status(struct webhook_metadata *metadata, struct fl_span status);
void webhook_metadata_done(struct webhook_metadata *metadata); /* a zeroed one is fine */

/* What `entry` leads to where `present` (or NULL) is now. */
enum webhook_entry_step { WEBHOOK_ENTRY_STAYS, WEBHOOK_ENTRY_WRITE, WEBHOOK_ENTRY_DROP };
enum webhook_entry_step webhook_entry_step(const struct webhook_entry *entry, const struct fl_json *present);

#endif
