/* The webhook's configuration file (--config): YAML, read by a table, unknown keys are errors. Without a file the
 * defaults stand. A configuration is whole and checked before it is used; a reload makes a new one. config.schema.json
 * describes the file to editors; a test holds it to the table.
 *
 * Every setting of settings.h is a member, as the default of the whole mesh:
 *
 *   proxyImage: fairlead/fairlead-proxy:0.1.0
 *   outboundExcludePorts: "25"                forms as in the annotations; on/off ones are true or false
 *   proxyMemoryLimit: 512Mi                   null leaves it out
 *   …
 *   levels: {logLevel: mesh, proxyImage: pod} how far down each may be set: mesh (here alone), namespace, pod
 *
 * and beside them:
 *
 *   uid: 1337                                 the proxy's; with gid the exemption from capture
 *   gid: 1337
 *   podOverrides: true                        false: the pod's inject label does not count
 *   allowHostPath: false                      true: annotations may give the proxy hostPath volumes
 *   control:                                  without it a sidecar wants a bootstrap file in its volume
 *     address: control.mesh.svc:15012         of fairlead-control, or IP:port; several are separated by commas. "none":
 *                                             sidecars pass everything through, without certificates
 *     name: fairlead-control.fairlead-system.svc
 *   tokenAudience: fairlead-ca                of the sidecar's service-account token
 *   trustDomain: cluster.local                of the identity that the audit annotation tells
 *   ownNamespace: fairlead-system             where the mesh itself runs: no pod of it is touched
 *   ignoredNamespaces: [kube-system, kube-public, kube-node-lease]
 *   revision: default                         pods that ask for another one (fairlead.io/rev) are left to it
 */
#ifndef WEBHOOK_CONFIG_H
#define WEBHOOK_CONFIG_H

#include "common/doc/yaml.h"
#include "webhook/limit.h"
#include "webhook/settings.h"

struct webhook_config {
    struct fl_yaml *document;                         /* owns what the spans point into; NULL: literals alone */
    struct webhook_settings defaults;                 /* of the mesh, for every pod; capture's uid and gid included */
    enum webhook_level levels[WEBHOOK_SETTING_COUNT]; /* how far down each may be set */
    bool levels_said[WEBHOOK_SETTING_COUNT];          /* whether the file says so (resolve.h) */
    struct fl_span token_audience, trust_domain, revision, own_namespace;
    struct fl_span control_address, control_name; /* address empty: a bootstrap file; "none": neither */
    uint32_t uid, gid;
    bool pod_overrides, allow_host_path;
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

/* The members that the file may have besides the settings, for its schema and its page; ends with a name of NULL. */
struct webhook_config_member {
    const char *name;
    const char *fallback; /* the default, in JSON; NULL: none */
    const char *schema;   /* keywords of its schema, without braces; NULL: made from the settings */
    const char *text;     /* one line, Markdown */
};

extern const struct webhook_config_member webhook_config_members[];

#endif
