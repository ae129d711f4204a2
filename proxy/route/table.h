/* The route table: virtual hosts by domain, in each the routes in order, the first that matches wins (Envoy's
 * RouteConfiguration).
 *
 * Config fills struct proxy_route_config (plain structs, spans pointing anywhere) and compiles it once:
 * proxy_route_table_new checks it and copies everything into one immutable table with its strings interned; the source
 * may go. The compiled structs are the same types, now inside the table: what the functions return lives as long as the
 * table. The table is immutable and may be shared between threads; its owner (the snapshot) frees it.
 *
 * Domains, case-insensitive, Envoy's order: exact, then the longest "*.suffix" (or "*-suffix"), then the longest
 * "prefix.*", then "*". A wildcard stands for at least one character. The authority is compared with its port unless
 * ignore_port; a domain may come once in the whole table.
 */
#ifndef PROXY_ROUTE_TABLE_H
#define PROXY_ROUTE_TABLE_H

#include "common/base/err.h"
#include "proxy/route/match.h"

#define PROXY_ROUTE_DOMAIN_MAX 1024 /* bytes; a longer authority matches "*" alone */

enum proxy_edit_action {
    PROXY_EDIT_APPEND,              /* APPEND_IF_EXISTS_OR_ADD: one more field (the default) */
    PROXY_EDIT_ADD_IF_ABSENT,       /* ADD_IF_ABSENT */
    PROXY_EDIT_OVERWRITE,           /* OVERWRITE_IF_EXISTS_OR_ADD */
    PROXY_EDIT_OVERWRITE_IF_EXISTS, /* OVERWRITE_IF_EXISTS */
};

struct proxy_header_edit {
    enum proxy_edit_action action;
    struct fl_span name;
    struct fl_span value; /* literal; "%%" is a '%', any other '%' (a command operator) is refused when compiled.
                             Empty: nothing is added unless keep_empty */
    bool keep_empty;
};

/* Removals first, then edits in order. Never touches Host, ":…", Content-Length, Transfer-Encoding, Connection (refused
 * when compiled). */
struct proxy_header_edits {
    const struct proxy_header_edit *edits;
    size_t edit_count;
    const struct fl_span *removals;
    size_t removal_count;
};

enum proxy_path_kind {
    PROXY_PATH_PREFIX,
    PROXY_PATH_EXACT,            /* "path" */
    PROXY_PATH_SEPARATED_PREFIX, /* /a matches /a and /a/b, not /ab; no '/' at its end, no '?' or '#' */
    PROXY_PATH_REGEX,            /* the whole path; `path` is the expression */
};

struct proxy_route_match {
    enum proxy_path_kind path_kind;
    struct fl_span path;              /* compared with the request's path without its query */
    const struct fl_pattern *pattern; /* REGEX; made when compiled */
    bool ignore_case;                 /* of the path; not of an expression */
    const struct proxy_header_match *headers;
    size_t header_count;
    const struct proxy_query_match *queries;
    size_t query_count;
};

struct proxy_weighted_cluster {
    struct fl_span name;
    uint32_t weight;
    uint32_t cluster_index; /* free for the snapshot: where the name stands in its clusters */
    bool nowhere;           /* the control plane's name for what it has no cluster of */
    struct proxy_header_edits request, response;
};

#define PROXY_MIRRORS_OF_ROUTE_MAX 32

struct proxy_mirror { /* of the requests of a route so many go to a further cluster, too */
    struct fl_span name;
    uint32_t per_million;
    uint32_t cluster_index; /* as of a weighted cluster */
};

enum proxy_route_action {
    PROXY_ROUTE_CLUSTER,  /* to clusters[0] */
    PROXY_ROUTE_WEIGHTED, /* to one of clusters by weight (sum > 0, each ≤ 2^31, sum ≤ 2^32 - 1) */
    PROXY_ROUTE_REDIRECT,
    PROXY_ROUTE_DIRECT, /* direct_response */
};

