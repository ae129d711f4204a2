#include "common/kube/client.h"

#include "common/http/listener.h"
#include "common/http/server.h"
#include "tests/support/emulation.h"
#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

/* Client and server on one loop. The HTTPS server echoes what it was asked; the raw one writes what a test gives it. */

static struct authority authority, stranger;
static struct identity leaf;
static struct fl_loop *loop;
static struct fl_http_server *server;
static char folder[64];

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    uint64_t status;
    struct fl_span authorization = fl_http_request_header(request, "Authorization");
    struct fl_span accept = fl_http_request_header(request, "Accept");
    struct fl_span agent = fl_http_request_header(request, "User-Agent");
    int result;
    if (fl_span_starts_with(request->path, FL_SPAN("/for/")) &&
        !fl_span_ends_with(authorization, fl_span_from(request->path, 5))) {
        response->status = 401;
        result = fl_buf_append_str(&response->body, "who are you?");
    } else if (fl_span_eq_str(request->path, "/as")) {
        result = fl_buf_printf(&response->body, "%.*s %.*s",
                               FL_SPAN_ARG(fl_http_request_header(request, "Impersonate-User")),
                               FL_SPAN_ARG(fl_http_request_header(request, "Impersonate-Group")));
    } else if (fl_span_starts_with(request->path, FL_SPAN("/status/")) &&
               fl_span_to_u64(fl_span_from(request->path, 8), 599, &status)) {
        response->status = (unsigned)status;
        result = fl_buf_append_str(&response->body, "{\"kind\":\"Status\",\"message\":\"so it is\"}");
    } else if (fl_span_eq_str(request->path, "/large")) {
        result = 0;
        for (int i = 0; i < 1000 && result == 0; i++)
            result = fl_buf_append_str(&response->body, "0123456789");
    } else {
        result = fl_buf_printf(&response->body, "%.*s %.*s ?%.*s a=%.*s c=%.*s t=%.*s u=%.*s <%.*s>",
                               FL_SPAN_ARG(request->method), FL_SPAN_ARG(request->path), FL_SPAN_ARG(request->query),
                               FL_SPAN_ARG(accept), FL_SPAN_ARG(request->content_type), FL_SPAN_ARG(authorization),
                               FL_SPAN_ARG(agent), FL_SPAN_ARG(request->body));
    }
    if (result < 0)
        response->status = 507;
}

static void write_file(const char *name, struct fl_span text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
}

