/* Whether a listener takes a route, and under which hostnames; conditions and their texts. For gateway.c and parents.c.
 */
#ifndef CONTROL_MODEL_ATTACH_H
#define CONTROL_MODEL_ATTACH_H

#include "control/model/gateway.h"

enum control_fit {                          /* the further down, the nearer it came */
                   CONTROL_FIT_NO_LISTENER, /* sectionName or port name none */
                   CONTROL_FIT_KIND,        /* the listener takes no routes of this kind */
                   CONTROL_FIT_NAMESPACE,   /* nor from this namespace */
                   CONTROL_FIT_HOSTNAME,    /* no hostname in common */
                   CONTROL_FIT,
};

/* One parentRef of a route against one listener of `owner`, a Gateway or ListenerSet. */
enum control_fit control_listener_fit(const struct control_model *model, const struct control_object *owner,
                                      const struct control_listener *listener, const struct control_object *route,
                                      const struct control_parent *parent);
/* Whether the Gateway's allowedListeners takes the set; which it then is part of. */
bool control_gateway_takes_set(const struct control_model *model, const struct control_gateway *gateway,
                               const struct control_listener_set *set);

/* What two hostnames have in common: the narrower one; empty stands for any. False: nothing. */
bool control_hostname_intersect(struct fl_span a, struct fl_span b, struct fl_span *ret_common);
/* Whether requests for every host that `narrow` stands for are requests for `wide` too. */
bool control_hostname_covers(struct fl_span wide, struct fl_span narrow);

/* The Gateway that is meant, by itself or by one of its sets; NULL: none, or none that is there. */
const struct control_gateway *control_gateway_of(const struct control_model *model,
                                                 const struct control_reference *reference);
/* Whether the reference means this Gateway or ListenerSet. */
bool control_is_parent(const struct control_reference *reference, const struct control_object *parent);
/* Whether its protocol is one for routes of this kind; whether it takes them: of those that allowedRoutes.kinds has. */
bool control_listener_can_take(const struct control_listener *listener, enum control_kind kind);
bool control_listener_takes_kind(const struct control_listener *listener, enum control_kind kind);
/* Whether its class is one of ours: the GatewayClass names our controller; a class "fairlead" needs no object. */
bool control_gateway_is_ours(const struct control_model *model, const struct control_gateway *gateway);

/* A text by printf into the arena; empty when memory is out: a message is not worth more. */
struct fl_span control_message(struct fl_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void control_condition_add(struct control_conditions *conditions, const char *type, bool status, const char *reason,
                           struct fl_span message);

#endif
