/* The ports and ids of a meshed pod (the numbers that dashboards and network policies of the field know). */
#ifndef FL_MESH_PORT_H
#define FL_MESH_PORT_H

#include <stdbool.h>
#include <stdint.h>

#define FL_PORT_ADMIN    15000 /* loopback: /ready, /stats/prometheus, … */
#define FL_PORT_OUTBOUND 15001
#define FL_PORT_PROBE    15002 /* reserved: the start gate's dial goes there, on 127.0.0.6 and ::6; nobody listens */
#define FL_PORT_INBOUND  15006
#define FL_PORT_HBONE    15008 /* tunnels; captured as any other port, and handed on by the inbound listener */
#define FL_PORT_XDS      15012
#define FL_PORT_CONTROL  15014
#define FL_PORT_MERGED   15020 /* /stats/prometheus (merged) and app probes */
#define FL_PORT_HEALTH   15021 /* /healthz/ready, /healthz/started */
#define FL_PORT_DNS      15053
#define FL_PORT_STATS    15090 /* /stats/prometheus: the proxy's own */

#define FL_PROXY_UID 1337
#define FL_PROXY_GID 1337

#define FL_PASSTHROUGH_IPV4 "127.0.0.6" /* source of inbound connections to the app: never captured again */
#define FL_PASSTHROUGH_IPV6 "::6"

/* True for the ports above that our sidecar itself listens on: traffic to them is never captured, and a connection
 * whose original destination is one of them is a loop. */
bool fl_port_is_ours(uint16_t port);

#endif
