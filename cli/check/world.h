/* What the checks look at: objects of the cluster as the API server lists them, and when that was. Checks are pure over
 * this; a test makes one from documents.
 *
 * Nothing of a Secret is read. A document that could not be had is NULL, and why is kept: a check then says SKIPPED.
 */
#ifndef CLI_CHECK_WORLD_H
#define CLI_CHECK_WORLD_H

#include "cli/cluster.h"

#include "common/mesh/label.h"

/* X(id, word, path): "@MESH@" is the mesh's namespace, "@REV@" "-REVISION" unless that is "default", "@IN@"
 * "/namespaces/NAME" where the check is of one. */
#define CLI_DOCUMENTS(X)                                                                                               \
    X(VERSION, "version", "/version")                                                                                  \
    X(NODES, "nodes", "/api/v1/nodes")                                                                                 \
    X(HEARTBEATS, "heartbeats", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")                      \
    X(NAMESPACES, "namespaces", "/api/v1/namespaces")                                                                  \
    X(PODS, "pods", "/api/v1@IN@/pods")                                                                                \
    X(MESH_PODS, "mesh-pods", "/api/v1/namespaces/@MESH@/pods")                                                        \
    X(MESH_SERVICES, "mesh-services", "/api/v1/namespaces/@MESH@/services")                                            \
    X(CONFIG, "webhook-config", "/api/v1/namespaces/@MESH@/configmaps/fairlead-webhook@REV@")                          \
    X(DEPLOYMENTS, "deployments", "/apis/apps/v1/namespaces/@MESH@/deployments")                                       \
    X(AGENTS, "agents", "/apis/apps/v1/daemonsets?labelSelector=app.kubernetes.io%2Fpart-of%3Dfairlead")               \
    X(AGENT_PODS, "agent-pods", "/api/v1/pods?labelSelector=app.kubernetes.io%2Fname%3Dfairlead")                      \
    X(WEBHOOKS, "webhooks", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations")                     \
    X(CRDS, "crds", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")                                         \
    X(BUNDLES, "bundles", "/api/v1/configmaps?fieldSelector=metadata.name%3D" FL_ROOT_MAP)                             \
    X(POLICIES, "policies", "/apis/networking.k8s.io/v1/networkpolicies")                                              \
    X(GATEWAY_CLASSES, "gateway-classes", "/apis/gateway.networking.k8s.io/v1/gatewayclasses")

enum cli_document {
#define X(id, ...) CLI_DOCUMENT_##id,
    CLI_DOCUMENTS(X)
#undef X
        CLI_DOCUMENT_COUNT
};

struct cli_missing {
    int result; /* negative errno */
    char text[FL_ERR_TEXT_MAX];
};

struct cli_world {
    const char *mesh;                              /* namespace of the installation */
    const char *revision;                          /* "default" */
    const char *name_space;                        /* of the pods that are looked at; NULL: all */
    const char *pod;                               /* that one alone; NULL: all */
    int64_t now;                                   /* our clock, when the answer of `server` came */
    int64_t server;                                /* the API server's; 0: it did not say */
    struct fl_json *documents[CLI_DOCUMENT_COUNT]; /* owned */
    struct cli_missing missing[CLI_DOCUMENT_COUNT];
};

/* Sets the clocks and reads the documents from `first` to `last`. What is not there is no failure. */
void cli_world_read(struct cli_world *world, struct cli_cluster *cluster, enum cli_document first,
                    enum cli_document last);
void cli_world_done(struct cli_world *world);

const char *cli_document_word(enum cli_document document);
/* The path with its places filled in. 0, -ENOMEM, -EMSGSIZE. */
int cli_document_path(const struct cli_world *world, enum cli_document document, struct fl_buf *out) FL_MUST_CHECK;

/* The first of a list's objects; NULL: none, or no list. */
const struct fl_json *cli_world_first(const struct cli_world *world, enum cli_document document);

/* metadata.name, metadata.namespace, and of its labels or annotations; empty where it is not there. */
struct fl_span cli_object_name(const struct fl_json *object);
struct fl_span cli_object_space(const struct fl_json *object);
struct fl_span cli_object_label(const struct fl_json *object, const char *key);
struct fl_span cli_object_annotation(const struct fl_json *object, const char *key);
/* An element of a list of objects by name; NULL: it is not there. */
const struct fl_json *cli_world_find(const struct cli_world *world, enum cli_document document, const char *name);
/* The value of a path of members, "status.readyReplicas"; NULL: it is not there. */
const struct fl_json *cli_object_at(const struct fl_json *object, const char *path);

#endif
