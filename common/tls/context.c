#include "common/tls/context.h"

#include "common/base/buf.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/pki/openssl.h"
#include "common/tls/inner.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

#define ALPN_TOKEN_MAX  255
#define SERVER_NAME_MAX 255 /* bytes, as TLSEXT_MAXLEN_host_name */
#define SECURITY_LEVEL  2   /* 112 bits: RSA ≥ 2048, no SHA-1 */

#define CIPHERS_13         "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
#define CIPHERS_12         "ECDHE+AESGCM:ECDHE+CHACHA20"
#define CIPHERS_12_ANYBODY CIPHERS_12 ":ECDHE+AES"

struct fl_tls_context *fl_tls_context_ref(struct fl_tls_context *context)
{
    if (context != NULL)
        atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

static struct fl_tls_core *core_unref(struct fl_tls_core *core)
{
    if (core == NULL || atomic_fetch_sub_explicit(&core->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    SSL_CTX_free(core->ssl);
    BIO_meth_free(core->transport);
    fl_cert_unref(core->cert);
    fl_buf_done(&core->alpn);
    free(core);
    return NULL;
}

static void release(struct fl_tls_context *context)
{
    core_unref(context->core);
    free(context->server_name);
    free(context->names);
    free(context->name_text);
    free(context);
}

struct fl_tls_context *fl_tls_context_unref(struct fl_tls_context *context)
{
    if (context != NULL && atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) == 1)
        release(context);
    return NULL;
}

void fl_cleanup_tls_context(struct fl_tls_context **context)
{
    fl_tls_context_unref(*context);
}

static int check_sides(const struct fl_tls_options *options, struct fl_err *err)
{
    bool rules = options->require_peer_cert || options->require_spiffe || options->name_count > 0;
    if ((options->cert == NULL) != (options->key == NULL))
        return fl_err_set(err, -EINVAL, "TLS: certificate and key come together");
    if (options->server && options->cert == NULL)
        return fl_err_set(err, -EINVAL, "TLS: a server needs a certificate");
    if (options->anybody && (options->server || options->bundle != NULL))
        return fl_err_set(err, -EINVAL, "TLS: who accepts anybody is a client without a trust bundle");
    if (!options->server && options->bundle == NULL && !options->anybody)
        return fl_err_set(err, -EINVAL, "TLS: a client needs a trust bundle");
    if (rules && options->bundle == NULL)
        return fl_err_set(err, -EINVAL, "TLS: rules for the peer's certificate need a trust bundle");
    if (options->cert != NULL && !fl_cert_matches(options->cert, options->key))
        return fl_err_set(err, -EINVAL, "TLS: the key is not the certificate's");
    return 0;
}

static int check_alpn(const struct fl_tls_options *options, struct fl_err *err)
{
    if (options->alpn_count > FL_TLS_ALPN_MAX)
        return fl_err_set(err, -EINVAL, "TLS: more than %d ALPN protocols", FL_TLS_ALPN_MAX);
    for (size_t i = 0; i < options->alpn_count; i++) {
        if (options->alpn[i].len == 0 || options->alpn[i].len > ALPN_TOKEN_MAX)
            return fl_err_set(err, -EINVAL, "TLS: an ALPN protocol is 1 to %d bytes long", ALPN_TOKEN_MAX);
    }
    return 0;
}

static int check_names(const struct fl_tls_options *options, struct fl_err *err)
{
    if (options->name_count > FL_TLS_NAMES_MAX)
        return fl_err_set(err, -EINVAL, "TLS: more than %d names", FL_TLS_NAMES_MAX);
    for (size_t i = 0; i < options->name_count; i++) {
        if (options->names[i].value.len == 0)
            return fl_err_set(err, -EINVAL, "TLS: an empty name to match");
    }
    if (options->server_name.len > SERVER_NAME_MAX)
        return fl_err_set(err, -EINVAL, "TLS: server name longer than %d bytes", SERVER_NAME_MAX);
    return 0;
}

static int copy_names(struct fl_tls_context *context, const struct fl_tls_options *options)
{
    size_t size = 0;
    for (size_t i = 0; i < options->name_count; i++)
        size += options->names[i].value.len;
    if (options->name_count == 0)
        return 0;
    context->names = calloc(options->name_count, sizeof(context->names[0]));
    context->name_text = malloc(size);
    if (context->names == NULL || context->name_text == NULL)
        return -ENOMEM;
    char *at = context->name_text;
    for (size_t i = 0; i < options->name_count; i++) {
        struct fl_span value = options->names[i].value;
        context->names[i] = options->names[i];
        context->names[i].value = fl_span_make(memcpy(at, value.data, value.len), value.len);
        at += value.len;
    }
    context->name_count = options->name_count;
    return 0;
}

static int copy_alpn(struct fl_tls_core *core, const struct fl_tls_options *options)
{
    fl_buf_init(&core->alpn, FL_TLS_ALPN_MAX * (ALPN_TOKEN_MAX + 1));
    int result = 0;
    for (size_t i = 0; i < options->alpn_count && result == 0; i++) {
        result = fl_buf_append_byte(&core->alpn, (char)options->alpn[i].len);
        if (result == 0)
            result = fl_buf_append(&core->alpn, options->alpn[i]);
    }
    return result;
}

static int copy_server_name(struct fl_tls_context *context, const struct fl_tls_options *options)
{
    if (context->core->server || options->server_name.len == 0)
        return 0;
    if (memchr(options->server_name.data, '\0', options->server_name.len) != NULL)
        return -EINVAL;
    context->server_name = fl_span_dup(options->server_name);
    return context->server_name != NULL ? 0 : -ENOMEM;
}

bool fl_tls_next_token(struct fl_span *rest, struct fl_span *ret_token)
{
    if (rest->len == 0)
        return false;
    *ret_token = fl_span_make(rest->data + 1, (unsigned char)rest->data[0]);
    *rest = fl_span_from(*rest, ret_token->len + 1);
    return true;
}

struct fl_span fl_tls_context_alpn(const struct fl_tls_context *context, size_t at)
{
    struct fl_span rest = fl_buf_span(&context->core->alpn), token = {NULL, 0};
    while (fl_tls_next_token(&rest, &token)) {
        if (at-- == 0)
            return token;
    }
    return (struct fl_span){NULL, 0};
}

/* A client that offers no ALPN at all never reaches select_alpn. It speaks HTTP/1.1, where that is among what we speak.
 */
static int require_alpn(SSL *ssl, int *ret_alert, void *unused)
{
    (void)unused;
    const unsigned char *offers;
    size_t length;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offers, &length) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    if (fl_tls_lists_http1(fl_buf_span(&fl_tls_of(ssl)->context->core->alpn)))
        return SSL_CLIENT_HELLO_SUCCESS;
    fl_tls_refuse(fl_tls_of(ssl), FL_TLS_REASON_ALPN, -EPROTO, "the client offers no ALPN protocol");
    *ret_alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

static int select_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_length,
                       const unsigned char *offers, unsigned length, void *unused)
{
    (void)unused;
    const struct fl_buf *ours = &fl_tls_of(ssl)->context->core->alpn;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, ret_length, (const unsigned char *)ours->data, (unsigned)ours->len, offers,
                              length) == OPENSSL_NPN_NEGOTIATED) {
        *ret_chosen = chosen;
        return SSL_TLSEXT_ERR_OK;
    }
    fl_tls_refuse(fl_tls_of(ssl), FL_TLS_REASON_ALPN, -EPROTO, "the client offers none of our ALPN protocols");
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_rules(SSL_CTX *ssl, uint16_t minimum)
{
    int groups[] = {NID_X25519, NID_X9_62_prime256v1};
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_security_level(ssl, SECURITY_LEVEL);
    SSL_CTX_set_max_cert_list(ssl, FL_TLS_PEER_CHAIN_BYTES);
    SSL_CTX_set_info_callback(ssl, fl_tls_observe);
    return SSL_CTX_set_num_tickets(ssl, 0) == 1 && SSL_CTX_set_min_proto_version(ssl, minimum) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 && SSL_CTX_set_ciphersuites(ssl, CIPHERS_13) == 1 &&
           SSL_CTX_set_cipher_list(ssl, CIPHERS_12) == 1 && SSL_CTX_set1_groups(ssl, groups, FL_COUNT(groups)) == 1;
}

