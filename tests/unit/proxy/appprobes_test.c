/* 15020 asks an app: probes and the merged page over real sockets, the app being a second server on the same loop. */
#include "common/mesh/label.h"
#include "proxy/admin/apphealth.h"
#include "proxy/admin/appprobes.h"
#include "proxy/admin/appscrape.h"
#include "proxy/admin/serving.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/admin_world.h"

static struct {
    struct proxy_serving *serving;
    size_t held;
    uint16_t port, closed_port;
    unsigned asked;
    char host[64], agent[64];
    struct proxy_serving_wait waits[4];
    size_t wait_count, gone;
    struct proxy_podapp pod;
} app;

static void on_app_gone(struct proxy_serving_wait *wait)
{
    (void)wait;
    app.gone++;
}

static void copy(char *to, size_t size, struct fl_span value)
{
    snprintf(to, size, "%.*s", FL_SPAN_ARG(value));
}

static void serve_app(void *owner, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)owner;
    struct fl_span path = proxy_message_path_only(request);
    app.asked++;
    copy(app.host, sizeof(app.host), request->authority);
    copy(app.agent, sizeof(app.agent), proxy_headers_value(&request->headers, PROXY_HEADER_USER_AGENT));
    if (fl_span_eq_str(path, "/hold") && app.wait_count < FL_COUNT(app.waits)) {
        struct proxy_serving_wait *wait = &app.waits[app.wait_count++];
        *wait = (struct proxy_serving_wait){.on_gone = on_app_gone};
        answer->wait = wait;
        return;
    }
    answer->status = fl_span_eq_str(path, "/fail") ? 418 : 200;
    int result = 0;
    if (fl_span_eq_str(path, "/large")) {
        for (int i = 0; i < 20000 && result == 0; i++)
            result = fl_buf_append_str(&answer->body, "secret ");
    } else if (fl_span_eq_str(path, "/metrics")) {
        result = fl_buf_append_str(&answer->body, "# TYPE app_things gauge\napp_things 7\nthings_total 9\ngarbage!\n");
    } else {
        result = fl_buf_append_str(&answer->body, "secret\n");
    }
    if (result != 0) /* memory is out, in one of the tests */
        answer->status = 500;
}

static void add(const char *container, enum fl_appprobe_kind kind, const char *path, uint16_t port)
{
    static const struct fl_appprobe_header host = {FL_SPAN("Host"), FL_SPAN("app.local")};
    const struct fl_appprobe probe = {.container = fl_span_str(container),
                                      .kind = kind,
                                      .port = port,
                                      .handler = path != NULL ? FL_APPPROBE_HTTP_GET : FL_APPPROBE_TCP_SOCKET,
                                      .path = fl_span_str(path),
                                      .headers = &host,
                                      .header_count = 1,
                                      .timeout_s = fl_appprobe_kind_is_lifecycle(kind) ? 0 : 1};
    assert_int_equal(fl_appprobes_put(&app.pod.probes, &probe, NULL), 0);
}

static int setup_app(void **state)
{
    memset(&app, 0, sizeof(app));
    app.port = free_port();
    app.closed_port = free_port();
    fl_appprobes_init(&app.pod.probes);
    app.pod.address = local(0);
    add("ok", FL_APPPROBE_READYZ, "/ok", app.port);
    add("ok", FL_APPPROBE_STARTUPZ, NULL, app.port);
    add("ok", FL_APPPROBE_PRESTOPZ, "/fail", app.port);
    add("bad", FL_APPPROBE_READYZ, "/fail", app.port);
    add("bad", FL_APPPROBE_LIVEZ, "/large", app.port);
    add("bad", FL_APPPROBE_STARTUPZ, "/", app.closed_port);
    add("bad", FL_APPPROBE_PRESTOPZ, "/", app.closed_port);
    add("slow", FL_APPPROBE_LIVEZ, "/hold", app.port);
    add("slow", FL_APPPROBE_PRESTOPZ, "/hold", app.port);
    app.pod.has_metrics = true;
    assert_int_equal(fl_appmetrics_set((struct fl_span){NULL, 0}, (struct fl_span){NULL, 0}, (struct fl_span){NULL, 0},
                                       app.port, &app.pod.metrics, NULL),
                     0);
    world_app = &app.pod;
    setup(state);
    const struct proxy_serving_options options = {
        .loop = world.loop, .address = local(app.port), .handle = serve_app, .held = &app.held};
    assert_int_equal(proxy_serving_new(&options, &app.serving, NULL), 0);
    return 0;
}

