#include "cni/agent/options.h"

#include "cni/agent/post.h"
#include "cni/capture/backend.h"
#include "cni/install/platform.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define GRACE_MAX_MS 600000

static const char usage[] =
    "usage: fairlead-agent [options]\n"
    "\n"
    "Installs fairlead-cni on this node and keeps it installed; captures pods whose sidecar started uncaptured, and "
    "restores\n"
    "what was taken away. Needs hostNetwork and hostPID.\n"
    "\n"
    "  --conf-dir DIR          of the runtime's CNI configuration, as this process sees it (default: the platform's)\n"
    "  --bin-dir DIR           of its plugins (default: the platform's)\n"
    "  --payload DIR           what is installed: launcher and files/ (default " CNI_AGENT_PAYLOAD ")\n"
    "  --conflist NAME         the list to chain into (default: the one that runtimes choose)\n"
    "  --mode MODE             chained, or standalone: a configuration of its own (default: the platform's)\n"
    "  --platform NAME         kubeadm (default) or another that 'fairlead cni platforms' lists\n"
    "  --backend NAME          auto (default), nftables, iptables\n"
    "  --proc DIR              where the machine's processes are seen (default " CNI_AGENT_PROC ")\n"
    "  --listen ADDRESS:PORT   /metrics, /healthz, /readyz (default " CNI_AGENT_LISTEN "), or none\n"
    "  --node NAME             this node's name in Kubernetes (default: the environment's NODE_NAME)\n"
    "  --service-account DIR   token and ca.crt for the API server (default\n"
    "                          " CNI_POST_ACCOUNT ")\n"
    "  --no-repair             installs alone: sidecars are not looked for\n"
    "  --no-events             post no Events\n"
    "  --uninstall             take configuration and binary away, in this order, and end\n"
    "  --stay                  with --uninstall: wait for SIGTERM then, as a DaemonSet must\n"
    "  --grace MILLISECONDS    with --uninstall: until runtimes have read the configuration again (default 5000)\n"
    "  --log-level L           error, warning, info (default), debug, trace\n"
    "  --log-format F          json (default) or text\n"
    "  --help, --version\n"
    "\n"
    "SIGTERM and SIGINT end it, and take nothing away. SIGHUP: looks at everything again.\n"
    "Exit codes: 0 ended as asked, 1 it could not start or not uninstall, 2 usage.\n";

enum option_id {
    OPTION_CONF_DIR = 256,
    OPTION_BIN_DIR,
    OPTION_PAYLOAD,
    OPTION_CONFLIST,
    OPTION_MODE,
    OPTION_PLATFORM,
    OPTION_BACKEND,
    OPTION_PROC,
    OPTION_LISTEN,
    OPTION_NODE,
    OPTION_ACCOUNT,
    OPTION_NO_REPAIR,
    OPTION_NO_EVENTS,
    OPTION_UNINSTALL,
    OPTION_STAY,
    OPTION_GRACE,
    OPTION_LEVEL,
    OPTION_FORMAT,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"conf-dir", required_argument, NULL, OPTION_CONF_DIR},
    {"bin-dir", required_argument, NULL, OPTION_BIN_DIR},
    {"payload", required_argument, NULL, OPTION_PAYLOAD},
    {"conflist", required_argument, NULL, OPTION_CONFLIST},
    {"mode", required_argument, NULL, OPTION_MODE},
    {"platform", required_argument, NULL, OPTION_PLATFORM},
    {"backend", required_argument, NULL, OPTION_BACKEND},
    {"proc", required_argument, NULL, OPTION_PROC},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"node", required_argument, NULL, OPTION_NODE},
    {"service-account", required_argument, NULL, OPTION_ACCOUNT},
    {"no-repair", no_argument, NULL, OPTION_NO_REPAIR},
    {"no-events", no_argument, NULL, OPTION_NO_EVENTS},
    {"uninstall", no_argument, NULL, OPTION_UNINSTALL},
    {"stay", no_argument, NULL, OPTION_STAY},
    {"grace", required_argument, NULL, OPTION_GRACE},
    {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"log-format", required_argument, NULL, OPTION_FORMAT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "fairlead-agent: %s%s%s%s\nTry 'fairlead-agent --help'.\n", what, value != NULL ? ", got \"" : "",
            value != NULL ? value : "", value != NULL ? "\"" : "");
    return -EINVAL;
}

/* Taken as they come; checked at the end. */
struct command_line {
    struct cni_agent_options options;
    const char *mode;
};

/* NULL: not one of the options that are texts. */
static const char **text_option(struct command_line *line, int id)
{
    struct cni_agent_options *options = &line->options;
    const struct {
        int id;
        const char **text;
    } rows[] = {
        {OPTION_CONF_DIR, &options->conf_dir},
        {OPTION_BIN_DIR, &options->bin_dir},
        {OPTION_PAYLOAD, &options->payload},
        {OPTION_CONFLIST, &options->conflist},
        {OPTION_MODE, &line->mode},
        {OPTION_PLATFORM, &options->platform},
        {OPTION_BACKEND, &options->backend},
        {OPTION_PROC, &options->proc},
        {OPTION_LISTEN, &options->listen},
        {OPTION_NODE, &options->node},
        {OPTION_ACCOUNT, &options->account},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (rows[i].id == id)
            return rows[i].text;
    }
    return NULL;
}

static int take_grace(struct cni_agent_options *options, const char *value)
{
    uint64_t grace;
    if (!fl_span_to_u64(fl_span_str(value), GRACE_MAX_MS, &grace))
        return wrong("--grace: expected milliseconds, up to 600000", value);
    options->grace_ms = (unsigned)grace;
    return 0;
}

