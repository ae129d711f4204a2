/* The model: one immutable, counted version of everything that is known, and its plain look-ups. What is derived from
 * several objects stands in service.h, workload.h, route.h and gateway.h, computed on demand into the caller's arena.
 *
 * Pointers that a look-up gives are borrowed: they hold as long as a reference to the model is held. All look-ups are
 * O(log n) (sorted arrays), lists are ranges of them without a copy.
 */
#ifndef CONTROL_MODEL_MODEL_H
#define CONTROL_MODEL_MODEL_H

#include "control/model/core.h"
#include "control/model/gatewayapi.h"
#include "control/model/meshapi.h"

struct control_model;

struct control_model *control_model_ref(const struct control_model *model);
void control_model_unref(const struct control_model *model); /* NULL is fine */
void control_cleanup_model(struct control_model **model);

uint64_t control_model_version(const struct control_model *model); /* counts commits that changed something, from 0 */

/* The root namespace, in which the mesh is installed: policies there are for the whole mesh, and its MeshSettings
 * `default` are the ones that count. */
#define CONTROL_ROOT_DEFAULT "fairlead-system"
struct fl_span control_model_root(const struct control_model *model);

struct control_objects { /* by namespace, then name */
    const struct control_object *const *items;
    size_t count;
};

const struct control_object *control_model_get(const struct control_model *model, struct control_key key);
struct control_objects control_model_all(const struct control_model *model, enum control_kind kind);
struct control_objects control_model_in(const struct control_model *model, enum control_kind kind,
                                        struct fl_span name_space);

const struct control_service *control_model_service(const struct control_model *model, struct fl_span name_space,
                                                    struct fl_span name);
const struct control_pod *control_model_pod(const struct control_model *model, struct fl_span name_space,
                                            struct fl_span name);
const struct control_namespace *control_model_namespace(const struct control_model *model, struct fl_span name);

/* By address; of several with the same IP: the oldest, then by name. A Pod that has ended or is on the host's network
 * is not found by its IP. */
const struct control_service *control_model_service_at(const struct control_model *model, const struct control_ip *ip);
const struct control_pod *control_model_pod_at(const struct control_model *model, const struct control_ip *ip);

struct control_objects control_model_slices(const struct control_model *model, struct fl_span name_space,
                                            struct fl_span service); /* EndpointSlices of a Service, the oldest first */
struct control_objects control_model_pods_of(const struct control_model *model, struct fl_span name_space,
                                             struct fl_span service_account);
/* Routes of any kind that name this parent (Service, Gateway or ListenerSet), whether it takes them or not; the
 * oldest first, then by namespace and name: Gateway API's order of ties. */
struct control_objects control_model_routes_of(const struct control_model *model, enum control_kind parent,
                                               struct fl_span name_space, struct fl_span name);

/* ListenerSets that name this Gateway, whether it takes them or not; the oldest first. */
struct control_objects control_model_sets_of(const struct control_model *model, struct fl_span name_space,
                                             struct fl_span gateway);
/* TrafficPolicies that name this Service, the oldest first. */
struct control_objects control_model_traffic_of(const struct control_model *model, struct fl_span name_space,
                                                struct fl_span service);

struct control_settings { /* MeshSettings with defaults */
    struct fl_span trust_domain, cluster_domain;
    enum control_egress egress;
    const struct fl_cidr *cidrs;
    size_t cidr_count;
    bool istio_peers; /* meshapi.h */
};
struct control_settings control_model_settings(const struct control_model *model);
/* Where our own CA signs identities of another trust domain than the settings name: which one, else empty. Nothing
 * works then, and nothing is let in: proxies have certificates of the one, and all that they are told is of the other.
 */
struct fl_span control_model_foreign_issuer(const struct control_model *model);

/* Whether objects of `kind` (and group) in namespace `from` may refer to `to` (its kind, namespace, name): the same
 * namespace, or a ReferenceGrant there. */
bool control_model_granted(const struct control_model *model, enum control_kind kind, struct fl_span from,
                           const struct control_reference *to);

/* -- what a source could not take ---------------------------------------------------------------------------------- */

/* X(id, reason, what is in force): the reason for status; what counts instead, for the log. */
#define CONTROL_PROBLEM_REASONS(X)                                                                                     \
    X(INVALID, "Invalid", "nothing")                                                                                   \
    X(INVALID_KEPT, "InvalidKept", "the version before")                                                               \
    X(CLOSED, "Closed", "it is closed")                                                                                \
    X(DUPLICATE, "Duplicate", "the first document of the name")                                                        \
    X(EARLIER, "KeptFromEarlier", "what stood in an earlier version of the file")                                      \
    X(NOT_READ, "NotRead", "nothing")                                                                                  \
    X(IGNORED, "UnknownMember", "the object without the member")

enum control_problem_reason {
#define CONTROL_PROBLEM_CONSTANT(id, ...) CONTROL_PROBLEM_##id,
    CONTROL_PROBLEM_REASONS(CONTROL_PROBLEM_CONSTANT)
#undef CONTROL_PROBLEM_CONSTANT
};
const char *control_problem_word(enum control_problem_reason reason);     /* "InvalidKept" */
const char *control_problem_in_force(enum control_problem_reason reason); /* "the version before" */
/* A warning: nothing is wrong with what is in force. */
bool control_problem_is_warning(enum control_problem_reason reason);

struct control_problem {
    enum control_problem_reason reason;
    struct control_origin origin; /* line and column of the mistake where known */
    bool known;                   /* kind, name_space and name are set */
    enum control_kind kind;
    struct fl_span name_space, name;
    struct fl_span text; /* one line, with file:line:column */
    bool kept;           /* an earlier good version of the object is still in force */
};

struct control_problems { /* immutable, counted; made by the source */
    atomic_uint references;
    struct fl_arena arena;
    const struct control_problem *items;
    size_t count;
};
struct control_problems *control_problems_ref(const struct control_problems *problems);
void control_problems_unref(const struct control_problems *problems);
const struct control_problems *control_model_problems(const struct control_model *model); /* NULL: none */

#endif
