/* proxy/filter/head: what each field of the connection manager makes of a request and of its answer. */
#include "tests/unit/proxy/filter_fixture.h"

#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#define OK        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: web\r\n"
#define END       "\r\n"
#define TOLD      "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nx-forwarded-for: 3.3.3.3\r\n"

/* A request to the proxy on 127.0.0.1, and what the origin gets of it, or the client at once. */
struct row {
    const char *what;
    struct proxy_hcm_config config; /* these fields alone matter: see begin */
    const char *request;
    const char *forwarded; /* NULL: never */
    const char *answered;  /* the beginning, where it is not forwarded */
    const char *logged;    /* path and client's address (NULL: not looked at) */
};

#define NORMALIZE    .path = {.normalize = true}
#define SLASHES(how) .path = {.escaped_slashes = PROXY_SLASHES_##how}

static const struct row rows[] = {
    {"nothing is set",
     {.use_remote_address = false},
     GET("/a//../%2e") TOLD END,
     GET("/a//../%2e") TOLD END,
     NULL,
     "/a//../%2e 127.0.0.1"},

    {"the route is found by the path that goes on",
     {NORMALIZE},
     GET("/x/%2e%2e/direct") END,
     NULL,
     "HTTP/1.1 200",
     "/x/%2e%2e/direct 127.0.0.1"},
    {"normalized", {NORMALIZE}, GET("/x/../a?b=..") END, GET("/a?b=..") END, NULL, "/x/../a?b=.. 127.0.0.1"},
    {"normalized, absolute target", {NORMALIZE}, GET("http://web/x/../a") END, GET("http://web/a") END, NULL, NULL},
    {"merged", {.path = {.merge_slashes = true}}, GET("//a//b") END, GET("/a/b") END, NULL, "//a//b 127.0.0.1"},
    {"an escaped NUL", {NORMALIZE}, GET("/%00") END, NULL, "HTTP/1.1 400", "/%00 127.0.0.1"},
    {"escaped slash refused", {SLASHES(REJECT)}, GET("/a%2fb") END, NULL, "HTTP/1.1 400", NULL},
    {"escaped slash forwarded", {SLASHES(FORWARD_UNESCAPED)}, GET("/a%2fb") END, GET("/a/b") END, NULL, NULL},
    {"an asterisk is no path, and goes where all goes",
     {NORMALIZE},
     "OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n",
     "OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n",
     NULL,
     "* 127.0.0.1"},

    {"any port",
     {.strip_any_host_port = true},
     "GET / HTTP/1.1\r\nHost: [::1]:99\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
     NULL,
     NULL},
    {"no port",
     {.strip_any_host_port = true},
     "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
     NULL,
     NULL},
    {"another port",
     {.strip_matching_host_port = true},
     "GET / HTTP/1.1\r\nHost: web:1\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: web:1\r\n\r\n",
     NULL,
     NULL},

    {"the client is appended",
     {.use_remote_address = true},
     GET("/") END,
     GET("/") "x-forwarded-for: 127.0.0.1\r\n" END,
     NULL,
     "/ 127.0.0.1"},
    {"the client is appended to the last list",
     {.use_remote_address = true},
     GET("/") TOLD END,
     GET("/") "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nx-forwarded-for: 3.3.3.3, 127.0.0.1\r\n" END,
     NULL,
     "/ 127.0.0.1"},
    {"not appended",
     {.use_remote_address = true, .skip_xff_append = true},
     GET("/") TOLD END,
     GET("/") TOLD END,
     NULL,
     "/ 127.0.0.1"},
    {"one trusted proxy, which connected",
     {.use_remote_address = true, .skip_xff_append = true, .xff_trusted_hops = 1},
     GET("/") TOLD END,
     GET("/") TOLD END,
     NULL,
     "/ 3.3.3.3"},
    {"one trusted proxy in the list", {.xff_trusted_hops = 1}, GET("/") TOLD END, GET("/") TOLD END, NULL, "/ 2.2.2.2"},
    {"as many as there are", {.xff_trusted_hops = 2}, GET("/") TOLD END, GET("/") TOLD END, NULL, "/ 1.1.1.1"},
    {"more than there are", {.xff_trusted_hops = 3}, GET("/") TOLD END, GET("/") TOLD END, NULL, "/ 127.0.0.1"},
    {"no address",
     {.xff_trusted_hops = 1},
     GET("/") "x-forwarded-for: unknown, 3.3.3.3\r\n" END,
     GET("/") "x-forwarded-for: unknown, 3.3.3.3\r\n" END,
     NULL,
     "/ 127.0.0.1"},

    {"via",
     {.via = FL_SPAN("1.1 us")},
     GET("/") "Via: 1.0 them\r\n" END,
     GET("/") "Via: 1.0 them\r\nvia: 1.1 us\r\n" END,
     NULL,
     NULL},
    {"an answer of our own has our name",
     {.server_name = FL_SPAN("us")},
     GET("/direct") END,
     NULL,
     "HTTP/1.1 200 OK\r\nserver: us\r\n",
     NULL},
};

