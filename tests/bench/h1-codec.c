/* What the codec costs by itself: nanoseconds per typical head, chunk and log line. Printed, never asserted: the best
 * of some rounds, in CPU time.
 *
 *     cmake --preset release -DFL_TESTS=ON && cmake --build --preset release --target bench_h1_codec
 *     build/release/tests/bench_h1_codec
 */
#include "proxy/http/h1_body.h"
#include "proxy/http/h1_write.h"
#include "proxy/route/table.h"
#include "proxy/telemetry/accesslog.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS 5
#define TIMES  200000

static const struct fl_span small =
    FL_SPAN("GET / HTTP/1.1\r\nHost: server.demo:8080\r\nUser-Agent: h2load\r\nAccept: */*\r\n\r\n");
static const struct fl_span browser = FL_SPAN(
    "GET /catalog/items?page=3&sort=price HTTP/1.1\r\nHost: shop.demo.svc.cluster.local:8080\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\nCache-Control: no-cache\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes; cart=98765\r\n"
    "X-Request-Id: 3f2b8c1e-6a4d-4f0e-9c3b-1a2b3c4d5e6f\r\n"
    "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nConnection: keep-alive\r\n\r\n");
static const struct fl_span answer =
    FL_SPAN("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 128\r\n"
            "Last-Modified: Mon, 23 Nov 2026 11:00:00 GMT\r\nConnection: keep-alive\r\n"
            "ETag: \"6560a0b0-80\"\r\nAccept-Ranges: bytes\r\n\r\n");

static struct proxy_message message;
static char out[65536];
static volatile size_t sink;

static void parse(struct fl_span text)
{
    struct proxy_h1_parser parser = {0};
    size_t size = 0;
    if (proxy_h1_parse_request(&parser, text, NULL, &message, &size) == PROXY_H1_DONE)
        sink = size;
}

static void parse_small(void)
{
    parse(small);
}

static void parse_browser(void)
{
    parse(browser);
}

static void parse_answer(void)
{
    static const struct proxy_exchange exchange = {.method_id = PROXY_METHOD_GET, .minor = 1, .keep_alive = true};
    struct proxy_h1_parser parser = {0};
    size_t size = 0;
    if (proxy_h1_parse_response(&parser, answer, NULL, &exchange, &message, &size) == PROXY_H1_DONE)
        sink = size;
}

static void write_request(void)
{
    struct proxy_h1_plan plan;
    proxy_h1_plan_request(&message, &plan);
    sink = proxy_h1_head_bound(&message, &plan) < sizeof(out) ? proxy_h1_write_head(&message, &plan, out) : 0;
}

static void decode_chunks(void)
{
    static const struct fl_span text =
        FL_SPAN("40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n0\r\n\r\n");
    static struct proxy_message chunked;
    struct proxy_h1_body body;
    chunked.framing = PROXY_FRAMING_CHUNKED;
    proxy_h1_body_init(&body, &chunked);
    struct fl_span bytes = text, data = {NULL, 0};
    while (proxy_h1_body_decode(&body, &bytes, NULL, &data) == PROXY_H1_DATA)
        sink = data.len;
}

static struct proxy_route_table *table;

static void find_route(void)
{
    sink = proxy_route_find(table, &message).route != NULL;
}

static void log_line(void)
{
    static struct proxy_address client, server;
    if (!proxy_address_is_set(&client) && (proxy_address_parse(FL_SPAN("10.88.0.2"), 41234, &client) < 0 ||
                                           proxy_address_parse(FL_SPAN("10.88.0.3"), 8080, &server) < 0))
        return;
    const struct proxy_log_record record = {
        .start_us = 1767323045678901,
        .duration_us = 412,
        .upstream_first_byte_us = 380,
        .direction = PROXY_LOG_OUTBOUND,
        .protocol = PROXY_PROTOCOL_HTTP,
        .minor = 1,
        .method = FL_SPAN("GET"),
        .path = FL_SPAN("/catalog/items?page=3&sort=price"),
        .authority = FL_SPAN("shop.demo.svc.cluster.local:8080"),
        .status = 200,
        .grpc_status = -1,
        .bytes_sent = 128,
        .downstream_remote = &client,
        .upstream_host = &server,
        .upstream_cluster = FL_SPAN("outbound|8080||shop.demo.svc.cluster.local"),
        .source_principal = FL_SPAN("spiffe://cluster.local/ns/demo/sa/client"),
        .destination_principal = FL_SPAN("spiffe://cluster.local/ns/demo/sa/shop"),
        .user_agent = FL_SPAN("curl/8.5.0"),
        .request_id = FL_SPAN("3f2b8c1e-6a4d-4f0e-9c3b-1a2b3c4d5e6f"),
    };
    sink = proxy_log_print(NULL, &record, out);
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *what, void (*prepare)(void), void (*run)(void))
{
    double best = 1e18;
    if (prepare != NULL)
        prepare();
    for (int round = 0; round < ROUNDS; round++) {
        double begin = now_ns();
        for (int i = 0; i < TIMES; i++)
            run();
        double each = (now_ns() - begin) / TIMES;
        best = each < best ? each : best;
    }
    printf("%-44s %7.1f ns\n", what, best);
}

static int make_table(void)
{
    static const struct fl_span domains[] = {{"*", 1}};
    static const struct proxy_weighted_cluster cluster = {.name = {"outbound", 8}};
    static const struct proxy_route route = {.match = {.path = {"/", 1}}, .clusters = &cluster, .cluster_count = 1};
    static const struct proxy_virtual_host host = {
        .domains = domains, .domain_count = 1, .routes = &route, .route_count = 1};
    static const struct proxy_route_config config = {.virtual_hosts = &host, .virtual_host_count = 1};
    return proxy_route_table_new(&config, NULL, NULL, &table, NULL);
}

int main(void)
{
    if (make_table() < 0)
        return 1;
    measure("parse a request of 3 fields", NULL, parse_small);
    measure("write it", parse_small, write_request);
    measure("parse a browser's request of 11 fields", NULL, parse_browser);
    measure("write it", parse_browser, write_request);
    measure("find its route (one host, one route)", parse_browser, find_route);
    measure("parse a response of 8 fields", NULL, parse_answer);
    measure("decode a chunk and the last one", NULL, decode_chunks);
    measure("a line of the access log", NULL, log_line);
    proxy_route_table_free(table);
    return 0;
}
