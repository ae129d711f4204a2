/* Subcommands of fairlead-control for directory mode: what an operator runs by hand. */
#ifndef CONTROL_CA_COMMAND_H
#define CONTROL_CA_COMMAND_H

/* `token create …`: writes a token for a service account, signed by the folder's key. argv[0] is "token"; exit status.
 */
int control_token_main(int argc, char **argv);
/* `ca rotate …`: puts the next root beside those of a folder. argv[0] is "ca"; exit status. */
int control_ca_main(int argc, char **argv);

#endif
