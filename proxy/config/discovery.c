#include "proxy/config/discovery.h"

#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "common/mesh/place.h"
#include "common/mesh/resource.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"
#include "common/xds/message.h"
#include "proxy/config/messages.h"
#include "proxy/config/whereabouts.h"

#include <errno.h>

#define ADS        "$.dynamic_resources.ads_config"
#define PLACES_MAX 4096 /* bytes of the list */

struct reading {
    const pb_bootstrap *bootstrap;
    struct fl_arena *arena;
    struct proxy_discovery *discovery;
    struct fl_err *err;
};

#define FAIL(reading, ...) fl_err_set((reading)->err, -EINVAL, __VA_ARGS__)

/* --- node ------------------------------------------------------------------------------------------------------- */

static struct fl_span metadata_of(const struct reading *reading, const char *name)
{
    const Envoy__Config__Core__V3__Node *node = reading->bootstrap->node;
    const pb_struct *metadata = node != NULL ? node->metadata : NULL;
    for (size_t i = 0; metadata != NULL && i < metadata->n_fields; i++) {
        const pb_value *value = metadata->fields[i]->value;
        if (strcmp(metadata->fields[i]->key, name) == 0 && value != NULL &&
            value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
            return fl_span_str(value->string_value);
    }
    return FL_SPAN("");
}

/* Which identity we are to have: another one is not taken from the CA. */
static int read_uri(struct reading *reading)
{
    const struct fl_identity identity = {.trust_domain = metadata_of(reading, "TRUST_DOMAIN"),
                                         .name_space = metadata_of(reading, "NAMESPACE"),
                                         .service_account = metadata_of(reading, "SERVICE_ACCOUNT")};
    if (identity.trust_domain.len == 0 || identity.name_space.len == 0 || identity.service_account.len == 0)
        return 0;
    struct fl_buf text;
    fl_buf_init(&text, FL_IDENTITY_MAX + 1);
    int result = fl_identity_print(&identity, &text, reading->err);
    if (result == 0) {
        reading->discovery->identity.uri = fl_arena_copy(reading->arena, fl_buf_span(&text));
        if (reading->discovery->identity.uri.data == NULL)
            result = fl_err_set(reading->err, -ENOMEM, "out of memory");
    }
    fl_buf_done(&text);
    return result == 0 ? 0 : (fl_err_prefix(reading->err, "$.node.metadata"), result);
}

static int read_node(struct reading *reading)
{
    struct proxy_discovery *discovery = reading->discovery;
    const Envoy__Config__Core__V3__Node *node = reading->bootstrap->node;
    if (node == NULL || node->id[0] == '\0')
        return FAIL(reading, "$.node.id: must be set where there are dynamic_resources");
    Envoy__Config__Core__V3__Node ours = *node;
    if (ours.user_agent_name[0] == '\0') {
        ours.user_agent_name = (char *)(uintptr_t) "fairlead";
        ours.user_agent_version_type_case = ENVOY__CONFIG__CORE__V3__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_VERSION;
        ours.user_agent_version = (char *)(uintptr_t)FL_VERSION;
    }
    if (fl_xds_pack(&ours.base, reading->arena, &discovery->node) != 0)
        return fl_err_set(reading->err, -ENOMEM, "out of memory");
    discovery->node_id = fl_span_str(node->id);
    discovery->on_demand = fl_span_eq_str(metadata_of(reading, FL_NODE_DISCOVERY), FL_NODE_DISCOVERY_ON_DEMAND);
    discovery->token_file = metadata_of(reading, FL_ENV_TOKEN_FILE);
    discovery->identity.places = metadata_of(reading, FL_ENV_CA_ADDRESS);
    discovery->identity.server_name = metadata_of(reading, FL_ENV_CA_NAME);
    discovery->identity.root_file = metadata_of(reading, FL_ENV_ROOT_FILE);
    discovery->identity.token_file = discovery->token_file;
    return read_uri(reading);
}

/* --- dynamic_resources ------------------------------------------------------------------------------------------ */

static int read_source(struct reading *reading, const char *field, const Envoy__Config__Core__V3__ConfigSource *source,
                       bool *ret_all)
{
    if (source == NULL)
        return 0;
    if (source->config_source_specifier_case != ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS)
        return FAIL(reading, "$.dynamic_resources.%s: expected {ads: {}}", field);
    *ret_all = !reading->discovery->on_demand;
    return 0;
}

static int read_metadata(struct reading *reading, const Envoy__Config__Core__V3__GrpcService *service)
{
    struct proxy_discovery *discovery = reading->discovery;
    if (service->n_initial_metadata > PROXY_DISCOVERY_METADATA_MAX)
        return FAIL(reading, ADS ".grpc_services[0].initial_metadata: at most %d", PROXY_DISCOVERY_METADATA_MAX);
    for (size_t i = 0; i < service->n_initial_metadata; i++) {
        const Envoy__Config__Core__V3__HeaderValue *header = service->initial_metadata[i];
        if (header->key[0] == '\0' || header->raw_value.len > 0)
            return FAIL(reading, ADS ".grpc_services[0].initial_metadata[%zu]: expected key and value", i);
        discovery->metadata[i] = (struct fl_grpc_metadata){fl_span_str(header->key), fl_span_str(header->value)};
    }
    discovery->metadata_count = service->n_initial_metadata;
    return 0;
}

static int read_service(struct reading *reading, const Envoy__Config__Core__V3__ApiConfigSource *ads)
{
    if (ads->n_grpc_services != 1)
        return FAIL(reading, ADS ".grpc_services: expected one, got %zu", ads->n_grpc_services);
    const Envoy__Config__Core__V3__GrpcService *service = ads->grpc_services[0];
    if (service->target_specifier_case == ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_GOOGLE_GRPC)
        return FAIL(reading, ADS ".grpc_services[0].google_grpc: not supported: use envoy_grpc and a static cluster");
    if (service->target_specifier_case != ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC ||
        service->envoy_grpc->cluster_name[0] == '\0')
        return FAIL(reading, ADS ".grpc_services[0].envoy_grpc.cluster_name: must be set");
    reading->discovery->cluster = fl_span_str(service->envoy_grpc->cluster_name);
    reading->discovery->authority = fl_span_str(service->envoy_grpc->authority);
    return read_metadata(reading, service);
}

static int read_ads(struct reading *reading, const Envoy__Config__Core__V3__ApiConfigSource *ads)
{
    switch ((int)ads->api_type) {
    case ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__GRPC:
        break;
    case ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__DELTA_GRPC:
        reading->discovery->delta = true;
        break;
    default:
        return FAIL(reading, ADS ".api_type: expected GRPC or DELTA_GRPC");
    }
    if (ads->transport_api_version != ENVOY__CONFIG__CORE__V3__API_VERSION__V3)
        return FAIL(reading, ADS ".transport_api_version: expected V3");
    if (reading->discovery->on_demand && !reading->discovery->delta)
        return FAIL(reading, ADS ".api_type: expected DELTA_GRPC, because $.node.metadata." FL_NODE_DISCOVERY
                                 " is " FL_NODE_DISCOVERY_ON_DEMAND);
    return read_service(reading, ads);
}

/* --- the cluster ------------------------------------------------------------------------------------------------ */

static const pb_cluster *find_cluster(const struct reading *reading)
{
    for (size_t i = 0;
         reading->bootstrap->static_resources != NULL && i < reading->bootstrap->static_resources->n_clusters; i++)
        if (fl_span_eq_str(reading->discovery->cluster, reading->bootstrap->static_resources->clusters[i]->name))
            return reading->bootstrap->static_resources->clusters[i];
    return NULL;
}

static int add_place(struct reading *reading, const pb_endpoint *endpoint, bool named, struct fl_buf *places)
{
    bool plain = endpoint->host_identifier_case == ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    const pb_address *address = plain ? endpoint->endpoint->address : NULL;
    struct fl_span cluster = reading->discovery->cluster;
    struct fl_place place;
    if (address == NULL || address->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
        return FAIL(reading, "cluster %.*s: an endpoint without socket_address", FL_SPAN_ARG(cluster));
    const char *host = address->socket_address->address;
    uint32_t port = address->socket_address->port_value;
    size_t start = places->len > 0 ? places->len + 1 : 0;
    int result = fl_buf_printf(places, strchr(host, ':') != NULL ? "%s[%s]:%u" : "%s%s:%u", start > 0 ? "," : "", host,
                               (unsigned)port);
    if (result == -EMSGSIZE)
        return FAIL(reading, "cluster %.*s: endpoints: longer than %zu bytes", FL_SPAN_ARG(cluster), places->max);
    if (result < 0)
        return fl_err_set(reading->err, result, "out of memory");
    if (!fl_place_parse(fl_span_from(fl_buf_span(places), start), &place) || (place.is_name && !named))
        return FAIL(reading, "cluster %.*s: \"%s\" port %u is not %s", FL_SPAN_ARG(cluster), host, (unsigned)port,
                    named ? FL_PLACE_EXPECTED : "an IP address and port");
    return 0;
}

static int read_places(struct reading *reading, const pb_cluster *cluster)
{
    const pb_assignment *assignment = cluster->load_assignment;
    bool typed =
        cluster->cluster_discovery_type_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    bool named = typed && (cluster->type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STRICT_DNS ||
                           cluster->type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS);
    FL_CLEANUP(fl_buf_done) struct fl_buf places;
    size_t count = 0;
    int result = 0;
    fl_buf_init(&places, PLACES_MAX);
    if (typed && !named && cluster->type != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC)
        return FAIL(reading, "cluster %s: type: expected STATIC, STRICT_DNS or LOGICAL_DNS: it leads to the xDS server",
                    cluster->name);
    for (size_t i = 0; assignment != NULL && i < assignment->n_endpoints; i++)
        for (size_t k = 0; k < assignment->endpoints[i]->n_lb_endpoints && result == 0; k++, count++)
            result = add_place(reading, assignment->endpoints[i]->lb_endpoints[k], named, &places);
    if (result < 0)
        return result;
    if (count == 0 || count > PROXY_WHEREABOUTS_MAX)
        return FAIL(reading, "cluster %s: load_assignment: expected 1 to %d endpoints, got %zu", cluster->name,
                    PROXY_WHEREABOUTS_MAX, count);
    reading->discovery->places = fl_arena_copy(reading->arena, fl_buf_span(&places));
    return reading->discovery->places.data != NULL ? 0 : fl_err_set(reading->err, -ENOMEM, "out of memory");
}

/* --- its TLS ---------------------------------------------------------------------------------------------------- */

/* Everything here decides security: what is set must be on the list, which ends with NULL. */
static int only(struct reading *reading, const ProtobufCMessage *message, const char *const *supported)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const char *const *name = supported;
        while (*name != NULL && strcmp(*name, field->name) != 0)
            name++;
        if (*name == NULL && fl_xds_is_set(message, field))
            return FAIL(reading, "cluster %.*s: %s.%s: not supported on the way to the xDS server",
                        FL_SPAN_ARG(reading->discovery->cluster), message->descriptor->name, field->name);
    }
    return 0;
}
#define ONLY(reading, message, ...) only(reading, &(message)->base, (const char *const[]){__VA_ARGS__, NULL})

