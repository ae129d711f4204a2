/* Which page answers what, on which port. */
#include "proxy/admin/admin.h"

#include "common/base/log.h"
#include "common/mesh/port.h"
#include "common/metrics/expose.h"
#include "proxy/admin/appprobes.h"
#include "proxy/admin/appscrape.h"
#include "proxy/admin/dump.h"
#include "proxy/admin/guard.h"
#include "proxy/admin/pages.h"
#include "proxy/admin/serving.h"
#include "proxy/admin/slices.h"
#include "proxy/admin/startwait.h"
#include "proxy/config/podapp.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum port_kind { PORT_ADMIN, PORT_STATS, PORT_MERGED, PORT_HEALTH, PORTS };

struct port {
    struct proxy_admin *admin;
    enum port_kind kind;
    struct proxy_serving *serving; /* NULL: not open */
};

struct proxy_admin {
    struct proxy_admin_options options;
    struct proxy_admin_host host;
    struct port ports[PORTS];
    size_t held;
    uint64_t start_ms;
    struct proxy_appprobes *probes; /* NULL: the pod has none */
    struct proxy_appscrape *scrape; /* the same of metrics */
    struct proxy_slices *slices;
    struct proxy_startwait *startwait;
    struct proxy_admin_drain drain_how; /* as asked last */
};

typedef int (*page_function)(struct proxy_admin *admin, const struct proxy_message *request,
                             struct proxy_answer *answer);

struct row {
    const char *path, *help;
    unsigned ports; /* bits of 1 << port_kind */
    bool changes;   /* POST alone */
    bool both;      /* GET tells, POST changes */
    page_function page;
    const char *content_type;
};

#define JSON "application/json"

static enum proxy_gate_state gate_state(const struct proxy_admin *admin)
{
    return admin->options.gate != NULL ? proxy_gate_state(admin->options.gate) : PROXY_GATE_OFF;
}

/* -- pages -- */

static int page_help(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer);

static int page_ready(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)request;
    enum proxy_server_state state = admin->host.state(admin->host.owner);
    char waits[512];
    answer->status = state == PROXY_SERVER_LIVE ? 200 : 503;
    if (state == PROXY_SERVER_INITIALIZING && admin->host.waits != NULL &&
        admin->host.waits(admin->host.owner, waits, sizeof(waits)))
        return fl_buf_printf(&answer->body, "%s: waits for %s\n", proxy_server_state_name(state), waits);
    return fl_buf_printf(&answer->body, "%s\n", proxy_server_state_name(state));
}

static bool has_started(const struct proxy_admin *admin)
{
    return admin->host.state(admin->host.owner) != PROXY_SERVER_INITIALIZING && proxy_gate_is_open(admin->options.gate);
}

static int tell_started(void *owner, struct proxy_answer *answer)
{
    struct proxy_admin *admin = owner;
    bool started = has_started(admin);
    answer->status = started ? 200 : 503;
    if (!started && proxy_gate_is_open(admin->options.gate))
        return page_ready(admin, NULL, answer);
    return fl_buf_printf(&answer->body, "start gate: %s\n", proxy_gate_state_name(gate_state(admin)));
}

static int page_started(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)request;
    return has_started(admin) ? tell_started(admin, answer) : proxy_startwait_begin(admin->startwait, answer);
}

static int page_health(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    if (!proxy_gate_is_open(admin->options.gate))
        return tell_started(admin, answer);
    return page_ready(admin, request, answer);
}

static int print_stats(void *owner, struct fl_buf *out)
{
    struct proxy_admin *admin = owner;
    struct fl_metrics *registries[PROXY_ADMIN_REGISTRIES_MAX];
    size_t count = admin->host.registries(admin->host.owner, registries, FL_COUNT(registries));
    return fl_metrics_expose(registries, count, out);
}

static int page_stats(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)request;
    return print_stats(admin, &answer->body);
}

