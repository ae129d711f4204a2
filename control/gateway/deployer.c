#include "control/gateway/deployer.h"

#include "common/base/backoff.h"
#include "common/base/log.h"
#include "common/kube/connect.h"
#include "common/kube/lease.h"
#include "common/kube/object.h"
#include "common/loop/signal.h"
#include "common/loop/timer.h"
#include "control/gateway/deploy.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define LEASE_DEFAULT    "fairlead-deployer"
#define PULL_SECRETS_MAX 16
#define REPLICAS_MAX     1000
#define DRAIN_MAX        3600
#define STAND_BACK_MS    5000 /* behind a lead that came to nothing; doubling */
#define STAND_BACK_MAX   300000

static const char usage[] =
    "usage: fairlead-control deployer --proxy-image IMAGE --control-address HOST:PORT [options]\n"
    "\n"
    "Makes a ServiceAccount, a Deployment and a Service of each Gateway whose class is ours.\n"
    "\n"
    "  --kubeconfig FILE            of the API server (default: the pod's own); --context NAME: of the kubeconfig\n"
    "  --namespace NAME             where the Lease is (default: the service account's, or the context's)\n"
    "  --lease NAME                 of several deployers one acts (default " LEASE_DEFAULT ")\n"
    "  --revision REV               of the Gateways' or their class's label fairlead.io/rev (default: those without,\n"
    "                               or \"default\")\n"
    "\n"
    "  --proxy-image IMAGE, --proxy-image-pull-policy POLICY, --image-pull-secret NAME (may be given again)\n"
    "  --control-address HOST:PORT  where proxies find the control plane\n"
    "  --control-name NAME          in its certificate\n"
    "  --trust-domain NAME, --token-audience TEXT, --proxy-log-level L\n"
    "  --service-type TYPE          LoadBalancer (default), ClusterIP, NodePort\n"
    "  --replicas N                 of each Gateway (default: not set, so 1, and a HorizontalPodAutoscaler may)\n"
    "  --drain-seconds N            how long a pod that ends serves on (default 10)\n"
    "  --proxy-cpu-request Q, --proxy-cpu-limit Q, --proxy-memory-request Q, --proxy-memory-limit Q\n"
    "\n"
    "  --log-level L                error, warning, info (default), debug, trace\n"
    "  --log-format F               json (default) or text\n"
    "  --help\n";

struct deployer_line {
    struct control_deploy_options deploy;
    const char *pull_secrets[PULL_SECRETS_MAX + 1];
    const char *kubeconfig, *context, *name_space, *lease;
    enum fl_log_level level;
    enum fl_log_format format;
    bool done;
};

