/* Status in words: as JSON, and as files that change only where the text does. */
#include "common/doc/yaml.h"
#include "control/source/documents.h"
#include "control/status/block.h"
#include "control/status/report.h"
#include "control/status/writer.h"
#include "tests/support/fail.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ROUTE                                                                                                          \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n"                                 \
    "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{backendRefs: [{name: nobody, port: 80}]}]}\n"
#define SERVICE "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n"
#define POLICY                                                                                                         \
    "apiVersion: fairlead.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {rules: [{what: 1}]}\n"
#define TRAFFIC                                                                                                        \
    "apiVersion: fairlead.io/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: t}\n"                                     \
    "spec: {targetRefs: [{kind: Service, name: gone}]}\n"

/* A store with the objects of a text, and one problem for each of its documents that was refused. */
static struct control_store *store_of(const char *text)
{
    struct control_store *store = NULL;
    struct control_diff *diff = NULL;
    struct control_documents documents;
    assert_int_equal(control_store_new(&store), 0);
    assert_int_equal(control_documents_read(fl_span_str(text), "t.yaml", FL_SPAN(CONTROL_ROOT_DEFAULT), &documents), 0);
    for (size_t i = 0; i < documents.object_count; i++)
        assert_int_equal(control_store_put(store, documents.objects[i].object), 0);
    struct control_problems *problems = calloc(1, sizeof(*problems));
    atomic_init(&problems->references, 1);
    fl_arena_init(&problems->arena, 1 << 20);
    struct control_problem *items = fl_arena_array(&problems->arena, documents.problem_count + 1, sizeof(*items));
    for (size_t i = 0; i < documents.problem_count; i++) {
        const struct control_document_problem *from = &documents.problems[i];
        items[i] = (struct control_problem){
            .origin = {FL_SPAN("t.yaml"), from->document, from->line, from->column},
            .known = from->known,
            .reason = from->reason,
            .kind = from->kind,
            .name_space = fl_arena_copy(&problems->arena, fl_span_str(from->name_space)),
            .name = fl_arena_copy(&problems->arena, fl_span_str(from->name)),
            .text = fl_arena_copy(&problems->arena, fl_span_str(from->text)),
        };
    }
    problems->items = items;
    problems->count = documents.problem_count;
    control_store_set_problems(store, problems);
    control_problems_unref(problems);
    assert_int_equal(control_store_commit(store, &diff), 0);
    control_diff_free(diff);
    control_documents_done(&documents);
    return store;
}