static int read_data(struct reading *reading, const char *field, const pb_data_source *source,
                     struct proxy_discovery_source *ret_source)
{
    switch (source != NULL ? (int)source->specifier_case : 0) {
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME:
        ret_source->path = fl_span_str(source->filename);
        return 0;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING:
        ret_source->bytes = fl_span_str(source->inline_string);
        return 0;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
        ret_source->bytes = fl_span_make(source->inline_bytes.data, source->inline_bytes.len);
        return 0;
    default:
        return FAIL(reading, "cluster %.*s: %s: expected filename, inline_string or inline_bytes",
                    FL_SPAN_ARG(reading->discovery->cluster), field);
    }
}

static int add_name(struct reading *reading, enum fl_tls_name_kind kind, const pb_string_match *match)
{
    struct proxy_discovery *discovery = reading->discovery;
    struct fl_tls_name_match name = {.kind = kind};
    int result = match != NULL ? ONLY(reading, match, "exact", "prefix", "suffix") : 0;
    if (result != 0)
        return result;
    switch (match != NULL ? (int)match->match_pattern_case : 0) {
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
        name.match = FL_TLS_MATCH_EXACT;
        name.value = fl_span_str(match->exact);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
        name.match = FL_TLS_MATCH_PREFIX;
        name.value = fl_span_str(match->prefix);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
        name.match = FL_TLS_MATCH_SUFFIX;
        name.value = fl_span_str(match->suffix);
        break;
    default:
        break;
    }
    if (name.value.len == 0 || discovery->tls.name_count == FL_TLS_NAMES_MAX)
        return FAIL(reading,
                    "cluster %.*s: names: each must be an exact, prefix or suffix that is not empty, at most %d",
                    FL_SPAN_ARG(discovery->cluster), FL_TLS_NAMES_MAX);
    discovery->tls.names[discovery->tls.name_count++] = name;
    return 0;
}

