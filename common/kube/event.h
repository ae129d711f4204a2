/* What a list or a watch of the API server answers, from bytes to objects: pure, no I/O. Private to this folder;
 * fuzzed.
 *
 * A watch's body is one JSON object a line: {"type":"ADDED|MODIFIED|DELETED|BOOKMARK|ERROR","object":{…}}. Lines arrive
 * in pieces of any size; one that grows past its maximum is an error. A list's body is one object with metadata
 * (resourceVersion, continue) and items.
 */
#ifndef FL_KUBE_EVENT_H
#define FL_KUBE_EVENT_H

#include "common/doc/json.h"

#define FL_KUBE_VERSION_MAX  64   /* bytes of a resourceVersion */
#define FL_KUBE_CONTINUE_MAX 4096 /* bytes of a continue token */

enum fl_kube_event_type {
    FL_KUBE_EVENT_ADDED,
    FL_KUBE_EVENT_MODIFIED,
    FL_KUBE_EVENT_DELETED,
    FL_KUBE_EVENT_BOOKMARK,
    FL_KUBE_EVENT_ERROR
};

/* Names of an object as a list or event has them. */
struct fl_kube_identity {
    struct fl_span name, name_space, version; /* name_space may be empty */
};

/* False where the object has no name or version, or where one of them is longer than Kubernetes allows. */
bool fl_kube_identify(const struct fl_json *object, struct fl_kube_identity *ret_identity);

struct fl_kube_event {
    enum fl_kube_event_type type;
    struct fl_json *root;         /* owned by the stream, until the callback returns */
    const struct fl_json *object; /* never NULL, an object */
    struct fl_span version;       /* of the object; empty for an ERROR */
    unsigned code;                /* of an ERROR's Status; 0: it said none */
};

/* A line without its newline. 0, -EINVAL, -EMSGSIZE, -ENOMEM; fl_json_free(root) on success. */
int fl_kube_event_parse(struct fl_span line, size_t max, struct fl_kube_event *ret_event,
                        struct fl_err *err) FL_MUST_CHECK;

/* Pieces into lines. */
struct fl_kube_stream {
    struct fl_buf line; /* what came of the line that is not complete */
};

void fl_kube_stream_init(struct fl_kube_stream *stream, size_t line_max);
void fl_kube_stream_done(struct fl_kube_stream *stream);
/* Takes the next complete line out of *bytes (and what waited): 1 with *ret_line (borrowed until the next call), 0 when
 * more is needed, -EMSGSIZE, -ENOMEM. Empty lines are left out. */
int fl_kube_stream_next(struct fl_kube_stream *stream, struct fl_span *bytes, struct fl_span *ret_line) FL_MUST_CHECK;

struct fl_kube_page {
    struct fl_json *root;        /* owned */
    const struct fl_json *items; /* an array, or NULL for none */
    struct fl_span version;      /* of the list */
    struct fl_span next;         /* "continue"; empty: this is the last page */
};

/* 0, -EINVAL, -EMSGSIZE, -ENOMEM. */
int fl_kube_page_parse(struct fl_span body, size_t max, struct fl_kube_page *ret_page,
                       struct fl_err *err) FL_MUST_CHECK;
void fl_kube_page_done(struct fl_kube_page *page);

#endif
