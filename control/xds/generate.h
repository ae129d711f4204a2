/* Resources out of the model, for one view. Pure: the same model and view give the same bytes.
 *
 * What there is, by name (common/mesh/resource.h):
 *
 *   listeners   virtualOutbound, virtualInbound; one for each address and port of a Service; on demand any address that
 *               is asked for (service, workload, external, refused: metadata fairlead.kind says which, and answers in
 *               the negative have a TTL); a gateway's, one for each port
 *   clusters    one for each port of a Service, for a Pod by its address, for each of the workload's own ports; the
 *               three that are always there
 *   endpoints   of the clusters of Services and Pods
 *   routes      one table for each HTTP port of a Service; for each of a gateway's listeners
 *   secrets     certificates that a gateway's listeners name, for that gateway alone
 */
#ifndef CONTROL_XDS_GENERATE_H
#define CONTROL_XDS_GENERATE_H

#include "control/xds/resource.h"
#include "control/xds/session.h"
#include "control/xds/view.h"

#define CONTROL_GENERATE_ARENA_MAX ((size_t)64 << 20) /* memory for one resource in the making */
#define CONTROL_TTL_EXTERNAL       60                 /* seconds that "nobody of ours" holds */
#define CONTROL_TTL_REFUSED        10

/* Whether another view could see the same bytes under that name: then they may be kept for it. */
enum control_sharing {
    CONTROL_SHARED_NOT,       /* this proxy's alone, or cheap */
    CONTROL_SHARED_NAMESPACE, /* by the proxies of its namespace with the same telemetry settings and role */
    CONTROL_SHARED_MESH,      /* by all of its role */
};
enum control_sharing control_generate_sharing(const struct control_view *view, enum fl_resource_type type,
                                              struct fl_span name);
/* The settings that CONTROL_SHARED_NAMESPACE speaks of, as a number. */
uint64_t control_generate_settings(const struct control_view *view);

/* *ret_resource is NULL where there is no such resource for this view. The arena is used for the making and reset by
 * the caller. 0 or -ENOMEM. */
int control_generate(const struct control_view *view, enum fl_resource_type type, struct fl_span name,
                     struct fl_arena *arena, struct control_resource **ret_resource) FL_MUST_CHECK;

/* The names of a group (session.h). 0, -ENOMEM, or what visit returned. */
int control_generate_each(const struct control_view *view, enum fl_resource_type type, enum control_group group,
                          struct fl_arena *arena, int (*visit)(void *visitor, struct fl_span name), void *visitor);

#endif
