#include "cli/check/live.h"

#include "cli/check/certificate.h"
#include "cli/check/subject.h"
#include "cli/handshake.h"
#include "cli/reach.h"

#include "common/base/base64.h"
#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>

#define PATIENCE   30 /* seconds: a pod that is younger just starts */
#define NAME_ROOM  320
#define BUNDLE_MAX (1u << 20)
#define LEFT_TOLD                                                                                                      \
    4 /* a certificate with less than a fourth of its life left should have been renewed at half of it                 \
       */
#define FORWARD_TIP "kubectl with the right to create pods/portforward in the mesh's namespace; --kubectl names one"

/* --- 303 -------------------------------------------------------------------------------------------------------- */

/* Pods of earlier charts have no such label. */
static bool is_of_revision(const struct fl_json *pod, const char *revision)
{
    struct fl_span own = cli_object_label(pod, "fairlead.io/revision");
    return own.len == 0 || fl_span_eq_str(own, revision);
}

static const struct fl_json *webhook_pod(const struct cli_world *world)
{
    const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_MESH_PODS);
    while (pod != NULL && (!fl_span_eq_str(cli_object_label(pod, "app.kubernetes.io/component"), "webhook") ||
                           !is_of_revision(pod, world->revision) || !cli_subject_is_ready(pod)))
        pod = fl_json_next(pod);
    return pod;
}

static const struct fl_json *find_hook(const struct cli_world *world)
{
    for (const struct fl_json *one = cli_world_first(world, CLI_DOCUMENT_WEBHOOKS); one != NULL;
         one = fl_json_next(one))
        if (fl_span_eq_str(cli_object_label(one, "app.kubernetes.io/component"), "webhook") &&
            fl_span_eq_str(cli_object_label(one, "app.kubernetes.io/part-of"), "fairlead") &&
            fl_span_eq_str(cli_object_label(one, "fairlead.io/revision"), world->revision))
            return fl_json_first(fl_json_get(one, "webhooks"));
    return NULL;
}

/* The container's port that is named as the chart names it. */
static uint16_t port_of(const struct fl_json *pod)
{
    int64_t number;
    for (const struct fl_json *container = fl_json_first(cli_object_at(pod, "spec.containers")); container != NULL;
         container = fl_json_next(container))
        for (const struct fl_json *port = fl_json_first(fl_json_get(container, "ports")); port != NULL;
             port = fl_json_next(port))
            if (fl_span_eq_str(fl_json_string(fl_json_get(port, "name")), "https") &&
                fl_json_int(fl_json_get(port, "containerPort"), 1, UINT16_MAX, &number))
                return (uint16_t)number;
    return 0;
}

static void judge_served(int result, int64_t from, int64_t until, const struct cli_world *world, const char *name,
                         const struct fl_err *err, struct cli_report *report)
{
    static const char hint[] =
        "the keeper renews certificate and caBundle together: see check 203 and its log; a webhook reads a "
        "changed Secret within two minutes";
    char left[CLI_LIFE_MAX];
    if (result == -EACCES)
        cli_report_find(report, CLI_CHECK_FAILED, hint, "%s serves a certificate that the caBundle is not good for: %s",
                        name, err->text);
    else if (result < 0)
        cli_report_find(report, CLI_CHECK_FAILED, hint, "no TLS with %s: %s", name, err->text);
    if (result < 0)
        return;
    cli_life_print(until - world->now, left);
    cli_report_fact(report, "ends in %s", left);
    if (until - world->now < (until - from) / LEFT_TOLD)
        cli_report_find(report, CLI_CHECK_WARNING, hint, "%s's certificate ends in %s and was not renewed", name, left);
}

static void shake(const struct cli_world *world, const struct cli_access *access, const struct fl_json *pod,
                  struct fl_span bundle, const char *name, struct cli_report *report)
{
    struct cli_forward forward = {0};
    struct fl_err err = {0};
    uint16_t port = port_of(pod);
    int64_t from = 0, until = 0;
    if (port == 0 ||
        cli_forward_open(access, cli_object_space(pod), cli_object_name(pod), &port, 1, &forward, &err) < 0) {
        cli_report_find(report, CLI_CHECK_SKIPPED, FORWARD_TIP, "the webhook cannot be asked: %s",
                        port == 0 ? "its pod names no port \"https\"" : err.text);
        return;
    }
    const struct cli_handshake how = {.roots = bundle, .name = name, .timeout_ms = access->timeout_ms};
    int result = cli_handshake(forward.base[0], &how, &from, &until, &err);
    cli_forward_close(&forward);
    judge_served(result, from, until, world, name, &err, report);
}

