/* proxy/filter/tracing and export: spans of requests, with the test as client, origin and collector. */
#include "proxy/filter/exchange.h"
#include "proxy/filter/export.h"

#include "common/xds/proto/otlp.pb-c.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest pb_request;
typedef Opentelemetry__Proto__Collector__Trace__V1__Span pb_span;

static int collector; /* its listening socket */
static struct proxy_slot tracing_slot = {.index = 1};
static struct proxy_tracing *tracing;
static struct proxy_trace_provider *provider;

static void traced(struct fixture *f)
{
    struct fl_arena *arena = &f->snapshot->unit.arena;
    struct proxy_cluster *clusters = fl_arena_alloc(arena, 2 * sizeof(*clusters));
    struct proxy_endpoint *endpoint = fl_arena_alloc(arena, sizeof(*endpoint));
    *endpoint = (struct proxy_endpoint){.weight = 1, .healthy = true};
    collector = fixture_listen(&endpoint->address);
    clusters[0] = clusters[1] = *f->cluster;
    clusters[1].name = FL_SPAN("tracing");
    clusters[1].own.list = endpoint;
    clusters[1].slot = &tracing_slot;
    f->cluster = clusters;
    const struct proxy_cluster **table = fl_arena_alloc(arena, 2 * sizeof(*table));
    table[0] = &clusters[0];
    table[1] = &clusters[1];
    f->snapshot->clusters = table;
    f->snapshot->cluster_slots = f->snapshot->cluster_count = 2;
    provider = fl_arena_alloc(arena, sizeof(*provider));
    *provider = (struct proxy_trace_provider){.cluster = FL_SPAN("tracing"),
                                              .authority = FL_SPAN("otel:4318"),
                                              .path = FL_SPAN("/v1/traces"),
                                              .fields = FL_SPAN("x-key: k\r\n"),
                                              .service_name = FL_SPAN("web.demo"),
                                              .timeout_ms = 600};
    static const struct proxy_trace_tag tags[] = {{FL_SPAN("zone"), FL_SPAN(""), FL_SPAN("z1")},
                                                  {FL_SPAN("tenant"), FL_SPAN("x-tenant"), FL_SPAN("nobody")}};
    tracing = fl_arena_alloc(arena, sizeof(*tracing));
    *tracing = (struct proxy_tracing){.provider = provider,
                                      .sampling = {PROXY_TRACE_MILLION, PROXY_TRACE_MILLION, PROXY_TRACE_MILLION},
                                      .max_path_length = 5,
                                      .tags = tags,
                                      .tag_count = FL_COUNT(tags)};
}

static void begin(struct fixture *f)
{
    fixture_init_with(f, true, traced);
    f->hcm->tracing = tracing;
}

static void end(struct fixture *f)
{
    fixture_done(f);
    close(collector);
}