static int set_up_all(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    authority_init(&authority, "root");
    authority_init(&stranger, "stranger");
    authority_issue(&authority, NULL, "api.example", &leaf);
    snprintf(folder, sizeof(folder), "/tmp/fl-kube-client-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down_all(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof(path), "%s/token", folder);
    unlink(path);
    identity_done(&leaf);
    authority_done(&authority);
    authority_done(&stranger);
    return rmdir(folder);
}

static int set_up(void **state)
{
    (void)state;
    struct fl_err err = {0};
    struct fl_buf cert_pem, key_pem;
    const struct fl_http_server_options options = {.address = FL_SPAN("127.0.0.1:0"),
                                                   .cert_pem = pem_of_cert(leaf.cert, &cert_pem),
                                                   .key_pem = pem_of_key(leaf.key, &key_pem),
                                                   .body_max = 1u << 20,
                                                   .response_max = 1u << 20,
                                                   .connections_max = 100,
                                                   .connections_per_address = 100,
                                                   .idle_seconds = 30,
                                                   .handle = handle};
    assert_int_equal(fl_loop_new(&loop), 0);
    if (fl_http_server_new(loop, &options, &server, &err) < 0)
        fail_msg("%s", err.text);
    fl_buf_done(&cert_pem);
    fl_buf_done(&key_pem);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server = fl_http_server_free(server);
    loop = fl_loop_free(loop);
    return 0;
}

/* How the HTTPS server is reached, by its certificate's name. */
static struct fl_kube_access access_by(const struct authority *trusted, const char *token)
{
    struct fl_kube_access access = {0};
    char url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", (unsigned)fl_http_server_port(server));
    access.server = strdup(url);
    access.tls_server_name = strdup("api.example");
    assert_true(access.server != NULL && access.tls_server_name != NULL);
    fl_buf_done(&access.ca.pem);
    pem_of_cert(trusted->root, &access.ca.pem);
    fl_buf_init(&access.token.pem, FL_KUBE_TOKEN_MAX);
    if (token != NULL)
        assert_int_equal(fl_buf_append_str(&access.token.pem, token), 0);
    return access;
}

static struct fl_kube_client *client_of(struct fl_kube_access access)
{
    struct fl_kube_client *client = NULL;
    struct fl_err err = {0};
    if (fl_kube_client_new(loop, &access, NULL, &client, &err) < 0)
        fail_msg("%s", err.text);
    return client;
}

/* What was told of one exchange. */
struct ear {
    int dones, result;
    unsigned status, retry_after;
    struct fl_buf body, data;
    struct fl_err err;
    struct fl_kube_client *client;  /* freed by the first callback, where set */
    struct fl_kube_exchange *other; /* cancelled by the first callback, where set */
    struct fl_kube_exchange *own;   /* cancelled by the first data, where set */
};

static void ear_init(struct ear *ear)
{
    *ear = (struct ear){0};
    fl_buf_init(&ear->body, 1u << 20);
    fl_buf_init(&ear->data, 1u << 20);
}

static void ear_done(struct ear *ear)
{
    fl_buf_done(&ear->body);
    fl_buf_done(&ear->data);
}

static void on_data(void *owner, struct fl_span bytes)
{
    struct ear *ear = owner;
    ear->own = fl_kube_cancel(ear->own);
    assert_int_equal(fl_buf_append(&ear->data, bytes), 0);
}

static void on_done(void *owner, const struct fl_kube_answer *answer)
{
    struct ear *ear = owner;
    ear->dones++;
    ear->result = answer->result;
    ear->status = answer->status;
    ear->retry_after = answer->retry_after;
    ear->client = fl_kube_client_free(ear->client);
    ear->other = fl_kube_cancel(ear->other);
    if (answer->err != NULL)
        ear->err = *answer->err;
    assert_int_equal(fl_buf_append(&ear->body, answer->body), 0);
}

static void until_done(const struct ear *ear)
{
    while (ear->dones == 0)
        assert_int_equal(fl_loop_turn(loop, 1000), 0);
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(fl_loop_turn(loop, 2), 0);
}

static void send_by(struct fl_kube_client *client, struct fl_kube_request request, struct ear *ear,
                    struct fl_kube_exchange **ret_exchange)
{
    struct fl_err err = {0};
    request.on_done = on_done;
    request.owner = ear;
    if (fl_kube_send(client, &request, ret_exchange, &err) < 0)
        fail_msg("%s", err.text);
}

static void assert_echo(struct ear *ear, const char *text)
{
    if (ear->result != 0)
        fail_msg("%s", ear->err.text);
    assert_string_equal(fl_buf_str(&ear->body), text);
}

static void methods_bodies_and_headers(void **state)
{
    (void)state;
    static const struct {
        struct fl_kube_request request;
        const char *echo;
    } rows[] = {
        {{.method = "GET", .path = "/api/v1/namespaces?limit=5&labelSelector=a%3Db"},
         "GET /api/v1/namespaces ?limit=5&labelSelector=a%3Db a=application/json c= t=Bearer abc u=fairlead/" FL_VERSION
         " <>"},
        {{.method = "GET", .path = "/a/../b", .accept = "application/json;as=Table"},
         "GET /a/../b ? a=application/json;as=Table c= t=Bearer abc u=fairlead/" FL_VERSION " <>"},
        {{.method = "POST", .path = "/p", .body = FL_SPAN("{}")},
         "POST /p ? a=application/json c=application/json t=Bearer abc u=fairlead/" FL_VERSION " <{}>"},
        {{.method = "PUT", .path = "/p", .body = FL_SPAN("{}")},
         "PUT /p ? a=application/json c=application/json t=Bearer abc u=fairlead/" FL_VERSION " <{}>"},
        {{.method = "PATCH",
          .path = "/p?fieldManager=x",
          .content_type = "application/apply-patch+yaml",
          .body = FL_SPAN("a: 1\n")},
         "PATCH /p ?fieldManager=x a=application/json c=application/apply-patch+yaml t=Bearer abc "
         "u=fairlead/" FL_VERSION " <a: 1\n>"},
        {{.method = "DELETE", .path = "/d"},
         "DELETE /d ? a=application/json c= t=Bearer abc u=fairlead/" FL_VERSION " <>"},
        {{.method = "DELETE", .path = "/d", .body = FL_SPAN("{}")},
         "DELETE /d ? a=application/json c=application/json t=Bearer abc u=fairlead/" FL_VERSION " <{}>"},
    };
    struct fl_kube_client *client = client_of(access_by(&authority, " abc\n"));
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct ear ear;
        ear_init(&ear);
        send_by(client, rows[i].request, &ear, NULL);
        assert_int_equal(ear.dones, 0); /* never from within */
        until_done(&ear);
        assert_echo(&ear, rows[i].echo);
        assert_int_equal(ear.status, 200);
        ear_done(&ear);
    }
    fl_kube_client_free(client);
}

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    static const struct fl_kube_request rows[] = {
        {.method = "TRACE", .path = "/"},
        {.method = "GET\r\nX: y", .path = "/"},
        {.method = "GET", .path = "a"},
        {.method = "GET", .path = ""},
        {.method = "GET", .path = "/a b"},
        {.method = "GET", .path = "/a\r\nX: y"},
        {.method = "GET", .path = "/a#b"},
        {.method = "GET", .path = "/\xc3\xa4"},
        {.method = "GET",
         .path = "/",
         .accept = "1234567890123456789012345678901234567890123456789012345678901234567890"
                   "1234567890123456789012345678901234567890123456789012345678901234567890"
                   "1234567890123456789012345678901234567890123456789012345678901234567890"
                   "1234567890123456789012345678901234567890123456789012345678901234567890"},
    };
    struct fl_kube_client *client = client_of(access_by(&authority, NULL));
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_request request = rows[i];
        struct ear ear;
        ear_init(&ear);
        request.on_done = on_done;
        request.owner = &ear;
        assert_int_equal(fl_kube_send(client, &request, NULL, NULL), -EINVAL);
        ear_done(&ear);
    }
    fl_kube_client_free(client);
}

