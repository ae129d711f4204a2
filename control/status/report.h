/* Status of an object in words, from the model alone: Gateway API's conditions for its kinds, Accepted for ours, and
 * what the source could not take. Pure. */
#ifndef CONTROL_STATUS_REPORT_H
#define CONTROL_STATUS_REPORT_H

#include "common/base/buf.h"
#include "control/model/gateway.h"
#include "control/model/store.h"

#define CONTROL_STATUS_TEXT_MAX (1u << 20) /* of one object */

/* Kinds that have a status: GatewayClass, Gateway, HTTPRoute, TCPRoute and those of fairlead.io. */
bool control_status_has(enum control_kind kind);

/* Appends {apiVersion, kind, metadata, origin, status: {conditions | parents | listeners …}} as a JSON object. An
 * object that is a problem only (no version in force) has its own function. 0, -ENOMEM, -EMSGSIZE. */
int control_status_object(const struct control_model *model, const struct control_object *object,
                          struct fl_buf *out) FL_MUST_CHECK;
int control_status_problem(const struct control_problem *problem, struct fl_buf *out) FL_MUST_CHECK;

/* Everything: {"version": n, "objects": […], "problems": […]}; objects without a status are left out. For the control
 * plane's HTTP port. 0, -ENOMEM, -EMSGSIZE past out's max. */
int control_status_all(const struct control_model *model, struct fl_buf *out) FL_MUST_CHECK;

#endif
