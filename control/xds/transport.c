/* Transport sockets: mTLS between sidecars, plaintext, a gateway's own certificates. The proxy's certificate and trust
 * bundle are named ("default", "ROOTCA") and never sent. */
#include "control/xds/generation.h"

#include "common/mesh/alpn.h"
#include "common/mesh/resource.h"

static pb_sds *named_secret(struct generation *generation, const char *name)
{
    pb_sds *sds = new_sds(&generation->build);
    sds->name = literal(name);
    sds->sds_config = build_ads(&generation->build);
    return sds;
}

static pb_tls_parameters *versions(struct generation *generation, bool mesh)
{
    pb_tls_parameters *parameters = new_tls_parameters(&generation->build);
    parameters->tls_maximum_protocol_version =
        ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3;
    parameters->tls_minimum_protocol_version =
        mesh ? ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3
             : ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_2;
    return parameters;
}

/* Anybody of our trust domain; which one it must be, an endpoint's metadata says, or a policy. */
static pb_combined_validation *mesh_peers(struct generation *generation)
{
    struct build *build = &generation->build;
    pb_combined_validation *combined = new_combined_validation(build);
    pb_validation *validation = new_validation(build);
    pb_san_match *san = new_san_match(build);
    const char *prefix = build_textf(build, "spiffe://%.*s/", FL_SPAN_ARG(generation->settings.trust_domain));
    san->san_type = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI;
    san->matcher = build_prefix(build, fl_span_str(prefix));
    PUSH(build, validation, match_typed_subject_alt_names, san);
    combined->default_validation_context = validation;
    combined->validation_context_sds_secret_config = named_secret(generation, FL_RESOURCE_NAME_TRUST_BUNDLE);
    return combined;
}

/* In the order in which a server prefers them. Istio's peer metadata (istio-peer-exchange) is not spoken, so that token
 * is never agreed to; who offers it offers istio too. */
static const struct {
    const char *token;
    enum mesh_tokens kind;
    bool match_only;
} mesh_tokens[] = {
    {FL_ALPN_HTTP, MESH_HTTP, false},          {FL_ALPN_TCP, MESH_BYTES, false},     {"istio-h2", MESH_HTTP, false},
    {"istio-http/1.1", MESH_HTTP, false},      {"istio-http/1.0", MESH_HTTP, false}, {"istio", MESH_BYTES, false},
    {"istio-peer-exchange", MESH_BYTES, true},
};

static bool is_token(size_t at, enum mesh_tokens tokens)
{
    return tokens == MESH_ALL || mesh_tokens[at].kind == tokens;
}

void transport_match(struct generation *generation, pb_chain_match *match, enum mesh_tokens tokens)
{
    for (size_t i = 0; i < sizeof(mesh_tokens) / sizeof(mesh_tokens[0]); i++)
        if (is_token(i, tokens))
            PUSH(&generation->build, match, application_protocols, literal(mesh_tokens[i].token));
}

static void add_tokens(struct generation *generation, pb_common_tls *common, enum mesh_tokens tokens)
{
    for (size_t i = 0; i < sizeof(mesh_tokens) / sizeof(mesh_tokens[0]); i++)
        if (is_token(i, tokens) && !mesh_tokens[i].match_only)
            PUSH(&generation->build, common, alpn_protocols, literal(mesh_tokens[i].token));
}

static pb_common_tls *mesh_tls(struct generation *generation)
{
    struct build *build = &generation->build;
    pb_common_tls *common = new_common_tls(build);
    common->tls_params = versions(generation, true);
    PUSH(build, common, tls_certificate_sds_secret_configs, named_secret(generation, FL_RESOURCE_NAME_OWN_CERTIFICATE));
    common->validation_context_type_case =
        ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_COMBINED_VALIDATION_CONTEXT;
    common->combined_validation_context = mesh_peers(generation);
    return common;
}

