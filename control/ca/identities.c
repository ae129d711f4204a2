#include "control/ca/identities.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/grpc/server.h"
#include "common/mesh/label.h"
#include "common/tls/context.h"
#include "control/ca/service.h"
#include "control/ca/storage.h"
#include "control/ca/token.h"

#include <errno.h>
#include <limits.h>

struct control_identities {
    struct control_storage *storage; /* NULL: a folder of somebody else */
    struct control_authority *authority;
    struct control_authenticator *authenticator;
    struct control_certificates *certificates;
    struct fl_grpc_server *server; /* NULL: not attached */
    void (*on_bundle)(void *owner, struct fl_span pem);
    void (*on_serving)(void *owner);
    void *owner;
};

/* Clients may show a certificate of ours (ADS), or none and a token. */
static int make_context(struct fl_cert *cert, struct fl_key *key, struct fl_bundle *bundle,
                        struct fl_tls_context **ret_context, struct fl_err *err)
{
    const struct fl_span alpn = FL_SPAN("h2");
    const struct fl_tls_options options = {.server = true,
                                           .cert = cert,
                                           .key = key,
                                           .bundle = bundle,
                                           .require_spiffe = true,
                                           .alpn = &alpn,
                                           .alpn_count = 1};
    return fl_tls_context_new(&options, ret_context, err);
}

static void on_serving(void *owner, struct fl_cert *cert, struct fl_key *key, struct fl_bundle *bundle)
{
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *context = NULL;
    struct control_identities *identities = owner;
    struct fl_err err = {0};
    if (identities->on_bundle != NULL)
        identities->on_bundle(identities->owner, control_authority_bundle(identities->authority));
    if (identities->server == NULL)
        return;
    if (make_context(cert, key, bundle, &context, &err) < 0) {
        fl_log(FL_LOG_ERROR, "server certificate refused", FL_LOG_STR("reason", err.text));
        return;
    }
    fl_grpc_server_set_tls(identities->server, context);
    identities->on_serving(identities->owner);
}

static void on_stored(void *owner)
{
    struct control_identities *identities = owner;
    fl_log_message(FL_LOG_INFO, "the certificate authority's Secrets have changed");
    control_authority_reload(identities->authority);
}

static void on_storage_trouble(void *owner, const char *reason)
{
    (void)owner;
    if (reason != NULL)
        fl_log(FL_LOG_ERROR, "the certificate authority's Secrets cannot be kept", FL_LOG_STR("reason", reason));
    else
        fl_log_message(FL_LOG_INFO, "the certificate authority's Secrets are well again");
}

static int make_storage(struct control_identities *identities, const struct control_identities_options *options,
                        struct fl_err *err)
{
    const struct control_identities_secrets *secrets = options->secrets;
    uint32_t validity_s = options->validity_s > 0 ? options->validity_s : CONTROL_VALIDITY_S;
    if (secrets == NULL)
        return 0;
    const struct control_storage_options storage = {.loop = options->loop,
                                                    .folder = secrets->folder,
                                                    .name_space = secrets->name_space,
                                                    .secret = secrets->secret,
                                                    .cacerts = secrets->cacerts,
                                                    .kubeconfig = secrets->kubeconfig,
                                                    .context = secrets->context,
                                                    .overlap_s =
                                                        options->overlap_s > 0 ? options->overlap_s : validity_s,
                                                    .validity_s = validity_s,
                                                    .root_life_s = secrets->root_life_s,
                                                    .look_ms = secrets->look_ms,
                                                    .on_changed = on_stored,
                                                    .on_trouble = on_storage_trouble,
                                                    .owner = identities};
    return control_storage_new(&storage, &identities->storage, err);
}

static const char *folder_of(const struct control_identities *identities,
                             const struct control_identities_options *options)
{
    return identities->storage != NULL ? control_storage_folder(identities->storage)
           : options->ca_dir != NULL   ? options->ca_dir
                                       : options->ca_cert_dir;
}

