/* CreateCertificate end to end: a client over TLS, the service, and a real issuer. */
#include "common/base/log.h"
#include "common/grpc/client.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/pki/csr.h"
#include "common/tls/context.h"
#include "common/xds/certificate.h"
#include "control/ca/quota.h"
#include "control/ca/root.h"
#include "tests/support/emulation.h"
#include "tests/support/fail.h"
#include "tests/unit/control/ca_world.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define REFUSED "fairlead_ca_certificates_refused_total"
#define ISSUED  "fairlead_ca_certificates_issued_total"
#define WEB     "spiffe://cluster.local/ns/default/sa/web"

static struct world world;

/* What the log says goes to a file, so that lines can be counted and read. */
static char log_path[] = "/tmp/fairlead-ca-log-XXXXXX";
static int log_fd;

struct client {
    struct fl_grpc_client *grpc;
    bool connected;
    char lost[512];
    unsigned done;
    enum fl_grpc_status status;
    char text[1024];
    struct fl_buf reply;
};

static void on_connected(void *owner)
{
    ((struct client *)owner)->connected = true;
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    snprintf(((struct client *)owner)->lost, sizeof(((struct client *)owner)->lost), "%s", reason->text);
}

static void on_reply(void *owner, enum fl_grpc_status status, struct fl_span text, struct fl_span message)
{
    struct client *client = owner;
    client->done++;
    client->status = status;
    snprintf(client->text, sizeof(client->text), "%.*s", FL_SPAN_ARG(text));
    fl_buf_clear(&client->reply);
    assert_int_equal(fl_buf_append(&client->reply, message), 0);
}

static struct fl_tls_context *client_context(void)
{
    const struct fl_span alpn[] = {FL_SPAN("h2")};
    const struct fl_tls_name_match name = {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, FL_SPAN(WORLD_NAME)};
    struct fl_bundle *bundle;
    struct fl_tls_context *context;
    assert_int_equal(fl_bundle_parse(control_authority_bundle(world.authority), &bundle, NULL), 0);
    const struct fl_tls_options options = {.bundle = bundle,
                                           .names = &name,
                                           .name_count = 1,
                                           .alpn = alpn,
                                           .alpn_count = 1,
                                           .server_name = FL_SPAN(WORLD_NAME)};
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    fl_bundle_unref(bundle);
    return context;
}

static void client_init(struct client *client)
{
    static const struct fl_grpc_client_ops ops = {on_connected, on_lost};
    struct fl_tls_context *context = client_context();
    const struct fl_grpc_client_options options = {
        .addresses = &world.address, .address_count = 1, .tls = context, .authority = FL_SPAN(WORLD_NAME)};
    memset(client, 0, sizeof(*client));
    fl_buf_init(&client->reply, 1u << 20);
    assert_int_equal(fl_grpc_client_new(world.loop, &options, &ops, client, &client->grpc, NULL), 0);
    assert_int_equal(fl_grpc_client_connect(client->grpc), 0);
    WORLD_UNTIL(&world, client->connected || client->lost[0] != '\0');
    assert_string_equal(client->lost, "");
    fl_tls_context_unref(context);
}

static void client_done(struct client *client)
{
    fl_grpc_client_free(client->grpc);
    fl_buf_done(&client->reply);
}

static void start_call(struct client *client, struct fl_span authorization, struct fl_span message)
{
    const struct fl_grpc_metadata metadata = {FL_SPAN("authorization"), authorization};
    const struct fl_grpc_call_options options = {
        .path = FL_SPAN(FL_CERTIFICATE_PATH), .metadata = &metadata, .metadata_count = authorization.len > 0};
    struct fl_grpc_call *call;
    client->done = 0;
    assert_int_equal(fl_grpc_call_unary(client->grpc, &options, message, on_reply, client, &call), 0);
}

static enum fl_grpc_status call_raw(struct client *client, struct fl_span authorization, struct fl_span message)
{
    start_call(client, authorization, message);
    WORLD_UNTIL(&world, client->done == 1);
    return client->status;
}

static struct fl_span request_of(struct fl_span csr, int64_t validity_s, struct fl_arena *arena)
{
    struct fl_span wire;
    const struct fl_certificate_request request = {.csr = csr, .validity_s = validity_s};
    fl_arena_init(arena, 1u << 20);
    assert_int_equal(fl_certificate_request_print(&request, arena, &wire), 0);
    return wire;
}

