#include "tests/unit/control/ca_world.h"

#include "common/tls/context.h"
#include "control/ca/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void on_serving(void *owner, struct fl_cert *cert, struct fl_key *key, struct fl_bundle *bundle)
{
    struct world *world = owner;
    const struct fl_span alpn[] = {FL_SPAN("h2")};
    const struct fl_tls_options options = {
        .server = true, .cert = cert, .key = key, .bundle = bundle, .alpn = alpn, .alpn_count = 1};
    struct fl_tls_context *context;
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    fl_grpc_server_set_tls(world->server, context);
    fl_tls_context_unref(context);
    fl_key_unref(world->key);
    world->key = fl_key_ref(key);
    world->served++;
}

void world_start(struct world *world, const struct world_options *options)
{
    static const char *const names[] = {WORLD_NAME, "127.0.0.1", NULL};
    char bundle_file[PATH_MAX];
    struct fl_err err = {0};
    unsigned before = world->served;
    snprintf(bundle_file, sizeof(bundle_file), "%s", folder_path(&world->ca, "root-cert.pem"));
    const struct control_authority_options for_authority = {.loop = world->loop,
                                                            .metrics = world->metrics,
                                                            .folder = world->ca.path,
                                                            .server_names = names,
                                                            .bundle_file = bundle_file,
                                                            .validity_s = options->validity_s,
                                                            .overlap_s = options->overlap_s,
                                                            .on_serving = on_serving,
                                                            .owner = world};
    assert_int_equal(control_authority_new(&for_authority, &world->authority, &err), 0);
    assert_int_equal(control_tokens_new(folder_path(&world->tokens, CONTROL_TOKEN_PUBLIC_KEY), WORLD_AUDIENCE,
                                        &world->authenticator),
                     0);
    const struct control_certificates_options for_service = {.loop = world->loop,
                                                             .metrics = world->metrics,
                                                             .authority = world->authority,
                                                             .authenticator = world->authenticator,
                                                             .peer_rate = options->peer_rate,
                                                             .peer_burst = options->peer_burst,
                                                             .identity_rate = options->identity_rate,
                                                             .identity_burst = options->identity_burst};
    assert_int_equal(control_certificates_new(&for_service, &world->certificates), 0);
    control_certificates_method(world->certificates, &world->methods[0]);
    const struct fl_grpc_server_options for_server = {.methods = world->methods, .method_count = 1};
    assert_int_equal(fl_grpc_server_new(world->loop, &for_server, &world->server, &err), 0);
    if (fl_grpc_server_listen(world->server, &world->address, true, &world->address, &err) != 0)
        fail_msg("%s", err.text);
    fl_grpc_address_print(&world->address, world->address_text);
    WORLD_UNTIL(world, world->served > before);
}

void world_stop(struct world *world)
{
    world->server = fl_grpc_server_free(world->server);
    world->certificates = control_certificates_free(world->certificates);
    world->authenticator = control_authenticator_free(world->authenticator);
    world->authority = control_authority_free(world->authority);
}

void world_init(struct world *world, const struct world_options *options)
{
    memset(world, 0, sizeof(*world));
    assert_int_equal(fl_loop_new(&world->loop), 0);
    assert_int_equal(fl_metrics_new(&world->metrics), 0);
    folder_init(&world->ca);
    folder_init(&world->tokens);
    assert_int_equal(control_token_key_open(world->tokens.path, &world->token_key, NULL), 0);
    assert_int_equal(fl_grpc_address_parse(FL_SPAN("127.0.0.1:0"), &world->address), 0);
    world_start(world, options);
}

void world_done(struct world *world)
{
    world_stop(world);
    world->loop = fl_loop_free(world->loop);
    fl_metrics_free(world->metrics);
    fl_key_unref(world->token_key);
    fl_key_unref(world->key);
    folder_done(&world->ca);
    folder_done(&world->tokens);
}

struct fl_span world_token(struct world *world, const char *service_account, const char *audience, int ttl_s,
                           struct fl_buf *buf)
{
    time_t now = time(NULL);
    struct control_caller caller = {.name_space = "default", .expires = now + ttl_s};
    struct fl_err err = {0};
    snprintf(caller.service_account, sizeof(caller.service_account), "%s", service_account);
    fl_buf_init(buf, 2 * CONTROL_TOKEN_MAX);
    if (control_token_make(world->token_key, &caller, audience, now - 3600, buf, &err) != 0)
        fail_msg("%s", err.text);
    return fl_buf_span(buf);
}

double world_metric(const struct world *world, const char *name, const char *label)
{
    const struct fl_span value = fl_span_str(label);
    return fl_metrics_value(world->metrics, name, label != NULL ? &value : NULL);
}
