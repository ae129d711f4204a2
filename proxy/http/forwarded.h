/* x-forwarded-for: the addresses that a request came through, each proxy appending the one it saw. Pure. */
#ifndef PROXY_HTTP_FORWARDED_H
#define PROXY_HTTP_FORWARDED_H

#include "proxy/http/message.h"

/* The entry at `from_right` (0: the last), over all fields of that name; empty entries count. False: there are not as
 * many. */
bool proxy_forwarded_for(const struct proxy_headers *headers, size_t from_right, struct fl_span *ret_entry);

/* Appends an entry to the last field of that name, or adds one. *ret_value is the field's value, in scratch, also after
 * a failure (then it is empty). 0, -E2BIG (too many fields) or -EMSGSIZE (scratch too small). */
int proxy_forwarded_append(struct proxy_headers *headers, struct fl_span entry, char *scratch, size_t scratch_size,
                           struct fl_span *ret_value) FL_MUST_CHECK;

#endif
