#include "tests/unit/common/http_client.h"

#include "tests/support/emulation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

double http_client_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int on_send(void *owner, struct fl_span bytes)
{
    struct http_client *client = owner;
    return fl_buf_append(&client->out, bytes);
}

static int on_receive(void *owner, struct fl_span bytes)
{
    struct http_client *client = owner;
    return fl_buf_append(&client->received, bytes);
}

void http_client_open(struct http_client *client, struct fl_loop *loop, uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *client = (struct http_client){.loop = loop, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    fl_buf_init(&client->received, 64u << 20);
    fl_buf_init(&client->out, 64u << 20);
    assert_true(client->fd >= 0);
    assert_int_equal(connect(client->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

void http_client_close(struct http_client *client)
{
    close(client->fd);
    fl_tls_free(client->tls);
    fl_buf_done(&client->received);
    fl_buf_done(&client->out);
}

/* Everything that has come until now. */
static void take(struct http_client *client)
{
    char bytes[16384];
    ssize_t count;
    while ((count = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        struct fl_span span = fl_span_make(bytes, (size_t)count);
        if (client->tls != NULL && fl_tls_feed(client->tls, span) < 0)
            client->ended = true;
        if (client->tls == NULL)
            assert_int_equal(fl_buf_append(&client->received, span), 0);
    }
    client->reset |= count < 0 && errno == ECONNRESET;
    client->ended |= count == 0 || (count < 0 && errno != EAGAIN);
    client->ended |= client->tls != NULL && fl_tls_state(client->tls) == FL_TLS_PEER_CLOSED;
}

/* Writes client->out, to which a feed may append meanwhile. */
static bool flush(struct http_client *client)
{
    while (client->out.len > 0) {
        ssize_t count = send(client->fd, client->out.data, client->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN)
            return false;
        if (count > 0)
            fl_buf_consume(&client->out, (size_t)count);
        assert_int_equal(fl_loop_turn(client->loop, count > 0 ? 0 : 1), 0);
        take(client);
    }
    return true;
}

bool http_client_send(struct http_client *client, struct fl_span bytes)
{
    int result = client->tls != NULL ? fl_tls_write(client->tls, bytes) : fl_buf_append(&client->out, bytes);
    return result == 0 && flush(client);
}

bool http_client_send_str(struct http_client *client, const char *text)
{
    return http_client_send(client, fl_span_str(text));
}

static size_t occurrences(const struct http_client *client, const char *text)
{
    size_t count = 0;
    struct fl_span rest = fl_buf_span(&client->received);
    const char *found;
    while (rest.len > 0 && (found = memmem(rest.data, rest.len, text, strlen(text))) != NULL) {
        rest = fl_span_from(rest, (size_t)(found - rest.data) + strlen(text));
        count++;
    }
    return count;
}

bool http_client_has(const struct http_client *client, const char *text)
{
    return occurrences(client, text) > 0;
}

bool http_client_wait(struct http_client *client, const char *text, size_t count, double seconds)
{
    double end = http_client_now() + seconds * emulation_patience();
    for (;;) {
        take(client);
        if (occurrences(client, text) >= count)
            return true;
        if (client->ended || http_client_now() > end)
            return false;
        assert_int_equal(fl_loop_turn(client->loop, 2), 0);
    }
}

bool http_client_wait_size(struct http_client *client, size_t size, double seconds)
{
    double end = http_client_now() + seconds * emulation_patience();
    while (client->received.len < size && !client->ended && http_client_now() < end) {
        assert_int_equal(fl_loop_turn(client->loop, 2), 0);
        take(client);
    }
    return client->received.len >= size;
}

bool http_client_wait_end(struct http_client *client, double seconds)
{
    double end = http_client_now() + seconds * emulation_patience();
    while (!client->ended && http_client_now() < end) {
        assert_int_equal(fl_loop_turn(client->loop, 2), 0);
        take(client);
    }
    return client->ended;
}

void http_client_open_tls(struct http_client *client, struct fl_loop *loop, uint16_t port,
                          struct fl_tls_context *context)
{
    http_client_open(client, loop, port);
    const struct fl_tls_sinks sinks = {.send = on_send, .receive = on_receive, .owner = client};
    assert_int_equal(fl_tls_new(context, &sinks, &client->tls), 0);
    assert_int_equal(fl_tls_start(client->tls), 0);
    while (flush(client) && !client->ended && fl_tls_state(client->tls) == FL_TLS_HANDSHAKE) {
        assert_int_equal(fl_loop_turn(loop, 2), 0);
        take(client);
    }
    flush(client);
}
