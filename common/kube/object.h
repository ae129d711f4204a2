/* What every Kubernetes object has: metadata, label selectors, owner references. Read from a document by tables, copied
 * into an arena, so that the document can go at once.
 *
 * Names are checked as the API server does, because a directory of files has no API server: a name or namespace that is
 * not a DNS name is refused. Unknown fields are ignored here (metadata belongs to Kubernetes).
 */
#ifndef FL_KUBE_OBJECT_H
#define FL_KUBE_OBJECT_H

#include "common/base/arena.h"
#include "common/doc/table.h"

#define FL_KUBE_NAME_MAX        253
#define FL_KUBE_NAMESPACE_MAX   63
#define FL_KUBE_LABELS_MAX      256          /* of one object; annotations too */
#define FL_KUBE_VALUE_MAX       (256u << 10) /* bytes of an annotation's value, as in Kubernetes */
#define FL_KUBE_OWNERS_MAX      64
#define FL_KUBE_EXPRESSIONS_MAX 64 /* of a selector; and values of one */

struct fl_label {
    struct fl_span key, value;
};

struct fl_labels { /* by key, ascending; each key once */
    const struct fl_label *items;
    size_t count;
};

struct fl_owner { /* ownerReferences[] */
    struct fl_span kind, name;
    bool controller;
};

struct fl_metadata {
    struct fl_span name, name_space; /* name_space is empty where none was given */
    struct fl_span uid;              /* may be empty */
    int64_t generation;              /* 0: not given (a file) */
    int64_t created; /* creationTimestamp, seconds since 1970 in UTC; INT64_MAX: not given, the youngest */
    struct fl_labels labels, annotations;
    const struct fl_owner *owners;
    size_t owner_count;
};

enum fl_selector_operator { FL_SELECT_IN, FL_SELECT_NOT_IN, FL_SELECT_EXISTS, FL_SELECT_ABSENT };

struct fl_selector_expression {
    struct fl_span key;
    enum fl_selector_operator operator;
    const struct fl_span *values;
    size_t value_count;
};

struct fl_selector { /* all labels and all expressions must agree; an empty selector selects everything */
    struct fl_labels labels;
    const struct fl_selector_expression *expressions;
    size_t expression_count;
};

/* "metadata" of `object`. Names that are not valid, label lists past the limits and a creationTimestamp that is not
 * RFC 3339 are errors. 0, -EINVAL, -ENOMEM. */
int fl_metadata_read(struct fl_reader *reader, const struct fl_json *object, struct fl_arena *arena,
                     struct fl_metadata *ret_metadata) FL_MUST_CHECK;

/* An object of strings ("matchLabels", a Service's "selector"). `value` may be NULL: then there are none. */
int fl_labels_read(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                   struct fl_labels *ret_labels) FL_MUST_CHECK;

/* {matchLabels, matchExpressions}, both optional; other members are errors. */
int fl_selector_read(struct fl_reader *reader, const struct fl_json *value, struct fl_arena *arena,
                     struct fl_selector *ret_selector) FL_MUST_CHECK;

/* Empty where there is none (data == NULL), else the value, which may be the empty text. O(log n). */
struct fl_span fl_labels_get(const struct fl_labels *labels, struct fl_span key);
bool fl_labels_have(const struct fl_labels *labels, struct fl_span key);

/* Whether `labels` has all of `wanted`. True for none wanted (a Service without selector selects nothing: its user asks
 * for that first). */
bool fl_labels_match(const struct fl_labels *wanted, const struct fl_labels *labels);
bool fl_selector_match(const struct fl_selector *selector, const struct fl_labels *labels);

/* Seconds since 1970 of an RFC 3339 time ("2026-01-02T03:04:05Z", also with fraction and offset). 0 or -EINVAL. */
int fl_time_parse(struct fl_span text, int64_t *ret_seconds) FL_MUST_CHECK;

/* A kind's name in paths, as the field makes the plural: gateways, gatewayclasses, authorizationpolicies, meshsettings.
 * Appended. 0, -ENOMEM, -EMSGSIZE. */
int fl_kube_plural(const char *kind, struct fl_buf *out) FL_MUST_CHECK;

/* DNS-1123 names as Kubernetes checks them. */
bool fl_is_dns_label(struct fl_span text);     /* ≤ 63: namespaces, port names are near it */
bool fl_is_dns_subdomain(struct fl_span text); /* ≤ 253: names of most kinds */

#endif