static void a_client_that_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *server, *token, *token_file, *says;
    } rows[] = {
        {"ftp://h", NULL, NULL, "only https"},
        {"", NULL, NULL, "not the URL"},
        {"https://", NULL, NULL, "not the URL"},
        {"https://u:p@h", NULL, NULL, "a user"},
        {"https://h?x=y", NULL, NULL, "a query"},
        {"https://h/#y", NULL, NULL, "a fragment"},
        {"http://127.0.0.1:1", "abc", NULL, "not sent over http"},
        {"https://h", NULL, "/nowhere/token", "/nowhere/token"},
        {"https://h", NULL, NULL, "proxy-url: expected"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_client *client = NULL;
        struct fl_err err = {0};
        struct fl_kube_access access = {.server = strdup(rows[i].server)};
        fl_buf_init(&access.token.pem, 100);
        if (rows[i].token != NULL)
            assert_int_equal(fl_buf_append_str(&access.token.pem, rows[i].token), 0);
        if (strcmp(rows[i].says, "proxy-url: expected") == 0)
            access.proxy = strdup("http://");
        if (rows[i].token_file != NULL)
            access.token.file = strdup(rows[i].token_file);
        assert_true(fl_kube_client_new(loop, &access, NULL, &client, &err) < 0);
        assert_null(access.server); /* taken over */
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s: %s", rows[i].server, err.text);
    }
}

/* A plugin that answers "t1", "t2" …, with a time of expiry, or fails. */
struct maker {
    struct fl_kube_starter starter;
    unsigned starts;
    int64_t expires;
    int result;
};

static int start(const struct fl_kube_starter *starter, const struct fl_kube_plugin *plugin,
                 struct fl_kube_plugin_answer *ret_answer, struct fl_err *err)
{
    union {
        const struct fl_kube_starter *from;
        struct fl_kube_starter *to;
    } same = {.from = starter};
    struct maker *maker = FL_CONTAINER_OF(same.to, struct maker, starter);
    assert_string_equal(plugin->command, "maker");
    maker->starts++;
    if (maker->result < 0)
        return fl_err_set(err, maker->result, "it does not want to");
    fl_buf_init(&ret_answer->token, FL_KUBE_TOKEN_MAX);
    assert_int_equal(fl_buf_printf(&ret_answer->token, "t%u", maker->starts), 0);
    ret_answer->expires = maker->expires;
    return 0;
}

