/* One TLS handshake with a server, to learn whether its certificate is good for a name and a bundle. Blocking, bounded
 * in time and bytes; nothing is said over the session.
 */
#ifndef CLI_HANDSHAKE_H
#define CLI_HANDSHAKE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdint.h>

struct cli_handshake {
    struct fl_span roots; /* PEM */
    const char *name;     /* DNS; in the server's certificate, and the SNI */
    unsigned timeout_ms;  /* 0: 10 s */
};

/* `address`: "127.0.0.1:41234". 0 with the certificate's validity; -EACCES: it is not good, with the reason; -EINVAL:
 * the bundle or the address is none; -ETIMEDOUT, -ECONNREFUSED, -EPROTO, -ENOMEM. */
int cli_handshake(const char *address, const struct cli_handshake *how, int64_t *ret_from, int64_t *ret_until,
                  struct fl_err *err) FL_MUST_CHECK;

#endif
