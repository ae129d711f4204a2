/* Gateway API kinds, as they were written: no reference is resolved here (route.h, gateway.h do that). Durations are
 * milliseconds. Spans and arrays live in the object's arena.
 */
#ifndef CONTROL_MODEL_GATEWAYAPI_H
#define CONTROL_MODEL_GATEWAYAPI_H

#include "control/model/object.h"

#define CONTROL_LISTENERS_MAX 64 /* the limits of Gateway API's own schema, and ours where it has none */
#define CONTROL_SET_NAMES_MAX 253
#define CONTROL_PARENTS_MAX   32
#define CONTROL_HOSTNAMES_MAX 16
#define CONTROL_RULES_MAX     64 /* our own bound; the schema has 16 */
#define CONTROL_MATCHES_MAX   64
#define CONTROL_BACKENDS_MAX  16
#define CONTROL_FILTERS_MAX   16
#define CONTROL_HEADERS_MAX   16 /* of one match or modifier list */
#define CONTROL_WEIGHT_MAX    1000000

#define CONTROL_GATEWAY_CONTROLLER "fairlead.io/gateway-controller" /* GatewayClass.spec.controllerName */
#define CONTROL_MESH_CONTROLLER    "fairlead.io/mesh-controller"    /* controllerName in status of mesh routes */

struct control_gateway_class {
    struct control_object object;
    struct fl_span controller;
};

struct control_reference { /* a parent, a backend or a certificate, with the defaults filled in */
    struct fl_span group, kind;
    struct fl_span name_space; /* the referring object's own where none was given */
    struct fl_span name;
};

enum control_listener_protocol { /* of a Gateway's listener */
                                 CONTROL_LISTENER_HTTP,
                                 CONTROL_LISTENER_HTTPS,
                                 CONTROL_LISTENER_TCP,
                                 CONTROL_LISTENER_TLS,
                                 CONTROL_LISTENER_UNSUPPORTED, /* UDP, or a word of somebody's own */
};

enum control_allowed { CONTROL_ALLOWED_SAME, CONTROL_ALLOWED_ALL, CONTROL_ALLOWED_SELECTOR, CONTROL_ALLOWED_NONE };

struct control_listener {
    struct fl_span name;
    struct fl_span hostname; /* lower case; "*.example.com" too; empty: any */
    uint16_t port;
    enum control_listener_protocol protocol;
    struct fl_span protocol_text;
    bool tls_passthrough;
    const struct control_reference *certificates;
    size_t certificate_count;
    enum control_allowed allowed; /* allowedRoutes.namespaces.from */
    struct fl_selector allowed_selector;
    const struct control_reference *kinds; /* allowedRoutes.kinds: group and kind alone; none: the protocol's */
    size_t kind_count;
    struct fl_position position;
};

struct control_gateway {
    struct control_object object;
    struct fl_span class_name;
    const struct control_listener *listeners;
    size_t listener_count;
    enum control_allowed allowed_sets; /* allowedListeners.namespaces.from: ListenerSets of which namespaces */
    struct fl_selector allowed_sets_selector;
};

struct control_parent { /* parentRefs[] */
    struct control_reference reference;
    struct fl_span section; /* sectionName; empty: any */
    uint16_t port;          /* 0: any */
};

struct control_listener_set { /* further listeners of a Gateway, by somebody else */
    struct control_object object;
    struct control_parent parent; /* its Gateway; section and port mean nothing */
    /* Name and the set's name together are CONTROL_SET_NAMES_MAX at most. */
    const struct control_listener *listeners;
    size_t listener_count;
};

struct control_backend { /* backendRefs[] */
    struct control_reference reference;
    uint16_t port;                              /* 0: not given (an error for a Service) */
    uint32_t weight;                            /* default 1 */
    const struct control_http_filters *filters; /* NULL: none */
    struct fl_position position;
};

struct control_name_value {
    struct fl_span name; /* header: lower case; query parameter: as written */
    struct fl_span value;
    bool regex; /* of a match: the value is a regular expression for the whole */
};

struct control_header_changes {
    const struct control_name_value *set, *add;
    size_t set_count, add_count;
    const struct fl_span *remove; /* lower case */
    size_t remove_count;
};

enum control_path_change { CONTROL_PATH_KEEP, CONTROL_PATH_REPLACE_FULL, CONTROL_PATH_REPLACE_PREFIX };

struct control_redirect {
    struct fl_span scheme, hostname; /* empty: as the request */
    enum control_path_change path_change;
    struct fl_span path;
    uint16_t port;   /* 0: not given: by scheme if that is given, else the listener's */
    uint16_t status; /* 301, 302 (default), 303, 307, 308 */
};

