/* An owned copy of a message's head, in one piece of memory of about the head's size: what is needed of a head when the
 * bytes that it came in are long gone (a request that may be sent again, that new policies judge again, or that waits
 * for its connection).
 *
 * All of the message is kept, meaning and flags too, but for fields that were removed from it. A head has at most 60
 * KiB and what routes add to it, so that each text has 16 bits of length.
 */
#ifndef PROXY_HTTP_KEEP_H
#define PROXY_HTTP_KEEP_H

#include "proxy/http/message.h"

struct proxy_kept_message; /* opaque; from malloc, freed by free() */

/* 0, -ENOMEM, or -E2BIG: a text is longer than a head can be. */
int proxy_message_keep(const struct proxy_message *message, struct proxy_kept_message **ret_kept) FL_MUST_CHECK;
/* Bytes that it takes. */
size_t proxy_kept_message_size(const struct proxy_kept_message *kept);
/* Makes the message of it again; it borrows from the copy, which stays. */
void proxy_message_restore_kept(const struct proxy_kept_message *kept, struct proxy_message *ret_message);

#endif
