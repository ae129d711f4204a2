/* fairlead-webhook: options in, webhook_server_run, exit code out. */
#include "common/base/log.h"
#include "webhook/server.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>

#define HEAP_PIECE (256 << 10) /* larger ones are mappings of their own */
#define HEAP_SPARE (1 << 20)   /* free at the heap's end */

static const char usage[] =
    "usage: fairlead-webhook --listen ADDR:PORT --tls-cert FILE --tls-key FILE [options]\n"
    "\n"
    "Answers the AdmissionReviews of a MutatingWebhookConfiguration: brings pods into the mesh.\n"
    "\n"
    "  --listen ADDR:PORT   where to serve HTTPS; port 0 takes any free one (the \"ready\" log line tells)\n"
    "  --tls-cert FILE      serving certificate and chain, PEM; read again when it changes\n"
    "  --tls-key FILE       its key\n"
    "  --kubeconfig FILE    the API server whose namespaces count; without it the pod's own service account\n"
    "  --context NAME       of the kubeconfig (default: its current one)\n"
    "  --namespaces FILE    instead of an API server: Namespace objects, YAML; read again when it changes\n"
    "  --config FILE        configuration, YAML; the defaults are good without\n"
    "  --client-ca FILE     /inject is for clients with a certificate of these roots, PEM; read again when it changes\n"
    "  --client-name NAME   which its common name, DNS or URI names has to have; several times: one of them\n"
    "  --token MODE         the API server's token (KEP-6060): off (default), when-present, require\n"
    "  --token-keys FILE    whose keys sign it, a JSON Web Key Set; read again when it changes\n"
    "  --token-issuer URL   --token-audience URL (several times: one of them): what it has to say\n"
    "  --drain-delay N      seconds to go on accepting connections after SIGTERM (default 0)\n"
    "  --log-level L        error, warning, info (default), debug, trace\n"
    "  --log-format F       json (default) or text\n"
    "  --help, --version\n"
    "\n"
    "SIGHUP reads the files again; SIGTERM finishes what is under way and ends with 0.\n";

enum option_id {
    OPTION_LISTEN = 256,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_CONFIG,
    OPTION_NAMESPACES,
    OPTION_KUBECONFIG,
    OPTION_CONTEXT,
    OPTION_CLIENT_CA,
    OPTION_CLIENT_NAME,
    OPTION_TOKEN,
    OPTION_TOKEN_KEYS,
    OPTION_TOKEN_ISSUER,
    OPTION_TOKEN_AUDIENCE,
    OPTION_DRAIN,
    OPTION_LEVEL,
    OPTION_FORMAT,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"tls-cert", required_argument, NULL, OPTION_CERT},
    {"tls-key", required_argument, NULL, OPTION_KEY},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"namespaces", required_argument, NULL, OPTION_NAMESPACES},
    {"kubeconfig", required_argument, NULL, OPTION_KUBECONFIG},
    {"context", required_argument, NULL, OPTION_CONTEXT},
    {"client-ca", required_argument, NULL, OPTION_CLIENT_CA},
    {"client-name", required_argument, NULL, OPTION_CLIENT_NAME},
    {"token", required_argument, NULL, OPTION_TOKEN},
    {"token-keys", required_argument, NULL, OPTION_TOKEN_KEYS},
    {"token-issuer", required_argument, NULL, OPTION_TOKEN_ISSUER},
    {"token-audience", required_argument, NULL, OPTION_TOKEN_AUDIENCE},
    {"drain-delay", required_argument, NULL, OPTION_DRAIN},
    {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"log-format", required_argument, NULL, OPTION_FORMAT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

struct command_line {
    struct webhook_options options;
    enum fl_log_level level;
    enum fl_log_format format;
    bool done; /* --help or --version: everything is said */
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "fairlead-webhook: %s%s%s\nTry 'fairlead-webhook --help'.\n", what, value != NULL ? ": " : "",
            value != NULL ? value : "");
    return -EINVAL;
}

static int add(struct webhook_caller_list *list, const char *option, const char *value)
{
    if (list->count == WEBHOOK_CALLER_NAMES_MAX || value[0] == '\0')
        return wrong(option, value);
    list->texts[list->count++] = fl_span_str(value);
    return 0;
}

static int take_token_mode(struct webhook_caller_options *caller, const char *value)
{
    static const char *const modes[] = {[WEBHOOK_TOKEN_OFF] = "off",
                                        [WEBHOOK_TOKEN_WHEN_PRESENT] = "when-present",
                                        [WEBHOOK_TOKEN_REQUIRE] = "require"};
    for (size_t i = 0; i < FL_COUNT(modes); i++) {
        if (strcmp(value, modes[i]) == 0) {
            caller->token = (enum webhook_token_mode)i;
            return 0;
        }
    }
    return wrong("--token: expected off, when-present or require", value);
}

