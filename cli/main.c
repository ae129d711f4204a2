/* fairlead: what a person types. Picks the subcommand; each stands in a file of its own. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"inject", cli_inject, "manifests with the sidecar added, as the webhook would add it"},
    {"uninject", cli_uninject, "the same manifests without the sidecar again"},
    {"explain", cli_explain, "why is a pod in the mesh or not, what is set for it, which rules does it get"},
    {"check", cli_check, "is the mesh as it should be, and what mends it where it is not"},
    {"pause", cli_pause, "break-glass: new pods of a namespace pass without the mesh"},
    {"resume", cli_resume, "takes back a pause"},
    {"status", cli_status, "the proxies that a control plane knows: in sync or not, certificate ages"},
    {"members", cli_members, "the pods that are in the mesh"},
    {"proxy-config", cli_proxy_config, "what a proxy runs on: listeners, routes, clusters, endpoints, secrets"},
    {"route", cli_route, "route explain: which rule would a request hit, and why"},
    {"authz", cli_authz, "authz explain: would a caller be let in at a pod's port, and which policy decides"},
    {"cni", cli_cni, "on a node: is a pod captured now, proven; the plugin installed and taken out by hand"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *out)
{
    fputs("usage: fairlead COMMAND [argument …]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].summary);
    fputs("\nfairlead COMMAND --help tells more; fairlead --version the version.\n"
          "Exit status: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.\n",
          out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("fairlead " FL_VERSION);
        return CLI_OK;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "fairlead: there is no command \"%s\"\n\n", argv[1]);
    print_usage(stderr);
    return CLI_USAGE;
}
