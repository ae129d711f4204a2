/* HTTP/1.x to bytes: heads, chunks and trailers. Pure; one pass of memcpy into room that the caller provides.
 *
 * A plan says how a message leaves: proxy_h1_plan_request/_response compute it from the parsed head; the caller may
 * change it before it writes (the connection's fate). Then:
 *     size_t room = proxy_h1_head_bound(message, &plan);      // exact or a little more
 *     char *to = … room bytes …;
 *     to += proxy_h1_write_head(message, &plan, to);
 *
 * A sidecar stays transparent: fields keep order, case and duplicates; target form, method, reason phrase and a
 * request's version are what they were; no Via, Date or Server is added. What belongs to one connection is not passed
 * on (RFC 9110 §7.6.1): Connection, Keep-Alive, Proxy-Connection, HTTP2-Settings, and every field that Connection
 * names, save the end-to-end ones of PROXY_HEADER_LIST, which a peer may not have stripped. "TE: trailers" and an
 * upgrade that may be passed on are written anew, with their Connection options.
 *
 * Framing: a known length stays one, chunked stays chunked; for an HTTP/1.0 client a chunked response becomes one until
 * close; for an HTTP/1.1 client one until close becomes chunked, so that truncation stays visible and its connection
 * lives on. A duplicate Content-Length is written once. An answer of HTTP/2 that has a length and announces trailers
 * becomes chunked for a client that says "TE: trailers".
 */
#ifndef PROXY_HTTP_H1_WRITE_H
#define PROXY_HTTP_H1_WRITE_H

#include "proxy/http/h1.h"

struct proxy_h1_plan {
    uint8_t framing; /* enum proxy_framing of what is written */
    uint8_t minor;   /* version of what is written */
    bool keep_alive; /* false: "Connection: close" (nothing in HTTP/1.0); HTTP/1.0 and true: "Connection: keep-alive" */
    bool upgrade;    /* write Upgrade and "Connection: upgrade" */
    bool suppress;   /* response: do not write it at all (a 1xx to an HTTP/1.0 client) */
    bool content_length; /* write the message's Content-Length field */
};

/* keep_alive is true: what the pool does with its connection is its own affair. */
void proxy_h1_plan_request(const struct proxy_message *request, struct proxy_h1_plan *ret_plan);

/* `exchange` as kept from the request. keep_alive tells whether the client's connection can live on after this message;
 * set it to false to drain. */
void proxy_h1_plan_response(const struct proxy_message *response, const struct proxy_exchange *exchange,
                            struct proxy_h1_plan *ret_plan);

/* Bytes that the head takes at most; the head itself, returning the bytes written (≤ bound). Requests and responses
 * (message->status tells). */
size_t proxy_h1_head_bound(const struct proxy_message *message, const struct proxy_h1_plan *plan);
size_t proxy_h1_write_head(const struct proxy_message *message, const struct proxy_h1_plan *plan, char *to);

/* A chunk of `size` bytes (> 0): "<hex>\r\n", then the caller's bytes, then PROXY_H1_CHUNK_END. */
#define PROXY_H1_CHUNK_HEAD_MAX 18
#define PROXY_H1_CHUNK_END      FL_SPAN("\r\n")
size_t proxy_h1_write_chunk_head(size_t size, char *to);

/* The last chunk with its trailers (NULL: none): "0\r\n" fields "\r\n". */
size_t proxy_h1_last_chunk_bound(const struct proxy_headers *trailers);
size_t proxy_h1_write_last_chunk(const struct proxy_headers *trailers, char *to);

/* An answer of our own: error replies, redirects, direct responses, the admin pages. Carries server, date,
 * content-type and content-length, and "connection: close" where keep_alive is false. */
struct proxy_h1_reply {
    unsigned status;
    struct fl_span body;                /* may be empty */
    struct fl_span content_type;        /* empty: text/plain */
    struct fl_span server;              /* empty: fairlead */
    const struct proxy_header *headers; /* further fields, written as they are */
    size_t header_count;
    time_t now;
    bool keep_alive;
    bool http10; /* the client is an HTTP/1.0 one: keep-alive is told it in so many words */
    bool head;   /* answer to HEAD: the body's length is told, the body is not written */
};

/* Bytes at most, body included; the whole answer. 204 and 304 have no body, whatever reply->body says. */
size_t proxy_h1_reply_bound(const struct proxy_h1_reply *reply);
size_t proxy_h1_write_reply(const struct proxy_h1_reply *reply, char *to);

#endif
