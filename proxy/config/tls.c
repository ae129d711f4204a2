/* Transport sockets → TLS contexts. One context for equal settings; certificates, keys and roots are read once, however
 * many contexts name them.
 *
 * Everything in these messages decides security, so a field that we do not serve is refused by name, with these
 * exceptions, which change nothing here: cipher_suites where TLS 1.3 is the minimum (they are of TLS 1.2),
 * watched_directory (every file is watched), settings of session resumption (there is none), enforce_rsa_key_usage,
 * full_scan_certs_on_sni_mismatch.
 */
#include "proxy/config/context.h"

#include "common/mesh/preface.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/tls/context.h"

#include <errno.h>

#define VERSION_TLS12 0x0303
#define KEY_PEM_MAX   65536

/* -- certificates, keys, roots: parsed once by source -- */

enum pki_kind { PKI_CERT = 'c', PKI_KEY = 'k', PKI_BUNDLE = 'b' };

struct pki {
    enum pki_kind kind;
    void *object;
};

static void release_pki(void *object)
{
    struct pki *pki = object;
    switch (pki->kind) {
    case PKI_CERT:
        fl_cert_unref(pki->object);
        break;
    case PKI_KEY:
        fl_key_unref(pki->object);
        break;
    case PKI_BUNDLE:
        fl_bundle_unref(pki->object);
        break;
    default:
        break;
    }
}

static int note_cert(struct compile *compile, const pb_data_source *source, struct fl_cert *cert)
{
    struct fl_span name = compile_source_name(source);
    struct proxy_cert_info *info = compile_array(compile, 1, sizeof(*info));
    if (info == NULL || compile_text(compile, name.data, &info->path) != 0)
        return compile_no_memory(compile);
    struct fl_span spiffe;
    if (fl_cert_spiffe(cert, &spiffe, NULL) == 0) {
        info->spiffe = fl_arena_copy(&compile->snapshot->arena, spiffe);
        if (info->spiffe.data == NULL)
            return compile_no_memory(compile);
    }
    time_t before, after;
    fl_cert_validity(cert, &before, &after);
    info->not_before = before;
    info->not_after = after;
    int result = fl_map_put(&compile->certs, info->path, info);
    return result == 0 || result == -EEXIST ? 0 : compile_no_memory(compile);
}

static int parse_pki(struct compile *compile, enum pki_kind kind, struct fl_span bytes, void **ret_object)
{
    struct fl_cert *cert = NULL;
    struct fl_key *key = NULL;
    struct fl_bundle *bundle = NULL;
    int result;
    switch (kind) {
    case PKI_CERT:
        result = fl_cert_parse(bytes, &cert, compile->err);
        break;
    case PKI_KEY:
        result = fl_key_parse(bytes, &key, compile->err);
        break;
    case PKI_BUNDLE:
    default:
        result = fl_bundle_parse(bytes, &bundle, compile->err);
        break;
    }
    *ret_object = kind == PKI_CERT ? (void *)cert : kind == PKI_KEY ? (void *)key : (void *)bundle;
    return result == 0 ? 0 : compile_prefix(compile, result);
}

static int remember_pki(struct compile *compile, struct fl_span id, enum pki_kind kind, void *object)
{
    struct pki *pki = compile_array(compile, 1, sizeof(*pki));
    if (pki == NULL) {
        release_pki(&(struct pki){kind, object});
        return compile_no_memory(compile);
    }
    *pki = (struct pki){kind, object};
    if (proxy_snapshot_hold(compile->snapshot, pki, release_pki) != 0 || fl_map_put(&compile->pki, id, pki) != 0)
        return compile_no_memory(compile);
    return 0;
}

/* At the DataSource. *ret_object is borrowed: it lives as long as the snapshot. */
static int load_pki(struct compile *compile, const pb_data_source *source, enum pki_kind kind, void **ret_object)
{
    struct fl_span bytes = {NULL, 0};
    size_t max = kind == PKI_KEY ? KEY_PEM_MAX : kind == PKI_CERT ? FL_CERT_PEM_MAX : FL_BUNDLE_PEM_MAX;
    size_t size = protobuf_c_message_get_packed_size(&source->base);
    char *id = fl_arena_alloc(&compile->scratch, size + 1);
    if (id == NULL)
        return compile_no_memory(compile);
    id[0] = (char)kind;
    protobuf_c_message_pack(&source->base, (uint8_t *)id + 1);
    const struct pki *known = fl_map_get(&compile->pki, fl_span_make(id, size + 1));
    if (known != NULL) {
        *ret_object = known->object;
        return 0;
    }
    int result = COMPILE_ONLY(compile, source, "filename", "inline_bytes", "inline_string", "environment_variable",
                              "watched_directory");
    if (result == 0)
        result = compile_source(compile, source, max, &bytes);
    void *object;
    if (result == 0)
        result = parse_pki(compile, kind, bytes, &object);
    if (kind == PKI_KEY && bytes.data != NULL &&
        source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME)
        explicit_bzero((char *)(uintptr_t)bytes.data, bytes.len); /* our copy, in scratch memory */
    if (result == 0)
        result = remember_pki(compile, fl_span_make(id, size + 1), kind, object);
    if (result == 0 && kind == PKI_CERT)
        result = note_cert(compile, source, object);
    if (result == 0)
        *ret_object = object;
    return result;
}

