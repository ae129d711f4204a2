/* What a client's first bytes are: TLS (with the names in its ClientHello), HTTP/1, HTTP/2 with prior knowledge, or
 * something else. Pure: the caller shows all bytes received so far, from the first on, and consumes nothing; the same
 * bytes go to whatever is chosen. Never guesses: PROXY_DETECT_MORE until the bytes decide, and never asks for more than
 * PROXY_DETECT_MAX bytes. RFC 8446 §4.1.2, §5.1 (a hello may be cut into several records); RFC 6066 §3; RFC 7301 §3.1;
 * RFC 9112 §3; RFC 9113 §3.4.
 */
#ifndef PROXY_NET_DETECT_H
#define PROXY_NET_DETECT_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define PROXY_DETECT_MAX       16384 /* bytes looked at; a longer ClientHello is TLS without known names */
#define PROXY_DETECT_LINE_MAX  8192  /* bytes of an HTTP request line */
#define PROXY_DETECT_NAME_MAX  255   /* bytes of a server name */
#define PROXY_DETECT_ALPN_MAX  8     /* tokens kept; what follows is not looked at */
#define PROXY_DETECT_TOKEN_MAX 32    /* bytes of a token kept; longer ones are none that we know, and left out */

enum proxy_detect_result {
    PROXY_DETECT_MORE = 1,
    PROXY_DETECT_TLS = 2,
    PROXY_DETECT_HTTP1 = 3,
    PROXY_DETECT_HTTP2 = 4,
    PROXY_DETECT_OTHER = 5,
};

#define PROXY_DETECT_WANT_TLS  1u
#define PROXY_DETECT_WANT_HTTP 2u

struct proxy_detect { /* copies: valid as long as the struct */
    char server_name[PROXY_DETECT_NAME_MAX + 1];
    size_t server_name_len; /* 0: none, or one that is no host name */
    char alpn[PROXY_DETECT_ALPN_MAX][PROXY_DETECT_TOKEN_MAX];
    uint8_t alpn_len[PROXY_DETECT_ALPN_MAX];
    size_t alpn_count;
};

/* wanted: what to look for; bytes of any other kind are PROXY_DETECT_OTHER at once. *ret_detect is filled for
 * PROXY_DETECT_TLS and empty otherwise. A ClientHello that is not well-formed is PROXY_DETECT_OTHER. */
enum proxy_detect_result proxy_detect(struct fl_span bytes, unsigned wanted,
                                      struct proxy_detect *ret_detect) FL_MUST_CHECK;

#endif
