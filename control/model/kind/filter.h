/* The filters of an HTTPRoute's or GRPCRoute's rule, or of one of its backends. What is not supported is noted in the
 * filters, not refused. Private to the readers of kinds.
 */
#ifndef CONTROL_MODEL_KIND_FILTER_H
#define CONTROL_MODEL_KIND_FILTER_H

#include "control/model/gatewayapi.h"
#include "control/model/kind/field.h"

/* Row readers. struct control_http_filters: a rule's. */
int control_read_filters(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* A pointer to one, made in the arena; NULL stays where there are none: a backend's own. */
int control_read_filters_part(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row);

/* The filters of a GRPCRoute's rule: no redirects, no rewrites. */
int control_read_grpc_filters(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row);

#endif
