/* The kinds of fairlead.io/v1alpha1: what Gateway API lacks. Field names follow Istio's where it has the idea. Unknown
 * fields are errors. Durations ("10s", "1.5s", "200ms") are milliseconds. Spans and arrays live in the object's arena.
 */
#ifndef CONTROL_MODEL_MESHAPI_H
#define CONTROL_MODEL_MESHAPI_H

#include "common/mesh/capture.h"
#include "control/model/object.h"

#define CONTROL_VALUES_MAX       256 /* of one list in a policy */
#define CONTROL_POLICY_RULES_MAX 256
#define CONTROL_TARGETS_MAX      16
#define CONTROL_CIDRS_MAX        64
#define CONTROL_ISSUER_MAX       1024 /* bytes */
#define CONTROL_JWT_RULES_MAX    16

/* Whom a policy is for. Neither given: the whole namespace; in the root namespace: the whole mesh. */
struct control_target {
    bool selects;                /* a selector was given */
    struct fl_selector selector; /* over Pods of the policy's namespace; in the root namespace: of the mesh */
    /* targetRefs: names of Gateways (AuthorizationPolicy, RequestAuthentication, Telemetry) or of Services
     * (TrafficPolicy) in the policy's namespace. */
    const struct fl_span *names;
    size_t name_count;
};

/* "abc" exactly, "abc*" a prefix, "*abc" a suffix, "*" anything that is there (and not empty). */
enum control_text_match { CONTROL_TEXT_EXACT, CONTROL_TEXT_PREFIX, CONTROL_TEXT_SUFFIX, CONTROL_TEXT_PRESENT };
struct control_text {
    enum control_text_match match;
    struct fl_span text; /* without the '*' */
};

/* A field of a rule and its negation: one of `values` (none given: anything) and none of `not_values`. */
struct control_texts {
    const struct control_text *values, *not_values;
    size_t count, not_count;
};
struct control_blocks {
    const struct fl_cidr *values, *not_values;
    size_t count, not_count;
};
struct control_numbers {
    const uint16_t *values, *not_values;
    size_t count, not_count;
};

struct control_source {                      /* from[].source: all given fields must agree */
    struct control_texts principals;         /* without "spiffe://": "cluster.local/ns/shop/sa/web" */
    struct control_texts namespaces;         /* of the caller's identity */
    struct control_blocks ip_blocks;         /* the peer's address */
    struct control_texts request_principals; /* "<iss>/<sub>" of a valid JWT */
};

struct control_header_rule {
    struct fl_span name; /* lower case */
    struct control_texts texts;
};

struct control_operation {               /* to[].operation: all given fields must agree */
    struct control_texts hosts;          /* compared without case; with a port: as written */
    struct control_numbers ports;        /* the workload's */
    struct control_texts methods, paths; /* paths: normalized, without query */
    const struct control_header_rule *headers;
    size_t header_count;
};

enum control_condition_key {
    CONTROL_WHEN_CLAIM /* request.auth.claims[a][b] */,
    CONTROL_WHEN_HEADER /* request.headers[x] */
};
struct control_condition_rule { /* when[] */
    enum control_condition_key key;
    const struct fl_span *path; /* claim names, outermost first; or the header's name in lower case */
    size_t path_count;
    struct control_texts texts;
};

struct control_policy_rule { /* one of from, one of to, all of when; none given: anything */
    const struct control_source *from;
    size_t from_count;
    const struct control_operation *to;
    size_t to_count;
    const struct control_condition_rule *when;
    size_t when_count;
    bool needs_http; /* it names something that only HTTP has; on a TCP port: an ALLOW rule never matches, in a DENY
                        rule such fields are left out (so it denies more, never less) */
};

enum control_action { CONTROL_ALLOW, CONTROL_DENY };

/* No rules: ALLOW then allows nothing, DENY denies nothing. Where object.broken is set, the policy is a DENY of
 * everything for whom it targets (for its whole namespace where even that was not understood, for everybody where the
 * namespace was not); its rules are empty.
 * With a dryRun that was understood as true it is a shadow all the same. */
struct control_authorization_policy {
    struct control_object object;
    struct control_target target;
    enum control_action action;
    bool dry_run; /* shadow: counted and logged, not enforced */
    const struct control_policy_rule *rules;
    size_t rule_count;
};

struct control_jwt_header {      /* fromHeaders[] */
    struct fl_span name, prefix; /* name in lower case */
};

struct control_jwt_rule {
    struct fl_span issuer;
    const struct fl_span *audiences; /* none: any */
    size_t audience_count;
    struct fl_span jwks;                      /* the inline JWKS, JSON text: one that the proxies take */
    const struct control_jwt_header *headers; /* none: "authorization" with "Bearer " */
    size_t header_count;
    const struct fl_span *params; /* query parameters */
    size_t param_count;
    bool forward; /* forwardOriginalToken */
};

/* A token that is there must be valid; one that is absent is for AuthorizationPolicy to refuse (requestPrincipals).
 * Where object.broken is set its tokens are never good: each rule has the issuer (empty: any) and the places that were
 * understood, and a key that nobody has. */
