/* fairlead cni: the node's part of the mesh, by hand. Each subcommand stands in a file of its own. */
#include "cli/cni.h"

#include "common/base/cleanup.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"verify", cli_cni_verify, "is this pod captured now: its rules read, and a probe through them"},
    {"install", cli_cni_install, "the plugin put on this node and into its runtime's configuration, by hand"},
    {"uninstall", cli_cni_uninstall, "and out of both again"},
    {"platforms", cli_cni_platforms, "where runtimes of known platforms look for configurations and plugins"},
};

static void print_usage(FILE *out)
{
    fputs("usage: fairlead cni COMMAND [argument …]\n\n", out);
    for (size_t i = 0; i < FL_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\nfairlead cni COMMAND --help tells more.\n", out);
}

int cli_cni(int argc, char **argv)
{
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_usage(stdout);
        return CLI_OK;
    }
    for (size_t i = 0; argc >= 2 && i < FL_COUNT(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc >= 2)
        fprintf(stderr, "fairlead cni: there is no command \"%s\"\n\n", argv[1]);
    print_usage(stderr);
    return CLI_USAGE;
}
