/* proxy/admin over real sockets: pages, methods, who may ask. */
#include "common/base/log.h"
#include "common/doc/json.h"
#include "proxy/admin/guard.h"
#include "proxy/admin/startwait.h"
#include "tests/support/folder.h"
#include "tests/unit/proxy/admin_world.h"

#include <sys/stat.h>

static struct fl_json *body_json(const char *answer)
{
    struct fl_json *root = NULL;
    struct fl_err err = {0};
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    const struct fl_json_limits limits = {.bytes_max = 1u << 24};
    if (fl_json_parse(fl_span_str(body + 4), &limits, &root, &err) != 0)
        fail_msg("%s in %s", err.text, answer);
    return root;
}

/* -- pages -- */

static void test_ready(void **state)
{
    (void)state;
    assert_has(get(admin_port(), "/ready"), "HTTP/1.1 200 OK\r\n");
    assert_has(get(admin_port(), "/ready"), "\r\n\r\nLIVE\n");
    world.state = PROXY_SERVER_DRAINING;
    assert_has(get(admin_port(), "/ready"), "HTTP/1.1 503 ");
    assert_has(get(admin_port(), "/ready"), "\r\n\r\nDRAINING\n");
    world.state = PROXY_SERVER_LIVE;
}

static void test_stats_are_summed_on_all_ports(void **state)
{
    (void)state;
    const uint16_t ports[] = {admin_port(), stats_port, merged_port};
    for (size_t i = 0; i < FL_COUNT(ports); i++) {
        const char *answer = get(ports[i], "/stats/prometheus");
        assert_has(answer, "HTTP/1.1 200 OK\r\n");
        assert_has(answer, "content-type: text/plain; version=0.0.4");
        assert_has(answer, "\nthings_total 5\n");
    }
}

static void test_side_ports_serve_nothing_else(void **state)
{
    (void)state;
    static const char *const paths[] = {"/config_dump", "/ready", "/quitquitquit", "/", "/stats/prometheus/"};
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        assert_has(get(stats_port, paths[i]), "HTTP/1.1 404 ");
        assert_has(get(health_port, paths[i]), "HTTP/1.1 404 ");
        assert_has(post(merged_port, paths[i]), "HTTP/1.1 404 ");
    }
    assert_has(get(health_port, "/stats/prometheus"), "HTTP/1.1 404 ");
    assert_has(post(stats_port, "/stats/prometheus"), "HTTP/1.1 405 ");
}

static void test_json_pages(void **state)
{
    (void)state;
    static const char *const paths[] = {"/server_info",      "/config_dump",           "/certs",
                                        "/memory",           "/listeners?format=json", "/clusters?format=json",
                                        "/stats?format=json"};
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        const char *answer = get(admin_port(), paths[i]);
        assert_has(answer, "content-type: application/json\r\n");
        fl_json_free(body_json(answer));
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *info = body_json(get(admin_port(), "/server_info"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(info, "state")), "LIVE"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(info, "start_gate")), "waiting"));
    FL_CLEANUP(fl_cleanup_json) struct fl_json *dump = body_json(get(admin_port(), "/config_dump"));
    const struct fl_json *configs = fl_json_get(dump, "configs");
    assert_int_equal(fl_json_count(configs), 3);
    const struct fl_json *clusters = fl_json_get(fl_json_at(configs, 1), "static_clusters");
    assert_int_equal(fl_json_count(clusters), 2);
    const struct fl_json *cluster = fl_json_get(fl_json_at(clusters, 0), "cluster");
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(cluster, "@type")),
                               "type.googleapis.com/envoy.config.cluster.v3.Cluster"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(cluster, "connect_timeout")), "5s"));
    FL_CLEANUP(fl_cleanup_json) struct fl_json *certs = body_json(get(admin_port(), "/certs"));
    const struct fl_json *chain = fl_json_get(fl_json_at(fl_json_get(certs, "certificates"), 0), "cert_chain");
    assert_true(
        fl_span_eq_str(fl_json_string(fl_json_get(fl_json_at(chain, 0), "expiration_time")), "2096-10-02T07:06:40Z"));
}

