/* The webhook's configuration file (--config): YAML, read by a table, unknown keys are errors. Without a file the
 * defaults stand. A configuration is whole and checked before it is used; a reload makes a new one.
 *
 *   image: fairlead/fairlead-proxy:0.1.0      the proxy's image
 *   imagePullPolicy: IfNotPresent             "" leaves it to Kubernetes
 *   logLevel: info                            the proxy's
 *   uid: 1337                                 the proxy's; with gid the exemption from capture
 *   gid: 1337
 *   resources:                                "" leaves one out
 *     requests: {cpu: 10m, memory: 16Mi}
 *     limits: {cpu: "2", memory: 256Mi}
 *   capture:                                  forms as in the annotations
 *     inboundIncludePorts: "*"
 *     inboundExcludePorts: ""
 *     outboundIncludePorts: ""
 *     outboundExcludePorts: ""
 *     outboundIncludeCIDRs: "*"
 *     outboundExcludeCIDRs: ""
 *   nativeSidecar: true                       false: a classic container (before Kubernetes 1.29)
 *   podOverrides: true                        false: the pod's inject label does not count
 *   control:                                  without it a sidecar wants a bootstrap file in its volume
 *     address: 10.96.0.5:15012                of fairlead-control; several are separated by commas
 *     name: fairlead-control.fairlead-system.svc
 *   tokenAudience: fairlead-ca                of the sidecar's service-account token
 *   trustDomain: cluster.local                of the identity that the audit annotation tells
 *   ignoredNamespaces: [kube-system, kube-public, kube-node-lease]
 *   revision: default                         pods that ask for another one (fairlead.io/rev) are left to it
 */
#ifndef WEBHOOK_CONFIG_H
#define WEBHOOK_CONFIG_H

#include "common/doc/yaml.h"
#include "common/mesh/capture.h"
#include "webhook/limit.h"

struct webhook_resources {
    struct fl_span cpu_request, cpu_limit, memory_request, memory_limit; /* quantities; empty: left out */
};

struct webhook_config {
    struct fl_yaml *document; /* owns what the spans point into; NULL: literals alone */
    struct fl_span image, image_pull_policy, log_level, token_audience, trust_domain, revision;
    struct fl_span control_address, control_name; /* address empty: no control plane */
    struct webhook_resources resources;
    uint32_t uid, gid;
    bool native_sidecar, pod_overrides;
    struct fl_capture capture; /* the defaults, uid and gid included */
    struct fl_span ignored[WEBHOOK_CONFIG_IGNORED];
    size_t ignored_count;
};

/* No file. 0 or -ENOMEM. */
int webhook_config_default(struct webhook_config **ret_config) FL_MUST_CHECK;
/* `text` as of `file` (for errors "file:line:column: what"). An empty text gives the defaults. 0, -EINVAL, -EMSGSIZE,
 * -ENOMEM. */
int webhook_config_parse(struct fl_span text, const char *file, struct webhook_config **ret_config,
                         struct fl_err *err) FL_MUST_CHECK;
struct webhook_config *webhook_config_free(struct webhook_config *config); /* returns NULL */
void webhook_cleanup_config(struct webhook_config **config);

/* 0, or -EINVAL where a request is above its limit; err names `cpu` or `memory`. */
int webhook_resources_check(const struct webhook_resources *resources, struct fl_err *err) FL_MUST_CHECK;

#endif
