#include "tests/unit/webhook/test.h"

#include "common/mesh/label.h"
#include "webhook/probe.h"

#define APP(parts)        "{'containers':[{'name':'a'," parts "}]}"
#define LIVE(handler)     APP("'livenessProbe':{" handler "}")
#define ORIGINAL(kind, h) "{'container':'a','kind':'" kind "'," h "}"
#define TABLE(entries)    "{'version':1,'probes':[" entries "]}"
#define GET(port, path)   "'httpGet':{'scheme':'HTTP','port':" port ",'path':'" path "','headers':[]},'timeoutSeconds':1"
#define OURS(path)        "{'httpGet':{'port':15020,'path':'" path "','scheme':'HTTP'}}"
#define LIVEZ             "/app-health/a/livez"

/* Probes as they come, and what becomes of the spec and of the annotation. */
static const struct {
    const char *spec, *after; /* NULL: as it was */
    const char *table;        /* NULL: no annotation */
    const char *warning;      /* NULL: none */
} rows[] = {
    {LIVE("'httpGet':{'port':80,'path':'/ok'}"), "{'containers':[{'name':'a','livenessProbe':" OURS(LIVEZ) "}]}",
     TABLE(ORIGINAL("livez", GET("80", "/ok"))), NULL},
    {LIVE("'httpGet':{'port':80}"), "{'containers':[{'name':'a','livenessProbe':" OURS(LIVEZ) "}]}",
     TABLE(ORIGINAL("livez", GET("80", "/"))), NULL},
    {LIVE("'httpGet':{'port':443,'path':'/?x=1','scheme':'HTTPS','httpHeaders':[{'name':'Host','value':'h'}]},"
          "'timeoutSeconds':7,'periodSeconds':3"),
     "{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':15020,'path':'" LIVEZ
     "','scheme':'HTTP'},'timeoutSeconds':7,'periodSeconds':3}}]}",
     TABLE(ORIGINAL("livez", "'httpGet':{'scheme':'HTTPS','port':443,'path':'/?x=1','headers':[{'name':'Host','value':"
                             "'h'}]},'timeoutSeconds':7")),
     NULL},
    {APP("'readinessProbe':{'tcpSocket':{'port':5432}}"),
     "{'containers':[{'name':'a','readinessProbe':" OURS("/app-health/a/readyz") "}]}",
     TABLE(ORIGINAL("readyz", "'tcpSocket':{'port':5432},'timeoutSeconds':1")), NULL},
    {APP("'startupProbe':{'grpc':{'port':9000,'service':'x.Y'}}"),
     "{'containers':[{'name':'a','startupProbe':" OURS("/app-health/a/startupz") "}]}",
     TABLE(ORIGINAL("startupz", "'grpc':{'port':9000,'service':'x.Y'},'timeoutSeconds':1")), NULL},
    {APP("'lifecycle':{'preStop':{'httpGet':{'port':80,'path':'/bye'}},'postStart':{'tcpSocket':{'port':81}}}"),
     "{'containers':[{'name':'a','lifecycle':{'preStop':" OURS("/app-lifecycle/a/prestopz") ",'postStart':" OURS(
         "/app-lifecycle/a/poststartz") "}}]}",
     TABLE(ORIGINAL("poststartz", "'tcpSocket':{'port':81}") "," ORIGINAL(
         "prestopz", "'httpGet':{'scheme':'HTTP','port':80,'path':'/bye','headers':[]}")),
     NULL},
    {APP("'ports':[{'name':'web','containerPort':8080}],'livenessProbe':{'httpGet':{'port':'web','path':'/ok'}}"),
     "{'containers':[{'name':'a','ports':[{'name':'web','containerPort':8080}],'livenessProbe':" OURS(LIVEZ) "}]}",
     TABLE(ORIGINAL("livez", GET("8080", "/ok"))), NULL},
    {"{'initContainers':[{'name':'a','restartPolicy':'Always','livenessProbe':{'httpGet':{'port':80}}}]}",
     "{'initContainers':[{'name':'a','restartPolicy':'Always','livenessProbe':" OURS(LIVEZ) "}]}",
     TABLE(ORIGINAL("livez", GET("80", "/"))), NULL},
    /* left alone */
    {LIVE("'exec':{'command':['x']}"), NULL, NULL, NULL},
    {APP("'lifecycle':{'preStop':{'sleep':{'seconds':3}}}"), NULL, NULL, NULL},
    {LIVE("'httpGet':{'port':15021,'path':'/healthz/ready'}"), NULL, NULL, NULL},
    {LIVE("'httpGet':{'port':15020,'path':'/stats/prometheus'}"), NULL, NULL, NULL},
    {"{'initContainers':[{'name':'a','livenessProbe':{'httpGet':{'port':80}}}]}", NULL, NULL, NULL},
    {"{'containers':[{'name':'fairlead-proxy','livenessProbe':{'httpGet':{'port':80}}}]}", NULL, NULL, NULL},
    {LIVE("'httpGet':null"), NULL, NULL, NULL},
    {LIVE("'httpGet':[]"), NULL, NULL, NULL},
    {LIVE("'httpGet':{'port':80},'tcpSocket':{'port':80}"), NULL, NULL, NULL},
    {APP("'lifecycle':null,'livenessProbe':null"), NULL, NULL, NULL},
    {"{}", NULL, NULL, NULL},
    /* and told */
    {LIVE("'httpGet':{'port':80,'host':'127.0.0.1'}"), NULL, NULL, "a: livenessProbe names a host"},
    {LIVE("'tcpSocket':{'port':80,'host':'db'}"), NULL, NULL, "names a host"},
    {LIVE("'httpGet':{'port':'web'}"), NULL, NULL, "names a port that its container does not have"},
    {"{'containers':[{'name':'b','ports':[{'name':'web','containerPort':80}]},"
     "{'name':'a','livenessProbe':{'httpGet':{'port':'web'}}}]}",
     NULL, NULL, "names a port that its container does not have"},
    {LIVE("'httpGet':{'port':0}"), NULL, NULL, "names a port"},
    {LIVE("'httpGet':{'port':65536}"), NULL, NULL, "names a port"},
    {LIVE("'httpGet':{}"), NULL, NULL, "names a port"},
    {LIVE("'httpGet':{'port':80,'scheme':'SPDY'}"), NULL, NULL, "has a scheme or headers"},
    {LIVE("'httpGet':{'port':80,'httpHeaders':{}}"), NULL, NULL, "has a scheme or headers"},
    {LIVE("'httpGet':{'port':80,'protocol':'H2C'}"), NULL, NULL, "has a member that is not known"},
    {LIVE("'grpc':{'port':80,'tls':{}}"), NULL, NULL, "has a member that is not known"},
    {LIVE("'httpGet':{'port':80,'path':'/\\r\\nx'}"), NULL, NULL, "a: livenessProbe "},
    {LIVE("'httpGet':{'port':80,'httpHeaders':[{'name':'a b','value':''}]}"), NULL, NULL, "a: livenessProbe "},
    {APP("'lifecycle':{'preStop':{'grpc':{'port':80}}}"), NULL, NULL, "preStop "},
    {"{'containers':[{'name':'A_b','livenessProbe':{'httpGet':{'port':80}}}]}", NULL, NULL, "A_b: livenessProbe "},
    {"{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':0}},'readinessProbe':{'httpGet':{'port':0}}},"
     "{'name':'b','livenessProbe':{'httpGet':{'port':0}}}]}",
     NULL, NULL, "a: readinessProbe names a port that its container does not have (and 2 more)"},
};

