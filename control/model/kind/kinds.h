/* What reader.c knows of each kind: how large its struct is and how its document is read. Private to the readers. */
#ifndef CONTROL_MODEL_KIND_KINDS_H
#define CONTROL_MODEL_KIND_KINDS_H

#include "control/model/object.h"

struct control_kind_reader {
    size_t size; /* of the kind's struct */
    /* Fills the struct behind `object` from the document; metadata is read already, reader->context is its arena. */
    int (*read)(struct fl_reader *reader, const struct fl_json *document, struct control_object *object);
    /* Fails closed: what to make of an object whose document could not be understood (`document` may be anything).
     * NULL: there is no such thing, the object is left out. 0, -ENOMEM. */
    int (*close)(struct fl_reader *reader, const struct fl_json *document, struct control_object *object);
};

/* By kind: of core.h, gatewayapi.h, meshapi.h. */
extern const struct control_kind_reader control_read_namespace, control_read_service, control_read_slice,
    control_read_pod, control_read_service_account, control_read_secret;
extern const struct control_kind_reader control_read_gateway_class, control_read_gateway, control_read_listener_set,
    control_read_http_route, control_read_grpc_route, control_read_tcp_route, control_read_tls_route,
    control_read_reference_grant;
extern const struct control_kind_reader control_read_authorization_policy, control_read_request_authentication,
    control_read_peer_authentication, control_read_traffic_policy, control_read_telemetry, control_read_mesh_settings;

#endif
