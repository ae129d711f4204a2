/* fairlead-control: options in, control_run, exit code out. */
#include "common/base/log.h"
#include "common/kube/object.h"
#include "common/mesh/label.h"
#include "control/ca/authority.h"
#include "control/ca/command.h"
#include "control/ca/storage.h"
#include "control/control.h"
#include "control/gateway/deployer.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: fairlead-control --source kubernetes|directory:PATH [options]\n"
    "       fairlead-control token create ...   (see fairlead-control token create --help)\n"
    "       fairlead-control ca rotate ...\n"
    "       fairlead-control deployer ...       (see fairlead-control deployer --help)\n"
    "\n"
    "Tells proxies what to do (xDS), and issues their identities.\n"
    "\n"
    "  --source kubernetes          the cluster whose API server --kubeconfig names, else the pod's own\n"
    "  --source directory:PATH      the folder of YAML that a cluster would hold; followed as it changes\n"
    "  --kubeconfig FILE            of the API server; --context NAME: of the kubeconfig (default: its current one)\n"
    "  --namespace NAME             of the installation: policies there are for the whole mesh (default: the service\n"
    "                               account's, or the context's; of a folder fairlead-system)\n"
    "  --revision NAME              of several that stand beside each other (default: default). All serve every proxy\n"
    "                               that asks; another one than \"default\" leads only where that is not there\n"
    "  --listen ADDR:PORT           xDS and certificates over TLS (default " CONTROL_LISTEN_DEFAULT
    "); port 0 takes any\n"
    "                               free one (the \"ready\" log line tells); \"none\": not at all\n"
    "  --listen-plaintext ADDR:PORT xDS without TLS, on loopback alone: everybody is taken at his word\n"
    "  --http ADDR:PORT             health, metrics, debug pages (default " CONTROL_HTTP_DEFAULT "); or \"none\"\n"
    "  --proxy-budget MIB           what the streams of all proxies may subscribe to (default 2048); one identity a\n"
    "                               quarter; responses that wait: half as much\n"
    "  --status DIR                 write the status of each object there, as YAML\n"
    "\n"
    "  --ca-dir DIR                 issue certificates by a root of our own, made there where there is none\n"
    "  --ca-cert-dir DIR            … or by a given one: ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem\n"
    "  --ca-secret NAME             with --source kubernetes and neither of these: the Secret that holds the root, "
    "made\n"
    "                               where there is none, rotated by itself (default " CONTROL_CA_SECRET ")\n"
    "  --cacerts-secret NAME        … or, where it is there, a given one in the form of --ca-cert-dir (default\n"
    "                               " CONTROL_CACERTS_SECRET "); --ca-look SECONDS: between two looks at them (10)\n"
    "  --ca-root-validity SECONDS   of a root that is made for the Secret (default ten years)\n"
    "  --bundle-configmap NAME      the trust bundle in every namespace, kept by the leader (default fairlead-root)\n"
    "  --lease NAME                 by which one of several replicas leads (default fairlead-control);\n"
    "                               --lease-duration SECONDS (30)\n"
    "  --ca-bundle FILE             write the trust bundle there (default: root-cert.pem in --ca-dir)\n"
    "  --ca-overlap SECONDS         how long a new root is only trusted before it issues (default: the validity)\n"
    "  --certificate-validity SECONDS  of proxies' certificates (default 86400)\n"
    "  --peer-rate N, --identity-rate N  certificates a second for an address (default 20) and for an\n"
    "                               identity (200); ten times as many at once; 0: no bound\n"
    "  --trust-domain NAME          of the identities (default cluster.local)\n"
    "  --server-name NAME           a DNS name or IP address in our own certificate; may be given again\n"
    "                               (default: " FL_CONTROL_NAME ", localhost, 127.0.0.1, ::1)\n"
    "  --token-dir DIR              holds the key of tokens (fairlead-control token create)\n"
    "                               with --source kubernetes the API server is asked instead (TokenReview)\n"
    "  --token-audience TEXT        whom tokens must be for (default " FL_TOKEN_AUDIENCE ")\n"
    "\n"
    "  --log-level L                error, warning, info (default), debug, trace\n"
    "  --log-format F               json (default) or text\n"
    "  --help, --version\n"
    "\n"
    "SIGHUP reads the CA's folder anew; it is followed anyway. SIGTERM tells every proxy to go elsewhere and ends with "
    "0.\n";

