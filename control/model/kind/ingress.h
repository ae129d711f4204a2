/* Where a load balancer serves a Service: status.loadBalancer.ingress. Private to the readers of kinds. */
#ifndef CONTROL_MODEL_KIND_INGRESS_H
#define CONTROL_MODEL_KIND_INGRESS_H

#include "control/model/core.h"

/* Fills ingress and ingress_count. What is no address is left out: it is the cloud's word, and a Service does not go
 * for it. 0, -ENOMEM. */
int control_read_ingress(struct fl_reader *reader, const struct fl_json *document,
                         struct control_service *service) FL_MUST_CHECK;

#endif