static struct fl_json *pod_of(const char *spec, const char *annotation)
{
    struct fl_json *pod = json("{'metadata':{'annotations':{}}}");
    assert_int_equal(fl_json_set(pod, "spec", json(spec)), 0);
    if (annotation != NULL) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *value = json(annotation);
        struct fl_buf text;
        fl_buf_init(&text, 65536);
        assert_int_equal(fl_json_print(value, &text), 0);
        struct fl_json *annotations = fl_json_get(fl_json_get(pod, "metadata"), "annotations");
        assert_int_equal(fl_json_set(annotations, FL_ANNOTATION_PROBES, fl_json_new_string(fl_buf_span(&text))), 0);
        fl_buf_done(&text);
    }
    return pod;
}

/* The plan made, and its edits in the pod's own spec. */
static int run(struct fl_json *pod, bool rewrite, struct webhook_probes *probes, struct webhook_warnings *warnings,
               struct fl_err *err)
{
    static const char *const lists[] = {"initContainers", "containers"};
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    assert_int_equal(fl_port_list_parse(FL_SPAN("9000"), &capture.inbound_exclude, NULL), 0);
    int result = webhook_probes_plan(pod, rewrite, &capture, probes, warnings, err);
    for (size_t i = 0; i < FL_COUNT(lists) && result == 0; i++) {
        struct fl_json *list = fl_json_get(fl_json_get(pod, "spec"), lists[i]);
        size_t index = 0;
        for (struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item))
            assert_int_equal(webhook_probes_apply(probes, lists[i], index++, item), 0);
    }
    return result;
}

