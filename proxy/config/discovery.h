/* What a bootstrap says of its xDS server (dynamic_resources), of the way there (the static cluster that ads_config
 * names) and of our own identity (node.metadata): checked, as plain values.
 *
 *   dynamic_resources.ads_config    api_type GRPC or DELTA_GRPC; transport_api_version V3; one grpc_services.envoy_grpc
 *                                   with cluster_name, authority; initial_metadata
 *   lds_config, cds_config          {ads: {}}; where one is absent, its type is not asked for as a whole
 *   that cluster                    STATIC with IP addresses, STRICT_DNS or LOGICAL_DNS with names, too; raw_buffer, or
 * an UpstreamTlsContext with trusted_ca, names, sni, and a client certificate from files or as the secret `default`,
 * which is our own. It serves the control plane alone: no route leads to it node.metadata FAIRLEAD_DISCOVERY:
 * on-demand; FAIRLEAD_CA_ADDRESS (our identity is to be had there), FAIRLEAD_CA_NAME, FAIRLEAD_ROOT_FILE,
 * FAIRLEAD_TOKEN_FILE
 *
 * A bearer token (the file is read at each connection) goes with a stream that has no client certificate to show, and
 * only over TLS or to a loopback address.
 */
#ifndef PROXY_CONFIG_DISCOVERY_H
#define PROXY_CONFIG_DISCOVERY_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/grpc/client.h"
#include "common/tls/context.h"

struct Envoy__Config__Bootstrap__V3__Bootstrap;

#define PROXY_DISCOVERY_METADATA_MAX 8
#define PROXY_DISCOVERY_TOKEN_MAX    16384 /* bytes */

struct proxy_discovery_source { /* where certificates, keys or roots come from */
    struct fl_span path;        /* or */
    struct fl_span bytes;
};

struct proxy_discovery {
    bool present; /* false: everything is static, and nothing below is set */
    bool delta, on_demand;
    bool all_listeners, all_clusters;
    struct fl_span node; /* the Node message, packed */
    struct fl_span node_id;
    struct fl_span cluster; /* its name */
    struct fl_span authority;
    struct fl_span places; /* "10.0.0.1:15012,control.mesh.svc:15012" (whereabouts.h) */
    struct fl_grpc_metadata metadata[PROXY_DISCOVERY_METADATA_MAX];
    size_t metadata_count;
    struct fl_span token_file; /* empty: none */
    struct {
        bool on;
        struct proxy_discovery_source roots, cert, key;
        bool own_certificate; /* cert and key are those of our identity */
        struct fl_span server_name;
        struct fl_tls_name_match names[FL_TLS_NAMES_MAX];
        size_t name_count;
    } tls;
    struct {
        struct fl_span places; /* as those above; empty: we have no identity to ask for */
        struct fl_span server_name, root_file, token_file;
        struct fl_span uri; /* our SPIFFE ID, where the node tells trust domain, namespace and account; else empty */
    } identity;
};

/* Everything that it points to is the bootstrap's or the arena's. 0; -EINVAL with path and reason; -ENOMEM. */
int proxy_discovery_read(const struct Envoy__Config__Bootstrap__V3__Bootstrap *bootstrap, struct fl_arena *arena,
                         struct proxy_discovery *ret_discovery, struct fl_err *err) FL_MUST_CHECK;

/* Our identity as PEM; all empty where there is none (yet). */
struct proxy_discovery_identity {
    struct fl_span key, chain, roots;
};

/* The context for the next connection; its files are read now. The roots of our identity count beside those of the
 * file. 0, with NULL for plaintext; -EINVAL, -ENOMEM, -errno of reading, with the reason. */
int proxy_discovery_tls(const struct proxy_discovery *discovery, const struct proxy_discovery_identity *identity,
                        struct fl_tls_context **ret_context, struct fl_err *err) FL_MUST_CHECK;

/* Whether the token may be sent to that address. */
bool proxy_discovery_may_send_token(const struct proxy_discovery *discovery, const struct fl_grpc_address *address);
/* "Bearer <token>" from the file, appended. 0, or a negative errno with the reason. */
int proxy_discovery_token(const struct proxy_discovery *discovery, struct fl_buf *out,
                          struct fl_err *err) FL_MUST_CHECK;

#endif