static int read_names(struct reading *reading, const pb_tls_validation *validation)
{
    int result = 0;
    for (size_t i = 0; i < validation->n_match_typed_subject_alt_names && result == 0; i++) {
        const Envoy__Extensions__TransportSockets__Tls__V3__SubjectAltNameMatcher *match =
            validation->match_typed_subject_alt_names[i];
        bool uri =
            match->san_type == ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI;
        if (!uri &&
            match->san_type != ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS)
            return FAIL(reading, "cluster %.*s: san_type: expected URI or DNS",
                        FL_SPAN_ARG(reading->discovery->cluster));
        result = add_name(reading, uri ? FL_TLS_NAME_URI : FL_TLS_NAME_DNS, match->matcher);
    }
    for (size_t i = 0; i < validation->n_match_subject_alt_names && result == 0; i++) {
        result = add_name(reading, FL_TLS_NAME_URI, validation->match_subject_alt_names[i]);
        if (result == 0)
            result = add_name(reading, FL_TLS_NAME_DNS, validation->match_subject_alt_names[i]);
    }
    return result;
}

static int read_validation(struct reading *reading, const pb_tls *common)
{
    const pb_tls_validation *validation =
        common->validation_context_type_case ==
                ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT
            ? common->validation_context
            : NULL;
    if (validation == NULL)
        return FAIL(reading, "cluster %.*s: validation_context.trusted_ca must be set",
                    FL_SPAN_ARG(reading->discovery->cluster));
    int result = ONLY(reading, validation, "trusted_ca", "match_typed_subject_alt_names", "match_subject_alt_names",
                      "watched_directory");
    if (result == 0)
        result = read_data(reading, "trusted_ca", validation->trusted_ca, &reading->discovery->tls.roots);
    return result == 0 ? read_names(reading, validation) : result;
}