/* Envoy's text form, or with ?format=prometheus the other one. */
static int page_stats_text(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    struct fl_span query = proxy_message_query(request), format = proxy_query_get(query, "format");
    struct fl_buf exposed;
    if (fl_span_eq_str(format, "prometheus")) {
        answer->content_type = FL_METRICS_CONTENT_TYPE;
        return print_stats(admin, &answer->body);
    }
    bool json = fl_span_eq_str(format, "json");
    if (json)
        answer->content_type = JSON;
    fl_buf_init(&exposed, PROXY_ADMIN_ANSWER_MAX);
    int result = print_stats(admin, &exposed);
    if (result == 0)
        result = proxy_page_stats(fl_buf_span(&exposed), proxy_query_get(query, "filter"), json, &answer->body);
    fl_buf_done(&exposed);
    return result;
}

static int page_merged(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    return admin->scrape != NULL ? proxy_appscrape_handle(admin->scrape, request, answer)
                                 : print_stats(admin, &answer->body);
}

static int page_server_info(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)request;
    const struct proxy_server_facts facts = {
        .state = admin->host.state(admin->host.owner),
        .gate = gate_state(admin),
        .uptime_s = (fl_loop_now_ms(admin->options.loop) - admin->start_ms) / 1000,
        .workers = admin->options.workers,
        .drain_time_ms = admin->options.drain_time_ms,
    };
    return proxy_page_server_info(admin->host.snapshot(admin->host.owner), &facts, &answer->body);
}

static int page_listeners(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    bool json = fl_span_eq_str(proxy_query_get(proxy_message_query(request), "format"), "json");
    if (json)
        answer->content_type = JSON;
    return proxy_page_listeners(admin->host.snapshot(admin->host.owner), json, &answer->body);
}

static int page_clusters(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    bool json = fl_span_eq_str(proxy_query_get(proxy_message_query(request), "format"), "json");
    if (json)
        answer->content_type = JSON;
    return proxy_page_clusters(admin->host.snapshot(admin->host.owner), json, &answer->body);
}

static int step_dump(void *source, size_t bytes, struct fl_buf *out)
{
    return proxy_dump_step(source, bytes, out);
}

static void free_dump(void *source)
{
    proxy_dump_free(source);
}

static int page_config_dump(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    struct fl_span resource = proxy_query_get(proxy_message_query(request), "resource");
    struct proxy_assembly *assembly = admin->host.assembly != NULL ? admin->host.assembly(admin->host.owner) : NULL;
    struct proxy_dump *dump;
    if (!proxy_dump_has(resource)) {
        answer->status = 404;
        answer->content_type = NULL;
        return fl_buf_printf(&answer->body, "%.*s not found in config dump\n", FL_SPAN_ARG(resource));
    }
    int result = proxy_dump_new(admin->host.snapshot(admin->host.owner), assembly, resource, &dump);
    const struct proxy_slice_source source = {step_dump, free_dump, result == 0 ? dump : NULL};
    return result == 0 ? proxy_slices_begin(admin->slices, &source, JSON, answer) : result;
}

static int page_xds(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)request;
    return admin->host.xds != NULL ? admin->host.xds(admin->host.owner, &answer->body)
                                   : fl_buf_append_str(&answer->body, "{}\n");
}

static int page_certs(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)request;
    return proxy_page_certs(admin->host.snapshot(admin->host.owner), time(NULL), &answer->body);
}

static int page_memory(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)admin;
    (void)request;
    return proxy_page_memory(&answer->body);
}

/* GET tells the level; POST ?level=<word> sets it (?all= too: there is one logger). */
static int page_logging(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)admin;
    static const char *const names[] = {[FL_LOG_ERROR] = "error",
                                        [FL_LOG_WARNING] = "warning",
                                        [FL_LOG_INFO] = "info",
                                        [FL_LOG_DEBUG] = "debug",
                                        [FL_LOG_TRACE] = "trace"};
    struct fl_span query = proxy_message_query(request), word = proxy_query_get(query, "level");
    enum fl_log_level level;
    if (word.len == 0)
        word = proxy_query_get(query, "all");
    if (request->method_id == PROXY_METHOD_POST && query.len > 0) {
        if (!fl_log_level_parse(word, &level)) {
            answer->status = 400;
            return fl_buf_append_str(&answer->body, "expected ?level=error, warning, info, debug or trace\n");
        }
        fl_log_set_level(level);
    } else if (query.len > 0) { /* it would look as if it had been set */
        answer->status = 405;
        answer->allow = "POST";
        return fl_buf_append_str(&answer->body, "the level is set by POST\n");
    }
    return fl_buf_printf(&answer->body, "active loggers:\n  all: %s\n", names[fl_log_get_level()]);
}