static void everything_is_told(void **state)
{
    (void)state;
    struct control_store *store = store_of(ROUTE "---\n" SERVICE "---\n" POLICY "---\n" TRAFFIC "---\nkind: 1\n");
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_int_equal(control_status_all(control_store_model(store), NULL, NULL, &out), 0);
    assert_string_equal(
        fl_buf_str(&out),
        "{\"version\":1,\"summary\":{\"objects\":3,\"problems\":4,\"refused\":2,\"warnings\":0,\"first\":["
        "\"HTTPRoute default/r: rule 0: backend default/nobody:80 is a Service that is not there; its share of the "
        "requests "
        "is answered 500\",\"AuthorizationPolicy default/p: t.yaml:14:23: $.spec.rules[0].what: unknown member; known "
        "are "
        "from, to, when; until it is mended everything is denied for whom it selects\",\"TrafficPolicy default/t: "
        "there is "
        "no Service gone\",\"t.yaml:21:1: $: apiVersion and kind are required\"]},\"objects\":["
        "{\"apiVersion\":\"gateway.networking.k8s.io/v1\",\"kind\":\"HTTPRoute\","
        "\"metadata\":{\"name\":\"r\",\"namespace\":\"default\"},"
        "\"origin\":{\"file\":\"t.yaml\",\"document\":1,\"line\":1,\"column\":1},"
        "\"status\":{\"parents\":[{\"parentRef\":{\"group\":\"\",\"kind\":\"Service\",\"namespace\":\"default\","
        "\"name\":\"a\"},\"controllerName\":\"fairlead.io/mesh-controller\",\"conditions\":["
        "{\"type\":\"Accepted\",\"status\":\"True\",\"reason\":\"Accepted\",\"message\":\"\"},"
        "{\"type\":\"ResolvedRefs\",\"status\":\"False\",\"reason\":\"BackendNotFound\",\"message\":"
        "\"rule 0: backend default/nobody:80 is a Service that is not there; its share of the requests is answered "
        "500\"}]}]}},"
        "{\"apiVersion\":\"fairlead.io/v1alpha1\",\"kind\":\"AuthorizationPolicy\","
        "\"metadata\":{\"name\":\"p\",\"namespace\":\"default\"},"
        "\"origin\":{\"file\":\"t.yaml\",\"document\":3,\"line\":11,\"column\":1},"
        "\"status\":{\"conditions\":[{\"type\":\"Accepted\",\"status\":\"False\",\"reason\":\"Invalid\",\"message\":"
        "\"t.yaml:14:23: $.spec.rules[0].what: unknown member; known are from, to, when; until it is mended everything "
        "is "
        "denied for whom it selects\"}]}},"
        "{\"apiVersion\":\"fairlead.io/v1alpha1\",\"kind\":\"TrafficPolicy\","
        "\"metadata\":{\"name\":\"t\",\"namespace\":\"default\"},"
        "\"origin\":{\"file\":\"t.yaml\",\"document\":4,\"line\":16,\"column\":1},"
        "\"status\":{\"conditions\":[{\"type\":\"Accepted\",\"status\":\"True\",\"reason\":\"Accepted\","
        "\"message\":\"\"},{\"type\":\"ResolvedRefs\",\"status\":\"False\",\"reason\":\"TargetNotFound\","
        "\"message\":\"there is no Service gone\"}]}}],"
        "\"problems\":[{\"apiVersion\":\"fairlead.io/v1alpha1\",\"kind\":\"AuthorizationPolicy\","
        "\"metadata\":{\"name\":\"p\",\"namespace\":\"default\"},"
        "\"origin\":{\"file\":\"t.yaml\",\"document\":3,\"line\":11,\"column\":1},"
        "\"status\":{\"conditions\":[{\"type\":\"Accepted\",\"status\":\"False\",\"reason\":\"Closed\","
        "\"message\":\"t.yaml:14:23: $.spec.rules[0].what: unknown member; known are from, to, when; closed until it "
        "is "
        "mended\"}]}},"
        "{\"origin\":{\"file\":\"t.yaml\",\"document\":5,\"line\":21,\"column\":1},"
        "\"status\":{\"conditions\":[{\"type\":\"Accepted\",\"status\":\"False\",\"reason\":\"Invalid\","
        "\"message\":\"t.yaml:21:1: $: apiVersion and kind are required\"}]}}],\"refusals\":[]}");
    fl_buf_done(&out);
    control_store_free(store);
}

/* What status says of the one object of a text, its conditions alone. */
static void expect_status(const char *text, const char *kind, const char *expected)
{
    struct control_store *store = store_of(text);
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_int_equal(control_status_all(control_store_model(store), NULL, NULL, &out), 0);
    const char *object = strstr(fl_buf_str(&out), kind), *found = object != NULL ? strstr(object, expected) : NULL;
    if (found == NULL)
        fail_msg("expected %s in %s", expected, fl_buf_str(&out));
    fl_buf_done(&out);
    control_store_free(store);
}

#define MESH(kind, spec) "apiVersion: fairlead.io/v1alpha1\nkind: " kind "\nmetadata: {name: x}\nspec: " spec "\n"

