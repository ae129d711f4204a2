/* proxy/admin over real sockets: pages, methods, who may ask, limits. One thread: the test is the client, and turns the
 * server's loop while it waits. */
#include "common/base/log.h"
#include "common/doc/json.h"
#include "common/metrics/registry.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/guard.h"
#include "proxy/config/bootstrap.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/pki_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

struct world {
    struct fl_loop *loop;
    struct proxy_admin *admin;
    struct proxy_gate *gate;
    struct proxy_snapshot *snapshot;
    struct fl_metrics *metrics[2];
    enum proxy_server_state state;
    unsigned drained, quit;
    struct proxy_admin_host host;
};

static struct pki_folder folder;
static struct world world;

static enum proxy_server_state host_state(void *owner)
{
    return ((struct world *)owner)->state;
}

static const struct proxy_snapshot *host_snapshot(void *owner)
{
    return ((struct world *)owner)->snapshot;
}

static size_t host_registries(void *owner, struct fl_metrics **ret, size_t max)
{
    struct world *self = owner;
    assert_true(max >= 2);
    ret[0] = self->metrics[0];
    ret[1] = self->metrics[1];
    return 2;
}

static void host_drain(void *owner)
{
    ((struct world *)owner)->drained++;
}

static void host_quit(void *owner)
{
    ((struct world *)owner)->quit++;
}

static struct proxy_address local(uint16_t port)
{
    struct proxy_address result;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), port, &result), 0);
    return result;
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct proxy_address any = local(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = proxy_address_size(&any);
    assert_int_equal(bind(fd, &any.any, size), 0);
    assert_int_equal(getsockname(fd, &any.any, &size), 0);
    close(fd);
    return proxy_address_port(&any);
}

static uint16_t stats_port, merged_port, health_port;

static int setup(void **state)
{
    (void)state;
    pki_folder_init(&folder);
    world = (struct world){.state = PROXY_SERVER_LIVE};
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    pki_folder_golden(&folder, "client", &text);
    assert_int_equal(proxy_bootstrap_parse(fl_buf_span(&text), "client", NULL, &world.snapshot, NULL), 0);
    fl_buf_done(&text);
    assert_int_equal(fl_loop_new(&world.loop), 0);
    assert_int_equal(fl_metrics_new(&world.metrics[0]), 0);
    assert_int_equal(fl_metrics_new(&world.metrics[1]), 0);
    static const struct fl_metric_family family = {
        .name = "things_total", .help = "Things.", .kind = FL_METRIC_COUNTER};
    fl_counter_add(fl_metrics_counter(world.metrics[0], &family, NULL), 2);
    fl_counter_add(fl_metrics_counter(world.metrics[1], &family, NULL), 3);
    world.host = (struct proxy_admin_host){.owner = &world,
                                           .state = host_state,
                                           .snapshot = host_snapshot,
                                           .registries = host_registries,
                                           .drain = host_drain,
                                           .quit = host_quit};
    const struct proxy_gate_options gate = {.loop = world.loop, .wait = true};
    assert_int_equal(proxy_gate_new(&gate, &world.gate), 0);
    stats_port = free_port();
    merged_port = free_port();
    health_port = free_port();
    const struct proxy_admin_options options = {.loop = world.loop,
                                                .address = local(0),
                                                .sidecar = true,
                                                .stats_port = stats_port,
                                                .merged_port = merged_port,
                                                .health_port = health_port,
                                                .gate = world.gate,
                                                .host = &world.host};
    struct fl_err err = {0};
    if (proxy_admin_new(&options, &world.admin, &err) != 0)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    proxy_admin_free(world.admin);
    proxy_gate_free(world.gate);
    fl_loop_free(world.loop);
    fl_metrics_free(world.metrics[0]);
    fl_metrics_free(world.metrics[1]);
    proxy_snapshot_unref(world.snapshot);
    pki_folder_done(&folder);
    return 0;
}

static uint16_t admin_port(void)
{
    struct proxy_address address = proxy_admin_address(world.admin);
    return proxy_address_port(&address);
}

/* -- the client -- */

