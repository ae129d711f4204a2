/* What is said between the control plane and the child that holds the issuing key (issuer.h): length-prefixed messages
 * over a stream, each with an id that the answer repeats. Sans-I/O, bounded, strict: each kind has its fields in one
 * order, and a message must end where its last field does. Neither side trusts the other's bytes.
 *
 *     4 bytes length of what follows │ 1 byte kind │ 4 bytes id │ fields (numbers big-endian, bytes with 4 of length)
 */
#ifndef CONTROL_CA_CHANNEL_H
#define CONTROL_CA_CHANNEL_H

#include "common/base/buf.h"

#define CONTROL_CHANNEL_REQUEST_MAX 8192   /* bytes of a request, its length field included */
#define CONTROL_CHANNEL_ANSWER_MAX  131072 /* and of an answer */
#define CONTROL_CHANNEL_TEXT_MAX    512    /* of a reason */

enum control_channel_kind {
    CONTROL_CHANNEL_SIGN = 1,    /* request: validity_s, identity, key */
    CONTROL_CHANNEL_SERVER = 2,  /* request: key */
    CONTROL_CHANNEL_READY = 16,  /* once, id 0: not_after, changes, isolated, bundle */
    CONTROL_CHANNEL_FAILED = 17, /* instead of it, id 0: text; the child ends */
    CONTROL_CHANNEL_SIGNED = 18, /* answer: not_after, serial, chain */
    CONTROL_CHANNEL_REFUSED = 19 /* answer: text */
};

struct control_channel_message { /* spans point into what was read; a kind's own fields alone are set */
    enum control_channel_kind kind;
    uint32_t id;
    uint32_t validity_s;         /* 0: the longest */
    struct fl_span identity;     /* a SPIFFE ID */
    struct fl_span key;          /* public, DER */
    uint64_t not_after, changes; /* seconds since the epoch */
    uint32_t isolated;           /* 1: in a network namespace of its own */
    struct fl_span bundle;       /* PEM */
    struct fl_span serial;       /* hex */
    struct fl_span chain;        /* PEM, the leaf first */
    struct fl_span text;         /* a reason */
};

/* Appends it; a reason is cut at its maximum. 0, -EMSGSIZE (a field past its maximum, or the buffer's), -ENOMEM. */
int control_channel_write(const struct control_channel_message *message, struct fl_buf *out) FL_MUST_CHECK;

enum control_channel_read {
    CONTROL_CHANNEL_MORE = 1, /* the message is not complete; nothing is consumed */
    CONTROL_CHANNEL_MESSAGE,
};

/* The message that `input` begins with; it is taken off *input. `answers`: which of the two directions is read. enum
 * control_channel_read, or -EBADMSG: too long, of no kind of this direction, a field past its maximum, bytes missing or
 * left over. */
int control_channel_read(struct fl_span *input, bool answers,
                         struct control_channel_message *ret_message) FL_MUST_CHECK;

#endif
