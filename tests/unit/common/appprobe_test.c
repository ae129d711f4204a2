#include "common/mesh/appprobe.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define EXAMPLE                                                                                                        \
    "{\"version\":1,\"probes\":["                                                                                      \
    "{\"container\":\"app\",\"kind\":\"readyz\",\"httpGet\":{\"scheme\":\"HTTPS\",\"port\":8443,\"path\":\"/ok?x=1\"," \
    "\"headers\":[{\"name\":\"Host\",\"value\":\"app.local\"},{\"name\":\"X-A\",\"value\":\"\"}]},"                    \
    "\"timeoutSeconds\":3},"                                                                                           \
    "{\"container\":\"app\",\"kind\":\"prestopz\",\"httpGet\":{\"scheme\":\"HTTP\",\"port\":80,\"path\":\"/bye\","     \
    "\"headers\":[]}},"                                                                                                \
    "{\"container\":\"db\",\"kind\":\"startupz\",\"tcpSocket\":{\"port\":5432},\"timeoutSeconds\":1},"                 \
    "{\"container\":\"db\",\"kind\":\"livez\",\"grpc\":{\"port\":9000,\"service\":\"a \\\"b\\\"\"},"                   \
    "\"timeoutSeconds\":2147483647}]}"

static const struct fl_appprobe_header headers[] = {{FL_SPAN("Host"), FL_SPAN("app.local")},
                                                    {FL_SPAN("X-A"), FL_SPAN("")}};

/* Those of EXAMPLE, in no order. */
static const struct fl_appprobe example[] = {
    {.container = FL_SPAN("db"),
     .kind = FL_APPPROBE_LIVEZ,
     .handler = FL_APPPROBE_GRPC,
     .port = 9000,
     .service = FL_SPAN("a \"b\""),
     .timeout_s = INT32_MAX},
    {.container = FL_SPAN("app"),
     .kind = FL_APPPROBE_PRESTOPZ,
     .handler = FL_APPPROBE_HTTP_GET,
     .port = 80,
     .path = FL_SPAN("/bye")},
    {.container = FL_SPAN("db"),
     .kind = FL_APPPROBE_STARTUPZ,
     .handler = FL_APPPROBE_TCP_SOCKET,
     .port = 5432,
     .timeout_s = 1},
    {.container = FL_SPAN("app"),
     .kind = FL_APPPROBE_READYZ,
     .handler = FL_APPPROBE_HTTP_GET,
     .port = 8443,
     .https = true,
     .path = FL_SPAN("/ok?x=1"),
     .headers = headers,
     .header_count = FL_COUNT(headers),
     .timeout_s = 3},
};

