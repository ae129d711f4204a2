#include "webhook/server.h"

#include "common/base/log.h"
#include "common/doc/region.h"
#include "common/http/server.h"
#include "common/kube/kubeconfig.h"
#include "common/loop/signal.h"
#include "common/loop/timer.h"
#include "common/metrics/expose.h"
#include "webhook/live.h"
#include "webhook/lookup.h"
#include "webhook/request.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define CLOSE_EVERY       1000 /* answers: so that a balancer in front of several replicas can spread connections anew */
#define IDLE_LOOK_MS      10
#define INVALID_LINES_MAX 10 /* log lines a second for requests that are no reviews: anybody can send those */

struct server {
    struct fl_loop *loop;
    struct fl_http_server *http;
    struct fl_signals signals;
    struct fl_timer look, drain;
    struct webhook_live live;
    struct webhook_lookup *lookup; /* NULL: namespaces are a file's */
    struct webhook_stats stats;
    struct fl_region region; /* of the values of the review that is under way */
    unsigned drain_delay;
    bool draining, closed; /* closed: the listener is, too */
    uint64_t drain_end_ms;
    unsigned answers;
    time_t invalid_second;
    unsigned invalid_lines;
};

/* ---- Requests ---- */

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static enum fl_log_level level_of(struct server *server, enum webhook_outcome outcome)
{
    if (outcome == WEBHOOK_SKIPPED || outcome == WEBHOOK_UNCHANGED)
        return FL_LOG_DEBUG;
    if (outcome != WEBHOOK_INVALID)
        return FL_LOG_INFO;
    time_t now = time(NULL);
    if (now != server->invalid_second) {
        server->invalid_second = now;
        server->invalid_lines = 0;
    }
    return server->invalid_lines++ < INVALID_LINES_MAX ? FL_LOG_WARNING : FL_LOG_DEBUG;
}

/* One line a decision; members that would be empty are left out. */
static void tell(struct server *server, const struct webhook_verdict_report *report, uint64_t nanoseconds)
{
    webhook_stats_request(&server->stats, report->outcome, report->reason, (double)nanoseconds / 1e9);
    enum fl_log_level level = level_of(server, report->outcome);
    if (level > fl_log_get_level())
        return;
    struct fl_log_field fields[10];
    const struct fl_log_field texts[] = {
        FL_LOG_STR("reason", webhook_reason_word(report->reason)),
        FL_LOG_STR("namespace", report->name_space),
        FL_LOG_STR("pod", report->name),
        FL_LOG_STR("workload", report->workload),
        FL_LOG_STR("uid", report->uid),
        FL_LOG_STR("error", report->err.text),
    };
    size_t count = 0;
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        if (texts[i].text.len > 0)
            fields[count++] = texts[i];
    }
    if (report->warnings.count > 0)
        fields[count++] = FL_LOG_NUM("warnings", report->warnings.count);
    if (report->operations > 0)
        fields[count++] = FL_LOG_NUM("operations", report->operations);
    fields[count++] = FL_LOG_NUM("microseconds", nanoseconds / 1000);
    fl_log_write(level, webhook_outcome_word(report->outcome), fields, count);
}

static void say(struct fl_http_response *response, unsigned status, const char *text)
{
    response->status = status;
    response->content_type = "text/plain; charset=utf-8";
    fl_buf_clear(&response->body);
    if (fl_buf_append_str(&response->body, text) < 0)
        fl_buf_clear(&response->body); /* the status alone tells then */
}

static struct webhook_context context_of(const struct server *server)
{
    return (struct webhook_context){
        .config = server->live.config,
        .namespaces = server->lookup != NULL ? webhook_lookup_namespaces(server->lookup) : server->live.namespaces,
    };
}

static void review_once(struct server *server, const struct webhook_context *context, struct fl_span body,
                        struct fl_buf *out, struct webhook_verdict_report *ret_report)
{
    fl_region_enter(&server->region);
    webhook_review(context, body, out, ret_report);
    fl_region_leave(&server->region);
}

/* The answer is in response->body already. */
static void finish(struct server *server, const struct webhook_verdict_report *report,
                   struct fl_http_response *response, uint64_t begin)
{
    response->status = report->status;
    if (report->status != 200)
        response->content_type = "text/plain; charset=utf-8";
    tell(server, report, clock_ns() - begin);
}

struct held { /* an admission that waits for its namespace */
    struct webhook_wait wait;
    struct server *server;
    struct fl_http_deferred *deferred;
    uint64_t begin;
};