struct control_rewrite {
    struct fl_span hostname; /* empty: keep */
    enum control_path_change path_change;
    struct fl_span path;
};

#define CONTROL_CORS_MAX 64 /* of each list */

struct control_cors {
    /* "*", or scheme://host[:port] in lower case without the scheme's own port; the host may be "*" or begin with "*.",
     * which stands for one label or more. */
    const struct fl_span *origins;
    size_t origin_count;
    const struct fl_span *methods, *headers, *expose; /* as written; headers in lower case; "*" alone: all */
    size_t method_count, header_count, expose_count;
    bool credentials;
    uint32_t max_age; /* seconds; default 5 */
};

/* At most one of each kind, but for mirrors, as Gateway API has it. */
struct control_http_filters {
    const struct control_header_changes *request, *response; /* NULL: none */
    const struct control_redirect *redirect;
    const struct control_rewrite *rewrite;
    const struct control_cors *cors;
    const struct control_backend *mirrors; /* RequestMirror, as often as wanted; weight is the share of a million */
    size_t mirror_count;
    /* Not empty: a filter that is not there, or one that is twice: what carries it answers 500, and status says why. */
    struct fl_span unsupported;
};

enum control_path_match {
    CONTROL_PATH_PREFIX,
    CONTROL_PATH_EXACT,
    CONTROL_PATH_REGEX,  /* the whole path; `path` is the expression */
    CONTROL_PATH_SUFFIX, /* a GRPCRoute's method of any service: "/Method" */
};

struct control_http_match {
    /* A GRPCRoute's: gRPC requests alone, by their content-type. A service and method are "/service/Method" exactly,
     * a service alone is that prefix. */
    bool grpc;
    enum control_path_match path_match;
    struct fl_span path;   /* "/" where none was given; a prefix without its trailing slash, unless it is "/" */
    struct fl_span method; /* empty: any */
    const struct control_name_value *headers; /* all */
    size_t header_count;
    const struct control_name_value *queries; /* all */
    size_t query_count;
};

#define CONTROL_RETRY_CODES_MAX 16

struct control_retry {
    const uint16_t *codes; /* response codes beside connection failures */
    size_t code_count;
    uint32_t attempts;   /* retries, at most; 0: not given */
    uint32_t backoff_ms; /* 0: not given */
};

struct control_http_rule {
    struct fl_span name;
    const struct control_http_match *matches; /* at least one */
    size_t match_count;
    struct control_http_filters filters;
    const struct control_backend *backends;
    size_t backend_count;
    uint32_t request_timeout_ms, backend_timeout_ms; /* 0: none given, or switched off */
    const struct control_retry *retry;               /* NULL: none given */
    /* Not empty: a match that we do not have (RegularExpression): the rule is dropped, and status says so. */
    struct fl_span dropped;
    struct fl_position position;
};

struct control_http_route { /* an HTTPRoute, or a GRPCRoute in the same words: object.kind tells */
    struct control_object object;
    const struct control_parent *parents;
    size_t parent_count;
    const struct fl_span *hostnames; /* lower case */
    size_t hostname_count;
    const struct control_http_rule *rules; /* at least one (the schema's default: everything, no backend) */
    size_t rule_count;
};

struct control_tcp_route { /* a TCPRoute, or a TLSRoute in the same words: object.kind tells */
    struct control_object object;
    const struct control_parent *parents;
    size_t parent_count;
    const struct fl_span *hostnames; /* of a TLSRoute: server names, lower case; none: any */
    size_t hostname_count;
    const struct control_backend *backends; /* of its one rule */
    size_t backend_count;
};

struct control_grant_from {
    struct fl_span group, kind, name_space;
};
struct control_grant_to {
    struct fl_span group, kind, name; /* name empty: all */
};

struct control_reference_grant {
    struct control_object object;
    const struct control_grant_from *from;
    size_t from_count;
    const struct control_grant_to *to;
    size_t to_count;
};

const struct control_gateway_class *control_as_gateway_class(const struct control_object *object);
const struct control_gateway *control_as_gateway(const struct control_object *object);
const struct control_listener_set *control_as_listener_set(const struct control_object *object);
const struct control_http_route *control_as_http_route(const struct control_object *object); /* GRPCRoutes too */
const struct control_tcp_route *control_as_tcp_route(const struct control_object *object);   /* TLSRoutes too */
const struct control_reference_grant *control_as_reference_grant(const struct control_object *object);

bool control_kind_is_route(enum control_kind kind);
/* parentRefs of a route of any kind; 0 for what is no route. */
/* The same of hostnames; a TCPRoute has none. */
size_t control_route_hostnames(const struct control_object *route, const struct fl_span **ret_hostnames);
size_t control_route_parent_list(const struct control_object *route, const struct control_parent **ret_parents);

#endif
