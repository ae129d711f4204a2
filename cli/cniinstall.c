/* fairlead cni install, uninstall: what the node agent does, once and by hand. The work is cni/install/install.h's;
 * here are the options, and each step in words. */
#include "cli/cni.h"
#include "cli/cnirehearsal.h"

#include "cni/capture/backend.h"
#include "cni/install/platform.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD   "/payload" /* of an image of the agent */
#define GRACE_S   5
#define BYTES_MAX (64u << 20)

static const char install_usage[] =
    "usage: fairlead cni install [option …]\n"
    "\n"
    "Puts the CNI plugin on this node and chains it behind what the runtime uses: what fairlead-agent does on each of\n"
    "its nodes, once and by hand. As root. Nothing watches afterwards: where another program rewrites the "
    "configuration\n"
    "the plugin is out of it.\n"
    "\n"
    "      --platform NAME   kubeadm (default) or another of `fairlead cni platforms`: sets the next three\n"
    "      --conf-dir DIR    the runtime's folder of configurations\n"
    "      --bin-dir DIR     the runtime's folder of plugins\n"
    "      --mode MODE       chained (at the end of the list in use), or standalone (a file of its own, for Multus)\n"
    "      --conflist FILE   the file in that folder; default: the one that the runtime uses\n"
    "      --backend NAME    auto (default), nftables, iptables\n"
    "      --payload DIR     the plugin's files: of a release, a build or an image of the agent\n"
    "      --root DIR        the node's root, where it is mounted elsewhere than at /\n"
    "      --dry-run         what would change, and nothing changed\n"
    "  -h, --help            this text\n"
    "\n"
    "Exit status: 0 installed and read back; 1 not, or not yet (the reason is told); 2 wrong usage.\n";

static const char uninstall_usage[] =
    "usage: fairlead cni uninstall [option …]\n"
    "\n"
    "Takes the CNI plugin out of every configuration of this node, waits until runtimes have read them, and removes "
    "it.\n"
    "As root. A fairlead-agent that runs on the node stands by from then on. Pods that run stay captured.\n"
    "\n"
    "      --platform NAME   kubeadm (default) or another of `fairlead cni platforms`: sets the next two\n"
    "      --conf-dir DIR    the runtime's folder of configurations\n"
    "      --bin-dir DIR     the runtime's folder of plugins\n"
    "      --grace SECONDS   between configuration and plugin; default 5\n"
    "      --root DIR        the node's root, where it is mounted elsewhere than at /\n"
    "      --dry-run         what would change, and nothing changed\n"
    "  -h, --help            this text\n";

struct command {
    const char *name; /* of the subcommand, for messages */
    bool install, dry;
    const char *platform, *conf_dir, *bin_dir, *mode, *root;
    unsigned grace_ms;
    struct cni_install_settings settings;
    char conf_path[PATH_MAX], bin_path[PATH_MAX], payload_path[PATH_MAX];
};

/* --- steps --- */

static int say_payload(const struct command *command, bool written, struct fl_err *err)
{
    char version[CNI_PAYLOAD_NAME_MAX];
    int result = cni_payload_in_force(&command->settings.payload, version, err);
    if (result != 0)
        return result;
    printf("plugin         %s %s %s\n", version, written ? "written to" : "is in", command->bin_path);
    return 0;
}

static int say_report(const struct command *command, const struct cni_install_report *report)
{
    struct fl_err err = {0};
    if (say_payload(command, report->payload_written, &err) != 0)
        printf("plugin         not in %s\n", command->bin_path);
    if (report->conflist[0] != '\0')
        printf("configuration  %s/%s: %s\n", command->conf_path, report->conflist,
               report->conflist_written                 ? "fairlead-cni was added"
               : report->state == CNI_INSTALL_INSTALLED ? "has fairlead-cni, as it should be"
                                                        : "not changed");
    printf("%s%s%s\n", cni_install_state_name(report->state), report->reason[0] != '\0' ? ": " : "", report->reason);
    return report->state == CNI_INSTALL_INSTALLED ? CLI_OK : CLI_FAILED;
}

static int install(struct command *command, struct fl_err *err)
{
    struct cni_install_report report;
    int result = cni_install_reconcile(&command->settings, &report, err);
    return result < 0 ? result : say_report(command, &report);
}

