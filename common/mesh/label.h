/* Every label and annotation key of the mesh, in one place: the webhook writes them, CNI, agent and control read them.
 * (For users: docs/annotations.md.) */
#ifndef FL_MESH_LABEL_H
#define FL_MESH_LABEL_H

/* Labels, on a Namespace or a Pod. */
#define FL_LABEL_INJECT     "fairlead.io/inject" /* "enabled" | "disabled"; the pod's wins over the namespace's */
#define FL_LABEL_REVISION   "fairlead.io/rev"    /* which control-plane revision; none: the next */
#define FL_REVISION_DEFAULT "default"
#define FL_INJECT_ENABLED   "enabled"
#define FL_INJECT_DISABLED  "disabled"

/* Labels on a Namespace alone; only the value "true" counts. */
#define FL_LABEL_REQUIRE "fairlead.io/require" /* no pod of it may stay out of the mesh; implies inject */
#define FL_LABEL_PAUSE   "fairlead.io/pause"   /* break-glass: its pods pass untouched; wins over require */
#define FL_LABEL_TRUE    "true"

/* Annotations that the webhook writes (a user's own value is overwritten, never trusted). */
#define FL_ANNOTATION_CAPTURE "fairlead.io/capture" /* the capture spec, canonical JSON (mesh/capture.h) */
#define FL_ANNOTATION_STATUS  "fairlead.io/status"  /* JSON: what was added, by which version */
#define FL_ANNOTATION_PROBES  "fairlead.io/probes"  /* JSON: the originals of rewritten probes (mesh/appprobe.h) */
#define FL_ANNOTATION_METRICS "fairlead.io/metrics" /* JSON: where the app's own metrics are (mesh/appmetrics.h) */

/* Annotations that a user sets, on the Namespace (defaults) or the Pod, as far down as the operator lets them
 * (webhook/settings.h has their forms and meanings). */
#define FL_ANNOTATION_INBOUND_INCLUDE_PORTS           "fairlead.io/inbound-include-ports"
#define FL_ANNOTATION_INBOUND_EXCLUDE_PORTS           "fairlead.io/inbound-exclude-ports"
#define FL_ANNOTATION_OUTBOUND_INCLUDE_PORTS          "fairlead.io/outbound-include-ports"
#define FL_ANNOTATION_OUTBOUND_EXCLUDE_PORTS          "fairlead.io/outbound-exclude-ports"
#define FL_ANNOTATION_OUTBOUND_INCLUDE_CIDRS          "fairlead.io/outbound-include-cidrs"
#define FL_ANNOTATION_OUTBOUND_EXCLUDE_CIDRS          "fairlead.io/outbound-exclude-cidrs"
#define FL_ANNOTATION_EXCLUDE_INTERFACES              "fairlead.io/exclude-interfaces"
#define FL_ANNOTATION_OUTBOUND_EXCLUDE_UIDS           "fairlead.io/outbound-exclude-uids"
#define FL_ANNOTATION_DNS_CAPTURE                     "fairlead.io/dns-capture"
#define FL_ANNOTATION_IPV6                            "fairlead.io/ipv6"
#define FL_ANNOTATION_DROP_INVALID                    "fairlead.io/drop-invalid"
#define FL_ANNOTATION_OPAQUE_PORTS                    "fairlead.io/opaque-ports"
#define FL_ANNOTATION_NATIVE_SIDECAR                  "fairlead.io/native-sidecar"
#define FL_ANNOTATION_START_SECONDS                   "fairlead.io/start-seconds"
#define FL_ANNOTATION_DRAIN_SECONDS                   "fairlead.io/drain-seconds"
#define FL_ANNOTATION_PROBE_REWRITE                   "fairlead.io/probe-rewrite"
#define FL_ANNOTATION_METRICS_MERGE                   "fairlead.io/metrics-merge"
#define FL_ANNOTATION_LOG_LEVEL                       "fairlead.io/log-level"
#define FL_ANNOTATION_PROXY_IMAGE                     "fairlead.io/proxy-image"
#define FL_ANNOTATION_PROXY_IMAGE_PULL_POLICY         "fairlead.io/proxy-image-pull-policy"
#define FL_ANNOTATION_PROXY_CPU_REQUEST               "fairlead.io/proxy-cpu-request"
#define FL_ANNOTATION_PROXY_CPU_LIMIT                 "fairlead.io/proxy-cpu-limit"
#define FL_ANNOTATION_PROXY_MEMORY_REQUEST            "fairlead.io/proxy-memory-request"
#define FL_ANNOTATION_PROXY_MEMORY_LIMIT              "fairlead.io/proxy-memory-limit"
#define FL_ANNOTATION_PROXY_EPHEMERAL_STORAGE_REQUEST "fairlead.io/proxy-ephemeral-storage-request"
#define FL_ANNOTATION_PROXY_EPHEMERAL_STORAGE_LIMIT   "fairlead.io/proxy-ephemeral-storage-limit"
#define FL_ANNOTATION_PROXY_ENV                       "fairlead.io/proxy-env"
#define FL_ANNOTATION_PROXY_VOLUMES                   "fairlead.io/proxy-volumes"
#define FL_ANNOTATION_PROXY_VOLUME_MOUNTS             "fairlead.io/proxy-volume-mounts"
#define FL_ANNOTATION_PRIVILEGED_APPS                 "fairlead.io/privileged-apps"
#define FL_ANNOTATION_PREFIX                          "fairlead.io/"

