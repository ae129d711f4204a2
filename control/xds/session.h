/* struct control_session: the state of one ADS stream, sans I/O. What the client subscribed to, what it has of it, what
 * is under way, what it refused.
 *
 *     request message ──control_session_request──►┐
 *     a resource may have changed ──touch────────►│ session ──control_session_next──► response, … until none is left
 *
 * Both forms of the protocol. DELTA: names are added and taken away, differences are sent, versions of an earlier
 * stream are honoured (initial_resource_versions). STATE_OF_THE_WORLD: every request carries all names; a response for
 * listeners and clusters carries all of them, for the others those that changed.
 *
 * Groups. Besides names a client may ask for everything that it may see of a type ("*", or no name at all in a first
 * request for listeners or clusters), and for "outbound|*" (the Services of its own namespace, under their own names).
 *
 * Order: make before break. A response for a type waits until the types before it (clusters, endpoints, listeners,
 * routes, secrets) have no response to give; clusters and endpoints that are gone are taken away only when listeners
 * and routes have nothing to send and nothing under way. One response of a type is under way at a time, and what
 * changes meanwhile is sent once, when the client has answered: a slow client costs no more than its subscriptions.
 *
 * A refused response (NACK) is remembered with its reason and not sent again; the next version of a resource is.
 *
 * Limits: CONTROL_SESSION_NAMES_MAX names a type, a response about CONTROL_SESSION_RESPONSE_BYTES (one resource may be
 * larger; the state of the world of listeners and clusters is not cut).
 * Failure: -ENOMEM and -EPROTO (with the reason) leave the session fit for control_session_free alone.
 */
#ifndef CONTROL_XDS_SESSION_H
#define CONTROL_XDS_SESSION_H

#include "common/base/err.h"
#include "control/xds/resource.h"

#define CONTROL_SESSION_NAMES_MAX      65536
#define CONTROL_SESSION_RESPONSE_BYTES ((size_t)2 << 20)
#define CONTROL_SESSION_REASON_MAX     512

enum control_session_form { CONTROL_SESSION_DELTA, CONTROL_SESSION_STATE_OF_THE_WORLD };

enum control_group { CONTROL_GROUP_EVERYTHING, CONTROL_GROUP_OWN_NAMESPACE, CONTROL_GROUPS };

/* One message from the client, either form. Spans of the caller, used before the call returns. */
struct control_ask {
    enum fl_resource_type type;
    const struct fl_span *names; /* delta: subscribe; state of the world: all */
    size_t name_count;
    const struct fl_span *unsubscribe; /* delta */
    size_t unsubscribe_count;
    const struct fl_span *known_names, *known_versions; /* delta: initial_resource_versions */
    size_t known_count;
    struct fl_span nonce;  /* of the response that this answers; empty: of none */
    bool refused;          /* error_detail is set */
    struct fl_span reason; /* its message */
};

/* Where resources come from: the proxy's view of the model. */
struct control_session_source {
    /* *ret_resource: a new reference, or NULL where there is no such resource (for this proxy). 0 or -ENOMEM. */
    int (*get)(void *owner, enum fl_resource_type type, struct fl_span name, struct control_resource **ret_resource);
    /* Calls visit with every name of the group; a result other than 0 ends the walk and is returned. */
    int (*each)(void *owner, enum fl_resource_type type, enum control_group group,
                int (*visit)(void *visitor, struct fl_span name), void *visitor);
    void *owner;
};

/* What is to be sent. Initialise once, use for many: control_session_next empties it first. */
struct control_response {
    enum fl_resource_type type;
    char nonce[CONTROL_VERSION_TEXT];
    char version[CONTROL_VERSION_TEXT];  /* of the whole (system_version_info, version_info): of the client's state */
    struct control_resource **resources; /* owned references */
    size_t count, capacity;
    struct fl_span *removed; /* names; owned */
    size_t removed_count, removed_capacity;
    size_t bytes; /* of resources and names */
};

void control_response_init(struct control_response *response);
void control_response_done(struct control_response *response);

/* What is known of one type, for /debug/proxies. */
struct control_session_status {
    bool asked;                              /* the client has asked for this type */
    size_t subscribed;                       /* resources that it has or waits for */
    uint64_t version;                        /* of its state: of all that it was sent */
    bool in_flight;                          /* a response is not answered yet */
    bool in_sync;                            /* nothing to send, nothing under way, nothing refused */
    uint64_t sent, acked, refused;           /* responses, so far */
    bool last_refused;                       /* the last answer was a NACK … */
    char reason[CONTROL_SESSION_REASON_MAX]; /* … and why (empty: never) */
};

struct control_session;

int control_session_new(enum control_session_form form, struct control_session **ret_session) FL_MUST_CHECK;
struct control_session *control_session_free(struct control_session *session);

/* Memory that it takes, about: itself, and its entries with what the maps take for them. */
size_t control_session_bytes(const struct control_session *session);
/* Forgets every subscription: the stream has ended, and its connection may stay for a while. */
void control_session_clear(struct control_session *session);

enum control_session_outcome {
    CONTROL_SESSION_TAKEN = 0,
    CONTROL_SESSION_ACKED = 1,
    CONTROL_SESSION_REFUSED = 2, /* a NACK: tell it */
    CONTROL_SESSION_STALE = 3,   /* answers an older response: its names count (delta), its verdict does not */
};

/* Takes a message. An outcome, or -EPROTO with the reason (end the stream), -ENOMEM. */
int control_session_request(struct control_session *session, const struct control_ask *request,
                            struct fl_err *err) FL_MUST_CHECK;

/* The resource may have changed, come or gone (for a type: any of them). Only what the client subscribed to counts;
 * whether it did change is seen when the response is made. */
void control_session_touch(struct control_session *session, enum fl_resource_type type, struct fl_span name);
void control_session_touch_type(struct control_session *session, enum fl_resource_type type);

/* Likewise every resource of the type whose name begins so; names that are not known yet are not looked for. */
void control_session_touch_prefix(struct control_session *session, enum fl_resource_type type, struct fl_span prefix);
/* The groups of the type are to be walked anew: members may have come or gone. */
void control_session_touch_groups(struct control_session *session, enum fl_resource_type type);

/* Whether something was touched or asked for that no response has answered yet. */
bool control_session_pending(const struct control_session *session);
/* Whether there is neither that nor a response under way. */
bool control_session_settled(const struct control_session *session);

/* The next response that may be sent now. 1: *response is it; 0: none; -ENOMEM. */
int control_session_next(struct control_session *session, const struct control_session_source *source,
                         struct control_response *response) FL_MUST_CHECK;

void control_session_status(const struct control_session *session, enum fl_resource_type type,
                            struct control_session_status *ret_status);

/* The names that the client is subscribed to or has by a group, for /debug/config. */
int control_session_each(const struct control_session *session, enum fl_resource_type type,
                         int (*visit)(void *visitor, struct fl_span name, uint64_t version), void *visitor);

#endif