static void test_one_list_of_the_dump(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *dump = body_json(get(admin_port(), "/config_dump?resource=static_clusters"));
    const struct fl_json *configs = fl_json_get(dump, "configs");
    assert_int_equal(fl_json_count(configs), 2);
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(fl_json_at(configs, 0), "@type")),
                               "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster"));
    assert_non_null(fl_json_get(fl_json_at(configs, 1), "cluster"));
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *bootstrap = body_json(get(admin_port(), "/config_dump?resource=bootstrap"));
    assert_int_equal(fl_json_count(fl_json_get(bootstrap, "configs")), 1);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *empty = body_json(get(admin_port(), "/config_dump?resource=dynamic_listeners"));
    assert_int_equal(fl_json_count(fl_json_get(empty, "configs")), 0);
    assert_has(get(admin_port(), "/config_dump?resource=x"), "HTTP/1.1 404 ");
}

static void test_json_shapes(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *listeners = body_json(get(admin_port(), "/listeners?format=json"));
    const struct fl_json *address = fl_json_get(
        fl_json_get(fl_json_at(fl_json_get(listeners, "listener_statuses"), 0), "local_address"), "socket_address");
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(address, "address")), "::"));
    FL_CLEANUP(fl_cleanup_json) struct fl_json *clusters = body_json(get(admin_port(), "/clusters?format=json"));
    const struct fl_json *one = fl_json_at(fl_json_get(clusters, "cluster_statuses"), 0);
    const struct fl_json *host = fl_json_at(fl_json_get(one, "host_statuses"), 0);
    const struct fl_json *health = fl_json_get(fl_json_get(host, "health_status"), "eds_health_status");
    assert_true(fl_span_eq_str(fl_json_string(health), "HEALTHY"));
}