/* A request, and its answer from the origin, which may be kept for the next one. */
static void ask(struct fixture *f, struct side *client, struct side *origin, const char *request, const char *answer)
{
    side_say(f, client, request);
    if (origin->text == NULL)
        *origin = fixture_origin(f);
    side_hear(f, origin);
    side_say(f, origin, answer);
    side_hear(f, client);
    client->len = 0;
}

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static struct side at_collector(struct fixture *f)
{
    struct pollfd ready = {.fd = collector, .events = POLLIN};
    fixture_run(f);
    FIXTURE_UNTIL(f, poll(&ready, 1, 0) == 1);
    int fd = accept4(collector, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(fd >= 0);
    struct side side = fixture_side(fd);
    FIXTURE_UNTIL(f, (side_hear(f, &side), side.len > 0));
    return side;
}

static pb_request *spans_of(const struct side *side)
{
    const char *body = strstr(side->text, "\r\n\r\n");
    assert_non_null(body);
    body += 4;
    pb_request *request = opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(
        NULL, side->len - (size_t)(body - side->text), (const uint8_t *)body);
    assert_non_null(request);
    return request;
}

static void drop(pb_request *request)
{
    opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(request, NULL);
}

static const char *attribute(const pb_span *span, const char *key)
{
    for (size_t i = 0; i < span->n_attributes; i++) {
        if (strcmp(span->attributes[i]->key, key) == 0)
            return span->attributes[i]->value->string_value;
    }
    return "";
}

static void a_span_for_each_request(void **state)
{
    (void)state;
    struct fixture f;
    char sent[8192];
    begin(&f);
    struct side client = fixture_client(&f), origin = {.fd = -1};
    side_say(&f, &client,
             "GET /retry?secret=1 HTTP/1.1\r\nHost: web\r\nx-tenant: t7\r\ntraceparent: 00-" TRACE "-" SPAN
             "-01\r\ntracestate: v=1\r\n\r\n");
    origin = fixture_origin(&f);
    side_hear(&f, &origin);
    snprintf(sent, sizeof(sent), "%s", origin.text);
    origin.len = 0;
    const char *told = strstr(sent, "traceparent: 00-" TRACE "-");
    assert_non_null(told);
    assert_null(strstr(sent, SPAN));
    assert_non_null(strstr(sent, "tracestate: v=1\r\n"));
    side_say(&f, &origin, OK_EMPTY);
    side_expect(&f, &client, OK_EMPTY);
    struct side batch = at_collector(&f);
    assert_non_null(strstr(batch.text, "POST /v1/traces HTTP/1.1\r\nhost: otel:4318\r\n"));
    assert_non_null(strstr(batch.text, "content-type: application/x-protobuf\r\n"));
    assert_non_null(strstr(batch.text, "x-key: k\r\n"));
    pb_request *request = spans_of(&batch);
    assert_string_equal(request->resource_spans[0]->resource->attributes[0]->value->string_value, "web.demo");
    assert_int_equal(request->resource_spans[0]->scope_spans[0]->n_spans, 1);
    const pb_span *span = request->resource_spans[0]->scope_spans[0]->spans[0];
    char hex[2 * PROXY_TRACE_ID_SIZE + 1] = "";
    proxy_trace_hex(span->span_id.data, 8, hex);
    assert_memory_equal(told + strlen("traceparent: 00-" TRACE "-"), hex, 16); /* what the next hop was told */
    proxy_trace_hex(span->parent_span_id.data, 8, hex);
    assert_memory_equal(hex, SPAN, 16);
    proxy_trace_hex(span->trace_id.data, 16, hex);
    assert_memory_equal(hex, TRACE, 32);
    assert_int_equal(span->kind, PROXY_SPAN_SERVER);
    assert_string_equal(span->trace_state, "v=1");
    assert_string_equal(attribute(span, "http.request.method"), "GET");
    assert_string_equal(attribute(span, "url.path"), "/retr"); /* max_path_tag_length, no query */
    assert_string_equal(attribute(span, "tenant"), "t7");
    assert_string_equal(attribute(span, "zone"), "z1");
    assert_string_equal(attribute(span, "network.peer.address"), "127.0.0.1");
    assert_true(span->end_time_unix_nano >= span->start_time_unix_nano);
    assert_null(span->status);
    drop(request);
    side_say(&f, &batch, OK_EMPTY);
    assert_true(fixture_metric_of(&f, "fairlead_trace_spans_total", "\"exported\"") == 1);
    batch.len = 0; /* the next batch goes the same way */
    ask(&f, &client, &origin, "GET / HTTP/1.1\r\nHost: web\r\n\r\n", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    FIXTURE_UNTIL(&f, (side_hear(&f, &batch), batch.len > 0));
    request = spans_of(&batch);
    span = request->resource_spans[0]->scope_spans[0]->spans[0];
    assert_int_equal(span->status->code, 2);
    assert_string_equal(attribute(span, "error.type"), "500");
    assert_string_equal(attribute(span, "tenant"), "nobody");
    drop(request);
    side_done(&batch);
    side_done(&origin);
    side_done(&client);
    end(&f);
}

static void what_is_not_sampled_is_passed_on_alone(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct side client = fixture_client(&f), origin = {.fd = -1};
    side_say(&f, &client, "GET / HTTP/1.1\r\nHost: web\r\ntraceparent: 00-" TRACE "-" SPAN "-00\r\n\r\n");
    origin = fixture_origin(&f);
    side_hear(&f, &origin);
    assert_non_null(strstr(origin.text, "traceparent: 00-" TRACE "-"));
    assert_non_null(strstr(origin.text, "-00\r\n"));
    assert_false(proxy_exporters_busy(&f.data));
    side_done(&origin);
    side_done(&client);
    end(&f);
}

static void two_spans_where_the_upstream_has_its_own(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    tracing->spawn_upstream_span = true;
    struct side client = fixture_client(&f), origin = {.fd = -1};
    ask(&f, &client, &origin, "GET / HTTP/1.1\r\nHost: web\r\n\r\n", OK_EMPTY);
    ask(&f, &client, &origin, "GET /direct HTTP/1.1\r\nHost: web\r\n\r\n", "");
    struct side batch = at_collector(&f);
    pb_request *request = spans_of(&batch);
    assert_int_equal(request->resource_spans[0]->scope_spans[0]->n_spans, 3); /* our own answer has no upstream */
    pb_span *const *spans = request->resource_spans[0]->scope_spans[0]->spans;
    assert_int_equal(spans[0]->kind, PROXY_SPAN_SERVER);
    assert_int_equal(spans[1]->kind, PROXY_SPAN_CLIENT);
    assert_memory_equal(spans[1]->parent_span_id.data, spans[0]->span_id.data, 8);
    assert_memory_equal(spans[1]->trace_id.data, spans[0]->trace_id.data, 16);
    char hex[17] = "";
    proxy_trace_hex(spans[1]->span_id.data, 8, hex);
    assert_non_null(strstr(origin.text, hex));
    drop(request);
    side_done(&batch);
    side_done(&origin);
    side_done(&client);
    end(&f);
}

static void a_full_batch_goes_at_once_and_a_full_queue_drops(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    static const uint8_t id[16] = {1};
    const struct proxy_span span = {.trace_id = id, .span_id = id, .name = FL_SPAN("x")};
    struct proxy_exporter *exporter = proxy_exporter_of(&f.data, provider);
    assert_ptr_equal(proxy_exporter_of(&f.data, provider), exporter);
    for (unsigned i = 0; i < PROXY_EXPORT_BATCH; i++)
        proxy_exporter_add(&f.data, exporter, &span);
    struct side batch = at_collector(&f);
    pb_request *request = spans_of(&batch);
    assert_int_equal(request->resource_spans[0]->scope_spans[0]->n_spans, PROXY_EXPORT_BATCH);
    drop(request);
    for (unsigned i = 0; i < 40000; i++) /* while the collector thinks */
        proxy_exporter_add(&f.data, exporter, &span);
    double full = fixture_metric_of(&f, "fairlead_trace_spans_total", "\"queue_full\"");
    assert_true(full > 1000 && full < 40000);
    side_say(&f, &batch, "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno");
    assert_true(fixture_metric_of(&f, "fairlead_trace_spans_total", "\"rejected\"") == PROXY_EXPORT_BATCH);
    /* The rest has gone out and is not answered in time. */
    FIXTURE_UNTIL(&f, (side_hear(&f, &batch),
                       fixture_metric_of(&f, "fairlead_trace_spans_total", "\"unreachable\"") == 40000 - full));
    side_done(&batch);
    end(&f);
}

static void a_collector_that_is_away(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    close(collector);
    struct side client = fixture_client(&f), origin = {.fd = -1};
    ask(&f, &client, &origin, "GET / HTTP/1.1\r\nHost: web\r\n\r\n", OK_EMPTY);
    FIXTURE_UNTIL(&f, fixture_metric_of(&f, "fairlead_trace_spans_total", "\"unreachable\"") == 1);
    assert_false(proxy_exporters_busy(&f.data));
    side_done(&origin);
    side_done(&client);
    fixture_done(&f);
}

static void a_drain_waits_for_the_spans(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct side client = fixture_client(&f), origin = {.fd = -1};
    ask(&f, &client, &origin, "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n", OK_EMPTY);
    side_done(&client);
    proxy_data_drain(&f.data);
    struct side batch = at_collector(&f); /* at once */
    assert_int_equal(f.drained, 0);
    side_say(&f, &batch, OK_EMPTY);
    assert_true(f.drained > 0);
    side_done(&batch);
    side_done(&origin);
    end(&f);
}

static void the_proxy_ends_while_a_batch_is_under_way(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct side client = fixture_client(&f), origin = {.fd = -1};
    ask(&f, &client, &origin, "GET / HTTP/1.1\r\nHost: web\r\n\r\n", OK_EMPTY);
    struct side batch = at_collector(&f);
    ask(&f, &client, &origin, "GET / HTTP/1.1\r\nHost: web\r\n\r\n", OK_EMPTY);
    side_done(&origin);
    side_done(&client);
    end(&f);
    side_done(&batch);
}

static void answers_of_collectors(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *result;
        bool closes;
    } rows[] = {
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
         "\"exported\"", false},
        {"HTTP/1.0 200 OK\r\n\r\n", "\"exported\"", true},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "\"rejected\"", false},
        {"nonsense\r\n\r\n", "\"rejected\"", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "\"unreachable\"", true},
        {"", "\"unreachable\"", true},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fixture f;
        static const uint8_t id[16] = {1};
        const struct proxy_span span = {.trace_id = id, .span_id = id, .name = FL_SPAN("x")};
        begin(&f);
        for (unsigned k = 0; k < PROXY_EXPORT_BATCH; k++)
            proxy_exporter_add(&f.data, proxy_exporter_of(&f.data, provider), &span);
        struct side batch = at_collector(&f);
        side_say(&f, &batch, rows[i].answer);
        if (rows[i].closes)
            side_end(&batch);
        fixture_run(&f);
        if (fixture_metric_of(&f, "fairlead_trace_spans_total", rows[i].result) != PROXY_EXPORT_BATCH)
            fail_msg("row %zu", i);
        side_done(&batch);
        end(&f);
    }
}

