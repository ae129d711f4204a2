/* An impact (impact.h) brought to those that it is about: what is kept of the old model is dropped, what a proxy has of
 * it is touched. Pure, but for what they are given. */
#ifndef CONTROL_XDS_APPLY_H
#define CONTROL_XDS_APPLY_H

#include "control/xds/cache.h"
#include "control/xds/impact.h"

void control_impact_drop(const struct control_impact *impact, struct control_cache *cache);
/* `session` is that of the proxy that calls itself `node`. */
void control_impact_touch(const struct control_impact *impact, const struct control_node *node,
                          struct control_session *session);

#endif