struct chat {
    struct fixture f;
    struct side client, origin;
    int log; /* a file in memory */
    char log_path[64];
    struct proxy_log_format *format;
    struct proxy_access_log access_log;
};

static void begin(struct chat *c, const struct proxy_hcm_config *config)
{
    struct fl_err err;
    fixture_init(&c->f, true);
    fixture_next(&c->f);
    struct proxy_hcm_config *hcm = c->f.hcm;
    hcm->path = config->path;
    hcm->strip_any_host_port = config->strip_any_host_port;
    hcm->strip_matching_host_port = config->strip_matching_host_port;
    hcm->use_remote_address = config->use_remote_address;
    hcm->skip_xff_append = config->skip_xff_append;
    hcm->xff_trusted_hops = config->xff_trusted_hops;
    hcm->via = config->via;
    hcm->server_name = config->server_name;
    hcm->server_header = config->server_header;
    c->log = memfd_create("log", MFD_CLOEXEC);
    assert_true(c->log >= 0);
    snprintf(c->log_path, sizeof(c->log_path), "/proc/self/fd/%d", c->log);
    assert_int_equal(
        proxy_log_format_text(FL_SPAN("%REQ(:PATH)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), &c->format, &err), 0);
    c->access_log = (struct proxy_access_log){.path = fl_span_str(c->log_path), .format = c->format};
    hcm->access_logs = &c->access_log;
    hcm->access_log_count = 1;
    assert_int_equal(proxy_data_apply(&c->f.data, c->f.snapshot), 0); /* opens the log */
    c->client = fixture_client(&c->f);
    c->origin = (struct side){.fd = -1};
}

static void finish(struct chat *c)
{
    side_done(&c->client);
    side_done(&c->origin);
    fixture_run(&c->f);
    fixture_done(&c->f);
    proxy_log_format_free(c->format);
    close(c->log);
}

static void ask(struct chat *c, const char *request, const char *forwarded)
{
    side_say(&c->f, &c->client, request);
    c->origin = fixture_origin(&c->f);
    side_expect(&c->f, &c->origin, forwarded);
}

static void expect_log(struct chat *c, const char *line)
{
    char text[4096] = "";
    ssize_t len = 0;
    for (unsigned tries = 0; len == 0 && tries < 100; tries++) { /* a line waits for others */
        fixture_wait(&c->f, 5);
        len = pread(c->log, text, sizeof(text) - 1, 0);
    }
    assert_true(len > 0);
    text[len - 1] = '\0';
    assert_string_equal(text, line);
}

static void every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct chat c;
        print_message("%s\n", row->what);
        begin(&c, &row->config);
        if (row->forwarded != NULL) {
            ask(&c, row->request, row->forwarded);
            side_say(&c.f, &c.origin, OK END);
            side_expect(&c.f, &c.client, row->config.via.len > 0 ? OK "via: 1.1 us\r\n" END : OK END);
        } else {
            side_say(&c.f, &c.client, row->request);
            assert_false(fixture_origin_waits(&c.f));
            side_expect_start(&c.f, &c.client, row->answered);
        }
        if (row->logged != NULL)
            expect_log(&c, row->logged);
        finish(&c);
    }
}

/* An escaped slash sends the client to the path's last form, with the query, and never to another host. */
static void redirects(void **state)
{
    (void)state;
    static const char *const paths[][2] = {
        {"/a%2f..%2Fb?c=%2f", "/b?c=%2f"},
        {"/%2Fevil.example/%2e", "/.//evil.example/"},
        {"/%5cevil.example", "/.//evil.example"},
    };
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        struct chat c;
        char request[256], location[256];
        begin(&c, &(struct proxy_hcm_config){.path = {.normalize = true, .escaped_slashes = PROXY_SLASHES_REDIRECT}});
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: web\r\n\r\n", paths[i][0]);
        snprintf(location, sizeof(location), "\r\nlocation: %s\r\n", paths[i][1]);
        side_say(&c.f, &c.client, request);
        side_hear(&c.f, &c.client);
        assert_int_equal(strncmp(c.client.text, "HTTP/1.1 307 ", 13), 0);
        assert_non_null(strstr(c.client.text, location));
        assert_false(fixture_origin_waits(&c.f));
        assert_false(c.client.ended);
        finish(&c);
    }
}

