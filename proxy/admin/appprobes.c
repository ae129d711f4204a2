/* One task for each probe that is being asked for:
 *
 *     HELD (until the spacing is over) ─► ASKING (redirects: anew) ─► answered, the task is gone
 */
#include "proxy/admin/appprobes.h"

#include "common/base/print.h"
#include "common/loop/timer.h"
#include "common/tls/context.h"
#include "proxy/admin/appget.h"
#include "proxy/admin/apphealth.h"
#include "proxy/admin/appstats.h"
#include "proxy/admin/appurl.h"

#include <errno.h>
#include <stdio.h>

#define USER_AGENT_MAX 32
#define LISTED_MAX     16 /* paths that a 404 lists */

struct task;

struct waiter {
    struct proxy_serving_wait wait;
    struct task *task;
    struct waiter *next, **link;
};

struct task {
    struct proxy_appprobes *probes;
    const struct fl_appprobe *probe;
    struct task **place;
    struct waiter *waiters;
    struct fl_timer timer; /* HELD: the spacing; ASKING: the deadline */
    struct fl_deferred deferred;
    struct proxy_appget *get;
    struct proxy_apphealth *health;
    struct proxy_appurl url;
    unsigned redirects;
    bool no_host, no_authorization;
    bool asking;
    char user_agent[USER_AGENT_MAX];
};

struct proxy_appprobes {
    struct proxy_appprobes_options options;
    struct fl_tls_context *tls; /* made when it is needed first: most pods have no probe over HTTPS */
    size_t running;
    struct task **tasks; /* by the table's index; NULL: nobody asks */
    uint64_t *asked_ms;  /* when it was asked last; 0: never */
};

/* -- the end of a task -- */

static void release_task(struct fl_deferred *deferred)
{
    struct task *task = FL_CONTAINER_OF(deferred, struct task, deferred);
    proxy_appurl_done(&task->url);
    free(task);
}

static void end_task(struct task *task)
{
    *task->place = NULL;
    fl_timer_cancel(&task->timer);
    task->get = proxy_appget_free(task->get);
    task->health = proxy_apphealth_free(task->health);
    if (task->asking)
        task->probes->running--;
    fl_loop_defer(task->probes->options.loop, &task->deferred, release_task);
}

static struct waiter *detach(struct waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next != NULL)
        waiter->next->link = waiter->link;
    return waiter;
}

static void on_waiter_gone(struct proxy_serving_wait *wait)
{
    struct waiter *waiter = FL_CONTAINER_OF(wait, struct waiter, wait);
    struct task *task = waiter->task;
    free(detach(waiter));
    if (task->waiters != NULL)
        return;
    proxy_appstats_probe(task->probes->options.metrics, task->probe->kind, PROXY_APPSTATS_PROBE_GONE);
    end_task(task);
}

static void tell(struct waiter *waiter, unsigned status, const char *reason)
{
    struct proxy_answer answer;
    proxy_answer_init(&answer);
    answer.status = status;
    if (reason[0] != '\0' && fl_buf_printf(&answer.body, "%s\n", reason) != 0)
        fl_buf_clear(&answer.body);
    proxy_serving_answer(&waiter->wait, &answer);
}

/* status 0: the kubelet is to see that there was no answer. */
static void finish(struct task *task, enum proxy_appstats_probe result, unsigned status, const char *reason)
{
    struct waiter *waiters = fl_take(task->waiters);
    proxy_appstats_probe(task->probes->options.metrics, task->probe->kind, result);
    end_task(task);
    while (waiters != NULL) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        if (status == 0)
            proxy_serving_abandon(&waiter->wait);
        else
            tell(waiter, status, reason);
        free(waiter);
    }
}

static void fail(struct task *task, enum proxy_appstats_probe result, unsigned status, const char *reason)
{
    finish(task, result, fl_appprobe_kind_is_lifecycle(task->probe->kind) ? 0 : status, reason);
}

static void fail_memory(struct task *task)
{
    fail(task, PROXY_APPSTATS_PROBE_MEMORY, 503, "out of memory");
}

static void on_deadline(struct fl_timer *timer)
{
    fail(FL_CONTAINER_OF(timer, struct task, timer), PROXY_APPSTATS_PROBE_TIMEOUT, 504,
         "the app did not answer in time");
}

