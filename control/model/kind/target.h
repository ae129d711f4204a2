/* Whom a policy of fairlead.io is for. Private to the readers of kinds. */
#ifndef CONTROL_MODEL_KIND_TARGET_H
#define CONTROL_MODEL_KIND_TARGET_H

#include "control/model/kind/row.h"
#include "control/model/meshapi.h"

extern const struct control_list control_gateway_names, control_service_names; /* targetRefs of that kind alone */

/* A row reader of a struct control_target: its selector. */
int control_read_target_selector(struct fl_reader *reader, const struct fl_json *value, void *field,
                                 const struct fl_row *row);

/* selector and targetRefs (Gateways) of a type with a member `target`. */
#define CONTROL_TARGET_ROWS(type)                                                                                      \
    {"selector", control_read_target_selector, offsetof(type, target), OPT, 0, 0, NULL},                               \
    {                                                                                                                  \
        "targetRefs", control_read_list, offsetof(type, target.names), OPT, 0, 0, &control_gateway_names               \
    }

/* That not both are given. 0, or -EINVAL with the reason. */
int control_check_target(struct fl_reader *reader, const struct fl_json *document, const struct control_target *target);
/* Of a policy that was not understood, whom it is for, as far as that can be told. 0, -ENOMEM. */
int control_close_target(struct fl_reader *reader, const struct fl_json *document, struct control_target *target);

#endif