static enum fl_grpc_status call(struct client *client, struct fl_span token, struct fl_span csr, int64_t validity_s)
{
    struct fl_arena arena;
    struct fl_buf bearer;
    fl_buf_init(&bearer, 1u << 16);
    assert_int_equal(fl_buf_printf(&bearer, "Bearer %.*s", FL_SPAN_ARG(token)), 0);
    enum fl_grpc_status status = call_raw(client, fl_buf_span(&bearer), request_of(csr, validity_s, &arena));
    fl_arena_done(&arena);
    fl_buf_done(&bearer);
    return status;
}

static struct fl_span csr_of(const struct fl_key *key, struct fl_buf *buf)
{
    fl_buf_init(buf, FL_CSR_PEM_MAX);
    assert_int_equal(fl_csr_make(key, FL_SPAN("spiffe://evil.example/ns/kube-system/sa/admin"), buf, NULL), 0);
    return fl_buf_span(buf);
}

static size_t lines_with(const char *one, const char *other)
{
    char line[8192];
    size_t count = 0;
    FILE *file = fopen(log_path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, one) != NULL && strstr(line, other) != NULL;
    fclose(file);
    return count;
}

/* The answer's elements, and the leaf with what stands behind it. */
static void read_reply(const struct client *client, struct fl_arena *arena, struct fl_certificate_response *response,
                       struct fl_cert **ret_cert)
{
    struct fl_buf chain;
    fl_arena_init(arena, 1u << 20);
    assert_int_equal(fl_certificate_response_read(fl_buf_span(&client->reply), arena, response, NULL), 0);
    fl_buf_init(&chain, FL_CERT_PEM_MAX);
    for (size_t i = 0; i + 1 < response->count; i++)
        assert_int_equal(fl_buf_append(&chain, response->chain[i]), 0);
    assert_int_equal(fl_cert_parse(fl_buf_span(&chain), ret_cert, NULL), 0);
    fl_buf_done(&chain);
}

static const struct world_options usual = {.validity_s = 3600};

static int set_up(void **state)
{
    const struct world_options *options = *state != NULL ? *state : &usual;
    world_init(&world, options);
    assert_int_equal(ftruncate(log_fd, 0), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_done(&world);
    return 0;
}

static void the_certificate_is_the_token_s(void **state)
{
    (void)state;
    struct client client;
    struct fl_key *key;
    struct fl_buf csr, token;
    struct fl_arena arena;
    struct fl_certificate_response response;
    struct fl_cert *cert;
    struct fl_bundle *roots;
    struct fl_span uri;
    time_t from, to;
    client_init(&client);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    world_token(&world, "web", WORLD_AUDIENCE, 60, &token);
    static const struct {
        int64_t asked, expected;
    } rows[] = {{0, 3600}, {600, 600}, {86400, 3600}, {-5, 3600}, {INT64_MAX, 3600}};
    csr_of(key, &csr);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        time_t now = time(NULL);
        assert_int_equal(call(&client, fl_buf_span(&token), fl_buf_span(&csr), rows[i].asked), FL_GRPC_OK);
        read_reply(&client, &arena, &response, &cert);
        assert_int_equal(response.count, 2);
        assert_int_equal(fl_cert_spiffe(cert, &uri, NULL), 0);
        assert_true(fl_span_eq_str(uri, WEB)); /* whatever the request calls itself */
        assert_true(fl_cert_matches(cert, key));
        fl_cert_validity(cert, &from, &to);
        assert_in_range(to, now + rows[i].expected, now + rows[i].expected + 5);
        assert_int_equal(fl_bundle_parse(response.chain[1], &roots, NULL), 0);
        assert_int_equal(fl_cert_verify(cert, roots, time(NULL), NULL), 0);
        fl_bundle_unref(roots);
        fl_cert_unref(cert);
        fl_arena_done(&arena);
    }
    assert_true(world_metric(&world, ISSUED, NULL) == 5);
    assert_int_equal(lines_with("certificate issued", "\"identity\":\"" WEB "\""), 5);
    fl_buf_done(&csr);
    fl_buf_done(&token);
    fl_key_unref(key);
    client_done(&client);
}

