/* A pod under review, as far as everybody here needs it: its shape, its lists of containers. Members that are null
 * count as absent, as for the API server. Pure. */
#ifndef WEBHOOK_POD_H
#define WEBHOOK_POD_H

#include "common/doc/json.h"

/* The lists that hold containers, ending with NULL: "initContainers", "containers", "ephemeralContainers". */
extern const char *const webhook_container_lists[];

/* Everything that this component reads has the right type: metadata, labels and annotations (strings), spec, the lists
 * of containers and volumes (objects with a name, ≤ WEBHOOK_CONTAINERS_MAX), their volume mounts, probes and security
 * contexts. Done once, first; what follows may then be blunt. 0 or -EINVAL with the path. */
int webhook_pod_check(const struct fl_json *pod, struct fl_err *err) FL_MUST_CHECK;

/* It bears one of our containers' names: the sidecar's, or the gate's. A name proves nothing (overlay.h). */
bool webhook_pod_is_our_name(const struct fl_json *container);

/* NULL where the object or the member is absent or null. */
const struct fl_json *webhook_pod_member(const struct fl_json *object, const char *name);
const struct fl_json *webhook_pod_labels(const struct fl_json *pod);
const struct fl_json *webhook_pod_annotations(const struct fl_json *pod);
/* The value of a label or annotation; data == NULL where it is absent. */
struct fl_span webhook_pod_value(const struct fl_json *map, const char *key);

/* The element of a list whose `key` is this name; *ret_index (may be NULL) its position. */
const struct fl_json *webhook_list_find(const struct fl_json *list, const char *key, struct fl_span name,
                                        size_t *ret_index);

#endif
