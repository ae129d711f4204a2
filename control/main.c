/* fairlead-control: options in, control_run, exit code out. */
#include "common/base/log.h"
#include "control/ca/command.h"
#include "control/control.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: fairlead-control --source directory:PATH [options]\n"
    "       fairlead-control token create ...   (see fairlead-control token create --help)\n"
    "       fairlead-control ca rotate ...\n"
    "\n"
    "Tells proxies what to do (xDS), and issues their identities.\n"
    "\n"
    "  --source directory:PATH      the folder of YAML that a cluster would hold; followed as it changes\n"
    "  --listen ADDR:PORT           xDS and certificates over TLS (default " CONTROL_LISTEN_DEFAULT
    "); port 0 takes any\n"
    "                               free one (the \"ready\" log line tells); \"none\": not at all\n"
    "  --listen-plaintext ADDR:PORT xDS without TLS, on loopback alone: everybody is taken at his word\n"
    "  --http ADDR:PORT             health, metrics, debug pages (default " CONTROL_HTTP_DEFAULT "); or \"none\"\n"
    "  --status DIR                 write the status of each object there, as YAML\n"
    "  --log-level L                error, warning, info (default), debug, trace\n"
    "  --log-format F               json (default) or text\n"
    "  --help, --version\n"
    "\n"
    "SIGTERM tells every proxy to go elsewhere and ends with 0.\n";

enum option_id {
    OPTION_SOURCE = 256,
    OPTION_LISTEN,
    OPTION_PLAINTEXT,
    OPTION_HTTP,
    OPTION_STATUS,
    OPTION_LEVEL,
    OPTION_FORMAT,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"source", required_argument, NULL, OPTION_SOURCE},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"listen-plaintext", required_argument, NULL, OPTION_PLAINTEXT},
    {"http", required_argument, NULL, OPTION_HTTP},
    {"status", required_argument, NULL, OPTION_STATUS},
    {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"log-format", required_argument, NULL, OPTION_FORMAT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

struct command_line {
    struct control_options options;
    enum fl_log_level level;
    enum fl_log_format format;
    bool done; /* --help or --version: everything is said */
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "fairlead-control: %s%s%s\nTry 'fairlead-control --help'.\n", what, value != NULL ? ": " : "",
            value != NULL ? value : "");
    return -EINVAL;
}

static const char *address(const char *value)
{
    return strcmp(value, "none") == 0 ? NULL : value;
}

static int take_option(struct command_line *line, int id, const char *value)
{
    switch (id) {
    case OPTION_SOURCE:
        line->options.source = value;
        return 0;
    case OPTION_LISTEN:
        line->options.listen = address(value);
        return 0;
    case OPTION_PLAINTEXT:
        line->options.listen_plaintext = address(value);
        return 0;
    case OPTION_HTTP:
        line->options.http = address(value);
        return 0;
    case OPTION_STATUS:
        line->options.status = value;
        return 0;
    case OPTION_LEVEL:
        return fl_log_level_parse(fl_span_str(value), &line->level)
                   ? 0
                   : wrong("--log-level: expected error, warning, info, debug or trace", value);
    case OPTION_FORMAT:
        return fl_log_format_parse(fl_span_str(value), &line->format)
                   ? 0
                   : wrong("--log-format: expected json or text", value);
    case OPTION_HELP:
        fputs(usage, stdout);
        line->done = true;
        return 0;
    case OPTION_VERSION:
        puts("fairlead-control " FL_VERSION);
        line->done = true;
        return 0;
    default:
        return wrong("unknown option", NULL);
    }
}

/* 0, or -EINVAL when what is wrong was told. */
static int parse(int argc, char **argv, struct command_line *line)
{
    int id, result = 0;
    opterr = 0;
    while (result == 0 && !line->done && (id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        if (id == ':')
            result = wrong("this option needs a value", argv[optind - 1]);
        else if (id == '?')
            result = wrong("unknown option", argv[optind - 1]);
        else
            result = take_option(line, id, optarg);
    }
    if (result < 0 || line->done)
        return result;
    if (optind < argc)
        return wrong("unexpected argument", argv[optind]);
    return line->options.source == NULL ? wrong("--source directory:PATH is missing", NULL) : 0;
}

int main(int argc, char **argv)
{
    struct command_line line = {
        .options = {.listen = CONTROL_LISTEN_DEFAULT, .http = CONTROL_HTTP_DEFAULT},
        .level = FL_LOG_INFO,
        .format = FL_LOG_JSON,
    };
    if (argc > 1 && strcmp(argv[1], "token") == 0)
        return control_token_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "ca") == 0)
        return control_ca_main(argc - 1, argv + 1);
    if (parse(argc, argv, &line) < 0)
        return 2;
    if (line.done)
        return 0;
    struct fl_err err = {0};
    fl_log_open("fairlead-control", STDERR_FILENO, line.format, line.level);
    if (control_run(&line.options, &err) < 0) {
        fl_log(FL_LOG_ERROR, "cannot start", FL_LOG_STR("error", err.text));
        return 1;
    }
    return 0;
}
