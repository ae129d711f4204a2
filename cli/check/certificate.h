/* How long a certificate lives on, in words; and what a caBundle is worth. Pure.
 */
#ifndef CLI_CHECK_CERTIFICATE_H
#define CLI_CHECK_CERTIFICATE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define CLI_LIFE_MAX  32
#define CLI_ROOTS_MAX 100          /* of one bundle */
#define CLI_ROOT_SOON (90 * 86400) /* seconds: a root that ends sooner is told of */

struct cli_life { /* of the certificate in a bundle that ends first, and of the one that ends last */
    size_t count;
    int64_t first, last;   /* notAfter, seconds since 1970 */
    size_t expired, early; /* not valid any more, not valid yet */
};

/* PEM of one or more certificates. 0; -EINVAL with the reason, -ENOMEM. */
int cli_life_read(struct fl_span pem, int64_t now, struct cli_life *ret_life, struct fl_err *err) FL_MUST_CHECK;

/* "9y", "45d", "23h", "12m", "0m"; of what is over "12m ago". */
void cli_life_print(int64_t seconds, char ret_text[CLI_LIFE_MAX]);

/* Whether two bundles hold the same certificates, in any order. False also for one that cannot be read. */
bool cli_bundles_equal(struct fl_span a, struct fl_span b);

#endif
