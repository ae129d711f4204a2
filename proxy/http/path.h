/* Paths of requests brought into one form before anything is decided by them (RFC 3986 §6.2.2), as Envoy's
 * normalize_path, merge_slashes and path_with_escaped_slashes_action ask for it. Pure.
 *
 * In this order, on the path alone; a query stays as it is:
 *   escaped slashes  "%2F" and "%5C": kept, refused, or turned into "/" and "\"
 *   normalize        percent-encoded unreserved octets (letters, digits, "-._~") are decoded, "\" becomes "/", dot
 *                    segments are removed; "%00" is refused. Case and other escapes stay, as do octets from 0x80 on
 *   merge slashes    "//" becomes "/"
 *
 * The result is a fixed point: the same rules change nothing in it, and with `normalize` it has no dot segments. That
 * is why an escape is left alone where decoding it would give a broken one in front of it a digit ("%2%46" does not
 * become "%2F"): what was checked once cannot become something else further on. No result is longer than the path that
 * came in.
 */
#ifndef PROXY_HTTP_PATH_H
#define PROXY_HTTP_PATH_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

enum proxy_escaped_slashes { /* %2F and %5C in a path */
                             PROXY_SLASHES_KEEP,
                             PROXY_SLASHES_REJECT,
                             PROXY_SLASHES_REDIRECT,
                             PROXY_SLASHES_FORWARD_UNESCAPED,
};

struct proxy_path_rules { /* zeroed: every path stays as it is */
    bool normalize, merge_slashes;
    enum proxy_escaped_slashes escaped_slashes;
};

enum proxy_path_result {
    PROXY_PATH_SAME,     /* nothing to change (also for "*" and the empty path of CONNECT) */
    PROXY_PATH_CHANGED,  /* *ret_path goes on */
    PROXY_PATH_REDIRECT, /* the client is to ask for *ret_path instead (307): an escaped slash was there */
    PROXY_PATH_REFUSED,  /* 400 */
};

/* path: with its query. `to` has room for path.len bytes, and holds *ret_path, which is set by CHANGED and REDIRECT. */
enum proxy_path_result proxy_path_apply(const struct proxy_path_rules *rules, struct fl_span path, char *to,
                                        struct fl_span *ret_path) FL_MUST_CHECK;

/* The path as a reference in Location, into `to` (path.len + 2 bytes): one that begins with two slashes would name
 * another host (RFC 3986 §4.2), so it gets a dot segment in front. */
struct fl_span proxy_path_reference(struct fl_span path, char *to);

#endif