/* Configurations come and go, each with another provider: those that have nothing to do make room. */
static void providers_come_and_go(void **state)
{
    (void)state;
    struct fixture f;
    static const uint8_t id[16] = {1};
    const struct proxy_span span = {.trace_id = id, .span_id = id, .name = FL_SPAN("x")};
    begin(&f);
    for (size_t i = 0; i <= PROXY_EXPORTERS_MAX; i++) {
        struct proxy_trace_provider another = *provider;
        another.timeout_ms = 1000 + (uint32_t)i;
        struct proxy_exporter *exporter = proxy_exporter_of(&f.data, &another);
        assert_non_null(exporter);
        if (i > 0) /* this one has something to send, and stays */
            proxy_exporter_add(&f.data, exporter, &span);
    }
    assert_null(proxy_exporter_of(&f.data, provider));
    assert_true(fixture_metric_of(&f, "fairlead_trace_spans_total", "\"unsent\"") == 0);
    end(&f);
}

static void memory_that_is_out_costs_spans(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fixture f;
        size_t countdown = fail_round_;
        fail_stop();
        begin(&f);
        struct side client = fixture_client(&f);
        assert_true(send(client.fd, "GET /direct HTTP/1.1\r\nHost: web\r\n\r\n", 35, 0) == 35);
        fail_at(countdown);
        for (int i = 0; i < 5; i++)
            assert_true(fl_loop_turn(f.loop, 1) >= 0);
        proxy_data_drain(&f.data);
        for (int i = 0; i < 10; i++)
            assert_true(fl_loop_turn(f.loop, 1) >= 0);
        fail_stop();
        side_done(&client);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_for_each_request),
        cmocka_unit_test(what_is_not_sampled_is_passed_on_alone),
        cmocka_unit_test(two_spans_where_the_upstream_has_its_own),
        cmocka_unit_test(a_full_batch_goes_at_once_and_a_full_queue_drops),
        cmocka_unit_test(a_collector_that_is_away),
        cmocka_unit_test(a_drain_waits_for_the_spans),
        cmocka_unit_test(the_proxy_ends_while_a_batch_is_under_way),
        cmocka_unit_test(answers_of_collectors),
        cmocka_unit_test(providers_come_and_go),
        cmocka_unit_test(memory_that_is_out_costs_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
