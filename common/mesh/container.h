/* The proxy's container, which the webhook adds to pods and the control plane to gateways: fields resolved, then
 * rendered as a Kubernetes Container. Typed, no template. */
#ifndef FL_MESH_CONTAINER_H
#define FL_MESH_CONTAINER_H

#include "common/doc/json.h"
#include "common/mesh/capture.h"

struct fl_container {
    struct fl_span image;                                                /* required */
    struct fl_span image_pull_policy;                                    /* empty: left out */
    struct fl_span log_level;                                            /* empty: "info" */
    struct fl_span workload;                                             /* owner's name; empty: left out */
    struct fl_span cpu_request, cpu_limit, memory_request, memory_limit; /* quantities; empty: left out */
    uint32_t uid, gid;
    bool native; /* a native sidecar: restartPolicy Always, startupProbe /healthz/started */
};

/* The container object, owned by the caller; NULL only when memory is out. Restricted Pod Security: runs as uid:gid
 * (non-root), no privilege escalation, all capabilities dropped, seccomp RuntimeDefault, read-only root. Arguments:
 * -c FL_BOOTSTRAP_PATH -l <level>. Environment by downward API (mesh/label.h), mounts of FL_VOLUME_NAME and
 * FL_TOKEN_VOLUME, probes on FL_PORT_HEALTH. */
struct fl_json *fl_container_render(const struct fl_container *container);

/* The two volumes, owned by the caller; NULL when memory is out. audience: of the token. */
struct fl_json *fl_container_volume(void);
struct fl_json *fl_container_token_volume(struct fl_span audience);

#endif
