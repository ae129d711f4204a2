/* fairlead-proxy: the data plane, as sidecar, gateway or by itself. Options here, everything else in proxy/server. */
#include "common/base/log.h"
#include "common/mesh/label.h"
#include "proxy/server/hold.h"
#include "proxy/server/hook.h"
#include "proxy/server/limits.h"
#include "proxy/server/server.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EXIT_USAGE 2

static const char usage[] =
    "usage: fairlead-proxy [-c FILE] [option …]\n"
    "       fairlead-proxy wait [--seconds N]    wait until this pod's proxy has started; default 600\n"
    "       fairlead-proxy drain [--seconds N] [--state-dir FOLDER]\n"
    "                                            have this pod's proxy drain, and return N seconds later; default 0\n"
    "       fairlead-proxy gate [--seconds N]    wait until this network namespace is captured, proven by a dial;\n"
    "                                            default 0: for ever\n"
    "\n"
    "  -c, --config-path FILE   configuration: YAML or JSON in the form of Envoy's v3 Bootstrap; without it, it is\n"
    "                           built from the environment (POD_NAME, FAIRLEAD_CONTROL_ADDRESS …)\n"
    "      --state-dir FOLDER   in memory, of this proxy alone: certificate and last good configuration for a "
    "restart;\n"
    "                           default without -c: " FL_VOLUME_PATH "\n"
    "      --print-bootstrap    print what the environment makes, and exit\n"
    "  -l, --log-level LEVEL    error, warning, info (default), debug, trace\n"
    "      --log-format FORMAT  json (default) or text\n"
    "      --concurrency N      worker threads; default: 1 on up to two CPUs, else one per CPU, at most 4, nor more\n"
    "                           than the control group's CPU quota, rounded up, or FAIRLEAD_CPU_LIMIT\n"
    "      --take-over          take the listeners over from the process that serves the same state folder, which "
    "then\n"
    "                           drains and exits: no connection is lost. Without one: an ordinary start\n"
    "      --memory-limit-mib N what the process may use before it sheds load; default: 90 % of the control group's\n"
    "                           limit; at least 16\n"
    "      --drain-time-s N     seconds that connections have to end after SIGTERM; default 5\n"
    "      --mode MODE          serve (default) or validate: check the configuration and exit\n"
    "  -h, --help               this text\n"
    "      --version            the version\n"
    "\n"
    "SIGTERM drains and exits 0; a second one exits at once. SIGHUP reads the configuration anew and reopens the\n"
    "access logs; SIGUSR1 only reopens them.\n"
    "gate is for an init container before all others: it reads FAIRLEAD_CAPTURE, and no configuration.\n"
    "wait and drain are for hooks of containers in the pod: they talk to 127.0.0.1 and need no configuration.\n"
    "Exit status: 0 done, 1 failed (the reason is the last line of the log), 2 wrong usage.\n";

enum option_id {
    OPTION_LOG_FORMAT = 256,
    OPTION_CONCURRENCY,
    OPTION_DRAIN_TIME,
    OPTION_MEMORY,
    OPTION_TAKE_OVER,
    OPTION_MODE,
    OPTION_STATE,
    OPTION_PRINT,
    OPTION_VERSION,
};

static const struct option options[] = {
    {"config-path", required_argument, NULL, 'c'},
    {"log-level", required_argument, NULL, 'l'},
    {"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
    {"concurrency", required_argument, NULL, OPTION_CONCURRENCY},
    {"drain-time-s", required_argument, NULL, OPTION_DRAIN_TIME},
    {"take-over", no_argument, NULL, OPTION_TAKE_OVER},
    {"memory-limit-mib", required_argument, NULL, OPTION_MEMORY},
    {"mode", required_argument, NULL, OPTION_MODE},
    {"state-dir", required_argument, NULL, OPTION_STATE},
    {"print-bootstrap", no_argument, NULL, OPTION_PRINT},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

struct settings {
    struct proxy_server_options server;
    enum fl_log_level level;
    enum fl_log_format format;
    bool validate, print;
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "fairlead-proxy: %s%s%s\nTry 'fairlead-proxy --help'.\n", what, value != NULL ? ": " : "",
            value != NULL ? value : "");
    return EXIT_USAGE;
}

static bool take_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    return fl_span_to_u64(fl_span_str(text), max, ret_number);
}