/* What /config_dump shows of the bootstrap compiles again. */
static void test_the_dump_is_a_bootstrap(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *dump = body_json(get(admin_port(), "/config_dump"));
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    assert_int_equal(fl_json_print(fl_json_get(fl_json_at(fl_json_get(dump, "configs"), 0), "bootstrap"), &text), 0);
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *again = NULL;
    struct fl_err err = {0};
    if (proxy_bootstrap_parse(fl_buf_span(&text), "dump", NULL, &again, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(fl_span_eq(again->bootstrap, world.snapshot->bootstrap));
    fl_buf_done(&text);
}

static void test_text_pages(void **state)
{
    (void)state;
    assert_has(get(admin_port(), "/listeners"), "\r\n\r\nvirtualOutbound::[::]:15001\n");
    assert_has(get(admin_port(), "/clusters"), "PassthroughCluster::type::ORIGINAL_DST\n");
    assert_has(get(admin_port(), "/clusters"),
               "outbound|8080||server.demo.svc.cluster.local::10.88.0.3:8080::health_flags::healthy\n");
    assert_has(get(admin_port(), "/stats"), "things_total: 5\n");
    assert_has(get(admin_port(), "/stats?filter=things"), "\r\n\r\nthings_total: 5\n");
    assert_has(get(admin_port(), "/stats?format=prometheus"), "\nthings_total 5\n");
    assert_has(get(admin_port(), "/stats?filter=nothing"), "content-length: 0\r\n");
    assert_has(get(admin_port(), "/help"), "  /quitquitquit: POST: drain and exit\n");
    assert_has(get(admin_port(), "/"), "admin commands are:\n");
    assert_has(get(admin_port(), "/nothing"), "HTTP/1.1 404 Not Found\r\n");
    assert_has(get(admin_port(), "/nothing"), "\r\n\r\nno such page: /help lists them\n");
}

static void test_logging(void **state)
{
    (void)state;
    fl_log_set_level(FL_LOG_INFO);
    assert_has(get(admin_port(), "/logging"), "\r\n\r\nactive loggers:\n  all: info\n");
    assert_has(post(admin_port(), "/logging?level=debug"), "\r\n\r\nactive loggers:\n  all: debug\n");
    assert_int_equal(fl_log_get_level(), FL_LOG_DEBUG);
    assert_has(post(admin_port(), "/logging?level=loud"), "HTTP/1.1 400 ");
    assert_has(post(admin_port(), "/logging?loud=info"), "HTTP/1.1 400 ");
    assert_has(post(admin_port(), "/logging"), "\r\n\r\nactive loggers:\n  all: debug\n"); /* Envoy tells by POST */
    assert_has(post(admin_port(), "/logging?paths=x&all=trace"), "  all: trace\n");
    assert_has(post(admin_port(), "/logging?level=debug"), "  all: debug\n");
    assert_int_equal(fl_log_get_level(), FL_LOG_DEBUG);
    const char *answer = get(admin_port(), "/logging?level=info");
    assert_has(answer, "HTTP/1.1 405 ");
    assert_has(answer, "allow: POST\r\n");
    assert_int_equal(fl_log_get_level(), FL_LOG_DEBUG);
    fl_log_set_level(FL_LOG_INFO);
}

static void test_changes_need_post(void **state)
{
    (void)state;
    const char *answer = get(admin_port(), "/quitquitquit");
    assert_has(answer, "HTTP/1.1 405 ");
    assert_has(answer, "allow: POST\r\n");
    assert_has(get(admin_port(), "/drain_listeners"), "HTTP/1.1 405 ");
    assert_has(get(admin_port(), "/drain_listeners"), "\r\n\r\n/drain_listeners wants POST\n");
    assert_int_equal(world.quit + world.drained, 0);
    assert_has(post(admin_port(), "/drain_listeners"), "\r\n\r\nOK\n");
    assert_int_equal(world.drained, 1);
    assert_false(world.drain_how.graceful || world.drain_how.inbound_only);
    assert_has(post(admin_port(), "/drain_listeners?graceful&inboundonly=1"), "\r\n\r\nOK\n");
    assert_true(world.drain_how.graceful && world.drain_how.inbound_only);
    assert_has(post(admin_port(), "/quitquitquit"), "\r\n\r\nOK\n");
    assert_int_equal(world.quit, 1);
    assert_has(post(admin_port(), "/ready"), "HTTP/1.1 405 ");
}

#define ASK_STARTED "GET /healthz/started HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

/* A question that is kept waiting when this returns. */
static int ask_early(void)
{
    int fd = dial(health_port);
    say(fd, ASK_STARTED);
    for (unsigned i = 0; i < 3; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    return fd;
}

static void open_gate(void)
{
    /* Every family's dial comes back. */
    static const char *const rows[][2] = {{"127.0.0.1", "127.0.0.6"}, {"::1", "::6"}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (unsigned port = 1; port <= UINT16_MAX; port++) {
            struct proxy_address peer, probe;
            assert_int_equal(proxy_address_parse(fl_span_str(rows[i][0]), (uint16_t)port, &peer), 0);
            assert_int_equal(proxy_address_parse(fl_span_str(rows[i][1]), 15002, &probe), 0);
            (void)proxy_gate_arrived(world.gate, &peer, &probe);
        }
    }
    assert_true(fl_loop_turn(world.loop, 10) >= 0);
}

static void test_health(void **state)
{
    (void)state;
    assert_has(get(health_port, "/healthz/started"), "HTTP/1.1 503 ");
    assert_has(get(health_port, "/healthz/ready"), "HTTP/1.1 503 ");
    assert_has(get(health_port, "/healthz/ready"), "start gate: waiting\n");
    open_gate();
    assert_has(get(health_port, "/healthz/started"), "HTTP/1.1 200 ");
    assert_has(get(health_port, "/healthz/ready"), "\r\n\r\nLIVE\n");
    world.state = PROXY_SERVER_DRAINING;
    assert_has(get(health_port, "/healthz/started"), "HTTP/1.1 200 ");
    assert_has(get(health_port, "/healthz/ready"), "HTTP/1.1 503 ");
    world.state = PROXY_SERVER_LIVE;
}

/* The gate is closed: the answer is no, but not before some time. */
static void test_an_early_question_is_kept(void **state)
{
    (void)state;
    uint64_t asked = fl_loop_now_ms(world.loop);
    assert_has(get(health_port, "/healthz/started"), "HTTP/1.1 503 ");
    assert_true(fl_loop_now_ms(world.loop) - asked >= PROXY_STARTWAIT_MS - 1);
    assert_has(get(health_port, "/healthz/ready"), "HTTP/1.1 503 "); /* this one is not kept */
}

/* What is kept is answered by the start: with it the gate opens, and then the server is live. A machine that stops for
 * a second between the two gets the answer of before; so asked again. */
static void test_the_start_answers(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    open_gate();
    for (unsigned i = 0; i < 20; i++) {
        world.state = PROXY_SERVER_INITIALIZING;
        int fds[3] = {ask_early(), ask_early(), ask_early()};
        close(fds[0]); /* one goes away meanwhile */
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
        proxy_admin_look(world.admin); /* nothing has changed */
        world.state = PROXY_SERVER_LIVE;
        proxy_admin_look(world.admin);
        unsigned started = 0;
        for (size_t j = 1; j < FL_COUNT(fds); j++) {
            assert_true(hear(fds[j], &answer, false));
            started += strstr(fl_buf_str(&answer), "HTTP/1.1 200 ") != NULL;
            close(fds[j]);
        }
        if (started == FL_COUNT(fds) - 1) {
            fl_buf_done(&answer);
            return;
        }
    }
    fail_msg("nobody heard of the start");
}

static void test_the_end_of_who_waits(void **state)
{
    (void)state;
    world.state = PROXY_SERVER_INITIALIZING;
    int fd = ask_early();
    world.admin = proxy_admin_free(world.admin);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

/* -- who may ask -- */

#define POST        "POST /logging?level=info HTTP/1.1\r\nHost: 127.0.0.1\r\n"
#define SHOWN       PROXY_ADMIN_SECRET_HEADER ": " SECRET "\r\n"
#define SECRET_REST "112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void test_guard(void **state)
{
    (void)state;
    static const struct {
        const char *what, *request;
        unsigned status;
    } rows[] = {
        {"an address", "GET /ready HTTP/1.1\r\nHost: 127.0.0.1:15000\r\n\r\n", 200},
        {"IPv6", "GET /ready HTTP/1.1\r\nHost: [::1]:15000\r\n\r\n", 200},
        {"localhost", "GET /ready HTTP/1.1\r\nHost: LocalHost:15000\r\n\r\n", 200},
        {"HTTP/1.0 without Host", "GET /ready HTTP/1.0\r\n\r\n", 200},
        {"a name: DNS rebinding", "GET /ready HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
        {"a name that begins well", "GET /ready HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 403},
        {"an absolute target", "GET http://evil.example/ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 403},
        {"another address of this host", "GET /ready HTTP/1.1\r\nHost: 10.88.0.2:15000\r\n\r\n", 403},
        {"a foreign page reads", "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n", 403},
        {"an image of a foreign page", "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n\r\n",
         403},
        {"somebody types the address", "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: none\r\n\r\n", 200},
        {"no secret", "POST /logging?level=info HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 403},
        {"the secret", POST SHOWN "\r\n", 200},
        {"another secret", POST PROXY_ADMIN_SECRET_HEADER ": ff" SECRET_REST "\r\n\r\n", 403},
        {"the beginning of the secret", POST PROXY_ADMIN_SECRET_HEADER ": 00112233\r\n\r\n", 403},
        {"the secret and more", POST PROXY_ADMIN_SECRET_HEADER ": " SECRET "0\r\n\r\n", 403},
        {"an empty secret", POST PROXY_ADMIN_SECRET_HEADER ":\r\n\r\n", 403},
        {"the secret in the wrong place", "POST /logging?secret=" SECRET " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 403},
        {"a page that knows it", POST SHOWN "Origin: http://127.0.0.1\r\n\r\n", 403},
        {"an opaque origin", POST SHOWN "Origin: null\r\n\r\n", 403},
        {"a name", "POST /logging?level=info HTTP/1.1\r\nHost: evil.example\r\n" SHOWN "\r\n", 403},
        {"HTTP/1.0 without Host", "POST /logging?level=info HTTP/1.0\r\n" SHOWN "\r\n", 403},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const char *answer = ask(admin_port(), rows[i].request);
        if (number(answer + 9) != rows[i].status)
            fail_msg("%s: %s", rows[i].what, answer);
    }
    assert_has(ask(stats_port, "GET /stats/prometheus HTTP/1.1\r\nHost: pod.demo\r\n\r\n"), "HTTP/1.1 200 ");
}

static void test_without_a_secret_nothing_changes(void **state)
{
    (void)state;
    const struct proxy_admin_secret none = {{0}};
    char nothing[PROXY_ADMIN_SECRET_LENGTH] = {0};
    assert_false(proxy_admin_secret_matches(&none, FL_SPAN("")));
    assert_false(proxy_admin_secret_matches(&none, fl_span_make(nothing, sizeof(nothing))));
}

static void test_the_secret_s_file(void **state)
{
    (void)state;
    char path[] = "/tmp/fl-secret-XXXXXX";
    struct proxy_admin_secret made, again, read;
    struct fl_err err = {0};
    struct stat about;
    assert_non_null(mkdtemp(path));
    assert_int_equal(proxy_admin_secret_read(path, &read, &err), -ENOENT);
    assert_int_equal(proxy_admin_secret_make(path, &made, &err), 0);
    assert_int_equal(stat(folder_in(path, PROXY_ADMIN_SECRET_FILE), &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_int_equal(proxy_admin_secret_read(path, &read, &err), 0);
    assert_true(proxy_admin_secret_matches(&made, fl_span_str(read.text)));
    assert_int_equal(proxy_admin_secret_make(path, &again, &err), 0); /* of the next start */
    assert_false(proxy_admin_secret_matches(&made, fl_span_str(again.text)));
    folder_put_str(path, PROXY_ADMIN_SECRET_FILE, "no secret at all");
    assert_int_equal(proxy_admin_secret_read(path, &read, &err), -EPROTO);
    folder_remove(path);
    assert_int_equal(proxy_admin_secret_make(path, &again, &err), -ENOENT);
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool good;
    } rows[] = {{"", true},
                {"127.0.0.1", true},
                {"127.0.0.1:1", true},
                {"[::1]", true},
                {"[::1]:65535", true},
                {"localhost", true},
                {"localhost:", false},
                {"localhost:x", false},
                {"127.0.0.1:65536", false},
                {"::1", false},
                {"[127.0.0.1]", false},
                {"[]", false},
                {"[", false},
                {"a", false},
                {"127.0.0.1.nip.io", false},
                {"127.255.0.9:80", true},
                {"128.0.0.1", false},
                {"0.0.0.0", false},
                {"[::]", false},
                {"[::ffff:127.0.0.1]", false},
                {"10.0.0.1", false},
                {":80", false}};
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        if (proxy_guard_host(fl_span_str(rows[i].host)) != rows[i].good)
            fail_msg("%s", rows[i].host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_stats_are_summed_on_all_ports),
        cmocka_unit_test(test_side_ports_serve_nothing_else),
        cmocka_unit_test(test_json_pages),
        cmocka_unit_test(test_the_dump_is_a_bootstrap),
        cmocka_unit_test(test_one_list_of_the_dump),
        cmocka_unit_test(test_json_shapes),
        cmocka_unit_test(test_without_a_secret_nothing_changes),
        cmocka_unit_test(test_the_secret_s_file),
        cmocka_unit_test(test_text_pages),
        cmocka_unit_test(test_logging),
        cmocka_unit_test(test_changes_need_post),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_an_early_question_is_kept),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_the_start_answers),
        cmocka_unit_test(test_the_end_of_who_waits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