/* Written by `fairlead pause` on a Namespace, for people. */
#define FL_ANNOTATION_PAUSED_AT    "fairlead.io/paused-at" /* RFC 3339 */
#define FL_ANNOTATION_PAUSE_REASON "fairlead.io/pause-reason"
#define FL_ANNOTATION_PAUSED_BY    "fairlead.io/paused-by" /* the user, as the API server knows it */

/* The CNI capability by which a runtime hands the pod's annotations to a plugin (containerd ≥ 1.6.20, CRI-O). */
#define FL_CNI_CAPABILITY_ANNOTATIONS "io.kubernetes.cri.pod-annotations"

/* The sidecar's environment, set by the webhook through the downward API. */
#define FL_ENV_CAPTURE         "FAIRLEAD_CAPTURE"     /* the value of FL_ANNOTATION_CAPTURE: turns on the start gate */
#define FL_ENV_PROBES          "FAIRLEAD_PROBES"      /* of FL_ANNOTATION_PROBES */
#define FL_ENV_METRICS         "FAIRLEAD_METRICS"     /* of FL_ANNOTATION_METRICS */
#define FL_ENV_CPU_LIMIT       "FAIRLEAD_CPU_LIMIT"   /* of the container, in whole CPUs; without one the node's */
#define FL_ENV_RESOLV_CONF     "FAIRLEAD_RESOLV_CONF" /* absent: /etc/resolv.conf */
#define FL_ENV_POD_NAME        "POD_NAME"
#define FL_ENV_POD_NAMESPACE   "POD_NAMESPACE"
#define FL_ENV_POD_UID         "POD_UID"
#define FL_ENV_POD_IPS         "POD_IPS" /* comma-separated */
#define FL_ENV_NODE_NAME       "NODE_NAME"
#define FL_ENV_SERVICE_ACCOUNT "SERVICE_ACCOUNT"
#define FL_ENV_WORKLOAD        "FAIRLEAD_WORKLOAD" /* the owner's name (Deployment …) as far as admission can tell */

/* The same, given where there is a control plane: the proxy then builds its bootstrap from the environment. */
#define FL_ENV_CONTROL_ADDRESS                                                                                         \
    "FAIRLEAD_CONTROL_ADDRESS"                      /* "10.96.0.5:15012", "control.mesh.svc:15012", several            \
                                                       separated by commas; "none": pass-through (place.h) */