static void who_is_refused(void **state)
{
    (void)state;
    struct client client;
    struct fl_key *key;
    struct fl_buf csr, good, expired, other;
    struct fl_arena arena;
    client_init(&client);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    world_token(&world, "web", WORLD_AUDIENCE, 60, &good);
    world_token(&world, "web", WORLD_AUDIENCE, -60, &expired);
    world_token(&world, "web", "istio-ca", 60, &other);
    const struct {
        struct fl_span token;
        const char *reason, *known;
    } rows[] = {
        {fl_buf_span(&expired), "token_expired", "default/web"},
        {fl_buf_span(&other), "token_audience", "default/web"},
        {FL_SPAN("a.b.c"), "token_malformed", "\"identity\":\"\""},
        {FL_SPAN("garbage"), "token_malformed", "\"identity\":\"\""},
        {fl_span_make(good.data, good.len - 1), "token_malformed", "\"identity\":\"\""},
    };
    csr_of(key, &csr);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        size_t before = lines_with("certificate refused", rows[i].reason);
        double counted = world_metric(&world, REFUSED, rows[i].reason);
        assert_int_equal(call(&client, rows[i].token, fl_buf_span(&csr), 0), FL_GRPC_UNAUTHENTICATED);
        assert_string_equal(client.text, rows[i].reason);
        assert_int_equal(lines_with("certificate refused", rows[i].reason), before + 1);
        assert_true(lines_with(rows[i].reason, rows[i].known) > 0);
        assert_true(world_metric(&world, REFUSED, rows[i].reason) == counted + 1);
    }
    assert_int_equal(call_raw(&client, FL_SPAN(""), request_of(fl_buf_span(&csr), 0, &arena)), FL_GRPC_UNAUTHENTICATED);
    assert_string_equal(client.text, "token_missing");
    fl_arena_done(&arena);
    assert_int_equal(lines_with("certificate refused", ""), FL_COUNT(rows) + 1);
    assert_int_equal(lines_with(fl_buf_str(&good), ""), 0); /* no token in the log */
    assert_int_equal(lines_with("certificate issued", ""), 0);
    fl_buf_done(&csr);
    fl_buf_done(&good);
    fl_buf_done(&expired);
    fl_buf_done(&other);
    fl_key_unref(key);
    client_done(&client);
}

static struct fl_span csr_of_openssl(EVP_PKEY *key, EVP_PKEY *signer, struct fl_buf *buf)
{
    X509_REQ *request = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    X509_REQ_set_pubkey(request, key);
    assert_true(X509_REQ_sign(request, signer, EVP_sha256()) > 0);
    PEM_write_bio_X509_REQ(bio, request);
    long size = BIO_get_mem_data(bio, &text);
    fl_buf_init(buf, FL_CSR_PEM_MAX);
    assert_int_equal(fl_buf_append(buf, fl_span_make(text, (size_t)size)), 0);
    BIO_free(bio);
    X509_REQ_free(request);
    return fl_buf_span(buf);
}

static void requests_that_are_refused(void **state)
{
    (void)state;
    struct client client;
    struct fl_buf token, bearer, weak, forged, odd;
    EVP_PKEY *small = EVP_RSA_gen(1024), *p256 = EVP_EC_gen("P-256"), *p256b = EVP_EC_gen("P-256"),
             *ed = EVP_EC_gen("secp256k1");
    client_init(&client);
    world_token(&world, "web", WORLD_AUDIENCE, 60, &token);
    const struct {
        struct fl_span csr;
        const char *reason;
    } rows[] = {
        {csr_of_openssl(small, small, &weak), "an RSA key of 1024 bits"},
        {csr_of_openssl(p256, p256b, &forged), "its signature is wrong"},
        {csr_of_openssl(ed, ed, &odd), "an EC key on curve"},
        {FL_SPAN(""), "certificate request"},
        {FL_SPAN("garbage"), "certificate request"},
        {FL_SPAN("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
         "certificate request"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(call(&client, fl_buf_span(&token), rows[i].csr, 0), FL_GRPC_INVALID_ARGUMENT);
        if (strstr(client.text, rows[i].reason) == NULL)
            fail_msg("row %zu: %s", i, client.text);
    }
    fl_buf_init(&bearer, 1u << 16);
    assert_int_equal(fl_buf_printf(&bearer, "Bearer %.*s", FL_SPAN_ARG(fl_buf_span(&token))), 0);
    assert_int_equal(call_raw(&client, fl_buf_span(&bearer), FL_SPAN("\xff\xff")), FL_GRPC_INVALID_ARGUMENT);
    static char large[CONTROL_CERTIFICATE_REQUEST_MAX + 1];
    assert_int_equal(call_raw(&client, fl_buf_span(&bearer), fl_span_make(large, sizeof(large))),
                     FL_GRPC_INVALID_ARGUMENT);
    assert_int_equal(lines_with("certificate refused", "csr_refused"), FL_COUNT(rows));
    assert_int_equal(lines_with("certificate refused", "request_malformed"), 2);
    EVP_PKEY_free(small);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p256b);
    EVP_PKEY_free(ed);
    fl_buf_done(&weak);
    fl_buf_done(&forged);
    fl_buf_done(&odd);
    fl_buf_done(&bearer);
    fl_buf_done(&token);
    client_done(&client);
}

static void quotas_hold(void **state)
{
    (void)state;
    struct client client;
    struct fl_key *key;
    struct fl_buf csr, web, api;
    client_init(&client);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    csr_of(key, &csr);
    world_token(&world, "web", WORLD_AUDIENCE, 60, &web);
    world_token(&world, "api", WORLD_AUDIENCE, 60, &api);
    assert_int_equal(call(&client, fl_buf_span(&web), fl_buf_span(&csr), 0), FL_GRPC_OK);
    assert_int_equal(call(&client, fl_buf_span(&web), fl_buf_span(&csr), 0), FL_GRPC_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call(&client, fl_buf_span(&web), fl_buf_span(&csr), 0), FL_GRPC_RESOURCE_EXHAUSTED);
        assert_string_equal(client.text, "identity_rate");
    }
    assert_int_equal(call(&client, fl_buf_span(&api), fl_buf_span(&csr), 0), FL_GRPC_OK); /* not its fault */
    /* Six were asked for from this address. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call(&client, FL_SPAN("garbage"), fl_buf_span(&csr), 0), FL_GRPC_RESOURCE_EXHAUSTED);
        assert_string_equal(client.text, "peer_rate");
    }
    assert_true(world_metric(&world, REFUSED, "identity_rate") == 3);
    assert_true(world_metric(&world, REFUSED, "peer_rate") == 3);
    assert_int_equal(lines_with("certificate refused", "_rate"), 1); /* the others are counted */
    fl_buf_done(&csr);
    fl_buf_done(&web);
    fl_buf_done(&api);
    fl_key_unref(key);
    client_done(&client);
}