static void on_namespace(struct webhook_wait *wait, const struct fl_err *err)
{
    struct held *held = FL_CONTAINER_OF(wait, struct held, wait);
    struct server *server = held->server;
    struct webhook_verdict_report report;
    struct webhook_context context = context_of(server);
    struct fl_http_response *response = fl_http_deferred_response(held->deferred);
    context.unreachable = err;
    response->close = server->draining;
    review_once(server, &context, fl_http_deferred_request(held->deferred)->body, &response->body, &report);
    finish(server, &report, response, held->begin);
    fl_http_deferred_send(held->deferred);
    free(held);
}

static void on_held_gone(void *owner)
{
    struct held *held = owner;
    webhook_lookup_forget(&held->wait);
    free(held);
}

/* 0: it will be answered; or negative, with the reason. */
static int hold(struct server *server, const struct fl_http_request *request, struct fl_span name_space, uint64_t begin,
                struct fl_err *err)
{
    struct held *held = calloc(1, sizeof(*held));
    if (held == NULL)
        return fl_err_errno(err, -ENOMEM, "admission");
    *held = (struct held){.wait = {.done = on_namespace}, .server = server, .begin = begin};
    int result = webhook_lookup_ask(server->lookup, name_space, &held->wait, err);
    if (result == 0 && (held->deferred = fl_http_request_defer(request, on_held_gone, held)) == NULL) {
        result = fl_err_set(err, -EBUSY, "too many admissions wait for their namespaces");
        webhook_lookup_forget(&held->wait);
    }
    if (result < 0)
        free(held);
    return result;
}

/* False: the answer comes later. */
static bool review(struct server *server, const struct fl_http_request *request, struct fl_http_response *response,
                   struct webhook_verdict_report *report, uint64_t begin)
{
    struct webhook_context context = context_of(server);
    struct fl_err err = {0};
    context.stale = server->lookup != NULL;
    review_once(server, &context, request->body, &response->body, report);
    if (!report->ask)
        return true;
    if (hold(server, request, fl_span_str(report->name_space), begin, &err) == 0)
        return false;
    context.stale = false;
    context.unreachable = &err;
    review_once(server, &context, request->body, &response->body, report);
    return true;
}

static void inject(struct server *server, const struct fl_http_request *request, struct fl_http_response *response)
{
    uint64_t begin = clock_ns();
    struct webhook_verdict_report report = {.outcome = WEBHOOK_INVALID, .reason = WEBHOOK_REASON_CONTENT_TYPE};
    if (!webhook_content_type_ok(request->content_type)) {
        report.status = webhook_reason_code(report.reason);
        fl_err_set(&report.err, -EINVAL, "the content type is not application/json");
        say(response, report.status, "the content type is not application/json\n");
        tell(server, &report, clock_ns() - begin);
    } else if (review(server, request, response, &report, begin)) {
        finish(server, &report, response, begin);
        if (report.status == 200)
            fl_http_request_vouch(request); /* who sends reviews gives way after who does not */
    }
}

/* Whether the caller may ask, by what was asked for. Before the body is read: a stranger's is never held. */
static bool is_caller(struct server *server, const struct fl_http_request *request,
                      struct webhook_verdict_report *report)
{
    const struct webhook_caller *caller = &server->live.caller;
    if (caller->options.ca != NULL) {
        enum webhook_caller_result result =
            webhook_caller_certificate(caller, fl_http_request_peer(request), &report->err);
        webhook_stats_caller(&server->stats, WEBHOOK_CHECK_CERTIFICATE, result);
        report->reason = WEBHOOK_REASON_CLIENT_CERTIFICATE;
        if (result != WEBHOOK_CALLER_GOOD)
            return false;
    }
    if (caller->options.token != WEBHOOK_TOKEN_OFF) {
        enum webhook_caller_result result =
            webhook_caller_token(caller, fl_http_request_header(request, "Authorization"), time(NULL), &report->err);
        webhook_stats_caller(&server->stats, WEBHOOK_CHECK_TOKEN, result);
        report->reason = WEBHOOK_REASON_CLIENT_TOKEN;
        bool may_lack = caller->options.token == WEBHOOK_TOKEN_WHEN_PRESENT;
        if (result != WEBHOOK_CALLER_GOOD && !(may_lack && result == WEBHOOK_CALLER_MISSING))
            return false;
    }
    return true;
}