static int uninstall(struct command *command, struct fl_err *err)
{
    printf("configuration  taking fairlead-cni out of every file in %s, then %u s for the runtime\n",
           command->conf_path, command->grace_ms / 1000);
    (void)fflush(stdout);
    int result = cni_install_remove(&command->settings, command->grace_ms, err);
    if (result != 0)
        return result < 0 ? result : -EBUSY;
    printf("plugin         not in %s any more\nremoved\n", command->bin_path);
    return CLI_OK;
}

/* --- and without taking them --- */

static int show_changes(struct command *command, const struct cli_rehearsed *rehearsed, bool plugin, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    size_t count;
    fl_buf_init(&out, BYTES_MAX);
    int result = cli_rehearsed_compare(rehearsed, &out, &count, err);
    if (result < 0)
        return result;
    if (out.len > 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    if (count == 0 && !plugin)
        printf("nothing would change in %s and %s\n", command->conf_path, command->bin_path);
    return 0;
}

/* The configuration as the installer leaves it, in copies. */
static int rehearse_install(struct command *command, struct fl_err *err)
{
    FL_CLEANUP(cli_rehearsed_done) struct cli_rehearsed rehearsed = {0};
    struct cni_install_settings settings = command->settings;
    struct cni_install_report report;
    struct fl_err why = {0};
    int plugin = cni_payload_check(&command->settings.payload, &why);
    if (plugin != 0)
        printf("would write the plugin to %s (%s)\n", command->bin_path, why.text);
    int result = cli_rehearsed_make(command->conf_path, true, &rehearsed, err);
    settings.conf_dir = rehearsed.conf_dir;
    settings.payload.bin_dir = rehearsed.bin_dir;
    if (result == 0)
        result = cni_install_reconcile(&settings, &report, err);
    if (result < 0)
        return result;
    result = show_changes(command, &rehearsed, plugin != 0, err);
    cli_rehearsed_rename(&rehearsed, report.reason, sizeof(report.reason));
    if (result == 0 && report.state != CNI_INSTALL_INSTALLED)
        return fl_err_set(err, -ECANCELED, "would be %s: %s", cni_install_state_name(report.state), report.reason);
    return result < 0 ? result : CLI_OK;
}

static int rehearse_uninstall(struct command *command, struct fl_err *err)
{
    FL_CLEANUP(cli_rehearsed_done) struct cli_rehearsed rehearsed = {0};
    struct cni_install_settings settings = command->settings;
    char version[CNI_PAYLOAD_NAME_MAX];
    bool plugin = cni_payload_in_force(&command->settings.payload, version, NULL) == 0;
    int result = cli_rehearsed_make(command->conf_path, true, &rehearsed, err);
    settings.conf_dir = rehearsed.conf_dir;
    settings.payload.bin_dir = rehearsed.bin_dir;
    if (result == 0)
        result = cni_install_remove(&settings, 0, err);
    if (err->text[0] != '\0')
        cli_rehearsed_rename(&rehearsed, err->text, sizeof(err->text));
    if (result == 0)
        result = show_changes(command, &rehearsed, plugin, err);
    if (result == 0 && plugin)
        printf("would remove the plugin %s from %s\n", version, command->bin_path);
    return result > 0 ? -EBUSY : result;
}

static int run(struct command *command)
{
    struct fl_err err = {0};
    int result = command->dry && command->install ? rehearse_install(command, &err)
                 : command->dry                   ? rehearse_uninstall(command, &err)
                 : command->install               ? install(command, &err)
                                                  : uninstall(command, &err);
    (void)fflush(stdout);
    if (result >= 0)
        return result;
    if (err.text[0] == '\0')
        (void)fl_err_errno(&err, result, "%s", command->name);
    return cli_failed(command->name, err.text);
}

/* --- options --- */

static int join(const char *root, const char *path, char ret_path[PATH_MAX])
{
    int size = snprintf(ret_path, PATH_MAX, "%s%s", root != NULL ? root : "", path);
    return size < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Beside this program, as a build and a release have it; else where the agent's image has it. */
static void find_payload(struct command *command)
{
    char own[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[size > 0 ? size : 0] = '\0';
    for (int i = 0; i < 2; i++) { /* the program, and its folder */
        char *slash = strrchr(own, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    int length = snprintf(command->payload_path, PATH_MAX, "%s/cni-payload", own);
    bool there = length < PATH_MAX && access(command->payload_path, F_OK) == 0;
    command->settings.payload.source = there ? command->payload_path : PAYLOAD;
}

static int resolve(struct command *command)
{
    const struct cni_platform *platform = cni_platform_find(command->platform);
    enum cni_backend backend;
    if (platform == NULL)
        return cli_wrong(command->name, "there is no platform \"%s\": `fairlead cni platforms` has them",
                         command->platform);
    if (join(command->root, command->conf_dir != NULL ? command->conf_dir : platform->conf_dir, command->conf_path) <
            0 ||
        join(command->root, command->bin_dir != NULL ? command->bin_dir : platform->bin_dir, command->bin_path) < 0)
        return cli_wrong(command->name, "the path is too long");
    command->settings.conf_dir = command->conf_path;
    command->settings.payload.bin_dir = command->bin_path;
    command->settings.mode = platform->mode;
    if (command->mode != NULL && strcmp(command->mode, "chained") == 0)
        command->settings.mode = CNI_INSTALL_CHAINED;
    else if (command->mode != NULL && strcmp(command->mode, "standalone") == 0)
        command->settings.mode = CNI_INSTALL_STANDALONE;
    else if (command->mode != NULL)
        return cli_wrong(command->name, "expected --mode chained or standalone, got \"%s\"", command->mode);
    if (command->settings.backend != NULL && !cni_backend_parse(fl_span_str(command->settings.backend), &backend))
        return cli_wrong(command->name, "expected --backend " CNI_BACKEND_NAMES ", got \"%s\"",
                         command->settings.backend);
    if (command->settings.payload.source == NULL)
        find_payload(command);
    return CLI_OK;
}

/* -1: go on; else the exit status. */
static int read_option(int option, struct command *command)
{
    uint64_t seconds;
    switch (option) {
    case 'P':
        command->platform = optarg;
        return -1;
    case 'c':
        command->conf_dir = optarg;
        return -1;
    case 'b':
        command->bin_dir = optarg;
        return -1;
    case 'm':
        command->mode = optarg;
        return -1;
    case 'l':
        command->settings.conflist = optarg;
        return -1;
    case 'e':
        command->settings.backend = optarg;
        return -1;
    case 'y':
        command->settings.payload.source = optarg;
        return -1;
    case 'r':
        command->root = optarg;
        return -1;
    case 'g':
        if (!fl_span_to_u64(fl_span_str(optarg), 3600, &seconds))
            return cli_wrong(command->name, "expected --grace with seconds, up to 3600, got \"%s\"", optarg);
        command->grace_ms = (unsigned)seconds * 1000;
        return -1;
    case 'd':
        command->dry = true;
        return -1;
    case 'h':
        return fputs(command->install ? install_usage : uninstall_usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
    default:
        return CLI_USAGE;
    }
}

static int install_or_uninstall(bool install_it, int argc, char **argv)
{
    static const struct option install_options[] = {
        {"platform", required_argument, NULL, 'P'},
        {"conf-dir", required_argument, NULL, 'c'},
        {"bin-dir", required_argument, NULL, 'b'},
        {"mode", required_argument, NULL, 'm'},
        {"conflist", required_argument, NULL, 'l'},
        {"backend", required_argument, NULL, 'e'},
        {"payload", required_argument, NULL, 'y'},
        {"root", required_argument, NULL, 'r'},
        {"dry-run", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static const struct option uninstall_options[] = {
        {"platform", required_argument, NULL, 'P'}, {"conf-dir", required_argument, NULL, 'c'},
        {"bin-dir", required_argument, NULL, 'b'},  {"grace", required_argument, NULL, 'g'},
        {"root", required_argument, NULL, 'r'},     {"dry-run", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    struct command command = {.name = install_it ? "cni install" : "cni uninstall",
                              .install = install_it,
                              .platform = "kubeadm",
                              .grace_ms = GRACE_S * 1000};
    int option;
    while ((option = getopt_long(argc, argv, "h", install_it ? install_options : uninstall_options, NULL)) != -1) {
        int status = read_option(option, &command);
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return cli_wrong(command.name, "unexpected argument \"%s\"", argv[optind]);
    int status = resolve(&command);
    return status != CLI_OK ? status : run(&command);
}

int cli_cni_install(int argc, char **argv)
{
    return install_or_uninstall(true, argc, argv);
}

int cli_cni_uninstall(int argc, char **argv)
{
    return install_or_uninstall(false, argc, argv);
}
