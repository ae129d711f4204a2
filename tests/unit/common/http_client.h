/* A raw HTTP client over a loopback socket, in the thread of the loop that it turns while it waits, for tests. */
#ifndef TESTS_UNIT_COMMON_HTTP_CLIENT_H
#define TESTS_UNIT_COMMON_HTTP_CLIENT_H

#include "common/base/buf.h"
#include "common/loop/loop.h"
#include "common/tls/session.h"

struct http_client {
    struct fl_loop *loop;
    int fd;
    struct fl_buf received; /* plaintext, all that came so far */
    struct fl_buf out;      /* bytes to be written */
    struct fl_tls *tls;     /* NULL: plain */
    bool ended;             /* the server closed, or reset */
    bool reset;
};

void http_client_open(struct http_client *client, struct fl_loop *loop, uint16_t port);
/* The same with TLS; returns once the handshake has ended, well or badly (fl_tls_state). */
void http_client_open_tls(struct http_client *client, struct fl_loop *loop, uint16_t port,
                          struct fl_tls_context *context);
void http_client_close(struct http_client *client);

/* Writes all of it, turning the loop where the socket is full. False where the server has closed. */
bool http_client_send(struct http_client *client, struct fl_span bytes);
bool http_client_send_str(struct http_client *client, const char *text);

/* Turns the loop until `text` has come `count` times, or the connection ended, or `seconds` passed. True: it came. */
bool http_client_wait(struct http_client *client, const char *text, size_t count, double seconds);
bool http_client_wait_size(struct http_client *client, size_t size, double seconds); /* all together */
/* Until the connection ends. */
bool http_client_wait_end(struct http_client *client, double seconds);
bool http_client_has(const struct http_client *client, const char *text);
double http_client_now(void); /* seconds, monotonic */

#endif
