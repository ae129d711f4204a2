/* The messages of an ADS stream ⇄ what the session works with. Pure. */
#ifndef CONTROL_XDS_MESSAGE_H
#define CONTROL_XDS_MESSAGE_H

#include "common/base/arena.h"
#include "control/xds/node.h"
#include "control/xds/session.h"

#define CONTROL_MESSAGE_ARENA_MAX ((size_t)64 << 20) /* memory that one request may take */

struct control_message {
    struct control_ask request;
    bool has_node;
    struct control_node node;
    bool unknown_type; /* a type that is not one of the five: to be passed over (request is not set) */
};

/* Decodes a DeltaDiscoveryRequest or a DiscoveryRequest; spans point into the arena. 0; -EINVAL with the reason;
 * -ENOMEM. */
int control_message_read(enum control_session_form form, struct fl_span bytes, struct fl_arena *arena,
                         struct control_message *ret_message, struct fl_err *err) FL_MUST_CHECK;

/* Encodes a response into the arena. `identifier` names this control plane. 0 or -ENOMEM. */
int control_message_print(enum control_session_form form, const struct control_response *response,
                          const char *identifier, struct fl_arena *arena, struct fl_span *ret_bytes) FL_MUST_CHECK;

#endif