enum option_id {
    OPTION_KUBECONFIG = 256,
    OPTION_CONTEXT,
    OPTION_NAMESPACE,
    OPTION_LEASE,
    OPTION_REVISION,
    OPTION_IMAGE,
    OPTION_PULL_POLICY,
    OPTION_PULL_SECRET,
    OPTION_ADDRESS,
    OPTION_NAME,
    OPTION_TRUST_DOMAIN,
    OPTION_AUDIENCE,
    OPTION_PROXY_LEVEL,
    OPTION_SERVICE_TYPE,
    OPTION_REPLICAS,
    OPTION_DRAIN,
    OPTION_CPU_REQUEST,
    OPTION_CPU_LIMIT,
    OPTION_MEMORY_REQUEST,
    OPTION_MEMORY_LIMIT,
    OPTION_LEVEL,
    OPTION_FORMAT,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"kubeconfig", required_argument, NULL, OPTION_KUBECONFIG},
    {"context", required_argument, NULL, OPTION_CONTEXT},
    {"namespace", required_argument, NULL, OPTION_NAMESPACE},
    {"lease", required_argument, NULL, OPTION_LEASE},
    {"revision", required_argument, NULL, OPTION_REVISION},
    {"proxy-image", required_argument, NULL, OPTION_IMAGE},
    {"proxy-image-pull-policy", required_argument, NULL, OPTION_PULL_POLICY},
    {"image-pull-secret", required_argument, NULL, OPTION_PULL_SECRET},
    {"control-address", required_argument, NULL, OPTION_ADDRESS},
    {"control-name", required_argument, NULL, OPTION_NAME},
    {"trust-domain", required_argument, NULL, OPTION_TRUST_DOMAIN},
    {"token-audience", required_argument, NULL, OPTION_AUDIENCE},
    {"proxy-log-level", required_argument, NULL, OPTION_PROXY_LEVEL},
    {"service-type", required_argument, NULL, OPTION_SERVICE_TYPE},
    {"replicas", required_argument, NULL, OPTION_REPLICAS},
    {"drain-seconds", required_argument, NULL, OPTION_DRAIN},
    {"proxy-cpu-request", required_argument, NULL, OPTION_CPU_REQUEST},
    {"proxy-cpu-limit", required_argument, NULL, OPTION_CPU_LIMIT},
    {"proxy-memory-request", required_argument, NULL, OPTION_MEMORY_REQUEST},
    {"proxy-memory-limit", required_argument, NULL, OPTION_MEMORY_LIMIT},
    {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"log-format", required_argument, NULL, OPTION_FORMAT},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

/* -- options ---------------------------------------------------------------------------------------------------------
 */

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "fairlead-control deployer: %s%s%s\nTry 'fairlead-control deployer --help'.\n", what,
            value != NULL ? ": " : "", value != NULL ? value : "");
    return -EINVAL;
}

static int take_number(const char *what, const char *value, uint64_t max, unsigned *ret_number)
{
    uint64_t number = 0;
    if (!fl_span_to_u64(fl_span_str(value), max, &number) || number == 0)
        return wrong(what, value);
    *ret_number = (unsigned)number;
    return 0;
}

static int take_pull_secret(struct deployer_line *line, const char *value)
{
    size_t count = 0;
    while (line->pull_secrets[count] != NULL)
        count++;
    if (count == PULL_SECRETS_MAX)
        return wrong("--image-pull-secret: too many", value);
    line->pull_secrets[count] = value;
    return 0;
}

/* Where an option's text goes; NULL: it has none. */
static const char **text_of(struct deployer_line *line, int id)
{
    struct control_deploy_options *deploy = &line->deploy;
    const struct {
        int id;
        const char **text;
    } rows[] = {
        {OPTION_KUBECONFIG, &line->kubeconfig},
        {OPTION_CONTEXT, &line->context},
        {OPTION_NAMESPACE, &line->name_space},
        {OPTION_LEASE, &line->lease},
        {OPTION_REVISION, &deploy->revision},
        {OPTION_IMAGE, &deploy->image},
        {OPTION_PULL_POLICY, &deploy->image_pull_policy},
        {OPTION_ADDRESS, &deploy->control_address},
        {OPTION_NAME, &deploy->control_name},
        {OPTION_TRUST_DOMAIN, &deploy->trust_domain},
        {OPTION_AUDIENCE, &deploy->token_audience},
        {OPTION_PROXY_LEVEL, &deploy->log_level},
        {OPTION_SERVICE_TYPE, &deploy->service_type},
        {OPTION_CPU_REQUEST, &deploy->cpu_request},
        {OPTION_CPU_LIMIT, &deploy->cpu_limit},
        {OPTION_MEMORY_REQUEST, &deploy->memory_request},
        {OPTION_MEMORY_LIMIT, &deploy->memory_limit},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        if (rows[i].id == id)
            return rows[i].text;
    return NULL;
}

static int take_option(struct deployer_line *line, int id, const char *value)
{
    const char **text = text_of(line, id);
    if (text != NULL) {
        *text = value;
        return 0;
    }
    switch (id) {
    case OPTION_PULL_SECRET:
        return take_pull_secret(line, value);
    case OPTION_REPLICAS:
        return take_number("--replicas: expected 1 to 1000", value, REPLICAS_MAX, &line->deploy.replicas);
    case OPTION_DRAIN:
        return take_number("--drain-seconds: expected 1 to 3600", value, DRAIN_MAX, &line->deploy.drain_seconds);
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
    default:
        return wrong("unknown option", NULL);
    }
}

static int parse(int argc, char **argv, struct deployer_line *line)
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
    if (result == 0 && !line->done && optind < argc)
        result = wrong("unexpected argument", argv[optind]);
    if (result == 0 && !line->done && line->deploy.image == NULL)
        result = wrong("--proxy-image is missing", NULL);
    if (result == 0 && !line->done && line->deploy.control_address == NULL)
        result = wrong("--control-address is missing", NULL);
    if (result == 0 && line->context != NULL && line->kubeconfig == NULL)
        result = wrong("--context needs --kubeconfig", NULL);
    return result;
}