static pb_transport *transport(struct generation *generation, const char *name, const ProtobufCMessage *config)
{
    pb_transport *socket = new_transport(&generation->build);
    socket->name = literal(name);
    socket->config_type_case = ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG;
    socket->typed_config = build_any(&generation->build, config);
    return socket;
}

pb_transport *transport_upstream(struct generation *generation, const char *sni)
{
    pb_upstream_tls *tls = new_upstream_tls(&generation->build);
    tls->common_tls_context = mesh_tls(generation);
    PUSH(&generation->build, tls->common_tls_context, alpn_protocols, literal(FL_ALPN_HTTP));
    PUSH(&generation->build, tls->common_tls_context, alpn_protocols, literal(FL_ALPN_TCP));
    tls->sni = literal(sni);
    return transport(generation, "envoy.transport_sockets.tls", &tls->base);
}

/* Istio's sidecars choose their chain by its own tokens, and then agree to the usual ones, or to none for bytes. */
static const char *const istio_offers[] = {"istio-h2", "istio-http/1.1", "istio", "h2", "http/1.1"};

pb_transport *transport_istio(struct generation *generation, const char *sni)
{
    pb_upstream_tls *tls = new_upstream_tls(&generation->build);
    tls->common_tls_context = mesh_tls(generation);
    for (size_t i = 0; i < sizeof(istio_offers) / sizeof(istio_offers[0]); i++)
        PUSH(&generation->build, tls->common_tls_context, alpn_protocols, literal(istio_offers[i]));
    tls->sni = literal(sni);
    return transport(generation, "envoy.transport_sockets.tls", &tls->base);
}

pb_transport *transport_tunnel(struct generation *generation)
{
    pb_upstream_tls *tls = new_upstream_tls(&generation->build);
    tls->common_tls_context = mesh_tls(generation);
    PUSH(&generation->build, tls->common_tls_context, alpn_protocols, literal("h2"));
    return transport(generation, "envoy.transport_sockets.tls", &tls->base);
}

pb_transport *transport_tunnel_inbound(struct generation *generation)
{
    pb_downstream_tls *tls = new_downstream_tls(&generation->build);
    tls->common_tls_context = mesh_tls(generation);
    PUSH(&generation->build, tls->common_tls_context, alpn_protocols, literal("h2"));
    tls->require_client_certificate = build_bool(&generation->build, true);
    return transport(generation, "envoy.transport_sockets.tls", &tls->base);
}

pb_transport *transport_plain(struct generation *generation)
{
    return transport(generation, "envoy.transport_sockets.raw_buffer", &new_raw_buffer(&generation->build)->base);
}

pb_transport *transport_inbound(struct generation *generation, enum mesh_tokens tokens)
{
    pb_downstream_tls *tls = new_downstream_tls(&generation->build);
    tls->common_tls_context = mesh_tls(generation);
    add_tokens(generation, tls->common_tls_context, tokens);
    tls->require_client_certificate = build_bool(&generation->build, true);
    return transport(generation, "envoy.transport_sockets.tls", &tls->base);
}

pb_transport *transport_gateway(struct generation *generation, const struct control_secret *certificate, bool http)
{
    struct build *build = &generation->build;
    const struct fl_metadata *metadata = &certificate->object.metadata;
    pb_downstream_tls *tls = new_downstream_tls(build);
    pb_common_tls *common = new_common_tls(build);
    common->tls_params = versions(generation, false);
    if (http) {
        PUSH(build, common, alpn_protocols, literal("h2"));
        PUSH(build, common, alpn_protocols, literal("http/1.1"));
    }
    PUSH(build, common, tls_certificate_sds_secret_configs,
         named_secret(generation, build_textf(build, "kubernetes://%.*s/%.*s", FL_SPAN_ARG(metadata->name_space),
                                              FL_SPAN_ARG(metadata->name))));
    tls->common_tls_context = common;
    return transport(generation, "envoy.transport_sockets.tls", &tls->base);
}
