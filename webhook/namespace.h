/* Namespaces from a file (--namespaces): their labels and annotations by name, for a webhook without an API server.
 *
 * YAML, one or several documents, each a Namespace, or a List or NamespaceList of them, as `kubectl get namespaces -o
 * yaml` prints it. Unknown members are ignored (they are Kubernetes' objects); errors name file:line:column. A
 * namespace that is not in the file counts as one without labels. A set is immutable; a reload makes a new one.
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

size_t webhook_namespaces_count(const struct webhook_namespaces *set);
/* Borrowed; NULL where the set (or NULL) does not hold it. */
const struct webhook_namespace *webhook_namespaces_find(const struct webhook_namespaces *set, struct fl_span name);

#endif
