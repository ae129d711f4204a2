/* What may stand at a place of a command line: from the tables of the subcommands alone. Pure.
 */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include "cli/option.h"

/* Appends a candidate a line, "word" or "word<TAB>description", those that begin with the last of `words` (the one that
 * is being typed; it may be empty). `words` are those behind "fairlead", at least one. *ret_offer: what else may stand
 * there and only the machine or the cluster knows. 0, -ENOMEM, -EMSGSIZE. */
int cli_complete(const char *const *words, size_t count, struct fl_buf *out, enum cli_offer *ret_offer) FL_MUST_CHECK;

#endif