static void after_leave(void *owner)
{
    struct proxy_admin *admin = ((struct port *)owner)->admin;
    admin->host.leave(admin->host.owner);
}

static void after_drain(void *owner)
{
    struct proxy_admin *admin = ((struct port *)owner)->admin;
    admin->host.drain(admin->host.owner, &admin->drain_how);
}

static void after_quit(void *owner)
{
    struct proxy_admin *admin = ((struct port *)owner)->admin;
    admin->host.quit(admin->host.owner);
}

static int page_leave(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)admin;
    (void)request;
    answer->after = after_leave;
    return fl_buf_append_str(&answer->body, "OK\n");
}

static int page_drain(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    struct fl_span query = proxy_message_query(request);
    admin->drain_how = (struct proxy_admin_drain){.graceful = proxy_query_has(query, "graceful"),
                                                  .inbound_only = proxy_query_has(query, "inboundonly")};
    answer->after = after_drain;
    return fl_buf_append_str(&answer->body, "OK\n");
}

static int page_quit(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)admin;
    (void)request;
    answer->after = after_quit;
    return fl_buf_append_str(&answer->body, "OK\n");
}

#define ON_ADMIN  (1u << PORT_ADMIN)
#define ON_STATS  (1u << PORT_STATS)
#define ON_MERGED (1u << PORT_MERGED)
#define ON_HEALTH (1u << PORT_HEALTH)

static const struct row rows[] = {
    {"/", "this list", ON_ADMIN, false, false, page_help, NULL},
    {"/help", "this list", ON_ADMIN, false, false, page_help, NULL},
    {"/ready", "200 and LIVE where the proxy serves, else 503", ON_ADMIN, false, false, page_ready, NULL},
    {"/server_info", "version, state, node", ON_ADMIN, false, false, page_server_info, JSON},
    {"/listeners", "listeners and their addresses (?format=json)", ON_ADMIN, false, false, page_listeners, NULL},
    {"/clusters", "clusters, limits, endpoints (?format=json)", ON_ADMIN, false, false, page_clusters, NULL},
    {"/config_dump", "the accepted configuration, without keys (?resource=<list>)", ON_ADMIN, false, false,
     page_config_dump, JSON},
    {"/debug/xds", "the stream to the control plane, versions, destinations on demand", ON_ADMIN, false, false,
     page_xds, JSON},
    {"/certs", "certificates in use and when they expire", ON_ADMIN, false, false, page_certs, JSON},
    {"/memory", "heap", ON_ADMIN, false, false, page_memory, JSON},
    {"/stats", "metrics, a line each (?filter=<part of the name>, ?format=json, prometheus)", ON_ADMIN, false, false,
     page_stats_text, NULL},
    {"/stats/prometheus", "metrics", ON_ADMIN | ON_STATS, false, false, page_stats, FL_METRICS_CONTENT_TYPE},
    {"/stats/prometheus", "metrics, and then the app's own", ON_MERGED, false, false, page_merged,
     FL_METRICS_CONTENT_TYPE},
    {"/logging", "the log level; POST ?level=<level> sets it", ON_ADMIN, false, true, page_logging, NULL},
    {"/drain", "POST: not ready any more, ask HTTP clients to leave, serve on", ON_ADMIN, true, false, page_leave,
     NULL},
    {"/drain_listeners", "POST: take no more connections (?graceful, ?inboundonly)", ON_ADMIN, true, false, page_drain,
     NULL},
    {"/quitquitquit", "POST: drain and exit", ON_ADMIN, true, false, page_quit, NULL},
    {"/healthz/ready", "200 where the proxy serves and the start gate is open", ON_HEALTH, false, false, page_health,
     NULL},
    {"/healthz/started", "200 once the start gate is open; before, the answer takes a while", ON_HEALTH, false, false,
     page_started, NULL},
};

