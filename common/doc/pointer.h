/* JSON Pointer (RFC 6901): build one, follow one. */
#ifndef FL_DOC_POINTER_H
#define FL_DOC_POINTER_H

#include "common/doc/json.h"

#define FL_POINTER_MAX 1024 /* bytes of a pointer's text, escapes included */

/* A pointer being built: {0} is the whole document. */
struct fl_pointer {
    char text[FL_POINTER_MAX];
    size_t len;
    bool overflow; /* a push did not fit: every use of it answers -EMSGSIZE */
};

void fl_pointer_push(struct fl_pointer *pointer, struct fl_span name); /* escaped */
void fl_pointer_push_index(struct fl_pointer *pointer, size_t index);
void fl_pointer_push_end(struct fl_pointer *pointer); /* "-": behind the last element */
/* Back to what it was: mark is the len, taken before the pushes. */
void fl_pointer_cut(struct fl_pointer *pointer, size_t mark);

/* Resolves a pointer; NULL where it leads nowhere or is malformed. */
struct fl_json *fl_pointer_find(const struct fl_json *document, struct fl_span pointer);

/* The same, with the reason: 0; -EINVAL (not a pointer, an array index with a leading zero or a sign …); -ENOENT;
 * -EMSGSIZE (longer than FL_POINTER_MAX). */
int fl_pointer_resolve(const struct fl_json *document, struct fl_span pointer, struct fl_json **ret_value,
                       struct fl_err *err) FL_MUST_CHECK;

/* Where the last token of a pointer (not of "") points: a member or an element that may not be there yet. */
struct fl_place {
    struct fl_json *parent; /* an array or an object */
    char room[FL_POINTER_MAX];
    struct fl_span name; /* of the member; into room */
    bool end;            /* "-" of an array */
    size_t index;        /* of the element; ≤ count */
};

/* For changing what is there: what the document shares on the way becomes its own (json.h, fl_json_unshare). Results as
 * fl_pointer_resolve, and -ENOMEM. -ENOENT where the parent is not there or an index lies behind the end. */
int fl_pointer_place(struct fl_json *document, struct fl_span pointer, struct fl_place *ret_place,
                     struct fl_err *err) FL_MUST_CHECK;

#endif