void cli_check_webhook_certificate(const struct cli_world *world, const struct cli_access *access,
                                   struct cli_report *report)
{
    const struct fl_json *pod = webhook_pod(world), *hook = find_hook(world);
    struct fl_span text = fl_json_string(cli_object_at(hook, "clientConfig.caBundle"));
    char name[NAME_ROOM];
    struct fl_buf pem;
    cli_report_begin(report, CLI_CHECK_WEBHOOK_CERTIFICATE);
    if (pod == NULL || text.len == 0) {
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "%s",
                        pod == NULL ? "no pod of the webhook is ready" : "there is no caBundle (check 207)");
        return;
    }
    (void)snprintf(name, sizeof(name), "%.*s.%.*s.svc",
                   FL_SPAN_ARG(fl_json_string(cli_object_at(hook, "clientConfig.service.name"))),
                   FL_SPAN_ARG(fl_json_string(cli_object_at(hook, "clientConfig.service.namespace"))));
    fl_buf_init(&pem, BUNDLE_MAX);
    if (cli_object_at(hook, "clientConfig.service") == NULL)
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL,
                        "the webhook is asked by URL, which may not be reachable from here");
    else if (fl_base64_decode(text, &pem) < 0)
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "the caBundle cannot be read (check 207)");
    else
        shake(world, access, pod, fl_buf_span(&pem), name, report);
    fl_buf_done(&pem);
}

/* --- 304, 404 --------------------------------------------------------------------------------------------------- */

struct fl_json *cli_check_ask_proxies(const struct cli_world *world, struct cli_cluster *cluster,
                                      const struct cli_access *access, struct fl_err *err)
{
    struct cli_control_pages pages;
    struct fl_json *proxies = NULL;
    size_t silent = 0;
    if (cli_reach_controls(cluster, access, world->mesh, world->revision, "/debug/proxies", &pages, err) < 0)
        return NULL;
    for (size_t i = 0; i < pages.count; i++)
        if (pages.items[i].page == NULL) {
            silent++;
            *err = pages.items[i].err;
        }
    if (pages.count == 0)
        (void)fl_err_set(err, -ENOENT, "no replica of the control plane runs");
    else if (silent == 0) /* without one of them, who is not connected cannot be told */
        proxies = cli_control_pages_proxies(&pages);
    cli_control_pages_done(&pages);
    return proxies;
}

static const struct fl_json *proxy_of(const struct fl_json *proxies, const struct fl_json *pod)
{
    const struct fl_json *one = fl_json_first(fl_json_get(proxies, "proxies"));
    struct fl_span gateway = cli_subject_gateway(pod), name = gateway.data != NULL ? gateway : cli_object_name(pod);
    while (one != NULL && (!fl_span_eq(fl_json_string(fl_json_get(one, "name")), name) ||
                           !fl_span_eq(fl_json_string(fl_json_get(one, "namespace")), cli_object_space(pod))))
        one = fl_json_next(one);
    return one;
}

static void judge_certificate(const struct cli_world *world, const struct fl_json *pod, const struct fl_json *proxy,
                              int64_t *shortest, struct cli_report *report)
{
    static const char hint[] = "kubectl logs -c " FL_CONTAINER_NAME " says why it was not renewed; see check 204";
    int64_t from, until, now = world->now;
    char left[CLI_LIFE_MAX];
    if (!fl_json_int(cli_object_at(proxy, "certificate.not_before"), 0, INT64_MAX, &from) ||
        !fl_json_int(cli_object_at(proxy, "certificate.not_after"), 0, INT64_MAX, &until))
        return;
    *shortest = until - now < *shortest ? until - now : *shortest;
    cli_life_print(until - now, left);
    if (until <= now)
        cli_report_find(report, CLI_CHECK_FAILED, hint, "%.*s/%.*s: its certificate ended %s",
                        FL_SPAN_ARG(cli_object_space(pod)), FL_SPAN_ARG(cli_object_name(pod)), left);
    else if (until - now < (until - from) / LEFT_TOLD)
        cli_report_find(report, CLI_CHECK_WARNING, hint, "%.*s/%.*s: its certificate ends in %s",
                        FL_SPAN_ARG(cli_object_space(pod)), FL_SPAN_ARG(cli_object_name(pod)), left);
}

