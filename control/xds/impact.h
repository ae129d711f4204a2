/* What a change of the model may change for proxies: from a difference between two models to the resources that have to
 * be looked at again. Too much is never wrong (an equal resource is not sent), only slower; too little is. Pure.
 *
 *   names        one resource of one type, for whoever has it
 *   destination  an address: whatever is called outbound|<ip>:… or workload|<ip>:…
 *   types        all resources of a type, for everybody
 *   namespaces   the inbound side and the settings of every proxy of a namespace ("": of all)
 *   pods         everything of one Pod's own proxy
 *   gateways     listeners, routes, secrets and clusters of every gateway
 */
#ifndef CONTROL_XDS_IMPACT_H
#define CONTROL_XDS_IMPACT_H

#include "common/mesh/resource.h"
#include "control/model/store.h"

#define CONTROL_IMPACT_NAMES_MAX 16384 /* more of a type than that are all of it */

struct control_impact_name {
    enum fl_resource_type type;
    struct fl_span name;
};

struct control_impact_pod {
    struct fl_span name_space, name;
};

struct control_impact {
    struct fl_arena arena; /* holds everything below */
    const struct control_impact_name *names;
    size_t name_count;
    const struct fl_span *destinations; /* IP addresses, canonical, without brackets */
    size_t destination_count;
    const struct fl_span *namespaces;
    size_t namespace_count;
    const struct control_impact_pod *pods;
    size_t pod_count;
    bool types[FL_RESOURCE_TYPES];
    bool workloads; /* whatever is called workload|… */
    bool groups;    /* members of the groups of listeners and clusters may have come or gone */
    bool gateways;
};

/* 0 or -ENOMEM. control_impact_done in every case. */
int control_impact_of(const struct control_diff *diff, struct control_impact *ret_impact) FL_MUST_CHECK;
void control_impact_done(struct control_impact *impact);

#endif
