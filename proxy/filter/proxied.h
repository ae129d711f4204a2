/* The PROXY protocol on the way out: what a cluster's hosts are told before everything else. */
#ifndef PROXY_FILTER_PROXIED_H
#define PROXY_FILTER_PROXIED_H

#include "proxy/filter/downstream.h"

/* Writes the header for a connection that was dialled in this turn, where its cluster asks for one: the client's
 * address, and where it was going. 0 or -ENOMEM. */
int proxy_proxied_tell(const struct proxy_downstream *downstream, struct proxy_upstream *upstream) FL_MUST_CHECK;

#endif
