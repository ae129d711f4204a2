/* Both ends of an identity: the proxy's module against a certificate authority with a real issuer, over TLS. */
#include "common/base/log.h"
#include "common/loop/timer.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/tls/context.h"
#include "common/tls/session.h"
#include "control/ca/root.h"
#include "proxy/config/credential.h"
#include "proxy/config/identity.h"
#include "tests/support/emulation.h"
#include "tests/support/fail.h"
#include "tests/unit/control/ca_world.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define WEB      "spiffe://cluster.local/ns/default/sa/web"
#define RENEWALS "fairlead_identity_renewals_total"

static struct world world;
static struct folder pod; /* token, roots, volume */
static char token_file[PATH_MAX], root_file[PATH_MAX];

/* What a proxy has: the identity as it was told last, as a TLS context for both sides would have it. */
struct proxy {
    struct fl_metrics *metrics;
    struct proxy_identity *identity;
    unsigned told;
    struct fl_key *key;
    struct fl_cert *cert;
    struct fl_bundle *bundle;
    char uri[256];
    bool free_it; /* in the callback */
};

static void drop_material(struct proxy *proxy)
{
    proxy->key = fl_key_unref(proxy->key);
    proxy->cert = fl_cert_unref(proxy->cert);
    proxy->bundle = fl_bundle_unref(proxy->bundle);
}

static void on_identity(void *owner, const struct proxy_identity_held *held)
{
    struct proxy *proxy = owner;
    proxy->told++;
    if (proxy->free_it) {
        proxy->identity = proxy_identity_free(proxy->identity);
        return;
    }
    drop_material(proxy);
    assert_int_equal(fl_key_parse(held->key, &proxy->key, NULL), 0);
    assert_int_equal(fl_cert_parse(held->chain, &proxy->cert, NULL), 0);
    assert_int_equal(fl_bundle_parse(held->roots, &proxy->bundle, NULL), 0);
    snprintf(proxy->uri, sizeof(proxy->uri), "%.*s", FL_SPAN_ARG(held->uri));
}

static void proxy_start(struct proxy *proxy, const char *uri, const char *name)
{
    struct fl_err err = {0};
    const struct proxy_identity_options options = {.loop = world.loop,
                                                   .metrics = proxy->metrics,
                                                   .places = fl_span_str(world.address_text),
                                                   .server_name = name,
                                                   .root_file = root_file,
                                                   .token_file = token_file,
                                                   .volume = pod.path,
                                                   .uri = uri,
                                                   .backoff_ms = 20,
                                                   .on_identity = on_identity,
                                                   .owner = proxy};
    if (proxy_identity_new(&options, &proxy->identity, &err) != 0)
        fail_msg("%s", err.text);
}

static void proxy_init(struct proxy *proxy)
{
    memset(proxy, 0, sizeof(*proxy));
    assert_int_equal(fl_metrics_new(&proxy->metrics), 0);
}

static void proxy_done(struct proxy *proxy)
{
    proxy_identity_free(proxy->identity);
    drop_material(proxy);
    fl_metrics_free(proxy->metrics);
}

static double counted(const struct proxy *proxy, const char *result)
{
    const struct fl_span value = fl_span_str(result);
    return fl_metrics_value(proxy->metrics, RENEWALS, &value);
}

static void write_token(const char *service_account, const char *audience, int ttl_s)
{
    struct fl_buf token;
    folder_write(&pod, "token", world_token(&world, service_account, audience, ttl_s, &token), 0600);
    fl_buf_done(&token);
}

static void write_roots(void)
{
    folder_write(&pod, "root-cert.pem", control_authority_bundle(world.authority), 0644);
}

static const struct world_options day = {.validity_s = 86400}, brief = {.validity_s = 4, .overlap_s = 2};

