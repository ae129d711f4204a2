/* proxy/telemetry/trace and otlp: contexts read and written, spans as a collector decodes them. */
#include "proxy/telemetry/otlp.h"

#include "common/xds/proto/otlp.pb-c.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static void traceparents(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
        bool valid, sampled;
    } rows[] = {
        {"sampled", "00-" TRACE "-" SPAN "-01", true, true},
        {"not sampled", "00-" TRACE "-" SPAN "-00", true, false},
        {"other flags", "00-" TRACE "-" SPAN "-ff", true, true},
        {"other flags alone", "00-" TRACE "-" SPAN "-02", true, false},
        {"a later version", "cc-" TRACE "-" SPAN "-01", true, true},
        {"a later version with more", "01-" TRACE "-" SPAN "-01-what-comes", true, true},
        {"version ff", "ff-" TRACE "-" SPAN "-01", false, false},
        {"version 00 with more", "00-" TRACE "-" SPAN "-01-x", false, false},
        {"a later version glued", "01-" TRACE "-" SPAN "-01x", false, false},
        {"upper case", "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", false, false},
        {"no trace", "00-00000000000000000000000000000000-" SPAN "-01", false, false},
        {"no span", "00-" TRACE "-0000000000000000-01", false, false},
        {"short", "00-" TRACE "-" SPAN "-0", false, false},
        {"flags not hexadecimal", "00-" TRACE "-" SPAN "-0g", false, false},
        {"version not hexadecimal", "0x-" TRACE "-" SPAN "-01", false, false},
        {"other separators", "00_" TRACE "_" SPAN "_01", false, false},
        {"space around", " 00-" TRACE "-" SPAN "-01", false, false},
        {"a list", "00-" TRACE "-" SPAN "-01,00-" TRACE "-" SPAN "-01", false, false},
        {"empty", "", false, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_trace_parent parent = {.forms = 0};
        bool valid = proxy_trace_parse_traceparent(fl_span_str(rows[i].text), &parent);
        if (valid != rows[i].valid || parent.sampled != rows[i].sampled || parent.has_ids != valid)
            fail_msg("%s", rows[i].what);
        if (valid)
            assert_int_equal(parent.trace_id[0], 0x0a);
    }
}

static void b3_in_one_field(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid, ids, decided, sampled;
    } rows[] = {
        {TRACE "-" SPAN "-1", true, true, true, true},
        {TRACE "-" SPAN "-0-" SPAN, true, true, true, false},
        {TRACE "-" SPAN "-d", true, true, true, true},
        {TRACE "-" SPAN, true, true, false, false},
        {"8448eb211c80319c-" SPAN "-1", true, true, true, true},
        {"8448EB211C80319C-" SPAN "-1", true, true, true, true},
        {"0", true, false, true, false},
        {"1", true, false, true, true},
        {"d", true, false, true, true},
        {"x", false, false, false, false},
        {"", false, false, false, false},
        {TRACE, false, false, false, false},
        {TRACE "-" SPAN "-2", false, false, false, false},
        {TRACE "-" SPAN "-1-" SPAN "-x", false, false, false, false},
        {TRACE "-" SPAN "-1-xy", false, false, false, false},
        {"0000000000000000-" SPAN "-1", false, false, false, false},
        {"af7651916cd43dd8448eb211c80319c-" SPAN "-1", false, false, false, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_trace_parent parent = {.forms = 0};
        if (proxy_trace_parse_b3(fl_span_str(rows[i].text), &parent) != rows[i].valid ||
            parent.has_ids != rows[i].ids || parent.has_sampled != rows[i].decided || parent.sampled != rows[i].sampled)
            fail_msg("%s", rows[i].text);
    }
}

