/* One fetch at a time:
 *
 *     IDLE ── first scraper ──► HELD (until the spacing is over) ──► FETCHING ──► everybody is answered, IDLE
 *
 * Each scraper has its own time; who runs out of it is answered without the app's part.
 */
#include "proxy/admin/appscrape.h"

#include "common/loop/timer.h"
#include "common/metrics/expose.h"
#include "common/tls/context.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/appget.h"
#include "proxy/admin/appstats.h"
#include "proxy/admin/appurl.h"
#include "proxy/admin/exposition.h"

#include <errno.h>

#define USER_AGENT "fairlead-proxy/" FL_VERSION
#define ACCEPT     "text/plain;version=0.0.4;q=1,*/*;q=0.1"

struct waiter {
    struct proxy_serving_wait wait;
    struct proxy_appscrape *scrape;
    struct fl_timer timer;
    struct fl_deferred deferred;
    struct waiter *next, **link;
};

struct proxy_appscrape {
    struct proxy_appscrape_options options;
    struct fl_tls_context *tls;
    struct proxy_appurl url;
    struct fl_buf request;
    struct waiter *waiters;
    struct fl_timer hold;
    struct proxy_appget *get;
    struct proxy_exposition page; /* the app's part, as it comes */
    uint64_t asked_ms;
};

uint64_t proxy_appscrape_wait_ms(struct fl_span seconds)
{
    uint64_t whole = 0, thousandth = 0;
    struct fl_span before = {seconds.data, fl_span_find(seconds, '.')};
    struct fl_span after = before.len < seconds.len ? fl_span_from(seconds, before.len + 1) : (struct fl_span){NULL, 0};
    if (after.len > 3)
        after.len = 3;
    bool good = fl_span_to_u64(before, 1000000, &whole) && (after.len == 0 || fl_span_to_u64(after, 999, &thousandth));
    for (size_t i = after.len; i < 3; i++)
        thousandth *= 10;
    uint64_t given = whole * 1000 + thousandth;
    if (!good || given == 0)
        given = PROXY_APPSCRAPE_WAIT_MS;
    uint64_t margin = given / 10 < 500 ? given / 10 : 500;
    given -= margin;
    return given < PROXY_APPSCRAPE_WAIT_MAX ? given : PROXY_APPSCRAPE_WAIT_MAX;
}

/* -- answers -- */

static void release_waiter(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct waiter, deferred));
}

static void forget(struct waiter *waiter)
{
    fl_timer_cancel(&waiter->timer);
    *waiter->link = waiter->next;
    if (waiter->next != NULL)
        waiter->next->link = waiter->link;
    fl_loop_defer(waiter->scrape->options.loop, &waiter->deferred, release_waiter);
}

static void answer_one(struct waiter *waiter, struct fl_span app)
{
    struct proxy_appscrape *scrape = waiter->scrape;
    struct proxy_answer answer;
    proxy_answer_init(&answer);
    answer.content_type = FL_METRICS_CONTENT_TYPE;
    int result = scrape->options.print_own(scrape->options.owner, &answer.body);
    if (result == 0)
        result = fl_buf_append(&answer.body, app);
    if (result < 0) {
        fl_buf_clear(&answer.body);
        answer.status = 500;
        answer.content_type = NULL;
    }
    forget(waiter);
    proxy_serving_answer(&waiter->wait, &answer);
}

static void stop(struct proxy_appscrape *scrape)
{
    fl_timer_cancel(&scrape->hold);
    scrape->get = proxy_appget_free(scrape->get);
    proxy_exposition_done(&scrape->page);
    scrape->page = (struct proxy_exposition){.openmetrics = false};
}

/* The fetch is over; `merged`: the page is good. */
static void finish(struct proxy_appscrape *scrape, enum proxy_appstats_scrape result)
{
    bool merged = result == PROXY_APPSTATS_SCRAPE_MERGED;
    struct proxy_exposition page = scrape->page;
    scrape->page = (struct proxy_exposition){.openmetrics = false};
    stop(scrape);
    proxy_appstats_scrape(scrape->options.metrics, result);
    if (merged)
        proxy_appstats_left_out(scrape->options.metrics, page.collisions, page.malformed);
    struct waiter *last = scrape->waiters;
    scrape->waiters = NULL;
    if (last != NULL)
        last->link = &last;
    while (last != NULL)
        answer_one(last, merged ? fl_buf_span(&page.out) : (struct fl_span){NULL, 0});
    proxy_exposition_done(&page);
}

