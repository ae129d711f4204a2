/* Classes of octets in HTTP/1.x, one table look-up each (RFC 9110 §5, RFC 3986 §2, §3.2). */
#ifndef PROXY_HTTP_OCTET_H
#define PROXY_HTTP_OCTET_H

#include "common/base/span.h"

#define PROXY_OCTET_TOKEN  1u /* tchar */
#define PROXY_OCTET_VALUE  2u /* of a field value: visible, space, tab, from 0x80 on */
#define PROXY_OCTET_TARGET 4u /* of a request target: visible but '#', from 0x80 on */
#define PROXY_OCTET_HOST   8u /* of a reg-name: unreserved, sub-delims, '%' */
#define PROXY_OCTET_HEX    16u
#define PROXY_OCTET_DIGIT  32u

extern const uint8_t proxy_octet_class[256];

static inline bool proxy_octet_is(char octet, unsigned classes)
{
    return (proxy_octet_class[(unsigned char)octet] & classes) != 0;
}

/* Whether every octet is of one of the classes (true for an empty span). */
static inline bool proxy_octets_are(struct fl_span span, unsigned classes)
{
    for (size_t i = 0; i < span.len; i++) {
        if (!proxy_octet_is(span.data[i], classes))
            return false;
    }
    return true;
}

/* The first octet in [at, end) that cannot stand in a field value, or end. */
const char *proxy_octet_value_end(const char *at, const char *end);

#endif