static int say(struct cni_agent_options *options, const char *text)
{
    options->done = true;
    return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? -EINVAL : 0;
}

static int take_option(struct command_line *line, int id, const char *value)
{
    struct cni_agent_options *options = &line->options;
    const char **text = text_option(line, id);
    if (text != NULL) {
        *text = value;
        return 0;
    }
    switch (id) {
    case OPTION_NO_REPAIR:
        options->repair = false;
        return 0;
    case OPTION_NO_EVENTS:
        options->events = false;
        return 0;
    case OPTION_UNINSTALL:
        options->uninstall = true;
        return 0;
    case OPTION_STAY:
        options->stay = true;
        return 0;
    case OPTION_GRACE:
        return take_grace(options, value);
    case OPTION_LEVEL:
        return fl_log_level_parse(fl_span_str(value), &options->level)
                   ? 0
                   : wrong("--log-level: expected error, warning, info, debug or trace", value);
    case OPTION_FORMAT:
        return fl_log_format_parse(fl_span_str(value), &options->format)
                   ? 0
                   : wrong("--log-format: expected json or text", value);
    case OPTION_HELP:
        return say(options, usage);
    case OPTION_VERSION:
        return say(options, "fairlead-agent " FL_VERSION "\n");
    default:
        return wrong("unknown option", NULL);
    }
}

static int wrong_platform(const char *name)
{
    size_t count;
    const struct cni_platform *platforms = cni_platforms(&count);
    fprintf(stderr, "fairlead-agent: --platform: expected one of");
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %s", platforms[i].name);
    fprintf(stderr, ", got \"%s\"\nTry 'fairlead-agent --help'.\n", name);
    return -EINVAL;
}

static int take_platform(struct command_line *line)
{
    struct cni_agent_options *options = &line->options;
    const struct cni_platform *platform = cni_platform_find(options->platform);
    if (platform == NULL)
        return wrong_platform(options->platform);
    if (options->conf_dir == NULL)
        options->conf_dir = platform->conf_dir;
    if (options->bin_dir == NULL)
        options->bin_dir = platform->bin_dir;
    options->mode = platform->mode;
    return 0;
}

static int take_mode(struct command_line *line)
{
    static const enum cni_install_mode modes[] = {CNI_INSTALL_CHAINED, CNI_INSTALL_STANDALONE};
    for (size_t i = 0; line->mode != NULL && i < FL_COUNT(modes); i++) {
        if (strcmp(line->mode, cni_install_mode_name(modes[i])) == 0) {
            line->options.mode = modes[i];
            return 0;
        }
    }
    return line->mode == NULL ? 0 : wrong("--mode: expected chained or standalone", line->mode);
}

static int check_words(const struct cni_agent_options *options)
{
    enum cni_backend backend;
    if (!cni_backend_parse(fl_span_str(options->backend), &backend))
        return wrong("--backend: expected " CNI_BACKEND_NAMES, options->backend);
    if (options->conflist != NULL && (options->conflist[0] == '\0' || strchr(options->conflist, '/') != NULL))
        return wrong("--conflist: expected the name of a file in --conf-dir", options->conflist);
    if (options->node != NULL && strlen(options->node) > CNI_AGENT_NODE_MAX)
        return wrong("--node: expected a name of at most 253 characters", options->node);
    return options->stay && !options->uninstall ? wrong("--stay goes with --uninstall", NULL) : 0;
}

static int check_folders(const struct cni_agent_options *options)
{
    const struct {
        const char *wrong, *value;
    } rows[] = {
        {"--conf-dir: expected an absolute path", options->conf_dir},
        {"--bin-dir: expected an absolute path", options->bin_dir},
        {"--payload: expected an absolute path", options->payload},
        {"--proc: expected an absolute path", options->proc},
        {"--service-account: expected an absolute path", options->account},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (rows[i].value[0] != '/')
            return wrong(rows[i].wrong, rows[i].value);
    }
    return 0;
}

static int finish(struct command_line *line)
{
    struct cni_agent_options *options = &line->options;
    int result = take_platform(line);
    if (result == 0)
        result = take_mode(line);
    if (result == 0)
        result = check_words(options);
    if (result == 0)
        result = check_folders(options);
    if (strcmp(options->listen, "none") == 0)
        options->listen = NULL;
    return result;
}

int cni_agent_options_parse(int argc, char **argv, const char *node, struct cni_agent_options *ret_options)
{
    struct command_line line = {.options = {
                                    .payload = CNI_AGENT_PAYLOAD,
                                    .platform = CNI_AGENT_PLATFORM,
                                    .backend = "auto",
                                    .proc = CNI_AGENT_PROC,
                                    .listen = CNI_AGENT_LISTEN,
                                    .node = node != NULL && node[0] != '\0' ? node : NULL,
                                    .account = CNI_POST_ACCOUNT,
                                    .repair = true,
                                    .events = true,
                                    .grace_ms = CNI_AGENT_GRACE_MS,
                                    .level = FL_LOG_INFO,
                                    .format = FL_LOG_JSON,
                                }};
    int id, result = 0;
    optind = 1;
    opterr = 0;
    while (result == 0 && !line.options.done && (id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        if (id == ':')
            result = wrong("this option needs a value", argv[optind - 1]);
        else if (id == '?')
            result = wrong("unknown option", argv[optind - 1]);
        else
            result = take_option(&line, id, optarg);
    }
    if (result == 0 && !line.options.done && optind < argc)
        result = wrong("expected options alone", argv[optind]);
    if (result == 0 && !line.options.done)
        result = finish(&line);
    if (result == 0)
        *ret_options = line.options;
    return result;
}