/* -ENOENT: it is none of these. */
static int take_caller_option(struct webhook_caller_options *caller, int id, const char *value)
{
    switch (id) {
    case OPTION_CLIENT_CA:
        caller->ca = value;
        return 0;
    case OPTION_CLIENT_NAME:
        return add(&caller->names, "--client-name: expected at most 16, none empty", value);
    case OPTION_TOKEN:
        return take_token_mode(caller, value);
    case OPTION_TOKEN_KEYS:
        caller->keys = value;
        return 0;
    case OPTION_TOKEN_ISSUER:
        caller->issuer = value;
        return 0;
    case OPTION_TOKEN_AUDIENCE:
        return add(&caller->audiences, "--token-audience: expected at most 16, none empty", value);
    default:
        return -ENOENT;
    }
}

static int check_caller(const struct webhook_caller_options *caller)
{
    bool token = caller->token != WEBHOOK_TOKEN_OFF;
    if ((caller->ca != NULL) != (caller->names.count > 0))
        return wrong("--client-ca and --client-name: both or none of them", NULL);
    if (token && (caller->keys == NULL || caller->issuer == NULL || caller->audiences.count == 0))
        return wrong("--token needs --token-keys, --token-issuer and --token-audience", NULL);
    if (!token && (caller->keys != NULL || caller->issuer != NULL || caller->audiences.count > 0))
        return wrong("--token-keys, --token-issuer and --token-audience need --token when-present or require", NULL);
    return 0;
}

static int take_option(struct command_line *line, int id, const char *value)
{
    uint64_t number;
    switch (id) {
    case OPTION_LISTEN:
        line->options.listen = value;
        return 0;
    case OPTION_CERT:
        line->options.cert = value;
        return 0;
    case OPTION_KEY:
        line->options.key = value;
        return 0;
    case OPTION_CONFIG:
        line->options.config = value;
        return 0;
    case OPTION_NAMESPACES:
        line->options.namespaces = value;
        return 0;
    case OPTION_KUBECONFIG:
        line->options.kubeconfig = value;
        return 0;
    case OPTION_CONTEXT:
        line->options.context = value;
        return 0;
    case OPTION_DRAIN:
        if (!fl_span_to_u64(fl_span_str(value), 300, &number))
            return wrong("--drain-delay: expected seconds from 0 to 300", value);
        line->options.drain_delay = (unsigned)number;
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
        puts("fairlead-webhook " FL_VERSION);
        line->done = true;
        return 0;
    default:
        return take_caller_option(&line->options.caller, id, value);
    }
}

/* Host and port; whether the address exists is seen when it is listened on. */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    return colon != NULL && colon != text && fl_span_to_u64(fl_span_str(colon + 1), 65535, &port);
}

static int check(const struct command_line *line)
{
    const struct webhook_options *options = &line->options;
    if (check_caller(&options->caller) < 0)
        return -EINVAL;
    if (options->listen == NULL || options->cert == NULL || options->key == NULL)
        return wrong(options->listen == NULL ? "--listen ADDR:PORT is missing"
                     : options->cert == NULL ? "--tls-cert FILE is missing"
                                             : "--tls-key FILE is missing",
                     NULL);
    if (!is_address(options->listen))
        return wrong("--listen: expected ADDR:PORT, as 0.0.0.0:8443 or [::]:8443", options->listen);
    if (options->namespaces != NULL && options->kubeconfig != NULL)
        return wrong("--namespaces and --kubeconfig: one of them", NULL);
    return options->context != NULL && options->kubeconfig == NULL ? wrong("--context needs --kubeconfig FILE", NULL)
                                                                   : 0;
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
    return optind < argc ? wrong("unexpected argument", argv[optind]) : check(line);
}

/* A large review's buffers go back to the system when it is answered. Left alone, glibc would learn from one of them to
 * keep up to twice its size for ever. */
static void bound_heap(void)
{
    mallopt(M_MMAP_THRESHOLD, HEAP_PIECE);
    mallopt(M_TRIM_THRESHOLD, HEAP_SPARE);
}

int main(int argc, char **argv)
{
    struct command_line line = {.level = FL_LOG_INFO, .format = FL_LOG_JSON};
    if (parse(argc, argv, &line) < 0)
        return 2;
    if (line.done)
        return 0;
    struct fl_err err = {0};
    bound_heap();
    fl_log_open("fairlead-webhook", STDERR_FILENO, line.format, line.level);
    if (webhook_server_run(&line.options, &err) < 0) {
        fl_log(FL_LOG_ERROR, "cannot start", FL_LOG_STR("error", err.text));
        return 1;
    }
    return 0;
}
