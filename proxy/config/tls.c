/* Transport sockets → TLS settings (setting.h), one for equal messages; and Secret resources. Certificates and roots
 * are there, or come by name (SDS); a setting that names no secret is made a context at once, so that what does not fit
 * together is refused at its place.
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
#include "common/pki/key.h"
#include "proxy/config/setting.h"

#include <errno.h>

#define VERSION_TLS12 0x0303

/* -- settings -- */

struct settings {
    struct fl_tls_options options;
    struct fl_span cert_secret, trust_secret; /* in the message */
    enum proxy_want_source cert_source, trust_source;
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

static int read_pair(struct compile *compile, const pb_tls_certificate *pair, struct fl_cert **ret_cert,
                     struct fl_key **ret_key)
{
    int result = COMPILE_ONLY(compile, pair, "certificate_chain", "private_key", "watched_directory");
    if (result == 0)
        result = compile_cert(compile, "certificate_chain", pair->certificate_chain, ret_cert);
    if (result == 0)
        result = compile_key(compile, "private_key", pair->private_key, ret_key);
    if (result == 0 && !fl_cert_matches(*ret_cert, *ret_key))
        result = compile_fail(compile, "the private key is not the certificate's");
    return result;
}

/* At an SdsSecretConfig. Our identity is provided inside of the proxy, wherever it is said to come from. */
static int read_secret_name(struct compile *compile, const pb_sds *message, struct fl_span *ret_name,
                            enum proxy_want_source *ret_source)
{
    *ret_source = PROXY_WANT_ADS;
    int result = compile_required(compile, "name", message->name);
    if (result == 0 && strlen(message->name) > PROXY_ASSEMBLY_NAME_MAX)
        result = compile_fail_at(compile, "name", "is longer than %u bytes", PROXY_ASSEMBLY_NAME_MAX);
    if (result == 0 && message->sds_config != NULL)
        result = compile_config_source(compile, "sds_config", message->sds_config, ret_source);
    *ret_name = fl_span_str(message->name);
    return result;
}

static int read_certificate(struct compile *compile, const pb_tls *message, struct settings *settings)
{
    size_t count = message->n_tls_certificates, secrets = message->n_tls_certificate_sds_secret_configs;
    if (count + secrets == 0)
        return settings->options.server ? compile_fail_at(compile, "tls_certificates", "a server needs a certificate")
                                        : 0;
    if (count > 1) {
        compile_enter_at(compile, "tls_certificates", 1);
        return compile_fail(compile, "a second certificate is not supported");
    }
    if (count + secrets > 1)
        return compile_fail_at(compile, "tls_certificate_sds_secret_configs", "a second certificate is not supported");
    struct compile_mark mark =
        compile_enter_at(compile, secrets > 0 ? "tls_certificate_sds_secret_configs" : "tls_certificates", 0);
    int result =
        secrets > 0 ? read_secret_name(compile, message->tls_certificate_sds_secret_configs[0], &settings->cert_secret,
                                       &settings->cert_source)
                    : read_pair(compile, message->tls_certificates[0], &settings->options.cert, &settings->options.key);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
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

/* trusted: it must have roots. */
static int read_validation(struct compile *compile, const pb_tls_validation *message, bool trusted,
                           struct settings *settings)
{
    int result = COMPILE_ONLY(compile, message, "trusted_ca", "match_typed_subject_alt_names",
                              "match_subject_alt_names", "watched_directory");
    if (result == 0 && (trusted || message->trusted_ca != NULL))
        result = compile_bundle(compile, "trusted_ca", message->trusted_ca, &settings->options.bundle);
    if (result == 0)
        result = read_typed_names(compile, message, settings);
    if (result == 0)
        result = read_untyped_names(compile, message, settings);
    settings->options.names = settings->names;
    return result;
}

static int read_combined(struct compile *compile, const pb_tls_combined *message, struct settings *settings)
{
    int result = COMPILE_ONLY(compile, message, "default_validation_context", "validation_context_sds_secret_config");
    if (result == 0 && message->validation_context_sds_secret_config == NULL)
        result = compile_fail_at(compile, "validation_context_sds_secret_config", "must be set");
    if (result != 0)
        return result;
    if (message->default_validation_context != NULL) {
        struct compile_mark mark = compile_enter(compile, "default_validation_context");
        result = read_validation(compile, message->default_validation_context, false, settings);
        if (result == 0 && settings->options.bundle != NULL)
            result = compile_fail_at(compile, "trusted_ca", "the secret has it");
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    compile_enter(compile, "validation_context_sds_secret_config");
    return read_secret_name(compile, message->validation_context_sds_secret_config, &settings->trust_secret,
                            &settings->trust_source);
}

#define VALIDATION(name)                                                                                               \
    ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_##name

static int read_trust(struct compile *compile, const pb_tls *message, struct settings *settings)
{
    struct compile_mark mark;
    int result;
    switch ((int)message->validation_context_type_case) {
    case VALIDATION(VALIDATION_CONTEXT):
        mark = compile_enter(compile, "validation_context");
        result = read_validation(compile, message->validation_context, true, settings);
        break;
    case VALIDATION(VALIDATION_CONTEXT_SDS_SECRET_CONFIG):
        mark = compile_enter(compile, "validation_context_sds_secret_config");
        result = read_secret_name(compile, message->validation_context_sds_secret_config, &settings->trust_secret,
                                  &settings->trust_source);
        break;
    case VALIDATION(COMBINED_VALIDATION_CONTEXT):
        mark = compile_enter(compile, "combined_validation_context");
        result = read_combined(compile, message->combined_validation_context, settings);
        break;
    default:
        return settings->options.server
                   ? 0
                   : compile_fail_at(compile, "validation_context",
                                     "trusted_ca must be set: a server that is not verified may be anybody");
    }
    if (result == 0)
        compile_leave(compile, mark);
    return result;
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

static int read_common(struct compile *compile, const pb_tls *message, struct settings *settings)
{
    if (message == NULL)
        return settings->options.server
                   ? compile_fail_at(compile, "common_tls_context", "a server needs a certificate")
                   : compile_fail_at(compile, "common_tls_context", "validation_context.trusted_ca must be set");
    struct compile_mark mark = compile_enter(compile, "common_tls_context");
    int result = COMPILE_ONLY(compile, message, "tls_params", "tls_certificates", "tls_certificate_sds_secret_configs",
                              "alpn_protocols", "validation_context", "validation_context_sds_secret_config",
                              "combined_validation_context");
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
    if (result == 0)
        result = read_trust(compile, message, settings);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
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
    if (settings->options.require_peer_cert && settings->options.bundle == NULL && settings->trust_secret.len == 0)
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

/* -- from message to setting -- */

static int copy_texts(struct compile *compile, const struct settings *from, struct proxy_tls_setting *setting)
{
    struct fl_arena *arena = &setting->unit.arena;
    struct fl_tls_options *options = &setting->options;
    struct fl_tls_name_match *names = fl_arena_array(arena, options->name_count, sizeof(*names));
    struct fl_span *alpn = fl_arena_array(arena, options->alpn_count, sizeof(*alpn));
    bool full = names == NULL || alpn == NULL;
    for (size_t i = 0; !full && i < options->name_count; i++) {
        names[i] = from->names[i];
        names[i].value = fl_arena_copy(arena, from->names[i].value);
        full = names[i].value.data == NULL;
    }
    for (size_t i = 0; !full && i < options->alpn_count; i++) {
        alpn[i] = fl_arena_copy(arena, from->alpn[i]);
        full = alpn[i].data == NULL;
    }
    options->server_name = fl_arena_copy(arena, from->options.server_name);
    setting->cert_secret = fl_arena_copy(arena, from->cert_secret);
    setting->trust_secret = fl_arena_copy(arena, from->trust_secret);
    options->names = names;
    options->alpn = alpn;
    if (full || options->server_name.data == NULL || setting->cert_secret.data == NULL ||
        setting->trust_secret.data == NULL)
        return compile_no_memory(compile);
    return 0;
}

static int fill_setting(struct compile *compile, const struct settings *from, struct fl_span id,
                        struct proxy_tls_setting *setting)
{
    setting->options = from->options;
    setting->options.cert = fl_cert_ref(from->options.cert);
    setting->options.key = fl_key_ref(from->options.key);
    setting->options.bundle = fl_bundle_ref(from->options.bundle);
    setting->cert_source = from->cert_source;
    setting->trust_source = from->trust_source;
    setting->digest = compile->digest;
    int result = copy_texts(compile, from, setting);
    if (result != 0)
        return result;
    result = proxy_slots_hold(compile->slots, PROXY_SLOT_TLS, id, &setting->unit, &setting->slot);
    if (result != 0)
        return compile_no_memory(compile);
    if (from->cert_secret.len > 0 || from->trust_secret.len > 0)
        return 0;
    result = proxy_tls_setting_build(setting, NULL, NULL, &compile->cores, &compile->scratch, &setting->context,
                                     compile->err);
    return result == 0 ? 0 : compile_prefix(compile, result);
}

static int make_setting(struct compile *compile, const struct settings *from, struct fl_span id,
                        struct proxy_tls_setting **ret_setting)
{
    struct proxy_tls_setting *setting = proxy_tls_setting_new();
    if (setting == NULL)
        return compile_no_memory(compile);
    int result = fill_setting(compile, from, id, setting);
    if (result == 0 && fl_map_put(&compile->settings, id, setting) != 0)
        result = compile_no_memory(compile);
    if (result == 0)
        *ret_setting = setting;
    else
        proxy_tls_setting_unref(setting);
    return result;
}

/* The present resource uses it, and waits for its secrets. */
static int use_setting(struct compile *compile, struct proxy_tls_setting *setting, const struct proxy_slot **ret_slot)
{
    struct compile_use *use = fl_arena_alloc(&compile->scratch, sizeof(*use));
    if (use == NULL)
        return compile_no_memory(compile);
    int result = 0;
    if (setting->cert_secret.len > 0)
        result = compile_need(compile, FL_RESOURCE_SECRET, setting->cert_secret, setting->cert_source);
    if (result == 0 && setting->trust_secret.len > 0)
        result = compile_need(compile, FL_RESOURCE_SECRET, setting->trust_secret, setting->trust_source);
    if (result == 0)
        result = compile_slot(compile, PROXY_SLOT_TLS, setting->slot->name, ret_slot);
    *use = (struct compile_use){setting, compile->uses};
    compile->uses = use;
    return result;
}

static int compile_tls(struct compile *compile, const pb_any *any, bool server, const struct proxy_slot **ret_slot)
{
    const ProtobufCMessageDescriptor *type =
        server ? &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor
               : &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor;
    ProtobufCMessage *message;
    int result = compile_unpack(compile, any, type, &message);
    char *text = result == 0 ? fl_arena_alloc(&compile->scratch, any->value.len + 1) : NULL;
    if (result != 0)
        return result;
    if (text == NULL)
        return compile_no_memory(compile);
    text[0] = server ? 's' : 'c';
    if (any->value.len > 0)
        memcpy(text + 1, any->value.data, any->value.len);
    struct fl_span id = fl_span_make(text, any->value.len + 1);
    struct proxy_tls_setting *setting = fl_map_get(&compile->settings, id);
    if (setting != NULL)
        return use_setting(compile, setting, ret_slot);
    struct settings settings = {0};
    compile->digest = 0;
    result = server ? read_downstream(compile, (const pb_tls_downstream *)message, &settings)
                    : read_upstream(compile, (const pb_tls_upstream *)message, &settings);
    if (result == 0)
        result = make_setting(compile, &settings, id, &setting);
    return result == 0 ? use_setting(compile, setting, ret_slot) : result;
}

int compile_transport(struct compile *compile, const pb_transport *transport, bool server,
                      const struct proxy_slot **ret_slot)
{
    *ret_slot = NULL;
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
        result = compile_tls(compile, transport->typed_config, server, ret_slot);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- secrets -- */

static void release_secret(void *object)
{
    struct proxy_secret *secret = object;
    fl_cert_unref(secret->cert);
    fl_key_unref(secret->key);
    fl_bundle_unref(secret->bundle);
}

static int keep_secret(struct compile *compile, const char *name, const struct settings *from,
                       struct proxy_secret *secret)
{
    secret->cert = fl_cert_ref(from->options.cert);
    secret->key = fl_key_ref(from->options.key);
    secret->bundle = fl_bundle_ref(from->options.bundle);
    int result = compile_hold(compile, secret, release_secret);
    struct fl_tls_name_match *names = compile_array(compile, from->options.name_count, sizeof(*names));
    if (result == 0 && names == NULL)
        result = compile_no_memory(compile);
    for (size_t i = 0; result == 0 && i < from->options.name_count; i++) {
        names[i] = from->names[i];
        names[i].value = fl_arena_copy(&compile->unit->arena, from->names[i].value);
        if (names[i].value.data == NULL)
            result = compile_no_memory(compile);
    }
    if (result != 0)
        return result;
    secret->names = names;
    secret->name_count = from->options.name_count;
    if (secret->cert == NULL)
        return 0;
    struct fl_span spiffe;
    time_t before, after;
    fl_cert_validity(secret->cert, &before, &after);
    secret->info.not_before = before;
    secret->info.not_after = after;
    if (fl_cert_spiffe(secret->cert, &spiffe, NULL) == 0)
        secret->info.spiffe = spiffe; /* lives in the certificate */
    return compile_text(compile, name, &secret->info.path);
}

int compile_secret(struct compile *compile, const pb_secret *message, const struct proxy_secret **ret_secret)
{
    struct settings settings = {0};
    struct compile_mark mark;
    int result = compile_required(compile, "name", message->name);
    if (result != 0)
        return result;
    compile->digest = 0;
    switch ((int)message->type_case) {
    case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_TLS_CERTIFICATE:
        mark = compile_enter(compile, "tls_certificate");
        result = read_pair(compile, message->tls_certificate, &settings.options.cert, &settings.options.key);
        break;
    case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_VALIDATION_CONTEXT:
        mark = compile_enter(compile, "validation_context");
        result = read_validation(compile, message->validation_context, true, &settings);
        break;
    default:
        return compile_fail(compile, "expected tls_certificate or validation_context");
    }
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    struct proxy_secret *secret = compile_array(compile, 1, sizeof(*secret));
    if (secret == NULL)
        return compile_no_memory(compile);
    secret->digest = compile->digest;
    result = keep_secret(compile, message->name, &settings, secret);
    if (result == 0)
        *ret_secret = secret;
    return result;
}
