/* Certificates, keys and roots of one compilation: each source is read and parsed once, however many messages name it.
 * For proxy/config alone; the functions stand in context.h. */
#ifndef PROXY_CONFIG_PKI_H
#define PROXY_CONFIG_PKI_H

#include "common/base/map.h"

/* Lets go of what the map (compile->pki) holds, and of the map. */
void proxy_pki_cache_done(struct fl_map *cache);

#endif