static int load_at(struct compile *compile, const char *field, const pb_data_source *source, enum pki_kind kind,
                   void **ret_object)
{
    if (source == NULL)
        return compile_fail_at(compile, field, "must be set");
    struct compile_mark mark = compile_enter(compile, field);
    int result = load_pki(compile, source, kind, ret_object);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- settings -- */

/* What a context is made of, while it is read. */
struct settings {
    struct fl_tls_options options;
    struct fl_tls_name_match names[FL_TLS_NAMES_MAX];
    struct fl_span alpn[FL_TLS_ALPN_MAX];
};

static bool is_mesh_alpn(const struct settings *settings)
{
    for (size_t i = 0; i < settings->options.alpn_count; i++)
        if (fl_span_eq_str(settings->alpn[i], FL_ALPN_TCP) || fl_span_eq_str(settings->alpn[i], FL_ALPN_HTTP))
            return true;
    return false;
}

static int read_parameters(struct compile *compile, const pb_tls_parameters *message, struct settings *settings)
{
    enum {
        AUTO = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLS_AUTO,
        V1_2 = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_2,
        V1_3 = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3,
    };
    settings->options.minimum_version = is_mesh_alpn(settings) ? 0 : VERSION_TLS12;
    if (message == NULL)
        return 0;
    int minimum = (int)message->tls_minimum_protocol_version, maximum = (int)message->tls_maximum_protocol_version;
    if (minimum != AUTO && minimum != V1_2 && minimum != V1_3)
        return compile_fail_at(compile, "tls_minimum_protocol_version", "expected TLSv1_2 or TLSv1_3");
    if (maximum != AUTO && maximum != V1_3)
        return compile_fail_at(compile, "tls_maximum_protocol_version", "expected TLSv1_3");
    if (minimum == V1_2 && is_mesh_alpn(settings))
        return compile_fail_at(compile, "tls_minimum_protocol_version", "the mesh's ALPN needs TLSv1_3");
    if (minimum == V1_3)
        settings->options.minimum_version = 0;
    if (settings->options.minimum_version != 0 && message->n_cipher_suites > 0)
        return compile_fail_at(compile, "cipher_suites",
                               "cipher_suites is not supported, unless the minimum is TLSv1_3 (they are of TLS 1.2)");
    return COMPILE_REFUSE(compile, message, "ecdh_curves", "signature_algorithms", "compliance_policies");
}

static int read_certificate(struct compile *compile, const pb_tls *message, struct settings *settings)
{
    if (message->n_tls_certificates == 0)
        return settings->options.server ? compile_fail_at(compile, "tls_certificates", "a server needs a certificate")
                                        : 0;
    if (message->n_tls_certificates > 1) {
        compile_enter_at(compile, "tls_certificates", 1);
        return compile_fail(compile, "a second certificate is not supported");
    }
    struct compile_mark mark = compile_enter_at(compile, "tls_certificates", 0);
    const pb_tls_certificate *pair = message->tls_certificates[0];
    int result = COMPILE_ONLY(compile, pair, "certificate_chain", "private_key", "watched_directory");
    void *cert, *key;
    if (result == 0)
        result = load_at(compile, "certificate_chain", pair->certificate_chain, PKI_CERT, &cert);
    if (result == 0)
        result = load_at(compile, "private_key", pair->private_key, PKI_KEY, &key);
    if (result != 0)
        return result;
    settings->options.cert = cert;
    settings->options.key = key;
    if (!fl_cert_matches(cert, key))
        return compile_fail(compile, "the private key is not the certificate's");
    compile_leave(compile, mark);
    return 0;
}

static int add_name(struct compile *compile, struct settings *settings, enum fl_tls_name_kind kind,
                    const pb_string_match *message)
{
    int result = COMPILE_ONLY(compile, message, "exact", "prefix", "suffix");
    if (result != 0)
        return result;
    struct fl_tls_name_match name = {.kind = kind};
    switch ((int)message->match_pattern_case) {
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
        name.match = FL_TLS_MATCH_EXACT;
        name.value = fl_span_str(message->exact);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
        name.match = FL_TLS_MATCH_PREFIX;
        name.value = fl_span_str(message->prefix);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
    default:
        name.match = FL_TLS_MATCH_SUFFIX;
        name.value = fl_span_str(message->suffix);
        break;
    }
    if (name.value.len == 0)
        return compile_fail(compile, "must not be empty: it would match every name");
    if (settings->options.name_count == FL_TLS_NAMES_MAX)
        return compile_fail(compile, "more than %d names", FL_TLS_NAMES_MAX);
    settings->names[settings->options.name_count++] = name;
    return 0;
}

static int read_typed_names(struct compile *compile, const pb_tls_validation *message, struct settings *settings)
{
    for (size_t i = 0; i < message->n_match_typed_subject_alt_names; i++) {
        struct compile_mark mark = compile_enter_at(compile, "match_typed_subject_alt_names", i);
        enum fl_tls_name_kind kind;
        switch ((int)message->match_typed_subject_alt_names[i]->san_type) {
        case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI:
            kind = FL_TLS_NAME_URI;
            break;
        case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS:
            kind = FL_TLS_NAME_DNS;
            break;
        default:
            return compile_fail_at(compile, "san_type", "expected URI or DNS");
        }
        int result = COMPILE_REFUSE(compile, message->match_typed_subject_alt_names[i], "oid");
        if (result != 0)
            return result;
        if (message->match_typed_subject_alt_names[i]->matcher == NULL)
            return compile_fail_at(compile, "matcher", "must be set");
        compile_enter(compile, "matcher");
        result = add_name(compile, settings, kind, message->match_typed_subject_alt_names[i]->matcher);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
}

/* The older form: a name of any kind. */
static int read_untyped_names(struct compile *compile, const pb_tls_validation *message, struct settings *settings)
{
    for (size_t i = 0; i < message->n_match_subject_alt_names; i++) {
        struct compile_mark mark = compile_enter_at(compile, "match_subject_alt_names", i);
        int result = add_name(compile, settings, FL_TLS_NAME_URI, message->match_subject_alt_names[i]);
        if (result == 0)
            result = add_name(compile, settings, FL_TLS_NAME_DNS, message->match_subject_alt_names[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
}

static int read_validation(struct compile *compile, const pb_tls_validation *message, struct settings *settings)
{
    int result = COMPILE_ONLY(compile, message, "trusted_ca", "match_typed_subject_alt_names",
                              "match_subject_alt_names", "watched_directory");
    void *bundle;
    if (result == 0)
        result = load_at(compile, "trusted_ca", message->trusted_ca, PKI_BUNDLE, &bundle);
    if (result == 0)
        result = read_typed_names(compile, message, settings);
    if (result == 0)
        result = read_untyped_names(compile, message, settings);
    if (result != 0)
        return result;
    settings->options.bundle = bundle;
    settings->options.names = settings->names;
    return 0;
}

static int read_alpn(struct compile *compile, const pb_tls *message, struct settings *settings)
{
    if (message->n_alpn_protocols > FL_TLS_ALPN_MAX)
        return compile_fail_at(compile, "alpn_protocols", "more than %d protocols", FL_TLS_ALPN_MAX);
    for (size_t i = 0; i < message->n_alpn_protocols; i++) {
        settings->alpn[i] = fl_span_str(message->alpn_protocols[i]);
        if (settings->alpn[i].len == 0 || settings->alpn[i].len > 255) {
            compile_enter_at(compile, "alpn_protocols", i);
            return compile_fail(compile, "expected 1 to 255 bytes");
        }
    }
    settings->options.alpn = settings->alpn;
    settings->options.alpn_count = message->n_alpn_protocols;
    return 0;
}

/* The mesh's names are SPIFFE IDs; then nothing but an X.509-SVID will do. */
static bool wants_spiffe(const struct settings *settings)
{
    if (settings->options.bundle == NULL)
        return false;
    for (size_t i = 0; i < settings->options.name_count; i++)
        if (settings->names[i].kind == FL_TLS_NAME_URI &&
            fl_span_starts_with(settings->names[i].value, FL_SPAN("spiffe://")))
            return true;
    return is_mesh_alpn(settings);
}

static int read_common(struct compile *compile, const pb_tls *message, struct settings *settings)
{
    if (message == NULL)
        return settings->options.server
                   ? compile_fail_at(compile, "common_tls_context", "a server needs a certificate")
                   : compile_fail_at(compile, "common_tls_context", "validation_context.trusted_ca must be set");
    struct compile_mark mark = compile_enter(compile, "common_tls_context");
    int result =
        COMPILE_ONLY(compile, message, "tls_params", "tls_certificates", "alpn_protocols", "validation_context");
    if (result == 0)
        result = read_alpn(compile, message, settings);
    if (result == 0) {
        struct compile_mark inner = compile_enter(compile, "tls_params");
        result = read_parameters(compile, message->tls_params, settings);
        if (result == 0)
            compile_leave(compile, inner);
    }
    if (result == 0)
        result = read_certificate(compile, message, settings);
    bool has_validation =
        message->validation_context_type_case ==
        ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT;
    if (result == 0 && has_validation) {
        struct compile_mark inner = compile_enter(compile, "validation_context");
        result = read_validation(compile, message->validation_context, settings);
        if (result == 0)
            compile_leave(compile, inner);
    } else if (result == 0 && !settings->options.server)
        return compile_fail_at(compile, "validation_context",
                               "trusted_ca must be set: a server that is not verified may be anybody");
    if (result != 0)
        return result;
    settings->options.require_spiffe = wants_spiffe(settings);
    compile_leave(compile, mark);
    return 0;
}

static int read_downstream(struct compile *compile, const pb_tls_downstream *message, struct settings *settings)
{
    settings->options.server = true;
    int result = COMPILE_ONLY(compile, message, "common_tls_context", "require_client_certificate",
                              "disable_stateless_session_resumption", "disable_stateful_session_resumption",
                              "session_timeout", "full_scan_certs_on_sni_mismatch");
    if (result == 0)
        result = read_common(compile, message->common_tls_context, settings);
    if (result != 0)
        return result;
    settings->options.require_peer_cert = compile_bool(message->require_client_certificate, false);
    if (settings->options.require_peer_cert && settings->options.bundle == NULL)
        return compile_fail_at(compile, "require_client_certificate", "needs validation_context.trusted_ca");
    if (!settings->options.require_peer_cert && is_mesh_alpn(settings))
        return compile_fail(compile, "the mesh's ALPN needs require_client_certificate");
    return 0;
}

static int read_upstream(struct compile *compile, const pb_tls_upstream *message, struct settings *settings)
{
    int result =
        COMPILE_ONLY(compile, message, "common_tls_context", "sni", "max_session_keys", "enforce_rsa_key_usage");
    if (result == 0)
        result = read_common(compile, message->common_tls_context, settings);
    if (result != 0)
        return result;
    settings->options.server_name = fl_span_str(message->sni);
    if (settings->options.server_name.len > 255)
        return compile_fail_at(compile, "sni", "expected at most 255 bytes");
    return 0;
}

/* -- contexts -- */

static void release_context(void *context)
{
    fl_tls_context_unref(context);
}

static int make_context(struct compile *compile, const struct settings *settings, struct fl_span id,
                        struct fl_tls_context **ret_context)
{
    struct fl_tls_context *context;
    int result = fl_tls_context_new(&settings->options, &context, compile->err);
    if (result != 0)
        return compile_prefix(compile, result);
    if (proxy_snapshot_hold(compile->snapshot, context, release_context) != 0 ||
        fl_map_put(&compile->tls_contexts, id, context) != 0)
        return compile_no_memory(compile);
    *ret_context = context;
    return 0;
}

static int compile_tls(struct compile *compile, const pb_any *any, bool server, struct fl_tls_context **ret_context)
{
    const ProtobufCMessageDescriptor *type =
        server ? &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor
               : &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor;
    ProtobufCMessage *message;
    int result = compile_unpack(compile, any, type, &message);
    char *id = result == 0 ? fl_arena_alloc(&compile->scratch, any->value.len + 1) : NULL;
    if (result != 0)
        return result;
    if (id == NULL)
        return compile_no_memory(compile);
    id[0] = server ? 's' : 'c';
    if (any->value.len > 0)
        memcpy(id + 1, any->value.data, any->value.len);
    *ret_context = fl_map_get(&compile->tls_contexts, fl_span_make(id, any->value.len + 1));
    if (*ret_context != NULL)
        return 0;
    struct settings settings = {0};
    result = server ? read_downstream(compile, (const pb_tls_downstream *)message, &settings)
                    : read_upstream(compile, (const pb_tls_upstream *)message, &settings);
    if (result == 0)
        result = make_context(compile, &settings, fl_span_make(id, any->value.len + 1), ret_context);
    return result;
}

int compile_transport(struct compile *compile, const pb_transport *transport, bool server,
                      struct fl_tls_context **ret_context)
{
    *ret_context = NULL;
    if (transport == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "transport_socket");
    int result = compile_required(compile, "name", transport->name);
    if (result != 0)
        return result;
    if (transport->config_type_case != ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG)
        return compile_fail_at(compile, "typed_config", "must be set");
    compile_enter(compile, "typed_config");
    if (!fl_span_eq_str(compile_type_name(transport->typed_config),
                        envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor.name))
        result = compile_tls(compile, transport->typed_config, server, ret_context);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}
