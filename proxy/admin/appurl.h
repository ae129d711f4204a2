/* What is asked of an app over HTTP, as text: the request of a probe or a scrape, and where a redirect leads. Pure.
 *
 * The kubelet's ways (Go's net/url and net/http) are kept where an app can see them: a path without '/' gets one, a
 * fragment goes, an authority in the path is not meant; what is no URL octet is escaped. Host, User-Agent and Accept
 * may be set by the probe's headers (an empty one is left out); Content-Length, Transfer-Encoding, Trailer and
 * Connection are the connection's and never theirs.
 */
#ifndef PROXY_ADMIN_APPURL_H
#define PROXY_ADMIN_APPURL_H

#include "common/base/buf.h"
#include "common/mesh/appprobe.h"
#include "proxy/net/address.h"

#define PROXY_APPURL_TARGET_MAX  32768         /* bytes of a target: FL_APPPROBE_VALUE_MAX with everything escaped */
#define PROXY_APPURL_REQUEST_MAX (1024 * 1024) /* 64 headers of 8 KiB, and more */

struct proxy_appurl {
    bool https;
    struct proxy_address to; /* with the port */
    struct fl_buf target;    /* "/path?query" */
};

void proxy_appurl_init(struct proxy_appurl *url);
void proxy_appurl_done(struct proxy_appurl *url);

/* The target of a path as a pod has it. 0, -ENOMEM, -EMSGSIZE. */
int proxy_appurl_set_path(struct proxy_appurl *url, struct fl_span path) FL_MUST_CHECK;

enum proxy_appurl_redirect {
    PROXY_APPURL_SAME,      /* url is where it leads; `ret_relative`: Location named no host */
    PROXY_APPURL_ELSEWHERE, /* another host: not followed */
    PROXY_APPURL_BAD,       /* no http or https, no URL, or one of the sidecar's own ports */
};

/* From `url` to its Location, resolved (RFC 3986 §5). Another host is one that is not written as the address's IP. An
 * enum proxy_appurl_redirect, -ENOMEM or -EMSGSIZE; url is unchanged but where it is SAME. */
int proxy_appurl_follow(struct proxy_appurl *url, struct fl_span location, bool *ret_relative) FL_MUST_CHECK;

struct proxy_apprequest {
    const struct proxy_appurl *url;
    const struct fl_appprobe_header *headers;
    size_t header_count;
    struct fl_span user_agent, accept; /* where the headers say nothing */
    bool no_host;                      /* the headers' Host does not count: a redirect named the host */
    bool no_authorization;
};

/* Appends the whole request: GET, HTTP/1.1, "Connection: close". 0, -ENOMEM, -EMSGSIZE. */
int proxy_apprequest_print(const struct proxy_apprequest *request, struct fl_buf *out) FL_MUST_CHECK;

#endif
