/* What a request under way has said: a copy of its head in its one form, small (one piece of memory of the head's
 * size), so that new policies can judge it again when the head itself is long gone.
 */
#ifndef PROXY_FILTER_RECALL_H
#define PROXY_FILTER_RECALL_H

#include "proxy/http/message.h"

struct proxy_recall; /* opaque; from malloc, freed by free() */

/* NULL when memory is out: then nothing is known of the request, and rules that ask for it err. */
struct proxy_recall *proxy_recall_new(const struct proxy_message *request);
/* Makes the message of it again; it borrows from the copy. */
void proxy_recall_message(const struct proxy_recall *recall, struct proxy_message *ret_request);

#endif