static int page_help(struct proxy_admin *admin, const struct proxy_message *request, struct proxy_answer *answer)
{
    (void)admin;
    (void)request;
    int result = fl_buf_append_str(&answer->body, "admin commands are:\n");
    for (size_t i = 0; i < FL_COUNT(rows) && result == 0; i++)
        if ((rows[i].ports & ON_ADMIN) != 0)
            result = fl_buf_printf(&answer->body, "  %s: %s\n", rows[i].path, rows[i].help);
    return result;
}

/* -- requests -- */

static int page_not_found(enum port_kind kind, struct proxy_answer *answer)
{
    answer->status = 404;
    int result =
        fl_buf_append_str(&answer->body, kind != PORT_ADMIN ? "there is:\n" : "no such page: /help lists them\n");
    for (size_t i = 0; i < FL_COUNT(rows) && result == 0 && kind != PORT_ADMIN; i++)
        if ((rows[i].ports & 1u << kind) != 0)
            result = fl_buf_printf(&answer->body, "  %s: %s\n", rows[i].path, rows[i].help);
    if (kind == PORT_MERGED && result == 0)
        result = fl_buf_append_str(&answer->body, "  /app-health/<container>/{startupz,readyz,livez}\n"
                                                  "  /app-lifecycle/<container>/{poststartz,prestopz}\n");
    return result;
}

static const struct row *find_row(enum port_kind kind, struct fl_span path)
{
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        if ((rows[i].ports & 1u << kind) != 0 && fl_span_eq_str(path, rows[i].path))
            return &rows[i];
    return NULL;
}

static bool method_fits(const struct row *row, enum proxy_method method)
{
    bool reads = method == PROXY_METHOD_GET || method == PROXY_METHOD_HEAD, posts = method == PROXY_METHOD_POST;
    return row->changes ? posts : reads || (row->both && posts);
}

static void handle(void *owner, const struct proxy_message *request, struct proxy_answer *answer)
{
    struct port *port = owner;
    const struct row *row = find_row(port->kind, proxy_message_path_only(request));
    bool changes = request->method_id == PROXY_METHOD_POST;
    const char *refused =
        port->kind == PORT_ADMIN ? proxy_guard_check(request, &port->admin->options.secret, changes) : NULL;
    int result = 0;
    bool reads = request->method_id == PROXY_METHOD_GET || request->method_id == PROXY_METHOD_HEAD;
    if (port->kind == PORT_MERGED && port->admin->probes != NULL && reads &&
        proxy_appprobes_is_path(proxy_message_path_only(request))) {
        result = proxy_appprobes_handle(port->admin->probes, request, answer);
    } else if (refused != NULL) {
        answer->status = 403;
        result = fl_buf_printf(&answer->body, "%s\n", refused);
    } else if (row == NULL) {
        result = page_not_found(port->kind, answer);
    } else if (!method_fits(row, request->method_id)) {
        answer->status = 405;
        answer->allow = row->changes ? "POST" : row->both ? "GET, HEAD, POST" : "GET, HEAD";
        result = fl_buf_printf(&answer->body, "%s wants %s\n", row->path, answer->allow);
    } else {
        answer->content_type = row->content_type;
        result = row->page(port->admin, request, answer);
    }
    if (result != 0) { /* out of memory, or larger than the limit */
        fl_buf_clear(&answer->body);
        answer->status = 500;
        answer->after = NULL;
        answer->wait = NULL;
    }
}

/* -- life -- */

