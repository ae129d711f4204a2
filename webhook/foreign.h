/* Another mesh's sidecar in a pod: recognized by what its injector calls its containers, and by its images, so that a
 * pod is never in two meshes, which would capture each other's traffic. Pure. */
#ifndef WEBHOOK_FOREIGN_H
#define WEBHOOK_FOREIGN_H

#include "common/doc/json.h"

/* The name of the first container, of whichever list, that is one: istio-proxy, linkerd-proxy, kuma-sidecar,
 * consul-dataplane, envoy-sidecar …, or their init containers. data == NULL: none. Stands any tree. */
struct fl_span webhook_foreign_find(const struct fl_json *spec);

#endif