static void nobody_waits(struct proxy_appscrape *scrape, enum proxy_appstats_scrape result)
{
    bool under_way = scrape->get != NULL || fl_timer_is_set(&scrape->hold);
    if (scrape->waiters != NULL || !under_way)
        return;
    proxy_appstats_scrape(scrape->options.metrics, result);
    stop(scrape);
}

static void on_waiter_gone(struct proxy_serving_wait *wait)
{
    struct waiter *waiter = FL_CONTAINER_OF(wait, struct waiter, wait);
    forget(waiter);
    nobody_waits(waiter->scrape, PROXY_APPSTATS_SCRAPE_GONE);
}

/* The last one that runs out of time ends the fetch, and is told of it in the page that it gets. */
static void on_late(struct fl_timer *timer)
{
    struct waiter *waiter = FL_CONTAINER_OF(timer, struct waiter, timer);
    struct proxy_appscrape *scrape = waiter->scrape;
    if (scrape->waiters == waiter && waiter->next == NULL)
        finish(scrape, PROXY_APPSTATS_SCRAPE_TIMEOUT);
    else
        answer_one(waiter, (struct fl_span){NULL, 0});
}

/* -- the fetch -- */

static int on_data(void *owner, struct fl_span data)
{
    return proxy_exposition_feed(&((struct proxy_appscrape *)owner)->page, data);
}

static enum proxy_appstats_scrape judge(struct proxy_appscrape *scrape, const struct proxy_appget_outcome *outcome)
{
    static const enum proxy_appstats_scrape results[] = {
        [PROXY_APPGET_ANSWERED] = PROXY_APPSTATS_SCRAPE_MERGED,
        [PROXY_APPGET_CONNECT] = PROXY_APPSTATS_SCRAPE_CONNECT,
        [PROXY_APPGET_TLS] = PROXY_APPSTATS_SCRAPE_TLS,
        [PROXY_APPGET_PLAINTEXT] = PROXY_APPSTATS_SCRAPE_TLS,
        [PROXY_APPGET_CLOSED] = PROXY_APPSTATS_SCRAPE_PROTOCOL,
        [PROXY_APPGET_PROTOCOL] = PROXY_APPSTATS_SCRAPE_PROTOCOL,
        [PROXY_APPGET_TOO_LARGE] = PROXY_APPSTATS_SCRAPE_TOO_LARGE,
        [PROXY_APPGET_MEMORY] = PROXY_APPSTATS_SCRAPE_MEMORY,
    };
    if (outcome->result != PROXY_APPGET_ANSWERED)
        return results[outcome->result];
    if (outcome->status != 200)
        return PROXY_APPSTATS_SCRAPE_STATUS;
    if (outcome->encoded)
        return PROXY_APPSTATS_SCRAPE_PROTOCOL;
    return proxy_exposition_end(&scrape->page) == 0 ? PROXY_APPSTATS_SCRAPE_MERGED : PROXY_APPSTATS_SCRAPE_MEMORY;
}

static void on_got(void *owner, const struct proxy_appget_outcome *outcome)
{
    finish(owner, judge(owner, outcome));
}

static void on_head(void *owner, struct fl_span content_type)
{
    struct proxy_appscrape *scrape = owner;
    scrape->page.openmetrics = fl_span_starts_with(content_type, FL_SPAN("application/openmetrics-text"));
}

/* What our own families are is looked up anew: they come with the traffic. */
static int open_page(struct proxy_appscrape *scrape)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf own;
    fl_buf_init(&own, PROXY_ADMIN_ANSWER_MAX);
    proxy_exposition_init(&scrape->page, PROXY_APPSCRAPE_BODY_MAX);
    int result = scrape->options.print_own(scrape->options.owner, &own);
    return result < 0 ? result : proxy_exposition_reserve(&scrape->page, fl_buf_span(&own));
}