static void assert_prints(const struct fl_appprobes *table, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, FL_APPPROBE_TEXT_MAX);
    assert_int_equal(fl_appprobes_print(table, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static void put_all(struct fl_appprobes *table)
{
    struct fl_err err;
    for (size_t i = 0; i < FL_COUNT(example); i++)
        if (fl_appprobes_put(table, &example[i], &err) != 0)
            fail_msg("%s", err.text);
}

static void a_table_has_one_form(void **state)
{
    (void)state;
    struct fl_appprobes table, again;
    struct fl_err err;
    fl_appprobes_init(&table);
    assert_prints(&table, "{\"version\":1,\"probes\":[]}");
    put_all(&table);
    assert_prints(&table, EXAMPLE);
    put_all(&table); /* each in its own place */
    assert_prints(&table, EXAMPLE);
    if (fl_appprobes_parse(FL_SPAN(EXAMPLE), &again, &err) != 0)
        fail_msg("%s", err.text);
    assert_prints(&again, EXAMPLE);
    fl_appprobes_done(&again);
    fl_appprobes_done(&table);
}

/* What the handler does not have is not kept. */
static void members_in_any_order_and_leftovers_give_equal_bytes(void **state)
{
    (void)state;
    static const char other[] =
        " {\"probes\":[{\"timeoutSeconds\":1.0,\"tcpSocket\":{\"port\":80},\"kind\":\"livez\",\"container\":\"b\"},"
        "{\"kind\":\"livez\",\"container\":\"a\",\"timeoutSeconds\":2,\"tcpSocket\":{\"port\":81}}],\"version\":1}";
    static const char canonical[] =
        "{\"version\":1,\"probes\":["
        "{\"container\":\"a\",\"kind\":\"livez\",\"tcpSocket\":{\"port\":81},\"timeoutSeconds\":2},"
        "{\"container\":\"b\",\"kind\":\"livez\",\"tcpSocket\":{\"port\":80},\"timeoutSeconds\":1}]}";
    struct fl_appprobes table;
    assert_int_equal(fl_appprobes_parse(fl_span_str(other), &table, NULL), 0);
    assert_prints(&table, canonical);
    struct fl_appprobe probe = table.probes[0];
    probe.https = true;
    probe.path = FL_SPAN("/x");
    probe.service = FL_SPAN("s");
    probe.headers = headers;
    probe.header_count = 1;
    assert_int_equal(fl_appprobes_put(&table, &probe, NULL), 0);
    assert_prints(&table, canonical);
    assert_int_equal(table.probes[0].header_count, 0);
    fl_appprobes_done(&table);
}

static void a_probe_is_found_by_container_and_kind(void **state)
{
    (void)state;
    struct fl_appprobes table, empty = {0};
    fl_appprobes_init(&table);
    put_all(&table);
    const struct fl_appprobe *found = fl_appprobes_find(&table, FL_SPAN("app"), FL_APPPROBE_READYZ);
    assert_non_null(found);
    assert_int_equal(found->port, 8443);
    assert_true(found->https);
    assert_int_equal(found->header_count, 2);
    assert_true(fl_span_eq_str(found->headers[0].value, "app.local"));
    assert_null(fl_appprobes_find(&table, FL_SPAN("app"), FL_APPPROBE_LIVEZ));
    assert_null(fl_appprobes_find(&table, FL_SPAN("ap"), FL_APPPROBE_READYZ));
    assert_null(fl_appprobes_find(&table, FL_SPAN(""), FL_APPPROBE_READYZ));
    assert_null(fl_appprobes_find(&empty, FL_SPAN("app"), FL_APPPROBE_READYZ));
    fl_appprobes_done(&table);
    fl_appprobes_done(&empty);
}

static void what_is_wrong_is_named_with_what_is_right(void **state)
{
    (void)state;
#define TABLE(probes)        "{\"version\":1,\"probes\":[" probes "]}"
#define PROBE(handler, rest) "{\"container\":\"a\",\"kind\":\"livez\"," handler rest "}"
#define TIMED(handler)       TABLE(PROBE(handler, ",\"timeoutSeconds\":1"))
#define HTTP(path, headers)                                                                                            \
    "\"httpGet\":{\"scheme\":\"HTTP\",\"port\":80,\"path\":\"" path "\",\"headers\":" headers "}"
    static const struct {
        const char *text;
        int code;
        const char *message;
    } rows[] = {
        {"", -EINVAL, "byte 0 ($): the text ends where a value is expected"},
        {"[]", -EINVAL, "$: expected an object, got an array"},
        {"{\"version\":2,\"more\":1}", -ENOTSUP, "$.version: the table of probes is of version 2; known is 1"},
        {"{\"version\":\"1\",\"probes\":[]}", -EINVAL,
         "$.version: expected the version of a table of probes, got \"1\""},
        {"{\"version\":1}", -EINVAL, "$.probes: required, but missing"},
        {"{\"version\":1,\"probes\":[],\"x\":1}", -EINVAL, "$.x: "},
        {"{\"version\":1,\"probes\":{}}", -EINVAL, "$.probes: expected an array, got an object"},
        {TABLE("{}"), -EINVAL, "$.probes[0].container: required, but missing"},
        {TABLE(PROBE("\"tcpSocket\":{\"port\":80}", "")), -EINVAL, "$.probes[0]: expected timeoutSeconds of 1 to"},
        {TABLE(PROBE("\"tcpSocket\":{\"port\":80}", ",\"timeoutSeconds\":0")), -EINVAL,
         "$.probes[0].timeoutSeconds: expected a whole number from 1 to 2147483647, got 0"},
        {TIMED("\"tcpSocket\":{\"port\":0}"), -EINVAL, "$.probes[0].tcpSocket.port: expected a whole number from 1 to"},
        {TIMED("\"tcpSocket\":{\"port\":15020}"), -EINVAL, "$.probes[0]: expected a port of the app"},
        {TIMED("\"tcpSocket\":{\"port\":80,\"host\":\"x\"}"), -EINVAL, "$.probes[0].tcpSocket.host: "},
        {TIMED("\"tcpSocket\":{\"port\":80},\"grpc\":{\"port\":80,\"service\":\"\"}"), -EINVAL,
         "$.probes[0]: expected one of httpGet, tcpSocket and grpc"},
        {TABLE("{\"container\":\"a\",\"kind\":\"livez\",\"timeoutSeconds\":1}"), -EINVAL,
         "$.probes[0]: expected one of httpGet, tcpSocket and grpc"},
        {TABLE("{\"container\":\"a\",\"kind\":\"exec\"}"), -EINVAL,
         "$.probes[0].kind: expected one of \"startupz\", \"readyz\", \"livez\", \"poststartz\", \"prestopz\""},
        {TABLE("{\"container\":\"A/b\",\"kind\":\"livez\",\"tcpSocket\":{\"port\":80},\"timeoutSeconds\":1}"), -EINVAL,
         "$.probes[0]: expected a container's name"},
        {TABLE("{\"container\":\"a\",\"kind\":\"prestopz\",\"tcpSocket\":{\"port\":80},\"timeoutSeconds\":1}"), -EINVAL,
         "$.probes[0]: expected no timeoutSeconds for a lifecycle handler"},
        {TABLE("{\"container\":\"a\",\"kind\":\"prestopz\",\"grpc\":{\"port\":80,\"service\":\"\"}}"), -EINVAL,
         "$.probes[0]: expected httpGet or tcpSocket for a lifecycle handler"},
        {TIMED("\"grpc\":{\"port\":80,\"service\":\"a\\nb\"}"), -EINVAL, "$.probes[0]: expected a service without"},
        {TIMED("\"httpGet\":{\"scheme\":\"ftp\",\"port\":80,\"path\":\"/\",\"headers\":[]}"), -EINVAL,
         "$.probes[0].httpGet.scheme: expected one of \"HTTP\", \"HTTPS\""},
        {TIMED(HTTP("/a\\rb", "[]")), -EINVAL, "$.probes[0]: expected a path without control characters"},
        {TIMED(HTTP("/", "[{\"name\":\"a b\",\"value\":\"\"}]")), -EINVAL, "$.probes[0]: expected a header's name"},
        {TIMED(HTTP("/", "[{\"name\":\"\",\"value\":\"\"}]")), -EINVAL, "$.probes[0]: expected a header's name"},
        {TIMED(HTTP("/", "[{\"name\":\"a\",\"value\":\"x\\r\\ny: z\"}]")), -EINVAL,
         "$.probes[0]: expected header values without control characters"},
        {TIMED(HTTP("/", "[{\"name\":\"a\"}]")), -EINVAL,
         "$.probes[0].httpGet.headers[0].value: required, but missing"},
        {TABLE(PROBE("\"tcpSocket\":{\"port\":80}", ",\"timeoutSeconds\":1") "," PROBE("\"tcpSocket\":{\"port\":81}",
                                                                                       ",\"timeoutSeconds\":1")),
         -EINVAL, "$.probes[1]: a container's probe of one kind stands there twice"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_appprobes table;
        struct fl_err err = {0};
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_appprobes_parse(guard.span, &table, &err), rows[i].code);
        if (strncmp(err.text, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_int_equal(fl_appprobes_parse(guard.span, &table, NULL), rows[i].code);
        guard_done(&guard);
    }
}

static void put_refuses_what_parse_would(void **state)
{
    (void)state;
    struct fl_appprobes table;
    struct fl_appprobe probe = {.container = FL_SPAN("a"), .kind = FL_APPPROBE_LIVEZ, .port = 80, .timeout_s = 1};
    const struct fl_appprobe good = probe;
    struct fl_err err;
    struct fl_appprobe_header bad = {FL_SPAN("n"), FL_SPAN("\xff")};
    fl_appprobes_init(&table);
    probe.path = FL_SPAN("/\xc0\x80");
    assert_int_equal(fl_appprobes_put(&table, &probe, &err), -EINVAL);
    probe = good;
    probe.headers = &bad;
    probe.header_count = 1;
    assert_int_equal(fl_appprobes_put(&table, &probe, &err), -EINVAL);
    probe.header_count = FL_APPPROBE_HEADERS_MAX + 1;
    assert_int_equal(fl_appprobes_put(&table, &probe, &err), -EINVAL);
    assert_string_equal(err.text, "expected at most 64 headers");
    probe = good;
    probe.timeout_s = (uint32_t)INT32_MAX + 1;
    assert_int_equal(fl_appprobes_put(&table, &probe, NULL), -EINVAL);
    assert_int_equal(table.count, 0);
    assert_int_equal(fl_appprobes_put(&table, &good, NULL), 0);
    fl_appprobes_done(&table);
}

static void a_table_is_bounded(void **state)
{
    (void)state;
    struct fl_appprobes table;
    struct fl_appprobe probe = {.kind = FL_APPPROBE_LIVEZ, .port = 80, .timeout_s = 1};
    struct fl_buf out;
    struct fl_err err;
    char name[16], path[FL_APPPROBE_VALUE_MAX];
    fl_appprobes_init(&table);
    for (int i = 0; i < FL_APPPROBE_COUNT_MAX; i++) {
        snprintf(name, sizeof(name), "c%d", (i * 7) % FL_APPPROBE_COUNT_MAX);
        probe.container = fl_span_str(name);
        assert_int_equal(fl_appprobes_put(&table, &probe, NULL), 0);
    }
    assert_int_equal(table.count, FL_APPPROBE_COUNT_MAX);
    probe.kind = FL_APPPROBE_READYZ;
    assert_int_equal(fl_appprobes_put(&table, &probe, &err), -EMSGSIZE);
    assert_string_equal(err.text, "expected at most 512 probes");
    probe.kind = FL_APPPROBE_LIVEZ; /* there already */
    memset(path, 'x', sizeof(path));
    probe.path = fl_span_make(path, sizeof(path));
    assert_int_equal(fl_appprobes_put(&table, &probe, NULL), 0);
    fl_buf_init(&out, 4 * FL_APPPROBE_TEXT_MAX);
    assert_int_equal(fl_buf_append_str(&out, "before"), 0);
    assert_int_equal(fl_appprobes_print(&table, &out), -EMSGSIZE);
    assert_int_equal(out.len, 6);
    fl_buf_done(&out);
    int result = 0;
    for (int i = 0; i < 10000 && result == 0; i++)
        result = fl_appprobes_put(&table, &probe, &err);
    assert_int_equal(result, -EMSGSIZE);
    assert_non_null(fl_appprobes_find(&table, probe.container, FL_APPPROBE_LIVEZ));
    fl_appprobes_done(&table);
}

static void paths_are_made_and_read_in_one_place(void **state)
{
    (void)state;
    static const char *const made[] = {"/app-health/app-1/startupz", "/app-health/app-1/readyz",
                                       "/app-health/app-1/livez", "/app-lifecycle/app-1/poststartz",
                                       "/app-lifecycle/app-1/prestopz"};
    static const char *const others[] = {
        "",
        "/",
        "/app-health",
        "/app-health/",
        "/app-health//readyz",
        "/app-health/a",
        "/app-health/a/",
        "/app-health/a/readyz/",
        "/app-health/a/READYZ",
        "/app-health/a/prestopz",
        "/app-lifecycle/a/readyz",
        "/app-health/A/readyz",
        "/app-health/a/b/readyz",
        "/app-health/../readyz",
        "app-health/a/readyz",
    };
    char path[FL_APPPROBE_PATH_MAX], name[FL_APPPROBE_PATH_MAX];
    struct fl_span container;
    enum fl_appprobe_kind kind = FL_APPPROBE_STARTUPZ;
    for (unsigned i = 0; i < FL_APPPROBE_KIND_COUNT; i++) {
        struct guard guard;
        assert_int_equal(fl_appprobe_path_print(FL_SPAN("app-1"), (enum fl_appprobe_kind)i, path), strlen(made[i]));
        assert_string_equal(path, made[i]);
        guard_init(&guard, fl_span_str(path));
        assert_true(fl_appprobe_path_parse(guard.span, &container, &kind));
        assert_true(fl_span_eq_str(container, "app-1"));
        assert_int_equal(kind, i);
        guard_done(&guard);
    }
    for (size_t i = 0; i < FL_COUNT(others); i++)
        if (fl_appprobe_path_parse(fl_span_str(others[i]), &container, &kind))
            fail_msg("%s", others[i]);
    memset(name, 'n', sizeof(name));
    assert_int_equal(fl_appprobe_path_print(fl_span_make(name, 63), FL_APPPROBE_POSTSTARTZ, path), 15 + 63 + 1 + 10);
    assert_int_equal(fl_appprobe_path_print(fl_span_make(name, 64), FL_APPPROBE_POSTSTARTZ, path), 0);
    assert_string_equal(path, "");
    assert_string_equal(fl_appprobe_kind_member(FL_APPPROBE_PRESTOPZ), "preStop");
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_appprobes table = {0};
        int result = fl_appprobes_parse(FL_SPAN(EXAMPLE), &table, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_appprobes_done(&table);
    }
    FAIL_EACH_ALLOCATION
    {
        struct fl_appprobes table;
        int result = 0;
        size_t put = 0;
        fl_appprobes_init(&table);
        for (size_t i = 0; i < FL_COUNT(example) && result == 0; i++) {
            result = fl_appprobes_put(&table, &example[i], NULL);
            put += result == 0;
        }
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_int_equal(table.count, put);
        fl_appprobes_done(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_has_one_form),
        cmocka_unit_test(members_in_any_order_and_leftovers_give_equal_bytes),
        cmocka_unit_test(a_probe_is_found_by_container_and_kind),
        cmocka_unit_test(what_is_wrong_is_named_with_what_is_right),
        cmocka_unit_test(put_refuses_what_parse_would),
        cmocka_unit_test(a_table_is_bounded),
        cmocka_unit_test(paths_are_made_and_read_in_one_place),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