static int set_up_with(const struct world_options *options)
{
    world_init(&world, options);
    folder_init(&pod);
    snprintf(token_file, sizeof(token_file), "%s", folder_path(&pod, "token"));
    snprintf(root_file, sizeof(root_file), "%s", folder_path(&pod, "root-cert.pem"));
    write_token("web", WORLD_AUDIENCE, 600);
    write_roots();
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_with(&day);
}

static int set_up_brief(void **state)
{
    (void)state;
    return set_up_with(&brief);
}

static int tear_down(void **state)
{
    (void)state;
    world_done(&world);
    folder_done(&pod);
    return 0;
}

/* --- TLS between two that have identities --- */

struct side {
    struct fl_tls *tls;
    struct fl_buf out;
    size_t received;
};

static int on_send(void *owner, struct fl_span bytes)
{
    return fl_buf_append(&((struct side *)owner)->out, bytes);
}

static int on_receive(void *owner, struct fl_span bytes)
{
    ((struct side *)owner)->received += bytes.len;
    return 0;
}

static void side_init(struct side *side, const struct proxy *proxy, bool server)
{
    const struct fl_tls_options options = {.server = server,
                                           .cert = proxy->cert,
                                           .key = proxy->key,
                                           .bundle = proxy->bundle,
                                           .require_peer_cert = server,
                                           .require_spiffe = true};
    const struct fl_tls_sinks sinks = {on_send, on_receive, NULL, side};
    struct fl_tls_context *context;
    memset(side, 0, sizeof(*side));
    fl_buf_init(&side->out, 1u << 20);
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    assert_int_equal(fl_tls_new(context, &sinks, &side->tls), 0);
    fl_tls_context_unref(context);
}

static void carry(struct side *from, struct side *to)
{
    struct fl_buf bytes = from->out;
    fl_buf_init(&from->out, 1u << 20);
    assert_int_equal(fl_tls_feed(to->tls, fl_buf_span(&bytes)), 0);
    fl_buf_done(&bytes);
}

static void exchange(struct side *a, struct side *b)
{
    size_t before = b->received;
    while (a->out.len + b->out.len > 0) {
        carry(a, b);
        carry(b, a);
    }
    assert_int_equal(fl_tls_write(a->tls, FL_SPAN("ping")), 0);
    carry(a, b);
    assert_int_equal(b->received, before + 4);
}

static void connect_sides(struct side *client, const struct proxy *one, struct side *server, const struct proxy *other)
{
    side_init(client, one, false);
    side_init(server, other, true);
    assert_int_equal(fl_tls_start(client->tls), 0);
    assert_int_equal(fl_tls_start(server->tls), 0);
    exchange(client, server);
    assert_true(fl_span_eq_str(fl_tls_peer_identity(server->tls), WEB));
}

static void side_done(struct side *side)
{
    fl_tls_free(side->tls);
    fl_buf_done(&side->out);
}

/* --- the tests --- */

static void a_proxy_gets_its_certificate(void **state)
{
    (void)state;
    struct proxy proxy;
    struct proxy_identity_held held;
    struct side client, server;
    proxy_init(&proxy);
    proxy_start(&proxy, WEB, WORLD_NAME);
    assert_false(proxy_identity_held(proxy.identity, &held));
    WORLD_UNTIL(&world, proxy.told == 1);
    assert_string_equal(proxy.uri, WEB);
    assert_true(fl_cert_matches(proxy.cert, proxy.key));
    assert_true(proxy_identity_held(proxy.identity, &held));
    assert_in_range(held.not_after, time(NULL) + 86390, time(NULL) + 86400);
    assert_true(counted(&proxy, "success") == 1 && counted(&proxy, "failure") == 0);
    connect_sides(&client, &proxy, &server, &proxy);
    proxy_identity_renew(proxy.identity);
    WORLD_UNTIL(&world, proxy.told == 2);
    exchange(&client, &server); /* what was open stays open */
    exchange(&server, &client);
    side_done(&client);
    side_done(&server);
    proxy_done(&proxy);
}

