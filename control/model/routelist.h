/* Building flat lists of route entries, for route.c and gateway.c. */
#ifndef CONTROL_MODEL_ROUTELIST_H
#define CONTROL_MODEL_ROUTELIST_H

#include "control/model/route.h"

struct control_route_builder {
    struct control_route_entry *items; /* in the arena */
    size_t count;
    enum control_route_caller caller;
};

size_t control_route_entries(const struct control_http_route *route); /* at most */
int control_route_builder_start(struct control_route_builder *builder, enum control_route_caller caller, size_t room,
                                struct fl_arena *arena) FL_MUST_CHECK;
/* The rules of a route that are not dropped, backends resolved; `room` must suffice. 0, -ENOMEM. */
int control_route_builder_append(struct control_route_builder *builder, const struct control_model *model,
                                 const struct control_http_route *route, struct fl_span hostname,
                                 struct fl_arena *arena) FL_MUST_CHECK;
struct control_route_list control_route_builder_finish(struct control_route_builder *builder);

/* Which hostname is more specific: < 0: `a`. */
int control_hostname_compare(struct fl_span a, struct fl_span b);

#endif