/* -- running ---------------------------------------------------------------------------------------------------------
 */

struct deployer {
    const struct deployer_line *line;
    struct fl_loop *loop;
    struct fl_signals signals;
    struct fl_kube_client *client;
    struct fl_kube_lease *lease; /* NULL: we stand back */
    struct control_deploy *deploy;
    struct fl_backoff backoff;
    struct fl_timer again;    /* to want the Lease anew */
    bool ending, giving_back; /* the Lease, on its way */
};

static int start_lease(struct deployer *deployer, struct fl_err *err);

static void on_released(void *owner, bool released, const struct fl_err *err)
{
    struct deployer *deployer = owner;
    (void)released;
    (void)err; /* it runs out by itself */
    fl_loop_stop(deployer->loop, 0);
}

static void on_signal(struct fl_signals *signals, int number)
{
    struct deployer *deployer = FL_CONTAINER_OF(signals, struct deployer, signals);
    if (deployer->ending)
        return;
    fl_log(FL_LOG_INFO, "ending", FL_LOG_NUM("signal", number));
    deployer->ending = true;
    control_deploy_lead(deployer->deploy, false);
    if (deployer->lease == NULL)
        fl_loop_stop(deployer->loop, 0);
    else if (!deployer->giving_back)
        fl_kube_lease_release(deployer->lease, on_released);
}

static void on_change(void *owner, bool leads)
{
    struct deployer *deployer = owner;
    if (deployer->ending)
        return;
    if (!leads && control_deploy_stats(deployer->deploy).settled)
        fl_backoff_reset(&deployer->backoff);
    fl_log_message(FL_LOG_INFO, leads ? "leading" : "not leading any more");
    control_deploy_lead(deployer->deploy, leads);
}

static void on_trouble(void *owner, const struct fl_err *err)
{
    (void)owner;
    fl_log(FL_LOG_WARNING, "the Lease could not be kept", FL_LOG_STR("error", err->text));
}

static void on_again(struct fl_timer *timer)
{
    struct deployer *deployer = FL_CONTAINER_OF(timer, struct deployer, again);
    struct fl_err err = {0};
    if (start_lease(deployer, &err) == 0)
        return;
    fl_log(FL_LOG_ERROR, "cannot want the Lease", FL_LOG_STR("error", err.text));
    fl_timer_set(deployer->loop, &deployer->again, STAND_BACK_MS, on_again);
}

static void on_given_back(void *owner, bool released, const struct fl_err *err)
{
    struct deployer *deployer = owner;
    if (deployer->ending) {
        on_released(owner, released, err);
        return;
    }
    deployer->lease = fl_kube_lease_free(deployer->lease);
    deployer->giving_back = false;
    uint64_t delay = STAND_BACK_MS + fl_backoff_next(&deployer->backoff);
    fl_timer_set(deployer->loop, &deployer->again, delay, on_again);
}

