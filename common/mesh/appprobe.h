/* App probes: what the kubelet would have asked the pod's containers itself, before the webhook turned its probes to
 * the sidecar (port 15020), which asks in its stead: so they work where the app's ports take mTLS alone.
 *
 * The webhook writes the table as the annotation fairlead.io/probes; the sidecar gets the same text as FAIRLEAD_PROBES.
 * This module is the only reader and writer, and makes and reads the paths on 15020. Form, version 1 (members in this
 * order, none but those of the handler; probes in the order of container, then of the kinds below; at most one of a
 * container and kind):
 *
 *   {"version":1,"probes":[
 *     {"container":"app","kind":"readyz","httpGet":{"scheme":"HTTPS","port":8443,"path":"/ok?x=1",
 *      "headers":[{"name":"Host","value":"app.local"}]},"timeoutSeconds":1},
 *     {"container":"app","kind":"livez","tcpSocket":{"port":5432},"timeoutSeconds":1},
 *     {"container":"app","kind":"prestopz","httpGet":{"scheme":"HTTP","port":80,"path":"/bye","headers":[]}}]}
 *
 * and a third handler, "grpc":{"port":9000,"service":"x"}. Ports are numbers (names were resolved at admission);
 * headers keep their order. Lifecycle kinds have no timeoutSeconds: the kubelet waits as long as the pod may take.
 */
#ifndef FL_MESH_APPPROBE_H
#define FL_MESH_APPPROBE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_APPPROBE_VERSION     1
#define FL_APPPROBE_TEXT_MAX    65536 /* bytes of the canonical JSON */
#define FL_APPPROBE_COUNT_MAX   512   /* probes of a pod */
#define FL_APPPROBE_HEADERS_MAX 64    /* of a probe */
#define FL_APPPROBE_NAME_MAX    256   /* bytes of a header's name, of a gRPC service */
#define FL_APPPROBE_VALUE_MAX   8192  /* bytes of a header's value, of a path */

/* In the order of the canonical form: enum, last segment of the path, the member of the container. */
#define FL_APPPROBE_KINDS(X)                                                                                           \
    X(STARTUPZ, "startupz", "startupProbe")                                                                            \
    X(READYZ, "readyz", "readinessProbe")                                                                              \
    X(LIVEZ, "livez", "livenessProbe")                                                                                 \
    X(POSTSTARTZ, "poststartz", "postStart")                                                                           \
    X(PRESTOPZ, "prestopz", "preStop")
enum fl_appprobe_kind {
#define FL_APPPROBE_KIND_(name, text, member) FL_APPPROBE_##name,
    FL_APPPROBE_KINDS(FL_APPPROBE_KIND_)
#undef FL_APPPROBE_KIND_
        FL_APPPROBE_KIND_COUNT
};
const char *fl_appprobe_kind_name(enum fl_appprobe_kind kind);   /* "readyz" */
const char *fl_appprobe_kind_member(enum fl_appprobe_kind kind); /* "readinessProbe" */
static inline bool fl_appprobe_kind_is_lifecycle(enum fl_appprobe_kind kind)
{
    return kind == FL_APPPROBE_POSTSTARTZ || kind == FL_APPPROBE_PRESTOPZ;
}

enum fl_appprobe_handler { FL_APPPROBE_HTTP_GET, FL_APPPROBE_TCP_SOCKET, FL_APPPROBE_GRPC };

struct fl_appprobe_header {
    struct fl_span name;  /* a token of RFC 9110, 1…FL_APPPROBE_NAME_MAX; "Host" sets the request's */
    struct fl_span value; /* without control characters but tabs */
};

struct fl_appprobe {
    struct fl_span container; /* a DNS label */
    enum fl_appprobe_kind kind;
    enum fl_appprobe_handler handler; /* of a lifecycle kind: no gRPC, there is none in Kubernetes */
    uint16_t port;                    /* not 0, and none of our own (mesh/port.h) */
    bool https;                       /* httpGet from here on */
    struct fl_span path;              /* as the pod has it; without control characters; may be empty or lack the '/' */
    const struct fl_appprobe_header *headers;
    size_t header_count;
    struct fl_span service; /* grpc; without control characters; may be empty */
    uint32_t timeout_s;     /* 1…2^31-1 as Kubernetes has it; 0 of a lifecycle kind */
};

/* A table, sorted as it prints. Zeroed is empty; fl_appprobes_done also of a zeroed one. It owns what its probes point
 * to, until _done. */
struct fl_appprobes {
    struct fl_appprobe *probes;
    size_t count, room;
    struct fl_arena memory;
};

void fl_appprobes_init(struct fl_appprobes *table);
void fl_appprobes_done(struct fl_appprobes *table);

/* Adds a copy; in the place of one for the same container and kind. All or nothing: 0; -EINVAL (err says what would be
 * right: such a probe is better left to the kubelet), -EMSGSIZE (too many, too long), -ENOMEM. A table that was
 * changed by thousands of replacements runs full: memory is given back by _done alone. */
int fl_appprobes_put(struct fl_appprobes *table, const struct fl_appprobe *probe, struct fl_err *err) FL_MUST_CHECK;

/* NULL: there is none. Valid until the next put. */
const struct fl_appprobe *fl_appprobes_find(const struct fl_appprobes *table, struct fl_span container,
                                            enum fl_appprobe_kind kind);

/* From the annotation's text, members in any order. 0; -EINVAL (err names the path in the text and what would be
 * right); -ENOTSUP where the version is not one that we know; -EMSGSIZE; -ENOMEM. Strict: unknown members, two probes
 * for the same container and kind, and any handler but one are refused. *ret_table need not be initialized. */
int fl_appprobes_parse(struct fl_span text, struct fl_appprobes *ret_table, struct fl_err *err) FL_MUST_CHECK;

/* Appends the canonical form, FL_APPPROBE_TEXT_MAX bytes at most: equal tables give equal bytes. 0, -ENOMEM, -EMSGSIZE
 * (then nothing was appended). */
int fl_appprobes_print(const struct fl_appprobes *table, struct fl_buf *out) FL_MUST_CHECK;

/* The path on 15020: "/app-health/<container>/readyz", "/app-lifecycle/<container>/prestopz". */
#define FL_APPPROBE_HEALTH_PREFIX    "/app-health/"
#define FL_APPPROBE_LIFECYCLE_PREFIX "/app-lifecycle/"
#define FL_APPPROBE_PATH_MAX         96 /* with its NUL, for a container's name that is a DNS label */
/* Writes a NUL; returns the length, 0 (and an empty text) where `container` is no DNS label. */
size_t fl_appprobe_path_print(struct fl_span container, enum fl_appprobe_kind kind,
                              char ret_path[FL_APPPROBE_PATH_MAX]);
/* False for anything that the above does not make. *ret_container points into `path`. */
bool fl_appprobe_path_parse(struct fl_span path, struct fl_span *ret_container, enum fl_appprobe_kind *ret_kind);

#endif
