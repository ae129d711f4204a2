/* HTTP/2 as bytes, written by hand, for tests of peers that do not keep the rules. Everything asserts. */
#ifndef TESTS_UNIT_COMMON_H2_RAW_H
#define TESTS_UNIT_COMMON_H2_RAW_H

#include "common/base/buf.h"

enum {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RESET,
    H2_SETTINGS,
    H2_PUSH,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW,
    H2_CONTINUATION
};
enum { H2_END_STREAM = 1, H2_ACK = 1, H2_END_HEADERS = 4 };

void h2_raw_frame(struct fl_buf *buf, unsigned type, unsigned flags, uint32_t id, struct fl_span payload);
void h2_raw_preface(struct fl_buf *buf);  /* a client's first bytes, with empty SETTINGS */
void h2_raw_settings(struct fl_buf *buf); /* a server's first bytes */
/* One HEADERS frame. `lines`: "name: value\n…", each a literal without indexing. */
void h2_raw_headers(struct fl_buf *buf, unsigned flags, uint32_t id, const char *lines);
/* A good gRPC request's headers. */
void h2_raw_request(struct fl_buf *buf, uint32_t id, const char *path);

/* The first frame of `type` on stream `id` in what a peer sent; data NULL: none. For a client's bytes the preface is
 * skipped. */
struct fl_span h2_raw_find(struct fl_span bytes, unsigned type, uint32_t id);
unsigned h2_raw_count(struct fl_span bytes, unsigned type);

#endif