/* A session that proves nothing cannot be weakened by an old server's key, curve or cipher. */
static bool set_anybody(SSL_CTX *ssl)
{
    int groups[] = {NID_X25519, NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1};
    SSL_CTX_set_security_level(ssl, 0);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    return SSL_CTX_set_cipher_list(ssl, CIPHERS_12_ANYBODY) == 1 &&
           SSL_CTX_set1_groups(ssl, groups, FL_COUNT(groups)) == 1;
}

static bool set_identity(SSL_CTX *ssl, const struct fl_cert *cert, const struct fl_key *key)
{
    if (cert == NULL)
        return true;
    if (SSL_CTX_use_certificate(ssl, fl_cert_x509(cert, 0)) != 1 || SSL_CTX_use_PrivateKey(ssl, fl_key_evp(key)) != 1)
        return false;
    for (size_t i = 1; fl_cert_x509(cert, i) != NULL; i++) {
        if (SSL_CTX_add1_chain_cert(ssl, fl_cert_x509(cert, i)) != 1)
            return false;
    }
    return true;
}

static bool set_trust(SSL_CTX *ssl, const struct fl_tls_options *options)
{
    if (options->bundle == NULL)
        return true; /* OpenSSL's default: a server that asks for nothing */
    bool demand = options->server && options->require_peer_cert;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (demand ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    SSL_CTX_set_verify_depth(ssl, FL_CERT_CHAIN_MAX - 1);
    SSL_CTX_set_cert_verify_callback(ssl, fl_tls_verify, NULL);
    return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl), X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
           SSL_CTX_set1_verify_cert_store(ssl, fl_bundle_store(options->bundle)) == 1;
}

