/* Our identity as SDS resources: envoy.extensions.transport_sockets.tls.v3.Secret with the bytes in it, for
 * proxy_assembly_put. */
#ifndef PROXY_CONFIG_SECRET_H
#define PROXY_CONFIG_SECRET_H

#include "common/base/arena.h"

#define PROXY_SECRET_OWN   "default" /* our certificate and key */
#define PROXY_SECRET_ROOTS "ROOTCA"  /* the trust bundle */

/* Into the arena, which then holds a key: whoever made it resets it soon. 0 or -ENOMEM. */
int proxy_secret_certificate(const char *name, struct fl_span key, struct fl_span chain, struct fl_arena *arena,
                             struct fl_span *ret_wire) FL_MUST_CHECK;
int proxy_secret_roots(const char *name, struct fl_span roots, struct fl_arena *arena,
                       struct fl_span *ret_wire) FL_MUST_CHECK;

#endif
