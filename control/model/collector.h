/* Where spans go: Telemetry's tracing.endpoint, "http://host:port/path". The host is an address, or a Service by its
 * full name, "name.namespace" or "name.namespace.svc"; the port is 4318 where none is given. Pure.
 */
#ifndef CONTROL_MODEL_COLLECTOR_H
#define CONTROL_MODEL_COLLECTOR_H

#include "control/model/model.h"

struct control_collector { /* spans of the endpoint */
    struct fl_span host;   /* without brackets */
    bool is_address;
    struct control_ip ip;
    uint16_t port;
    struct fl_span path; /* begins with '/', or empty */
};

/* False: it is none that a proxy takes. */
bool control_collector_parse(struct fl_span endpoint, struct control_collector *ret_collector);

/* The Service that it names, by name or by address; NULL: none. The port may be none of the Service's. */
const struct control_service *control_collector_service(const struct control_model *model,
                                                        const struct control_collector *collector);

#endif