static void tracestates(void **state)
{
    (void)state;
    char many[33 * 4 + 1] = "", large[PROXY_TRACE_STATE_MAX + 2];
    for (int i = 0; i < 33; i++)
        memcpy(many + i * 4, "a=b,", 5);
    memset(large, 'v', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    memcpy(large, "a=", 2);
    static const char *const valid[] = {"a=1", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", " a=1 , b=2 ", "a=1,,b=2",
                                        "1a@v-n_d*r/x=!~"};
    const char *const invalid[] = {"",           ",",     "a",  "=1", "A=1", "a=1=2", "a=\x01",
                                   "a=\xc3\xa4", "a b=1", "a=", many, large, "*a=1"};
    for (size_t i = 0; i < FL_COUNT(valid); i++) {
        if (!proxy_trace_state_valid(fl_span_str(valid[i])))
            fail_msg("%s", valid[i]);
    }
    for (size_t i = 0; i < FL_COUNT(invalid); i++) {
        if (proxy_trace_state_valid(fl_span_str(invalid[i])))
            fail_msg("%s", invalid[i]);
    }
}

/* --- from fields to fields -------------------------------------------------------------------------------------- */

struct field {
    const char *name, *value;
};

static struct proxy_headers headers;
static char scratch_bytes[PROXY_TRACE_SCRATCH];

static void set_fields(const struct field *fields, size_t count)
{
    proxy_headers_init(&headers);
    for (size_t i = 0; i < count && fields[i].name != NULL; i++)
        assert_int_equal(proxy_headers_add(&headers, fl_span_str(fields[i].name), fl_span_str(fields[i].value)), 0);
}

static const char *row; /* for messages */

static void assert_field(const char *name, const char *value)
{
    struct fl_span span = fl_span_str(name);
    const struct proxy_header *field = proxy_headers_next(&headers, proxy_header_id(span), span, NULL);
    if (value == NULL) {
        assert_null(field);
        return;
    }
    assert_non_null(field);
    if (!fl_span_eq_str(field->value, value))
        fail_msg("%s: %s: %.*s, not %s", row, name, FL_SPAN_ARG(field->value), value);
    assert_null(proxy_headers_next(&headers, proxy_header_id(span), span, field));
}

static const struct proxy_trace_sampling all = {PROXY_TRACE_MILLION, PROXY_TRACE_MILLION, PROXY_TRACE_MILLION};
static const uint64_t random_numbers[4] = {0x1111111111111111, 0x2222222222222222, 0x3333333333333333, 0};

static struct proxy_trace pass(const struct proxy_trace_sampling *sampling)
{
    struct proxy_trace_parent parent;
    struct proxy_trace trace;
    struct fl_span scratch = fl_span_make(scratch_bytes, sizeof(scratch_bytes));
    proxy_trace_read(&headers, &parent);
    proxy_trace_start(&parent, sampling, false, random_numbers, &trace);
    assert_int_equal(proxy_trace_write(&trace, &parent, trace.span_id, &headers, &scratch), 0);
    return trace;
}

#define OURS "3333333333333333"

static void contexts_go_on(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct field in[6], out[5];
    } rows[] = {
        {"a new trace",
         {{"host", "x"}},
         {{"traceparent", "00-11111111111111112222222222222222-" OURS "-01"}, {"tracestate", NULL}, {"b3", NULL}}},
        {"a trace is joined, its state kept",
         {{"traceparent", "00-" TRACE "-" SPAN "-01"}, {"tracestate", "a=1"}},
         {{"traceparent", "00-" TRACE "-" OURS "-01"}, {"tracestate", "a=1"}, {"b3", NULL}}},
        {"not sampled stays so",
         {{"traceparent", "00-" TRACE "-" SPAN "-00"}},
         {{"traceparent", "00-" TRACE "-" OURS "-00"}}},
        {"an invalid one is replaced, its state dropped",
         {{"traceparent", "00-zz"}, {"tracestate", "a=1"}},
         {{"traceparent", "00-11111111111111112222222222222222-" OURS "-01"}, {"tracestate", NULL}}},
        {"two are none",
         {{"traceparent", "00-" TRACE "-" SPAN "-01"}, {"Traceparent", "00-" TRACE "-" SPAN "-01"}},
         {{"traceparent", "00-11111111111111112222222222222222-" OURS "-01"}}},
        {"a bad state is dropped alone",
         {{"traceparent", "00-" TRACE "-" SPAN "-01"}, {"tracestate", "A=1"}},
         {{"traceparent", "00-" TRACE "-" OURS "-01"}, {"tracestate", NULL}}},
        {"b3 goes on in both forms",
         {{"b3", TRACE "-" SPAN "-1"}},
         {{"traceparent", "00-" TRACE "-" OURS "-01"}, {"b3", TRACE "-" OURS "-1-" SPAN}, {"x-b3-traceid", NULL}}},
        {"b3 with 64 bits",
         {{"b3", "8448eb211c80319c-" SPAN "-0"}},
         {{"traceparent", "00-00000000000000008448eb211c80319c-" OURS "-00"},
          {"b3", "00000000000000008448eb211c80319c-" OURS "-0-" SPAN}}},
        {"a decision alone",
         {{"b3", "0"}},
         {{"traceparent", "00-11111111111111112222222222222222-" OURS "-00"},
          {"b3", "11111111111111112222222222222222-" OURS "-0"}}},
        {"b3 in several fields",
         {{"X-B3-TraceId", TRACE}, {"X-B3-SpanId", SPAN}, {"X-B3-Sampled", "0"}, {"X-B3-ParentSpanId", OURS}},
         {{"traceparent", "00-" TRACE "-" OURS "-00"},
          {"x-b3-traceid", TRACE},
          {"x-b3-spanid", OURS},
          {"x-b3-parentspanid", SPAN},
          {"x-b3-sampled", "0"}}},
        {"debug is sampled",
         {{"X-B3-TraceId", TRACE}, {"X-B3-SpanId", SPAN}, {"X-B3-Flags", "1"}},
         {{"traceparent", "00-" TRACE "-" OURS "-01"}, {"x-b3-sampled", "1"}}},
        {"a half of b3 is none",
         {{"X-B3-TraceId", TRACE}, {"X-B3-Sampled", "0"}},
         {{"traceparent", "00-11111111111111112222222222222222-" OURS "-01"}, {"x-b3-traceid", TRACE}}},
        {"traceparent goes first, b3 follows it",
         {{"b3", "8448eb211c80319c-" SPAN "-0"}, {"traceparent", "00-" TRACE "-" SPAN "-01"}},
         {{"traceparent", "00-" TRACE "-" OURS "-01"}, {"b3", TRACE "-" OURS "-1-" SPAN}}},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        row = rows[i].what;
        set_fields(rows[i].in, FL_COUNT(rows[i].in));
        struct proxy_trace trace = pass(&all);
        assert_true(trace.on);
        for (size_t k = 0; k < FL_COUNT(rows[i].out) && rows[i].out[k].name != NULL; k++)
            assert_field(rows[i].out[k].name, rows[i].out[k].value);
    }
}

