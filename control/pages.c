#include "control/pages.h"

#include "common/http/server.h"
#include "common/metrics/expose.h"
#include "control/model/ip.h"
#include "control/status/report.h"

#include <errno.h>

#define RESPONSE_MAX    ((size_t)64 << 20)
#define BODY_MAX        1024
#define REFUSALS_BYTES  (1u << 20)
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

static void status(struct control_pages *pages, const struct fl_http_request *request,
                   struct fl_http_response *response)
{
    char kind[64], name_space[256], name[256];
    struct control_status_filter filter = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    if (parameter(request->query, "kind", kind, sizeof(kind)))
        filter.kind = fl_span_str(kind);
    if (parameter(request->query, "namespace", name_space, sizeof(name_space)))
        filter.name_space = fl_span_str(name_space);
    if (parameter(request->query, "name", name, sizeof(name)))
        filter.name = fl_span_str(name);
    struct control_refusals refusals;
    struct fl_arena arena;
    fl_arena_init(&arena, REFUSALS_BYTES);
    int result = control_proxies_refusals(pages->proxies, &arena, &refusals);
    if (result == 0)
        result = control_status_all(control_store_model(pages->store), &refusals, &filter, &response->body);
    fl_arena_done(&arena);
    fail(response, result);
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

/* "127.0.0.1", "127.0.0.1:15014", "[::1]:15014", "localhost"; empty (HTTP/1.0 without one). Any other name may be a
 * page's that resolves to loopback (DNS rebinding). */
static bool is_own_host(struct fl_span host)
{
    struct control_ip ip;
    struct fl_span name = fl_span_make(host.data, fl_span_find(host, ':'));
    if (host.len > 0 && host.data[0] == '[')
        name = fl_span_make(host.data + 1, fl_span_find(host, ']') - 1);
    return host.len == 0 || fl_span_eq_nocase(name, FL_SPAN("localhost")) || control_ip_parse(name, &ip) == 0;
}

/* What the mesh is made of is for who is on this host (kubectl port-forward and exec are), and for no web page. */
static const char *check_private(const struct fl_http_request *request)
{
    if (!fl_http_request_is_loopback(request))
        return "this page is for this host alone\n";
    return is_own_host(fl_http_request_header(request, "Host")) ? NULL : "Host must be an IP address or localhost\n";
}

static const struct {
    const char *path;
    void (*answer)(struct control_pages *pages, const struct fl_http_request *request,
                   struct fl_http_response *response);
    bool is_private;
} routes[] = {
    {"/healthz", healthz, false}, {"/readyz", readyz, false},        {"/metrics", metrics, false},
    {"/status", status, true},    {"/debug/proxies", proxies, true}, {"/debug/config", config, true},
};

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    struct control_pages *pages = owner;
    for (size_t i = 0; i < FL_COUNT(routes); i++) {
        const char *refused = NULL;
        if (!fl_span_eq_str(request->path, routes[i].path))
            continue;
        if (routes[i].is_private)
            refused = check_private(request);
        if (refused != NULL) {
            say(response, 403, refused);
            return;
        }
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