static struct fl_kube_client *client_of_maker(struct maker *maker)
{
    struct fl_kube_access access = access_by(&authority, NULL);
    maker->starter.start = start;
    access.starter = &maker->starter;
    access.plugin = calloc(1, sizeof(*access.plugin));
    assert_non_null(access.plugin);
    access.plugin->command = strdup("maker");
    return client_of(access);
}

static unsigned ask(struct fl_kube_client *client, const char *path)
{
    const struct fl_kube_request request = {.method = "GET", .path = path};
    struct fl_err err = {0};
    struct fl_buf body;
    unsigned status = 0;
    fl_buf_init(&body, 1u << 16);
    if (fl_kube_call(client, &request, &body, &status, &err) < 0)
        fail_msg("%s", err.text);
    if (status == 401)
        assert_string_equal(fl_buf_str(&body), "who are you?"); /* once */
    fl_buf_done(&body);
    return status;
}

static void a_plugin_is_asked_again_at_a_401_once(void **state)
{
    (void)state;
    struct maker maker = {.starts = 0};
    struct fl_kube_client *client = client_of_maker(&maker);
    assert_int_equal(maker.starts, 1);
    assert_int_equal(ask(client, "/for/t1"), 200);
    assert_int_equal(ask(client, "/for/t1"), 200);
    assert_int_equal(maker.starts, 1);
    assert_int_equal(ask(client, "/for/t2"), 200); /* t1 is refused, t2 is made */
    assert_int_equal(maker.starts, 2);
    assert_int_equal(ask(client, "/for/nobody"), 401);
    assert_int_equal(maker.starts, 3);
    assert_int_equal(ask(client, "/for/nobody"), 401); /* the answer is as new as it can be */
    assert_int_equal(ask(client, "/for/nobody"), 401);
    assert_int_equal(maker.starts, 3);
    assert_int_equal(ask(client, "/for/t3"), 200);
    assert_int_equal(ask(client, "/for/t4"), 200);
    assert_int_equal(maker.starts, 4);
    fl_kube_client_free(client);
}

static void a_plugin_is_asked_again_when_its_answer_has_expired(void **state)
{
    (void)state;
    struct maker maker = {.expires = 1000};
    struct fl_kube_client *client = client_of_maker(&maker);
    maker.expires = INT64_MAX;
    assert_int_equal(ask(client, "/for/t2"), 200);
    assert_int_equal(ask(client, "/for/t2"), 200);
    assert_int_equal(maker.starts, 2);
    fl_kube_client_free(client);
}

static void a_plugin_that_fails_later(void **state)
{
    (void)state;
    struct maker maker = {.expires = 1000};
    struct fl_kube_client *client = client_of_maker(&maker);
    const struct fl_kube_request request = {.method = "GET", .path = "/for/t1"};
    struct fl_err err = {0};
    struct fl_buf body;
    unsigned status = 0;
    fl_buf_init(&body, 1024);
    maker.result = -EACCES;
    assert_int_equal(fl_kube_call(client, &request, &body, &status, &err), -EACCES);
    assert_string_equal(err.text, "it does not want to");
    fl_kube_client_free(client);
    fl_buf_done(&body);

    struct fl_kube_access access = access_by(&authority, NULL);
    access.starter = &maker.starter;
    access.plugin = calloc(1, sizeof(*access.plugin));
    assert_non_null(access.plugin);
    access.plugin->command = strdup("maker");
    assert_int_equal(fl_kube_client_new(loop, &access, NULL, &client, &err), -EACCES);
}

static void as_somebody_else(void **state)
{
    (void)state;
    struct fl_kube_access access = access_by(&authority, "abc");
    struct ear ear;
    ear_init(&ear);
    access.headers = calloc(2, sizeof(*access.headers));
    assert_non_null(access.headers);
    access.headers[0] = strdup("Impersonate-User: jane");
    access.headers[1] = strdup("Impersonate-Group: dev");
    access.header_count = 2;
    struct fl_kube_client *client = client_of(access);
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/as"}, &ear, NULL);
    until_done(&ear);
    assert_echo(&ear, "jane dev");
    fl_kube_client_free(client);
    ear_done(&ear);
}