static void what_is_sampled(void **state)
{
    (void)state;
    static const struct proxy_trace_sampling half = {PROXY_TRACE_MILLION, PROXY_TRACE_MILLION / 2,
                                                     PROXY_TRACE_MILLION / 2};
    const struct proxy_trace_parent none = {.forms = 0};
    const struct proxy_trace_parent parent = {.has_ids = true, .has_sampled = true, .sampled = true};
    unsigned plain = 0, asked = 0, followed = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        const uint64_t random[4] = {1, 2, 3, i * 0x9e3779b97f4a7c15u};
        struct proxy_trace trace;
        proxy_trace_start(&none, &half, false, random, &trace);
        plain += trace.sampled;
        proxy_trace_start(&none, &half, true, random, &trace);
        asked += trace.sampled;
        proxy_trace_start(&parent, &half, false, random, &trace);
        followed += trace.sampled;
    }
    assert_in_range(plain, 900, 1100);  /* a half of a half */
    assert_in_range(asked, 1850, 2150); /* all, of which overall takes a half */
    assert_int_equal(followed, 4000);
    const struct proxy_trace_sampling nothing = {0, 0, PROXY_TRACE_MILLION};
    const uint64_t zeros[4] = {0, 0, 0, 0};
    struct proxy_trace trace;
    proxy_trace_start(&none, &nothing, false, zeros, &trace);
    assert_false(trace.sampled);
    assert_int_equal(trace.trace_id[0], 1); /* never the zero id */
    assert_int_equal(trace.span_id[0], 1);
}

