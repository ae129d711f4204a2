/* The generated messages, under short names. Private to control/xds: it shows protobuf-c's types. */
#ifndef CONTROL_XDS_MESSAGES_H
#define CONTROL_XDS_MESSAGES_H

#include "common/xds/proto/access_log_file.pb-c.h"
#include "common/xds/proto/access_log_stream.pb-c.h"
#include "common/xds/proto/cluster.pb-c.h"
#include "common/xds/proto/discovery.pb-c.h"
#include "common/xds/proto/hcm.pb-c.h"
#include "common/xds/proto/http_inspector.pb-c.h"
#include "common/xds/proto/http_rbac.pb-c.h"
#include "common/xds/proto/jwt_authn.pb-c.h"
#include "common/xds/proto/listener.pb-c.h"
#include "common/xds/proto/network_rbac.pb-c.h"
#include "common/xds/proto/original_dst.pb-c.h"
#include "common/xds/proto/raw_buffer.pb-c.h"
#include "common/xds/proto/router.pb-c.h"
#include "common/xds/proto/tcp_proxy.pb-c.h"
#include "common/xds/proto/tls.pb-c.h"
#include "common/xds/proto/tls_inspector.pb-c.h"

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest pb_delta_request;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse pb_delta_response;
typedef Envoy__Service__Discovery__V3__DiscoveryRequest pb_request;
typedef Envoy__Service__Discovery__V3__DiscoveryResponse pb_response;
typedef Envoy__Service__Discovery__V3__Resource pb_resource;
typedef Envoy__Service__Discovery__V3__ControlPlane pb_control_plane;

typedef Google__Protobuf__Any pb_any;
typedef Google__Protobuf__Duration pb_duration;
typedef Google__Protobuf__Struct pb_struct;
typedef Google__Protobuf__Value pb_value;
typedef Google__Protobuf__BoolValue pb_bool;
typedef Google__Protobuf__UInt32Value pb_u32;

typedef Envoy__Config__Core__V3__Node pb_node;

#endif
