/* The subcommands of `fairlead`: each is one file, takes its own arguments (argv[0] is its name), prints to stdout what
 * was asked for and to stderr why it could not, and returns the exit status.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>

struct cli_command;

#define CLI_OK     0
#define CLI_FAILED 1 /* it was asked rightly and could not be answered */
#define CLI_USAGE  2

int cli_inject(int argc, char **argv);   /* inject.c */
int cli_uninject(int argc, char **argv); /* uninject.c */
int cli_explain(int argc, char **argv);  /* explain.c */
int cli_pause(int argc, char **argv);    /* pause.c, as is the next */
int cli_resume(int argc, char **argv);
int cli_proxy_config(int argc, char **argv); /* proxyconfig.c */
int cli_status(int argc, char **argv);       /* status.c */
int cli_members(int argc, char **argv);      /* members.c */
int cli_route(int argc, char **argv);        /* route.c */
int cli_cni(int argc, char **argv);          /* cni.c */
int cli_check(int argc, char **argv);        /* check.c */
int cli_authz(int argc, char **argv);        /* authz.c */
int cli_mtls(int argc, char **argv);         /* mtls.c */
int cli_completion(int argc, char **argv);   /* completion.c */

/* Those that have a table (option.h). */
extern const struct cli_command cli_authz_command, cli_check_command, cli_completion_command, cli_members_command,
    cli_mtls_command, cli_proxy_config_command, cli_route_command, cli_status_command;

/* "fairlead <command>: <text>" and a hint at --help, to stderr; returns CLI_USAGE. */
int cli_wrong(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "fairlead <command>: <text>" to stderr; returns CLI_FAILED. */
int cli_failed(const char *command, const char *text);
/* The value of -o where it is one of table and json. -1 with *ret_json: go on; else, said what would be right, the exit
 * status. */
int cli_take_output(const char *command, const char *value, bool *ret_json);

#endif