/* -- asking -- */

static void ask_http(struct task *task);

static bool is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void answered(struct task *task, unsigned status)
{
    bool good = (status >= 200 && status < 400) || fl_appprobe_kind_is_lifecycle(task->probe->kind);
    char text[64];
    snprintf(text, sizeof(text), "the app answered %u", status);
    finish(task, good ? PROXY_APPSTATS_PROBE_SUCCEEDED : PROXY_APPSTATS_PROBE_FAILED, status, text);
}

static void follow(struct task *task, const struct proxy_appget_outcome *outcome)
{
    bool relative = false;
    int where = proxy_appurl_follow(&task->url, outcome->location, &relative);
    if (where == -ENOMEM)
        fail_memory(task);
    else if (where < 0 || where == PROXY_APPURL_BAD)
        fail(task, PROXY_APPSTATS_PROBE_REDIRECTS, 502, "the app redirects to what cannot be asked");
    else if (where == PROXY_APPURL_ELSEWHERE)
        answered(task, outcome->status);
    else if (++task->redirects >= PROXY_APPPROBES_REDIRECTS)
        fail(task, PROXY_APPSTATS_PROBE_REDIRECTS, 502, "the app redirects without end");
    else {
        task->no_host = task->no_host || !relative;
        ask_http(task);
    }
}

/* A handler that was meant for HTTPS, at an app that speaks HTTP. */
static void ask_plaintext(struct task *task)
{
    task->url.https = false;
    task->no_authorization = true;
    ask_http(task);
}

static void on_got(void *owner, const struct proxy_appget_outcome *outcome)
{
    struct task *task = owner;
    bool lifecycle = fl_appprobe_kind_is_lifecycle(task->probe->kind);
    switch (outcome->result) {
    case PROXY_APPGET_ANSWERED:
        if (task->probe->handler == FL_APPPROBE_TCP_SOCKET)
            finish(task, PROXY_APPSTATS_PROBE_SUCCEEDED, 200, "the app accepts connections");
        else if (is_redirect(outcome->status) && outcome->location.len > 0)
            follow(task, outcome);
        else
            answered(task, outcome->status);
        return;
    case PROXY_APPGET_PLAINTEXT:
        if (lifecycle && !task->no_authorization) {
            ask_plaintext(task);
            return;
        }
        fail(task, PROXY_APPSTATS_PROBE_TLS, 502, outcome->reason);
        return;
    case PROXY_APPGET_CONNECT:
        fail(task, PROXY_APPSTATS_PROBE_CONNECT, 502, outcome->reason);
        return;
    case PROXY_APPGET_TLS:
        fail(task, PROXY_APPSTATS_PROBE_TLS, 502, outcome->reason);
        return;
    case PROXY_APPGET_CLOSED:
    case PROXY_APPGET_PROTOCOL:
    case PROXY_APPGET_TOO_LARGE:
        fail(task, PROXY_APPSTATS_PROBE_PROTOCOL, 502, outcome->reason);
        return;
    case PROXY_APPGET_MEMORY:
        fail_memory(task);
        return;
    }
}

static int dial(struct task *task, struct fl_span request)
{
    static const struct fl_tls_options anybody = {.anybody = true, .minimum_version = 0x0303};
    struct proxy_appprobes *probes = task->probes;
    bool secure = task->probe->handler == FL_APPPROBE_HTTP_GET && task->url.https;
    if (secure && probes->tls == NULL && fl_tls_context_new(&anybody, &probes->tls, NULL) < 0)
        return -ENOMEM;
    const struct proxy_appget_options options = {
        .loop = probes->options.loop,
        .to = task->url.to,
        .tls = secure ? probes->tls : NULL,
        .request = request,
        .body_max = PROXY_APPPROBES_BODY_MAX,
        .on_done = on_got,
        .owner = task,
    };
    task->get = proxy_appget_free(task->get);
    return proxy_appget_new(&options, &task->get);
}

static void dialled(struct task *task, int result)
{
    if (result == -ENOMEM || result == -EMSGSIZE)
        fail_memory(task);
    else if (result < 0)
        fail(task, PROXY_APPSTATS_PROBE_CONNECT, 502, strerrordesc_np(-result));
}