struct control_request_authentication {
    struct control_object object;
    struct control_target target;
    const struct control_jwt_rule *rules;
    size_t rule_count;
};

enum control_mtls { CONTROL_MTLS_UNSET, CONTROL_MTLS_DISABLE, CONTROL_MTLS_PERMISSIVE, CONTROL_MTLS_STRICT };
const char *control_mtls_name(enum control_mtls mode); /* "STRICT" */

struct control_port_mtls {
    uint16_t port; /* the workload's */
    enum control_mtls mode;
};

/* Where object.broken is set it is STRICT for whom it targets, whatever others say. */
struct control_peer_authentication {
    struct control_object object;
    struct control_target target;
    enum control_mtls mode;
    const struct control_port_mtls *ports; /* only with a selector, as in Istio */
    size_t port_count;
};

enum control_balance { CONTROL_BALANCE_UNSET, CONTROL_BALANCE_ROUND_ROBIN, CONTROL_BALANCE_LEAST_REQUEST };

struct control_outlier {                           /* outlierDetection */
    uint32_t consecutive_5xx, consecutive_gateway; /* consecutive5xxErrors, consecutiveGatewayErrors; 0: off */
    uint32_t interval_ms;                          /* default 10,000 */
    uint32_t ejection_ms;                          /* baseEjectionTime; default 30,000 */
    uint32_t ejection_percent;                     /* maxEjectionPercent; default 10 */
    uint32_t min_health_percent;                   /* minHealthPercent; default 0 */
};

#define CONTROL_RETRY_CONNECT     1u   /* retryOn: "connect-failure" */
#define CONTROL_RETRY_REFUSED     2u   /* "refused-stream" */
#define CONTROL_RETRY_RESET       4u   /* "reset" */
#define CONTROL_RETRY_5XX         8u   /* "5xx" */
#define CONTROL_RETRY_GATEWAY     16u  /* "gateway-error": 502, 503, 504 */
#define CONTROL_RETRY_CODES       32u  /* "retriable-status-codes" */
#define CONTROL_RETRY_UNAVAILABLE 64u  /* gRPC "unavailable" */
#define CONTROL_RETRY_CANCELLED   128u /* gRPC "cancelled" */

struct control_retry_policy { /* retries */
    uint32_t attempts;        /* retries at most; 0 switches retries off */
    uint32_t per_try_timeout_ms;
    uint32_t on; /* CONTROL_RETRY_…; 0: not given */
    const uint16_t *codes;
    size_t code_count;
    uint32_t backoff_ms, backoff_max_ms; /* 0: not given */
    uint32_t budget_percent;             /* retries to active requests; default 20 */
    uint32_t budget_min;                 /* retries a second that are always allowed; default 10 */
};

struct control_circuit { /* circuitBreakers; 0: not given */
    uint32_t max_connections, max_pending, max_requests, max_retries;
};

struct control_traffic_policy { /* targetRefs of kind Service are required */
    struct control_object object;
    struct control_target target;
    enum control_balance balance;
    uint32_t connect_timeout_ms; /* 0: not given */
    const struct control_outlier *outlier;
    const struct control_circuit *circuit;
    const struct control_retry_policy *retries;
};

enum control_switch { CONTROL_SWITCH_UNSET, CONTROL_SWITCH_OFF, CONTROL_SWITCH_ON };

struct control_telemetry {
    struct control_object object;
    struct control_target target;
    enum control_switch access_log; /* accessLogging.enabled */
    struct fl_span access_log_path; /* accessLogging.path; default /dev/stdout */
    enum control_switch tracing;    /* tracing.enabled */
    struct fl_span endpoint;        /* tracing.endpoint: http://host:port[/path], OTLP/HTTP; empty: not given */
    int32_t sampling;               /* tracing.samplingPercent × 1000 (0.001 % steps); -1: not given */
};

enum control_egress { CONTROL_EGRESS_ALLOW_ANY, CONTROL_EGRESS_REFUSE };

/* Counts in the root namespace alone, name "default"; others are said to be unused. Broken: egress is REFUSE, the names
 * are kept where they can be told. */
struct control_mesh_settings {
    struct control_object object;
    struct fl_span trust_domain;   /* empty: the issuer's (model.h) */
    struct fl_span cluster_domain; /* of Service names; default "cluster.local" */
    enum control_egress egress;
    const struct fl_cidr *cidrs; /* meshCIDRs: what belongs to the mesh's ranges; none: unknown */
    size_t cidr_count;
    bool istio_peers; /* Pods with a sidecar of Istio's are of the same trust: mTLS with their identity or failure */
};

const struct control_authorization_policy *control_as_authorization_policy(const struct control_object *object);
const struct control_request_authentication *control_as_request_authentication(const struct control_object *object);
const struct control_peer_authentication *control_as_peer_authentication(const struct control_object *object);
const struct control_traffic_policy *control_as_traffic_policy(const struct control_object *object);
const struct control_telemetry *control_as_telemetry(const struct control_object *object);
const struct control_mesh_settings *control_as_mesh_settings(const struct control_object *object);

#endif
