/* The bootstrap: one YAML or JSON file in the form of Envoy's v3 Bootstrap (docs/configuration.md lists what we read),
 * taken into an assembly. Whole or nothing: on failure nothing has changed, and err says in one line what would be
 * right: "<file>:<line>:<column>: $.static_resources.listeners[0].name: …".
 *
 * Files that it names (certificates, keys, roots) are read here, on the main thread, before a worker sees the result.
 */
#ifndef PROXY_CONFIG_BOOTSTRAP_H
#define PROXY_CONFIG_BOOTSTRAP_H

#include "proxy/config/assembly.h"

#define PROXY_BOOTSTRAP_BYTES_MAX (16u << 20) /* of the file */
#define PROXY_BOOTSTRAP_DEPTH_MAX 64          /* levels of arrays and objects */

/* What one would tell the operator beside success: fields ignored, filters left out. Bounded; text is one line each. */
#define PROXY_BOOTSTRAP_WARNINGS_MAX 16
#define PROXY_BOOTSTRAP_WARNING_MAX  256
struct proxy_bootstrap_warnings {
    size_t count; /* of all; texts are kept for the first PROXY_BOOTSTRAP_WARNINGS_MAX */
    char texts[PROXY_BOOTSTRAP_WARNINGS_MAX][PROXY_BOOTSTRAP_WARNING_MAX];
};

/* Reads, converts and checks the file, and puts it in the place of the assembly's bootstrap. warnings may be NULL. 0;
 * -EINVAL; -EMSGSIZE; -ENOMEM; -errno of reading a file. */
int proxy_bootstrap_load(const char *path, struct proxy_bootstrap_warnings *warnings, struct proxy_assembly *assembly,
                         struct fl_err *err) FL_MUST_CHECK;

/* The same from text; `name` stands for the file in errors. */
int proxy_bootstrap_read(struct fl_span text, const char *name, struct proxy_bootstrap_warnings *warnings,
                         struct proxy_assembly *assembly, struct fl_err *err) FL_MUST_CHECK;

/* From text to a snapshot, by an assembly that is gone then: for who wants to look at a configuration alone. */
int proxy_bootstrap_parse(struct fl_span text, const char *name, struct proxy_bootstrap_warnings *warnings,
                          struct proxy_snapshot **ret_snapshot, struct fl_err *err) FL_MUST_CHECK;

#endif