static bool set_alpn(const struct fl_tls_core *core)
{
    if (core->alpn.len == 0)
        return true;
    if (core->server) {
        SSL_CTX_set_client_hello_cb(core->ssl, require_alpn, NULL);
        SSL_CTX_set_alpn_select_cb(core->ssl, select_alpn, NULL);
        return true;
    }
    return SSL_CTX_set_alpn_protos(core->ssl, (const unsigned char *)core->alpn.data, (unsigned)core->alpn.len) == 0;
}

static int set_up(struct fl_tls_core *core, const struct fl_tls_options *options, struct fl_err *err)
{
    uint16_t minimum = options->minimum_version != 0 ? options->minimum_version : TLS1_3_VERSION;
    if (minimum != TLS1_3_VERSION && minimum != TLS1_2_VERSION)
        return fl_err_set(err, -EINVAL, "TLS: the minimum version is 1.2 or 1.3");
    core->transport = fl_tls_transport_new();
    core->ssl = SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
    if (core->transport == NULL || core->ssl == NULL)
        return fl_openssl_err(err, -ENOMEM, "TLS: context");
    if (!set_rules(core->ssl, minimum) || (options->anybody && !set_anybody(core->ssl)) ||
        !set_trust(core->ssl, options) || !set_alpn(core))
        return fl_openssl_err(err, -EIO, "TLS: context");
    if (!set_identity(core->ssl, options->cert, options->key))
        return fl_openssl_err(err, -EINVAL, "TLS: certificate or key");
    return 0;
}

static int core_new(const struct fl_tls_options *options, struct fl_tls_core **ret_core, struct fl_err *err)
{
    struct fl_tls_core *core = calloc(1, sizeof(*core));
    if (core == NULL)
        return fl_err_set(err, -ENOMEM, "TLS: out of memory");
    atomic_init(&core->references, 1);
    core->server = options->server;
    core->has_trust = options->bundle != NULL;
    core->cert = fl_cert_ref(options->cert);
    struct fl_span identity;
    if (core->cert != NULL && fl_cert_spiffe(core->cert, &identity, NULL) == 0)
        core->identity = identity;
    int result = copy_alpn(core, options);
    result = result < 0 ? fl_err_errno(err, result, "TLS: options") : set_up(core, options, err);
    if (result == 0)
        *ret_core = core;
    else
        core_unref(core);
    return result;
}

/* Takes the reference to the core, whatever comes. */
static int context_of(struct fl_tls_core *core, const struct fl_tls_options *options,
                      struct fl_tls_context **ret_context, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *context = calloc(1, sizeof(*context));
    if (context == NULL) {
        core_unref(core);
        return fl_err_set(err, -ENOMEM, "TLS: out of memory");
    }
    atomic_init(&context->references, 1);
    context->core = core;
    context->require_spiffe = options->require_spiffe;
    int result = copy_names(context, options);
    if (result == 0)
        result = copy_server_name(context, options);
    if (result < 0)
        return fl_err_errno(err, result, "TLS: options");
    *ret_context = fl_take(context);
    return 0;
}

int fl_tls_context_new(const struct fl_tls_options *options, struct fl_tls_context **ret_context, struct fl_err *err)
{
    fl_openssl_init();
    int result = check_sides(options, err);
    if (result == 0)
        result = check_alpn(options, err);
    if (result == 0)
        result = check_names(options, err);
    struct fl_tls_core *core = NULL;
    if (result == 0)
        result = core_new(options, &core, err);
    return result == 0 ? context_of(core, options, ret_context, err) : result;
}

int fl_tls_context_derive(struct fl_tls_context *like, const struct fl_tls_options *options,
                          struct fl_tls_context **ret_context, struct fl_err *err)
{
    int result = check_names(options, err);
    if (result == 0 && !like->core->has_trust && (options->require_spiffe || options->name_count > 0))
        result = fl_err_set(err, -EINVAL, "TLS: rules for the peer's certificate need a trust bundle");
    if (result < 0)
        return result;
    atomic_fetch_add_explicit(&like->core->references, 1, memory_order_relaxed);
    return context_of(like->core, options, ret_context, err);
}
