/* Bytes that repeat themselves, kept small: an LZ77 of whole bytes without entropy coding, for what is held for long
 * and read seldom (configuration as it came over the wire: a half to a fifth of its size). One pass, some 300 MB/s; the
 * same bytes are always packed alike. What does not get smaller is kept as it is.
 *
 *   0nnnnnnn             n + 1 bytes follow, as they are
 *   1nnnnnnn low high    n + 4 bytes as they stood `low + 256 × high` bytes (≥ 1) before
 */
#ifndef FL_BASE_PACK_H
#define FL_BASE_PACK_H

#include "common/base/arena.h"

struct fl_packed {
    struct fl_span bytes; /* empty where len is 0 */
    size_t len;           /* unpacked */
};

/* Into `arena`; `scratch` has len + len / 128 + 1 bytes more afterwards. False when memory is out, or an arena full. */
bool fl_pack(struct fl_span bytes, struct fl_arena *scratch, struct fl_arena *arena,
             struct fl_packed *ret_packed) FL_MUST_CHECK;
/* data == NULL when memory is out, the arena full, or the bytes are not what fl_pack makes. */
struct fl_span fl_unpack(const struct fl_packed *packed, struct fl_arena *arena) FL_MUST_CHECK;
/* Whether it unpacks to these; allocates nothing. */
bool fl_packed_eq(const struct fl_packed *packed, struct fl_span bytes);

#endif
