/* The matches of an HTTPRoute's and a GRPCRoute's rule. Private to the readers of kinds. */
#ifndef CONTROL_MODEL_KIND_MATCH_H
#define CONTROL_MODEL_KIND_MATCH_H

#include "control/model/gatewayapi.h"
#include "control/model/kind/field.h"

/* What a rule without matches has: every path; every gRPC request. */
extern const struct control_http_match control_match_all, control_match_grpc;

/* A row reader of a struct control_http_rule: its matches; and its `dropped`, where one of them is not supported. */
int control_read_matches(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);

/* The same of a GRPCRoute. */
int control_read_grpc_matches(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row);

#endif