static int make_authority(struct control_identities *identities, const struct control_identities_options *options,
                          struct fl_err *err)
{
    static const char *const names[] = {FL_CONTROL_NAME, "localhost", "127.0.0.1", "::1", NULL};
    bool named = options->server_names != NULL && options->server_names[0] != NULL;
    char bundle[PATH_MAX];
    if ((options->ca_dir != NULL) + (options->ca_cert_dir != NULL) + (options->secrets != NULL) != 1)
        return fl_err_set(err, -EINVAL, "one of --ca-dir, --ca-cert-dir and --ca-secret is wanted");
    if (options->ca_dir != NULL && fl_file_path(options->ca_dir, FL_ROOT_KEY, bundle, err) < 0)
        return -EINVAL;
    int result = make_storage(identities, options, err);
    if (result < 0)
        return result;
    const struct control_authority_options authority = {.loop = options->loop,
                                                        .metrics = options->metrics,
                                                        .folder = folder_of(identities, options),
                                                        .given = options->ca_cert_dir != NULL,
                                                        .stored = identities->storage != NULL,
                                                        .trust_domain = options->trust_domain,
                                                        .server_names = named ? options->server_names : names,
                                                        .bundle_file = options->bundle_file != NULL
                                                                           ? options->bundle_file
                                                                       : options->ca_dir != NULL ? bundle
                                                                                                 : NULL,
                                                        .validity_s = options->validity_s,
                                                        .overlap_s = options->overlap_s,
                                                        .on_serving = on_serving,
                                                        .owner = identities};
    return control_authority_new(&authority, &identities->authority, err);
}

/* As service.h has it: 0 is no bound. */
static uint32_t rate_of(uint32_t asked, uint32_t usual)
{
    return asked == UINT32_MAX ? 0 : asked > 0 ? asked : usual;
}

static int make_authenticator(struct control_identities *identities, const struct control_identities_options *options,
                              struct fl_err *err)
{
    char path[PATH_MAX];
    if (identities->authenticator != NULL)
        return 0;
    if (options->token_dir == NULL)
        return fl_err_set(err, -EINVAL, "--token-dir is missing: who is to be believed?");
    int result = fl_file_path(options->token_dir, CONTROL_TOKEN_PUBLIC_KEY, path, err);
    if (result < 0)
        return result;
    result = control_tokens_new(path, options->token_audience != NULL ? options->token_audience : FL_TOKEN_AUDIENCE,
                                &identities->authenticator);
    return result < 0 ? fl_err_errno(err, result, "tokens") : 0;
}

static int make_service(struct control_identities *identities, const struct control_identities_options *options,
                        struct fl_err *err)
{
    int result = make_authenticator(identities, options, err);
    if (result < 0)
        return result;
    uint32_t peer_rate = rate_of(options->peer_rate, CONTROL_PEER_RATE);
    uint32_t identity_rate = rate_of(options->identity_rate, CONTROL_IDENTITY_RATE);
    const struct control_certificates_options certificates = {.loop = options->loop,
                                                              .metrics = options->metrics,
                                                              .authority = identities->authority,
                                                              .authenticator = identities->authenticator,
                                                              .peer_rate = peer_rate,
                                                              .peer_burst = peer_rate * CONTROL_RATE_BURST,
                                                              .identity_rate = identity_rate,
                                                              .identity_burst = identity_rate * CONTROL_RATE_BURST};
    result = control_certificates_new(&certificates, &identities->certificates);
    return result < 0 ? fl_err_errno(err, result, "certificates") : 0;
}

int control_identities_new(const struct control_identities_options *options, struct control_identities **ret_identities,
                           struct fl_err *err)
{
    struct control_identities *identities = calloc(1, sizeof(*identities));
    if (identities == NULL) {
        control_authenticator_free(options->authenticator);
        return fl_err_set(err, -ENOMEM, "certificates: out of memory");
    }
    identities->authenticator = options->authenticator;
    identities->on_bundle = options->on_bundle;
    identities->on_serving = options->on_serving;
    identities->owner = options->owner;
    int result = make_authority(identities, options, err);
    if (result == 0)
        result = make_service(identities, options, err);
    if (result < 0)
        control_identities_free(identities);
    else
        *ret_identities = identities;
    return result;
}

struct control_identities *control_identities_free(struct control_identities *identities)
{
    if (identities == NULL)
        return NULL;
    control_certificates_free(identities->certificates);
    control_authenticator_free(identities->authenticator);
    control_authority_free(identities->authority);
    control_storage_free(identities->storage);
    free(identities);
    return NULL;
}

void control_identities_method(struct control_identities *identities, struct fl_grpc_method *ret_method)
{
    control_certificates_method(identities->certificates, ret_method);
}

struct control_authenticator *control_identities_authenticator(struct control_identities *identities)
{
    return identities->authenticator;
}

void control_identities_attach(struct control_identities *identities, struct fl_grpc_server *server)
{
    identities->server = server;
}

void control_identities_reload(struct control_identities *identities)
{
    if (identities->storage != NULL)
        control_storage_look(identities->storage);
    else
        control_authority_reload(identities->authority);
}
