/* All subcommands, in the order in which they are told of: what `fairlead --help` lists, main runs, and shells
 * complete.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/option.h"

extern const struct cli_command *const cli_commands[];
extern const size_t cli_command_count;

/* NULL: there is none of this name. */
const struct cli_command *cli_command_find(const char *name);

#endif