static int start_app(struct proxy_admin *admin, struct fl_err *err)
{
    const struct proxy_podapp *app = admin->options.app;
    if (app == NULL || !admin->options.pod_ports)
        return 0;
    const struct proxy_appprobes_options probes = {
        .loop = admin->options.loop, .table = &app->probes, .address = app->address, .metrics = admin->options.metrics};
    const struct proxy_appscrape_options scrape = {.loop = admin->options.loop,
                                                   .app = &app->metrics,
                                                   .address = app->address,
                                                   .metrics = admin->options.metrics,
                                                   .print_own = print_stats,
                                                   .owner = admin};
    int result = app->probes.count > 0 ? proxy_appprobes_new(&probes, &admin->probes, err) : 0;
    return result == 0 && app->has_metrics ? proxy_appscrape_new(&scrape, &admin->scrape, err) : result;
}

static int open_port(struct proxy_admin *admin, enum port_kind kind, const struct proxy_address *address,
                     struct fl_err *err)
{
    struct port *port = &admin->ports[kind];
    port->admin = admin;
    port->kind = kind;
    const struct proxy_serving_options options = {.loop = admin->options.loop,
                                                  .address = *address,
                                                  .handle = handle,
                                                  .owner = port,
                                                  .held = &admin->held,
                                                  .inherited = admin->options.inherited};
    return proxy_serving_new(&options, &port->serving, err);
}

static int open_all(struct proxy_admin *admin, struct fl_err *err)
{
    const struct proxy_admin_options *options = &admin->options;
    int result = proxy_address_is_set(&options->address) ? open_port(admin, PORT_ADMIN, &options->address, err) : 0;
    const struct {
        enum port_kind kind;
        uint16_t port;
    } side[] = {{PORT_STATS, options->stats_port != 0 ? options->stats_port : FL_PORT_STATS},
                {PORT_MERGED, options->merged_port != 0 ? options->merged_port : FL_PORT_MERGED},
                {PORT_HEALTH, options->health_port != 0 ? options->health_port : FL_PORT_HEALTH}};
    for (size_t i = 0; i < FL_COUNT(side) && result == 0 && options->pod_ports; i++) {
        struct proxy_address all;
        result = proxy_address_parse(FL_SPAN("::"), side[i].port, &all);
        if (result == 0)
            result = open_port(admin, side[i].kind, &all, err);
    }
    return result;
}

int proxy_admin_new(const struct proxy_admin_options *options, struct proxy_admin **ret_admin, struct fl_err *err)
{
    struct proxy_admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    admin->options = *options;
    admin->host = *options->host;
    admin->start_ms = fl_loop_now_ms(options->loop);
    int result = proxy_slices_new(options->loop, &admin->slices);
    const struct proxy_startwait_options startwait = {options->loop, tell_started, admin};
    if (result == 0)
        result = proxy_startwait_new(&startwait, &admin->startwait);
    if (result != 0)
        fl_err_set(err, result, "out of memory");
    if (result == 0)
        result = start_app(admin, err);
    if (result == 0)
        result = open_all(admin, err);
    if (result != 0) {
        proxy_admin_free(admin);
        return result;
    }
    *ret_admin = admin;
    return 0;
}

struct proxy_admin *proxy_admin_free(struct proxy_admin *admin)
{
    if (admin == NULL)
        return NULL;
    for (size_t i = 0; i < PORTS; i++)
        admin->ports[i].serving = proxy_serving_free(admin->ports[i].serving);
    admin->slices = proxy_slices_free(admin->slices);
    admin->startwait = proxy_startwait_free(admin->startwait);
    admin->probes = proxy_appprobes_free(admin->probes);
    admin->scrape = proxy_appscrape_free(admin->scrape);
    free(admin);
    return NULL;
}

void proxy_admin_look(struct proxy_admin *admin)
{
    if (admin != NULL && has_started(admin))
        proxy_startwait_end(admin->startwait);
}

struct proxy_address proxy_admin_address(const struct proxy_admin *admin)
{
    return admin->ports[PORT_ADMIN].serving != NULL ? proxy_serving_address(admin->ports[PORT_ADMIN].serving)
                                                    : (struct proxy_address){0};
}