static void what_would_not_work_is_not_accepted(void **state)
{
    (void)state;
    expect_status(
        MESH("RequestAuthentication",
             "{jwtRules: [{issuer: a, jwks: '{\"keys\":[{\"kty\":\"RSA\",\"n\":\"abc\"}]}'}]}"),
        "RequestAuthentication",
        "\"Accepted\",\"status\":\"False\",\"reason\":\"Invalid\",\"message\":\"t.yaml:4:37: $.spec.jwtRules[0].jwks: "
        "no "
        "JWKS that tokens could be verified by: keys[0].e: must be set; until it is mended no token that it is "
        "about is good for whom it selects\"");
    expect_status(MESH("Telemetry", "{tracing: {enabled: true, endpoint: 'http://otel.example.com:4318'}}"),
                  "Telemetry",
                  "\"Accepted\",\"status\":\"False\",\"reason\":\"CollectorNotFound\",\"message\":\"tracing.endpoint: "
                  "\\\"otel.example.com\\\" is no Service that is known, and no address: no spans are sent\"");
    expect_status(MESH("Telemetry", "{tracing: {endpoint: 'http://a.default.svc.cluster.local:4318'}}") "---\n" SERVICE,
                  "Telemetry", "Service a has no TCP port 4318: no spans are sent");
    expect_status(MESH("Telemetry", "{tracing: {endpoint: 'http://a.default.svc.cluster.local:80'}}") "---\n" SERVICE,
                  "Telemetry", "\"Accepted\",\"status\":\"True\"");
    expect_status(MESH("Telemetry", "{tracing: {endpoint: 'http://192.0.2.1'}}"), "Telemetry",
                  "\"Accepted\",\"status\":\"True\"");
}

#define HTTP(parents, rules)                                                                                           \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {" parents "rules: [" rules \
    "]}\n---\n" SERVICE
#define OF_A "parentRefs: [{group: '', kind: Service, name: a}], "

static void every_broken_rule_is_told(void **state)
{
    (void)state;
    expect_status(
        HTTP("", "{backendRefs: [{name: a, port: 80}]}"), "HTTPRoute",
        "\"parents\":[],\"conditions\":[{\"type\":\"Accepted\",\"status\":\"False\",\"reason\":\"NoParentRefs\","
        "\"message\":\"the route has no parentRefs: nothing uses it\"");
    expect_status(
        HTTP(OF_A, "{backendRef: [{name: a}]}, {matches: [{path: {type: RegularExpression, value: 'a('}}]}, "
                   "{filters: [{type: ExtensionRef}]}, {backendRefs: [{name: a, port: 80, weight: 0}]}"),
        "HTTPRoute",
        "\"PartiallyInvalid\",\"status\":\"True\",\"reason\":\"NoBackendRefs\",\"message\":\"rule 0 has no "
        "backendRefs: it answers 500; Dropped Rule 1: path \\\"a(\\\": no regular expression, at its octet 2: missing "
        "closing parenthesis; "
        "rule 2 answers 500: a filter that is not supported: ExtensionRef; rule 3 answers 500: every backend has "
        "weight "
        "0\"");
    expect_status(
        HTTP(OF_A, "{backendRefs: [{name: a}, {name: b, port: 1}]}"), "HTTPRoute",
        "\"rule 0: backend default/a is without a port, which is required; its share of the requests is answered "
        "500; rule 0: backend default/b:1 is a Service that is not there; its share");
    expect_status(
        HTTP(OF_A "hostnames: [a.example], ", "{backendRefs: [{name: a, port: 80}]}"), "HTTPRoute",
        "\"Accepted\",\"status\":\"True\",\"reason\":\"Accepted\",\"message\":\"hostnames do not count where the "
        "parent is a Service\"");
}

static void what_is_not_read_is_told(void **state)
{
    (void)state;
    expect_status("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n", "\"problems\":[",
                  "\"reason\":\"NotRead\",\"message\":\"t.yaml:1:1: VirtualService \\\"v\\\" of networking.istio.io is "
                  "not read: use "
                  "HTTPRoute or TCPRoute\"");
    expect_status(HTTP(OF_A, "{backendRef: [{name: a}]}"), "HTTPRoute",
                  "\"problems\":[{\"reason\":\"UnknownMember\",\"message\":\"t.yaml:4:");
    expect_status("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n", "{", "\"warnings\":0");
}

