/* fairlead-keeper: options in, keeper_run, exit code out. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/kube/lease.h"
#include "common/kube/object.h"
#include "webhook/keeper/heartbeat.h"
#include "webhook/keeper/keeper.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] =
    "usage: fairlead-keeper --configuration NAME [options]\n"
    "       fairlead-keeper --check --heartbeat FILE\n"
    "\n"
    "Makes and rotates the certificate of fairlead-webhook, and keeps the caBundle of its "
    "MutatingWebhookConfigurations.\n"
    "\n"
    "  --configuration NAME           whose caBundle to keep; may be given up to 16 times\n"
    "  --configuration-selector L     or by labels, as kubectl takes them\n"
    "  --namespace NAME               of Secrets, Lease and Service (default fairlead-system)\n"
    "  --service NAME                 the webhook's Service (default fairlead-webhook)\n"
    "  --cluster-domain DOMAIN        default cluster.local\n"
    "  --dns-name NAME                a name of the certificate beside the Service's; may be repeated\n"
    "  --secret NAME                  tls.crt, tls.key, ca.crt (default fairlead-webhook-tls)\n"
    "  --ca-secret NAME               the roots and their keys (default fairlead-webhook-ca)\n"
    "  --external                     --secret is somebody else's work (cert-manager): only caBundle is kept\n"
    "  --force-conflicts              take a caBundle that belongs to another field manager\n"
    "\n"
    "  --validity SECONDS             of the serving certificate (default 2592000: 30 days)\n"
    "  --renew-before SECONDS         its end (default 864000: 10 days)\n"
    "  --ca-validity SECONDS          of a root (default 31536000: a year)\n"
    "  --propagation SECONDS          until every API server uses a caBundle that was written (default 300)\n"
    "  --overlap SECONDS              until every webhook serves a Secret that was written (default 3600)\n"
    "\n"
    "  --lease NAME                   default fairlead-keeper\n"
    "  --lease-duration SECONDS       from 3 to 3600 (default 30)\n"
    "  --identity NAME                of this process in the Lease (default: the host's name and a random number)\n"
    "  --kubeconfig FILE              default: the pod's service account\n"
    "  --context NAME                 of the kubeconfig\n"
    "  --heartbeat FILE               written while it lives, for --check\n"
    "  --check                        0: the keeper that writes the heartbeat lives; 1: it does not\n"
    "  --log-level L                  error, warning, info (default), debug, trace\n"
    "  --log-format F                 json (default) or text\n"
    "  --help, --version\n"
    "\n"
    "SIGTERM releases the Lease and ends with 0.\n";

enum option_id {
    OPTION_CONFIGURATION = 256,
    OPTION_SELECTOR,
    OPTION_NAMESPACE,
    OPTION_SERVICE,
    OPTION_DOMAIN,
    OPTION_DNS_NAME,
    OPTION_SECRET,
    OPTION_CA_SECRET,
    OPTION_EXTERNAL,
    OPTION_FORCE,
    OPTION_VALIDITY,
    OPTION_RENEW,
    OPTION_CA_VALIDITY,
    OPTION_PROPAGATION,
    OPTION_OVERLAP,
    OPTION_LEASE,
    OPTION_LEASE_SECONDS,
    OPTION_IDENTITY,
    OPTION_KUBECONFIG,
    OPTION_CONTEXT,
    OPTION_HEARTBEAT,
    OPTION_CHECK,
    OPTION_LEVEL,
    OPTION_FORMAT,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"configuration", required_argument, NULL, OPTION_CONFIGURATION},
    {"configuration-selector", required_argument, NULL, OPTION_SELECTOR},
    {"namespace", required_argument, NULL, OPTION_NAMESPACE},
    {"service", required_argument, NULL, OPTION_SERVICE},
    {"cluster-domain", required_argument, NULL, OPTION_DOMAIN},
    {"dns-name", required_argument, NULL, OPTION_DNS_NAME},
    {"secret", required_argument, NULL, OPTION_SECRET},
    {"ca-secret", required_argument, NULL, OPTION_CA_SECRET},
    {"external", no_argument, NULL, OPTION_EXTERNAL},
    {"force-conflicts", no_argument, NULL, OPTION_FORCE},
    {"validity", required_argument, NULL, OPTION_VALIDITY},
    {"renew-before", required_argument, NULL, OPTION_RENEW},
    {"ca-validity", required_argument, NULL, OPTION_CA_VALIDITY},
    {"propagation", required_argument, NULL, OPTION_PROPAGATION},
    {"overlap", required_argument, NULL, OPTION_OVERLAP},
    {"lease", required_argument, NULL, OPTION_LEASE},
    {"lease-duration", required_argument, NULL, OPTION_LEASE_SECONDS},
    {"identity", required_argument, NULL, OPTION_IDENTITY},
    {"kubeconfig", required_argument, NULL, OPTION_KUBECONFIG},
    {"context", required_argument, NULL, OPTION_CONTEXT},
    {"heartbeat", required_argument, NULL, OPTION_HEARTBEAT},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"log-format", required_argument, NULL, OPTION_FORMAT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

struct command_line {
    struct keeper_options options;
    const char *domain;
    const char *extra[KEEPER_NAMES_MAX]; /* --dns-name */
    size_t extra_count;
    char identity[FL_KUBE_HOLDER_MAX];
    char names[2][FL_KUBE_NAME_MAX * 2 + 16];
    enum fl_log_level level;
    enum fl_log_format format;
    bool check;
    bool done; /* --help or --version: everything is said */
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "fairlead-keeper: %s%s%s\nTry 'fairlead-keeper --help'.\n", what, value != NULL ? ": " : "",
            value != NULL ? value : "");
    return -EINVAL;
}