static int teardown_app(void **state)
{
    app.serving = proxy_serving_free(app.serving);
    teardown(state);
    fl_appprobes_done(&app.pod.probes);
    return 0;
}

static void answer_held(size_t index)
{
    struct proxy_answer answer;
    proxy_answer_init(&answer);
    assert_int_equal(fl_buf_append_str(&answer.body, "at last\n"), 0);
    proxy_serving_answer(&app.waits[index], &answer);
}

static void turn_until_held(size_t count)
{
    for (int i = 0; i < 2000 && app.wait_count < count; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    assert_int_equal(app.wait_count, count);
}

static double counted(const char *kind, const char *result)
{
    const struct fl_span values[] = {fl_span_str(kind), fl_span_str(result)};
    return fl_metrics_value(world.metrics[0], "fairlead_app_probes_total", values);
}

static void the_apps_status_goes_on_and_its_words_do_not(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        unsigned status;
        const char *body;
    } rows[] = {
        {"/app-health/ok/readyz", 200, "the app answered 200\n"},
        {"/app-health/ok/startupz", 200, "the app accepts connections\n"},
        {"/app-lifecycle/ok/prestopz", 418, "the app answered 418\n"},
        {"/app-health/bad/readyz", 418, "the app answered 418\n"},
        {"/app-health/bad/livez", 200, "the app answered 200\n"},
        {"/app-health/bad/startupz", 502, "Connection refused\n"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const char *answer = get(merged_port, rows[i].path);
        if (number(answer + 9) != rows[i].status)
            fail_msg("%s: %s", rows[i].path, answer);
        assert_has(answer, rows[i].body);
        assert_null(strstr(answer, "secret"));
    }
    assert_true(counted("readyz", "succeeded") == 1 && counted("readyz", "failed") == 1);
    assert_true(counted("startupz", "connect") == 1 && counted("prestopz", "succeeded") == 1);
    const char *head = ask(merged_port, "HEAD /app-health/ok/readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(head, "HTTP/1.1 200 OK\r\n");
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
}

static void the_app_hears_the_probes_headers_and_the_kubelets_name(void **state)
{
    (void)state;
    get(merged_port, "/app-health/ok/readyz");
    assert_string_equal(app.host, "app.local");
    assert_string_equal(app.agent, "kube-probe/1");
    ask(merged_port, "GET /app-health/ok/readyz HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.37\r\n\r\n");
    assert_string_equal(app.agent, "kube-probe/1.37");
    ask(merged_port, "GET /app-health/ok/readyz HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/evil\r\n\r\n");
    assert_string_equal(app.agent, "kube-probe/1");
}

static void an_unknown_path_is_told_what_there_is(void **state)
{
    (void)state;
    static const char *const paths[] = {"/app-health/ok/livez", "/app-health/none/readyz", "/app-health/",
                                        "/app-lifecycle/ok/readyz"};
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        const char *answer = get(merged_port, paths[i]);
        assert_has(answer, "HTTP/1.1 404 ");
        assert_has(answer, "no such probe; there are:\n  /app-health/bad/startupz\n");
        assert_has(answer, "  /app-lifecycle/slow/prestopz\n");
    }
    assert_has(get(merged_port, "/other"), "/app-health/<container>/{startupz,readyz,livez}\n");
    assert_has(post(merged_port, "/app-health/ok/readyz"), "HTTP/1.1 404 ");
    assert_has(get(stats_port, "/app-health/ok/readyz"), "HTTP/1.1 404 ");
    assert_has(get(admin_port(), "/app-health/ok/readyz"), "HTTP/1.1 404 ");
    assert_int_equal(app.asked, 0);
}

/* The kubelet takes any status of a hook for success: where there was no answer it gets none. */
static void a_hook_without_an_answer_gets_none(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(merged_port);
    say(fd, "GET /app-lifecycle/bad/prestopz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_false(hear(fd, &answer, false));
    assert_int_equal(answer.len, 0);
    close(fd);
    fl_buf_done(&answer);
    assert_true(counted("prestopz", "connect") == 1);
}

static void those_who_ask_at_once_share_one_question(void **state)
{
    (void)state;
    int fds[5];
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    for (size_t i = 0; i < FL_COUNT(fds); i++) {
        fds[i] = dial(merged_port);
        say(fds[i], "GET /app-health/slow/livez HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    turn_until_held(1);
    /* Others are answered meanwhile. */
    assert_has(get(merged_port, "/app-health/ok/readyz"), "HTTP/1.1 200 ");
    assert_has(get(admin_port(), "/ready"), "LIVE\n");
    answer_held(0);
    for (size_t i = 0; i < FL_COUNT(fds); i++) {
        assert_true(hear(fds[i], &answer, false));
        assert_has(fl_buf_str(&answer), "HTTP/1.1 200 ");
        close(fds[i]);
    }
    assert_int_equal(app.asked, 2);
    fl_buf_done(&answer);
}

static void a_question_that_nobody_waits_for_is_given_up(void **state)
{
    (void)state;
    int first = dial(merged_port), second = dial(merged_port);
    say(first, "GET /app-lifecycle/slow/prestopz HTTP/1.1\r\nHost: a\r\n\r\n");
    say(second, "GET /app-lifecycle/slow/prestopz HTTP/1.1\r\nHost: a\r\n\r\n");
    turn_until_held(1);
    close(first);
    for (int i = 0; i < 20; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    assert_int_equal(app.gone, 0);
    close(second);
    for (int i = 0; i < 2000 && app.gone == 0; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    assert_true(counted("prestopz", "gone") == 1);
}

static void a_late_answer_is_a_timeout(void **state)
{
    (void)state;
    assert_has(get(merged_port, "/app-health/slow/livez"), "HTTP/1.1 504 ");
    assert_true(counted("livez", "timeout") == 1);
}

/* A client that had said it would close may close its side at once. */
static void a_half_closed_client_is_answered(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(merged_port);
    say(fd, "GET /app-health/slow/livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    turn_until_held(1);
    answer_held(0);
    hear(fd, &answer, false);
    assert_has(fl_buf_str(&answer), "HTTP/1.1 200 ");
    close(fd);
    fl_buf_done(&answer);
}

/* More clients than there is room for: the one who has them loses some, everybody else is heard. */
static void waiting_clients_make_room(void **state)
{
    (void)state;
    int fds[PROXY_ADMIN_CONNECTIONS_MAX];
    for (size_t i = 0; i < FL_COUNT(fds); i++) {
        fds[i] = dial(merged_port);
        say(fds[i], "GET /app-lifecycle/slow/prestopz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    }
    turn_until_held(1);
    assert_has(get(merged_port, "/app-health/ok/readyz"), "HTTP/1.1 200 ");
    for (size_t i = 0; i < FL_COUNT(fds); i++)
        close(fds[i]);
}

static void the_merged_page_is_ours_and_then_the_apps(void **state)
{
    (void)state;
    const char *page = get(merged_port, "/stats/prometheus");
    assert_has(page, "text/plain; version=0.0.4");
    assert_has(page, "things_total 5\n");
    assert_null(strstr(page, "things_total 9"));
    assert_null(strstr(page, "garbage"));
    assert_true(strstr(page, "app_things 7\n") > strstr(page, "things_total 5\n"));
    assert_has(page, "fairlead_app_scrapes_total{result=\"merged\"} 1\n");
    assert_has(page, "fairlead_app_metrics_lines_dropped_total{reason=\"collision\"} 1\n");
    assert_has(page, "fairlead_app_metrics_lines_dropped_total{reason=\"malformed\"} 1\n");
    const char *own = get(stats_port, "/stats/prometheus");
    assert_has(own, "things_total 5\n");
    assert_null(strstr(own, "app_things"));
}

static void an_app_that_fails_spoils_nothing(void **state)
{
    (void)state;
    app.serving = proxy_serving_free(app.serving);
    const char *page = get(merged_port, "/stats/prometheus");
    assert_has(page, "HTTP/1.1 200 ");
    assert_has(page, "things_total 5\n");
    assert_has(page, "fairlead_app_scrapes_total{result=\"connect\"} 1\n");
    const struct proxy_serving_options options = {
        .loop = world.loop, .address = local(app.port), .handle = serve_app, .held = &app.held};
    assert_int_equal(proxy_serving_new(&options, &app.serving, NULL), 0);
    assert_has(get(merged_port, "/stats/prometheus"), "app_things 7\n");
}

static void a_scrapers_patience(void **state)
{
    (void)state;
    static const struct {
        struct fl_span text;
        uint64_t ms;
    } patience[] = {
        {{NULL, 0}, 9500},
        {FL_SPAN("10"), 9500},
        {FL_SPAN("10.000000"), 9500},
        {FL_SPAN("1.5"), 1350},
        {FL_SPAN("0.25"), 225},
        {FL_SPAN("3600"), 60000},
        {FL_SPAN("-1"), 9500},
        {FL_SPAN("0"), 9500},
        {FL_SPAN("1e3"), 9500},
        {FL_SPAN("999999999999999999999"), 9500},
    };
    for (size_t i = 0; i < FL_COUNT(patience); i++)
        assert_int_equal(proxy_appscrape_wait_ms(patience[i].text), patience[i].ms);
}

static void health_messages(void **state)
{
    (void)state;
    char to[260], name[200];
    memset(name, 'n', sizeof(name));
    assert_int_equal(proxy_apphealth_request((struct fl_span){NULL, 0}, to), 0);
    assert_int_equal(proxy_apphealth_request(FL_SPAN("ab"), to), 4);
    assert_memory_equal(to,
                        "\x0a\x02"
                        "ab",
                        4);
    assert_int_equal(proxy_apphealth_request(fl_span_make(name, sizeof(name)), to), 203);
    assert_memory_equal(to, "\x0a\xc8\x01nn", 5);
    static const struct {
        struct fl_span message;
        int status;
    } rows[] = {
        {{NULL, 0}, 0},
        {FL_SPAN("\x08\x01"), 1},
        {FL_SPAN("\x08\x02"), 2},
        {FL_SPAN("\x08\x02\x08\x01"), 1},
        {FL_SPAN("\x12\x03xyz\x08\x01"), 1},
        {FL_SPAN("\x10\x05\x19xxxxxxxx\x25yyyy\x08\x01"), 1},
        {FL_SPAN("\x08"), -1},
        {FL_SPAN("\x12\x7fx"), -1},
        {FL_SPAN("\x0b"), -1},
        {FL_SPAN("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), -1},
        {FL_SPAN("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), -1},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        assert_int_equal(proxy_apphealth_status(rows[i].message), rows[i].status);
}

static const char *variables[3];

static const char *variable(void *owner, const char *name)
{
    (void)owner;
    return strcmp(name, FL_ENV_PROBES) == 0    ? variables[0]
           : strcmp(name, FL_ENV_METRICS) == 0 ? variables[1]
                                               : variables[2];
}

static void the_environment_says_what_to_ask(void **state)
{
    (void)state;
    static const char probes[] = "{\"version\":1,\"probes\":[{\"container\":\"a\",\"kind\":\"livez\",\"tcpSocket\":"
                                 "{\"port\":80},\"timeoutSeconds\":1}]}";
    static const char metrics[] = "{\"version\":1,\"scheme\":\"http\",\"port\":80,\"path\":\"/m\"}";
    static const struct {
        const char *probes, *metrics, *ips;
        int result;
        const char *text;
    } rows[] = {
        {NULL, NULL, NULL, 0, NULL},
        {"", "", "nonsense", 0, NULL},
        {probes, metrics, NULL, 0, "127.0.0.1:0"},
        {probes, NULL, "fd00::1,10.0.0.1", 0, "[fd00::1]:0"},
        {NULL, metrics, "10.0.0.1", 0, "10.0.0.1:0"},
        {probes, NULL, "nonsense", -EINVAL, "POD_IPS: expected"},
        {"{}", NULL, NULL, -EINVAL, "FAIRLEAD_PROBES: $.version"},
        {NULL, "{\"version\":9}", NULL, -ENOTSUP, "FAIRLEAD_METRICS: $.version"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_podapp pod = {.has_metrics = false};
        struct fl_err err = {0};
        char address[PROXY_ADDRESS_TEXT_MAX];
        variables[0] = rows[i].probes;
        variables[1] = rows[i].metrics;
        variables[2] = rows[i].ips;
        assert_int_equal(proxy_podapp_read(variable, NULL, &pod, &err), rows[i].result);
        proxy_address_print(&pod.address, address);
        if (rows[i].text != NULL)
            assert_has(rows[i].result == 0 ? address : err.text, rows[i].text);
        assert_int_equal(pod.probes.count, rows[i].result == 0 && rows[i].probes == probes);
        proxy_podapp_done(&pod);
    }
}

/* Whatever allocation fails, somebody who asks gets an answer or a closed connection, and the next one is served. */
static void memory_that_is_out_ends_one_question(void **state)
{
    (void)state;
    static const char *const paths[] = {"/app-health/ok/readyz", "/stats/prometheus"};
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        char request[128];
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);
        for (size_t nth = 1; nth < 400; nth++) {
            int fd = dial(merged_port);
            say(fd, request);
            fail_at(nth);
            bool over = false;
            for (int turns = 0; turns < 3000 && !over; turns++) {
                char scratch[4096];
                assert_true(fl_loop_turn(world.loop, 1) >= 0);
                ssize_t got = recv(fd, scratch, sizeof(scratch), 0);
                over = got >= 0 || errno != EAGAIN;
            }
            fail_stop();
            bool failed = fail_happened();
            assert_true(over);
            close(fd);
            if (!failed)
                break;
        }
        assert_has(get(merged_port, paths[i]), "HTTP/1.1 200 ");
    }
}

#define APP(test) cmocka_unit_test_setup_teardown(test, setup_app, teardown_app)

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP(the_apps_status_goes_on_and_its_words_do_not),
        APP(the_app_hears_the_probes_headers_and_the_kubelets_name),
        APP(an_unknown_path_is_told_what_there_is),
        APP(a_hook_without_an_answer_gets_none),
        APP(those_who_ask_at_once_share_one_question),
        APP(a_question_that_nobody_waits_for_is_given_up),
        APP(a_late_answer_is_a_timeout),
        APP(a_half_closed_client_is_answered),
        APP(waiting_clients_make_room),
        APP(the_merged_page_is_ours_and_then_the_apps),
        APP(an_app_that_fails_spoils_nothing),
        cmocka_unit_test(a_scrapers_patience),
        cmocka_unit_test(health_messages),
        cmocka_unit_test(the_environment_says_what_to_ask),
        APP(memory_that_is_out_ends_one_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