struct proxy_redirect {
    uint16_t status;       /* 301, 302, 303, 307, 308; 0: 301 */
    struct fl_span scheme; /* scheme_redirect; empty: unchanged */
    bool https;            /* https_redirect */
    struct fl_span host;   /* host_redirect; empty: unchanged */
    uint32_t port;         /* port_redirect; 0: unchanged (dropped where it is the old scheme's default) */
    struct fl_span path;   /* path_redirect: the whole path (with a query of its own it replaces that too) */
    struct fl_span prefix; /* prefix_rewrite: replaces what the match's prefix matched */
    bool has_prefix;
    bool strip_query;
};

struct proxy_direct {
    uint16_t status;
    struct fl_span body;
};

/* What a browser is told of a route's cross-origin requests (CORS): for the filter of that name (filter/cors.h).
 * Texts are what the fields of answers say; empty: the field is not sent. A "*" is said as it is, or, where credentials
 * are allowed and it would mean nothing, what the request asks for takes its place (of exposed fields: nothing). */
struct proxy_cors {
    const struct proxy_string_match *origins; /* any of them */
    size_t origin_count;                      /* ≤ PROXY_CORS_ORIGINS_MAX */
    struct fl_span methods, headers, expose, max_age;
    bool credentials;
    bool forward_preflights; /* those of other origins go upstream; else they are answered, without permission */
};

#define PROXY_CORS_ORIGINS_MAX 256
#define PROXY_CORS_TEXT_MAX    16640 /* bytes of each text */

/* X(id, word): what retry_on may name. */
#define PROXY_RETRY_ON_LIST(X)                                                                                         \
    X(5XX, "5xx")                                                                                                      \
    X(GATEWAY_ERROR, "gateway-error")                                                                                  \
    X(CONNECT_FAILURE, "connect-failure")                                                                              \
    X(REFUSED_STREAM, "refused-stream") /* a server of HTTP/2 has not begun */                                         \
    X(RESET, "reset")                                                                                                  \
    X(RESET_BEFORE_REQUEST, "reset-before-request")                                                                    \
    X(RETRIABLE_4XX, "retriable-4xx")                                                                                  \
    X(STATUS_CODES, "retriable-status-codes")                                                                          \
    X(HEADERS, "retriable-headers")                                                                                    \
    X(CANCELLED, "cancelled") /* these: grpc-status in an answer's head */                                             \
    X(DEADLINE_EXCEEDED, "deadline-exceeded")                                                                          \
    X(INTERNAL, "internal")                                                                                            \
    X(RESOURCE_EXHAUSTED, "resource-exhausted")                                                                        \
    X(UNAVAILABLE, "unavailable")

enum proxy_retry_on_bit {
#define X(id, word) PROXY_RETRY_ON_BIT_##id,
    PROXY_RETRY_ON_LIST(X)
#undef X
        PROXY_RETRY_ON_BITS
};

enum proxy_retry_on { /* a set */
#define X(id, word) PROXY_RETRY_ON_##id = 1 << PROXY_RETRY_ON_BIT_##id,
                      PROXY_RETRY_ON_LIST(X)
#undef X
};

struct proxy_retry_policy {
    uint32_t on;                              /* enum proxy_retry_on */
    uint32_t num_retries;                     /* beside the first try */
    uint32_t per_try_timeout_ms;              /* 0: none */
    uint32_t backoff_base_ms, backoff_max_ms; /* > 0 */
    const uint16_t *statuses;                 /* for STATUS_CODES */
    size_t status_count;
    const struct proxy_header_match *headers; /* of the answer, for HEADERS: any of them */
    size_t header_count;
    bool other_host; /* previous_hosts */
};

#define PROXY_TIMEOUT_UNSET UINT32_MAX /* the listener's or the default applies; 0 is "none" */

