/* A text that is no YAML may have been a policy, and a policy fails closed: what of it can be told from its letters.
 * Pure. Errs towards closing: a `kind` with one of these words anywhere in the text is taken for one.
 */
#ifndef CONTROL_SOURCE_GUESS_H
#define CONTROL_SOURCE_GUESS_H

#include "common/base/span.h"
#include "control/model/object.h"

/* True: the text names this kind; *ret_key has the name and namespace that it gives first, empty where it gives none,
 * or (namespace) several that differ. Spans into the text. */
bool control_guess_policy(struct fl_span text, enum control_kind kind, struct control_key *ret_key);

#endif