static const char inject_path[] = "/inject";

/* What may send a body, and how large others' are: nobody's but a review's is read. */
static bool head(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    struct server *server = owner;
    if (!fl_span_eq_str(request->path, inject_path) || !fl_span_eq_str(request->method, "POST"))
        return true;
    struct webhook_verdict_report report = {.outcome = WEBHOOK_INVALID};
    if (is_caller(server, request, &report)) {
        if (webhook_caller_is_asked(&server->live.caller))
            fl_http_request_vouch(request);
        return true;
    }
    char text[FL_ERR_TEXT_MAX + 2];
    snprintf(text, sizeof(text), "%s\n", report.err.text);
    report.status = webhook_reason_code(report.reason);
    say(response, report.status, text);
    response->authenticate = report.status == 401 ? "Bearer" : NULL;
    response->close = true; /* a certificate is the connection's: the next one may have another */
    tell(server, &report, 0);
    return false;
}

static void healthz(struct server *server, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)server, (void)request;
    say(response, 200, "ok\n");
}

static void readyz(struct server *server, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)request;
    const char *not_yet = server->draining ? "draining\n"
                          : server->lookup != NULL && !webhook_lookup_synced(server->lookup)
                              ? "the namespaces are not known yet\n"
                              : NULL;
    say(response, not_yet != NULL ? 503 : 200, not_yet != NULL ? not_yet : "ok\n");
}

static void metrics(struct server *server, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)request;
    response->content_type = FL_METRICS_CONTENT_TYPE;
    if (webhook_stats_expose(&server->stats, &response->body) < 0)
        say(response, 500, "memory was out\n");
}

static const struct {
    const char *method, *path;
    void (*answer)(struct server *server, const struct fl_http_request *request, struct fl_http_response *response);
} routes[] = {
    {"POST", inject_path, inject},
    {"GET", "/healthz", healthz},
    {"GET", "/readyz", readyz},
    {"GET", "/metrics", metrics},
};

/* Answered as GET; the HTTP server leaves the body out. */
static bool is_head(const struct fl_http_request *request, const char *method)
{
    return fl_span_eq_str(request->method, "HEAD") && strcmp(method, "GET") == 0;
}

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    struct server *server = owner;
    response->close = server->draining || ++server->answers % CLOSE_EVERY == 0;
    for (size_t i = 0; i < FL_COUNT(routes); i++) {
        if (!fl_span_eq_str(request->path, routes[i].path))
            continue;
        if (fl_span_eq_str(request->method, routes[i].method) || is_head(request, routes[i].method)) {
            routes[i].answer(server, request, response);
        } else {
            response->allow = routes[i].method;
            say(response, 405, "the method is not allowed here\n");
        }
        return;
    }
    say(response, 404, "there is nothing here\n");
}

/* ---- Signals, timers, drain ---- */

static void on_look(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, look);
    webhook_live_look(&server->live, false);
    fl_timer_set(server->loop, timer, WEBHOOK_POLL_MILLISECONDS, on_look);
}

static void on_drain(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, drain);
    uint64_t now = fl_loop_now_ms(server->loop);
    if (!server->closed) {
        fl_http_server_drain(server->http);
        server->closed = true;
        server->drain_end_ms = now + WEBHOOK_DRAIN_SECONDS * 1000;
    }
    if (fl_http_server_idle(server->http) || now >= server->drain_end_ms)
        fl_loop_stop(server->loop, 0);
    else
        fl_timer_set(server->loop, timer, IDLE_LOOK_MS, on_drain);
}

static void on_signal(struct fl_signals *signals, int number)
{
    struct server *server = FL_CONTAINER_OF(signals, struct server, signals);
    if (number == SIGHUP) {
        webhook_live_look(&server->live, true);
        return;
    }
    if (server->draining)
        return;
    fl_log(FL_LOG_INFO, "draining", FL_LOG_NUM("signal", number), FL_LOG_NUM("delay", server->drain_delay));
    server->draining = true;
    fl_timer_set(server->loop, &server->drain, (uint64_t)server->drain_delay * 1000, on_drain);
}

/* ---- Life ---- */

static int use_certificate(void *owner, struct fl_span cert_pem, struct fl_span key_pem, struct fl_err *err)
{
    struct server *server = owner;
    return fl_http_server_set_certificate(server->http, cert_pem, key_pem, err);
}

