/* HPACK (RFC 7541) of one connection, both directions: header blocks to fields and back. The tables are made on first
 * use, at most 4,096 bytes of text each; nothing else is kept between blocks. Written here because heads are the
 * largest part of what a request costs above the kernel; nghttp2's, which it replaced, is its oracle in the tests.
 *
 * What must not stay in a table is marked volatile: it is written as a literal that is never indexed (§6.2.3), so that
 * ids of requests and of traces do not churn the table and secrets cannot be probed. What rarely comes again (paths,
 * lengths, validators) is written without indexing. Nothing is written in Huffman's code: what comes again is one byte
 * anyway, and a quarter fewer bytes of the rest is not worth the time of both ends.
 */
#ifndef PROXY_HTTP_HPACK_H
#define PROXY_HTTP_HPACK_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define PROXY_HPACK_TABLE 4096u /* bytes of a table as RFC 7541 §4.1 counts them: each way */

struct proxy_hpack_encoder;
struct proxy_hpack_decoder;

struct proxy_hpack { /* zeroed to begin with */
    struct proxy_hpack_encoder *encoder;
    struct proxy_hpack_decoder *decoder;
};

struct proxy_hpack_field {
    struct fl_span name, value;
    bool is_volatile; /* read: it was never indexed */
    uint8_t *note;    /* read: a byte for the user that stays with the table's entry, 0 at first; NULL: it is in none */
};

void proxy_hpack_done(struct proxy_hpack *hpack);

/* The peer's SETTINGS_HEADER_TABLE_SIZE: of our encoder, which uses PROXY_HPACK_TABLE at most. 0 or -ENOMEM. */
int proxy_hpack_limit(struct proxy_hpack *hpack, uint32_t table) FL_MUST_CHECK;

/* Bytes at most of these fields' block, and the block itself. Encoded is sent, in this order: the peer's table follows.
 * 0 or -ENOMEM; after an error the connection cannot send heads any more. */
size_t proxy_hpack_bound(const struct proxy_hpack_field *fields, size_t count);
int proxy_hpack_encode(struct proxy_hpack *hpack, const struct proxy_hpack_field *fields, size_t count, char *to,
                       size_t room, size_t *ret_size) FL_MUST_CHECK;
#define PROXY_HPACK_FIELDS_MAX 192

enum proxy_hpack_result {
    PROXY_HPACK_FIELD = 1, /* *ret_field is set: valid until the next call */
    PROXY_HPACK_END = 2,   /* the block is over */
};

/* The next field of a whole block; *block shrinks. -EPROTO: it is wrong (COMPRESSION_ERROR), -ENOMEM; after either the
 * connection cannot go on. A block must be read to its end. */
int proxy_hpack_decode(struct proxy_hpack *hpack, struct fl_span *block,
                       struct proxy_hpack_field *ret_field) FL_MUST_CHECK;

#endif
