/* The preface of ALPN fairlead-tcp/1 and fairlead-http/1: what each side of an mTLS connection sends once, before the
 * application's bytes, as soon as its half of the handshake is done, without waiting for the other's.
 *
 *   "FLP" 0x01            magic and version
 *   u16 length            bytes that follow, network order, ≤ FL_PREFACE_BODY_MAX
 *   fields                u8 type, u16 length (network order), value (of known types: UTF-8, no control
 *                         characters, ≤ FL_PREFACE_VALUE_MAX)
 *
 * The fields are the sender's workload metadata: for metric labels and logs only, never for authorization (the peer
 * says what it likes). Unknown types are skipped; a type twice, a truncated field, a wrong magic, version or length is
 * a protocol error and closes the connection. Sans-I/O.
 */
#ifndef FL_MESH_PREFACE_H
#define FL_MESH_PREFACE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/mesh/alpn.h"

#define FL_PREFACE_HEAD      6
#define FL_PREFACE_BODY_MAX  1024
#define FL_PREFACE_VALUE_MAX 253

enum fl_preface_field {
    FL_PREFACE_WORKLOAD = 1,
    FL_PREFACE_NAMESPACE = 2,
    FL_PREFACE_APP = 3,     /* label app or app.kubernetes.io/name */
    FL_PREFACE_VERSION = 4, /* label version */
    FL_PREFACE_CLUSTER = 5,
    FL_PREFACE_CANONICAL_SERVICE = 6,
    FL_PREFACE_CANONICAL_REVISION = 7,
    FL_PREFACE_FIELDS
};

struct fl_preface {
    struct fl_span fields[FL_PREFACE_FIELDS]; /* by type; empty where absent; [0] is unused */
};

/* Appends the whole preface, a form that fl_preface_parse takes: a value is cut before its first byte that is no text,
 * at FL_PREFACE_VALUE_MAX, and where the body is full (the fields stand in the order of their types). An empty value
 * is left out. All or nothing: 0, -ENOMEM, -EMSGSIZE. */
int fl_preface_print(const struct fl_preface *preface, struct fl_buf *out) FL_MUST_CHECK;

enum fl_preface_result {
    FL_PREFACE_DONE = 1, /* *ret_size bytes were the preface; the rest is the application's */
    FL_PREFACE_MORE = 2, /* not all of it is here yet */
};

/* Reads from the start of `bytes`; spans of the result point into them. FL_PREFACE_DONE, FL_PREFACE_MORE, or -EPROTO
 * with the reason. Never asks for more than FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX bytes. */
int fl_preface_parse(struct fl_span bytes, struct fl_preface *ret_preface, size_t *ret_size,
                     struct fl_err *err) FL_MUST_CHECK;

#endif