static void assert_table(struct webhook_probes *probes, const char *wanted, const char *what)
{
    if (wanted == NULL) {
        if (probes->text.len != 0)
            fail_msg("%s: %s", what, fl_buf_str(&probes->text));
        return;
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *expected = json(wanted);
    struct fl_json *found = NULL;
    assert_int_equal(fl_json_parse(fl_buf_span(&probes->text), NULL, &found, NULL), 0);
    if (!fl_json_equal(expected, found))
        fail_msg("%s: %s", what, fl_buf_str(&probes->text));
    fl_json_free(found);
}

static void test_rewriting(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct webhook_probes probes = {.count = 0};
        struct webhook_warnings warnings = {.count = 0};
        struct fl_err err = {0};
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = pod_of(rows[i].spec, NULL);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *after = json(rows[i].after != NULL ? rows[i].after : rows[i].spec);
        if (run(pod, true, &probes, &warnings, &err) < 0)
            fail_msg("%s: %s", rows[i].spec, err.text);
        if (!fl_json_equal(fl_json_get(pod, "spec"), after))
            fail_msg("%s became something else", rows[i].spec);
        assert_table(&probes, rows[i].table, rows[i].spec);
        if (warnings.count != (rows[i].warning != NULL ? 1 : 0))
            fail_msg("%s gave %zu warnings", rows[i].spec, warnings.count);
        if (rows[i].warning != NULL)
            assert_contains(warnings.text[0], rows[i].warning);
        webhook_probes_done(&probes);
    }
}

#define A80 TABLE(ORIGINAL("livez", GET("80", "/ok")))

/* What other webhooks and users do to a pod that was rewritten. */
static const struct {
    const char *spec, *annotation;
    size_t edits;
    const char *table; /* NULL: no annotation */
    const char *error; /* NULL: none */
} again[] = {
    {APP("'livenessProbe':" OURS(LIVEZ)), A80, 0, A80, NULL},
    {APP("'livenessProbe':{'httpGet':{'port':15020,'path':'" LIVEZ "','scheme':'HTTP','protocol':'HTTP1'}}"), A80, 0,
     A80, NULL},
    /* the timeout is the probe's own, as it stands now */
    {APP("'livenessProbe':{'httpGet':{'port':15020,'path':'" LIVEZ "','scheme':'HTTP'},'timeoutSeconds':9}"), A80, 0,
     TABLE(ORIGINAL("livez", "'httpGet':{'scheme':'HTTP','port':80,'path':'/ok','headers':[]},'timeoutSeconds':9")),
     NULL},
    /* a new original replaces the old entry */
    {LIVE("'tcpSocket':{'port':81}"), A80, 1, TABLE(ORIGINAL("livez", "'tcpSocket':{'port':81},'timeoutSeconds':1")),
     NULL},
    /* a header was added to ours: it would only reach the sidecar */
    {APP("'livenessProbe':{'httpGet':{'port':15020,'path':'" LIVEZ "','httpHeaders':[{'name':'x','value':'y'}]}}"), A80,
     1, A80, NULL},
    /* a container was renamed, a probe copied to another place */
    {"{'containers':[{'name':'b','readinessProbe':" OURS(LIVEZ) "}]}", A80, 1,
     "{'version':1,'probes':[{'container':'b','kind':'readyz'," GET("80", "/ok") "}]}", NULL},
    /* an entry without a probe goes */
    {"{'containers':[{'name':'a'}]}", A80, 0, NULL, NULL},
    {"{'containers':[{'name':'a'}]}", "{'version':1,'probes':'x'}", 0, NULL, NULL},
    /* lost */
    {APP("'livenessProbe':" OURS(LIVEZ)), NULL, 0, NULL, "container a: livenessProbe points to the sidecar"},
    {APP("'livenessProbe':" OURS(LIVEZ)), "{'version':2}", 0, NULL, "livenessProbe points to the sidecar"},
    {APP("'readinessProbe':" OURS("/app-health/a/readyz")), A80, 0, NULL, "readinessProbe points to the sidecar"},
    /* forged: an original of our own ports is none */
    {APP("'livenessProbe':" OURS(LIVEZ)), TABLE(ORIGINAL("livez", GET("15000", "/quit"))), 0, NULL,
     "points to the sidecar"},
};

static void test_reviewed_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(again); i++) {
        struct webhook_probes probes = {.count = 0};
        struct webhook_warnings warnings = {.count = 0};
        struct fl_err err = {0};
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = pod_of(again[i].spec, again[i].annotation);
        int result = run(pod, true, &probes, &warnings, &err);
        assert_int_equal(result, again[i].error != NULL ? -ENOENT : 0);
        if (result == 0 && probes.count != again[i].edits)
            fail_msg("%s: %zu edits", again[i].spec, probes.count);
        if (again[i].error != NULL)
            assert_contains(err.text, again[i].error);
        else
            assert_table(&probes, again[i].table, again[i].spec);
        webhook_probes_done(&probes);
    }
}

