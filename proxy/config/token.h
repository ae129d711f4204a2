/* The service-account token of a file that somebody rotates (the kubelet, an operator): read anew for each use. */
#ifndef PROXY_CONFIG_TOKEN_H
#define PROXY_CONFIG_TOKEN_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define PROXY_TOKEN_MAX 16384 /* bytes of the file */

/* Appends "Bearer <token>", the value of an authorization field. White space at the token's ends is dropped; a token
 * that is empty or holds anything but visible ASCII is refused (it would forge a field). The text is never in `err`.
 * 0; -EINVAL, -EMSGSIZE, -ENOMEM, or what the system said of the file. */
int proxy_token_read(const char *path, struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;

#endif
