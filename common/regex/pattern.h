/* struct fl_pattern: a regular expression (PCRE2's syntax, octets, no UTF) that a user configured, for texts that a
 * stranger sends. What one look may cost is bounded: steps of matching, their depth and memory; a text for which they
 * do not suffice does not match. Immutable once made, and may be used by several threads at once; a look allocates a
 * little. PCRE2's own types stay in pattern.c.
 */
#ifndef FL_REGEX_PATTERN_H
#define FL_REGEX_PATTERN_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define FL_PATTERN_MAX        4096  /* octets of a pattern */
#define FL_PATTERN_STEPS_MAX  10000 /* of one look: some 100 µs */
#define FL_PATTERN_GROUPS_MAX 9     /* that a substitution can name */

struct fl_pattern;

/* 0, -ENOMEM, or -EINVAL with the reason and the place in the pattern. */
int fl_pattern_new(struct fl_span text, struct fl_pattern **ret_pattern, struct fl_err *err) FL_MUST_CHECK;
struct fl_pattern *fl_pattern_free(struct fl_pattern *pattern);
size_t fl_pattern_size(const struct fl_pattern *pattern); /* on the heap */

/* Whether the whole text matches. False too where the bounds or memory did not suffice. */
bool fl_pattern_matches(const struct fl_pattern *pattern, struct fl_span text);

/* A substitution is a text in which \0 to \9 stand for the whole match and its groups, and \\ for a backslash. 0, or
 * -EINVAL with the reason: another escape, a group that the pattern does not have. */
int fl_pattern_check(const struct fl_pattern *pattern, struct fl_span substitution, struct fl_err *err) FL_MUST_CHECK;
/* The text with every match replaced, from left to right; without a match the text itself. 0, -EMSGSIZE (`to` is too
 * small), -ENOMEM, -E2BIG (the bounds did not suffice). `to` and `text` do not overlap. */
int fl_pattern_replace(const struct fl_pattern *pattern, struct fl_span text, struct fl_span substitution, char *to,
                       size_t size, struct fl_span *ret_text) FL_MUST_CHECK;

#endif