static int take_seconds(const char *value, uint64_t max, uint64_t *seconds)
{
    return fl_span_to_u64(fl_span_str(value), max, seconds)
               ? 0
               : wrong("expected a whole number of seconds, up to ten years", value);
}

static int take_configuration(struct keeper_options *options, const char *value)
{
    if (options->configuration_count == KEEPER_CONFIGURATIONS_MAX)
        return wrong("--configuration: more than 16 of them", value);
    options->configurations[options->configuration_count++] = value;
    return 0;
}

static int take_dns_name(struct command_line *line, const char *value)
{
    if (line->extra_count == KEEPER_NAMES_MAX - 3)
        return wrong("--dns-name: more than 13 of them", value);
    line->extra[line->extra_count++] = value;
    return 0;
}

static int take_lease_seconds(struct keeper_options *options, const char *value)
{
    uint64_t seconds;
    if (!fl_span_to_u64(fl_span_str(value), FL_KUBE_LEASE_SECONDS_MAX, &seconds) || seconds < FL_KUBE_LEASE_SECONDS_MIN)
        return wrong("--lease-duration: expected seconds from 3 to 3600", value);
    options->lease_seconds = (unsigned)seconds;
    return 0;
}

static int take_log_option(struct command_line *line, int id, const char *value)
{
    if (id == OPTION_LEVEL)
        return fl_log_level_parse(fl_span_str(value), &line->level)
                   ? 0
                   : wrong("--log-level: expected error, warning, info, debug or trace", value);
    return fl_log_format_parse(fl_span_str(value), &line->format) ? 0
                                                                  : wrong("--log-format: expected json or text", value);
}

/* Options that are texts, taken as they are; checked at the end. NULL: not one of them. */
static const char **text_option(struct command_line *line, int id)
{
    struct keeper_options *options = &line->options;
    const struct {
        int id;
        const char **text;
    } rows[] = {
        {OPTION_SELECTOR, &options->selector},     {OPTION_NAMESPACE, &options->name_space},
        {OPTION_SERVICE, &options->service},       {OPTION_DOMAIN, &line->domain},
        {OPTION_SECRET, &options->secret},         {OPTION_CA_SECRET, &options->ca_secret},
        {OPTION_LEASE, &options->lease},           {OPTION_IDENTITY, &options->identity},
        {OPTION_KUBECONFIG, &options->kubeconfig}, {OPTION_CONTEXT, &options->context},
        {OPTION_HEARTBEAT, &options->heartbeat},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (rows[i].id == id)
            return rows[i].text;
    }
    return NULL;
}

static uint64_t *seconds_option(struct keeper_policy *policy, int id)
{
    switch (id) {
    case OPTION_VALIDITY:
        return &policy->validity;
    case OPTION_RENEW:
        return &policy->renew_before;
    case OPTION_CA_VALIDITY:
        return &policy->ca_validity;
    case OPTION_PROPAGATION:
        return &policy->propagation;
    case OPTION_OVERLAP:
        return &policy->overlap;
    default:
        return NULL;
    }
}

static int take_option(struct command_line *line, int id, const char *value)
{
    const char **text = text_option(line, id);
    uint64_t *seconds = seconds_option(&line->options.policy, id);
    if (text != NULL) {
        *text = value;
        return 0;
    }
    if (seconds != NULL)
        return take_seconds(value, KEEPER_SECONDS_MAX, seconds);
    switch (id) {
    case OPTION_CONFIGURATION:
        return take_configuration(&line->options, value);
    case OPTION_DNS_NAME:
        return take_dns_name(line, value);
    case OPTION_LEASE_SECONDS:
        return take_lease_seconds(&line->options, value);
    case OPTION_EXTERNAL:
        line->options.external = true;
        return 0;
    case OPTION_FORCE:
        line->options.force = true;
        return 0;
    case OPTION_CHECK:
        line->check = true;
        return 0;
    case OPTION_LEVEL:
    case OPTION_FORMAT:
        return take_log_option(line, id, value);
    case OPTION_HELP:
        fputs(usage, stdout);
        line->done = true;
        return 0;
    case OPTION_VERSION:
        puts("fairlead-keeper " FL_VERSION);
        line->done = true;
        return 0;
    default:
        return wrong("unknown option", NULL);
    }
}