static void fetch(struct fl_timer *timer)
{
    struct proxy_appscrape *scrape = FL_CONTAINER_OF(timer, struct proxy_appscrape, hold);
    const struct proxy_appget_options options = {
        .loop = scrape->options.loop,
        .to = scrape->url.to,
        .tls = scrape->tls,
        .request = fl_buf_span(&scrape->request),
        .body_max = PROXY_APPSCRAPE_BODY_MAX,
        .whole = true,
        .on_head = on_head,
        .on_data = on_data,
        .on_done = on_got,
        .owner = scrape,
    };
    scrape->asked_ms = fl_loop_now_ms(scrape->options.loop);
    int result = open_page(scrape);
    if (result < 0) {
        finish(scrape, PROXY_APPSTATS_SCRAPE_MEMORY);
        return;
    }
    result = proxy_appget_new(&options, &scrape->get);
    if (result < 0)
        finish(scrape, result == -ENOMEM ? PROXY_APPSTATS_SCRAPE_MEMORY : PROXY_APPSTATS_SCRAPE_CONNECT);
}

int proxy_appscrape_handle(struct proxy_appscrape *scrape, const struct proxy_message *request,
                           struct proxy_answer *answer)
{
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return -ENOMEM;
    const struct proxy_header *header =
        proxy_headers_next(&request->headers, PROXY_HEADER_OTHER, FL_SPAN("x-prometheus-scrape-timeout-seconds"), NULL);
    uint64_t wait_ms = proxy_appscrape_wait_ms(header != NULL ? header->value : (struct fl_span){NULL, 0});
    uint64_t now = fl_loop_now_ms(scrape->options.loop), next = scrape->asked_ms + PROXY_APPSCRAPE_SPACING_MS;
    waiter->scrape = scrape;
    waiter->wait.on_gone = on_waiter_gone;
    waiter->link = &scrape->waiters;
    waiter->next = scrape->waiters;
    if (waiter->next != NULL)
        waiter->next->link = &waiter->next;
    scrape->waiters = waiter;
    fl_timer_set(scrape->options.loop, &waiter->timer, wait_ms, on_late);
    if (scrape->get == NULL && !fl_timer_is_set(&scrape->hold))
        fl_timer_set(scrape->options.loop, &scrape->hold, scrape->asked_ms > 0 && next > now ? next - now : 0, fetch);
    answer->wait = &waiter->wait;
    return 0;
}

/* -- life -- */

static int prepare(struct proxy_appscrape *scrape)
{
    const struct fl_appmetrics *app = scrape->options.app;
    const struct proxy_apprequest request = {
        .url = &scrape->url, .user_agent = FL_SPAN(USER_AGENT), .accept = FL_SPAN(ACCEPT)};
    proxy_appurl_init(&scrape->url);
    fl_buf_init(&scrape->request, PROXY_APPURL_REQUEST_MAX);
    scrape->url.https = app->https;
    scrape->url.to = scrape->options.address;
    proxy_address_set_port(&scrape->url.to, app->port);
    int result = proxy_appurl_set_path(&scrape->url, fl_span_make(app->path, app->path_len));
    return result < 0 ? result : proxy_apprequest_print(&request, &scrape->request);
}

int proxy_appscrape_new(const struct proxy_appscrape_options *options, struct proxy_appscrape **ret_scrape,
                        struct fl_err *err)
{
    const struct fl_tls_options tls = {.anybody = true, .minimum_version = 0x0303};
    struct proxy_appscrape *scrape = calloc(1, sizeof(*scrape));
    if (scrape == NULL)
        return fl_err_errno(err, -ENOMEM, "the app's metrics");
    scrape->options = *options;
    int result = prepare(scrape);
    if (result < 0)
        fl_err_errno(err, result, "the app's metrics");
    if (result == 0 && options->app->https)
        result = fl_tls_context_new(&tls, &scrape->tls, err);
    if (result < 0)
        proxy_appscrape_free(scrape);
    else
        *ret_scrape = scrape;
    return result;
}

struct proxy_appscrape *proxy_appscrape_free(struct proxy_appscrape *scrape)
{
    if (scrape == NULL)
        return NULL;
    while (scrape->waiters != NULL) {
        struct waiter *waiter = scrape->waiters;
        forget(waiter);
        proxy_serving_abandon(&waiter->wait);
    }
    stop(scrape);
    proxy_appurl_done(&scrape->url);
    fl_buf_done(&scrape->request);
    fl_tls_context_unref(scrape->tls);
    free(scrape);
    return NULL;
}