static void a_head_without_room(void **state)
{
    (void)state;
    struct proxy_trace_parent parent = {.forms = PROXY_TRACE_B3 | PROXY_TRACE_B3_MULTI};
    struct proxy_trace trace;
    struct fl_span scratch = fl_span_make(scratch_bytes, sizeof(scratch_bytes));
    proxy_trace_start(&parent, &all, false, random_numbers, &trace);
    proxy_headers_init(&headers);
    for (int i = 0; i < PROXY_HEADERS_MAX - 2; i++)
        assert_int_equal(proxy_headers_add(&headers, FL_SPAN("x"), FL_SPAN("y")), 0);
    assert_int_equal(proxy_trace_write(&trace, &parent, trace.span_id, &headers, &scratch), -E2BIG);
    scratch.len = PROXY_TRACE_SCRATCH - 1;
    assert_int_equal(proxy_trace_write(&trace, &parent, trace.span_id, &headers, &scratch), -E2BIG);
}

/* --- spans ------------------------------------------------------------------------------------------------------ */

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest pb_request;
typedef Opentelemetry__Proto__Collector__Trace__V1__Span pb_span;

static const uint8_t trace_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t span_id[8] = {1, 1, 1, 1, 1, 1, 1, 1}, parent_id[8] = {2, 2, 2, 2, 2, 2, 2, 2};

static pb_request *decode(struct fl_buf *spans)
{
    static const struct proxy_span_attribute resource[] = {{FL_SPAN("service.name"), FL_SPAN("web"), 0},
                                                           {FL_SPAN("absent"), FL_SPAN(""), 0}};
    struct fl_buf whole;
    fl_buf_init(&whole, 4u << 20);
    assert_int_equal(proxy_otlp_prefix(resource, FL_COUNT(resource), spans->len, &whole), 0);
    assert_int_equal(fl_buf_append(&whole, fl_buf_span(spans)), 0);
    pb_request *request = opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(
        NULL, whole.len, (const uint8_t *)whole.data);
    assert_non_null(request);
    fl_buf_done(&whole);
    return request;
}

static void drop(pb_request *request)
{
    opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(request, NULL);
}

