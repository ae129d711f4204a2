/* HTTP/1.x bodies from bytes: how far a message reaches, and which of the bytes are content (RFC 9112 §6, §7).
 *
 * Pure and without a buffer: content is handed out as spans into the caller's bytes. Bytes that the decoder does not
 * consume stay with the caller, who hands them in again with more behind them (this happens in the trailer section
 * alone; at most PROXY_H1_TRAILERS_MAX bytes). Chunk extensions are checked for form and length and dropped; trailers
 * are parsed as strictly as a head; fields that must not be trailers (RFC 9110 §6.5.1: framing, routing,
 * authentication, content) are dropped from the list.
 *
 *     for (;;) {
 *         int result = proxy_h1_body_decode(&body, &bytes, trailers, &data);
 *         if (result == PROXY_H1_DATA) … pass data on …
 *         else break;     // DONE: bytes begins the next message. MORE: keep what bytes still holds. < 0: close.
 *     }
 */
#ifndef PROXY_HTTP_H1_BODY_H
#define PROXY_HTTP_H1_BODY_H

#include "proxy/http/h1.h"

struct proxy_h1_body { /* 24 bytes; zeroed: no body, complete */
    uint64_t left;     /* LENGTH: content to come; CHUNKED: of the present chunk */
    uint32_t scanned;  /* of the trailer section */
    uint16_t line;     /* bytes of the present chunk-size line */
    uint8_t framing;   /* enum proxy_framing */
    uint8_t state;
    uint8_t error;     /* enum proxy_h1_error, after -EPROTO */
    uint8_t extension; /* where in a chunk extension */
    bool lenient;      /* as the head was parsed: h1.h */
};

/* The body that follows this head. */
void proxy_h1_body_init(struct proxy_h1_body *body, const struct proxy_message *message);

/* True when the message is complete: nothing more is to be decoded (at once where there is no body). */
bool proxy_h1_body_done(const struct proxy_h1_body *body);

/* Takes what it can from the front of *bytes.
 * PROXY_H1_DATA: *ret_data is content (not empty), *bytes what follows; call again.
 * PROXY_H1_MORE: no further content in *bytes; what is left of it (usually nothing) must come again with more behind
 * it. PROXY_H1_DONE: the message is complete, *bytes is what follows it. Where there were trailers they are in
 * *trailers, which is initialized here (NULL: checked and dropped); their spans point into the bytes. -EPROTO:
 * body->error tells why. The connection cannot be used any more. */
int proxy_h1_body_decode(struct proxy_h1_body *body, struct fl_span *bytes, struct proxy_headers *trailers,
                         struct fl_span *ret_data) FL_MUST_CHECK;

/* The sender has closed. PROXY_H1_DONE where that ends the body (until close, or complete before), else -EPROTO with
 * PROXY_H1_ERROR_BODY_TRUNCATED: the receiver must learn that it is truncated (close without the end of the framing).
 */
int proxy_h1_body_eof(struct proxy_h1_body *body) FL_MUST_CHECK;

#endif