/* They become parts of paths and of a certificate. */
static int check_names(const struct command_line *line)
{
    const struct keeper_options *options = &line->options;
    const struct {
        const char *option, *value;
    } rows[] = {
        {"--service: not a name", options->service}, {"--cluster-domain: not a DNS name", line->domain},
        {"--secret: not a name", options->secret},   {"--ca-secret: not a name", options->ca_secret},
        {"--lease: not a name", options->lease},
    };
    if (!fl_is_dns_label(fl_span_str(options->name_space)))
        return wrong("--namespace: not a name", options->name_space);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (!fl_is_dns_subdomain(fl_span_str(rows[i].value)))
            return wrong(rows[i].option, rows[i].value);
    }
    for (size_t i = 0; i < options->configuration_count; i++) {
        if (!fl_is_dns_subdomain(fl_span_str(options->configurations[i])))
            return wrong("--configuration: not a name", options->configurations[i]);
    }
    for (size_t i = 0; i < line->extra_count; i++) {
        if (!fl_is_dns_subdomain(fl_span_str(line->extra[i])))
            return wrong("--dns-name: not a DNS name", line->extra[i]);
    }
    return 0;
}

static int check(const struct command_line *line)
{
    const struct keeper_options *options = &line->options;
    struct fl_err err = {0};
    if (line->check)
        return options->heartbeat != NULL ? 0 : wrong("--check: --heartbeat FILE is missing", NULL);
    if (options->configuration_count == 0 && options->selector == NULL)
        return wrong("--configuration NAME or --configuration-selector LABELS is missing", NULL);
    if (options->configuration_count > 0 && options->selector != NULL)
        return wrong("--configuration and --configuration-selector: one of the two", NULL);
    if (options->selector != NULL && (*options->selector == '\0' || strlen(options->selector) > 1024))
        return wrong("--configuration-selector: expected 1 to 1024 bytes", options->selector);
    if (strcmp(options->secret, options->ca_secret) == 0)
        return wrong("--secret and --ca-secret: the webhook mounts the first, and must not see the second",
                     options->secret);
    if (options->identity != NULL && (*options->identity == '\0' || strlen(options->identity) >= FL_KUBE_HOLDER_MAX))
        return wrong("--identity: expected 1 to 253 bytes", options->identity);
    if (options->context != NULL && options->kubeconfig == NULL)
        return wrong("--context: it is one of a --kubeconfig, which is missing", options->context);
    if (keeper_policy_check(&options->policy, &err) < 0)
        return wrong(err.text, NULL);
    return check_names(line);
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

/* The Service's names, exactly as the API server and people ask for it, and the others. */
static void fill_names(struct command_line *line)
{
    struct keeper_options *options = &line->options;
    snprintf(line->names[0], sizeof(line->names[0]), "%s.%s.svc", options->service, options->name_space);
    snprintf(line->names[1], sizeof(line->names[1]), "%s.%s.svc.%s", options->service, options->name_space,
             line->domain);
    options->names[0] = line->names[0];
    options->names[1] = line->names[1];
    for (size_t i = 0; i < line->extra_count; i++)
        options->names[2 + i] = line->extra[i];
}

static int check_heartbeat(const char *path)
{
    struct fl_err err = {0};
    if (keeper_heartbeat_check(path, fl_boot_ms(), &err) == 0)
        return 0;
    fprintf(stderr, "fairlead-keeper: %s\n", err.text);
    return 1;
}

int main(int argc, char **argv)
{
    struct command_line line = {
        .options = {.name_space = "fairlead-system",
                    .service = "fairlead-webhook",
                    .secret = "fairlead-webhook-tls",
                    .ca_secret = "fairlead-webhook-ca",
                    .lease = "fairlead-keeper",
                    .lease_seconds = FL_KUBE_LEASE_SECONDS_DEFAULT},
        .domain = "cluster.local",
        .level = FL_LOG_INFO,
        .format = FL_LOG_JSON,
    };
    struct fl_err err = {0};
    keeper_policy_init(&line.options.policy);
    if (parse(argc, argv, &line) < 0)
        return 2;
    if (line.done)
        return 0;
    if (line.check)
        return check_heartbeat(line.options.heartbeat);
    fill_names(&line);
    if (line.options.identity == NULL) {
        fl_kube_lease_identity("keeper", line.identity);
        line.options.identity = line.identity;
    }
    fl_log_open("fairlead-keeper", STDERR_FILENO, line.format, line.level);
    if (keeper_run(&line.options, &err) < 0) {
        fl_log(FL_LOG_ERROR, "cannot start", FL_LOG_STR("error", err.text));
        return 1;
    }
    return 0;
}