enum option_id {
    OPTION_SOURCE = 256,
    OPTION_KUBECONFIG,
    OPTION_CONTEXT,
    OPTION_NAMESPACE,
    OPTION_REVISION,
    OPTION_CA_SECRET,
    OPTION_CACERTS_SECRET,
    OPTION_BUNDLE,
    OPTION_LEASE,
    OPTION_LEASE_SECONDS,
    OPTION_CA_LIFE,
    OPTION_CA_LOOK,
    OPTION_LISTEN,
    OPTION_PLAINTEXT,
    OPTION_HTTP,
    OPTION_STATUS,
    OPTION_CA_DIR,
    OPTION_CA_CERT_DIR,
    OPTION_CA_BUNDLE,
    OPTION_CA_OVERLAP,
    OPTION_VALIDITY,
    OPTION_BUDGET,
    OPTION_PEER_RATE,
    OPTION_IDENTITY_RATE,
    OPTION_TRUST_DOMAIN,
    OPTION_SERVER_NAME,
    OPTION_TOKEN_DIR,
    OPTION_TOKEN_AUDIENCE,
    OPTION_LEVEL,
    OPTION_FORMAT,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"source", required_argument, NULL, OPTION_SOURCE},
    {"kubeconfig", required_argument, NULL, OPTION_KUBECONFIG},
    {"context", required_argument, NULL, OPTION_CONTEXT},
    {"namespace", required_argument, NULL, OPTION_NAMESPACE},
    {"revision", required_argument, NULL, OPTION_REVISION},
    {"ca-secret", required_argument, NULL, OPTION_CA_SECRET},
    {"cacerts-secret", required_argument, NULL, OPTION_CACERTS_SECRET},
    {"bundle-configmap", required_argument, NULL, OPTION_BUNDLE},
    {"lease", required_argument, NULL, OPTION_LEASE},
    {"lease-duration", required_argument, NULL, OPTION_LEASE_SECONDS},
    {"ca-root-validity", required_argument, NULL, OPTION_CA_LIFE},
    {"ca-look", required_argument, NULL, OPTION_CA_LOOK},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"listen-plaintext", required_argument, NULL, OPTION_PLAINTEXT},
    {"http", required_argument, NULL, OPTION_HTTP},
    {"status", required_argument, NULL, OPTION_STATUS},
    {"ca-dir", required_argument, NULL, OPTION_CA_DIR},
    {"ca-cert-dir", required_argument, NULL, OPTION_CA_CERT_DIR},
    {"ca-bundle", required_argument, NULL, OPTION_CA_BUNDLE},
    {"ca-overlap", required_argument, NULL, OPTION_CA_OVERLAP},
    {"certificate-validity", required_argument, NULL, OPTION_VALIDITY},
    {"proxy-budget", required_argument, NULL, OPTION_BUDGET},
    {"peer-rate", required_argument, NULL, OPTION_PEER_RATE},
    {"identity-rate", required_argument, NULL, OPTION_IDENTITY_RATE},
    {"trust-domain", required_argument, NULL, OPTION_TRUST_DOMAIN},
    {"server-name", required_argument, NULL, OPTION_SERVER_NAME},
    {"token-dir", required_argument, NULL, OPTION_TOKEN_DIR},
    {"token-audience", required_argument, NULL, OPTION_TOKEN_AUDIENCE},
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

static int take_seconds(const char *option, const char *value, uint32_t *ret_seconds)
{
    uint64_t seconds;
    if (!fl_span_to_u64(fl_span_str(value), CONTROL_VALIDITY_MAX_S, &seconds) || seconds == 0)
        return wrong(option, value);
    *ret_seconds = (uint32_t)seconds;
    return 0;
}

static int take_years(const char *value, uint32_t *ret_seconds)
{
    uint64_t seconds;
    if (!fl_span_to_u64(fl_span_str(value), 630720000, &seconds) || seconds < 20)
        return wrong("--ca-root-validity: expected seconds, 20 to 630720000 (20 years)", value);
    *ret_seconds = (uint32_t)seconds;
    return 0;
}

static int take_mib(const char *option, const char *value, uint32_t *ret_mib)
{
    uint64_t mib;
    if (!fl_span_to_u64(fl_span_str(value), 1048576, &mib) || mib < 4)
        return wrong(option, value);
    *ret_mib = (uint32_t)mib;
    return 0;
}

static int take_rate(const char *option, const char *value, uint32_t *ret_rate)
{
    uint64_t rate;
    if (!fl_span_to_u64(fl_span_str(value), 1000000, &rate))
        return wrong(option, value);
    *ret_rate = rate > 0 ? (uint32_t)rate : UINT32_MAX;
    return 0;
}

static int take_name(struct control_options *options, const char *value)
{
    size_t count = 0;
    while (options->server_names[count] != NULL)
        count++;
    if (count == CONTROL_NAMES_MAX)
        return wrong("--server-name: too many", value);
    options->server_names[count] = value;
    return 0;
}

