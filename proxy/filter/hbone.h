/* The end of tunnels (HBONE): a connection manager whose configuration names a listener serves CONNECT alone, and each
 * becomes a connection of that listener, as if it had been captured on its way to the request's authority. So policies,
 * metrics and logs are those of any connection; its caller is who the carrying connection's certificate says, and it
 * counts as mTLS.
 *
 * Who has a certificate of the mesh may go to this pod and nowhere else: the authority is an IP address, the very one
 * that the carrying connection came to, and neither a port of ours nor of a listener. Answers, as Istio's ztunnel gives
 * them: 200; 400 (another destination, or none); 401 (no identity, or the listener's policies deny it); 404 (another
 * method); 503 (the listener does not take it). What is refused only once its first bytes are known is reset.
 */
#ifndef PROXY_FILTER_HBONE_H
#define PROXY_FILTER_HBONE_H

#include "proxy/filter/downstream.h"
#include "proxy/http/stream.h"

/* Takes a request of `carrier`, whose head comes next. False: memory is out. */
bool proxy_hbone_take(struct proxy_downstream *carrier, struct proxy_stream *stream) FL_MUST_CHECK;

#endif
