/* Probes that the kubelet sends over the network to a captured port: under STRICT the sidecar refuses them, because the
 * kubelet has no identity in the mesh. Until they are rewritten to the sidecar's own port, the pod's maker is told. */
#ifndef WEBHOOK_PROBE_H
#define WEBHOOK_PROBE_H

#include "common/mesh/capture.h"
#include "webhook/warning.h"

struct fl_json;

/* Looks at httpGet, tcpSocket and grpc probes of containers and restartable init containers, named ports resolved; one
 * warning for all of them. `exec` probes are fine. */
void webhook_probe_warn(const struct fl_json *pod, const struct fl_capture *capture, struct webhook_warnings *warnings);

#endif
