/* Namespaces: their labels and annotations by name. Of an API server (lookup.h puts them), or from a file
 * (--namespaces), for a webhook without one.
 *
 * The file: YAML, one or several documents, each a Namespace, or a List or NamespaceList of them, as `kubectl get
 * namespaces -o yaml` prints it. Unknown members are ignored (they are Kubernetes' objects); errors name
 * file:line:column. A namespace that is not in the file counts as one without labels. Such a set is immutable; a reload
 * makes a new one.
 */
#ifndef WEBHOOK_NAMESPACE_H
#define WEBHOOK_NAMESPACE_H

#include "common/doc/yaml.h"

struct webhook_namespace {
    struct fl_span name;
    const struct fl_json *labels;      /* an object whose members are strings; NULL: none */
    const struct fl_json *annotations; /* the same */
};

struct webhook_namespaces;

/* 0, -EINVAL (malformed, another kind, a name twice), -EMSGSIZE, -ENOMEM. An empty text is an empty set. */
int webhook_namespaces_parse(struct fl_span text, const char *file, struct webhook_namespaces **ret_set,
                             struct fl_err *err) FL_MUST_CHECK;
struct webhook_namespaces *webhook_namespaces_free(struct webhook_namespaces *set); /* returns NULL */
void webhook_cleanup_namespaces(struct webhook_namespaces **set);

/* An empty set of `max` namespaces at most, which changes. 0 or -ENOMEM. */
int webhook_namespaces_new(size_t max, struct webhook_namespaces **ret_set) FL_MUST_CHECK;
/* What an API server said (a Namespace, or its metadata alone): in the place of what was known of it. Only labels and
 * annotations of our prefix are kept, so that thousands of namespaces are small. 0, -EINVAL (no name), -ENOSPC,
 * -ENOMEM: then the namespace may be unknown. */
int webhook_namespaces_put(struct webhook_namespaces *set, const struct fl_json *object) FL_MUST_CHECK;
/* The same of an answer that news may have overtaken: what is known of a later resourceVersion stays, and that is 0. */
int webhook_namespaces_put_newer(struct webhook_namespaces *set, const struct fl_json *object) FL_MUST_CHECK;
void webhook_namespaces_remove(struct webhook_namespaces *set, struct fl_span name);

size_t webhook_namespaces_count(const struct webhook_namespaces *set);
/* Borrowed; NULL where the set (or NULL) does not hold it. */
const struct webhook_namespace *webhook_namespaces_find(const struct webhook_namespaces *set, struct fl_span name);

#endif