static void the_port_of_the_connection_is_stripped(void **state)
{
    (void)state;
    struct chat c;
    char request[128];
    begin(&c, &(struct proxy_hcm_config){.strip_matching_host_port = true});
    snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: web:%u\r\n\r\n",
             (unsigned)proxy_address_port(&c.f.listener->address));
    ask(&c, request, GET("/") END);
    finish(&c);
}

static void the_server_field_of_an_answer(void **state)
{
    (void)state;
    static const struct {
        enum proxy_server_header policy;
        const char *answer, *received;
    } answers[] = {
        {PROXY_SERVER_PASS_THROUGH, OK "Server: app\r\n" END, OK "Server: app\r\n" END},
        {PROXY_SERVER_PASS_THROUGH, OK END, OK END},
        {PROXY_SERVER_APPEND_IF_ABSENT, OK "Server: app\r\n" END, OK "Server: app\r\n" END},
        {PROXY_SERVER_APPEND_IF_ABSENT, OK END, OK "server: us\r\n" END},
        {PROXY_SERVER_OVERWRITE, OK "Server: app\r\nserver: b\r\n" END, OK "Server: us\r\n" END},
        {PROXY_SERVER_OVERWRITE, OK END, OK "server: us\r\n" END},
    };
    for (size_t i = 0; i < FL_COUNT(answers); i++) {
        struct chat c;
        begin(&c, &(struct proxy_hcm_config){.server_name = FL_SPAN("us"), .server_header = answers[i].policy});
        ask(&c, GET("/") END, GET("/") END);
        side_say(&c.f, &c.origin, "HTTP/1.1 103 Early Hints\r\n\r\n"); /* interim ones pass as they are */
        side_expect(&c.f, &c.client, "HTTP/1.1 103 Early Hints\r\n\r\n");
        side_say(&c.f, &c.origin, answers[i].answer);
        side_expect(&c.f, &c.client, answers[i].received);
        finish(&c);
    }
}

static void print_request(char *to, size_t size, const char *segment)
{
    char path[6000] = "";
    for (size_t len = 0, i = 0; i < 1900; i++, len += strlen(segment))
        memcpy(path + len, segment, strlen(segment) + 1);
    snprintf(to, size, "GET /%s HTTP/1.1\r\nHost: web\r\n\r\n", path);
}

static void a_long_path(void **state)
{
    (void)state;
    struct chat c;
    char request[6100], forwarded[6100];
    print_request(request, sizeof(request), "%41");
    print_request(forwarded, sizeof(forwarded), "A");
    begin(&c, &(struct proxy_hcm_config){NORMALIZE});
    ask(&c, request, forwarded);
    finish(&c);
}

static void a_redirect_without_memory_is_an_answer_or_the_end(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct chat c;
        size_t countdown = fail_round_;
        fail_stop();
        begin(&c, &(struct proxy_hcm_config){SLASHES(REDIRECT)});
        fail_at(countdown);
        side_say(&c.f, &c.client, GET("/a%2fb") END);
        fail_stop();
        FIXTURE_UNTIL(&c.f, (side_hear(&c.f, &c.client), c.client.ended || c.client.reset || c.client.len > 12));
        assert_true(c.client.ended || c.client.reset || strncmp(c.client.text, "HTTP/1.1 307", 12) == 0 ||
                    strncmp(c.client.text, "HTTP/1.1 503", 12) == 0);
        finish(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row),
        cmocka_unit_test(redirects),
        cmocka_unit_test(the_port_of_the_connection_is_stripped),
        cmocka_unit_test(the_server_field_of_an_answer),
        cmocka_unit_test(a_long_path),
        cmocka_unit_test(a_redirect_without_memory_is_an_answer_or_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
