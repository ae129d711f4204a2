#include "control/ca/authority.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/loop/timer.h"
#include "common/mesh/identity.h"
#include "common/metrics/registry.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "control/ca/root.h"
#include "control/ca/watch.h"

#include <errno.h>

#define SERVER_RETRY_MS 5000
#define TIMER_MAX_S     86400 /* of a plan that is further away than this only a part is waited for */

static const struct fl_metric_family up_family = {
    .name = "fairlead_ca_issuer_up", .help = "1: the issuer is ready.", .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family failures_family = {.name = "fairlead_ca_issuer_failures_total",
                                                        .help = "Issuers that did not start, died or did not answer.",
                                                        .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family issuer_expiry_family = {.name = "fairlead_ca_issuer_expiry_timestamp_seconds",
                                                             .help = "When the issuing certificate expires.",
                                                             .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family server_expiry_family = {.name = "fairlead_ca_server_expiry_timestamp_seconds",
                                                             .help = "When our own server certificate expires.",
                                                             .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family isolated_family = {
    .name = "fairlead_ca_issuer_isolated",
    .help = "1: the issuer has a network namespace of its own; 0: seccomp alone keeps it off the network.",
    .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family roots_family = {
    .name = "fairlead_ca_roots", .help = "Roots in the trust bundle.", .kind = FL_METRIC_GAUGE};

struct control_authority {
    struct fl_loop *loop;
    struct control_issuer *issuer;
    struct control_watch *watch;
    char *trust_domain, *bundle_file;
    uint32_t validity_s;
    bool serves; /* it has names, so it has a server certificate */
    struct fl_buf pem;
    struct fl_bundle *bundle;     /* NULL: not ready yet */
    struct fl_key *key, *new_key; /* of the server certificate, and of the one that is asked for */
    struct fl_cert *cert;
    struct control_issue asked;
    struct fl_timer renewal; /* of the server certificate */
    struct fl_timer change;  /* another root is to issue */
    time_t changes;
    void (*on_serving)(void *owner, struct fl_cert *cert, struct fl_key *key, struct fl_bundle *bundle);
    void *owner;
    struct fl_gauge *up, *isolated, *issuer_expiry, *server_expiry, *roots;
    struct fl_counter *failures;
};

/* --- the server certificate --- */

static void request_server(struct control_authority *authority);

static void on_renewal(struct fl_timer *timer)
{
    request_server(FL_CONTAINER_OF(timer, struct control_authority, renewal));
}

static void serve(struct control_authority *authority)
{
    authority->on_serving(authority->owner, authority->cert, authority->key, authority->bundle);
}

static int take_server(struct control_authority *authority, const struct control_issued *issued, struct fl_err *err)
{
    struct fl_cert *cert;
    int result = fl_cert_parse(issued->chain, &cert, err);
    if (result < 0)
        return result;
    fl_cert_unref(authority->cert);
    fl_key_unref(authority->key);
    authority->cert = cert;
    authority->key = fl_take(authority->new_key);
    int64_t life_s = issued->not_after - time(NULL);
    fl_timer_set(authority->loop, &authority->renewal, life_s > 2 ? (uint64_t)life_s * 500 : 1000, on_renewal);
    fl_gauge_set(authority->server_expiry, (double)issued->not_after);
    fl_log(FL_LOG_INFO, "server certificate issued", FL_LOG_SPAN("serial", issued->serial),
           FL_LOG_NUM("not_after", issued->not_after));
    return 0;
}

static void on_server_issued(struct control_issue *issue, enum control_issue_outcome outcome,
                             const struct control_issued *issued, const char *reason)
{
    struct control_authority *authority = FL_CONTAINER_OF(issue, struct control_authority, asked);
    struct fl_err err = {0};
    if (outcome == CONTROL_ISSUE_OK && take_server(authority, issued, &err) == 0) {
        serve(authority);
        return;
    }
    authority->new_key = fl_key_unref(authority->new_key);
    fl_log(FL_LOG_ERROR, "no server certificate",
           FL_LOG_STR("reason", outcome == CONTROL_ISSUE_OK ? err.text : reason));
    fl_timer_set(authority->loop, &authority->renewal, SERVER_RETRY_MS, on_renewal);
}

static void request_server(struct control_authority *authority)
{
    struct fl_err err = {0};
    control_issuer_cancel(&authority->asked);
    authority->new_key = fl_key_unref(authority->new_key);
    if (fl_key_generate(&authority->new_key, &err) < 0) {
        fl_log(FL_LOG_ERROR, "no server certificate", FL_LOG_STR("reason", err.text));
        fl_timer_set(authority->loop, &authority->renewal, SERVER_RETRY_MS, on_renewal);
        return;
    }
    authority->asked.on_done = on_server_issued;
    control_issuer_server(authority->issuer, &authority->asked, authority->new_key);
}

/* --- the issuer and its folder --- */

static void write_bundle_file(struct control_authority *authority)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf there;
    struct fl_err err = {0};
    fl_buf_init(&there, CONTROL_ROOT_BUNDLE_MAX);
    if (authority->bundle_file == NULL || (fl_buf_read_file(&there, authority->bundle_file) == 0 &&
                                           fl_span_eq(fl_buf_span(&there), fl_buf_span(&authority->pem))))
        return;
    if (fl_file_write(authority->bundle_file, fl_buf_span(&authority->pem), 0644, false, &err) < 0)
        fl_log(FL_LOG_ERROR, "trust bundle not written", FL_LOG_STR("reason", err.text));
}

static int take_bundle(struct control_authority *authority, struct fl_span pem, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf copy;
    struct fl_bundle *bundle;
    fl_buf_init(&copy, CONTROL_ROOT_BUNDLE_MAX);
    int result = fl_buf_append(&copy, pem);
    if (result < 0)
        return fl_err_errno(err, result, "trust bundle");
    result = fl_bundle_parse(pem, &bundle, err);
    if (result < 0)
        return result;
    fl_bundle_unref(authority->bundle);
    fl_buf_done(&authority->pem);
    authority->bundle = bundle;
    authority->pem = copy;
    copy = (struct fl_buf){0};
    return 0;
}

static void on_change_due(struct fl_timer *timer);

/* A far plan is waited for in parts, so that a clock that is set meanwhile is noticed within a day. */
static void plan_change(struct control_authority *authority)
{
    int64_t wait = authority->changes - time(NULL) + 1;
    if (authority->changes == 0)
        fl_timer_cancel(&authority->change);
    else
        fl_timer_set(authority->loop, &authority->change,
                     wait <= 0 ? 1000 : (uint64_t)(wait < TIMER_MAX_S ? wait : TIMER_MAX_S) * 1000, on_change_due);
}

static void on_change_due(struct fl_timer *timer)
{
    struct control_authority *authority = FL_CONTAINER_OF(timer, struct control_authority, change);
    if (time(NULL) >= authority->changes)
        control_issuer_reload(authority->issuer);
    else
        plan_change(authority);
}

static void look(struct control_authority *authority)
{
    int result = authority->watch != NULL ? control_watch_look(authority->watch) : 0;
    if (result < 0)
        fl_log(FL_LOG_WARNING, "changes of the ca folder are not noticed", FL_LOG_STR("reason", strerror(-result)));
}

/* A namespace needs a privilege that a container may not have. */
static void tell_isolation(struct control_authority *authority, bool isolated)
{
    fl_gauge_set(authority->isolated, isolated ? 1 : 0);
    if (isolated)
        fl_log_message(FL_LOG_INFO, "the issuer has no network");
    else
        fl_log_message(FL_LOG_WARNING, "the issuer has no network namespace of its own: seccomp alone keeps it off");
}

static void on_ready(void *owner, const struct control_issuer_standing *standing)
{
    struct control_authority *authority = owner;
    struct fl_err err = {0};
    if (authority->watch != NULL && !control_watch_any(authority->watch))
        look(authority); /* the child has made the first root */
    if (take_bundle(authority, standing->bundle, &err) < 0) {
        fl_log(FL_LOG_ERROR, "trust bundle refused", FL_LOG_STR("reason", err.text));
        return;
    }
    authority->changes = standing->changes;
    fl_gauge_set(authority->up, 1);
    fl_gauge_set(authority->roots, (double)fl_bundle_count(authority->bundle));
    fl_gauge_set(authority->issuer_expiry, (double)standing->not_after);
    fl_log(FL_LOG_INFO, "issuer ready", FL_LOG_NUM("roots", fl_bundle_count(authority->bundle)),
           FL_LOG_NUM("not_after", standing->not_after), FL_LOG_NUM("changes", standing->changes));
    tell_isolation(authority, standing->isolated);
    write_bundle_file(authority);
    plan_change(authority);
    if (authority->serves)
        request_server(authority);
    else
        serve(authority);
}

static void on_trouble(void *owner, const char *reason)
{
    struct control_authority *authority = owner;
    bool ready = control_issuer_is_ready(authority->issuer);
    fl_counter_add(authority->failures, 1);
    fl_gauge_set(authority->up, ready ? 1 : 0);
    fl_log(FL_LOG_ERROR, ready ? "new issuer refused, the old one stays" : "issuer gone", FL_LOG_STR("reason", reason));
}

static void on_files_changed(void *owner)
{
    struct control_authority *authority = owner;
    fl_log_message(FL_LOG_INFO, "the ca folder has changed");
    control_issuer_reload(authority->issuer);
}

void control_authority_reload(struct control_authority *authority)
{
    look(authority);
    control_issuer_reload(authority->issuer);
}

/* --- making it --- */

static int set_up(struct control_authority *authority, const struct control_authority_options *options,
                  struct fl_err *err)
{
    authority->trust_domain = strdup(options->trust_domain != NULL ? options->trust_domain : FL_TRUST_DOMAIN_DEFAULT);
    authority->bundle_file = options->bundle_file != NULL ? strdup(options->bundle_file) : NULL;
    if (authority->trust_domain == NULL || (authority->bundle_file == NULL && options->bundle_file != NULL))
        return fl_err_set(err, -ENOMEM, "the certificate authority: out of memory");
    const struct control_issuer_options for_issuer = {.loop = options->loop,
                                                      .program = options->program,
                                                      .folder = options->folder,
                                                      .given = options->given,
                                                      .stored = options->stored,
                                                      .trust_domain = authority->trust_domain,
                                                      .server_names = options->server_names,
                                                      .validity_s = authority->validity_s,
                                                      .overlap_s = options->overlap_s > 0 ? options->overlap_s
                                                                                          : authority->validity_s,
                                                      .on_ready = on_ready,
                                                      .on_trouble = on_trouble,
                                                      .owner = authority};
    if (options->stored)
        return control_issuer_new(&for_issuer, &authority->issuer, err);
    int result = control_watch_new(
        options->loop, options->folder, options->given ? control_given_files : control_root_files,
        options->given ? CONTROL_GIVEN_FILES : CONTROL_ROOTS_MAX, on_files_changed, authority, &authority->watch);
    if (result < 0)
        return fl_err_set(err, result, "the certificate authority: out of memory");
    look(authority);
    return control_issuer_new(&for_issuer, &authority->issuer, err);
}

static void set_up_metrics(struct control_authority *authority, struct fl_metrics *metrics)
{
    authority->up = fl_metrics_gauge(metrics, &up_family, NULL);
    authority->isolated = fl_metrics_gauge(metrics, &isolated_family, NULL);
    authority->roots = fl_metrics_gauge(metrics, &roots_family, NULL);
    authority->issuer_expiry = fl_metrics_gauge(metrics, &issuer_expiry_family, NULL);
    authority->server_expiry = fl_metrics_gauge(metrics, &server_expiry_family, NULL);
    authority->failures = fl_metrics_counter(metrics, &failures_family, NULL);
}

int control_authority_new(const struct control_authority_options *options, struct control_authority **ret_authority,
                          struct fl_err *err)
{
    if (options->validity_s > CONTROL_VALIDITY_MAX_S)
        return fl_err_set(err, -EINVAL, "a certificate's validity of more than %d seconds", CONTROL_VALIDITY_MAX_S);
    struct control_authority *authority = calloc(1, sizeof(*authority));
    if (authority == NULL)
        return fl_err_set(err, -ENOMEM, "the certificate authority: out of memory");
    *authority =
        (struct control_authority){.loop = options->loop,
                                   .validity_s = options->validity_s > 0 ? options->validity_s : CONTROL_VALIDITY_S,
                                   .serves = options->server_names != NULL && options->server_names[0] != NULL,
                                   .on_serving = options->on_serving,
                                   .owner = options->owner};
    set_up_metrics(authority, options->metrics);
    int result = set_up(authority, options, err);
    if (result < 0)
        control_authority_free(authority);
    else
        *ret_authority = authority;
    return result;
}

struct control_authority *control_authority_free(struct control_authority *authority)
{
    if (authority == NULL)
        return NULL;
    control_issuer_cancel(&authority->asked);
    control_issuer_free(authority->issuer);
    control_watch_free(authority->watch);
    fl_timer_cancel(&authority->renewal);
    fl_timer_cancel(&authority->change);
    fl_key_unref(authority->key);
    fl_key_unref(authority->new_key);
    fl_cert_unref(authority->cert);
    fl_bundle_unref(authority->bundle);
    fl_buf_done(&authority->pem);
    free(authority->trust_domain);
    free(authority->bundle_file);
    free(authority);
    return NULL;
}

struct control_issuer *control_authority_issuer(struct control_authority *authority)
{
    return authority->issuer;
}

struct fl_span control_authority_bundle(const struct control_authority *authority)
{
    return fl_buf_span(&authority->pem);
}

uint32_t control_authority_validity(const struct control_authority *authority)
{
    return authority->validity_s;
}

const char *control_authority_trust_domain(const struct control_authority *authority)
{
    return authority->trust_domain;
}