static void a_token_that_would_be_two_headers(void **state)
{
    (void)state;
    struct ear ear;
    ear_init(&ear);
    struct fl_kube_client *client = client_of(access_by(&authority, "abc\r\nX: y"));
    const struct fl_kube_request request = {.method = "GET", .path = "/", .on_done = on_done, .owner = &ear};
    assert_int_equal(fl_kube_send(client, &request, NULL, NULL), -EINVAL);
    fl_kube_client_free(client);
    ear_done(&ear);
}

static void statuses_mean(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int result;
        const char *says;
    } rows[] = {
        {"/status/200", 0, ""},
        {"/status/201", 0, ""},
        {"/status/302", -EIO, "302: so it is"},
        {"/status/400", -EINVAL, "400 Bad Request: so it is"},
        {"/status/401", -EACCES, "401 Unauthorized: so it is"},
        {"/status/403", -EACCES, "403 Forbidden: so it is"},
        {"/status/404", -ENOENT, "404 Not Found: so it is"},
        {"/status/409", -EEXIST, "409 Conflict: so it is"},
        {"/status/410", -ESTALE, "410 Gone: so it is"},
        {"/status/422", -EINVAL, "422 Unprocessable Content: so it is"},
        {"/status/429", -EAGAIN, "429 Too Many Requests: so it is"},
        {"/status/500", -EIO, "500 Internal Server Error: so it is"},
        {"/status/503", -EAGAIN, "503 Service Unavailable: so it is"},
    };
    struct fl_kube_client *client = client_of(access_by(&authority, NULL));
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct fl_kube_request request = {.method = "GET", .path = rows[i].path};
        struct fl_buf body;
        struct fl_err err = {0};
        unsigned status = 0;
        fl_buf_init(&body, 1000);
        assert_int_equal(fl_kube_call(client, &request, &body, &status, &err), 0);
        assert_int_equal(fl_kube_status_check(status, fl_buf_span(&body), &err), rows[i].result);
        assert_string_equal(err.text, rows[i].says);
        fl_buf_done(&body);
    }
    fl_kube_client_free(client);
    assert_int_equal(fl_kube_status_check(500, FL_SPAN("no JSON"), NULL), -EIO);
    assert_int_equal(fl_kube_status_check(599, FL_SPAN("{\"kind\":\"Pod\",\"message\":\"x\"}"), NULL), -EIO);
}

static void trust(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        bool stranger, wrong_name, insecure;
        int result;
    } rows[] = {
        {"as it should be", false, false, false, 0},
        {"another authority", true, false, false, -EACCES},
        {"another name", false, true, false, -EACCES},
        {"not verified", true, true, true, 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_access access = access_by(rows[i].stranger ? &stranger : &authority, NULL);
        const struct fl_kube_request request = {.method = "GET", .path = "/x"};
        struct fl_buf body;
        struct fl_err err = {0};
        unsigned status = 0;
        access.insecure = rows[i].insecure;
        if (rows[i].wrong_name) {
            free(access.tls_server_name);
            access.tls_server_name = NULL; /* then it is 127.0.0.1 */
        }
        struct fl_kube_client *client = client_of(access);
        fl_buf_init(&body, 1000);
        int result = fl_kube_call(client, &request, &body, &status, &err);
        if (result != rows[i].result)
            fail_msg("%s: %d %s", rows[i].what, result, err.text);
        fl_buf_done(&body);
        fl_kube_client_free(client);
    }
}

static void a_token_file_that_rotates(void **state)
{
    (void)state;
    static const char *const tokens[] = {"one", "two"};
    struct fl_kube_access access = access_by(&authority, NULL);
    char path[128], expected[160];
    snprintf(path, sizeof(path), "%s/token", folder);
    access.token.file = strdup(path);
    write_file("token", FL_SPAN("zero\n"));
    struct fl_kube_client *client = client_of(access);
    for (size_t i = 0; i < FL_COUNT(tokens); i++) {
        struct ear ear;
        ear_init(&ear);
        write_file("token", fl_span_str(tokens[i]));
        send_by(client, (struct fl_kube_request){.method = "GET", .path = "/t"}, &ear, NULL);
        until_done(&ear);
        snprintf(expected, sizeof(expected), "GET /t ? a=application/json c= t=Bearer %s u=fairlead/%s <>", tokens[i],
                 FL_VERSION);
        assert_echo(&ear, expected);
        ear_done(&ear);
    }
    unlink(path); /* what cannot be read any more stays */
    struct ear ear;
    ear_init(&ear);
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/t"}, &ear, NULL);
    until_done(&ear);
    assert_echo(&ear, expected);
    ear_done(&ear);
    fl_kube_client_free(client);
}

