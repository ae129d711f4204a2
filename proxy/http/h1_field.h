/* Field lines of HTTP/1.x, up to and with the empty line: the common part of heads and trailer sections. For the
 * codec's own files. */
#ifndef PROXY_HTTP_H1_FIELD_H
#define PROXY_HTTP_H1_FIELD_H

#include "proxy/http/h1.h"

struct proxy_h1_cursor {
    const char *at;
    const char *end;
    uint8_t error; /* enum proxy_h1_error, after -EPROTO */
    bool lenient;  /* see h1.h; then the bytes are writable */
    bool response; /* of the head of a response */
    bool mended;   /* set where leniency was needed */
};

int proxy_h1_fail(struct proxy_h1_cursor *cursor, enum proxy_h1_error error);

/* CR LF at the cursor (lenient: or LF), which moves behind it. PROXY_H1_DONE, PROXY_H1_MORE or -EPROTO. */
int proxy_h1_line_end(struct proxy_h1_cursor *cursor);

/* Appends the fields to *headers. PROXY_H1_DONE: the cursor is behind the empty line. PROXY_H1_MORE: at the end of the
 * bytes there was none yet (the cursor's place means nothing). -EPROTO. */
int proxy_h1_fields(struct proxy_h1_cursor *cursor, size_t headers_max, struct proxy_headers *headers);

/* Whether it is worth parsing a head of which the first `scanned` bytes were parsed in vain: among the others a line
 * ends that is empty, or one that ends without CR (an error that should be told now). Each byte is looked at once. */
bool proxy_h1_head_ended(struct fl_span bytes, size_t scanned);

/* The next item of a comma-separated list (RFC 9110 §5.6.1), empty ones skipped. False at the end of *rest. */
bool proxy_h1_next_item(struct fl_span *rest, struct fl_span *ret_item);

/* Whether a Connection field of `headers` names the option `name`, case folded. */
bool proxy_h1_connection_lists(const struct proxy_headers *headers, struct fl_span name);

/* What the fields of a parsed head mean: host, framing, connection (RFC 9112 §3.2, §6, §9). PROXY_H1_DONE or -EPROTO.
 */
int proxy_h1_request_meaning(struct proxy_h1_cursor *cursor, struct proxy_message *message);
int proxy_h1_response_meaning(struct proxy_h1_cursor *cursor, const struct proxy_exchange *exchange,
                              struct proxy_message *message);

#endif