/* Another one may be able to, and we later: whoever does nothing is not to lead. */
static void on_unable(void *owner, const struct fl_err *err)
{
    struct deployer *deployer = owner;
    if (deployer->ending || deployer->giving_back || deployer->lease == NULL)
        return;
    fl_log(FL_LOG_ERROR, "cannot follow the API server: the Lease is given up, and wanted again later",
           FL_LOG_STR("error", err->text));
    deployer->giving_back = true;
    fl_kube_lease_release(deployer->lease, on_given_back);
}

static int start_client(struct deployer *deployer, const struct deployer_line *line, struct fl_err *err)
{
    int result = fl_kube_connect(deployer->loop, line->kubeconfig, line->context, "fairlead-deployer/" FL_VERSION,
                                 &deployer->client, err);
    if (result == 0 && fl_kube_client_insecure(deployer->client))
        fl_log_message(FL_LOG_WARNING, "the API server's certificate is not verified, as the kubeconfig says");
    return result;
}

static int start_lease(struct deployer *deployer, struct fl_err *err)
{
    const struct deployer_line *line = deployer->line;
    char identity[FL_KUBE_HOLDER_MAX];
    const char *name_space = line->name_space != NULL ? line->name_space : fl_kube_client_namespace(deployer->client);
    if (name_space == NULL)
        return fl_err_set(err, -EINVAL, "--namespace is missing: neither service account nor context has one");
    fl_kube_lease_identity("fairlead-deployer", identity);
    const struct fl_kube_lease_options options = {.name_space = name_space,
                                                  .name = line->lease != NULL ? line->lease : LEASE_DEFAULT,
                                                  .identity = identity,
                                                  .on_change = on_change,
                                                  .on_trouble = on_trouble,
                                                  .owner = deployer};
    return fl_kube_lease_new(deployer->loop, deployer->client, &options, &deployer->lease, err);
}

static int run(const struct deployer_line *line, struct fl_err *err)
{
    struct deployer deployer = {.line = line};
    struct control_deploy_options options = line->deploy;
    options.on_unable = on_unable;
    options.owner = &deployer;
    fl_backoff_init(&deployer.backoff, STAND_BACK_MS, STAND_BACK_MAX);
    int result = fl_loop_new(&deployer.loop);
    if (result == 0)
        result = fl_signals_init(&deployer.signals, deployer.loop, (const int[]){SIGTERM, SIGINT, 0}, on_signal);
    if (result < 0)
        fl_err_errno(err, result, "start");
    if (result == 0)
        result = start_client(&deployer, line, err);
    if (result == 0)
        result = control_deploy_new(deployer.loop, deployer.client, &options, &deployer.deploy, err);
    if (result == 0)
        result = start_lease(&deployer, err);
    if (result == 0) {
        fl_log(FL_LOG_INFO, "ready", FL_LOG_STR("server", fl_kube_client_server(deployer.client)),
               FL_LOG_STR("version", FL_VERSION));
        result = fl_loop_run(deployer.loop);
        fl_log_message(FL_LOG_INFO, "stopped");
    }
    fl_timer_cancel(&deployer.again);
    control_deploy_free(deployer.deploy);
    fl_kube_lease_free(deployer.lease);
    fl_kube_client_free(deployer.client);
    fl_signals_done(&deployer.signals);
    fl_loop_free(deployer.loop);
    return result;
}

int control_deployer_main(int argc, char **argv)
{
    struct deployer_line line = {.level = FL_LOG_INFO, .format = FL_LOG_JSON};
    struct fl_err err = {0};
    line.deploy.pull_secrets = line.pull_secrets;
    if (parse(argc, argv, &line) < 0)
        return 2;
    if (line.done)
        return 0;
    fl_log_open("fairlead-deployer", STDERR_FILENO, line.format, line.level);
    if (run(&line, &err) < 0) {
        fl_log(FL_LOG_ERROR, "cannot start", FL_LOG_STR("error", err.text));
        return 1;
    }
    return 0;
}
