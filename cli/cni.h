/* The subcommands of `fairlead cni`, as command.h has those of fairlead: argv[0] is the subcommand's name. */
#ifndef CLI_CNI_H
#define CLI_CNI_H

#include "cli/command.h"

int cli_cni_verify(int argc, char **argv);  /* cniverify.c */
int cli_cni_install(int argc, char **argv); /* cniinstall.c, as is the next */
int cli_cni_uninstall(int argc, char **argv);
int cli_cni_platforms(int argc, char **argv); /* cniplatforms.c */

#endif