static int dial(uint16_t port)
{
    struct proxy_address to = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &to.any, proxy_address_size(&to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* A number at the start of `text`. */
static unsigned number(const char *text)
{
    uint64_t value = 0;
    assert_true(fl_span_to_u64(fl_span_make(text, strspn(text, "0123456789")), UINT32_MAX, &value));
    return (unsigned)value;
}

/* Turns the loop until the answer is whole (by its content-length), or the server has closed. False: closed. */
static bool hear(int fd, struct fl_buf *answer, bool head_only)
{
    fl_buf_clear(answer);
    for (unsigned i = 0; i < 2000; i++) {
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
        assert_int_equal(fl_buf_reserve(answer, 65536), 0);
        ssize_t got = recv(fd, answer->data + answer->len, 65536, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return false;
        if (got > 0)
            answer->len += (size_t)got;
        const char *text = fl_buf_str(answer), *end = strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "content-length: ");
        if (end != NULL && (head_only || (length != NULL && strlen(end + 4) >= number(length + 16))))
            return true;
    }
    fail_msg("no answer");
    return false;
}

/* One request on a connection of its own; the answer as text, owned by the static buffer. */
static const char *ask(uint16_t port, const char *request)
{
    static struct fl_buf answer;
    if (answer.max == 0)
        fl_buf_init(&answer, 1u << 24);
    int fd = dial(port);
    say(fd, request);
    hear(fd, &answer, strncmp(request, "HEAD", 4) == 0);
    close(fd);
    assert_true(fl_loop_turn(world.loop, 1) >= 0);
    return fl_buf_str(&answer);
}

static const char *get(uint16_t port, const char *path)
{
    char request[256];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
    return ask(port, request);
}

static const char *post(uint16_t port, const char *path)
{
    char request[256];
    snprintf(request, sizeof(request), "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n", path);
    return ask(port, request);
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("expected \"%s\" in:\n%s", part, text);
}

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
    static const char *const paths[] = {"/server_info", "/config_dump", "/certs", "/memory", "/listeners?format=json"};
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
    assert_has(get(admin_port(), "/help"), "  /quitquitquit: POST: drain and exit\n");
    assert_has(get(admin_port(), "/"), "admin commands are:\n");
    assert_has(get(admin_port(), "/nothing"), "HTTP/1.1 404 Not Found\r\n");
}

static void test_logging(void **state)
{
    (void)state;
    fl_log_set_level(FL_LOG_INFO);
    assert_has(get(admin_port(), "/logging"), "\r\n\r\nlevel: info\n");
    assert_has(post(admin_port(), "/logging?level=debug"), "\r\n\r\nlevel: debug\n");
    assert_int_equal(fl_log_get_level(), FL_LOG_DEBUG);
    assert_has(post(admin_port(), "/logging?level=loud"), "HTTP/1.1 400 ");
    assert_has(post(admin_port(), "/logging"), "HTTP/1.1 400 ");
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
    assert_int_equal(world.quit + world.drained, 0);
    assert_has(post(admin_port(), "/drain_listeners"), "\r\n\r\nOK\n");
    assert_int_equal(world.drained, 1);
    assert_has(post(admin_port(), "/quitquitquit"), "\r\n\r\nOK\n");
    assert_int_equal(world.quit, 1);
    assert_has(post(admin_port(), "/ready"), "HTTP/1.1 405 ");
}

static void test_health(void **state)
{
    (void)state;
    assert_has(get(health_port, "/healthz/started"), "HTTP/1.1 503 ");
    assert_has(get(health_port, "/healthz/ready"), "HTTP/1.1 503 ");
    assert_has(get(health_port, "/healthz/ready"), "start gate: waiting\n");
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
    assert_has(get(health_port, "/healthz/started"), "HTTP/1.1 200 ");
    assert_has(get(health_port, "/healthz/ready"), "\r\n\r\nLIVE\n");
    world.state = PROXY_SERVER_DRAINING;
    assert_has(get(health_port, "/healthz/started"), "HTTP/1.1 200 ");
    assert_has(get(health_port, "/healthz/ready"), "HTTP/1.1 503 ");
    world.state = PROXY_SERVER_LIVE;
}

/* -- who may ask -- */

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
        {"foreign page reads: its browser keeps the answer from it",
         "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n", 200},
        {"foreign page posts",
         "POST /logging?level=info HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n", 403},
        {"opaque origin posts", "POST /logging?level=info HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: null\r\n\r\n", 403},
        {"own page posts",
         "POST /logging?level=info HTTP/1.1\r\nHost: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:1\r\n\r\n", 200},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const char *answer = ask(admin_port(), rows[i].request);
        if (number(answer + 9) != rows[i].status)
            fail_msg("%s: %s", rows[i].what, answer);
    }
    assert_has(ask(stats_port, "GET /stats/prometheus HTTP/1.1\r\nHost: pod.demo\r\n\r\n"), "HTTP/1.1 200 ");
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
                {":80", false}};
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        if (proxy_guard_host(fl_span_str(rows[i].host)) != rows[i].good)
            fail_msg("%s", rows[i].host);
}

