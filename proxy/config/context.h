/* What one compilation carries along: the unit that grows, memory that goes at its end, what the resource refers to,
 * and where it stands, so that an error names file:line:column and path. For proxy/config alone.
 *
 * One compilation makes one resource, or all of a bootstrap (then the unit changes from resource to resource).
 *
 * The compiler walks the messages; beside it, where there is a document, the same steps are walked there (through an
 * Any, too, whose members stand in the same object). What is not in the document gets the position of what holds it.
 */
#ifndef PROXY_CONFIG_CONTEXT_H
#define PROXY_CONFIG_CONTEXT_H

#include "common/base/map.h"
#include "common/doc/table.h"
#include "common/xds/message.h"
#include "proxy/config/assembly.h"
#include "proxy/config/messages.h"
#include "proxy/route/table.h"

#define COMPILE_SCRATCH_MAX (256u << 20) /* bytes of messages that were inside of an Any */

struct proxy_jwt_filter;   /* filter/jwt.h */
struct proxy_rbac_filter;  /* policy/rbac.h */
struct proxy_retry_policy; /* route/table.h */
struct fl_bundle;
struct fl_cert;
struct fl_key;
struct proxy_tls_setting; /* config/setting.h */

/* A name that the resource refers to. */
struct compile_need {
    enum fl_resource_type type;
    enum proxy_want_source source;
    struct fl_span name; /* in scratch memory */
    struct compile_need *next;
};

/* A TLS setting that the resource uses. */
struct compile_use {
    struct proxy_tls_setting *setting; /* counted by compile->settings */
    struct compile_use *next;
};

struct compile {
    struct proxy_unit *unit; /* spans of the result point into its arena */
    struct proxy_slots *slots;
    struct fl_arena scratch;      /* goes when the compilation ends */
    struct fl_reader reader;      /* the path */
    const struct fl_json *here;   /* the value at the path, or the nearest one above it; NULL: no document */
    bool lost;                    /* the path goes further than `here` */
    struct fl_xds_report *report; /* never NULL */
    struct fl_err *err;
    bool lenient;                        /* the present listener's HTTP/1 (its metadata) */
    bool names;                          /* endpoints may be names */
    bool patterns;                       /* matchers may be regular expressions: whoever keeps them makes them */
    bool local;                          /* the bootstrap: DataSources may name files and variables */
    const struct fl_map *known_clusters; /* the names that there are; NULL: any may come later */
    struct compile_need *needs;          /* of the present resource, each once */
    struct compile_use *uses;            /* of the present resource */
    uint64_t harmless;                   /* filters of the present resource that were left out */
    bool reads_files;                    /* the present resource: the same message may mean something else next time */
    uint64_t digest;                     /* of what pki.c took from files and variables */
    struct fl_map settings;              /* struct proxy_tls_setting (counted) by the slot's name */
    struct fl_map pki;                   /* certificates, keys, roots by kind and source */
    struct fl_map cores;                 /* TLS contexts to derive others from (setting.h) */
    struct fl_map files;                 /* struct proxy_watched_file by path, in scratch memory */
    struct fl_map certs;                 /* struct proxy_cert_info by source, in scratch memory */
};

struct compile_options {
    struct proxy_slots *slots;
    bool local;
    struct proxy_compile_from from; /* its report is not NULL */
    struct fl_err *err;             /* not NULL */
};

void compile_init(struct compile *compile, const struct compile_options *options);
void compile_done(struct compile *compile);
/* The next resource: `unit` (borrowed) takes what it needs; needs, uses and counts begin anew. */
void compile_begin(struct compile *compile, struct proxy_unit *unit);

/* The resource refers to this name. 0 or -ENOMEM with the error set. */
int compile_need(struct compile *compile, enum fl_resource_type type, struct fl_span name,
                 enum proxy_want_source source) FL_MUST_CHECK;
/* At a ConfigSource: where it says that something is to be had. Refused: files. */
int compile_config_source(struct compile *compile, const char *field,
                          const Envoy__Config__Core__V3__ConfigSource *message,
                          enum proxy_want_source *ret_source) FL_MUST_CHECK;
/* A slot that the unit holds. 0, or a negative errno with the error set. */
int compile_slot(struct compile *compile, enum proxy_slot_kind kind, struct fl_span name,
                 const struct proxy_slot **ret_slot) FL_MUST_CHECK;
/* The unit holds the object: `release(object)` runs with its last reference, or at once on failure (error set). */
int compile_hold(struct compile *compile, void *object, void (*release)(void *object)) FL_MUST_CHECK;

struct compile_mark {
    size_t path;
    const struct fl_json *here;
    bool lost;
};

/* Steps into a field (snake_case), an element of a repeated field, an entry of a map; back with compile_leave. On a
 * failure nobody needs to go back. */
struct compile_mark compile_enter(struct compile *compile, const char *field);
struct compile_mark compile_enter_at(struct compile *compile, const char *field, size_t index);
struct compile_mark compile_enter_key(struct compile *compile, const char *field, struct fl_span key);
void compile_leave(struct compile *compile, struct compile_mark mark);

