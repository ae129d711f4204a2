/* Trees as YAML for people: block style, two blanks, members in their order (libyaml's emitter). In the YAML library,
 * so that programs which print none do not link libyaml.
 */
#ifndef FL_DOC_YAML_PRINT_H
#define FL_DOC_YAML_PRINT_H

#include "common/doc/json.h"

/* Appends one document without the "---" line, ending with a line feed; all or nothing. What reads it back gets an
 * equal tree, whether it follows YAML 1.2 or 1.1: a string that either takes for something else ("yes", "1e3", "012",
 * "1:30", a date) is quoted; texts of several lines are block literals where that can hold them. 0, -ENOMEM, -EMSGSIZE
 * (also past FL_JSON_DEPTH_MAX). */
int fl_yaml_print(const struct fl_json *value, struct fl_buf *out) FL_MUST_CHECK;

#endif