static void ask_http(struct task *task)
{
    const struct fl_appprobe *probe = task->probe;
    const struct proxy_apprequest request = {.url = &task->url,
                                             .headers = probe->headers,
                                             .header_count = probe->header_count,
                                             .user_agent = fl_span_str(task->user_agent),
                                             .accept = FL_SPAN("*/*"),
                                             .no_host = task->no_host,
                                             .no_authorization = task->no_authorization};
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    fl_buf_init(&text, PROXY_APPURL_REQUEST_MAX);
    int result = proxy_apprequest_print(&request, &text);
    if (result == 0)
        result = dial(task, fl_buf_span(&text));
    dialled(task, result);
}

static void on_health(void *owner, enum proxy_apphealth_result result, const char *reason)
{
    if (result == PROXY_APPHEALTH_SERVING)
        finish(owner, PROXY_APPSTATS_PROBE_SUCCEEDED, 200, "the app serves");
    else if (result == PROXY_APPHEALTH_NOT_SERVING)
        fail(owner, PROXY_APPSTATS_PROBE_FAILED, 503, reason);
    else
        fail(owner, PROXY_APPSTATS_PROBE_CONNECT, 502, reason);
}

static void ask_grpc(struct task *task)
{
    const struct proxy_apphealth_options options = {.loop = task->probes->options.loop,
                                                    .to = task->url.to,
                                                    .service = task->probe->service,
                                                    .on_done = on_health,
                                                    .owner = task};
    dialled(task, proxy_apphealth_new(&options, &task->health));
}

static uint64_t deadline_ms(const struct fl_appprobe *probe)
{
    bool capped = probe->timeout_s == 0 || probe->timeout_s > PROXY_APPPROBES_SECONDS;
    return 1000 * (uint64_t)(capped ? PROXY_APPPROBES_SECONDS : probe->timeout_s);
}

static void begin(struct task *task)
{
    struct proxy_appprobes *probes = task->probes;
    if (probes->running >= PROXY_APPPROBES_MAX) {
        fail(task, PROXY_APPSTATS_PROBE_BUSY, 503, "too many probes at a time");
        return;
    }
    probes->running++;
    task->asking = true;
    probes->asked_ms[task->probe - probes->options.table->probes] = fl_loop_now_ms(probes->options.loop);
    fl_timer_set(probes->options.loop, &task->timer, deadline_ms(task->probe), on_deadline);
    if (task->probe->handler == FL_APPPROBE_GRPC)
        ask_grpc(task);
    else if (task->probe->handler == FL_APPPROBE_TCP_SOCKET)
        dialled(task, dial(task, (struct fl_span){NULL, 0}));
    else
        ask_http(task);
}

static void on_begin(struct fl_timer *timer)
{
    begin(FL_CONTAINER_OF(timer, struct task, timer));
}

/* -- requests -- */

/* The kubelet's own ("kube-probe/1.33"), so that the app's logs say what they always did; nobody else's words. */
static void set_user_agent(struct task *task, const struct proxy_message *request)
{
    struct fl_span agent = proxy_headers_value(&request->headers, PROXY_HEADER_USER_AGENT);
    struct fl_span rest = {NULL, 0};
    static const char probe[] = "kube-probe/", lifecycle[] = "kube-lifecycle/";
    if (fl_span_starts_with(agent, FL_SPAN("kube-probe/")))
        rest = fl_span_from(agent, sizeof(probe) - 1);
    else if (fl_span_starts_with(agent, FL_SPAN("kube-lifecycle/")))
        rest = fl_span_from(agent, sizeof(lifecycle) - 1);
    bool good = rest.len > 0 && agent.len < USER_AGENT_MAX;
    for (size_t i = 0; i < rest.len && good; i++)
        good = (rest.data[i] >= '0' && rest.data[i] <= '9') || rest.data[i] == '.' || rest.data[i] == '+';
    if (!good)
        agent = fl_span_str(fl_appprobe_kind_is_lifecycle(task->probe->kind) ? "kube-lifecycle/1" : "kube-probe/1");
    memcpy(task->user_agent, agent.data, agent.len);
    task->user_agent[agent.len] = '\0';
}

