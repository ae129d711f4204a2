/* The terminal filter that passes bytes as they are, both ways (Envoy's tcp_proxy).
 *
 * The upstream is dialled at once (or was before: early.h), so that protocols in which the server speaks first work.
 * Half-close is carried through; a reset or failure on one side resets the other. Memory is bounded by backpressure:
 * reading from one side pauses while the other is backlogged. An idle timeout counts bytes of both directions. When a
 * connection's longest duration is over, both sides end with what they have been given (DT).
 */
#ifndef PROXY_FILTER_TCP_H
#define PROXY_FILTER_TCP_H

#include "proxy/filter/downstream.h"

/* Takes the connection over (its callbacks, and proxy_downstream_end). 0, or -ENOMEM: then nothing was taken. */
int proxy_tcp_start(struct proxy_downstream *downstream) FL_MUST_CHECK;
/* The slot of a new connection's cluster: the one, or one drawn by weight. */
uint32_t proxy_tcp_draw(const struct proxy_tcp_config *config, uint32_t random);

#endif
