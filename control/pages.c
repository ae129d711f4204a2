#include "control/pages.h"

#include "common/http/server.h"
#include "common/metrics/expose.h"
#include "control/status/report.h"

#include <errno.h>

#define RESPONSE_MAX    ((size_t)64 << 20)
#define BODY_MAX        1024
#define CONNECTIONS_MAX 64
#define IDLE_SECONDS    30

struct control_pages {
    struct fl_http_server *http;
    struct fl_metrics *metrics;
    struct control_store *store;
    struct control_proxies *proxies;
    bool ready;
};

static void say(struct fl_http_response *response, unsigned status, const char *text)
{
    response->status = status;
    response->content_type = "text/plain; charset=utf-8";
    fl_buf_clear(&response->body);
    if (fl_buf_append_str(&response->body, text) < 0)
        fl_buf_clear(&response->body); /* the status alone tells then */
}

static void healthz(struct control_pages *pages, const struct fl_http_request *request,
                    struct fl_http_response *response)
{
    (void)pages, (void)request;
    say(response, 200, "ok\n");
}

static void readyz(struct control_pages *pages, const struct fl_http_request *request,
                   struct fl_http_response *response)
{
    (void)request;
    say(response, pages->ready ? 200 : 503, pages->ready ? "ok\n" : "not ready\n");
}

static void fail(struct fl_http_response *response, int result)
{
    if (result == -ENOENT)
        say(response, 404, "there is no such proxy\n");
    else if (result < 0)
        say(response, 500, result == -EMSGSIZE ? "the answer is too large\n" : "memory was out\n");
}

static void metrics(struct control_pages *pages, const struct fl_http_request *request,
                    struct fl_http_response *response)
{
    (void)request;
    response->content_type = FL_METRICS_CONTENT_TYPE;
    control_proxies_tell(pages->proxies);
    fail(response, fl_metrics_expose(&pages->metrics, 1, &response->body));
}

static void status(struct control_pages *pages, const struct fl_http_request *request,
                   struct fl_http_response *response)
{
    (void)request;
    fail(response, control_status_all(control_store_model(pages->store), &response->body));
}

static void proxies(struct control_pages *pages, const struct fl_http_request *request,
                    struct fl_http_response *response)
{
    (void)request;
    fail(response, control_proxies_print(pages->proxies, &response->body));
}

static unsigned hex(char digit)
{
    return digit >= '0' && digit <= '9'   ? (unsigned)(digit - '0')
           : digit >= 'a' && digit <= 'f' ? (unsigned)(digit - 'a' + 10)
           : digit >= 'A' && digit <= 'F' ? (unsigned)(digit - 'A' + 10)
                                          : 16;
}

/* The value of `name` in a query, percent-decoded. False: it is not there, or too long. */
static bool parameter(struct fl_span query, const char *name, char *text, size_t size)
{
    struct fl_span pair, key;
    size_t len = 0;
    do {
        if (!fl_span_split(&query, '&', &pair) || !fl_span_split(&pair, '=', &key))
            return false;
    } while (!fl_span_eq_str(key, name));
    for (size_t i = 0; i < pair.len && len + 1 < size; i++) {
        bool escaped =
            pair.data[i] == '%' && i + 2 < pair.len && hex(pair.data[i + 1]) < 16 && hex(pair.data[i + 2]) < 16;
        text[len++] = escaped ? (char)(hex(pair.data[i + 1]) << 4 | hex(pair.data[i + 2])) : pair.data[i];
        i += escaped ? 2 : 0;
    }
    text[len] = '\0';
    return len + 1 < size;
}

static void config(struct control_pages *pages, const struct fl_http_request *request,
                   struct fl_http_response *response)
{
    char id[1024];
    if (!parameter(request->query, "proxy", id, sizeof(id)))
        say(response, 400, "expected ?proxy=<node.id> or ?proxy=<namespace>/<name>\n");
    else
        fail(response, control_proxies_print_config(pages->proxies, fl_span_str(id), &response->body));
}

static const struct {
    const char *path;
    void (*answer)(struct control_pages *pages, const struct fl_http_request *request,
                   struct fl_http_response *response);
} routes[] = {
    {"/healthz", healthz}, {"/readyz", readyz},         {"/metrics", metrics},
    {"/status", status},   {"/debug/proxies", proxies}, {"/debug/config", config},
};

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    struct control_pages *pages = owner;
    for (size_t i = 0; i < FL_COUNT(routes); i++) {
        if (!fl_span_eq_str(request->path, routes[i].path))
            continue;
        if (fl_span_eq_str(request->method, "GET") || fl_span_eq_str(request->method, "HEAD")) {
            routes[i].answer(pages, request, response);
            return;
        }
        response->allow = "GET";
        say(response, 405, "the method is not allowed here\n");
        return;
    }
    say(response, 404, "there is nothing here\n");
}

int control_pages_new(const struct control_pages_options *options, struct control_pages **ret_pages, struct fl_err *err)
{
    struct control_pages *pages = calloc(1, sizeof(*pages));
    if (pages == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    pages->metrics = options->metrics;
    pages->store = options->store;
    pages->proxies = options->proxies;
    const struct fl_http_server_options http = {
        .address = fl_span_str(options->address),
        .body_max = BODY_MAX,
        .response_max = RESPONSE_MAX,
        .connections_max = CONNECTIONS_MAX,
        .connections_per_address = CONNECTIONS_MAX,
        .idle_seconds = IDLE_SECONDS,
        .handle = handle,
        .owner = pages,
    };
    int result = fl_http_server_new(options->loop, &http, &pages->http, err);
    if (result < 0) {
        free(pages);
        return fl_err_prefix(err, "listen on %s", options->address);
    }
    *ret_pages = pages;
    return 0;
}

struct control_pages *control_pages_free(struct control_pages *pages)
{
    if (pages == NULL)
        return NULL;
    fl_http_server_free(pages->http);
    free(pages);
    return NULL;
}

uint16_t control_pages_port(const struct control_pages *pages)
{
    return fl_http_server_port(pages->http);
}

void control_pages_set_ready(struct control_pages *pages, bool ready)
{
    pages->ready = ready;
}
