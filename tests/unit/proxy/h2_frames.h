/* Frames of HTTP/2 written as text, for tables of what a peer may send:
 *
 *     TYPE FLAGS STREAM PAYLOAD; TYPE …        HEADERS es,eh 1 GET; DATA es 1 'abc'
 *
 * FLAGS: - or a comma-separated list of es, eh, ack, pad, pri. The payload is made of: hex digits; 'text'; 40*00 (a
 * byte so many times); GET, POST (a request's block: literals, no table); {name: value|name: value} (a block); PREFACE
 * and SETTINGS stand alone for what a client begins with. RAW - 0 … is no frame: its payload as it is. A length that
 * lies: TYPE/LENGTH.
 */
#ifndef TESTS_UNIT_PROXY_H2_FRAMES_H
#define TESTS_UNIT_PROXY_H2_FRAMES_H

#include "common/base/buf.h"

void frames_write(struct fl_buf *to, const char *text); /* asserts that it can be read */

struct frame_seen {
    uint8_t type, flags;
    uint32_t stream, len;
    struct fl_span payload;
};
/* The next frame of what a session sent. False: there is none, whole. */
bool frames_next(struct fl_span *bytes, struct frame_seen *ret_frame);

#endif