/* It begins with a turn of the loop, never from inside the handler. */
static int start_task(struct proxy_appprobes *probes, size_t index, const struct proxy_message *request)
{
    struct task *task = calloc(1, sizeof(*task));
    if (task == NULL)
        return -ENOMEM;
    task->probes = probes;
    task->probe = &probes->options.table->probes[index];
    task->place = &probes->tasks[index];
    set_user_agent(task, request);
    proxy_appurl_init(&task->url);
    task->url.https = task->probe->https;
    task->url.to = probes->options.address;
    proxy_address_set_port(&task->url.to, task->probe->port);
    if (proxy_appurl_set_path(&task->url, task->probe->path) != 0) {
        release_task(&task->deferred);
        return -ENOMEM;
    }
    uint64_t now = fl_loop_now_ms(probes->options.loop), last = probes->asked_ms[index];
    uint64_t wait = last > 0 && last + PROXY_APPPROBES_SPACING_MS > now ? last + PROXY_APPPROBES_SPACING_MS - now : 0;
    fl_timer_set(probes->options.loop, &task->timer, wait, on_begin);
    *task->place = task;
    return 0;
}

static int wait_for(struct proxy_appprobes *probes, size_t index, const struct proxy_message *request,
                    struct proxy_answer *answer)
{
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return -ENOMEM;
    int result = probes->tasks[index] == NULL ? start_task(probes, index, request) : 0;
    if (result < 0) {
        free(waiter);
        return result;
    }
    struct task *task = probes->tasks[index];
    waiter->task = task;
    waiter->wait.on_gone = on_waiter_gone;
    waiter->link = &task->waiters;
    waiter->next = task->waiters;
    if (waiter->next != NULL)
        waiter->next->link = &waiter->next;
    task->waiters = waiter;
    answer->wait = &waiter->wait;
    return 0;
}

static int say_what_there_is(const struct proxy_appprobes *probes, struct proxy_answer *answer)
{
    const struct fl_appprobes *table = probes->options.table;
    struct fl_print print = {.out = &answer->body};
    answer->status = 404;
    fl_print(&print, "no such probe; there %s", table->count == 0 ? "is none\n" : "are:\n");
    for (size_t i = 0; i < table->count && i < LISTED_MAX; i++) {
        char path[FL_APPPROBE_PATH_MAX];
        fl_appprobe_path_print(table->probes[i].container, table->probes[i].kind, path);
        fl_print(&print, "  %s\n", path);
    }
    if (table->count > LISTED_MAX)
        fl_print(&print, "  … and %zu more\n", table->count - LISTED_MAX);
    return print.result;
}

int proxy_appprobes_handle(struct proxy_appprobes *probes, const struct proxy_message *request,
                           struct proxy_answer *answer)
{
    struct fl_span container;
    enum fl_appprobe_kind kind;
    const struct fl_appprobe *probe = NULL;
    if (fl_appprobe_path_parse(proxy_message_path_only(request), &container, &kind))
        probe = fl_appprobes_find(probes->options.table, container, kind);
    if (probe == NULL)
        return say_what_there_is(probes, answer);
    return wait_for(probes, (size_t)(probe - probes->options.table->probes), request, answer);
}

/* -- life -- */

int proxy_appprobes_new(const struct proxy_appprobes_options *options, struct proxy_appprobes **ret_probes,
                        struct fl_err *err)
{
    struct proxy_appprobes *probes = calloc(1, sizeof(*probes));
    if (probes == NULL)
        return fl_err_errno(err, -ENOMEM, "app probes");
    probes->options = *options;
    size_t count = options->table->count > 0 ? options->table->count : 1;
    probes->tasks = calloc(count, sizeof(struct task *));
    probes->asked_ms = calloc(count, sizeof(*probes->asked_ms));
    if (probes->tasks == NULL || probes->asked_ms == NULL) {
        proxy_appprobes_free(probes);
        return fl_err_errno(err, -ENOMEM, "app probes");
    }
    *ret_probes = probes;
    return 0;
}

struct proxy_appprobes *proxy_appprobes_free(struct proxy_appprobes *probes)
{
    if (probes == NULL)
        return NULL;
    for (size_t i = 0; probes->tasks != NULL && i < probes->options.table->count; i++) {
        if (probes->tasks[i] != NULL)
            finish(probes->tasks[i], PROXY_APPSTATS_PROBE_GONE, 0, "");
    }
    free(probes->tasks);
    free(probes->asked_ms);
    fl_tls_context_unref(probes->tls);
    free(probes);
    return NULL;
}
