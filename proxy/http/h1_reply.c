/* Answers of our own (declared in h1_write.h). */
#include "proxy/http/h1_write.h"

#include <stdio.h>

#define DEFAULT_TYPE FL_SPAN("text/plain")
#define SERVER       FL_SPAN("fairlead")
#define REPLY_EXTRA  256 /* status line, date, content-length, connection, empty line */

static bool has_body(const struct proxy_h1_reply *reply)
{
    return reply->status >= 200 && reply->status != 204 && reply->status != 304;
}

static struct fl_span content_type(const struct proxy_h1_reply *reply)
{
    return reply->content_type.len > 0 ? reply->content_type : DEFAULT_TYPE;
}

static struct fl_span server(const struct proxy_h1_reply *reply)
{
    return reply->server.len > 0 ? reply->server : SERVER;
}

size_t proxy_h1_reply_bound(const struct proxy_h1_reply *reply)
{
    size_t size = REPLY_EXTRA + server(reply).len + content_type(reply).len + reply->body.len;
    for (size_t i = 0; i < reply->header_count; i++)
        size += reply->headers[i].name.len + reply->headers[i].value.len + sizeof(": \r\n");
    return size;
}

static char *put(char *to, struct fl_span text)
{
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    return to + text.len;
}

size_t proxy_h1_write_reply(const struct proxy_h1_reply *reply, char *to)
{
    char *begin = to;
    char date[PROXY_DATE_SIZE];
    proxy_date_print(reply->now, date);
    to += snprintf(to, REPLY_EXTRA, "HTTP/1.1 %u %s\r\nserver: ", reply->status, proxy_status_reason(reply->status));
    to = put(to, server(reply));
    to += snprintf(to, REPLY_EXTRA / 4, "\r\ndate: %.*s\r\n", PROXY_DATE_SIZE, date);
    for (size_t i = 0; i < reply->header_count; i++) {
        to = put(put(to, reply->headers[i].name), FL_SPAN(": "));
        to = put(put(to, reply->headers[i].value), FL_SPAN("\r\n"));
    }
    if (has_body(reply)) {
        to = put(put(to, FL_SPAN("content-type: ")), content_type(reply));
        to += snprintf(to, REPLY_EXTRA / 4, "\r\ncontent-length: %zu\r\n", reply->body.len);
    }
    if (!reply->keep_alive)
        to = put(to, FL_SPAN("connection: close\r\n"));
    else if (reply->http10)
        to = put(to, FL_SPAN("connection: keep-alive\r\n"));
    to = put(to, FL_SPAN("\r\n"));
    if (has_body(reply) && !reply->head)
        to = put(to, reply->body);
    return (size_t)(to - begin);
}