/* With rewriting off what was rewritten is turned back, and the rest is told where STRICT breaks it. */
static void test_turned_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (rows[i].table == NULL)
            continue;
        struct webhook_probes probes = {.count = 0};
        struct webhook_warnings warnings = {.count = 0};
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = pod_of(rows[i].after, rows[i].table);
        assert_int_equal(run(pod, false, &probes, &warnings, NULL), 0);
        assert_true(probes.count > 0);
        assert_int_equal(probes.text.len, 0);
        webhook_probes_done(&probes);
        /* and there and back again gives the same annotation */
        assert_int_equal(run(pod, true, &probes, &warnings, NULL), 0);
        assert_table(&probes, rows[i].table, rows[i].spec);
        webhook_probes_done(&probes);
    }
    static const struct {
        const char *spec, *warning;
    } told[] = {
        {LIVE("'httpGet':{'port':8080}"), "a: livenessProbe goes to captured port 8080: left to the kubelet"},
        {LIVE("'httpGet':{'port':9000}"), NULL}, /* excluded */
        {LIVE("'httpGet':{'port':15021}"), NULL},
        {LIVE("'exec':{}"), NULL},
    };
    for (size_t i = 0; i < FL_COUNT(told); i++) {
        struct webhook_probes probes = {.count = 0};
        struct webhook_warnings warnings = {.count = 0};
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = pod_of(told[i].spec, NULL);
        assert_int_equal(run(pod, false, &probes, &warnings, NULL), 0);
        assert_int_equal(probes.count, 0);
        assert_int_equal(warnings.count, told[i].warning != NULL);
        if (told[i].warning != NULL)
            assert_contains(warnings.text[0], told[i].warning);
        webhook_probes_done(&probes);
    }
}

/* As many containers as a pod may have here, each with a probe of `path_len` bytes. */
static struct fl_json *crowd(size_t count, size_t path_len)
{
    struct fl_json *pod = json("{'spec':{'containers':[]}}");
    struct fl_json *list = fl_json_get(fl_json_get(pod, "spec"), "containers");
    char path[2048];
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "c%zu", i);
        struct fl_json *container = json("{'livenessProbe':{'httpGet':{'port':80}}}");
        assert_int_equal(fl_json_set(container, "name", fl_json_new_string(fl_span_str(name))), 0);
        struct fl_json *get = fl_json_get(fl_json_get(container, "livenessProbe"), "httpGet");
        assert_int_equal(fl_json_set(get, "path", fl_json_new_string(fl_span_make(path, path_len))), 0);
        assert_int_equal(fl_json_append(list, container), 0);
    }
    return pod;
}

static void test_more_than_there_is_room_for(void **state)
{
    (void)state;
    struct webhook_probes probes = {.count = 0};
    struct webhook_warnings warnings = {.count = 0};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *many = crowd(600, 1);
    assert_int_equal(run(many, true, &probes, &warnings, NULL), 0);
    assert_int_equal(probes.count, FL_APPPROBE_COUNT_MAX);
    assert_int_equal(warnings.count, 1);
    assert_contains(warnings.text[0], "(and 87 more)");
    webhook_probes_done(&probes);
    warnings.count = 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *long_ones = crowd(100, 2000);
    assert_int_equal(run(long_ones, true, &probes, &warnings, NULL), 0);
    assert_int_equal(probes.count, 0);
    assert_int_equal(probes.text.len, 0);
    assert_contains(warnings.text[0], "none is rewritten");
    webhook_probes_done(&probes);
}

static void test_allocations(void **state)
{
    (void)state;
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *pod = pod_of("{'containers':[{'name':'a','livenessProbe':" OURS(
                                     LIVEZ) ",'readinessProbe':{"
                                            "'httpGet':{'port':1,'httpHeaders':[{'name':'x','value':'y'}]}}}]}",
                                 A80);
    for (int rewrite = 0; rewrite < 2; rewrite++) {
        FAIL_EACH_ALLOCATION
        {
            struct webhook_probes probes = {.count = 0};
            struct webhook_warnings warnings = {.count = 0};
            int result = webhook_probes_plan(pod, rewrite, &capture, &probes, &warnings, NULL);
            fail_stop();
            assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
            webhook_probes_done(&probes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewriting),   cmocka_unit_test(test_reviewed_again),
        cmocka_unit_test(test_turned_off),  cmocka_unit_test(test_more_than_there_is_room_for),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
