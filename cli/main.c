/* fairlead: what a person types. Picks the subcommand; each stands in a file of its own. */
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

static void print_usage(FILE *out)
{
    fputs("usage: fairlead COMMAND [argument …]\n\n", out);
    for (size_t i = 0; i < cli_command_count; i++)
        fprintf(out, "  %-14s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\nfairlead COMMAND --help tells more; fairlead --version the version.\n"
          "Exit status: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.\n",
          out);
}

static bool is_completion(const char *program)
{
    const char *slash = strrchr(program, '/');
    return strcmp(slash != NULL ? slash + 1 : program, CLI_COMPLETE_PROGRAM) == 0;
}

int main(int argc, char **argv)
{
    if (argc > 0 && is_completion(argv[0]))
        return cli_complete_words(argc - 1, argv + 1);
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
    if (strcmp(argv[1], CLI_COMPLETE_WORD) == 0)
        return cli_complete_words(argc - 2, argv + 2);
    const struct cli_command *command = cli_command_find(argv[1]);
    if (command != NULL)
        return command->run(argc - 1, argv + 1);
    fprintf(stderr, "fairlead: there is no command \"%s\"\n\n", argv[1]);
    print_usage(stderr);
    return CLI_USAGE;
}