static void what_a_proxy_refuses_is_told(void **state)
{
    (void)state;
    const struct control_refusal refusal = {FL_SPAN("sidecar~1"), FL_SPAN("LDS"),
                                            FL_SPAN("policies[\"default/x#0000\"]: no"), 2};
    const struct control_refusals refusals = {&refusal, 1};
    struct control_store *store = store_of(MESH("AuthorizationPolicy", "{rules: []}"));
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_int_equal(control_status_all(control_store_model(store), &refusals, NULL, &out), 0);
    if (strstr(fl_buf_str(&out),
               "\"Programmed\",\"status\":\"False\",\"reason\":\"RefusedByProxy\",\"message\":\"refused by 2 "
               "proxies, the first is sidecar~1: policies") == NULL ||
        strstr(fl_buf_str(&out), "\"refusals\":[{\"type\":\"LDS\"") == NULL)
        fail_msg("%s", fl_buf_str(&out));
    fl_buf_done(&out);
    control_store_free(store);
}

static void json_becomes_a_block(void **state)
{
    static const struct {
        const char *json, *expected;
    } rows[] = {
        {"{}", "{}\n"},
        {"{\"a\":\"b\",\"n\":1,\"t\":\"true\",\"e\":\"\",\"x\":\"- y: z\"}",
         "a: b\nn: 1\nt: \"true\"\ne: \"\"\nx: \"- y: z\"\n"},
        {"{\"a\":{\"b\":[1,{\"c\":2,\"d\":[]},[3]]}}", "a:\n  b:\n  - 1\n  - c: 2\n    d: []\n  - [3]\n"},
        {"{\"k\":{},\"l\":[{\"a\":[{\"b\":\"1\"}]}]}", "k: {}\nl:\n- a:\n  - b: \"1\"\n"},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *json = NULL;
        struct fl_yaml *yaml = NULL;
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        assert_int_equal(control_status_block(fl_span_str(rows[i].json), &out), 0);
        assert_string_equal(fl_buf_str(&out), rows[i].expected);
        assert_int_equal(fl_json_parse(fl_span_str(rows[i].json), NULL, &json, NULL), 0);
        assert_int_equal(fl_yaml_parse(fl_buf_span(&out), "t", NULL, &yaml, NULL), 0);
        assert_true(fl_json_equal(fl_yaml_document(yaml, 0), json));
        fl_yaml_free(yaml);
        fl_buf_done(&out);
    }
}

