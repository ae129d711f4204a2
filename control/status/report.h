/* Status of an object in words, from the model alone: Gateway API's conditions for its kinds, Accepted for ours, and
 * what the source could not take. Pure. */
#ifndef CONTROL_STATUS_REPORT_H
#define CONTROL_STATUS_REPORT_H

#include "common/base/buf.h"
#include "common/doc/json.h"
#include "control/model/gateway.h"
#include "control/model/store.h"

#define CONTROL_STATUS_TEXT_MAX (1u << 20) /* of one object */

/* Kinds that have a status: GatewayClass, Gateway, every kind of route, and those of fairlead.io. */
bool control_status_has(enum control_kind kind);

/* Appends {apiVersion, kind, metadata, origin, status: {conditions | parents | listeners …}} as a JSON object. Of the
 * object's name status.problems tells what the source refused besides. A problem without an object has its own
 * function. 0, -ENOMEM, -EMSGSIZE. */
int control_status_object(const struct control_model *model, const struct control_object *object,
                          struct fl_buf *out) FL_MUST_CHECK;
int control_status_problem(const struct control_problem *problem, struct fl_buf *out) FL_MUST_CHECK;

/* What the API's status of the object should say, without times and generations: {conditions}, and for a Gateway
 * {listeners}, for a route {parents} alone, in the order of spec.parentRefs, null where the parent is none of ours.
 * *ret_status is the caller's (fl_json_free); NULL: the whole object is none of ours, but another controller's. 0,
 * -ENOMEM. */
int control_status_tree(const struct control_model *model, const struct control_object *object,
                        struct fl_json **ret_status) FL_MUST_CHECK;

#define CONTROL_STATUS_FIRST 5 /* problems that the summary tells */

struct control_status_filter { /* empty: any */
    struct fl_span kind, name_space, name;
};

/* What proxies refuse of what was made of objects (NACK), as they say it. They name it by the names that generation
 * gives: "<namespace>/<name>#…" stands for an object. */
struct control_refusal {
    struct fl_span proxy, type, reason; /* the first proxy; "LDS" */
    size_t proxies;
};
struct control_refusals {
    const struct control_refusal *items;
    size_t count;
};

/* Everything that the filter (NULL: none) lets through: {"version": n, "summary": {…}, "objects": […], "problems": […],
 * "refusals": […]}; objects without a status are left out, one that a refusal (NULL: none are known) names has a
 * condition Programmed: False. The summary counts objects, those with problems (refused ones without an object among
 * them), documents that were refused, and warnings; "first" names some. For the control plane's HTTP port. 0, -ENOMEM,
 * -EMSGSIZE past out's max. */
int control_status_all(const struct control_model *model, const struct control_refusals *refusals,
                       const struct control_status_filter *filter, struct fl_buf *out) FL_MUST_CHECK;

#endif