static void an_identity_that_is_not_known_before(void **state)
{
    (void)state;
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_start(&proxy, NULL, WORLD_NAME);
    WORLD_UNTIL(&world, proxy.told == 1);
    assert_string_equal(proxy.uri, WEB);
    proxy_done(&proxy);
}

static void a_restart_while_the_control_plane_is_away(void **state)
{
    (void)state;
    struct proxy first, second;
    proxy_init(&first);
    proxy_init(&second);
    proxy_start(&first, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, first.told == 1);
    first.identity = proxy_identity_free(first.identity);
    world_stop(&world);
    proxy_start(&second, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, second.told == 1);
    assert_true(fl_cert_matches(first.cert, second.key)); /* the same */
    proxy_identity_renew(second.identity);
    WORLD_UNTIL(&world, counted(&second, "failure") >= 2); /* it tries, and goes on with what it has */
    assert_int_equal(second.told, 1);
    world_start(&world, &day);
    WORLD_UNTIL(&world, second.told == 2);
    assert_false(fl_cert_matches(first.cert, second.key)); /* a key of its own */
    proxy_done(&first);
    proxy_done(&second);
}

static void what_the_volume_holds_may_be_no_good(void **state)
{
    (void)state;
    static const struct fl_span contents[] = {FL_SPAN(""), FL_SPAN("garbage"),
                                              FL_SPAN("fairlead-identity 1 0 0 0 0\n")};
    for (size_t i = 0; i < FL_COUNT(contents); i++) {
        struct proxy proxy;
        struct fl_err err = {0};
        struct proxy_credential credential;
        folder_write(&pod, PROXY_CREDENTIAL_FILE, contents[i], 0600);
        proxy_init(&proxy);
        proxy_start(&proxy, WEB, WORLD_NAME);
        WORLD_UNTIL(&world, proxy.told == 1);
        assert_true(counted(&proxy, "success") == 1);
        assert_int_equal(proxy_credential_load(pod.path, FL_SPAN(WEB), time(NULL), &credential, &err), 0);
        proxy_credential_done(&credential);
        proxy_done(&proxy);
    }
    /* Somebody else's: the name is not ours. */
    struct proxy proxy;
    write_token("api", WORLD_AUDIENCE, 600);
    folder_remove(&pod, PROXY_CREDENTIAL_FILE);
    proxy_init(&proxy);
    proxy_start(&proxy, NULL, WORLD_NAME);
    WORLD_UNTIL(&world, proxy.told == 1);
    proxy_done(&proxy);
    write_token("web", WORLD_AUDIENCE, 600);
    proxy_init(&proxy);
    proxy_start(&proxy, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, proxy.told == 1);
    assert_string_equal(proxy.uri, WEB);
    proxy_done(&proxy);
}

static void failures_are_tried_again(void **state)
{
    (void)state;
    struct proxy proxy;
    proxy_init(&proxy);
    folder_remove(&pod, "token");
    proxy_start(&proxy, WEB, WORLD_NAME);
    assert_null(proxy_identity_trouble(proxy.identity));
    WORLD_UNTIL(&world, counted(&proxy, "failure") == 1);
    assert_non_null(strstr(proxy_identity_trouble(proxy.identity), "token"));
    write_token("web", "istio-ca", 600);
    WORLD_UNTIL(&world, counted(&proxy, "failure") == 2);
    assert_non_null(strstr(proxy_identity_trouble(proxy.identity), "token_audience"));
    write_token("web", WORLD_AUDIENCE, -600);
    WORLD_UNTIL(&world, counted(&proxy, "failure") == 3);
    assert_non_null(strstr(proxy_identity_trouble(proxy.identity), "token_expired"));
    write_token("api", WORLD_AUDIENCE, 600); /* a token of another account: the answer is refused by us */
    WORLD_UNTIL(&world, counted(&proxy, "failure") == 4);
    assert_int_equal(proxy.told, 0);
    write_token("web", WORLD_AUDIENCE, 600);
    WORLD_UNTIL(&world, proxy.told == 1);
    assert_null(proxy_identity_trouble(proxy.identity));
    proxy_done(&proxy);
}

