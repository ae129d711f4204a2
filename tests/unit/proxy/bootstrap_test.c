/* proxy/config: the golden bootstraps compile to the snapshots that they describe; refresh; life. */
#include "proxy/config/bootstrap.h"

#include "common/doc/json.h"
#include "common/tls/context.h"
#include "proxy/route/table.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/pki_folder.h"

#include <errno.h>

static struct pki_folder folder;

static int setup(void **state)
{
    (void)state;
    pki_folder_init(&folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_folder_done(&folder);
    return 0;
}

#define assert_span(span, text)                                                                                        \
    do {                                                                                                               \
        if (!fl_span_eq_str(span, text))                                                                               \
            fail_msg("expected \"%s\", got \"%.*s\"", text, FL_SPAN_ARG(span));                                        \
    } while (0)

static void assert_address(const struct proxy_address *address, const char *text)
{
    char printed[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(address, printed);
    assert_string_equal(printed, text);
}

static struct proxy_snapshot *load(const char *name)
{
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    pki_folder_golden(&folder, name, &text);
    struct proxy_snapshot *snapshot = NULL;
    struct fl_err err = {0};
    struct proxy_bootstrap_warnings warnings;
    if (proxy_bootstrap_parse(fl_buf_span(&text), name, &warnings, &snapshot, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(warnings.count, 0);
    fl_buf_done(&text);
    return snapshot;
}

static void test_client(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = load("client");
    assert_int_equal(snapshot->version, 1);
    assert_int_equal(snapshot->ignored_fields, 0);
    assert_span(snapshot->node.id, "sidecar~10.88.0.2~client.demo~demo.svc.cluster.local");
    assert_span(snapshot->node.cluster, "client.demo");
    assert_span(snapshot->node.service_account, "client");
    assert_true(snapshot->node.in_mesh);
    static const char *const preface[FL_PREFACE_FIELDS] = {
        [FL_PREFACE_WORKLOAD] = "client",      [FL_PREFACE_NAMESPACE] = "demo",
        [FL_PREFACE_APP] = "client",           [FL_PREFACE_VERSION] = "v1",
        [FL_PREFACE_CLUSTER] = "Kubernetes",   [FL_PREFACE_CANONICAL_SERVICE] = "client",
        [FL_PREFACE_CANONICAL_REVISION] = "v1"};
    for (size_t i = 1; i < FL_PREFACE_FIELDS; i++)
        assert_span(snapshot->node.preface.fields[i], preface[i]);
    assert_address(&snapshot->admin, "127.0.0.1:15000");

    assert_int_equal(snapshot->listener_count, 1);
    const struct proxy_listener *listener = snapshot->listeners[0];
    assert_span(listener->name, "virtualOutbound");
    assert_address(&listener->address, "[::]:15001");
    assert_true(listener->ipv4_compat);
    assert_true(listener->bind_to_port);
    assert_true(listener->original_dst);
    assert_false(listener->tls_inspector);
    assert_int_equal(listener->direction, PROXY_OUTBOUND);
    assert_int_equal(listener->inspect_timeout_ms, 15000);

    assert_int_equal(listener->chain_count, 1);
    const struct proxy_filter_chain *chain = &listener->chains[0];
    assert_span(chain->name, "server.demo");
    assert_int_equal(chain->match.destination_port, 8080);
    assert_int_equal(chain->match.prefix_count, 1);
    assert_int_equal(chain->match.prefixes[0].prefix, 32);
    assert_memory_equal(chain->match.prefixes[0].address, "\x0a\x58\x00\x03", 4);
    assert_null(chain->tls);
    assert_int_equal(chain->kind, PROXY_FILTER_HTTP);
    assert_span(chain->http->stat_prefix, "outbound");
    assert_int_equal(chain->http->access_log_count, 1);
    assert_span(chain->http->access_logs[0].path, "/dev/stdout");
    assert_null(chain->http->access_logs[0].format);
    assert_int_equal(chain->http->stream_idle_timeout_ms, 300000);
    assert_int_equal(chain->http->max_head_bytes, 61440);
    const struct proxy_route_config *routes = proxy_route_table_config(chain->http->routes);
    assert_span(routes->name, "8080");
    assert_int_equal(routes->virtual_host_count, 1);
    const struct proxy_route *route = &routes->virtual_hosts[0].routes[0];
    assert_int_equal(route->action, PROXY_ROUTE_CLUSTER);
    assert_int_equal(route->timeout_ms, 0);
    assert_int_equal(route->match.path_kind, PROXY_PATH_PREFIX);

    assert_non_null(listener->default_chain);
    assert_int_equal(listener->default_chain->kind, PROXY_FILTER_TCP);
    const struct proxy_tcp_config *tcp = listener->default_chain->tcp;
    assert_span(tcp->cluster, "PassthroughCluster");
    assert_int_equal(tcp->idle_timeout_ms, 3600000);
    assert_ptr_equal(proxy_snapshot_cluster(snapshot, tcp->cluster_index),
                     proxy_snapshot_cluster_named(snapshot, FL_SPAN("PassthroughCluster")));

    assert_int_equal(snapshot->cluster_count, 2);
    const struct proxy_cluster *server =
        proxy_snapshot_cluster_named(snapshot, FL_SPAN("outbound|8080||server.demo.svc.cluster.local"));
    assert_non_null(server);
    assert_ptr_equal(server, snapshot->clusters[route->clusters[0].cluster_index]);
    assert_int_equal(server->type, PROXY_CLUSTER_STATIC);
    assert_int_equal(server->connect_timeout_ms, 5000);
    assert_int_equal(server->own.count, 1);
    assert_address(&server->own.list[0].address, "10.88.0.3:8080");
    assert_true(server->own.list[0].healthy);
    assert_int_equal(server->service_count, 1);
    assert_span(server->services[0].host, "server.demo.svc.cluster.local");
    assert_span(server->services[0].name, "server");
    assert_span(server->services[0].name_space, "demo");
    assert_non_null(server->tls);
    assert_int_equal(server->max_connections, 1024);
    const struct proxy_cluster *passthrough = snapshot->clusters[tcp->cluster_index];
    assert_int_equal(passthrough->type, PROXY_CLUSTER_ORIGINAL_DST);
    assert_int_equal(passthrough->lb_policy, PROXY_LB_ORIGINAL_DST);
    assert_null(passthrough->tls);

    assert_int_equal(snapshot->file_count, 3);
    assert_int_equal(snapshot->cert_count, 1);
    assert_span(snapshot->certs[0].spiffe, "spiffe://cluster.local/ns/demo/sa/server");
    assert_int_equal(snapshot->certs[0].not_after, 4000000000);
    assert_false(proxy_snapshot_files_changed(snapshot));
}

static void test_server_strict(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = load("server-strict");
    const struct proxy_listener *listener = snapshot->listeners[0];
    assert_int_equal(listener->direction, PROXY_INBOUND);
    assert_int_equal(listener->chain_count, 1);
    assert_int_equal(listener->chains[0].match.destination_port, 8080);
    assert_non_null(listener->chains[0].tls);
    assert_ptr_equal(listener->chains[0].tls, listener->default_chain->tls); /* equal settings, one context */
    assert_span(listener->default_chain->name, "tcp");
    const struct proxy_cluster *inbound = proxy_snapshot_cluster_named(snapshot, FL_SPAN("inbound"));
    assert_address(&inbound->bind_v4, "127.0.0.6:0");
    assert_address(&inbound->bind_v6, "[::6]:0");
    assert_span(inbound->services[0].name, "server");
}

static void test_server_permissive(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = load("server-permissive");
    const struct proxy_listener *listener = snapshot->listeners[0];
    assert_true(listener->tls_inspector);
    assert_int_equal(listener->inspect_timeout_ms, 300);
    assert_true(listener->continue_on_timeout);
    assert_int_equal(listener->chain_count, 3);
    assert_int_equal(listener->chains[0].match.transport, PROXY_TRANSPORT_TLS);
    assert_span(listener->chains[0].match.application_protocols[0], FL_ALPN_TCP);
    assert_non_null(listener->chains[1].tls);
    assert_int_equal(listener->chains[2].match.transport, PROXY_TRANSPORT_RAW);
    assert_null(listener->chains[2].tls);
    assert_null(listener->default_chain->tls);
    assert_int_equal(listener->default_chain->kind, PROXY_FILTER_TCP);
}

/* The same document as JSON means the same. */
/* A gateway has the ports of a mesh's pod, without a capture. */
static void test_a_gateway_is_in_the_mesh(void **state)
{
    (void)state;
    static const char text[] = "node: {id: \"router~10.0.0.9~edge.demo~demo.svc.cluster.local\", cluster: edge}\n";
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    assert_int_equal(proxy_bootstrap_parse(fl_span_str(text), "x", NULL, &snapshot, NULL), 0);
    assert_true(snapshot->node.in_mesh);
}

static void test_json_is_yaml_too(void **state)
{
    (void)state;
    static const char text[] = "{\"node\": {\"id\": \"a\"}, \"staticResources\": {\"clusters\": [{\"name\": \"c\", "
                               "\"connectTimeout\": \"0.25s\"}]}}";
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    assert_int_equal(proxy_bootstrap_parse(fl_span_str(text), "x", NULL, &snapshot, NULL), 0);
    assert_int_equal(snapshot->clusters[0]->connect_timeout_ms, 250);
    assert_false(snapshot->node.in_mesh);
    assert_int_equal(snapshot->listener_count, 0);
    assert_false(proxy_address_is_set(&snapshot->admin));
}

static void test_ignored_fields_are_told(void **state)
{
    (void)state;
    static const char text[] = "layered_runtime: {layers: []}\n"
                               "static_resources:\n"
                               "  clusters:\n"
                               "  - name: c\n"
                               "    health_checks: [{}]\n"
                               "    connect_timeout: 1s\n";
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    struct proxy_bootstrap_warnings warnings;
    assert_int_equal(proxy_bootstrap_parse(fl_span_str(text), "x.yaml", &warnings, &snapshot, NULL), 0);
    assert_int_equal(warnings.count, 2);
    assert_int_equal(snapshot->ignored_fields, 2);
    assert_string_equal(warnings.texts[0], "x.yaml:1:18: $.layered_runtime: not known here, ignored");
    assert_string_equal(warnings.texts[1],
                        "x.yaml:5:20: $.static_resources.clusters[0].health_checks: not known here, ignored");
}

static void write_bootstrap(const char *name, char path[128])
{
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    pki_folder_golden(&folder, name, &text);
    pki_folder_write(&folder, "bootstrap.yaml", fl_buf_span(&text));
    fl_buf_done(&text);
    snprintf(path, 128, "%s/bootstrap.yaml", folder.path);
}

static void test_refresh_reads_the_files_anew(void **state)
{
    (void)state;
    char path[128];
    write_bootstrap("server-strict", path);
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *old = NULL;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *new = NULL;
    struct proxy_assembly *assembly = NULL;
    struct fl_err err = {0};
    assert_int_equal(proxy_assembly_new(NULL, NULL, &assembly), 0);
    assert_int_equal(proxy_bootstrap_load(path, NULL, assembly, NULL), 0);
    assert_int_equal(proxy_assembly_publish(assembly, 1, &old, &err), PROXY_ASSEMBLY_PUBLISHED);
    assert_span(old->path, path);
    assert_int_equal(truncate(path, 0), 0); /* not looked at by a refresh */
    pki_folder_issue(&folder, "spiffe://cluster.local/ns/demo/sa/renewed", 3000000000);
    assert_true(proxy_snapshot_files_changed(old));
    if (proxy_assembly_refresh(assembly, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(proxy_assembly_publish(assembly, 1, &new, &err), PROXY_ASSEMBLY_PUBLISHED);
    assert_int_equal(new->version, 2);
    assert_span(new->path, path);
    assert_span(new->certs[0].spiffe, "spiffe://cluster.local/ns/demo/sa/renewed");
    assert_int_equal(new->certs[0].not_after, 3000000000);
    assert_ptr_equal(new->listeners[0], old->listeners[0]); /* the same unit, by another context */
    const struct proxy_slot *tls = new->listeners[0]->chains[0].tls;
    assert_true(proxy_snapshot_tls(new, tls) != proxy_snapshot_tls(old, tls));
    assert_span(old->certs[0].spiffe, "spiffe://cluster.local/ns/demo/sa/server");
    assert_true(fl_span_eq(old->bootstrap, new->bootstrap));

    pki_folder_write(&folder, "key.pem", FL_SPAN("nonsense"));
    struct proxy_snapshot *none = NULL;
    assert_int_equal(proxy_assembly_refresh(assembly, &err), -EINVAL);
    assert_non_null(strstr(err.text, "private_key"));
    assert_int_equal(proxy_assembly_publish(assembly, 1, &none, &err), PROXY_ASSEMBLY_UNCHANGED);
    assert_null(none);
    proxy_assembly_free(assembly);
    pki_folder_issue(&folder, "spiffe://cluster.local/ns/demo/sa/server", 4000000000);
}

/* Secrets of the bootstrap: used by name, read anew like other files, listed once, never replaced over the wire. */
#define SECRETS                                                                                                        \
    "static_resources:\n  secrets:\n"                                                                                  \
    "  - {name: pair, tls_certificate: {certificate_chain: {filename: @/cert-chain.pem}, private_key: {filename: "     \
    "@/key.pem}}}\n"                                                                                                   \
    "  - {name: roots, validation_context: {trusted_ca: {filename: @/root-cert.pem}}}\n"                               \
    "  clusters:\n  - name: c\n    transport_socket: {name: tls, typed_config: {\"@type\": "                           \
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: "           \
    "{tls_certificate_sds_secret_configs: [{name: pair}], validation_context_sds_secret_config: {name: roots}}}}\n"

static void write_secrets(char path[128])
{
    struct fl_buf text;
    fl_buf_init(&text, 65536);
    for (const char *c = SECRETS; *c != '\0'; c++)
        assert_int_equal(
            *c == '@' && c[1] == '/' ? fl_buf_append_str(&text, folder.path) : fl_buf_append_byte(&text, *c), 0);
    pki_folder_write(&folder, "secrets.yaml", fl_buf_span(&text));
    fl_buf_done(&text);
    snprintf(path, 128, "%s/secrets.yaml", folder.path);
}

static void test_static_secrets(void **state)
{
    (void)state;
    char path[128];
    struct proxy_assembly *assembly;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = NULL;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *next = NULL;
    struct fl_err err = {0};
    write_secrets(path);
    assert_int_equal(proxy_assembly_new(NULL, NULL, &assembly), 0);
    if (proxy_bootstrap_load(path, NULL, assembly, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(proxy_assembly_publish(assembly, 0, &snapshot, &err), PROXY_ASSEMBLY_PUBLISHED);
    const struct proxy_cluster *cluster = proxy_snapshot_cluster_named(snapshot, FL_SPAN("c"));
    const struct fl_tls_context *before = proxy_snapshot_tls(snapshot, cluster->tls);
    assert_non_null(before);
    assert_int_equal(snapshot->cert_count, 1);
    assert_int_equal(snapshot->file_count, 3);
    assert_int_equal(proxy_assembly_put(assembly, FL_RESOURCE_SECRET, FL_SPAN("pair"), FL_SPAN("1"), FL_SPAN(""), &err),
                     -EINVAL);
    struct proxy_want want;
    for (size_t cursor = 0; proxy_assembly_next_want(assembly, &cursor, &want);)
        assert_true(want.is_static && want.presence == PROXY_PRESENCE_ACTIVE);

    assert_int_equal(proxy_assembly_refresh(assembly, &err), 0);
    assert_int_equal(proxy_assembly_publish(assembly, 0, &next, &err), PROXY_ASSEMBLY_PUBLISHED);
    assert_ptr_equal(proxy_snapshot_tls(next, cluster->tls), before); /* the same files */
    next = proxy_snapshot_unref(next);
    pki_folder_issue(&folder, "spiffe://cluster.local/ns/demo/sa/renewed", 3000000000);
    assert_true(proxy_snapshot_files_changed(snapshot));
    assert_int_equal(proxy_assembly_refresh(assembly, &err), 0);
    assert_int_equal(proxy_assembly_publish(assembly, 0, &next, &err), PROXY_ASSEMBLY_PUBLISHED);
    cluster = proxy_snapshot_cluster_named(next, FL_SPAN("c"));
    assert_true(proxy_snapshot_tls(next, cluster->tls) != before);
    assert_span(next->certs[0].spiffe, "spiffe://cluster.local/ns/demo/sa/renewed");
    proxy_assembly_free(assembly);
    pki_folder_issue(&folder, "spiffe://cluster.local/ns/demo/sa/server", 4000000000);
}

static void test_static_secrets_have_names_of_their_own(void **state)
{
    (void)state;
    struct proxy_assembly *assembly;
    struct fl_err err = {0};
    struct fl_buf text, root;
    FILE *file;
    char path[128];
    snprintf(path, sizeof(path), "%s/root-cert.pem", folder.path);
    file = fopen(path, "re");
    assert_non_null(file);
    fl_buf_init(&root, 65536);
    for (int c; (c = fgetc(file)) != EOF;)
        assert_int_equal(c == '\n' ? fl_buf_append_str(&root, "\\n") : fl_buf_append_byte(&root, (char)c), 0);
    assert_int_equal(fclose(file), 0);
    fl_buf_init(&text, 65536);
    assert_int_equal(fl_buf_printf(&text,
                                   "static_resources:\n  secrets:\n  - {name: a, validation_context: {trusted_ca: "
                                   "{inline_string: \"%.*s\"}}}\n  - {name: a, validation_context: {trusted_ca: "
                                   "{inline_string: \"%.*s\"}}}\n",
                                   FL_SPAN_ARG(fl_buf_span(&root)), FL_SPAN_ARG(fl_buf_span(&root))),
                     0);
    assert_int_equal(proxy_assembly_new(NULL, NULL, &assembly), 0);
    assert_int_equal(proxy_bootstrap_read(fl_buf_span(&text), "b", NULL, assembly, &err), -EINVAL);
    if (strstr(err.text, "static_resources.secrets[1].name: a secret \"a\" is there already") == NULL)
        fail_msg("%s", err.text);
    proxy_assembly_free(assembly);
    fl_buf_done(&text);
    fl_buf_done(&root);
}

static void test_no_such_file(void **state)
{
    (void)state;
    struct proxy_assembly *assembly = NULL;
    struct fl_err err = {0};
    assert_int_equal(proxy_assembly_new(NULL, NULL, &assembly), 0);
    assert_int_equal(proxy_bootstrap_load("/nonexistent/bootstrap.yaml", NULL, assembly, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/bootstrap.yaml"));
    proxy_assembly_free(assembly);
}

static void test_memory_running_out(void **state)
{
    (void)state;
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    pki_folder_golden(&folder, "client", &text);
    FAIL_EACH_ALLOCATION
    {
        struct proxy_snapshot *snapshot = NULL;
        struct fl_err err = {0};
        int result = proxy_bootstrap_parse(fl_buf_span(&text), "client", NULL, &snapshot, &err);
        fail_stop();
        if (fail_happened()) {
            assert_int_equal(result, -ENOMEM);
            assert_null(snapshot);
        } else {
            assert_int_equal(result, 0);
        }
        proxy_snapshot_unref(snapshot);
    }
    fl_buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_server_strict),
        cmocka_unit_test(test_server_permissive),
        cmocka_unit_test(test_json_is_yaml_too),
        cmocka_unit_test(test_a_gateway_is_in_the_mesh),
        cmocka_unit_test(test_ignored_fields_are_told),
        cmocka_unit_test(test_refresh_reads_the_files_anew),
        cmocka_unit_test(test_static_secrets),
        cmocka_unit_test(test_static_secrets_have_names_of_their_own),
        cmocka_unit_test(test_no_such_file),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
