/* Kubernetes objects from files, folders and standard input: YAML or JSON, several documents a file, Lists as they are.
 */
#ifndef CLI_MANIFEST_H
#define CLI_MANIFEST_H

#include "common/doc/json.h"

#define CLI_MANIFEST_BYTES   (64u << 20) /* of one file */
#define CLI_MANIFEST_FILES   4096
#define CLI_MANIFEST_OBJECTS 100000
#define CLI_MANIFEST_DEPTH   64 /* of folders within folders */

struct cli_manifest {
    char *file; /* owned; "standard input" for "-" */
    struct fl_json *root;
};

struct cli_manifests {
    struct cli_manifest *items; /* owned, in the order of paths, files by name, documents */
    size_t count;
};

/* Each path is a file, a folder (its *.yaml, *.yml, *.json; with `recursive` those of its folders too) or "-", which
 * may be given once. No object at all is an error. A document that is no object with kind and apiVersion is refused. 0,
 * or negative with "file:line:column: what"; nothing to release then. */
int cli_manifests_read(char *const *paths, size_t count, bool recursive, struct cli_manifests *ret_manifests,
                       struct fl_err *err) FL_MUST_CHECK;
void cli_manifests_done(struct cli_manifests *manifests); /* a zeroed one is fine */

/* Calls `visit` with every object, items of Lists (and PodLists …, and Lists within them) one by one, until one answers
 * other than 0; returns that. What it gets may be changed in place. */
typedef int (*cli_visit)(void *context, const char *file, struct fl_json *object);
int cli_manifests_visit(const struct cli_manifests *manifests, cli_visit visit, void *context) FL_MUST_CHECK;

/* Appends all of it as YAML documents with "---" between, or as JSON: one document, a List where there are several. */
int cli_manifests_print(const struct cli_manifests *manifests, bool json, struct fl_buf *out) FL_MUST_CHECK;
/* The same to standard output. Also -EIO where that takes no more. */
int cli_manifests_write(const struct cli_manifests *manifests, bool json, struct fl_err *err) FL_MUST_CHECK;

#endif
