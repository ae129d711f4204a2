/* A small HTTP client for people's tools (libcurl): one GET at a time, blocking, bounded. Never the data path, never in
 * a program with an event loop.
 *
 * http:// and https:// URLs; redirects are not followed, proxies of the environment are not used (what is asked is a
 * port of the mesh, on this machine or through a port-forward), no other protocol is spoken.
 */
#ifndef FL_HTTP_CLIENT_H
#define FL_HTTP_CLIENT_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct fl_http_client_options {
    const char *url;     /* NUL-terminated */
    const char *ca_file; /* https: roots in PEM; NULL: the machine's */
    unsigned timeout_ms; /* of the whole exchange; 0: 10,000 */
};

/* Appends the answer's body to `body` (its maximum bounds it). 0 for a 200; -EPROTO with "404 Not Found" and the like
 * in err for another status; -EMSGSIZE for a body past the maximum; -ECONNREFUSED, -ETIMEDOUT, -EINVAL (a URL that is
 * none), -EIO (anything else) with what libcurl says; -ENOMEM. */
int fl_http_get(const struct fl_http_client_options *options, struct fl_buf *body, struct fl_err *err) FL_MUST_CHECK;

#endif
