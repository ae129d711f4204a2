/* Destinations whose servers were seen to speak first. A hint, never a decision: such a server is dialled at once,
 * instead of after a moment of silence; what the bytes are, only bytes say. So a wrong one costs a connection, and the
 * places may be shared: one by hash, the newer note counts. Of one worker, in bounded memory that is taken with the
 * first note.
 */
#ifndef PROXY_NET_LEARNED_H
#define PROXY_NET_LEARNED_H

#include "proxy/net/address.h"

#define PROXY_LEARNED_PLACES 1024u
#define PROXY_LEARNED_MS     600000u /* how long a note counts */

struct proxy_learned_place;

struct proxy_learned { /* zeroed: empty */
    struct proxy_learned_place *places;
};

void proxy_learned_done(struct proxy_learned *learned);
/* Without memory nothing is noted. */
void proxy_learned_note(struct proxy_learned *learned, const struct proxy_address *destination, uint64_t now_ms);
/* Its client spoke first. */
void proxy_learned_forget(struct proxy_learned *learned, const struct proxy_address *destination);
bool proxy_learned_has(const struct proxy_learned *learned, const struct proxy_address *destination, uint64_t now_ms);

#endif
