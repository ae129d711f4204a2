#include "proxy/config/setting.h"

#include "common/mesh/preface.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#include <errno.h>

#define SETTING_MAX (256u << 10) /* bytes of a setting */

static void release(void *object)
{
    struct proxy_tls_setting *setting = object;
    fl_tls_context_unref(setting->context);
    fl_cert_unref(setting->options.cert);
    fl_key_unref(setting->options.key);
    fl_bundle_unref(setting->options.bundle);
}

struct proxy_tls_setting *proxy_tls_setting_new(void)
{
    struct proxy_tls_setting *setting = proxy_unit_new(sizeof(*setting), SETTING_MAX, NULL);
    if (setting != NULL && proxy_unit_hold(&setting->unit, setting, release) < 0) {
        proxy_unit_unref(&setting->unit);
        return NULL;
    }
    return setting;
}

struct proxy_tls_setting *proxy_tls_setting_ref(struct proxy_tls_setting *setting)
{
    if (setting != NULL)
        proxy_unit_ref(&setting->unit);
    return setting;
}

struct proxy_tls_setting *proxy_tls_setting_unref(struct proxy_tls_setting *setting)
{
    if (setting != NULL)
        proxy_unit_unref(&setting->unit);
    return NULL;
}

/* -- contexts -- */

static bool is_spiffe(const struct fl_tls_name_match *name)
{
    return name->kind == FL_TLS_NAME_URI && fl_span_starts_with(name->value, FL_SPAN("spiffe://"));
}

/* The mesh's names are SPIFFE IDs; then nothing but an X.509-SVID will do. */
static bool wants_spiffe(const struct fl_tls_options *options)
{
    if (options->bundle == NULL)
        return false;
    for (size_t i = 0; i < options->name_count; i++)
        if (is_spiffe(&options->names[i]))
            return true;
    for (size_t i = 0; i < options->alpn_count; i++)
        if (fl_span_eq_str(options->alpn[i], FL_ALPN_TCP) || fl_span_eq_str(options->alpn[i], FL_ALPN_HTTP))
            return true;
    return false;
}

/* What SSL_CTX depends on. */
static struct fl_span core_key(const struct fl_tls_options *options, struct fl_arena *arena)
{
    const struct {
        const void *cert, *key, *bundle;
        uint64_t flags;
    } head = {options->cert, options->key, options->bundle,
              (uint64_t)options->minimum_version << 2 | (uint64_t)options->require_peer_cert << 1 |
                  (uint64_t)options->server};
    size_t size = sizeof(head);
    for (size_t i = 0; i < options->alpn_count; i++)
        size += options->alpn[i].len + 1;
    char *key = fl_arena_alloc(arena, size);
    if (key == NULL)
        return (struct fl_span){NULL, 0};
    memcpy(key, &head, sizeof(head));
    char *at = key + sizeof(head);
    for (size_t i = 0; i < options->alpn_count; i++) {
        *at++ = (char)options->alpn[i].len;
        memcpy(at, options->alpn[i].data, options->alpn[i].len);
        at += options->alpn[i].len;
    }
    return fl_span_make(key, size);
}

/* The setting's options with the secrets in their places; `names` has room for FL_TLS_NAMES_MAX. */
static int complete(const struct proxy_tls_setting *setting, const struct proxy_secret *cert,
                    const struct proxy_secret *trust, struct fl_tls_name_match *names, struct fl_tls_options *options,
                    struct fl_err *err)
{
    *options = setting->options;
    if (setting->cert_secret.len > 0) {
        if (cert == NULL || cert->cert == NULL)
            return fl_err_set(err, -EINVAL, "the secret %.*s holds no certificate", FL_SPAN_ARG(setting->cert_secret));
        options->cert = cert->cert;
        options->key = cert->key;
    }
    if (setting->trust_secret.len > 0) {
        if (trust == NULL || trust->bundle == NULL)
            return fl_err_set(err, -EINVAL, "the secret %.*s holds no trusted_ca", FL_SPAN_ARG(setting->trust_secret));
        options->bundle = trust->bundle;
        size_t own = setting->options.name_count;
        if (own + trust->name_count > FL_TLS_NAMES_MAX)
            return fl_err_set(err, -EINVAL, "more than %d names", FL_TLS_NAMES_MAX);
        for (size_t i = 0; i < own; i++)
            names[i] = setting->options.names[i];
        for (size_t i = 0; i < trust->name_count; i++)
            names[own + i] = trust->names[i];
        options->names = names;
        options->name_count = own + trust->name_count;
    }
    options->require_spiffe = wants_spiffe(options);
    return 0;
}

int proxy_tls_setting_build(const struct proxy_tls_setting *setting, const struct proxy_secret *cert,
                            const struct proxy_secret *trust, struct fl_map *cores, struct fl_arena *arena,
                            struct fl_tls_context **ret_context, struct fl_err *err)
{
    struct fl_tls_name_match names[FL_TLS_NAMES_MAX];
    struct fl_tls_options options;
    int result = complete(setting, cert, trust, names, &options, err);
    if (result < 0)
        return result;
    struct fl_span key = core_key(&options, arena);
    if (key.data == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    struct fl_tls_context *like = fl_map_get(cores, key);
    if (like != NULL)
        return fl_tls_context_derive(like, &options, ret_context, err);
    struct fl_tls_context *context;
    result = fl_tls_context_new(&options, &context, err);
    if (result < 0)
        return result;
    if (fl_map_put(cores, key, context) < 0) {
        fl_tls_context_unref(context);
        return fl_err_set(err, -ENOMEM, "out of memory");
    }
    *ret_context = context;
    return 0;
}

int proxy_tls_setting_share(const struct proxy_tls_setting *setting, const struct proxy_secret *cert,
                            const struct proxy_secret *trust, struct fl_tls_context *context, struct fl_map *cores,
                            struct fl_arena *arena)
{
    struct fl_tls_name_match names[FL_TLS_NAMES_MAX];
    struct fl_tls_options options;
    if (complete(setting, cert, trust, names, &options, NULL) < 0)
        return 0;
    struct fl_span key = core_key(&options, arena);
    int result = key.data == NULL ? -ENOMEM : fl_map_put(cores, key, context);
    return result == -EEXIST ? 0 : result;
}