/* -- HTTP -- */

static void test_bad_requests(void **state)
{
    (void)state;
    static const struct {
        const char *what, *request;
        unsigned status;
    } rows[] = {
        {"not HTTP", "nonsense\r\n\r\n", 400},
        {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
        {"both framings", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"HTTP/2's version", "GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 505},
        {"a body", "POST /logging?level=info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx", 413},
        {"a chunked body", "POST /logging HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         413},
        {"another method", "DELETE /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const char *answer = ask(admin_port(), rows[i].request);
        if (number(answer + 9) != rows[i].status)
            fail_msg("%s: %s", rows[i].what, answer);
    }
}

static void test_head_too_large(void **state)
{
    (void)state;
    static char request[PROXY_ADMIN_HEAD_MAX + 64];
    int begin = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ");
    memset(request + begin, 'x', PROXY_ADMIN_HEAD_MAX - (size_t)begin);
    request[PROXY_ADMIN_HEAD_MAX] = '\0';
    assert_has(ask(admin_port(), request), "HTTP/1.1 431 ");
}

static void test_keep_alive(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(admin_port());
    for (int i = 0; i < 3; i++) {
        say(fd, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert_true(hear(fd, &answer, false));
        assert_null(strstr(fl_buf_str(&answer), "connection: close"));
    }
    say(fd, "GET /re");
    assert_true(fl_loop_turn(world.loop, 5) >= 0);
    say(fd, "ady HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    hear(fd, &answer, false);
    assert_has(fl_buf_str(&answer), "connection: close\r\n");
    assert_false(hear(fd, &answer, false)); /* it is closed */
    close(fd);
    fl_buf_done(&answer);
}

static void test_pipelining_gets_one_answer(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(admin_port());
    say(fd, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    hear(fd, &answer, false);
    const char *text = fl_buf_str(&answer);
    assert_has(text, "connection: close\r\n");
    assert_null(strstr(text + 1, "HTTP/1.1"));
    close(fd);
    fl_buf_done(&answer);
}

static void test_head_has_no_body(void **state)
{
    (void)state;
    const char *answer = ask(admin_port(), "HEAD /help HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_has(answer, "HTTP/1.1 200 OK\r\n");
    assert_null(strstr(answer, "content-length: 0\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void test_half_closed_client_is_answered(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(admin_port());
    say(fd, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    hear(fd, &answer, false);
    assert_has(fl_buf_str(&answer), "LIVE\n");
    close(fd);
    fl_buf_done(&answer);
}

static void test_connections_are_bounded(void **state)
{
    (void)state;
    int fds[PROXY_ADMIN_CONNECTIONS_MAX + 1];
    for (size_t i = 0; i < FL_COUNT(fds); i++) {
        fds[i] = dial(stats_port);
        assert_true(fl_loop_turn(world.loop, 5) >= 0);
    }
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    assert_false(hear(fds[PROXY_ADMIN_CONNECTIONS_MAX], &answer, false)); /* one too many: closed at once */
    assert_has(get(admin_port(), "/ready"), "LIVE");                      /* another port is not concerned */
    for (size_t i = 0; i < FL_COUNT(fds); i++)
        close(fds[i]);
    for (int i = 0; i < 50; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    assert_has(get(stats_port, "/stats/prometheus"), "things_total 5");
    fl_buf_done(&answer);
}

/* Out of descriptors: accepting pauses, the loop does not spin, and it comes back. */
static void test_out_of_descriptors(void **state)
{
    (void)state;
    int fd = dial(stats_port);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    unsigned turns = 0;
    uint64_t start = fl_loop_now_ms(world.loop);
    while (fl_loop_now_ms(world.loop) - start < 150 && turns < 10000) {
        assert_true(fl_loop_turn(world.loop, 50) >= 0);
        turns++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(turns < 1000);
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    say(fd, "GET /stats/prometheus HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(hear(fd, &answer, false));
    close(fd);
    fl_buf_done(&answer);
}

/* An answer larger than the socket takes: nothing else waits for its reader, and all of it arrives. */
static void test_a_slow_reader(void **state)
{
    (void)state;
    static const char *const labels[] = {"x"};
    static struct fl_metric_family families[8];
    static char names[8][16];
    char value[200];
    for (size_t i = 0; i < FL_COUNT(families); i++) {
        snprintf(names[i], sizeof(names[i]), "big%zu_total", i);
        families[i] = (struct fl_metric_family){
            .name = names[i], .help = "Big.", .kind = FL_METRIC_COUNTER, .label_names = labels, .label_count = 1};
        for (int k = 0; k < 900; k++) {
            snprintf(value, sizeof(value), "%0190d", k);
            struct fl_span span = fl_span_str(value);
            fl_counter_add(fl_metrics_counter(world.metrics[0], &families[i], &span), 1);
        }
    }
    int small = 4096, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct proxy_address to = local(stats_port);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(connect(fd, &to.any, proxy_address_size(&to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    say(fd, "GET /stats/prometheus HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 10; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    assert_has(get(admin_port(), "/ready"), "LIVE");
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 24);
    assert_true(hear(fd, &answer, false));
    assert_true(answer.len > 1u << 20);
    close(fd);
    fl_buf_done(&answer);
}

/* A head that does not come to its end, and one that trickles, are given up after the same time. */
static void test_a_slow_head(void **state)
{
    (void)state;
    int fd = dial(health_port);
    uint64_t start = fl_loop_now_ms(world.loop), now = start, last = start;
    bool open = true;
    say(fd, "GET /");
    while (open && now - start < 2 * PROXY_ADMIN_HEAD_MS) {
        assert_true(fl_loop_turn(world.loop, 100) >= 0);
        now = fl_loop_now_ms(world.loop);
        if (now - last >= 500)
            (void)send(fd, "x", 1, MSG_NOSIGNAL);
        last = now - last >= 500 ? now : last;
        char byte;
        ssize_t got = recv(fd, &byte, 1, 0);
        open = got < 0 && errno == EAGAIN;
    }
    assert_false(open);
    assert_in_range(now - start, PROXY_ADMIN_HEAD_MS - 200, PROXY_ADMIN_HEAD_MS + 2000);
    close(fd);
}

static void test_a_port_in_use_is_told(void **state)
{
    (void)state;
    const struct proxy_admin_options options = {
        .loop = world.loop, .address = local(admin_port()), .host = &world.host};
    struct proxy_admin *admin = NULL;
    struct fl_err err = {0};
    assert_int_equal(proxy_admin_new(&options, &admin, &err), -EADDRINUSE);
    assert_has(err.text, "listen on 127.0.0.1:");
    assert_null(admin);
}

static void test_memory_running_out(void **state)
{
    (void)state;
    struct fl_err err;
    FAIL_EACH_ALLOCATION
    {
        const struct proxy_admin_options options = {.loop = world.loop, .address = local(0), .host = &world.host};
        struct proxy_admin *admin = NULL;
        int result = proxy_admin_new(&options, &admin, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_admin_free(admin);
        assert_true(fl_loop_turn(world.loop, 0) >= 0);
    }
    FAIL_EACH_ALLOCATION
    {
        int fd = dial(admin_port());
        say(fd, "GET /server_info HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        for (int i = 0; i < 20; i++)
            assert_true(fl_loop_turn(world.loop, 0) >= 0);
        fail_stop();
        close(fd);
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    }
    assert_has(get(admin_port(), "/ready"), "LIVE"); /* it lives */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_stats_are_summed_on_all_ports),
        cmocka_unit_test(test_side_ports_serve_nothing_else),
        cmocka_unit_test(test_json_pages),
        cmocka_unit_test(test_the_dump_is_a_bootstrap),
        cmocka_unit_test(test_text_pages),
        cmocka_unit_test(test_logging),
        cmocka_unit_test(test_changes_need_post),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_head_too_large),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipelining_gets_one_answer),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_half_closed_client_is_answered),
        cmocka_unit_test(test_connections_are_bounded),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_a_slow_reader),
        cmocka_unit_test(test_a_slow_head),
        cmocka_unit_test(test_a_port_in_use_is_told),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
