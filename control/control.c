#include "control/control.h"

#include "common/base/log.h"
#include "common/base/log_limit.h"
#include "common/grpc/server.h"
#include "common/loop/signal.h"
#include "common/loop/timer.h"
#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "common/metrics/registry.h"
#include "control/ca/identities.h"
#include "control/cluster.h"
#include "control/pages.h"
#include "control/source/directory.h"
#include "control/status/writer.h"
#include "control/xds/server.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#define DRAIN_MS  5000 /* for streams to end after SIGTERM */
#define STATUS_MS 200  /* behind a change: proxies come first, and changes in between are one */

/* Status files of very many objects take seconds: written in slices, and everything else comes between. */
#define STATUS_SLICE_NS UINT64_C(2000000)
#define STATUS_PAUSE_MS 4
#define TOLD_MAX        20 /* problems of one commit in the log */

#define CONTROL_CONNECTIONS_MAX 16384
#define CONTROL_STREAMS         16  /* of a connection: a proxy has one of ADS, and calls of CreateCertificate */
#define RESERVED_FILES          256 /* descriptors for everything but gRPC: the HTTP port has 64 connections */

static const struct fl_metric_family objects_family = {
    .name = "fairlead_control_objects", .help = "Objects in the model.", .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family problems_family = {
    .name = "fairlead_control_problems", .help = "Documents that could not be taken.", .kind = FL_METRIC_GAUGE};
static const char *const build_labels[] = {"version", "revision"};
static const struct fl_metric_family build_family = {.name = "fairlead_control_build_info",
                                                     .help = "Always 1; version and revision are labels.",
                                                     .kind = FL_METRIC_GAUGE,
                                                     .label_names = build_labels,
                                                     .label_count = FL_COUNT(build_labels)};
static const struct fl_metric_family commits_family = {
    .name = "fairlead_control_commits_total", .help = "Changes of the model.", .kind = FL_METRIC_COUNTER};

struct control {
    struct fl_loop *loop;
    struct fl_signals signals;
    struct fl_timer drain, status_timer;
    struct fl_metrics *metrics;
    struct control_store *store;
    struct control_directory *directory; /* the source: this one, */
    struct control_cluster *cluster;     /* or an API server's */
    struct control_status_writer *status;
    struct control_proxies *proxies;
    struct fl_grpc_server *grpc;
    struct control_pages *pages;
    struct control_identities *identities; /* NULL: neither certificates nor TLS */
    const struct control_options *options;
    struct fl_grpc_method methods[CONTROL_PROXY_METHODS + 1];
    struct fl_gauge *objects, *problems;
    struct control_problems *told; /* counted: those that the log has */
    struct fl_counter *commits;
    struct fl_log_limit refusals; /* lines on connections */
    uint32_t connections;         /* that descriptors are left for */
    uint16_t port, plaintext_port;
    bool draining, ready;
    bool drained, finished; /* no stream is left; the Lease is given up */
    bool synced, serving; /* the source has told its first state; there is a certificate of our own, or no need of it */
    struct fl_err failure; /* why the loop was stopped */
    bool disagree;         /* issuer and settings, over the trust domain */
};

/* -- the model changes -- */

static void count_model(const struct control *control, uint64_t *ret_objects, uint64_t *ret_problems)
{
    struct control_directory_stats directory = {0};
    struct control_kubernetes_stats kubernetes = {0};
    if (control->directory != NULL)
        directory = control_directory_stats(control->directory);
    if (control->cluster != NULL)
        kubernetes = control_cluster_stats(control->cluster);
    *ret_objects = directory.objects + kubernetes.objects;
    *ret_problems = directory.problems + kubernetes.problems;
}

static void tell_model(struct control *control)
{
    uint64_t objects, problems;
    count_model(control, &objects, &problems);
    fl_gauge_set(control->objects, (double)objects);
    fl_gauge_set(control->problems, (double)problems);
}

static void on_status(struct fl_timer *timer)
{
    struct control *control = FL_CONTAINER_OF(timer, struct control, status_timer);
    struct control_model *model = control_store_model(control->store);
    struct fl_err err = {0};
    control_status_writer_begin(control->status, model);
    if (control_status_writer_step(control->status, STATUS_SLICE_NS, &err) < 0)
        fl_log(FL_LOG_WARNING, "status files could not be written", FL_LOG_STR("error", err.text));
    if (control_status_writer_is_busy(control->status))
        fl_timer_set(control->loop, timer, STATUS_PAUSE_MS, on_status);
    else if (!control_status_writer_has(control->status, model))
        fl_timer_set(control->loop, timer, STATUS_MS, on_status);
}

static bool has_problem(const struct control_problems *problems, struct fl_span text)
{
    for (size_t i = 0; problems != NULL && i < problems->count; i++)
        if (fl_span_eq(problems->items[i].text, text))
            return true;
    return false;
}

/* Each once, and not all of very many. */
static void tell_problems(struct control *control)
{
    const struct control_problems *problems = control_model_problems(control_store_model(control->store));
    size_t told = 0;
    for (size_t i = 0; problems != NULL && problems != control->told && i < problems->count && told < TOLD_MAX; i++) {
        const struct control_problem *problem = &problems->items[i];
        if (has_problem(control->told, problem->text))
            continue;
        told++;
        fl_log(FL_LOG_WARNING,
               problem->reason == CONTROL_PROBLEM_NOT_READ  ? "object not read"
               : problem->reason == CONTROL_PROBLEM_IGNORED ? "member not known"
                                                            : "object refused",
               FL_LOG_SPAN("problem", problem->text),
               FL_LOG_STR("in_force", control_problem_in_force(problem->reason)));
    }
    control_problems_unref(control->told);
    control->told = problems != NULL ? control_problems_ref(problems) : NULL;
}

/* Once for each change. */
static void tell_trust_domain(struct control *control)
{
    struct fl_span issuer = control_model_foreign_issuer(control_store_model(control->store));
    bool disagree = issuer.len > 0;
    if (disagree && !control->disagree)
        fl_log(FL_LOG_ERROR, "trust domains disagree: no proxy is served", FL_LOG_SPAN("issued", issuer),
               FL_LOG_SPAN("settings", control_model_settings(control_store_model(control->store)).trust_domain));
    control->disagree = disagree;
}

static void on_commit(void *context, const struct control_diff *diff)
{
    struct control *control = context;
    fl_counter_add(control->commits, 1);
    tell_model(control);
    fl_log(FL_LOG_INFO, "model changed", FL_LOG_NUM("version", control_model_version(diff->after)),
           FL_LOG_NUM("changes", diff->count), FL_LOG_NUM("proxies", control_proxies_count(control->proxies)));
    control_proxies_update(control->proxies, diff);
    tell_problems(control);
    tell_trust_domain(control);
    if (control->status != NULL && !fl_timer_is_set(&control->status_timer))
        fl_timer_set(control->loop, &control->status_timer, STATUS_MS, on_status);
}

/* -- signals -- */

static void end_where_done(struct control *control)
{
    if (control->drained && control->finished)
        fl_loop_stop(control->loop, 0);
}

static void on_drained(void *owner)
{
    struct control *control = owner;
    control->drained = true;
    end_where_done(control);
}

static void on_finished(void *owner)
{
    struct control *control = owner;
    control->finished = true;
    end_where_done(control);
}

static void on_drain_over(struct fl_timer *timer)
{
    struct control *control = FL_CONTAINER_OF(timer, struct control, drain);
    fl_loop_stop(control->loop, 0);
}

static void on_signal(struct fl_signals *signals, int number)
{
    struct control *control = FL_CONTAINER_OF(signals, struct control, signals);
    if (number == SIGHUP && control->identities != NULL)
        control_identities_reload(control->identities);
    if (number == SIGHUP || control->draining)
        return;
    fl_log(FL_LOG_INFO, "draining", FL_LOG_NUM("signal", number));
    control->draining = true;
    if (control->pages != NULL)
        control_pages_set_ready(control->pages, false);
    fl_timer_set(control->loop, &control->drain, DRAIN_MS, on_drain_over);
    control->finished = control->cluster == NULL;
    if (control->cluster != NULL)
        control_cluster_finish(control->cluster, on_finished);
    control_proxies_finish(control->proxies);
    fl_grpc_server_drain(control->grpc);
}

static void on_refused(void *owner, enum fl_grpc_refusal refusal, const struct fl_grpc_address *peer, const char *text)
{
    struct control *control = owner;
    char address[FL_GRPC_ADDRESS_TEXT_MAX];
    uint64_t suppressed = 0;
    if (!fl_log_limit_take(&control->refusals, fl_loop_now_ms(control->loop), &suppressed))
        return;
    fl_grpc_address_print(peer, address);
    fl_log(FL_LOG_INFO, "connection refused", FL_LOG_STR("reason", fl_grpc_refusal_word(refusal)),
           FL_LOG_STR("peer", address), FL_LOG_STR("text", text), FL_LOG_NUM("suppressed", suppressed));
}

/* -- starting -- */

/* Connections are refused before descriptors are out: else neither the folder nor the CA could be read, and nobody
 * would make room for a proxy. */
static uint32_t count_connections(void)
{
    struct rlimit files = {0, 0};
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return 0;
    const struct rlimit more = {files.rlim_max, files.rlim_max};
    if (files.rlim_cur < files.rlim_max && setrlimit(RLIMIT_NOFILE, &more) == 0)
        files = more;
    rlim_t left = files.rlim_cur > 2 * RESERVED_FILES ? files.rlim_cur - RESERVED_FILES : files.rlim_cur / 2;
    return left < CONTROL_CONNECTIONS_MAX ? (uint32_t)left : CONTROL_CONNECTIONS_MAX;
}

static bool is_kubernetes(const struct control_options *options)
{
    return strcmp(options->source, "kubernetes") == 0;
}

/* In a cluster its Secrets are the certificate authority, unless a folder is named; nobody could be served by TLS
 * without one. */
static bool uses_secrets(const struct control_options *options)
{
    return is_kubernetes(options) && options->ca_dir == NULL && options->ca_cert_dir == NULL && options->listen != NULL;
}

static bool issues(const struct control_options *options)
{
    return options->ca_dir != NULL || options->ca_cert_dir != NULL || uses_secrets(options);
}

static const char *revision_of(const struct control_options *options)
{
    return options->revision != NULL ? options->revision : FL_REVISION_DEFAULT;
}

static int start_basis(struct control *control, struct fl_err *err)
{
    control->connections = count_connections();
    int result = fl_loop_new(&control->loop);
    if (result == 0)
        result =
            fl_signals_init(&control->signals, control->loop, (const int[]){SIGTERM, SIGINT, SIGHUP, 0}, on_signal);
    if (result == 0)
        result = fl_metrics_new(&control->metrics);
    if (result == 0)
        result = control_store_new(&control->store);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    if (issues(control->options))
        control_store_set_issuer(control->store,
                                 fl_span_str(control->options->trust_domain != NULL ? control->options->trust_domain
                                                                                    : FL_TRUST_DOMAIN_DEFAULT));
    if (control->options->name_space != NULL) /* a cluster may know better */
        control_store_set_root(control->store, fl_span_str(control->options->name_space));
    control->objects = fl_metrics_gauge(control->metrics, &objects_family, NULL);
    control->problems = fl_metrics_gauge(control->metrics, &problems_family, NULL);
    control->commits = fl_metrics_counter(control->metrics, &commits_family, NULL);
    const struct fl_span build[] = {FL_SPAN(FL_VERSION), fl_span_str(revision_of(control->options))};
    fl_gauge_set(fl_metrics_gauge(control->metrics, &build_family, build), 1);
    return 0;
}

static void on_synced(void *owner);

static int start_cluster(struct control *control, const struct control_options *options, struct fl_err *err)
{
    const struct control_cluster_options cluster = {.loop = control->loop,
                                                    .metrics = control->metrics,
                                                    .store = control->store,
                                                    .kubeconfig = options->kubeconfig,
                                                    .context = options->context,
                                                    .name_space = options->name_space,
                                                    .lease = options->lease,
                                                    .bundle = options->bundle_configmap,
                                                    .lease_s = options->lease_s,
                                                    .yields = strcmp(revision_of(options), FL_REVISION_DEFAULT) != 0,
                                                    .on_commit = on_commit,
                                                    .on_synced = on_synced,
                                                    .owner = control};
    return control_cluster_new(&cluster, &control->cluster, err);
}

static int start_source(struct control *control, const struct control_options *options, struct fl_err *err)
{
    const char prefix[] = "directory:";
    int result;
    if (is_kubernetes(options))
        result = start_cluster(control, options, err);
    else if (strncmp(options->source, prefix, sizeof(prefix) - 1) == 0)
        result = control_directory_open(control->loop, control->store, options->source + sizeof(prefix) - 1, on_commit,
                                        control, &control->directory, err);
    else
        result = fl_err_set(err, -EINVAL, "--source: expected kubernetes or directory:PATH, got %s", options->source);
    if (result == 0 && options->status != NULL)
        result = control_status_writer_open(options->status, &control->status, err);
    if (result == 0)
        tell_model(control);
    return result;
}

static void say_ready(struct control *control);

/* The issuer is there, and with it our own certificate: before, nobody could be served on the TLS port. */
static void on_serving(void *owner)
{
    struct control *control = owner;
    control->serving = true;
    say_ready(control);
}

static void on_bundle(void *owner, struct fl_span pem)
{
    struct control *control = owner;
    if (control->cluster != NULL)
        control_cluster_set_bundle(control->cluster, pem);
}

/* Proxies hear of a new root with their next certificate, some time after half of the life of the one before. */
static void warn_of_overlap(const struct control_options *options)
{
    uint32_t validity_s = options->certificate_validity_s > 0 ? options->certificate_validity_s : CONTROL_VALIDITY_S;
    if (options->ca_overlap_s > 0 && options->ca_overlap_s < validity_s)
        fl_log(
            FL_LOG_WARNING,
            "--ca-overlap is shorter than certificates live (--certificate-validity): a root that is rotated may issue "
            "before every proxy trusts it",
            FL_LOG_NUM("overlap_s", options->ca_overlap_s), FL_LOG_NUM("validity_s", validity_s));
}

static int start_identities(struct control *control, struct fl_err *err)
{
    const struct control_options *options = control->options;
    const char *audience = options->token_audience != NULL ? options->token_audience : FL_TOKEN_AUDIENCE;
    struct control_authenticator *authenticator = NULL;
    if (!issues(options))
        return 0;
    warn_of_overlap(options);
    if (control->cluster != NULL && options->token_dir == NULL &&
        control_cluster_authenticator(control->cluster, audience, &authenticator) < 0)
        return fl_err_set(err, -ENOMEM, "start: out of memory");
    const struct control_identities_secrets secrets = {
        .name_space = control->cluster != NULL ? control_cluster_namespace(control->cluster) : NULL,
        .secret = options->ca_secret != NULL ? options->ca_secret : CONTROL_CA_SECRET,
        .cacerts = options->cacerts_secret != NULL ? options->cacerts_secret : CONTROL_CACERTS_SECRET,
        .kubeconfig = options->kubeconfig,
        .context = options->context,
        .root_life_s = options->ca_root_life_s,
        .look_ms = options->ca_look_ms};
    const struct control_identities_options identities = {.loop = control->loop,
                                                          .metrics = control->metrics,
                                                          .ca_dir = options->ca_dir,
                                                          .ca_cert_dir = options->ca_cert_dir,
                                                          .secrets = uses_secrets(options) ? &secrets : NULL,
                                                          .bundle_file = options->ca_bundle,
                                                          .trust_domain = options->trust_domain,
                                                          .server_names = options->server_names,
                                                          .token_dir = options->token_dir,
                                                          .authenticator = authenticator,
                                                          .token_audience = options->token_audience,
                                                          .validity_s = options->certificate_validity_s,
                                                          .overlap_s = options->ca_overlap_s,
                                                          .peer_rate = options->peer_rate,
                                                          .identity_rate = options->identity_rate,
                                                          .on_bundle = on_bundle,
                                                          .on_serving = on_serving,
                                                          .owner = control};
    return control_identities_new(&identities, &control->identities, err);
}

static int start_servers(struct control *control, struct fl_err *err)
{
    size_t methods = CONTROL_PROXY_METHODS;
    const struct control_proxies_options proxies = {
        .loop = control->loop,
        .metrics = control->metrics,
        .identifier = "fairlead-control/" FL_VERSION,
        .budget_mib = control->options->budget_mib,
        .authenticator = control->identities != NULL ? control_identities_authenticator(control->identities) : NULL,
    };
    int result = control_proxies_new(&proxies, control_store_model(control->store), &control->proxies);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    control_proxies_methods(control->proxies, control->methods);
    if (control->identities != NULL)
        control_identities_method(control->identities, &control->methods[methods++]);
    const struct fl_grpc_server_options grpc = {
        .methods = control->methods,
        .method_count = methods,
        .on_refused = on_refused,
        .on_drained = on_drained,
        .owner = control,
        .connections = control->connections,
        .connections_per_source = (control->connections + 1) / 2,
        .streams = CONTROL_STREAMS,
        .message_max = CONTROL_PROXY_MESSAGE_MAX,
        .queue_max = CONTROL_PROXY_MESSAGE_MAX,
    };
    result = fl_grpc_server_new(control->loop, &grpc, &control->grpc, err);
    if (result == 0 && control->identities != NULL)
        control_identities_attach(control->identities, control->grpc);
    return result;
}

static int listen_on(struct control *control, const char *text, bool secure, uint16_t *ret_port, struct fl_err *err)
{
    struct fl_grpc_address address;
    if (fl_grpc_address_parse(fl_span_str(text), &address) < 0)
        return fl_err_set(err, -EINVAL, "expected ADDR:PORT with an IP address, got %s", text);
    if (!secure && !fl_grpc_address_is_loopback(&address))
        return fl_err_set(err, -EINVAL, "%s is not a loopback address: plaintext takes everybody at his word", text);
    int result = fl_grpc_server_listen(control->grpc, &address, secure, &address, err);
    if (result == 0)
        *ret_port = fl_grpc_address_port(&address);
    return result;
}

static int start_listeners(struct control *control, const struct control_options *options, struct fl_err *err)
{
    int result = 0;
    if (options->listen != NULL)
        result = listen_on(control, options->listen, true, &control->port, err);
    if (result == 0 && options->listen_plaintext != NULL)
        result = listen_on(control, options->listen_plaintext, false, &control->plaintext_port, err);
    return result;
}

static int start_pages(struct control *control, const struct control_options *options, struct fl_err *err)
{
    const struct control_pages_options pages = {
        .loop = control->loop,
        .address = options->http,
        .metrics = control->metrics,
        .store = control->store,
        .proxies = control->proxies,
    };
    return options->http != NULL ? control_pages_new(&pages, &control->pages, err) : 0;
}

/* Before, a proxy would be told of a part of the cluster. */
static void on_synced(void *owner)
{
    struct control *control = owner;
    control->synced = true;
    if (control->draining)
        return;
    int result = start_listeners(control, control->options, &control->failure);
    if (result < 0)
        fl_loop_stop(control->loop, result);
    else
        say_ready(control);
}

static void say_ready(struct control *control)
{
    const struct control_options *options = control->options;
    uint64_t objects, problems;
    if (control->ready || !control->synced || !control->serving)
        return;
    count_model(control, &objects, &problems);
    control->ready = true;
    if (control->pages != NULL)
        control_pages_set_ready(control->pages, true);
    if (control->status != NULL)
        on_status(&control->status_timer);
    tell_problems(control);
    tell_trust_domain(control);
    fl_log(FL_LOG_INFO, "ready", FL_LOG_STR("source", options->source), FL_LOG_NUM("port", control->port),
           FL_LOG_NUM("plaintext_port", control->plaintext_port),
           FL_LOG_NUM("http_port", control->pages != NULL ? control_pages_port(control->pages) : 0),
           FL_LOG_NUM("objects", objects), FL_LOG_NUM("problems", problems),
           FL_LOG_STR("revision", revision_of(options)), FL_LOG_STR("version", FL_VERSION));
}

static void stop(struct control *control)
{
    fl_timer_cancel(&control->drain);
    fl_timer_cancel(&control->status_timer);
    control_pages_free(control->pages);
    fl_grpc_server_free(control->grpc);
    control_identities_free(control->identities);
    control_directory_close(control->directory);
    control_cluster_free(control->cluster);
    control_proxies_free(control->proxies);
    control_problems_unref(control->told);
    control_status_writer_close(control->status);
    control_store_free(control->store);
    fl_metrics_free(control->metrics);
    fl_signals_done(&control->signals);
    fl_loop_free(control->loop);
}

int control_run(const struct control_options *options, struct fl_err *err)
{
    struct control control = {.options = options};
    int result = start_basis(&control, err);
    if (result == 0)
        result = start_source(&control, options, err);
    if (result == 0)
        result = start_identities(&control, err);
    if (result == 0)
        result = start_servers(&control, err);
    if (result == 0)
        result = start_pages(&control, options, err);
    if (result == 0) {
        control.serving = control.identities == NULL;
        if (control.directory != NULL)
            on_synced(&control);
        result = fl_loop_run(control.loop);
        if (result < 0 && control.failure.code < 0)
            *err = control.failure;
        fl_log_message(FL_LOG_INFO, "stopped");
    }
    stop(&control);
    return result;
}