#define FL_ENV_CONTROL_NAME "FAIRLEAD_CONTROL_NAME" /* the DNS name in its certificate */
#define FL_ENV_CA_ADDRESS   "FAIRLEAD_CA_ADDRESS"   /* absent: the control plane's */
#define FL_ENV_CA_NAME      "FAIRLEAD_CA_NAME"
#define FL_ENV_ROOT_FILE    "FAIRLEAD_ROOT_FILE"  /* whom to trust as control plane; absent: FL_ROOT_PATH */
#define FL_ENV_TOKEN_FILE   "FAIRLEAD_TOKEN_FILE" /* absent: FL_TOKEN_PATH "/token" */
#define FL_ENV_TRUST_DOMAIN "FAIRLEAD_TRUST_DOMAIN"
#define FL_ENV_CLUSTER_ID   "FAIRLEAD_CLUSTER_ID"
#define FL_ENV_GATEWAY      "FAIRLEAD_GATEWAY" /* "<namespace>/<name>" of the Gateway: the gateway role */

/* The pod's labels, for telemetry; empty where it has none of that name. */
#define FL_ENV_LABEL_APP                "FAIRLEAD_LABEL_APP"
#define FL_ENV_LABEL_VERSION            "FAIRLEAD_LABEL_VERSION"
#define FL_ENV_LABEL_APP_NAME           "FAIRLEAD_LABEL_APP_NAME"
#define FL_ENV_LABEL_APP_VERSION        "FAIRLEAD_LABEL_APP_VERSION"
#define FL_ENV_LABEL_CANONICAL_NAME     "FAIRLEAD_LABEL_CANONICAL_NAME"
#define FL_ENV_LABEL_CANONICAL_REVISION "FAIRLEAD_LABEL_CANONICAL_REVISION"
#define FL_LABEL_APP                    "app"
#define FL_LABEL_VERSION                "version"
#define FL_LABEL_APP_NAME               "app.kubernetes.io/name"
#define FL_LABEL_APP_VERSION            "app.kubernetes.io/version"
#define FL_LABEL_ISTIO_TLS_MODE         "security.istio.io/tlsMode"    /* "istio": the Pod has Istio's sidecar */
#define FL_ANNOTATION_AMBIENT           "ambient.istio.io/redirection" /* "enabled": Istio's ztunnel serves the Pod */
#define FL_LABEL_CANONICAL_NAME         "service.istio.io/canonical-name"
#define FL_LABEL_CANONICAL_REVISION     "service.istio.io/canonical-revision"

/* Read by a proxy without a file, set by nobody but a person (proxy/config/environment.h). */
#define FL_ENV_DISCOVERY  "FAIRLEAD_DISCOVERY" /* "on-demand" (a sidecar's default) or "all" */
#define FL_ENV_ADMIN_PORT "FAIRLEAD_ADMIN_PORT"

/* What the patch adds. */
#define FL_CONTAINER_NAME "fairlead-proxy"
#define FL_GATEWAY_NAME                                                                                                \
    "fairlead-gateway" /* a Gateway's, that the deployer makes: who has the other one is called by mTLS */
#define FL_GATE_NAME      "fairlead-gate"  /* the first init container beside a classic sidecar (mesh/container.h) */
#define FL_VOLUME_NAME    "fairlead-proxy" /* emptyDir, medium Memory; mounted by the sidecar alone */
#define FL_VOLUME_PATH    "/run/fairlead"
#define FL_TOKEN_VOLUME   "fairlead-token" /* projected service-account token */
#define FL_TOKEN_PATH     "/run/secrets/fairlead"
#define FL_BOOTSTRAP_PATH FL_VOLUME_PATH "/bootstrap.yaml"
#define FL_TOKEN_AUDIENCE "fairlead-ca"   /* whom that token is for */
#define FL_ROOT_MAP       "fairlead-root" /* ConfigMap of every namespace: the mesh's trust bundle */
#define FL_ROOT_KEY       "root-cert.pem" /* in it */
#define FL_ROOT_PATH      FL_TOKEN_PATH "/" FL_ROOT_KEY
#define FL_CONTROL_NAME   "fairlead-control.fairlead-system.svc"

#endif