static void spans_are_what_a_collector_reads(void **state)
{
    (void)state;
    static const struct proxy_span_attribute attributes[] = {
        {FL_SPAN("http.request.method"), FL_SPAN("GET"), 0},
        {FL_SPAN("http.response.status_code"), {NULL, 0}, 503},
        {FL_SPAN("url.path"), FL_SPAN("/\xff\xc3\xa4"), 0},
    };
    const struct proxy_span span = {trace_id, span_id,        parent_id,           PROXY_SPAN_CLIENT,
                                    true,     FL_SPAN("GET"), FL_SPAN("a=1"),      1000,
                                    1u << 31, attributes,     FL_COUNT(attributes)};
    struct proxy_span root = span;
    struct fl_buf spans;
    root.parent_id = NULL;
    root.error = false;
    root.kind = PROXY_SPAN_SERVER;
    fl_buf_init(&spans, 1u << 20);
    assert_int_equal(proxy_otlp_add(&span, &spans), 0);
    assert_int_equal(proxy_otlp_add(&root, &spans), 0);
    pb_request *request = decode(&spans);
    assert_int_equal(request->n_resource_spans, 1);
    assert_int_equal(request->resource_spans[0]->resource->n_attributes, 1);
    assert_string_equal(request->resource_spans[0]->resource->attributes[0]->value->string_value, "web");
    assert_int_equal(request->resource_spans[0]->n_scope_spans, 1);
    assert_string_equal(request->resource_spans[0]->scope_spans[0]->scope->name, "fairlead");
    assert_int_equal(request->resource_spans[0]->scope_spans[0]->n_spans, 2);
    const pb_span *one = request->resource_spans[0]->scope_spans[0]->spans[0];
    assert_int_equal(one->trace_id.len, 16);
    assert_memory_equal(one->trace_id.data, trace_id, 16);
    assert_memory_equal(one->span_id.data, span_id, 8);
    assert_memory_equal(one->parent_span_id.data, parent_id, 8);
    assert_string_equal(one->name, "GET");
    assert_string_equal(one->trace_state, "a=1");
    assert_int_equal(one->kind, PROXY_SPAN_CLIENT);
    assert_int_equal(one->start_time_unix_nano, 1000);
    assert_int_equal(one->end_time_unix_nano, 1u << 31);
    assert_int_equal(one->status->code, 2);
    assert_int_equal(one->n_attributes, 3);
    assert_int_equal(one->attributes[1]->value->int_value, 503);
    assert_string_equal(one->attributes[2]->value->string_value, "/?\xc3\xa4");
    const pb_span *two = request->resource_spans[0]->scope_spans[0]->spans[1];
    assert_int_equal(two->parent_span_id.len, 0);
    assert_null(two->status);
    drop(request);
    fl_buf_done(&spans);
}

static void a_span_is_bounded_and_stays_whole(void **state)
{
    (void)state;
    struct proxy_span_attribute attributes[100];
    char text[2000];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < FL_COUNT(attributes); i++)
        attributes[i] = (struct proxy_span_attribute){fl_span_make(text, i * 7), fl_span_make(text, i * 20), 0};
    const struct proxy_span span = {.trace_id = trace_id,
                                    .span_id = span_id,
                                    .kind = PROXY_SPAN_SERVER,
                                    .error = true,
                                    .name = fl_span_make(text, sizeof(text)),
                                    .state = fl_span_make(text, sizeof(text)),
                                    .attributes = attributes,
                                    .attribute_count = FL_COUNT(attributes)};
    struct fl_buf spans;
    fl_buf_init(&spans, 3 * PROXY_OTLP_SPAN_MAX);
    size_t count = 0;
    int result;
    while ((result = proxy_otlp_add(&span, &spans)) == 0)
        count++;
    assert_int_equal(result, -EMSGSIZE);
    pb_request *request = decode(&spans);
    assert_int_equal(request->resource_spans[0]->scope_spans[0]->n_spans, count);
    const pb_span *one = request->resource_spans[0]->scope_spans[0]->spans[0];
    assert_int_equal(strlen(one->name), PROXY_OTLP_VALUE_MAX);
    assert_true(one->n_attributes > 20 && one->n_attributes < 100);
    assert_int_equal(one->status->code, 2);
    drop(request);
    fl_buf_done(&spans);
}

static void memory_running_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        const struct proxy_span span = {.trace_id = trace_id, .span_id = span_id, .name = FL_SPAN("GET")};
        struct fl_buf spans;
        fl_buf_init(&spans, 1u << 20);
        int result = 0;
        for (int i = 0; result == 0 && i < 50; i++)
            result = proxy_otlp_add(&span, &spans);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        drop(decode(&spans)); /* what is there is whole */
        fl_buf_done(&spans);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traceparents),
        cmocka_unit_test(b3_in_one_field),
        cmocka_unit_test(tracestates),
        cmocka_unit_test(contexts_go_on),
        cmocka_unit_test(what_is_sampled),
        cmocka_unit_test(a_head_without_room),
        cmocka_unit_test(spans_are_what_a_collector_reads),
        cmocka_unit_test(a_span_is_bounded_and_stays_whole),
        cmocka_unit_test(memory_running_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