static void names_in(const char *path, char *names, size_t size)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    names[0] = '\0';
    for (int i = 0; i < count; i++) {
        size_t used = strlen(names);
        if (entries[i]->d_name[0] != '.')
            snprintf(names + used, size - used, "%s ", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

static ino_t inode_of(const char *folder, const char *name)
{
    char path[256];
    struct stat info;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(stat(path, &info), 0);
    return info.st_ino;
}

static int update(struct control_status_writer *writer, const struct control_store *store)
{
    int result = 0;
    control_status_writer_begin(writer, control_store_model(store));
    while (control_status_writer_is_busy(writer))
        result = control_status_writer_step(writer, 0, NULL);
    return result;
}

/* One file at each step; what changes during a round is the next one's affair. */
static void files_come_one_by_one(void **state)
{
    char folder[] = "/tmp/fl-status.XXXXXX", path[128], names[1024];
    struct control_status_writer *writer = NULL;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/status", folder);
    assert_int_equal(control_status_writer_open(path, &writer, NULL), 0);
    struct control_store *full = store_of(ROUTE "---\n" SERVICE "---\n" TRAFFIC), *empty = store_of("");
    control_status_writer_begin(writer, control_store_model(full));
    assert_int_equal(control_status_writer_step(writer, 0, NULL), 0);
    names_in(path, names, sizeof(names));
    assert_string_equal(names, "HTTPRoute.default.r.yaml ");
    assert_true(control_status_writer_is_busy(writer));
    control_status_writer_begin(writer, control_store_model(empty));
    while (control_status_writer_is_busy(writer))
        assert_int_equal(control_status_writer_step(writer, 0, NULL), 0);
    names_in(path, names, sizeof(names));
    assert_string_equal(names, "HTTPRoute.default.r.yaml TrafficPolicy.default.t.yaml ");
    assert_true(control_status_writer_has(writer, control_store_model(full)));
    assert_int_equal(update(writer, empty), 0);
    names_in(path, names, sizeof(names));
    assert_string_equal(names, "");
    control_status_writer_begin(writer, control_store_model(full));
    assert_int_equal(control_status_writer_step(writer, 0, NULL), 0);
    control_status_writer_close(writer); /* in the middle of a round */
    control_store_free(full);
    control_store_free(empty);
    snprintf(names, sizeof(names), "%s/HTTPRoute.default.r.yaml", path);
    assert_int_equal(unlink(names), 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void files_follow_the_model(void **state)
{
    char folder[] = "/tmp/fl-status.XXXXXX", path[128], names[1024];
    struct control_status_writer *writer = NULL;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/status", folder);
    assert_int_equal(control_status_writer_open(path, &writer, NULL), 0);
    struct control_store *one = store_of(ROUTE "---\n" SERVICE "---\n" TRAFFIC "---\nkind: 1\n---\n"
                                               "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: 1\n");
    assert_int_equal(update(writer, one), 0);
    names_in(path, names, sizeof(names));
    assert_string_equal(names,
                        "HTTPRoute.default.r.yaml Service.default.b.yaml TrafficPolicy.default.t.yaml problems.yaml ");
    ino_t before = inode_of(path, "HTTPRoute.default.r.yaml");
    control_status_writer_close(writer);

    /* Another process: it goes on with what is there. */
    assert_int_equal(control_status_writer_open(path, &writer, NULL), 0);
    struct control_store *two = store_of(ROUTE "---\n" SERVICE);
    assert_int_equal(update(writer, two), 0);
    names_in(path, names, sizeof(names));
    assert_string_equal(names, "HTTPRoute.default.r.yaml ");
    before = inode_of(path, "HTTPRoute.default.r.yaml");
    struct control_store *three = store_of(ROUTE "---\n" SERVICE "---\n" TRAFFIC);
    assert_int_equal(update(writer, three), 0);
    assert_int_equal(inode_of(path, "HTTPRoute.default.r.yaml"), before); /* the same text: not written again */
    struct control_store *none = store_of("");
    assert_int_equal(update(writer, none), 0);
    names_in(path, names, sizeof(names));
    assert_string_equal(names, "");
    control_status_writer_close(writer);
    control_store_free(one);
    control_store_free(two);
    control_store_free(three);
    control_store_free(none);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    struct control_store *store = store_of(ROUTE "---\n" SERVICE "---\n" POLICY "---\n" TRAFFIC "---\nkind: 1\n");
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 1 << 20);
        int result = control_status_all(control_store_model(store), NULL, NULL, &out);
        fail_stop();
        assert_true(result == 0 || (result == -ENOMEM && fail_happened()));
        fl_buf_done(&out);
    }
    control_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_told),         cmocka_unit_test(what_a_proxy_refuses_is_told),
        cmocka_unit_test(json_becomes_a_block),       cmocka_unit_test(files_come_one_by_one),
        cmocka_unit_test(files_follow_the_model),     cmocka_unit_test(what_would_not_work_is_not_accepted),
        cmocka_unit_test(memory_that_is_out_is_told), cmocka_unit_test(every_broken_rule_is_told),
        cmocka_unit_test(what_is_not_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