static void bodies_are_bounded(void **state)
{
    (void)state;
    struct fl_kube_client *client = client_of(access_by(&authority, NULL));
    const struct fl_kube_request exact = {.method = "GET", .path = "/large", .body_max = 10000};
    const struct fl_kube_request less = {.method = "GET", .path = "/large", .body_max = 9999};
    struct fl_err err = {0};
    struct fl_buf body;
    unsigned status = 0;
    fl_buf_init(&body, 10000);
    assert_int_equal(fl_kube_call(client, &exact, &body, &status, &err), 0);
    assert_int_equal(body.len, 10000);
    assert_int_equal(fl_kube_call(client, &less, &body, &status, &err), -EMSGSIZE);
    assert_non_null(strstr(err.text, "9999 bytes"));
    assert_int_equal(fl_kube_call(client, &exact, &body, &status, &err), -EMSGSIZE); /* the caller's buffer is full */
    fl_buf_done(&body);
    fl_kube_client_free(client);
}

static void many_at_once(void **state)
{
    (void)state;
    SKIP_UNDER_EMULATION("as many handshakes at once as there may be do not end within the time that one request has");
    static struct ear ears[FL_KUBE_REQUESTS_MAX];
    struct fl_kube_client *client = client_of(access_by(&authority, NULL));
    const struct fl_kube_request request = {.method = "GET", .path = "/m", .on_done = on_done};
    for (size_t i = 0; i < FL_COUNT(ears); i++) {
        ear_init(&ears[i]);
        send_by(client, request, &ears[i], NULL);
    }
    assert_int_equal(fl_kube_send(client, &request, NULL, NULL), -EBUSY);
    for (size_t i = 0; i < FL_COUNT(ears); i++) {
        until_done(&ears[i]);
        assert_int_equal(ears[i].status, 200);
        ear_done(&ears[i]);
    }
    fl_kube_client_free(client);
}

static void cancelled_and_freed_at_every_moment(void **state)
{
    (void)state;
    for (int moment = 0; moment < 40; moment++) {
        struct fl_kube_client *client = client_of(access_by(&authority, NULL));
        struct fl_kube_exchange *exchange = NULL;
        struct ear cancelled, freed;
        ear_init(&cancelled);
        ear_init(&freed);
        send_by(client, (struct fl_kube_request){.method = "GET", .path = "/c"}, &cancelled, &exchange);
        send_by(client, (struct fl_kube_request){.method = "GET", .path = "/f"}, &freed, NULL);
        for (int i = 0; i < moment && cancelled.dones == 0; i++)
            assert_int_equal(fl_loop_turn(loop, 1), 0);
        int before = cancelled.dones;
        if (before == 0)
            fl_kube_cancel(exchange);
        turns(moment % 3);
        int freed_before = freed.dones;
        fl_kube_client_free(client);
        turns(3);
        assert_int_equal(cancelled.dones, before);
        assert_int_equal(freed.dones, freed_before);
        ear_done(&cancelled);
        ear_done(&freed);
    }
}

static void callbacks_free_everything(void **state)
{
    (void)state;
    struct ear one, two;
    ear_init(&one);
    ear_init(&two);
    struct fl_kube_client *client = client_of(access_by(&authority, NULL));
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/1"}, &one, &two.other);
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/2"}, &two, &one.other);
    while (one.dones + two.dones == 0)
        turns(1);
    turns(5);
    assert_int_equal(one.dones + two.dones, 1); /* the first one ended the other */
    struct ear last;
    ear_init(&last);
    last.client = client;
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/3"}, &last, NULL);
    until_done(&last);
    turns(3);
    ear_done(&one);
    ear_done(&two);
    ear_done(&last);
}

/* ---- A server that writes what it is told, when it is told ---- */

struct raw {
    struct fl_source source;
    uint16_t port;
    int fd, peer;
};

