/* Shared HTTP/2 connections to the hosts of a cluster: for cluster.h's proxy_upstream_request alone.
 *
 *     request ─► a lane (of a host) ─► one of its connections, or the queue until one has room
 *     connection: dialling ─► open ─► draining (GOAWAY, other certificate, retired cluster) ─► closed
 *
 * One connection serves a host (address and identity) as long as it has room and is not stalled; another one is dialled
 * when all are full (PROXY_MUX_STREAMS streams, or what the peer allows) or stalled (backlogged for
 * PROXY_MUX_STALL_MS). Whoever asks while a connection is being dialled waits for it. What a waiting stream is sent
 * waits in it: its head (keep.h) and PROXY_MUX_WAIT_MAX bytes, above which it is backlogged.
 *
 * A connection whose TLS context is no longer the one in force takes no new streams; what is on it ends on it. One that
 * has no stream closes: at once where it is draining, after PROXY_MUX_EXTRA_MS where the lane has another one, else
 * after the cluster's idle time (PROXY_MUX_IDLE_MS where it has none).
 *
 * Where the handshake agrees on HTTP/1 the first who waits gets that connection as its own, the others dial theirs; the
 * lane remembers the answer for as long as the context stays the same.
 */
#ifndef PROXY_UPSTREAM_MUX_H
#define PROXY_UPSTREAM_MUX_H

#include "proxy/upstream/cluster.h"

#define PROXY_MUX_STREAMS     100u
#define PROXY_MUX_CONNECTIONS 16u    /* of a host, a worker; beyond it streams wait for room */
#define PROXY_MUX_STALL_BYTES 65536u /* unsent for … */
#define PROXY_MUX_STALL_MS    5u     /* … longer than this: new streams go elsewhere */
#define PROXY_MUX_WAIT_MAX    65536u /* bytes of a body that wait in a stream without a connection */
#define PROXY_MUX_IDLE_MS     90000u
#define PROXY_MUX_EXTRA_MS    5000u

#endif
