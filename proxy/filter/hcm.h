/* The terminal filter that speaks HTTP (Envoy's HttpConnectionManager with the router at its end): HTTP/1.1 and 1.0.
 *
 * One request at a time is under way on a connection; what a client sends beyond it waits unread (pipelining), bounded
 * by one read. Bodies pass through as they come, with backpressure both ways. See exchange.h for the states.
 */
#ifndef PROXY_FILTER_HCM_H
#define PROXY_FILTER_HCM_H

#include "proxy/filter/downstream.h"

/* Takes the connection over (its callbacks, and proxy_downstream_end). 0, or -ENOMEM: then nothing was taken. */
int proxy_hcm_start(struct proxy_downstream *downstream) FL_MUST_CHECK;

#endif