static int read_certificate(struct reading *reading, const pb_tls *common)
{
    struct proxy_discovery *discovery = reading->discovery;
    if (common->n_tls_certificates + common->n_tls_certificate_sds_secret_configs > 1)
        return FAIL(reading, "cluster %.*s: more than one client certificate", FL_SPAN_ARG(discovery->cluster));
    if (common->n_tls_certificate_sds_secret_configs == 1) {
        discovery->tls.own_certificate = true;
        return strcmp(common->tls_certificate_sds_secret_configs[0]->name, FL_RESOURCE_NAME_OWN_CERTIFICATE) == 0
                   ? 0
                   : FAIL(reading,
                          "cluster %.*s: tls_certificate_sds_secret_configs: only \"default\" (our own) can be "
                          "had before there is a server",
                          FL_SPAN_ARG(discovery->cluster));
    }
    if (common->n_tls_certificates == 0)
        return 0;
    const pb_tls_certificate *pair = common->tls_certificates[0];
    int result = ONLY(reading, pair, "certificate_chain", "private_key", "watched_directory");
    if (result == 0)
        result = read_data(reading, "certificate_chain", pair->certificate_chain, &discovery->tls.cert);
    return result == 0 ? read_data(reading, "private_key", pair->private_key, &discovery->tls.key) : result;
}