static void a_server_that_is_not_ours(void **state)
{
    (void)state;
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_start(&proxy, WEB, "other.example"); /* its name */
    WORLD_UNTIL(&world, counted(&proxy, "failure") == 1);
    proxy.identity = proxy_identity_free(proxy.identity);
    struct folder other; /* its root */
    struct control_root root;
    folder_init(&other);
    assert_int_equal(control_root_load(other.path, false, 0, time(NULL), &root, NULL), 0);
    folder_write(&pod, "root-cert.pem", fl_buf_span(&root.bundle), 0644);
    control_root_done(&root);
    folder_done(&other);
    proxy_start(&proxy, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, counted(&proxy, "failure") == 2);
    folder_remove(&pod, "root-cert.pem");
    WORLD_UNTIL(&world, counted(&proxy, "failure") == 3);
    assert_true(world_metric(&world, "fairlead_ca_certificates_issued_total", NULL) == 0);
    assert_int_equal(proxy.told, 0);
    write_roots();
    WORLD_UNTIL(&world, proxy.told == 1);
    proxy_done(&proxy);
}

static void renewal_goes_by_itself(void **state)
{
    (void)state;
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_start(&proxy, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, proxy.told == 2);
    assert_true(counted(&proxy, "failure") == 0);
    assert_in_range(fl_metrics_value(proxy.metrics, "fairlead_identity_expiry_timestamp_seconds", NULL), time(NULL),
                    time(NULL) + 4);
    proxy_done(&proxy);
}

/* A second root comes, takes over, and the first one goes: at each step both proxies talk, and what was open stays. The
 * root file on the proxies' side is never touched. */
static void a_rotation_loses_no_connection(void **state)
{
    (void)state;
    struct proxy one, other;
    struct side client, server, again_client, again_server;
    unsigned steps = 0;
    proxy_init(&one);
    proxy_init(&other);
    proxy_start(&one, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, one.told == 1);
    folder_remove(&pod, PROXY_CREDENTIAL_FILE); /* the other has a volume of its own */
    proxy_start(&other, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, other.told == 1);
    struct fl_bundle *first_root = fl_bundle_ref(one.bundle);
    connect_sides(&client, &one, &server, &other);
    assert_int_equal(control_root_rotate(world.ca.path, time(NULL), NULL), 0);
    time_t until = time(NULL) + 20;
    /* Until both have a certificate of the new root, removing the old one on the way. */
    bool removed = false;
    while (!removed || fl_bundle_count(one.bundle) != 1 || fl_bundle_count(other.bundle) != 1) {
        assert_int_equal(fl_loop_turn(world.loop, 50), 0);
        connect_sides(&again_client, &one, &again_server, &other);
        side_done(&again_client);
        side_done(&again_server);
        exchange(&client, &server);
        bool moved = fl_cert_verify(one.cert, first_root, time(NULL), NULL) != 0 &&
                     fl_cert_verify(other.cert, first_root, time(NULL), NULL) != 0;
        if (moved && !removed) {
            assert_int_equal(fl_bundle_count(one.bundle), 2);
            folder_remove(&world.ca, "root-1.pem");
            removed = true;
        }
        steps++;
        if (time(NULL) > until)
            fail_msg("not in time");
    }
    assert_true(steps > 10);
    assert_true(counted(&one, "failure") + counted(&other, "failure") == 0);
    exchange(&client, &server);
    side_done(&client);
    side_done(&server);
    fl_bundle_unref(first_root);
    proxy_done(&one);
    proxy_done(&other);
}

static void the_callback_may_free_it(void **state)
{
    (void)state;
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.free_it = true;
    proxy_start(&proxy, WEB, WORLD_NAME);
    WORLD_UNTIL(&world, proxy.told == 1);
    assert_null(proxy.identity);
    proxy_start(&proxy, WEB, WORLD_NAME); /* and from the volume */
    WORLD_UNTIL(&world, proxy.told == 2);
    assert_null(proxy.identity);
    proxy_done(&proxy);
}

