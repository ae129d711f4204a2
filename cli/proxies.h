/* The proxies that a control plane knows (its /debug/proxies) as a table. Pure.
 */
#ifndef CLI_PROXIES_H
#define CLI_PROXIES_H

#include "common/base/buf.h"
#include "common/doc/json.h"

#include <time.h>

/* Appends the table, a line of totals behind it, and for each proxy that refused something the reason. `now`: for ages.
 * `filter`: only proxies whose name or namespace holds it; empty: all. 0, -ENOMEM, -EMSGSIZE; -EINVAL where the
 * document is no list of proxies. */
int cli_proxies_print(const struct fl_json *document, time_t now, struct fl_span filter,
                      struct fl_buf *out) FL_MUST_CHECK;

#endif