static void an_issuer_that_is_gone_is_unavailable(void **state)
{
    (void)state;
    struct client client;
    struct fl_key *key;
    struct fl_buf csr, token;
    client_init(&client);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    csr_of(key, &csr);
    world_token(&world, "web", WORLD_AUDIENCE, 60, &token);
    kill(control_issuer_pid(control_authority_issuer(world.authority)), SIGKILL);
    WORLD_UNTIL(&world, !control_issuer_is_ready(control_authority_issuer(world.authority)));
    assert_int_equal(call(&client, fl_buf_span(&token), fl_buf_span(&csr), 0), FL_GRPC_UNAVAILABLE);
    assert_true(world_metric(&world, "fairlead_ca_issuer_failures_total", NULL) == 1);
    WORLD_UNTIL(&world, control_issuer_is_ready(control_authority_issuer(world.authority)));
    assert_true(world_metric(&world, "fairlead_ca_issuer_up", NULL) == 1);
    assert_int_equal(call(&client, fl_buf_span(&token), fl_buf_span(&csr), 0), FL_GRPC_OK);
    fl_buf_done(&csr);
    fl_buf_done(&token);
    fl_key_unref(key);
    client_done(&client);
}

static void a_client_that_goes_away(void **state)
{
    (void)state;
    struct client client;
    struct fl_key *key;
    struct fl_buf csr, token, bearer;
    struct fl_arena arena;
    client_init(&client);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    world_token(&world, "web", WORLD_AUDIENCE, 60, &token);
    fl_buf_init(&bearer, 1u << 16);
    assert_int_equal(fl_buf_printf(&bearer, "Bearer %.*s", FL_SPAN_ARG(fl_buf_span(&token))), 0);
    pid_t issuer = control_issuer_pid(control_authority_issuer(world.authority));
    kill(issuer, SIGSTOP);
    start_call(&client, fl_buf_span(&bearer), request_of(csr_of(key, &csr), 0, &arena));
    for (int i = 0; i < 10; i++)
        assert_int_equal(fl_loop_turn(world.loop, 5), 0);
    client.grpc = fl_grpc_client_free(client.grpc);
    WORLD_UNTIL(&world, world_metric(&world, REFUSED, "client_gone") == 1);
    kill(issuer, SIGCONT);
    fl_arena_done(&arena);
    fl_buf_done(&csr);
    fl_buf_done(&token);
    fl_buf_done(&bearer);
    fl_key_unref(key);
    client_done(&client);
}