static void settings_that_are_wrong(void **state)
{
    (void)state;
    static const struct fl_span good = FL_SPAN("127.0.0.1:1"), wrong = FL_SPAN("127.0.0.1"), none = {NULL, 0};
    const struct {
        struct proxy_identity_options options;
        const char *reason;
    } rows[] = {
        {{.places = none, .server_name = "a", .root_file = "b", .token_file = "c"}, "expected IP:port"},
        {{.places = wrong, .server_name = "a", .root_file = "b", .token_file = "c"}, "expected IP:port"},
        {{.places = good, .server_name = "", .root_file = "b", .token_file = "c"}, "no server name"},
        {{.places = good, .server_name = "a", .token_file = "c"}, "no file of roots"},
        {{.places = good, .server_name = "a", .root_file = "b"}, "no file of a token"},
        {{.places = good, .server_name = "a", .root_file = "b", .token_file = "c", .uri = "x"}, "not a SPIFFE ID"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_identity_options options = rows[i].options;
        struct proxy_identity *identity;
        struct fl_err err = {0};
        options.loop = world.loop;
        options.metrics = world.metrics;
        assert_int_equal(proxy_identity_new(&options, &identity, &err), -EINVAL);
        if (strstr(err.text, rows[i].reason) == NULL)
            fail_msg("row %zu: %s", i, err.text);
    }
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_identity *identity;
        const struct proxy_identity_options options = {.loop = world.loop,
                                                       .metrics = world.metrics,
                                                       .places = fl_span_str(world.address_text),
                                                       .server_name = WORLD_NAME,
                                                       .root_file = root_file,
                                                       .token_file = token_file,
                                                       .volume = pod.path,
                                                       .uri = WEB,
                                                       .on_identity = on_identity};
        int result = proxy_identity_new(&options, &identity, NULL);
        fail_stop();
        assert_true(result == 0 || (fail_happened() && result == -ENOMEM));
        if (result == 0)
            proxy_identity_free(identity);
    }
    /* A call in which any one allocation fails ends, and is tried again. */
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_start(&proxy, WEB, WORLD_NAME);
    for (size_t nth = 1; nth < 40; nth++) {
        unsigned told = proxy.told;
        fail_at(nth);
        proxy_identity_renew(proxy.identity);
        for (int i = 0; i < 200 && !fail_happened() && proxy.told == told; i++)
            assert_int_equal(fl_loop_turn(world.loop, 5), 0);
        fail_stop();
        WORLD_UNTIL(&world, proxy.told > told);
    }
    proxy_done(&proxy);
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_BRIEF(name) cmocka_unit_test_setup_teardown(name, set_up_brief, tear_down)

int main(int argc, char **argv)
{
    SKIP_ALL_UNDER_EMULATION(
        "the issuer is a process of its own behind a seccomp filter: an emulator starts none and has none");
    if (argc > 1 && strcmp(argv[1], "issuer") == 0)
        return control_issuer_main(argc - 1, argv + 1);
    const char *log = getenv("LOG");
    int null = open(log != NULL ? log : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    fl_log_open("ca_identity_test", null, FL_LOG_JSON, FL_LOG_INFO);
    const struct CMUnitTest tests[] = {
        TEST(a_proxy_gets_its_certificate),
        TEST(an_identity_that_is_not_known_before),
        TEST(a_restart_while_the_control_plane_is_away),
        TEST(what_the_volume_holds_may_be_no_good),
        TEST(failures_are_tried_again),
        TEST(a_server_that_is_not_ours),
        TEST_BRIEF(renewal_goes_by_itself),
        TEST_BRIEF(a_rotation_loses_no_connection),
        TEST(the_callback_may_free_it),
        TEST(settings_that_are_wrong),
        TEST(when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