static int use_client_roots(void *owner, struct fl_span pem, struct fl_err *err)
{
    struct server *server = owner;
    return fl_http_server_set_client_roots(server->http, pem, err);
}

/* What the HTTP server answered by itself counts and is logged as any other request that is no review. */
static void refused(void *owner, unsigned status, const char *text)
{
    struct webhook_verdict_report report = {
        .outcome = WEBHOOK_INVALID,
        .reason = status == 413 ? WEBHOOK_REASON_TOO_LARGE : WEBHOOK_REASON_LENGTH,
        .status = status,
    };
    fl_err_set(&report.err, -EINVAL, "%s", text);
    tell(owner, &report, 0);
}

static int listen_on(struct server *server, const char *address, struct fl_err *err)
{
    const struct fl_http_server_options options = {
        .address = fl_span_str(address),
        .cert_pem = fl_buf_span(&server->live.serving.cert.text),
        .key_pem = fl_buf_span(&server->live.serving.key.text),
        .body_max = WEBHOOK_REVIEW_MAX,
        .response_max = WEBHOOK_RESPONSE_MAX,
        .connections_max = WEBHOOK_CONNECTIONS_MAX,
        .connections_per_address = WEBHOOK_CONNECTIONS_MAX, /* API servers behind one address are one client */
        .idle_seconds = WEBHOOK_IDLE_SECONDS,
        .deferred_max = WEBHOOK_DEFERRED_MAX,
        .client_roots_pem = fl_buf_span(&server->live.caller.ca_file.text),
        .head = head,
        .handle = handle,
        .refused = refused,
        .owner = server,
    };
    int result = fl_http_server_new(server->loop, &options, &server->http, err);
    if (result < 0)
        fl_err_prefix(err, "listen on %s", address);
    return result;
}

static int start_lookup(struct server *server, const struct webhook_options *options, struct fl_err *err)
{
    struct fl_kube_access access = {0};
    if (options->namespaces != NULL)
        return 0;
    int result = fl_kube_locate(options->kubeconfig, options->context, &access, err);
    if (result < 0)
        return result;
    if (access.insecure)
        fl_log(FL_LOG_WARNING, "the API server's certificate is not verified",
               FL_LOG_STR("kubeconfig", options->kubeconfig));
    return webhook_lookup_new(server->loop, &server->stats, &access, &server->lookup, err);
}

static int start(struct server *server, const struct webhook_options *options, struct fl_err *err)
{
    int result = webhook_stats_init(&server->stats);
    if (result == 0)
        result = fl_loop_new(&server->loop);
    if (result == 0)
        result = fl_signals_init(&server->signals, server->loop, (const int[]){SIGTERM, SIGINT, SIGHUP, 0}, on_signal);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    result = webhook_live_init(&server->live, &server->stats, options->config, options->namespaces, options->cert,
                               options->key, &options->caller, err);
    if (result < 0)
        return result;
    server->live.use_certificate = use_certificate;
    server->live.use_client_roots = use_client_roots;
    server->live.owner = server;
    server->drain_delay = options->drain_delay;
    result = start_lookup(server, options, err);
    if (result < 0)
        return result;
    return listen_on(server, options->listen, err);
}

static void stop(struct server *server)
{
    fl_timer_cancel(&server->look);
    fl_timer_cancel(&server->drain);
    fl_http_server_free(server->http); /* before the lookup: who waits there is forgotten */
    webhook_lookup_free(server->lookup);
    webhook_live_done(&server->live);
    fl_signals_done(&server->signals);
    fl_loop_free(server->loop);
    webhook_stats_done(&server->stats);
    fl_region_done(&server->region);
}

int webhook_server_run(const struct webhook_options *options, struct fl_err *err)
{
    struct server server = {.drain_delay = 0};
    int result = start(&server, options, err);
    if (result == 0) {
        fl_log(FL_LOG_INFO, "ready", FL_LOG_STR("listen", options->listen),
               FL_LOG_NUM("port", fl_http_server_port(server.http)),
               FL_LOG_NUM("namespaces", webhook_namespaces_count(server.live.namespaces)),
               FL_LOG_SPAN("revision", server.live.config->revision), FL_LOG_STR("version", FL_VERSION));
        fl_timer_set(server.loop, &server.look, WEBHOOK_POLL_MILLISECONDS, on_look);
        result = fl_loop_run(server.loop);
        fl_log_message(FL_LOG_INFO, "stopped");
    }
    stop(&server);
    return result;
}
