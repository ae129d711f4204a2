/* Why an admission ended as it did: one list gives the enum, the words in metrics, logs and audit annotations, the code
 * in the answer and the sentence that people read. `code` is HTTP's for refused requests (webhook_outcome INVALID), the
 * status code of the denial for denied pods, 0 for the rest. Words never change their meaning: dashboards hold them. */
#ifndef WEBHOOK_REASON_H
#define WEBHOOK_REASON_H

/* X(symbol, word, code, sentence) */
#define WEBHOOK_REASONS(X)                                                                                             \
    /* in */                                                                                                           \
    X(POD_ENABLED, "pod_enabled", 0, "the pod's label asks for the mesh")                                              \
    X(NAMESPACE_ENABLED, "namespace_enabled", 0, "the namespace's label asks for the mesh")                            \
    X(NAMESPACE_REQUIRES, "namespace_requires", 0, "the namespace requires the mesh")                                  \
    X(ALREADY_INJECTED, "already_injected", 0, "the sidecar is there already and as it should be")                     \
    /* out */                                                                                                          \
    X(NOT_A_POD, "not_a_pod", 0, "only pods are changed")                                                              \
    X(EPHEMERAL_CONTAINERS, "ephemeral_containers", 0, "the pod's ephemeral containers were looked at")                \
    X(SUBRESOURCE, "subresource", 0, "subresources of pods are not changed")                                           \
    X(OPERATION, "operation", 0, "only the creation of pods is changed")                                               \
    X(OWN_NAMESPACE, "own_namespace", 0, "the mesh's own pods never join the mesh")                                    \
    X(IGNORED_NAMESPACE, "ignored_namespace", 0, "pods of this namespace never join the mesh")                         \
    X(MIRROR_POD, "mirror_pod", 0, "static pods are the node's own and cannot be changed")                             \
    X(PAUSED, "paused", 0, "the namespace is paused, and its pods are not touched")                                    \
    X(POD_DISABLED, "pod_disabled", 0, "the pod's label keeps it out")                                                 \
    X(NAMESPACE_DISABLED, "namespace_disabled", 0, "the namespace's label keeps it out")                               \
    X(NO_LABEL, "no_label", 0, "neither namespace nor pod asks for the mesh")                                          \
    X(REVISION, "revision", 0, "another revision is asked for")                                                        \
    X(HOST_NETWORK, "host_network", 0, "it uses the host's network, which is never captured")                          \
    X(WINDOWS, "windows", 0, "the sidecar does not run on Windows")                                                    \
    X(FOREIGN_SIDECAR, "foreign_sidecar", 0, "it has the sidecar of another mesh")                                     \
    /* denied */                                                                                                       \
    X(POD_LABEL_INVALID, "pod_label_invalid", 422, "the pod's label has an unknown value")                             \
    X(NAMESPACE_LABEL_INVALID, "namespace_label_invalid", 422, "the namespace's label has an unknown value")           \
    X(REQUIRE_LABEL_INVALID, "require_label_invalid", 422, "the namespace's require label has an unknown value")       \
    X(REQUIRED, "required", 403, "the namespace requires the mesh, and the pod would stay out of it")                  \
    X(SETTING_INVALID, "setting_invalid", 422, "an annotation has a wrong value")                                      \
    X(NOT_ALLOWED_HERE, "not_allowed_here", 403, "a setting stands where the operator does not let it stand")          \
    X(POD_INVALID, "pod_invalid", 422, "the pod has a member of the wrong type")                                       \
    X(RUNS_AS_PROXY, "runs_as_proxy", 403, "a container would run as the proxy's uid or gid")                          \
    X(PRIVILEGED_APP, "privileged_app", 403, "a container could take itself out of the mesh")                          \
    X(PROBE_LOST, "probe_lost", 422, "a probe was rewritten, and what it was before is not there any more")            \
    X(NAME_TAKEN, "name_taken", 403, "a name of the sidecar is used by something else")                                \
    X(NAMESPACE_UNKNOWN, "namespace_unknown", 503, "the API server does not say what the namespace asks for")          \
    X(SELF_CHECK, "self_check", 500, "the patch did not pass its own check")                                           \
    /* refused before a decision */                                                                                    \
    X(CLIENT_CERTIFICATE, "client_certificate", 403, "the caller's certificate is not the API server's")               \
    X(CLIENT_TOKEN, "client_token", 401, "the caller's token is not the API server's")                                 \
    X(CONTENT_TYPE, "content_type", 415, "the content type is not application/json")                                   \
    X(TOO_LARGE, "too_large", 413, "the body is larger than a review may be")                                          \
    X(LENGTH, "length", 400, "the length of the body is not clear")                                                    \
    X(NOT_JSON, "not_json", 400, "the body is not JSON that can be read")                                              \
    X(NOT_A_REVIEW, "not_a_review", 400, "the body is not an AdmissionReview request")                                 \
    X(API_VERSION, "api_version", 400, "the AdmissionReview is of another version")                                    \
    X(INTERNAL, "internal", 500, "memory was out, or the answer too large")

enum webhook_reason {
#define X(symbol, word, code, sentence) WEBHOOK_REASON_##symbol,
    WEBHOOK_REASONS(X)
#undef X
        WEBHOOK_REASON_COUNT
};

enum webhook_outcome {
    WEBHOOK_INJECTED,  /* admitted with a patch */
    WEBHOOK_UNCHANGED, /* admitted, in the mesh already */
    WEBHOOK_SKIPPED,   /* admitted, out of the mesh */
    WEBHOOK_DENIED,
    WEBHOOK_INVALID, /* no AdmissionReview that can be answered: an HTTP error */
    WEBHOOK_OUTCOME_COUNT
};

const char *webhook_reason_word(enum webhook_reason reason);
const char *webhook_reason_text(enum webhook_reason reason);
unsigned webhook_reason_code(enum webhook_reason reason);
const char *webhook_outcome_word(enum webhook_outcome outcome);

#endif