static int read_tls(struct reading *reading, const pb_tls_upstream *message)
{
    int result = ONLY(reading, message, "common_tls_context", "sni", "max_session_keys", "enforce_rsa_key_usage");
    if (result != 0)
        return result;
    if (message->common_tls_context == NULL)
        return FAIL(reading, "cluster %.*s: common_tls_context must be set", FL_SPAN_ARG(reading->discovery->cluster));
    reading->discovery->tls.on = true;
    reading->discovery->tls.server_name = fl_span_str(message->sni);
    result = ONLY(reading, message->common_tls_context, "tls_params", "tls_certificates", "alpn_protocols",
                  "tls_certificate_sds_secret_configs", "validation_context");
    if (result == 0)
        result = read_validation(reading, message->common_tls_context);
    return result == 0 ? read_certificate(reading, message->common_tls_context) : result;
}

static int read_transport(struct reading *reading, const pb_transport *transport)
{
    if (transport == NULL)
        return 0;
    if (transport->config_type_case != ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG)
        return FAIL(reading, "cluster %.*s: transport_socket.typed_config must be set",
                    FL_SPAN_ARG(reading->discovery->cluster));
    const ProtobufCMessageDescriptor *type = fl_xds_type(fl_span_str(transport->typed_config->type_url));
    if (type == &envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor)
        return 0;
    if (type != &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor)
        return FAIL(reading, "cluster %.*s: transport_socket: %s is not supported",
                    FL_SPAN_ARG(reading->discovery->cluster), transport->typed_config->type_url);
    ProtobufCMessage *message;
    struct fl_span bytes = fl_span_make(transport->typed_config->value.data, transport->typed_config->value.len);
    int result = fl_xds_unpack(type, bytes, reading->arena, NULL, &message, reading->err);
    return result == 0 ? read_tls(reading, (const pb_tls_upstream *)message) : result;
}

static int read_cluster(struct reading *reading)
{
    struct proxy_discovery *discovery = reading->discovery;
    const pb_cluster *cluster = find_cluster(reading);
    if (cluster == NULL)
        return FAIL(reading, ADS ".grpc_services[0].envoy_grpc.cluster_name: there is no static cluster \"%.*s\"",
                    FL_SPAN_ARG(discovery->cluster));
    int result = read_places(reading, cluster);
    if (result == 0)
        result = read_transport(reading, cluster->transport_socket);
    if (discovery->authority.len == 0)
        discovery->authority = discovery->tls.server_name.len > 0 ? discovery->tls.server_name : discovery->cluster;
    return result;
}

int proxy_discovery_read(const pb_bootstrap *bootstrap, struct fl_arena *arena, struct proxy_discovery *ret_discovery,
                         struct fl_err *err)
{
    struct proxy_discovery discovery = {0};
    struct reading reading = {.bootstrap = bootstrap, .arena = arena, .discovery = &discovery, .err = err};
    const Envoy__Config__Bootstrap__V3__Bootstrap__DynamicResources *dynamic = bootstrap->dynamic_resources;
    int result = 0;
    if (dynamic != NULL &&
        (dynamic->ads_config != NULL || dynamic->lds_config != NULL || dynamic->cds_config != NULL)) {
        discovery.present = true;
        result = dynamic->ads_config != NULL ? read_node(&reading) : FAIL(&reading, ADS ": must be set");
        if (result == 0)
            result = read_ads(&reading, dynamic->ads_config);
        if (result == 0)
            result = read_source(&reading, "lds_config", dynamic->lds_config, &discovery.all_listeners);
        if (result == 0)
            result = read_source(&reading, "cds_config", dynamic->cds_config, &discovery.all_clusters);
        if (result == 0)
            result = read_cluster(&reading);
    }
    if (result == 0)
        *ret_discovery = discovery;
    return result;
}

/* --- what is read anew for each connection ---------------------------------------------------------------------- */

static int load(const struct proxy_discovery_source *source, size_t max, struct fl_buf *buf, struct fl_err *err)
{
    fl_buf_init(buf, max);
    int result = source->path.len > 0 ? fl_buf_read_file(buf, source->path.data) : fl_buf_append(buf, source->bytes);
    return result == 0 ? 0
                       : fl_err_errno(err, result, "cannot read %s", source->path.len > 0 ? source->path.data : "-");
}

