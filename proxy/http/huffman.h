/* The Huffman code of HPACK (RFC 7541 §5.2, appendix B): reading alone. We write none, see hpack.h. Pure. */
#ifndef PROXY_HTTP_HUFFMAN_H
#define PROXY_HTTP_HUFFMAN_H

#include "common/base/span.h"

#include <stdbool.h>

/* Bytes at most that `len` bytes say: the shortest code has five bits. */
#define PROXY_HUFFMAN_ROOM(len) ((len)*8 / 5)

/* False: it holds EOS, or its padding is longer than seven bits or not all ones. `to` has PROXY_HUFFMAN_ROOM(from.len)
 * bytes. */
bool proxy_huffman_decode(struct fl_span from, char *to, size_t *ret_size);

#endif
