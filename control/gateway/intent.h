/* What a Gateway asks the deployer for, read from the object as the API has it, and what of it cannot be. Pure. */
#ifndef CONTROL_GATEWAY_INTENT_H
#define CONTROL_GATEWAY_INTENT_H

#include "common/base/err.h"
#include "common/doc/json.h"

#define CONTROL_INTENT_PORTS_MAX 64
#define CONTROL_INTENT_SUFFIX    "-fairlead"
#define CONTROL_INTENT_NAME_MAX  54 /* with the suffix it is the name of a Service: 63 bytes */

struct control_intent_port {
    uint16_t port;
    const char *word; /* what a port of a Service is named by: "http", "https", "tls", "tcp" */
};

struct control_intent { /* spans and values are borrowed from the Gateway */
    struct fl_span name_space, name, uid, class_name;
    int64_t generation;
    struct control_intent_port ports[CONTROL_INTENT_PORTS_MAX]; /* ascending, each once */
    size_t port_count;
    const struct fl_json *labels, *annotations; /* spec.infrastructure; NULL: none */
    struct fl_span parameters;                  /* name of a ConfigMap; empty: none */
    struct fl_span address;                     /* an IP address; empty: any */
};

/* 0: *ret_intent can be done. Positive: it cannot, *ret_reason (a condition's; static) and err say why, and names,
 * generation and class of *ret_intent are set. -EINVAL: it is no Gateway at all. */
int control_intent_read(const struct fl_json *gateway, struct control_intent *ret_intent, const char **ret_reason,
                        struct fl_err *err) FL_MUST_CHECK;

#endif