/* -1: go on; else the exit status. */
static int take_option(int option, struct settings *settings)
{
    uint64_t number;
    switch (option) {
    case 'c':
        settings->server.config_path = optarg;
        return -1;
    case 'l':
        return fl_log_level_parse(fl_span_str(optarg), &settings->level)
                   ? -1
                   : wrong("--log-level wants error, warning, info, debug or trace", optarg);
    case OPTION_LOG_FORMAT:
        return fl_log_format_parse(fl_span_str(optarg), &settings->format)
                   ? -1
                   : wrong("--log-format wants json or text", optarg);
    case OPTION_CONCURRENCY:
        if (!take_number(optarg, PROXY_SERVER_WORKERS_MAX, &number) || number == 0)
            return wrong("--concurrency wants a number from 1 to 64 (leave it out for the default)", optarg);
        settings->server.workers = (unsigned)number;
        return -1;
    case OPTION_DRAIN_TIME:
        if (!take_number(optarg, 86400, &number))
            return wrong("--drain-time-s wants seconds, up to 86400", optarg);
        settings->server.drain_time_ms = number * 1000;
        return -1;
    case OPTION_MEMORY:
        if (!take_number(optarg, 1u << 20, &number) || number < 16)
            return wrong("--memory-limit-mib wants a number from 16 to 1048576", optarg);
        settings->server.memory_limit = number << 20;
        return -1;
    case OPTION_TAKE_OVER:
        settings->server.take_over = true;
        return -1;
    case OPTION_MODE:
        settings->validate = fl_span_eq_str(fl_span_str(optarg), "validate");
        return settings->validate || fl_span_eq_str(fl_span_str(optarg), "serve")
                   ? -1
                   : wrong("--mode wants serve or validate", optarg);
    case OPTION_STATE:
        settings->server.state_folder = optarg;
        return -1;
    case OPTION_PRINT:
        settings->print = true;
        return -1;
    case 'h':
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    case OPTION_VERSION:
        puts("fairlead-proxy " FL_VERSION);
        return EXIT_SUCCESS;
    default:
        fputs("Try 'fairlead-proxy --help'.\n", stderr); /* what is wrong getopt_long has said */
        return EXIT_USAGE;
    }
}

static int run_gate(uint64_t seconds, enum fl_log_level level)
{
    struct fl_err err = {0};
    fl_log_open("fairlead-proxy", STDERR_FILENO, FL_LOG_JSON, level);
    if (proxy_hold_run(seconds, &err) == 0)
        return EXIT_SUCCESS;
    fl_log(FL_LOG_ERROR, "gate stays closed", FL_LOG_STR("reason", err.text));
    return EXIT_FAILURE;
}

/* wait, drain and gate: what is behind the word. */
static int run_hook(int argc, char **argv)
{
    static const struct option hook_options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"log-level", required_argument, NULL, 'l'},
        {"state-dir", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *folder = FL_VOLUME_PATH;
    bool wait = strcmp(argv[0], "wait") == 0, gate = strcmp(argv[0], "gate") == 0;
    enum fl_log_level level = FL_LOG_INFO;
    uint64_t seconds = wait ? PROXY_HOOK_WAIT_S : 0;
    struct fl_err err = {0};
    int option;
    while ((option = getopt_long(argc, argv, "hl:", hook_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        }
        if (option == 'l' && gate) {
            if (!fl_log_level_parse(fl_span_str(optarg), &level))
                return wrong("--log-level wants error, warning, info, debug or trace", optarg);
            continue;
        }
        if (option == 'f' && !wait && !gate) {
            folder = optarg;
            continue;
        }
        if (option != 's' || !take_number(optarg, PROXY_HOOK_SECONDS_MAX, &seconds))
            return wrong("--seconds wants a number, up to 86400", option == 's' ? optarg : NULL);
    }
    if (optind < argc)
        return wrong("unexpected argument", argv[optind]);
    if (gate)
        return run_gate(seconds, level);
    int result = wait ? proxy_hook_wait(seconds, &err) : proxy_hook_drain(folder, seconds, &err);
    if (result == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "fairlead-proxy %s: %s\n", argv[0], err.text);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "wait") == 0 || strcmp(argv[1], "drain") == 0 || strcmp(argv[1], "gate") == 0))
        return run_hook(argc - 1, argv + 1);
    struct settings settings = {.level = FL_LOG_INFO, .format = FL_LOG_JSON};
    settings.server.drain_time_ms = PROXY_SERVER_DRAIN_MS;
    int option, status;
    while ((option = getopt_long(argc, argv, "c:l:h", options, NULL)) != -1) {
        status = take_option(option, &settings);
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return wrong("unexpected argument", argv[optind]);
    bool has_volume = access(FL_VOLUME_PATH, W_OK) == 0;
    if (settings.server.config_path == NULL && settings.server.state_folder == NULL && has_volume)
        settings.server.state_folder = FL_VOLUME_PATH;
    settings.server.secret_folder = settings.server.state_folder;
    if (settings.server.secret_folder == NULL &&
        has_volume) /* a sidecar with a file of its own: its hooks look there */
        settings.server.secret_folder = FL_VOLUME_PATH;

    fl_log_open("fairlead-proxy", STDERR_FILENO, settings.format, settings.level);
    settings.server.files = proxy_limits_raise();
    proxy_limits_close_memory();
    struct fl_err err = {0};
    int result = settings.print      ? proxy_server_print_bootstrap(&err)
                 : settings.validate ? proxy_server_validate(settings.server.config_path, &err)
                                     : proxy_server_run(&settings.server, &err);
    if (result < 0) {
        fl_log(FL_LOG_ERROR, settings.validate || settings.print ? "configuration refused" : "stopped",
               FL_LOG_STR("reason", err.text));
        return EXIT_FAILURE;
    }
    if (settings.validate)
        fl_log(FL_LOG_INFO, "configuration accepted",
               FL_LOG_STR("path", settings.server.config_path != NULL ? settings.server.config_path : "environment"));
    return EXIT_SUCCESS;
}
