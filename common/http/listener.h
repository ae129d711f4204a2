/* A listening TCP socket from an address as text. */
#ifndef FL_HTTP_LISTENER_H
#define FL_HTTP_LISTENER_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

/* "127.0.0.1:8080", "[::1]:8080"; "[::]" takes IPv4 too; port 0: any free one, told in *ret_port. The fd is
 * non-blocking and CLOEXEC, and the caller's. 0 or a negative errno with the reason. */
int fl_http_listen(struct fl_span address, int *ret_fd, uint16_t *ret_port, struct fl_err *err) FL_MUST_CHECK;

#endif
