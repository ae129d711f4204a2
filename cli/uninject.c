/* fairlead uninject: the inverse of `fairlead inject`, over the same inputs. What is ours is the webhook's knowledge
 * (webhook/remove.h).
 */
#include "cli/command.h"
#include "cli/manifest.h"
#include "cli/workload.h"

#include "webhook/remove.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define NAME "uninject"

static const char usage[] =
    "usage: fairlead uninject [option …] FILE|FOLDER|- …\n"
    "\n"
    "Prints the manifests without the sidecar, as they were before `fairlead inject`: container and volumes, what was\n"
    "written into labels and annotations, and the app's probes and metrics as they were. What somebody wrote since,\n"
    "and everything that was not injected, stays. Comments and the layout of YAML are not kept.\n"
    "Where one cannot be taken back nothing is printed, and the exit status is 1.\n"
    "\n"
    "  -R, --recursive    folders within folders too\n"
    "  -o, --output FORM  yaml (default) or json\n"
    "  -q, --quiet        nothing on stderr about what was taken out\n"
    "  -h, --help         this text\n";

struct command {
    bool recursive, json, quiet;
    size_t refused;
    struct fl_err err;
};

static int uninject_object(void *context, const char *file, struct fl_json *object)
{
    struct command *command = context;
    struct cli_workload workload;
    struct fl_err err = {0};
    bool removed;
    if (!cli_workload_find(object, &workload))
        return 0;
    int result = webhook_remove(workload.template, &removed, &err);
    if (result == -ENOMEM)
        return result;
    if (result < 0) {
        command->refused++;
        fprintf(stderr, "%s: %.*s/%.*s: %s\n", file, FL_SPAN_ARG(workload.kind), FL_SPAN_ARG(workload.name), err.text);
    } else if (!command->quiet) {
        fprintf(stderr, "%s: %.*s/%.*s: %s\n", file, FL_SPAN_ARG(workload.kind), FL_SPAN_ARG(workload.name),
                removed ? "taken out" : "was not injected");
    }
    return 0;
}

static int run(struct command *command, char *const *paths, size_t count)
{
    struct cli_manifests manifests = {0};
    int result = cli_manifests_read(paths, count, command->recursive, &manifests, &command->err);
    if (result == 0)
        result = cli_manifests_visit(&manifests, uninject_object, command);
    if (result == 0 && command->refused == 0)
        result = cli_manifests_write(&manifests, command->json, &command->err);
    cli_manifests_done(&manifests);
    if (result < 0 && command->err.text[0] == '\0')
        (void)fl_err_errno(&command->err, result, NAME);
    if (result < 0)
        return cli_failed(NAME, command->err.text);
    return command->refused > 0 ? cli_failed(NAME, "nothing was printed: some of it cannot be taken back") : CLI_OK;
}

int cli_uninject(int argc, char **argv)
{
    static const struct option options[] = {
        {"recursive", no_argument, NULL, 'R'},
        {"output", required_argument, NULL, 'o'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct command command = {0};
    int option;
    while ((option = getopt_long(argc, argv, "Ro:qh", options, NULL)) != -1) {
        if (option == 'h')
            return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'o' && strcmp(optarg, "json") != 0 && strcmp(optarg, "yaml") != 0)
            return cli_wrong(NAME, "expected -o yaml or -o json, got \"%s\"", optarg);
        command.recursive = command.recursive || option == 'R';
        command.quiet = command.quiet || option == 'q';
        if (option == 'o')
            command.json = strcmp(optarg, "json") == 0;
    }
    if (optind == argc)
        return cli_wrong(NAME, "expected files, folders or - (standard input)");
    return run(&command, argv + optind, (size_t)(argc - optind));
}
