/* YAML (libyaml) into the same trees as JSON, each value with its position. A library of its own, so that programs
 * which read no YAML do not link libyaml.
 *
 * YAML 1.2 core schema for plain scalars (null, true/false, numbers; "yes", "on" and "no" are strings); duplicate keys,
 * non-string keys, merge keys, unknown tags and anchors/aliases are refused (an alias can make a small file large), and
 * so is U+0000. Errors read "file:line:column: what", 1-based.
 */
#ifndef FL_DOC_YAML_H
#define FL_DOC_YAML_H

#include "common/doc/json.h"
#include "common/doc/table.h"

struct fl_yaml; /* a stream of documents and the positions of their values */

/* `file` names the input in errors (copied). A JSON text is YAML too and may be given. Limits as for JSON.
 * 0, -EINVAL, -EMSGSIZE, -ENOMEM. */
int fl_yaml_parse(struct fl_span text, const char *file, const struct fl_json_limits *limits, struct fl_yaml **ret_yaml,
                  struct fl_err *err) FL_MUST_CHECK;
/* Reads the file and parses it; also -errno of open/read. */
int fl_yaml_load(const char *path, const struct fl_json_limits *limits, struct fl_yaml **ret_yaml,
                 struct fl_err *err) FL_MUST_CHECK;
struct fl_yaml *fl_yaml_free(struct fl_yaml *yaml); /* frees the documents too; returns NULL */
void fl_cleanup_yaml(struct fl_yaml **yaml);

size_t fl_yaml_count(const struct fl_yaml *yaml);                           /* documents; empty ones are left out */
struct fl_json *fl_yaml_document(const struct fl_yaml *yaml, size_t index); /* borrowed */

/* Where values stand, for fl_table_read and other readers; borrowed. */
const struct fl_positions *fl_yaml_positions(const struct fl_yaml *yaml);

#endif
