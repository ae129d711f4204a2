#include "common/http/client.h"

#include "tests/support/fail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A server of one connection: waits for a request's end, answers what it was given, closes. */
struct script {
    int fd;
    uint16_t port;
    const char *answer; /* NULL: never */
    pthread_t thread;
};

static void *serve(void *argument)
{
    struct script *script = argument;
    char request[4096];
    int fd = accept(script->fd, NULL, NULL);
    if (fd < 0)
        return NULL;
    (void)!read(fd, request, sizeof(request));
    if (script->answer != NULL)
        (void)!write(fd, script->answer, strlen(script->answer));
    else
        (void)!read(fd, request, sizeof(request)); /* until the client gives up */
    close(fd);
    return NULL;
}

static void start(struct script *script, const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    script->answer = answer;
    script->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(script->fd >= 0);
    assert_int_equal(bind(script->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(script->fd, 4), 0);
    assert_int_equal(getsockname(script->fd, (struct sockaddr *)&address, &len), 0);
    script->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&script->thread, NULL, serve, script), 0);
}

static void stop(struct script *script)
{
    pthread_join(script->thread, NULL);
    close(script->fd);
}

static void answers_and_their_results(void **state)
{
    (void)state;
    static const struct {
        const char *what, *answer;
        int result;
        const char *body; /* or what the error holds */
    } rows[] = {
        {"a body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, "hello"},
        {"an empty one", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, ""},
        {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 0, "hello"},
        {"another status", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", -EPROTO, "404"},
        {"a redirect is not followed",
         "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", -EPROTO, "302"},
        {"past the maximum", "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n12345678901234567", -EMSGSIZE, "16 bytes"},
        {"cut short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", -EIO, ""},
        {"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", -EIO, ""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct script script;
        struct fl_buf body;
        struct fl_err err = {0};
        char url[64];
        start(&script, rows[i].answer);
        (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", script.port);
        const struct fl_http_client_options options = {.url = url};
        fl_buf_init(&body, 16);
        int result = fl_http_get(&options, &body, &err);
        if (result != rows[i].result)
            fail_msg("%s: %d (%s)", rows[i].what, result, err.text);
        if (result == 0)
            assert_string_equal(fl_buf_str(&body), rows[i].body);
        else if (strstr(err.text, rows[i].body) == NULL || strstr(err.text, url) == NULL)
            fail_msg("%s: %s", rows[i].what, err.text);
        fl_buf_done(&body);
        stop(&script);
    }
}

static int get(const char *url, unsigned timeout_ms)
{
    const struct fl_http_client_options options = {.url = url, .timeout_ms = timeout_ms};
    struct fl_buf body;
    fl_buf_init(&body, 64);
    int result = fl_http_get(&options, &body, NULL);
    fl_buf_done(&body);
    return result;
}

static void urls_that_cannot_be_asked(void **state)
{
    (void)state;
    assert_int_equal(get("http://127.0.0.1:1/", 0), -ECONNREFUSED);
    assert_int_equal(get("file:///etc/hostname", 0), -EINVAL);
    assert_int_equal(get("gopher://127.0.0.1/", 0), -EINVAL);
    assert_int_equal(get("http://127.0.0.1:99999/", 0), -EINVAL);
    assert_int_equal(get("", 0), -EINVAL);
}

static void an_answer_that_does_not_come(void **state)
{
    (void)state;
    struct script script;
    char url[64];
    start(&script, NULL);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", script.port);
    assert_int_equal(get(url, 100), -ETIMEDOUT);
    stop(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_and_their_results),
        cmocka_unit_test(urls_that_cannot_be_asked),
        cmocka_unit_test(an_answer_that_does_not_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