static void on_accept(struct fl_source *source, uint32_t events)
{
    struct raw *raw = FL_CONTAINER_OF(source, struct raw, source);
    (void)events;
    if (raw->peer >= 0)
        close(raw->peer);
    raw->peer = accept4(raw->fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(raw->peer >= 0);
}

static void raw_open(struct raw *raw)
{
    *raw = (struct raw){.peer = -1};
    assert_int_equal(fl_http_listen(FL_SPAN("127.0.0.1:0"), &raw->fd, &raw->port, NULL), 0);
    assert_int_equal(fl_source_add(loop, &raw->source, raw->fd, EPOLLIN, on_accept), 0);
}

static void raw_close(struct raw *raw)
{
    fl_source_remove(&raw->source);
    close(raw->fd);
    if (raw->peer >= 0)
        close(raw->peer);
}

static void raw_until_asked(struct raw *raw)
{
    char request[2048] = "";
    ssize_t count = -1;
    while (raw->peer < 0 || count < 0) {
        turns(1);
        count = raw->peer >= 0 ? recv(raw->peer, request, sizeof(request) - 1, MSG_DONTWAIT) : -1;
    }
    assert_true(count > 0);
}

static void raw_write(struct raw *raw, const char *text)
{
    assert_int_equal(send(raw->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static struct fl_kube_client *raw_client(const struct raw *raw)
{
    struct fl_kube_access access = {0};
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", (unsigned)raw->port);
    access.server = strdup(url);
    return client_of(access);
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void a_stream(void **state)
{
    (void)state;
    struct raw raw;
    struct ear ear;
    raw_open(&raw);
    ear_init(&ear);
    struct fl_kube_client *client = raw_client(&raw);
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/w?watch=1", .on_data = on_data}, &ear, NULL);
    raw_until_asked(&raw);
    raw_write(&raw, CHUNKED "3\r\none\r\n");
    while (ear.data.len < 3)
        turns(1);
    raw_write(&raw, "3\r\ntwo\r\n0\r\n\r\n");
    until_done(&ear);
    assert_string_equal(fl_buf_str(&ear.data), "onetwo");
    assert_int_equal(ear.body.len, 0);
    assert_int_equal(ear.result, 0);
    fl_kube_client_free(client);
    ear_done(&ear);
    raw_close(&raw);
}

static void streams_that_end_badly(void **state)
{
    (void)state;
    static const struct {
        const char *what, *writes;
        bool closes;
        int result;
        unsigned status, retry_after;
        const char *data, *body;
    } rows[] = {
        {"cut off in the middle", CHUNKED "5\r\non", true, -EIO, 0, 0, "on", ""},
        {"silent", CHUNKED "3\r\none\r\n", false, -ETIMEDOUT, 0, 0, "one", ""},
        {"silent from the start", "", false, -ETIMEDOUT, 0, 0, "", ""},
        {"closed from the start", "", true, -EIO, 0, 0, "", ""},
        {"another status", "HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\ngone", false, 0, 410, 0, "", "gone"},
        {"later, please", "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", false, 0, 429, 7, "", ""},
        {"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", true, -EIO, 0, 0, "", ""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct raw raw;
        struct ear ear;
        raw_open(&raw);
        ear_init(&ear);
        struct fl_kube_client *client = raw_client(&raw);
        send_by(client, (struct fl_kube_request){.method = "GET", .path = "/w", .on_data = on_data, .silence_ms = 300},
                &ear, NULL);
        raw_until_asked(&raw);
        raw_write(&raw, rows[i].writes);
        if (rows[i].closes)
            shutdown(raw.peer, SHUT_RDWR);
        until_done(&ear);
        if (ear.result != rows[i].result || ear.status != rows[i].status || ear.retry_after != rows[i].retry_after)
            fail_msg("%s: %d, status %u, %s", rows[i].what, ear.result, ear.status, ear.err.text);
        assert_true(fl_span_eq_str(fl_buf_span(&ear.data), rows[i].data));
        assert_true(fl_span_eq_str(fl_buf_span(&ear.body), rows[i].body));
        fl_kube_client_free(client);
        ear_done(&ear);
        raw_close(&raw);
    }
}

static void a_stream_that_its_own_data_cancels(void **state)
{
    (void)state;
    struct raw raw;
    struct ear ear;
    raw_open(&raw);
    ear_init(&ear);
    struct fl_kube_client *client = raw_client(&raw);
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/w", .on_data = on_data, .silence_ms = 10000},
            &ear, &ear.own);
    raw_until_asked(&raw);
    raw_write(&raw, CHUNKED "3\r\none\r\n0\r\n\r\n");
    while (ear.data.len == 0)
        turns(1);
    turns(5);
    assert_int_equal(ear.dones, 0);
    assert_string_equal(fl_buf_str(&ear.data), "one"); /* the bytes outlived the exchange */
    fl_kube_client_free(client);
    ear_done(&ear);
    raw_close(&raw);
}

static void nobody_answers(void **state)
{
    (void)state;
    struct raw raw;
    struct ear late, refused;
    raw_open(&raw);
    ear_init(&late);
    ear_init(&refused);
    struct fl_kube_client *client = raw_client(&raw);
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/x", .timeout_ms = 100}, &late, NULL);
    until_done(&late);
    assert_int_equal(late.result, -ETIMEDOUT);
    raw_close(&raw); /* now nobody listens */
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/x"}, &refused, NULL);
    until_done(&refused);
    assert_int_equal(refused.result, -ECONNREFUSED);
    assert_non_null(strstr(refused.err.text, "GET /x: "));
    fl_kube_client_free(client);
    ear_done(&late);
    ear_done(&refused);
}

/* Where localhost is ::1 first, that is refused, and the second address gets the first one's socket number. */
static void a_name_with_two_addresses(void **state)
{
    (void)state;
    struct raw raw;
    struct ear ear;
    struct fl_kube_access access = {0};
    char url[64];
    raw_open(&raw);
    ear_init(&ear);
    snprintf(url, sizeof(url), "http://localhost:%u", (unsigned)raw.port);
    access.server = strdup(url);
    struct fl_kube_client *client = client_of(access);
    send_by(client, (struct fl_kube_request){.method = "GET", .path = "/x"}, &ear, NULL);
    raw_until_asked(&raw);
    raw_write(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    until_done(&ear);
    assert_echo(&ear, "ok");
    fl_kube_client_free(client);
    ear_done(&ear);
    raw_close(&raw);
}

static void escaping(void **state)
{
    (void)state;
    struct fl_buf out;
    fl_buf_init(&out, 60);
    assert_int_equal(fl_kube_escape(&out, FL_SPAN("aZ0-._~ /?&=%\xc3\0")), 0);
    assert_string_equal(fl_buf_str(&out), "aZ0-._~%20%2F%3F%26%3D%25%C3%00");
    out.max = out.len + 4;
    assert_int_equal(fl_kube_escape(&out, FL_SPAN("a  ")), -EMSGSIZE);
    assert_string_equal(fl_buf_str(&out), "aZ0-._~%20%2F%3F%26%3D%25%C3%00"); /* all or nothing */
    fl_buf_done(&out);
}

static void each_allocation_fails(void **state)
{
    (void)state;
    int good = 0;
    FAIL_EACH_ALLOCATION
    {
        struct fl_kube_client *client = NULL;
        const struct fl_kube_request request = {
            .method = "POST", .path = "/a", .body = FL_SPAN("{}"), .body_max = 4096};
        struct fl_buf body;
        unsigned status = 0;
        fail_stop();
        struct fl_kube_access access = access_by(&authority, "abc");
        fail_at(fail_round_);
        fl_buf_init(&body, 4096);
        int result = fl_kube_client_new(loop, &access, NULL, &client, NULL);
        if (result == 0)
            result = fl_kube_call(client, &request, &body, &status, NULL);
        fail_stop();
        if (!fail_happened())
            assert_true(result == 0 && status == 200);
        good += result == 0;
        fl_buf_done(&body);
        fl_kube_client_free(client);
        turns(2);
    }
    assert_true(good > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(methods_bodies_and_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_request_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_that_would_be_two_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plugin_is_asked_again_at_a_401_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plugin_is_asked_again_when_its_answer_has_expired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plugin_that_fails_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(as_somebody_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(statuses_mean, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trust, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_file_that_rotates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bodies_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled_and_freed_at_every_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(callbacks_free_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streams_that_end_badly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_that_its_own_data_cancels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_with_two_addresses, set_up, tear_down),
        cmocka_unit_test(escaping),
        cmocka_unit_test_setup_teardown(each_allocation_fails, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