/* Alone where the proxies are not known: says so. */
static bool has(const struct fl_json *proxies, const struct fl_err *err, struct cli_report *report)
{
    if (proxies == NULL)
        cli_report_find(report, CLI_CHECK_SKIPPED, FORWARD_TIP, "the control plane cannot be asked: %s", err->text);
    return proxies != NULL;
}

void cli_check_certificates(const struct cli_world *world, const struct fl_json *proxies, const struct fl_err *err,
                            struct cli_report *report)
{
    int64_t shortest = INT64_MAX;
    char left[CLI_LIFE_MAX];
    cli_report_begin(report, CLI_CHECK_POD_CERTIFICATE);
    if (!has(proxies, err, report))
        return;
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod)) {
        const struct fl_json *proxy = cli_subject_is_wanted(world, pod) ? proxy_of(proxies, pod) : NULL;
        if (proxy != NULL)
            judge_certificate(world, pod, proxy, &shortest, report);
    }
    if (shortest < INT64_MAX) {
        cli_life_print(shortest, left);
        cli_report_fact(report, "the first ends in %s", left);
    }
}

static struct fl_span refusal_of(const struct fl_json *proxy)
{
    for (const struct fl_json *type = fl_json_first(fl_json_get(proxy, "types")); type != NULL;
         type = fl_json_next(type))
        if (fl_json_string(fl_json_get(type, "reason")).len > 0)
            return fl_json_string(fl_json_get(type, "reason"));
    return (struct fl_span){NULL, 0};
}

static void judge_connection(const struct fl_json *pod, const struct fl_json *proxy, size_t *connected,
                             struct cli_report *report)
{
    struct fl_span space = cli_object_space(pod), name = cli_object_name(pod), refusal = refusal_of(proxy);
    if (proxy == NULL)
        cli_report_find(
            report, CLI_CHECK_FAILED,
            "kubectl logs -c " FL_CONTAINER_NAME " says what its connection fails for; see checks 302, 305, 501",
            "%.*s/%.*s is not connected to any replica of the control plane: it works on with what it was told last",
            FL_SPAN_ARG(space), FL_SPAN_ARG(name));
    else if (refusal.len > 0)
        cli_report_find(report, CLI_CHECK_FAILED,
                        "fairlead status; an object may ask for more than this proxy's version knows: see check 209",
                        "%.*s/%.*s refuses what it is told: %.*s", FL_SPAN_ARG(space), FL_SPAN_ARG(name),
                        FL_SPAN_ARG(refusal));
    else if (!fl_json_bool(fl_json_get(proxy, "in_sync")))
        cli_report_find(report, CLI_CHECK_WARNING, "ask again in a second; fairlead status tells which kind is missing",
                        "%.*s/%.*s has not yet acknowledged all that it was told", FL_SPAN_ARG(space),
                        FL_SPAN_ARG(name));
    *connected += proxy != NULL;
}

void cli_check_connected(const struct cli_world *world, const struct fl_json *proxies, const struct fl_err *err,
                         struct cli_report *report)
{
    size_t connected = 0, all = 0, young = 0;
    cli_report_begin(report, CLI_CHECK_CONNECTED);
    if (!cli_check_has(world, CLI_DOCUMENT_PODS, report) || !has(proxies, err, report))
        return;
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod)) {
        if (!cli_subject_is_wanted(world, pod) || cli_subject_sidecar(pod) == NULL || !cli_subject_is_proven(pod))
            continue;
        if (cli_subject_age(world, pod) < PATIENCE) {
            young++;
            continue;
        }
        all++;
        judge_connection(pod, proxy_of(proxies, pod), &connected, report);
    }
    if (young > 0)
        cli_report_fact(report, "%zu of %zu; %zu not looked at, younger than %d s", connected, all, young, PATIENCE);
    else
        cli_report_fact(report, "%zu of %zu", connected, all);
}