/* "<file:line:column: ><path>: <format…>"; returns -EINVAL. */
int compile_fail(struct compile *compile, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, at a field of the place. */
int compile_fail_at(struct compile *compile, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* An error from below that has its text already gets the place in front. Returns `result`. */
int compile_prefix(struct compile *compile, int result);
int compile_no_memory(struct compile *compile);
/* Tells the operator (counted as ignored). */
void compile_warn(struct compile *compile, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fails with the first field that is set and that is (not) among the names; the list ends with NULL. `only` tells the
 * list, too. */
int compile_only(struct compile *compile, const ProtobufCMessage *message, const char *const *supported) FL_MUST_CHECK;
int compile_refuse(struct compile *compile, const ProtobufCMessage *message,
                   const char *const *unsupported) FL_MUST_CHECK;
#define COMPILE_ONLY(compile, message, ...)                                                                            \
    compile_only(compile, &(message)->base, (const char *const[]){__VA_ARGS__, NULL})
#define COMPILE_REFUSE(compile, message, ...)                                                                          \
    compile_refuse(compile, &(message)->base, (const char *const[]){__VA_ARGS__, NULL})

/* The message inside of an Any, whose type must be `type` (NULL: any that we know). */
int compile_unpack(struct compile *compile, const pb_any *any, const ProtobufCMessageDescriptor *type,
                   ProtobufCMessage **ret_message) FL_MUST_CHECK;
/* The full name of an Any's type: what stands behind the last '/'. */
struct fl_span compile_type_name(const pb_any *any);

/* Memory of the unit, zeroed; NULL when it is out (then: return compile_no_memory). */
void *compile_array(struct compile *compile, size_t count, size_t size);
/* A copy in the unit's memory. 0 or -ENOMEM with the error set. */
int compile_text(struct compile *compile, const char *text, struct fl_span *ret_text) FL_MUST_CHECK;
int compile_texts(struct compile *compile, char *const *texts, size_t count,
                  const struct fl_span **ret_texts) FL_MUST_CHECK;

/* Scalars at a field of the place. Absent ones leave *ret as it is: defaults are set before. */
int compile_ms(struct compile *compile, const char *field, const pb_duration *duration, uint64_t *ret_ms) FL_MUST_CHECK;
int compile_u32(struct compile *compile, const char *field, const pb_uint32 *value, uint32_t min, uint32_t max,
                uint32_t *ret_value) FL_MUST_CHECK;
static inline bool compile_bool(const pb_bool *value, bool absent)
{
    return value != NULL ? value->value != 0 : absent;
}
/* The same where the text lies somewhere else. */
int compile_span(struct compile *compile, struct fl_span text, struct fl_span *ret_text) FL_MUST_CHECK;
int compile_required(struct compile *compile, const char *field, const char *text) FL_MUST_CHECK;

/* address.c */
int compile_address(struct compile *compile, const pb_address *address, struct proxy_address *ret_address,
                    bool *ret_ipv4_compat) FL_MUST_CHECK;
int compile_socket_address(struct compile *compile, const pb_socket_address *address,
                           struct proxy_address *ret_address) FL_MUST_CHECK;
int compile_cidr(struct compile *compile, const char *field, const pb_cidr *range, struct fl_cidr *cidr) FL_MUST_CHECK;
int compile_cidrs(struct compile *compile, const char *field, pb_cidr *const *ranges, size_t count,
                  const struct fl_cidr **ret_cidrs, size_t *ret_count) FL_MUST_CHECK;

/* source.c: what a DataSource names, read. The bytes lie in scratch memory. */
int compile_source(struct compile *compile, const pb_data_source *source, size_t max,
                   struct fl_span *ret_bytes) FL_MUST_CHECK;
/* Where it comes from, for messages and look-ups: the path, "$VARIABLE" or "inline". */
struct fl_span compile_source_name(const pb_data_source *source);

/* pki.c: at a field that is a DataSource: what it holds, parsed; once for each source in a compilation. Lives as long
 * as the compilation: who keeps it counts it. */
int compile_cert(struct compile *compile, const char *field, const pb_data_source *source,
                 struct fl_cert **ret_cert) FL_MUST_CHECK;
int compile_key(struct compile *compile, const char *field, const pb_data_source *source,
                struct fl_key **ret_key) FL_MUST_CHECK;
int compile_bundle(struct compile *compile, const char *field, const pb_data_source *source,
                   struct fl_bundle **ret_bundle) FL_MUST_CHECK;

/* tls.c: the slot of its TLS setting (held by the unit), NULL for plain bytes. */
int compile_transport(struct compile *compile, const pb_transport *transport, bool server,
                      const struct proxy_slot **ret_slot) FL_MUST_CHECK;

struct proxy_secret; /* config/setting.h */
int compile_secret(struct compile *compile, const pb_secret *message,
                   const struct proxy_secret **ret_secret) FL_MUST_CHECK;

/* cluster.c */
int compile_cluster(struct compile *compile, const pb_cluster *message,
                    const struct proxy_cluster **ret_cluster) FL_MUST_CHECK;
/* At a field that names a cluster: its slot's index. The resource refers to it. */
int compile_cluster_index(struct compile *compile, const char *field, const char *name,
                          uint32_t *ret_index) FL_MUST_CHECK;

/* breakers.c: circuit breakers, outlier detection, panic, after the type and policy are known. */
int compile_breakers(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster) FL_MUST_CHECK;

/* dns.c: a cluster whose endpoints are names; its own name is read already. */
int compile_names(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster) FL_MUST_CHECK;

/* endpoint.c */
int compile_endpoints(struct compile *compile, const pb_assignment *message,
                      struct proxy_endpoints *endpoints) FL_MUST_CHECK;
/* The members of a metadata object that have a text: strings, booleans, numbers. `strict`: others are refused. */
int compile_labels(struct compile *compile, const pb_struct *object, bool strict, const struct proxy_label **ret_labels,
                   size_t *ret_count) FL_MUST_CHECK;
/* metadata.filter_metadata[name]; NULL where it is not there. */
const pb_struct *compile_metadata(const Envoy__Config__Core__V3__Metadata *metadata, const char *name);

/* listener.c */
int compile_listener(struct compile *compile, const pb_listener *message,
                     const struct proxy_listener **ret_listener) FL_MUST_CHECK;
/* match.c */
int compile_chain_match(struct compile *compile, const pb_chain_match *match,
                        struct proxy_chain_match *ret_match) FL_MUST_CHECK;

/* terminal.c: the network filters of a chain. */
int compile_filters(struct compile *compile, const pb_chain *chain, struct proxy_filter_chain *ret_chain) FL_MUST_CHECK;
int compile_tcp_proxy(struct compile *compile, const pb_any *any,
                      const struct proxy_tcp_config **ret_tcp) FL_MUST_CHECK;
/* hcm.c */
/* tunnel.c: whether it ends tunnels (HBONE); and in which listener their connections go on. */
bool compile_hcm_tunnels(const pb_hcm *message);
int compile_tunnel(struct compile *compile, const pb_hcm *message,
                   const struct proxy_slot **ret_listener) FL_MUST_CHECK;
int compile_hcm(struct compile *compile, const pb_any *any, const struct proxy_hcm_config **ret_hcm) FL_MUST_CHECK;
/* accesslog.c */
int compile_access_logs(struct compile *compile, pb_access_log *const *logs, size_t count,
                        const struct proxy_access_log **ret_logs) FL_MUST_CHECK;
/* rbac.c */
int compile_http_rbac(struct compile *compile, const pb_any *any,
                      const struct proxy_rbac_filter **ret_filter) FL_MUST_CHECK;
int compile_network_rbac(struct compile *compile, const pb_any *any, struct proxy_rbac_filter *filter) FL_MUST_CHECK;
/* jwt.c */
int compile_jwt(struct compile *compile, const pb_any *any, const struct proxy_jwt_filter **ret_filter) FL_MUST_CHECK;
/* matcher.c: what they point to lies in scratch memory. */
int compile_string_value(struct compile *compile, const pb_string_match *message,
                         struct proxy_string_match *match) FL_MUST_CHECK; /* where one has entered already */
int compile_string_match(struct compile *compile, const char *field, const pb_string_match *message,
                         struct proxy_string_match *match) FL_MUST_CHECK;
int compile_header_match(struct compile *compile, const pb_header_match *message,
                         struct proxy_header_match *match) FL_MUST_CHECK;
int compile_route_match(struct compile *compile, const pb_route_match *message,
                        struct proxy_route_match *match) FL_MUST_CHECK;
/* routes.c: the table is held by the unit. */
int compile_routes(struct compile *compile, const pb_route_config *config,
                   const struct proxy_route_table **ret_table) FL_MUST_CHECK;
/* retry.c: NULL for none; in scratch memory. */
int compile_retry(struct compile *compile, const Envoy__Config__Route__V3__RetryPolicy *message,
                  const struct proxy_retry_policy **ret_policy) FL_MUST_CHECK;
/* tracing.c: nothing is set where there is none. */
int compile_tracing(struct compile *compile, const pb_hcm *hcm, const struct proxy_tracing **ret_tracing) FL_MUST_CHECK;
/* node.c */
int compile_node(struct compile *compile, const Envoy__Config__Core__V3__Node *message,
                 struct proxy_node *node) FL_MUST_CHECK;
/* protocol.c: HTTP/2 at a field of the place; what a cluster speaks, with its common_http_protocol_options. */
int compile_h2(struct compile *compile, const char *field, const pb_http2 *message,
               struct proxy_h2_settings *settings) FL_MUST_CHECK;
int compile_upstream_http(struct compile *compile, const pb_cluster *message,
                          struct proxy_cluster *cluster) FL_MUST_CHECK;
/* harmless.c: a filter that is accepted and left out. */
bool compile_is_harmless(const pb_any *any, bool http);

#endif
