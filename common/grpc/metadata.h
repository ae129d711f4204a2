/* Metadata of a call: what gRPC calls a header of the application. */
#ifndef FL_GRPC_METADATA_H
#define FL_GRPC_METADATA_H

#include "common/base/span.h"

struct fl_grpc_metadata {
    struct fl_span name;  /* lower case, no ':' first, none of gRPC's own (grpc-…, content-type, te) */
    struct fl_span value; /* visible ASCII and space */
};

#endif