static void wipe(struct fl_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->cap);
    fl_buf_done(buf);
}

static int load_pair(const struct proxy_discovery *discovery, const struct proxy_discovery_identity *identity,
                     struct fl_tls_options *options, struct fl_err *err)
{
    struct proxy_discovery_source chain = discovery->tls.cert, key = discovery->tls.key;
    struct fl_buf chain_pem = {0}, key_pem = {0};
    if (discovery->tls.own_certificate) {
        chain = (struct proxy_discovery_source){.bytes = identity->chain};
        key = (struct proxy_discovery_source){.bytes = identity->key};
    }
    if (chain.path.len + chain.bytes.len == 0)
        return 0;
    int result = load(&chain, FL_CERT_PEM_MAX, &chain_pem, err);
    if (result == 0)
        result = load(&key, FL_KEY_PEM_MAX, &key_pem, err);
    if (result == 0)
        result = fl_cert_parse(fl_buf_span(&chain_pem), &options->cert, err);
    if (result == 0)
        result = fl_key_parse(fl_buf_span(&key_pem), &options->key, err);
    wipe(&key_pem);
    fl_buf_done(&chain_pem);
    return result;
}

static int load_roots(const struct proxy_discovery *discovery, const struct proxy_discovery_identity *identity,
                      struct fl_tls_options *options, struct fl_err *err)
{
    struct fl_buf pem;
    int result = load(&discovery->tls.roots, FL_BUNDLE_PEM_MAX, &pem, err);
    if (result == 0 && identity->roots.len > 0) {
        result = fl_buf_append(&pem, FL_SPAN("\n"));
        if (result == 0)
            result = fl_buf_append(&pem, identity->roots);
    } else if (result != 0 && identity->roots.len > 0) { /* the file is gone, but we know whom to trust */
        fl_buf_clear(&pem);
        result = fl_buf_append(&pem, identity->roots);
    }
    if (result == 0)
        result = fl_bundle_parse(fl_buf_span(&pem), &options->bundle, err);
    fl_buf_done(&pem);
    return result;
}

int proxy_discovery_tls(const struct proxy_discovery *discovery, const struct proxy_discovery_identity *identity,
                        struct fl_tls_context **ret_context, struct fl_err *err)
{
    static const struct fl_span alpn[] = {{"h2", 2}};
    if (!discovery->tls.on) {
        *ret_context = NULL;
        return 0;
    }
    struct fl_tls_options options = {.names = discovery->tls.names,
                                     .name_count = discovery->tls.name_count,
                                     .alpn = alpn,
                                     .alpn_count = 1,
                                     .server_name = discovery->tls.server_name,
                                     .minimum_version = 0x0303};
    int result = load_roots(discovery, identity, &options, err);
    if (result == 0)
        result = load_pair(discovery, identity, &options, err);
    if (result == 0)
        result = fl_tls_context_new(&options, ret_context, err);
    fl_bundle_unref(options.bundle);
    fl_cert_unref(options.cert);
    fl_key_unref(options.key);
    return result;
}

bool proxy_discovery_may_send_token(const struct proxy_discovery *discovery, const struct fl_grpc_address *address)
{
    return discovery->token_file.len > 0 &&
           (discovery->tls.on || (address != NULL && fl_grpc_address_is_loopback(address)));
}

int proxy_discovery_token(const struct proxy_discovery *discovery, struct fl_buf *out, struct fl_err *err)
{
    struct fl_buf file;
    fl_buf_init(&file, PROXY_DISCOVERY_TOKEN_MAX);
    int result = fl_buf_read_file(&file, discovery->token_file.data);
    struct fl_span token = fl_buf_span(&file);
    while (token.len > 0 && (token.data[token.len - 1] == '\n' || token.data[token.len - 1] == '\r'))
        token.len--;
    if (result == 0)
        result = fl_buf_printf(out, "Bearer %.*s", FL_SPAN_ARG(token));
    wipe(&file);
    return result == 0 ? 0 : fl_err_errno(err, result, "cannot read the token %s", discovery->token_file.data);
}