/* Those of the certificate authority. 1: it is none of them. */
static int take_ca_option(struct control_options *options, int id, const char *value)
{
    switch (id) {
    case OPTION_CA_DIR:
        options->ca_dir = value;
        return 0;
    case OPTION_CA_CERT_DIR:
        options->ca_cert_dir = value;
        return 0;
    case OPTION_CA_BUNDLE:
        options->ca_bundle = value;
        return 0;
    case OPTION_CA_OVERLAP:
        return take_seconds("--ca-overlap: expected seconds, up to 90 days", value, &options->ca_overlap_s);
    case OPTION_VALIDITY:
        return take_seconds("--certificate-validity: expected seconds, up to 90 days", value,
                            &options->certificate_validity_s);
    case OPTION_PEER_RATE:
        return take_rate("--peer-rate: expected a number, up to 1000000", value, &options->peer_rate);
    case OPTION_IDENTITY_RATE:
        return take_rate("--identity-rate: expected a number, up to 1000000", value, &options->identity_rate);
    case OPTION_TRUST_DOMAIN:
        options->trust_domain = value;
        return 0;
    case OPTION_SERVER_NAME:
        return take_name(options, value);
    case OPTION_TOKEN_DIR:
        options->token_dir = value;
        return 0;
    case OPTION_TOKEN_AUDIENCE:
        options->token_audience = value;
        return 0;
    default:
        return 1;
    }
}

static int take_object_name(const char *option, const char *value, const char **ret_name)
{
    *ret_name = value;
    return fl_is_dns_subdomain(fl_span_str(value)) ? 0 : wrong(option, value);
}

/* Those of an installation in a cluster. 1: it is none of them. */
static int take_cluster_option(struct control_options *options, int id, const char *value)
{
    switch (id) {
    case OPTION_REVISION:
        options->revision = value;
        return fl_is_dns_label(fl_span_str(value)) ? 0 : wrong("--revision: expected a name", value);
    case OPTION_CA_SECRET:
        return take_object_name("--ca-secret: expected a name", value, &options->ca_secret);
    case OPTION_CACERTS_SECRET:
        return take_object_name("--cacerts-secret: expected a name", value, &options->cacerts_secret);
    case OPTION_BUNDLE:
        return take_object_name("--bundle-configmap: expected a name", value, &options->bundle_configmap);
    case OPTION_LEASE:
        return take_object_name("--lease: expected a name", value, &options->lease);
    case OPTION_LEASE_SECONDS:
        return take_seconds("--lease-duration: expected seconds, 3 to 3600", value, &options->lease_s);
    case OPTION_CA_LIFE:
        return take_years(value, &options->ca_root_life_s);
    case OPTION_CA_LOOK: {
        int result = take_seconds("--ca-look: expected seconds", value, &options->ca_look_ms);
        options->ca_look_ms = options->ca_look_ms < 3600 ? options->ca_look_ms * 1000 : 3600000;
        return result;
    }
    default:
        return 1;
    }
}

/* Those of the source. 1: it is none of them. */
static int take_source_option(struct control_options *options, int id, const char *value)
{
    switch (id) {
    case OPTION_SOURCE:
        options->source = value;
        return 0;
    case OPTION_KUBECONFIG:
        options->kubeconfig = value;
        return 0;
    case OPTION_CONTEXT:
        options->context = value;
        return 0;
    case OPTION_NAMESPACE:
        options->name_space = value;
        return fl_is_dns_label(fl_span_str(value)) ? 0 : wrong("--namespace: expected a namespace's name", value);
    default:
        return 1;
    }
}

static int check_source(const struct control_options *options)
{
    bool kubernetes = options->source != NULL && strcmp(options->source, "kubernetes") == 0;
    if (options->source == NULL)
        return wrong("--source kubernetes or --source directory:PATH is missing", NULL);
    if (!kubernetes && !fl_span_starts_with(fl_span_str(options->source), FL_SPAN("directory:")))
        return wrong("--source: expected kubernetes or directory:PATH", options->source);
    if (!kubernetes && (options->kubeconfig != NULL || options->context != NULL))
        return wrong("--kubeconfig and --context need --source kubernetes", NULL);
    if (options->context != NULL && options->kubeconfig == NULL)
        return wrong("--context needs --kubeconfig", NULL);
    return 0;
}

static int take_option(struct command_line *line, int id, const char *value)
{
    int result = take_ca_option(&line->options, id, value);
    if (result > 0)
        result = take_source_option(&line->options, id, value);
    if (result > 0)
        result = take_cluster_option(&line->options, id, value);
    if (result <= 0)
        return result;
    switch (id) {
    case OPTION_BUDGET:
        return take_mib("--proxy-budget: expected MiB, 4 to 1048576", value, &line->options.budget_mib);
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
    return check_source(&line->options);
}

int main(int argc, char **argv)
{
    struct command_line line = {
        .options = {.listen = CONTROL_LISTEN_DEFAULT, .http = CONTROL_HTTP_DEFAULT},
        .level = FL_LOG_INFO,
        .format = FL_LOG_JSON,
    };
    if (argc > 1 && strcmp(argv[1], "issuer") == 0)
        return control_issuer_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "courier") == 0)
        return control_courier_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "token") == 0)
        return control_token_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "ca") == 0)
        return control_ca_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "deployer") == 0)
        return control_deployer_main(argc - 1, argv + 1);
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
