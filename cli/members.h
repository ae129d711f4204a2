/* Which pods are in the mesh: those that the webhook gave a sidecar, and gateways. Pure.
 */
#ifndef CLI_MEMBERS_H
#define CLI_MEMBERS_H

#include "cli/table.h"

#include "common/doc/json.h"

#define CLI_MEMBERS_LIMIT "500" /* pods of one answer */

/* What fairlead members shows; four columns. */
void cli_members_begin(struct cli_table *table);

/* Adds the rows of a PodList, or of one page of it; `revision` empty: of every one. Pods that have ended are none. A
 * pod whose annotation cannot be read counts for every revision. Returns how many, or -EINVAL where it is no list. */
ptrdiff_t cli_members_add(struct cli_table *table, const struct fl_json *list, struct fl_span revision);

#endif
