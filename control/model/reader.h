/* From a document to an object: apiVersion and kind choose the table. Sans-I/O; both sources use it.
 *
 * Unknown fields are errors in fairlead.io objects and ignored in Kubernetes' own and the Gateway API's. Errors read
 * "file:line:column: $.path: what".
 */
#ifndef CONTROL_MODEL_READER_H
#define CONTROL_MODEL_READER_H

#include "control/model/object.h"

enum control_read {
    CONTROL_READ_OK,
    CONTROL_READ_FOREIGN, /* a kind or group that the mesh does not use: nothing to say about it */
};

/* What could be told of a document, also where it is wrong: for messages, and to keep the last good version. */
struct control_identity {
    bool known;             /* the three below are set */
    struct control_key key; /* spans into the document */
    struct fl_position position;
};

/* CONTROL_READ_OK with one reference in *ret_object; CONTROL_READ_FOREIGN; -EINVAL (err tells where and what),
 * -EMSGSIZE, -ENOMEM. `positions` may be NULL (JSON of the API). *ret_identity is set in every case. A `List` (kind
 * "List" or "…List" with items) is taken apart by the caller: control_read_items. `root`: the root
 * namespace (model.h), for what closes for everybody. */
int control_object_read(const struct fl_json *document, const struct fl_positions *positions,
                        const struct control_origin *origin, struct fl_span root, struct control_object **ret_object,
                        struct control_identity *ret_identity, struct fl_err *err) FL_MUST_CHECK;

/* A kind that fails closed (object.h, `broken`): control_object_read never refuses a document of it. Where its
 * metadata, version or size is what is wrong, the object is closed for the namespace that the document names, and for
 * everybody (the root namespace) where even that cannot be told; one without a good name gets one of our own. */
bool control_kind_closes(enum control_kind kind);

/* The name of one that stands for objects of its namespace for which there was no room. The API server lets no object
 * have it. */
#define CONTROL_LEFT_OUT ":left-out"

/* Such an object out of nothing: `key` is of a closing kind, its name and namespace may be empty or wrong. `why` is
 * what a person reads; `document` (NULL: none) tells whom it is for, as far as that can be told. 0, -ENOMEM. */
int control_object_close(const struct control_key *key, const struct control_origin *origin, struct fl_span root,
                         const char *why, const struct fl_json *document,
                         struct control_object **ret_object) FL_MUST_CHECK;

/* "items" of a List; NULL where the document is no List. */
const struct fl_json *control_read_items(const struct fl_json *document);

#endif
