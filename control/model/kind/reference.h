/* References of Gateway API, with its defaults filled in: the namespace of the object that refers, the group "" for
 * "core". Private to the readers of kinds.
 */
#ifndef CONTROL_MODEL_KIND_REFERENCE_H
#define CONTROL_MODEL_KIND_REFERENCE_H

#include "control/model/gatewayapi.h"
#include "control/model/kind/field.h"

#define CONTROL_GATEWAY_GROUP "gateway.networking.k8s.io"
#define CONTROL_GROUP_MAX     FL_KUBE_NAME_MAX
#define CONTROL_SECTION_MAX   FL_KUBE_NAME_MAX

/* Row readers. struct control_parent: a Gateway, unless it says otherwise. */
int control_read_parent(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* struct control_reference: a Secret, unless it says otherwise. */
int control_read_reference(struct fl_reader *reader, const struct fl_json *value, void *field,
                           const struct fl_row *row);
/* struct control_backend: a Service of weight 1, unless it says otherwise. */
int control_read_backend(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);

#endif