/* Files change on disk; the connection that is there goes on, and gets both roots. */
static void a_rotation_is_noticed(void **state)
{
    (void)state;
    struct client client;
    struct fl_key *key;
    struct fl_buf csr, token;
    struct fl_arena arena;
    struct fl_certificate_response response;
    struct fl_cert *cert;
    struct fl_bundle *roots;
    unsigned served = world.served;
    client_init(&client);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    csr_of(key, &csr);
    world_token(&world, "web", WORLD_AUDIENCE, 60, &token);
    assert_int_equal(control_root_rotate(world.ca.path, time(NULL), NULL), 0);
    WORLD_UNTIL(&world, world.served > served);
    assert_int_equal(call(&client, fl_buf_span(&token), fl_buf_span(&csr), 0), FL_GRPC_OK);
    read_reply(&client, &arena, &response, &cert);
    assert_int_equal(fl_bundle_parse(response.chain[1], &roots, NULL), 0);
    assert_int_equal(fl_bundle_count(roots), 2);
    assert_int_equal(fl_cert_verify(cert, roots, time(NULL), NULL), 0);
    assert_string_equal(client.lost, "");
    struct fl_buf file;
    fl_buf_init(&file, 1u << 20);
    assert_int_equal(fl_buf_read_file(&file, folder_path(&world.ca, "root-cert.pem")), 0);
    assert_true(fl_span_eq(fl_buf_span(&file), response.chain[1]));
    assert_true(world_metric(&world, "fairlead_ca_roots", NULL) == 2);
    fl_buf_done(&file);
    fl_bundle_unref(roots);
    fl_cert_unref(cert);
    fl_arena_done(&arena);
    fl_buf_done(&csr);
    fl_buf_done(&token);
    fl_key_unref(key);
    client_done(&client);
}

static void the_server_certificate_is_renewed(void **state)
{
    (void)state;
    struct fl_key *first = fl_key_ref(world.key);
    WORLD_UNTIL(&world, world.served >= 3);
    assert_ptr_not_equal(first, world.key);
    fl_key_unref(first);
    struct client client;
    client_init(&client);
    client_done(&client);
}

static void buckets(void **state)
{
    (void)state;
    struct control_quota *quota;
    assert_int_equal(control_quota_new(10, 2, &quota), 0);
    assert_true(control_quota_take(quota, FL_SPAN("a"), 1000));
    assert_true(control_quota_take(quota, FL_SPAN("a"), 1000));
    assert_false(control_quota_take(quota, FL_SPAN("a"), 1000));
    assert_true(control_quota_take(quota, FL_SPAN("b"), 1000));
    assert_false(control_quota_take(quota, FL_SPAN("a"), 1099));
    assert_true(control_quota_take(quota, FL_SPAN("a"), 1100)); /* a tenth of a second is one more */
    assert_false(control_quota_take(quota, FL_SPAN("a"), 1100));
    assert_true(control_quota_take(quota, FL_SPAN("a"), UINT64_MAX)); /* full again, and no more than full */
    assert_true(control_quota_take(quota, FL_SPAN("a"), UINT64_MAX));
    assert_false(control_quota_take(quota, FL_SPAN("a"), UINT64_MAX));
    for (int i = 0; i < 3 * CONTROL_QUOTA_KEYS; i++) { /* strangers make each other forgotten, never refused */
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        assert_true(control_quota_take(quota, fl_span_str(key), UINT64_MAX));
    }
    control_quota_free(quota);
    assert_int_equal(control_quota_new(0, 0, &quota), 0);
    for (int i = 0; i < 1000; i++)
        assert_true(control_quota_take(quota, FL_SPAN("a"), 0));
    control_quota_free(quota);
    FAIL_EACH_ALLOCATION
    {
        int result = control_quota_new(1, 1, &quota);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            control_quota_free(quota);
    }
}

static struct world_options few = {
    .validity_s = 3600, .peer_rate = 1, .peer_burst = 6, .identity_rate = 1, .identity_burst = 2};
static struct world_options brief = {.validity_s = 4};

#define TEST(name)               cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_WITH(name, options) cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, options)

int main(int argc, char **argv)
{
    SKIP_ALL_UNDER_EMULATION(
        "the issuer is a process of its own behind a seccomp filter: an emulator starts none and has none");
    if (argc > 1 && strcmp(argv[1], "issuer") == 0)
        return control_issuer_main(argc - 1, argv + 1);
    log_fd = mkostemp(log_path, O_CLOEXEC | O_APPEND);
    fl_log_open("ca_service_test", log_fd, FL_LOG_JSON, FL_LOG_INFO);
    const struct CMUnitTest tests[] = {
        TEST(the_certificate_is_the_token_s),
        TEST(who_is_refused),
        TEST(requests_that_are_refused),
        TEST_WITH(quotas_hold, &few),
        TEST(an_issuer_that_is_gone_is_unavailable),
        TEST(a_client_that_goes_away),
        TEST(a_rotation_is_noticed),
        TEST_WITH(the_server_certificate_is_renewed, &brief),
        cmocka_unit_test(buckets),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(log_path);
    return failed;
}
