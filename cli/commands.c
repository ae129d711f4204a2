#include "cli/commands.h"

#include "cli/command.h"

/* Those that parse by getopt themselves still: their options are not known here, and not completed. */
static const struct cli_command inject = {
    .name = "inject",
    .summary = "manifests with the sidecar added, as the webhook would add it",
    .offer = CLI_OFFER_FILES,
    .run = cli_inject,
};
static const struct cli_command uninject = {
    .name = "uninject",
    .summary = "the same manifests without the sidecar again",
    .offer = CLI_OFFER_FILES,
    .run = cli_uninject,
};
static const struct cli_command explain = {
    .name = "explain",
    .summary = "why is a pod in the mesh or not, what is set for it, which rules does it get",
    .offer = CLI_OFFER_PODS,
    .run = cli_explain,
};
static const struct cli_command pause_command = {
    .name = "pause",
    .summary = "break-glass: new pods of a namespace pass without the mesh",
    .offer = CLI_OFFER_NAMESPACES,
    .run = cli_pause,
};
static const struct cli_command resume = {
    .name = "resume",
    .summary = "takes back a pause",
    .offer = CLI_OFFER_NAMESPACES,
    .run = cli_resume,
};
static const struct cli_command cni = {
    .name = "cni",
    .summary = "on a node: is a pod captured now, proven; the plugin installed and taken out by hand",
    .words = "verify install uninstall platforms",
    .run = cli_cni,
};

const struct cli_command *const cli_commands[] = {
    &cli_check_command,
    &inject,
    &uninject,
    &explain,
    &pause_command,
    &resume,
    &cli_status_command,
    &cli_members_command,
    &cli_proxy_config_command,
    &cli_route_command,
    &cli_authz_command,
    &cli_mtls_command,
    &cni,
    &cli_completion_command,
};
const size_t cli_command_count = sizeof(cli_commands) / sizeof(cli_commands[0]);

const struct cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}