struct proxy_route {
    struct fl_span name; /* for logs; may be empty */
    struct proxy_route_match match;
    enum proxy_route_action action;
    const struct proxy_weighted_cluster *clusters; /* CLUSTER: one; WEIGHTED: all */
    size_t cluster_count;
    uint64_t weight_sum; /* computed when compiled */
    uint16_t not_found;  /* answered where the cluster is not there, or leads nowhere: 404, 500; 0: 503 */
    const struct proxy_mirror *mirrors;
    size_t mirror_count; /* ≤ PROXY_MIRRORS_OF_ROUTE_MAX */
    struct proxy_redirect redirect;
    struct proxy_direct direct;
    uint32_t timeout_ms;      /* of the whole response; PROXY_TIMEOUT_UNSET: Envoy's 15 s is the caller's to apply */
    uint32_t idle_timeout_ms; /* of the stream */
    /* Of the whole stream, from its beginning; PROXY_TIMEOUT_UNSET: the connection manager's. 0: none. */
    uint32_t max_stream_ms;
    bool grpc_timeout;                      /* the field grpc-timeout counts in its stead; else it is only passed on */
    uint32_t grpc_timeout_max_ms;           /* … up to this; 0: whatever it says */
    uint32_t grpc_timeout_offset_ms;        /* taken off grpc-timeout, where that is longer */
    const struct proxy_retry_policy *retry; /* NULL: the virtual host's; compiled: NULL is none */
    const struct proxy_cors *cors;          /* NULL: none */
    bool has_prefix_rewrite;
    struct fl_span prefix_rewrite; /* replaces the matched prefix (or the whole exact path); the query stays */
    /* What matches in the path (without its query) is replaced; not beside prefix_rewrite. Empty: none. A path for
     * which the expression's bounds do not suffice is refused. */
    struct fl_span regex_rewrite;
    struct fl_span substitution;              /* \0 to \9, and \\ */
    const struct fl_pattern *rewrite_pattern; /* made when compiled */
    struct fl_span host_rewrite_literal;      /* empty: none; not applied to CONNECT */
    struct proxy_header_edits request, response;
};

struct proxy_virtual_host {
    struct fl_span name;
    const struct fl_span *domains;
    size_t domain_count;
    const struct proxy_route *routes;
    size_t route_count;
    const struct proxy_retry_policy *retry; /* of its routes that name none; NULL: none */
    struct proxy_header_edits request, response;
    bool require_tls_all; /* require_tls: ALL; for the caller to act on */
};

struct proxy_route_config {
    struct fl_span name;
    const struct proxy_virtual_host *virtual_hosts;
    size_t virtual_host_count;
    struct proxy_header_edits request, response;
    bool ignore_port;        /* ignore_port_in_host_matching */
    bool most_specific_wins; /* most_specific_header_mutations_wins: the table's edits come first */
};

struct proxy_route_table;

/* Gives every cluster name its index while compiling (NULL: indexes are taken as they are). 0, or a negative errno that
 * fails the compilation (a name that nobody knows). */
typedef int (*proxy_cluster_lookup)(void *context, struct fl_span name, uint32_t *ret_index);

/* 0, -ENOMEM, or -EINVAL with the reason, which names virtual host and route ("virtual host a: route 2: …"). */
int proxy_route_table_new(const struct proxy_route_config *config, proxy_cluster_lookup lookup, void *context,
                          struct proxy_route_table **ret_table, struct fl_err *err) FL_MUST_CHECK;
struct proxy_route_table *proxy_route_table_free(struct proxy_route_table *table);
const struct proxy_route_config *proxy_route_table_config(const struct proxy_route_table *table);

/* Bytes that the table holds on the heap. */
size_t proxy_route_table_size(const struct proxy_route_table *table);

struct proxy_route_found {
    const struct proxy_virtual_host *virtual_host; /* NULL: no domain matched */
    const struct proxy_route *route;               /* NULL: no route matched (404, flag NR) */
};

/* No allocation. `request` has its pseudo fields set (method, path, authority). */
struct proxy_route_found proxy_route_find(const struct proxy_route_table *table, const struct proxy_message *request);

/* The virtual host of an authority alone. */
const struct proxy_virtual_host *proxy_route_find_host(const struct proxy_route_table *table, struct fl_span authority);

/* Which cluster, by a random number of the caller's (any value): pure. For CLUSTER and WEIGHTED. */
const struct proxy_weighted_cluster *proxy_route_pick(const struct proxy_route *route, uint32_t random);

#endif
