/* The proxy's container, which the webhook adds to pods and the control plane to gateways: fields resolved, then
 * rendered as a Kubernetes Container. Typed, no template.
 *
 * It passes the "restricted" Pod Security Standard: runs as uid:gid (non-root), no privilege escalation, all
 * capabilities dropped, seccomp RuntimeDefault; its root file system is read-only besides.
 * Defaults for resources belong to the callers, whose users override them: here an empty quantity is left out. Where a
 * namespace has a ResourceQuota or LimitRange, requests and limits are needed on every container, so callers give both.
 * A startup probe of a second's period, with ten minutes of patience: a sidecar waits in the start gate until somebody
 * programs its network namespace, and being restarted would not bring that nearer.
 *
 * Both forms hold the app until its capture is proven: before a native sidecar's startup probe succeeded the kubelet
 * starts no later container; beside a classic one stands the gate, an init container of the same image and user that
 * ends once the pod is captured, for when a postStart hook fails the kubelet goes on with the next container. That hook
 * (`wait`) holds the app besides, until the classic sidecar itself has started. preStop (`drain`) tells the proxy that
 * the pod ends; the classic one then serves on for drain_seconds while the app ends.
 */
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
    struct fl_span ephemeral_storage_request, ephemeral_storage_limit;
    struct fl_span control_address; /* of the control plane, or "none" (place.h); empty: -c FL_BOOTSTRAP_PATH instead */
    struct fl_span control_name;    /* empty: left out */
    struct fl_span trust_domain;    /* empty: left out */
    uint32_t uid, gid;
    uint32_t start_seconds;       /* how long it may take to start; 0: 600 */
    uint32_t drain_seconds;       /* classic */
    const struct fl_json *env;    /* an object of strings, further variables; ours win. May be NULL */
    const struct fl_json *mounts; /* an array of further VolumeMounts. May be NULL */
    bool native;                  /* a native sidecar (Kubernetes 1.29) */
};

/* The container object, owned by the caller; NULL only when memory is out. Arguments: -l <level>, and before them
 * -c FL_BOOTSTRAP_PATH where there is no control plane.
 * Environment by downward API (mesh/label.h), mounts of FL_VOLUME_NAME and FL_TOKEN_VOLUME, probes on FL_PORT_HEALTH:
 * startup /healthz/started, readiness /healthz/ready. Native: restartPolicy Always, and the kubelet starts no later
 * container before the startup probe succeeded. */
struct fl_json *fl_container_render(const struct fl_container *container);

/* FL_GATE_NAME, the first of the init containers beside a classic sidecar: runs `gate` of the same image as the same
 * user, reads the same capture spec, and waits for ever. It mounts nothing. Its resources are the sidecar's, which it
 * ends before: so what the pod asks for is what it asks for without. Owned by the caller; NULL only when memory is out.
 */
struct fl_json *fl_container_render_gate(const struct fl_container *container);

#define FL_CONTAINER_PROGRAM "/fairlead-proxy" /* the image's entry point, which the hooks call as well */

#define FL_TOKEN_SECONDS     43200  /* the kubelet renews it long before; long enough for a control plane's bad night */
#define FL_VOLUME_SIZE_LIMIT "16Mi" /* of memory, the sidecar's: key, chain, bundle, last good configuration */

/* The two volumes, owned by the caller; NULL when memory is out. The first is kept in memory. The second holds the
 * service-account token for `audience` as FL_TOKEN_PATH/token, readable by the proxy whatever uid it runs as, and with
 * `root` what FL_ROOT_MAP holds as FL_ROOT_PATH. Until that is in the pod's namespace the kubelet starts nothing of the
 * pod, says so in an Event, and tries again within seconds; one that is optional would come a minute later. */
struct fl_json *fl_container_volume(void);
struct fl_json *fl_container_token_volume(struct fl_span audience, bool root);

#endif
